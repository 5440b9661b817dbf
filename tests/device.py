"""What tests of a device share beside its fixtures: a device of their own, apps on it, and a client that speaks by hand.

PROCYON_BIN names the folder of the binaries, target/debug unless told.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from ncclient.operations import RPCError

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "scripts"))

import box as boxes  # noqa: E402
from peer import END, HELLO as ANY_HELLO  # noqa: E402

BINARIES = os.path.abspath(os.environ.get("PROCYON_BIN", os.path.join(TOP, "target", "debug")))
MISSING = [name for name in ("procyon", "procyon-keeper") if not os.access(os.path.join(BINARIES, name), os.X_OK)]

# The longest that another session may wait for an answer while one peer misbehaves.
ANSWER_SECONDS_MAX = 10

FOREVER = b"import signal\nprint('running', flush=True)\nwhile True:\n    signal.pause()\n"

# What a client of NETCONF 1.0 begins with.
HELLO = ANY_HELLO.format("<capability>urn:ietf:params:netconf:base:1.0</capability>").encode() + END

needs_binaries = pytest.mark.skipif(
    bool(MISSING), reason="NOTHING IS TESTED: {} not in {}; cargo build --bins first".format(MISSING, BINARIES)
)


@contextlib.contextmanager
def one_box(folder, make=boxes.Box, settings="", start=True):
    """A device below `folder` with these settings beside the usual ones, that serves and is gone afterwards."""
    if MISSING:
        pytest.skip("NOTHING IS TESTED: {} not in {}; cargo build --bins first".format(MISSING, BINARIES))
    # Scripts may run as another user, who has to reach the root through pytest's private folders.
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.geteuid() and each.name.startswith(("pytest-", "popen-", folder.name)):
            each.chmod(0o755)
    made = make(folder / "root", BINARIES)
    try:
        made.initialise()
        with open(made.settings, "a", encoding="utf-8") as handle:
            handle.write(settings)
        if start:
            made.start()
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def filled(disk):
    """No byte more has room on that small disk, until the end of this."""
    filler = disk / "filler"
    with open(str(filler), "wb", buffering=0) as handle, pytest.raises(OSError):
        while True:
            handle.write(b"\0" * 4096)
    yield
    filler.unlink()


class App:
    """A script that is in the repository, checksummed and registered."""

    def __init__(self, box, session, name, source, **options):
        self.box, self.session, self.script = box, session, name
        self.name = name[:-3]
        path = os.path.join(box.root, "harddisk", name)
        with open(path, "wb") as handle:
            handle.write(source)
        box.call(session, box.add_request("harddisk:", name))
        os.unlink(path)
        box.configure(
            session, box.checksum_config(name, boxes.sha256(source)), box.app_config(self.name, name, **options)
        )

    def act(self, verb):
        return self.box.act(self.session, verb, self.name)

    def wait(self, **wanted):
        return self.box.wait_app(self.session, self.name, **wanted)

    def state(self):
        return self.box.app_state(self.session, self.name)

    def activate(self):
        self.act("activate")
        return self.wait(status="started")

    def pid(self, **options):
        return self.box.wait_pid(self.script, **options)

    def end(self):
        if self.state().get("is-activated") == "true":
            self.act("deactivate")
        self.wait(is_activated="false")


def refusal(operation, *arguments):
    """The rpc-error that `operation` ends with; every one says what is wrong."""
    with pytest.raises(RPCError) as caught:
        operation(*arguments)
    error = caught.value
    assert error.tag and error.type and error.message, error
    return error


def quick(operation, *arguments):
    """Carries out `operation` and checks that nobody kept it waiting."""
    begin = time.monotonic()
    result = operation(*arguments)
    assert time.monotonic() - begin < ANSWER_SECONDS_MAX
    return result


def while_the_agent_is_away(box):
    """Kills the agent, and yields again and again until the next one serves: whoever comes in between waits in a listener
    that the custodian holds."""
    known, pid = len(box.readies), box.ready.pid
    os.kill(pid, signal.SIGKILL)
    boxes.wait_for("its end", lambda: not boxes.alive(pid))
    while len(box.readies) == known:
        yield


def openssh(box, *arguments, **options):
    host, port = box.ready.ssh
    command = [
        "ssh", "-p", str(port), "-i", box.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", *arguments, "-s", "{}@{}".format(box.admin, host), "netconf",
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
