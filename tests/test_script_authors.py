"""The authors' side: a script is looked at, tried out and tested without a device."""

import os
import subprocess
import sys
import time

import pytest

from device import BINARIES, MISSING, TOP

sys.path.insert(0, os.path.join(TOP, "scripts", "python"))

from procyon_testing import Device, DeviceError  # noqa: E402
from procyon_testing.lint import lint  # noqa: E402


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    if MISSING:
        pytest.skip("NOTHING IS TESTED: {} not in {}; cargo build --bins first".format(MISSING, BINARIES))
    before = os.environ.get("PROCYON_BIN")
    os.environ["PROCYON_BIN"] = BINARIES
    try:
        with Device(tmp_path_factory.mktemp("authors") / "device") as made:
            yield made
    finally:
        os.environ.pop("PROCYON_BIN")
        if before is not None:
            os.environ["PROCYON_BIN"] = before


def written(folder, name, source):
    path = folder / name
    path.write_text(source)
    return str(path)


CPU = '''"""Says how busy the processor is."""
import re
from cisco.script_mgmt import xrlog
from iosxr.netconf.netconf_lib import NetconfClient

nc = NetconfClient(debug=True)
nc.connect()
nc.rpc.get(request="""
  <system-monitoring xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-wdsysmon-fd-oper">
   <cpu-utilization><node-name>0/RP0/CPU0</node-name><total-cpu-one-minute/></cpu-utilization>
  </system-monitoring>""")
busy = int(re.search(r"<total-cpu-one-minute>(\\d+)<", nc.reply).group(1))
nc.close()
print(busy)
xrlog.getSysLogger("cpu").error("busy: {}".format(busy))
'''


def test_a_script_sees_the_figures_that_a_test_sets(device, tmp_path):
    path = written(tmp_path, "busy.py", CPU)
    for percent in (95, 7):
        device.cpu = percent
        run = device.run(path)
        assert (run.status, run.return_value, run.output.strip()) == ("Executed", 0, str(percent)), run
        assert any("busy: {}".format(percent) in line for line in run.syslog)
        assert [operation.split(">")[0] for operation, _ in run.rpcs] == ["<get", "<close-session/"]


def test_what_a_script_commits_and_how_it_fails_is_told(device, tmp_path):
    source = '''"""Sets the name."""
from iosxr.netconf.netconf_lib import NetconfClient
with NetconfClient() as nc:
    nc.rpc.edit_config(config="<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'>"
                              "<system-network-name>tried</system-network-name></hostname>")
    nc.rpc.commit()
raise ValueError("done")
'''
    run = device.run(written(tmp_path, "rename.py", source))
    assert run.status == "Exception" and "ValueError: done" in run.errors
    assert "tried" in "".join(run.changes)


def test_the_command_line_is_there_for_scripts_too(device, tmp_path):
    source = '''"""Uses the command line."""
from iosxr.xrcli.xrcli_helper import *
helper = XrcliHelper(debug=True)
print(helper.xr_apply_config_string("hostname by-cli \\n\\r "))
print(helper.xrcli_exec("show running-config | include hostname"))
print(helper.xrcli_exec("show nonsense"))
print(helper.xr_apply_config_string("hostname not-this\\nno such line"))
'''
    run = device.run(written(tmp_path, "cli.py", source))
    applied, shown, nonsense, wrong = [eval(line) for line in run.output.splitlines()]
    assert applied["status"] == "success", run
    assert shown["status"] == "success" and "hostname by-cli" in shown["output"]
    assert nonsense["status"] == "error" and nonsense["output"].strip()
    assert wrong["status"] == "error" and "such" in wrong["output"], wrong
    assert "by-cli" in device.get_config("<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'/>")


EVENT = '''"""Says what has happened."""
from iosxr import eem
rc, event = eem.event_reqinfo()
print(event["event_type_string"], event.get("timer_type"), event["event_pub_sec"])
'''


def test_timers_are_due_when_the_clock_is_moved(device, tmp_path):
    watchdog = "<timer><watchdog><value>86400</value></watchdog></timer>"
    name = device.on_event(written(tmp_path, "daily.py", EVENT), watchdog)
    device.advance(days=1)
    first = device.next_run(name)
    assert (first.status, first.return_value) == ("Executed", 0), first
    assert first.output.split()[:2] == ["timer", "watchdog"]
    device.advance(days=1)
    second = device.next_run(name, after=first)
    assert int(second.output.split()[2]) - int(first.output.split()[2]) >= 86400


