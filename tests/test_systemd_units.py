"""Our units below a real systemd: what runs goes on whoever is killed, and nothing that it prints is lost or doubled.

Skipped, with the reason, where none can be run.
"""

import os
import re
import shutil
import subprocess
import tempfile

import pytest

from box import NETCONF, Box, Ready, wait_for
from device import BINARIES, needs_binaries
from machine import Machine, missing
from seats import SECONDS_MAX

KEEPER, AGENT = "procyon-keeper.service", "procyon.service"
COUNTER = "i=0; while :; do for ((k = 0; k < 40; k++)); do echo line $((++i)); done; sleep 0.003; done"

pytestmark = [needs_binaries, pytest.mark.skipif(missing() is not None, reason="NOT RUN below a real systemd: {}".format(missing()))]


@pytest.fixture
def machine():
    folder = tempfile.mkdtemp(prefix="procyon-systemd-")
    root = os.path.join(folder, "root")
    for name in ("keys", "harddisk", "run", "state", "config"):
        os.makedirs(os.path.join(root, name))
    made = Machine(folder, root)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def fleet(machine, *words):
    machine.run(os.path.join(BINARIES, "examples", "fleet"), "--root", machine.root, *words)


def console(machine, *words):
    return machine.run(os.path.join(BINARIES, "procyon"), "console", "--root", machine.root, *words).stdout


def programs(machine):
    return sorted(re.findall(r":/bin/(?:bash|sleep)[^:]*,(\d+),", console(machine, "-i")))


def log(machine, name):
    with open(os.path.join(machine.root, "logs", name, "stdout.log"), "rb") as handle:
        return handle.read()


def numbers(text):
    """Of all whole lines; whatever is no such line is shown as it is."""
    lines = text.replace(b"\r", b"").split(b"\n")[:-1]
    return [int(line[5:]) if re.fullmatch(rb"line \d+", line) else line for line in lines]


def test_a_killed_keeper_is_followed_by_one_that_systemd_gives_everything(machine):
    machine.install()
    machine.boot()
    machine.systemctl("start", KEEPER)
    for name, pty in (("tty", ["--pty"]), ("pipe", [])):
        fleet(machine, "--name", name, *pty, "--log-bytes", "1000000000", "--", "/bin/bash", "-c", COUNTER)
    fleet(machine, "--name", "typed", "--pty", "--", "/bin/cat")
    watching = machine.inside(os.path.join(BINARIES, "procyon"), "console", "--root", machine.root, "-s", "tty")
    shown = os.path.join(machine.folder, "shown")
    with open(shown, "wb") as handle:
        watcher = subprocess.Popen(watching, stdin=subprocess.DEVNULL, stdout=handle)
    try:
        wait_for("output", lambda: os.path.getsize(shown) > 1000)
        before, keeper = programs(machine), machine.main_pid(KEEPER)
        assert len(before) == 2
        # Two for each container.
        assert machine.show(KEEPER, "NFileDescriptorStore") == "6"
        cat = machine.run("pgrep", "-x", "cat").stdout
        for signal in ("KILL", "KILL", "ABRT", "reload"):
            length = len(log(machine, "tty"))
            wait_for("more output", lambda: len(log(machine, "tty")) > length + 1000)
            if signal == "reload":
                machine.systemctl("reload", KEEPER)
            else:
                machine.systemctl("kill", "--signal", signal, "--kill-who", "main", KEEPER)
            keeper = machine.successor(KEEPER, keeper)
        assert programs(machine) == before
        # What ends while nobody is there is started again by the keeper that comes.
        assert machine.run("pgrep", "-x", "cat").stdout == cat
        machine.systemctl("kill", "--signal", "KILL", "--kill-who", "main", KEEPER)
        machine.run("pkill", "-KILL", "-x", "cat")
        wait_for("a cat", lambda: machine.run("pgrep", "-x", "cat", check=False).stdout not in ("", cat))
        length = len(log(machine, "pipe"))
        wait_for("more output", lambda: len(log(machine, "pipe")) > length + 1000)
        for name in ("tty", "pipe"):
            counted = numbers(log(machine, name))
            assert counted == list(range(1, len(counted) + 1)), name
        length = os.path.getsize(shown)
        wait_for("more shown", lambda: os.path.getsize(shown) > length)
    finally:
        watcher.kill()
        watcher.wait(SECONDS_MAX)
    with open(shown, "rb") as handle:
        seen = numbers(handle.read().replace(b"[spying]\r\n", b""))
    first = next(index for index, number in enumerate(seen) if isinstance(number, int))
    # The replay may begin in the middle of a line.
    assert seen[first:] == list(range(seen[first], seen[first] + len(seen) - first))
    assert machine.show(KEEPER, "NFileDescriptorStore") == "6"
    # An order to end is no accident: then nothing is left, and systemd keeps nothing.
    machine.systemctl("stop", KEEPER)
    assert machine.show(KEEPER, "Result") == "success" and machine.show(KEEPER, "NFileDescriptorStore") == "0"
    assert not machine.run("pgrep", "-x", "cat|bash", check=False).stdout


