"""The three programs are exchanged while a container runs; and what a service manager is told meanwhile.

PROCYON_BIN names the folder of the binaries, target/debug unless told.
"""

import os
import re
import shutil
import socket
import subprocess

import pytest
from device import BINARIES, boxes, needs_binaries, one_box

NETCONF = boxes.NETCONF
CONTAINERS = '<config xmlns="{}"><containers xmlns="urn:procyon:container">{}</containers></config>'

pytestmark = needs_binaries


class Manager:
    """A service manager's end of the socket: what it was told so far."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)
        self.told = []

    def until(self, words):
        while not any(words in text for text in self.told):
            self.told.append(self.socket.recv(4096).decode())

    def command(self, words):
        """As a service manager starts a process with a watchdog of 400 ms."""
        script = 'export NOTIFY_SOCKET={} WATCHDOG_USEC=400000 WATCHDOG_PID=$$; exec "$@"'.format(self.path)
        return ["/bin/sh", "-c", script, "sh", *words]


@pytest.fixture
def house(tmp_path):
    """A device whose programs are copies of its own, started by a service manager."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("procyon", "procyon-keeper"):
        shutil.copy(os.path.join(BINARIES, name), binaries)
    custodian = None
    with one_box(tmp_path, make=lambda root, _: boxes.Box(root, binaries), start=False) as made:
        made.manager, made.binaries = Manager(tmp_path / "notify"), binaries
        custodian = made.custodian = subprocess.Popen(
            made.manager.command([str(binaries / "procyon-keeper"), "--custodian", "--root", made.root]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        made.manager.until("READY=1\nSTATUS=keeper")
        plain = made.agent_command
        made.agent_command = lambda: made.manager.command(plain())
        made.start()
        yield made
    custodian.wait(20)


def exe(pid):
    return os.stat("/proc/{}/exe".format(pid)).st_ino


def told(box, *words):
    done = box.command("console", "--root", box.root, *words)
    return done.stdout


def test_an_upgrade_exchanges_three_programs_and_touches_no_container(house):
    counter = os.path.join(house.root, "count.sh")
    with open(counter, "w", encoding="ascii") as script:
        script.write("while :; do echo $((i=i+1)); sleep 0.01; done\n")
    entry = "<container><name>c</name><command>/bin/sh {}</command></container>".format(counter)
    with house.connect() as session:
        session.edit_config(target="candidate", config=CONTAINERS.format(NETCONF, entry))
        session.commit()

    def program():
        found = re.search(r":/bin/sh[^:]*,(\d+),", told(house, "-i"))
        return found and int(found.group(1))

    log = os.path.join(house.root, "harddisk/mirror/script-mgmt/logs/container/c/stdout.log")
    pid = boxes.wait_for("program", program)
    boxes.wait_for("output", lambda: os.path.exists(log) and os.path.getsize(log) > 0)
    before = house.ready
    house.manager.until("READY=1\nSTATUS=agent {}".format(before.pid))
    for name in ("procyon", "procyon-keeper"):
        # As a package manager does it: another file under the same name.
        shutil.copy(os.path.join(BINARIES, name), house.binaries / "new")
        os.rename(house.binaries / "new", house.binaries / name)
    inode = os.stat(house.binaries / "procyon-keeper").st_ino
    assert exe(house.custodian.pid) != inode

    known = len(house.readies)
    said = house.command("agent", "--root", house.root, "--upgrade").stdout
    after = house.wait_ready(known)
    assert said == "upgraded: custodian, keeper and agent, which serves as process {}\n".format(after.pid)
    assert exe(house.custodian.pid) == inode and exe(after.keeper) == inode
    assert exe(after.pid) == os.stat(house.binaries / "procyon").st_ino
    assert (after.pid, after.keeper) != (before.pid, before.keeper) and after.ssh == before.ssh
    assert program() == pid and house.agent.poll() is None and house.custodian.poll() is None
    size = os.path.getsize(log)
    boxes.wait_for("more output", lambda: os.path.getsize(log) > size)
    with open(log, encoding="ascii") as text:
        lines = text.read().split("\n")[:-1]
    assert lines == [str(number + 1) for number in range(len(lines))]
    # Both go on to be watched, each by its own unit.
    house.manager.told.clear()
    house.manager.until("WATCHDOG=1")
    # A second one finds everything where the first has left it.
    os.kill(after.pid, 9)
    third = house.wait_ready(known + 1)
    assert house.command("agent", "--root", house.root, "--upgrade").stdout.startswith("upgraded: ")
    assert house.wait_ready(known + 2).pid != third.pid and program() == pid


def test_an_upgrade_that_cannot_be_is_refused_and_everything_goes_on(house):
    other = house.binaries / "procyon-keeper"
    os.unlink(other)
    other.write_text("#!/bin/sh\necho 999\n")
    other.chmod(0o755)
    done = house.command("agent", "--root", house.root, "--upgrade", check=False)
    assert done.returncode == 1 and "reads another form of handover" in done.stderr, done
    os.unlink(other)
    done = house.command("agent", "--root", house.root, "--upgrade", check=False)
    assert done.returncode == 1 and "No such file" in done.stderr, done
    assert house.agent.poll() is None and house.custodian.poll() is None
    shutil.copy(os.path.join(BINARIES, "procyon-keeper"), other)
    done = house.command("agent", "--root", house.root + ".other", "--upgrade", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
