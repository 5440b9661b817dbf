"""The units that we ship, as systemd itself judges them, and what they run, run as they run it."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess

import pytest

from box import alive, wait_for
from device import BINARIES, TOP, needs_binaries, one_box

UNITS = os.path.join(TOP, "dist", "systemd")
# As printed in the guide: the one line that differs is the program.
PROCSERV, OURS = "ExecStart=/usr/bin/procServ \\", "ExecStart=/usr/bin/procyon-keeper \\"

pytestmark = needs_binaries


def unit(name):
    with open(os.path.join(UNITS, name), encoding="utf-8") as handle:
        return handle.read()


def value(text, key):
    line = next(line for line in text.replace("\\\n", " ").splitlines() if line.startswith(key + "="))
    return line.split("=", 1)[1]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed: apt-get install systemd")
@pytest.mark.parametrize("name", ["procyon.service", "procyon-keeper.service", "ioc@.service"])
def test_systemd_finds_nothing_wrong_with_a_unit(name, tmp_path):
    for other in os.listdir(UNITS):
        # Where the programs are now, and accounts that this host has.
        text = unit(other).replace("/usr/bin/procyon", BINARIES + "/procyon").replace("iocuser", "games").replace("iocgroup", "games")
        (tmp_path / other).write_text(text)
    path = tmp_path / name.replace("@.", "@one.")
    if "@" in name:
        (tmp_path / name).rename(path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "SYSTEMD_UNIT_PATH": "{}:".format(tmp_path)},
    )
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "procyon" in line or path.name in line]
    assert done.returncode == 0 and not about_ours, done.stdout + done.stderr


def test_the_unit_for_an_ioc_differs_from_the_guides_in_its_program_alone(tmp_path):
    text = unit("ioc@.service")
    assert text.count(OURS) == 1
    for folder in ("log", "run", "ioc"):
        (tmp_path / folder).mkdir()
    (tmp_path / "ioc" / "st.cmd").write_text("echo this is $0\nexec cat\n")
    command = value(text, "ExecStart").replace("%i", "one")
    places = {
        "/usr/bin/procyon-keeper": os.path.join(BINARIES, "procyon-keeper"),
        "/var/log/procServ/one": str(tmp_path / "log"),
        "/var/run/procServ/one": str(tmp_path / "run"),
        "/epics/base-7.0.5/require/3.4.1/bin/iocsh.bash": "/bin/sh",
        "/opt/iocs/e3-ioc-one": str(tmp_path / "ioc"),
    }
    for there, here in places.items():
        command = command.replace(there, here)
    server = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        control = str(tmp_path / "run" / "control")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(15)
            wait_for("server", lambda: client.connect_ex(control) == 0)
            seen = b""
            while b"this is" not in seen and b"(plus you)" not in seen:
                seen += client.recv(4096)
            client.sendall(b"typed\r")
            while seen.count(b"typed") < 2:
                seen += client.recv(4096)
        log = tmp_path / "log" / "out.log"
        wait_for("log", lambda: "this is {}/ioc/st.cmd".format(tmp_path) in log.read_text())
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(15)


def test_the_units_say_what_survival_needs():
    keeper, agent = (set(unit(name).splitlines()) for name in ("procyon-keeper.service", "procyon.service"))
    for said in (keeper, agent):
        assert {"Type=notify", "WatchdogSec=2min", "KillMode=process", "Restart=on-failure"} <= said
    # A unit that gives up takes all that systemd keeps for it along.
    assert {"OOMPolicy=continue", "TasksMax=infinity", "LimitNOFILE=1048576", "Delegate=yes", "StartLimitIntervalSec=0"} <= keeper
    # Two for each container that a keeper may hold, and of the agent's listeners: as much as the programs reckon with.
    with open(os.path.join(TOP, "src", "keeper", "store.rs"), encoding="utf-8") as handle:
        reckoned = dict(re.findall(r"pub const (\w+)_DESCRIPTORS_MAX: usize = (\d+);", handle.read()))
    assert "FileDescriptorStoreMax=" + reckoned["KEEPER"] in keeper and "FileDescriptorStoreMax=" + reckoned["AGENT"] in agent
    with open(os.path.join(TOP, "src", "keeper", "driver.rs"), encoding="utf-8") as handle:
        containers = int(re.search(r"pub const CONTAINERS_MAX: usize = (\d+);", handle.read()).group(1))
    assert int(reckoned["KEEPER"]) >= 2 * containers
    # What is required is restarted along with it, which a keeper that was killed must not do to the agent.
    assert not any(line.startswith(("Requires=", "BindsTo=", "PartOf=")) for line in agent)


def test_the_agents_unit_may_be_restarted_without_its_keepers(tmp_path):
    with one_box(tmp_path, start=False) as box:
        keeper_command = value(unit("procyon-keeper.service"), "ExecStart")
        agent_command = value(unit("procyon.service"), "ExecStart")

        def words(command):
            placed = command.replace("/usr/bin/", BINARIES + "/").replace("/var/lib/procyon", box.root)
            return shlex.split(placed)

        own = ["--listen-ssh", "127.0.0.1:0", "--settings", box.settings]
        box.agent_command = lambda: words(agent_command) + own
        keeper = subprocess.Popen(words(keeper_command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for("the keeper's socket", lambda: os.path.exists(os.path.join(box.root, "run", "keeper.sock")))
            first = box.start()
            assert first.pid == box.agent.pid and first.keeper == keeper.pid
            # What systemctl stop sends.
            box.agent.send_signal(signal.SIGTERM)
            assert box.agent.wait(15) == 0
            assert not alive(first.pid) and keeper.poll() is None
            # Who starts the agent by hand beside such a keeper is the agent: nobody else is there to start it.
            box.agent_command = lambda: [box.procyon, "agent", "--root", box.root, *own]
            second = box.start()
            assert second.keeper == first.keeper and second.pid == box.agent.pid
            refused = box.command("agent", "--root", box.root, "--upgrade", check=False)
            assert refused.returncode == 1 and "neither a custodian nor systemd" in refused.stderr
            assert keeper.poll() is None
        finally:
            keeper.send_signal(signal.SIGTERM)
            keeper.wait(30)
