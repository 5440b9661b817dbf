"""Rules for everything that runs inside a script's interpreter, and the guide's own script."""

import ast
import glob
import os
import re

import pytest

from fake_device import FakeDevice
from launching import DEVICE, LIBRARY, TOP, finish, start
from guide import guide, script_of_the_guide

FILES = sorted(
    glob.glob(os.path.join(LIBRARY, "**", "*.py"), recursive=True)
    + glob.glob(os.path.join(TOP, "scripts", "examples", "*.py"))
)

STANDARD = {
    "_frozen_importlib", "_frozen_importlib_external", "_thread", "argparse", "array", "hashlib", "importlib", "json", "linecache",
    "logging", "marshal", "multiprocessing", "os", "re", "signal", "socket", "struct", "subprocess", "sys", "threading", "time",
    "traceback", "xml", "zlib",
}
OURS = {"cisco", "iosxr", "procyon_door", "procyon_judge"}


def name(path):
    return os.path.relpath(path, TOP)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_syntax_is_python_3_5(path):
    with open(path, "rb") as handle:
        source = handle.read()
    tree = ast.parse(source, path, feature_version=(3, 5))
    # The parser lets these through whatever version it is asked for.
    newer = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, newer)] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_the_standard_library_is_imported(path):
    if os.sep + "examples" + os.sep in path:
        allowed = STANDARD | OURS | {"xmltodict"}
    elif os.sep + "procyon_testing" + os.sep in path:
        # Runs where authors work, not on the device.
        allowed = STANDARD | OURS | {"procyon_testing", "pytest", "ast", "collections", "contextlib", "pwd", "select", "shutil", "tempfile"}
    else:
        allowed = STANDARD | OURS
    with open(path, "rb") as handle:
        tree = ast.parse(handle.read(), path)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        for imported in names:
            assert imported.split(".")[0] in allowed, "{}:{}: imports {}".format(name(path), node.lineno, imported)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_says_what_it_is(path):
    with open(path, "rb") as handle:
        assert ast.get_docstring(ast.parse(handle.read(), path))


CPU = """ <data>
  <system-monitoring xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-wdsysmon-fd-oper">
   <cpu-utilization>
    <node-name>0/RP0/CPU0</node-name>
    <total-cpu-one-minute>{}</total-cpu-one-minute>
   </cpu-utilization>
  </system-monitoring>
 </data>"""


@pytest.mark.skipif(guide() is None, reason="the guide is not beside this tree: set PROCYON_SEEDS to its folder")
def test_the_script_of_the_guide_runs_unchanged():
    pytest.importorskip("xmltodict")
    source = script_of_the_guide(guide())
    with FakeDevice(answer=lambda request: CPU.format(6)) as device:
        process = start(
            source,
            "5",
            name="cpu-utilization-process.py",
            environment=device.environment,
            pass_fds=[device.door.fileno()],
        )
        try:
            line = ""
            while "%OS-SCRIPT_MGMT-3-ERROR" not in line:
                line = process.stderr.readline().decode("utf-8")
                assert line, "the script ended: {!r}".format(finish(process))
        finally:
            process.kill()
            process.communicate()
    assert re.match(
        r"RP/0/RP0/CPU0:\w{3} [ \d]\d [\d:.]+ \w+: python3_xr\[%d\]: %%OS-SCRIPT_MGMT-3-ERROR : "
        r"Script-Sample: CPU utilization is 6, threshold value is 5$" % process.pid,
        line,
    ), line


@pytest.mark.skipif(guide() is None, reason="the guide is not beside this tree: set PROCYON_SEEDS to its folder")
def test_the_script_of_the_guide_stops_where_its_author_meant_it_to_when_the_device_is_away():
    pytest.importorskip("xmltodict")
    outcome = finish(start(script_of_the_guide(guide()), "5", name="cpu-utilization-process.py"))
    assert outcome.status == 1
    assert outcome.errors.rstrip().endswith(
        "NetconfError: not started by the app manager: no PROCYON_DOOR_FD; activate it as an app"
    ), outcome
    assert '  File "{}cpu-utilization-process.py"'.format(DEVICE) in outcome.errors
