"""The units that we ship, as systemd itself judges them, and what they run, run as they run it."""

import os
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


def test_the_agents_unit_may_be_restarted_without_its_keepers(tmp_path):
    with one_box(tmp_path, start=False) as box:
        keeper_command = value(unit("procyon-keeper.service"), "ExecStart")
        agent_command = value(unit("procyon.service"), "ExecStart")

        def words(command):
            placed = command.replace("/usr/bin/", BINARIES + "/").replace("/var/lib/procyon", box.root)
            return shlex.split(placed)

        box.agent_command = lambda: words(agent_command) + ["--listen-ssh", "127.0.0.1:0", "--settings", box.settings]
        custodian = subprocess.Popen(words(keeper_command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for("control socket", lambda: os.path.exists(os.path.join(box.root, "run", "custodian.sock")))
            first = box.start()
            # What systemctl stop sends, to the unit's main process alone.
            box.agent.send_signal(signal.SIGTERM)
            assert box.agent.wait(15) == 0
            assert not alive(first.pid) and alive(first.keeper) and custodian.poll() is None
            second = box.start()
            assert second.keeper == first.keeper and second.pid != first.pid
        finally:
            subprocess.run(words(value(unit("procyon-keeper.service"), "ExecStop")), stdin=subprocess.DEVNULL, timeout=30, check=False)
            custodian.wait(15)