def test_calendar_entries_go_by_the_moved_clock(device, tmp_path):
    cron = "<timer><cron><cron-entry>0 0 1 1 *</cron-entry></cron></timer>"
    name = device.on_event(written(tmp_path, "new-year.py", EVENT), cron)
    device.advance(days=366)
    run = device.next_run(name)
    assert run.output.split()[:2] == ["timer", "cron"], run
    year = "<system-time xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-shellutil-oper'><clock><year/></clock></system-time>"
    assert str(time.localtime().tm_year + 1) in device.get(year) or str(time.localtime().tm_year + 2) in device.get(year)


def test_a_process_script_is_watched_over_its_restarts(device, tmp_path):
    source = '''"""Comes to life at the third attempt."""
import signal
import sys
try:
    with open("count") as handle:
        count = int(handle.read()) + 1
except IOError:
    count = 1
with open("count", "w") as handle:
    handle.write(str(count))
print("attempt", count, sys.argv[1])
if count < 3:
    sys.exit(1)
signal.pause()
'''
    # None of the pauses of a script that keeps ending is waited for.
    app = device.app(written(tmp_path, "third.py", source), "now", restart="on-failure")
    app.wait_for("attempt 3 now")
    app.wait_until("started")
    assert app.output.splitlines() == ["attempt 1 now", "attempt 2 now", "attempt 3 now"]
    app.order("stop")
    app.wait_until("stopped")
    with pytest.raises(DeviceError, match="has not printed 'never' after 0 s; it is stopped"):
        app.wait_for("never", seconds=0)
    app.order("deactivate")


def test_the_memory_of_the_host_is_what_a_test_sets(device):
    device.set_memory(total=8 << 30, free=1 << 30)
    shown = device.get("<memory-summary xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-nto-misc-oper'/>")
    assert str(8 << 30) in shown and str(1 << 30) in shown


def procyon(*words):
    return subprocess.run(
        [os.path.join(BINARIES, "procyon"), "script", *words], capture_output=True, text=True, timeout=60, cwd="/"
    )


def test_a_script_is_tried_out_from_the_command_line(device, tmp_path):
    done = procyon("try", written(tmp_path, "tried.py", '"""One."""\nimport sys\nprint(sys.argv[1:])\n'), "-a", "b c")
    assert done.returncode == 0, done
    assert "Executed, return value 0" in done.stdout and "['-a', 'b c']" in done.stdout
    failed = procyon("try", written(tmp_path, "fails.py", "import sys\nsys.exit(2)\n"))
    assert failed.returncode == 1 and "return value 2" in failed.stdout


def test_a_script_is_looked_at_from_the_command_line(device, tmp_path):
    path = written(tmp_path, "tabs.py", "if 1:\n\tx = 1\n        y = 2\n")
    done = procyon("lint", path)
    assert done.returncode == 1 and done.stdout.startswith("{}:3: this is no Python".format(path)), done


@pytest.mark.parametrize(
    "name, source, said",
    [
        ("fine.py", '"""Fine."""\nimport json\nprint(json.dumps(1))\n', []),
        ("no-doc.py", "print(1)\n", ["{path}:1: without a docstring `show script status detail` has nothing to tell of it"]),
        ("undefined.py", '"""X."""\nsyslog = xrlog.getSysLogger("x")\n', ["{path}:2: `xrlog` is not defined anywhere"]),
        (
            "open.py",
            '"""X."""\nfrom iosxr.netconf.netconf_lib import NetconfClient\nnc = NetconfClient()\nnc.connect()\n',
            ["{path}:3: the NetconfClient is never closed: its session, with its locks, stays until the script ends"],
        ),
        (
            "unknown.py",
            '"""X."""\nimport cisco.nothing\nimport no_such_thing\n',
            [
                "{path}:2: the device's library has no `cisco.nothing`",
                "{path}:3: `no_such_thing` is not in the standard library: the device must have it installed",
            ],
        ),
    ],
)
def test_what_would_go_wrong_is_said_with_its_line(tmp_path, name, source, said):
    path = written(tmp_path, name, source)
    assert lint(path) == [each.format(path=path) for each in said]


def test_the_name_must_be_one_for_the_repository(tmp_path):
    path = written(tmp_path, "a b.py", '"""X."""\n')
    assert lint(path) == [
        "{}: the name `a b.py` is not taken by the repository: letters, digits, `_`, `.`, `-`, and `.py`".format(path)
    ]
