"""`procyon console` from outside: what an app prints, on both of its streams, read-only."""

import os
import signal
import subprocess

from device import App


TALKER = b"""
import sys, time
print('first line', flush=True)
print('an error line', file=sys.stderr, flush=True)
number = 0
while True:
    number += 1
    print('line', number, flush=True)
    time.sleep(0.05)
"""


def watch(box, *name):
    return subprocess.Popen(
        [box.procyon, "console", "--root", box.root, *name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process, text):
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return "".join(seen)
    raise AssertionError("the console ended before {!r}: {}{}".format(text, "".join(seen), process.stderr.read()))


def test_a_console_shows_both_streams_before_and_after_the_agent_is_killed(own_box):
    with own_box.connect() as session:
        App(own_box, session, "talker.py", TALKER).activate()

    listed = own_box.command("console", "--root", own_box.root).stdout
    assert listed.split() == ["talker", "up", "<none>"]

    console = watch(own_box, "talker")
    try:
        recent = read_until(console, "line 3")
        assert "first line" in recent
        assert "an error line" in recent
        os.kill(own_box.ready.pid, signal.SIGKILL)
        read_until(console, "line 20")
        # And at the very byte when the keeper is followed by another.
        os.kill(own_box.ready.keeper, signal.SIGKILL)
        rest = read_until(console, "line 60")
        shown = [int(line.split()[1]) for line in rest.splitlines() if line.startswith("line ")]
        assert shown == list(range(21, 61))
        assert own_box.command("console", "--root", own_box.root, "-w").stdout.split()[1:] == ["spy", "0:00", "talker"]
    finally:
        console.kill()
        console.wait()


def test_a_console_that_is_not_there_is_said(own_box):
    done = own_box.command("console", "--root", own_box.root, "nobody", check=False)
    assert done.returncode == 1
    assert "there is no console `nobody`" in done.stderr


def ssh(box, *words):
    host, port = box.ready.ssh
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    return ["ssh", "-i", box.key, "-p", str(port), *options, "{}@{}".format(box.admin, host), *words]


def test_consoles_over_ssh(own_box):
    with own_box.connect() as session:
        App(own_box, session, "talker.py", TALKER).activate()

    def said(*words):
        return subprocess.run(ssh(own_box, *words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)

    assert said("console", "-u").stdout.split() == ["talker", "up", "<none>"]
    wrong = said("console", "nobody")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: there is no console `nobody`")
    assert "unexpected argument" in said("console", "--nonsense").stderr

    watching = subprocess.Popen(
        ssh(own_box, "console", "-S", "talk"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        read_until(watching, "[spying]")
        assert said("console", "-w").stdout.split()[0] == "{}@127.0.0.1".format(own_box.admin)
        os.kill(own_box.ready.keeper, signal.SIGKILL)
        rest = read_until(watching, "line 60").splitlines()
        shown = [int(line.split()[1]) for line in rest if line.startswith("line ")]
        assert shown == list(range(shown[0], 61))
    finally:
        watching.kill()
        watching.wait()
