#!/usr/bin/env python3
"""What the shell costs: its prompt, a command over SSH beside what the client takes for nothing, every `show` of a thousand
apps, TAB among 10,000 entries, a paste of 10,000 lines.

scripts/figures_shell.py --bin target/release
"""

import argparse
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import box as boxes  # noqa: E402

RUNS = 30
RUNS_OF_LARGE = 10
APPS = 1_000
ENTRIES = 10_000
PASTED = 10_000
ANSWER_SECONDS_MAX = 120
READ_BYTES = 1 << 16
# A prompt is short, and the last thing that is written.
TAIL_BYTES = 200
PROMPT = re.compile(rb"RP/0/RP0/CPU0:[\w.-]+(\(config[\w-]*\))?#$")
SHOWS = (
    "show appmgr process-script-table",
    "show appmgr process-script-table | json",
    "show appmgr process-script-table | utility tail -n 1",
    "show appmgr process-script app00500 info",
    "show running-config",
    "show running-config | formal",
    "show running-config appmgr | xml",
    "show configuration commit changes last 1",
    "show configuration commit list",
    "show script status",
    "show logging",
)


class Typist:
    """Somebody at `procyon shell`, on a terminal that never pauses and never wraps."""

    def __init__(self, box):
        self.terminal, shell_side = pty.openpty()
        fcntl.ioctl(shell_side, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        command = [box.procyon, "shell", "--root", box.root]
        self.shell = subprocess.Popen(command, stdin=shell_side, stdout=shell_side, stderr=shell_side, start_new_session=True)
        os.close(shell_side)
        self.shown = b""

    def close(self):
        os.close(self.terminal)
        self.shell.wait()

    def send(self, text):
        """Writes as fast as it is taken, and reads meanwhile."""
        data = text.encode()
        while data:
            readable, writable, _ = select.select([self.terminal], [self.terminal], [], ANSWER_SECONDS_MAX)
            if readable:
                self.shown += os.read(self.terminal, READ_BYTES)
            if writable:
                data = data[os.write(self.terminal, data[:1024]) :]

    def wait(self, is_there):
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while not is_there(self.shown):
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.terminal], [], [], left)[0]:
                raise boxes.Trouble("no answer; the terminal shows {!r}".format(self.shown[-TAIL_BYTES:]))
            self.shown += os.read(self.terminal, READ_BYTES)
        shown, self.shown = self.shown, b""
        return shown

    def wait_prompt(self):
        return self.wait(lambda shown: PROMPT.search(shown[-TAIL_BYTES:]))

    def line(self, text):
        self.send(text + "\r")
        return self.wait_prompt()


def milliseconds(act):
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def tell(what, took, wanted=None):
    """Median and 90th percentile, beside what is wanted of the median."""
    ninth = sorted(took)[int(len(took) * 0.9)]
    sys.stdout.write("{:<62} p50 {:8.1f} ms   p90 {:8.1f} ms".format(what, statistics.median(took), ninth))
    sys.stdout.write("   wanted < {} ms\n".format(wanted) if wanted else "\n")
    sys.stdout.flush()


def configure(box, count, prefix):
    """Through `load`: what a person would do with so many."""
    path = os.path.join(box.root, "harddisk", prefix + ".cfg")
    with open(path, "w", encoding="utf-8") as handle:
        for number in range(count):
            handle.write("appmgr process-script {}{:05}\n executable {}.py\n!\n".format(prefix, number, prefix))
    lines = "configure\nload harddisk:/{}.cfg\ncommit\nend\n".format(prefix)
    done = subprocess.run([box.procyon, "shell", "--root", box.root], input=lines, capture_output=True, text=True)
    if done.returncode != 0:
        raise boxes.Trouble("{} apps could not be configured: {}{}".format(count, done.stdout, done.stderr))


def measure_prompt(box):
    took = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        typist = Typist(box)
        typist.wait_prompt()
        took.append((time.perf_counter() - begin) * 1000)
        typist.close()
    tell("`procyon shell`, until its prompt", took, 30)
    once = [box.procyon, "shell", "--root", box.root, "-c", "show clock"]
    tell("`procyon shell -c 'show clock'`", [milliseconds(lambda: run(once)) for _ in range(RUNS)])


def measure_ssh(box):
    """The three take turns, so that whatever else the machine does is in all of them."""
    host, port = box.ready.ssh
    ssh = [
        "ssh", "-F", "none", "-q", "-T", "-i", box.key, "-p", str(port), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "{}@{}".format(box.admin, host),
    ]  # fmt: skip
    commands = {
        "`ssh -s HOST no-such-subsystem`: the client alone": ssh[:-1] + ["-s", ssh[-1], "no-such-subsystem"],
        "`ssh HOST exit`: a shell, and nothing else": ssh + ["exit"],
        "`ssh HOST 'show script status'`": ssh + ["show script status"],
    }
    took = {what: [] for what in commands}
    for _ in range(RUNS):
        for what, command in commands.items():
            took[what].append(milliseconds(lambda: run(command)))
    for what in commands:
        tell(what, took[what], 70 if "status" in what else None)


def run(command):
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def measure_shows(box):
    configure(box, APPS, "app")
    typist = Typist(box)
    typist.wait_prompt()
    for command in SHOWS:
        tell("`{}`, {} apps".format(command, APPS), [milliseconds(lambda: typist.line(command)) for _ in range(RUNS_OF_LARGE)], 100)
    typist.close()


def measure_tab(box):
    configure(box, ENTRIES - APPS, "entry")
    typist = Typist(box)
    typist.wait_prompt()
    tell("TAB among {} apps".format(ENTRIES), tabs(typist, "show appmgr process-script entry07890"), 10)
    typist.line("configure")
    tell("TAB among {} entries of the configuration".format(ENTRIES), tabs(typist, "appmgr process-script entry07890"), 10)
    typist.close()


def tabs(typist, text):
    return [tab(typist, text) for _ in range(RUNS_OF_LARGE)]


def tab(typist, text):
    """The word is complete but for the blank behind it; only the key itself is measured."""
    typist.send(text)
    typist.wait(lambda shown: shown.endswith(text.encode()))

    def press():
        typist.send("\t")
        typist.wait(lambda shown: shown.endswith(b" "))

    took = milliseconds(press)
    typist.line("\x15")
    return took


def measure_paste(box):
    lines = ["appmgr process-script paste{:05} executable paste.py".format(number) for number in range(PASTED)]
    text = "".join(line + "\r" for line in [*lines, "root", "pwd"])
    typist = Typist(box)
    typist.wait_prompt()
    typist.line("configure")

    def paste():
        typist.send(text)
        typist.wait(lambda shown: b"(top)\r\n" in shown[-TAIL_BYTES:] and PROMPT.search(shown[-TAIL_BYTES:]))

    tell("a paste of {} lines, taken by the agent".format(PASTED), [milliseconds(paste)], 2_000)
    tell("`commit` of them", [milliseconds(lambda: typist.line("commit"))])
    typist.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release", help="folder of the two programs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="procyon-figures-") as folder:
        os.chmod(folder, 0o755)
        box = boxes.Box(os.path.join(folder, "root"), arguments.bin)
        box.initialise()
        box.start()
        try:
            for measure in (measure_prompt, measure_ssh, measure_shows, measure_tab, measure_paste):
                measure(box)
        finally:
            box.remove()


if __name__ == "__main__":
    main()
