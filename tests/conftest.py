"""What tests against the real binaries share: one device for a module, or one for a test alone.

PROCYON_BIN names the folder of the binaries, target/debug unless told.
"""

import contextlib
import os
import re
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "scripts"))

import box as boxes  # noqa: E402

BINARIES = os.environ.get("PROCYON_BIN", os.path.join(TOP, "target", "debug"))
MISSING = [name for name in ("procyon", "procyon-keeper") if not os.access(os.path.join(BINARIES, name), os.X_OK)]


@contextlib.contextmanager
def one_box(folder):
    """A device below `folder` that serves, and is gone afterwards."""
    if MISSING:
        pytest.skip("NOTHING IS TESTED: {} not in {}; cargo build --bins first".format(MISSING, BINARIES))
    # Scripts may run as another user, who has to reach the root through pytest's private folders.
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.geteuid() and each.name.startswith(("pytest-", folder.name)):
            each.chmod(0o755)
    made = boxes.Box(folder / "root", BINARIES)
    try:
        made.initialise()
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """One agent for all tests of a module that leave it as they found it; each uses names of its own."""
    with one_box(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture
def own_box(tmp_path):
    """An agent of one's own, for tests that kill or starve it."""
    with one_box(tmp_path) as made:
        yield made


@pytest.fixture
def session(box):
    with box.connect() as opened:
        yield opened


@pytest.fixture
def server():
    with boxes.Files() as serving:
        yield serving


@pytest.fixture
def name(request):
    """A script name that no other test uses."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:100] + ".py"
