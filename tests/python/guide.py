"""The process script guide that scripts are written after, and the script that it prints."""

import glob
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def guide():
    """The process script guide, where the requirements of the project lie beside it."""
    folder = os.environ.get("PROCYON_SEEDS") or os.path.join(TOP, "..", "shared", "seeds")
    found = sorted(glob.glob(os.path.join(folder, "000_*.txt")))
    return found[0] if found else None


def script_of_the_guide(path):
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    example = text[text.index("create a process script".replace("create", "Create")):]
    blocks = re.findall(r"```\n(.*?)```", example, re.DOTALL)
    blocks = [block.strip("\n") for block in blocks if block.strip() and "Router#" not in block]
    body, end = blocks[0], blocks[1]
    assert body.startswith("import time") and end.startswith("if __name__")
    # The document wraps this one line.
    assert body.count("total_cpu =\nint(") == 1
    return body.replace("total_cpu =\nint(", "total_cpu = int(") + "\n\n" + end + "\n"
