"""What scripts may use of the host: where they write, whom they signal, how much memory they take; from inside of them."""

import os
import re

import pytest

import box as boxes
from device import FOREVER, App, refusal

CONTAINER = "urn:procyon:container"
LOG_BYTES = 65536
LOG_FILES = 2


class Device(boxes.Box):
    """Its root is below /tmp, where scripts may write otherwise; here there is another folder for that."""

    @property
    def open_folder(self):
        return self.root + ".open"

    def initialise(self):
        done = super().initialise()
        os.makedirs(self.open_folder, exist_ok=True)
        os.chmod(self.open_folder, 0o777)
        with open(self.settings, "a", encoding="utf-8") as handle:
            handle.write('writable = ["{}"]\n[limits]\nlog_bytes = {}\nlog_files = {}\n'.format(self.open_folder, LOG_BYTES, LOG_FILES))
        return done


def host(session):
    """What this host lets the device do."""
    asked = '<containers-state xmlns="{}"><host/></containers-state>'.format(CONTAINER)
    data = session.get(filter=("subtree", asked)).data
    return {boxes.local(leaf): leaf.text for leaf in data.iter() if len(leaf) == 0}


@pytest.fixture
def confines(session):
    if host(session)["confines-scripts"] != "true":
        pytest.skip("CONFINEMENT IS NOT TESTED: this kernel has no landlock")


WRITES = b"""
import os, signal, sys
other, pid, opened = sys.argv[1:]

def tried(what, act):
    try:
        act()
        print(what, "may", flush=True)
    except OSError as error:
        print(what, "may not:", type(error).__name__, flush=True)

def write(path):
    with open(path, "w") as handle:
        handle.write("x")
    os.unlink(path)

tried("own", lambda: write("here"))
tried("opened", lambda: write(os.path.join(opened, "here")))
tried("temporary", lambda: write("/tmp/of-%d" % os.getpid()))
tried("null", lambda: open("/dev/null", "w").close())
tried("another's", lambda: write(os.path.join(other, "there")))
tried("folder", lambda: os.mkdir(os.path.join(other, "folder")))
tried("signal", lambda: os.kill(int(pid), 0))
tried("itself", lambda: os.kill(os.getpid(), 0))
print("done", flush=True)
"""


def test_a_script_writes_and_signals_what_is_its_own(box, session, confines, name):
    other = App(box, session, "other-" + name, FOREVER)
    other.activate()
    folder = os.path.join(box.root, "state", "work", other.name)
    app = App(box, session, name, WRITES, arguments="{} {} {}".format(folder, other.pid(), box.open_folder), restart="never")
    app.act("activate")
    said = box.wait_log(name, app.name, "done")
    for own in ("own", "opened", "null", "itself"):
        assert "{} may\n".format(own) in said, said
    for foreign in ("another's", "folder", "signal", "temporary"):
        assert "{} may not: PermissionError".format(foreign) in said, said
    assert os.listdir(folder) == []
    app.end()
    other.end()


def limits(app, **leaves):
    inside = "".join("<{0}>{1}</{0}>".format(leaf, value) for leaf, value in leaves.items())
    return (
        '<config xmlns="{}"><appmgr xmlns="{}"><process-scripts><process-script><process-script-name>{}</process-script-name>'
        '<resources xmlns="urn:procyon:appmgr">{}</resources></process-script></process-scripts></appmgr></config>'
    ).format(boxes.NETCONF, boxes.APP_CFG, app.name, inside)


PRINTS = b"""
import signal
for number in range(2000):
    print("line", number, "x" * 200, flush=True)
print("end", flush=True)
signal.pause()
"""


def test_the_log_of_an_app_is_put_aside_when_it_is_full_and_few_of_those_are_kept(box, session, name):
    app = App(box, session, name, PRINTS)
    app.activate()
    folder = os.path.join(box.root, "harddisk/mirror/script-mgmt/logs", "{}_process_{}".format(name, app.name))

    def aside():
        return [each for each in os.listdir(folder) if each.startswith("stdout.log-") and not each.endswith(".times")]

    def is_over():
        try:
            with open(os.path.join(folder, "stdout.log"), "rb") as log:
                return log.read().endswith(b"end\n")
        except FileNotFoundError:
            # One was just put aside.
            return False

    boxes.wait_for("the end of the output", is_over)
    # What a single read of the program's output brings is not divided.
    assert os.path.getsize(os.path.join(folder, "stdout.log")) <= 2 * LOG_BYTES
    boxes.wait_for("the oldest to be removed", lambda: 1 <= len(aside()) <= LOG_FILES)
    app.end()


TAKES = b"""
import resource
print("begun", flush=True)
held = bytearray(1 << 30)
for at in range(0, len(held), 4096):
    held[at] = 1
print("taken", flush=True)
"""


def test_an_app_has_the_memory_that_is_configured_and_no_more(box, session, name):
    app = App(box, session, name, TAKES, restart="never")
    box.configure(session, limits(app, memory=256 << 20))
    app.act("activate")
    state = app.wait(status="exit-failure")
    with open(os.path.join(box.root, "harddisk/mirror/script-mgmt/logs", "{}_process_{}".format(name, app.name), "stdout.log")) as log:
        assert log.read() == "begun\n", state
    box.configure(session, limits(app, memory=8 << 30))
    assert app.state()["is-cfg-pending"] == "true", "limits are taken over at the next activation"
    app.act("deactivate")
    app.wait(is_activated="false")
    app.act("activate")
    app.wait(status="exit-success")
    app.end()


def test_what_cannot_be_a_limit_is_refused(box, session, name):
    app = App(box, session, name, FOREVER)
    for leaves in ({"memory": 1}, {"cpu": 0}, {"processes": 0}):
        error = refusal(box.configure, session, limits(app, **leaves))
        assert error.tag == "invalid-value" and "resources/" in (error.path or error.message), error.message


def test_a_share_of_the_processor_is_a_limit_of_the_group(box, session, name):
    app = App(box, session, name, FOREVER)
    box.configure(session, limits(app, cpu=50))
    app.activate()
    with open("/proc/{}/cgroup".format(app.pid())) as handle:
        group = re.search(r"^0::/(.*)$", handle.read(), re.MULTILINE).group(1)
    if host(session)["limits-processor"] != "true":
        app.end()
        pytest.skip("A SHARE OF THE PROCESSOR IS NOT TESTED: no control group with the controller cpu")
    with open(os.path.join("/sys/fs/cgroup", group, "cpu.max")) as handle:
        assert handle.read().split() == ["50000", "100000"]
    app.end()