def test_a_restarted_agent_keeps_its_port_and_touches_neither_keeper_nor_programs(machine):
    shutil.rmtree(machine.root)
    box = Box(machine.root, BINARIES)
    box.initialise()
    words = '[Service]\nExecStart=\nExecStart={} agent --serve --root {} --listen-ssh 127.0.0.1:0 --settings {}\n'
    machine.install(procyon=words.format(os.path.join(BINARIES, "procyon"), box.root, box.settings))
    machine.boot()
    # It wants the keeper, which systemd starts first.
    machine.systemctl("start", AGENT)

    def ready():
        with open(os.path.join(machine.folder, AGENT + ".said"), encoding="utf-8") as handle:
            return re.findall(r"^ready ssh=(\S+) .* pid=(\d+)", handle.read(), re.MULTILINE)

    port = ready()[-1][0]
    host, _, number = port.partition(":")
    box.readies.append(Ready((host, int(number)), None, None, None))
    entry = "<container><name>pipe</name><command>/bin/sleep 1000</command></container>"
    config = '<config xmlns="{}"><containers xmlns="urn:procyon:container">{}</containers></config>'
    with box.connect() as session:
        box.configure(session, config.format(NETCONF, entry))
    wait_for("the program", lambda: programs(machine))
    keeper, agent, running = machine.main_pid(KEEPER), machine.main_pid(AGENT), programs(machine)
    machine.systemctl("restart", AGENT)
    restarted = machine.successor(AGENT, agent)
    machine.systemctl("kill", "--signal", "KILL", "--kill-who", "main", AGENT)
    killed = machine.successor(AGENT, restarted)
    assert ready() == [(port, str(pid)) for pid in (agent, restarted, killed)]
    assert machine.main_pid(KEEPER) == keeper
    # And the other way round.
    machine.systemctl("kill", "--signal", "KILL", "--kill-who", "main", KEEPER)
    keeper = machine.successor(KEEPER, keeper)
    assert machine.main_pid(AGENT) == killed and programs(machine) == running
    # What an administrator types without knowing who keeps whom.
    said = machine.run(box.procyon, "agent", "--root", box.root, "--upgrade").stdout
    keeper = machine.successor(KEEPER, keeper)
    assert said == "upgraded: keeper, which serves as process {}; the agent: systemctl restart procyon\n".format(keeper)
    assert programs(machine) == running
    state = '<containers-state xmlns="urn:procyon:container"><host/></containers-state>'
    with box.connect() as session:
        told = wait_for("a keeper", lambda: re.findall("<kept-by>.*</not-kept>", session.get(("subtree", state)).data_xml))
    assert told == ["<kept-by>systemd</kept-by><not-kept>0</not-kept>"]
