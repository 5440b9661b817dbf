#!/usr/bin/env python3
"""Kills keepers and agents at random moments while programs print, and counts what is lost or doubled.

  kills.py [--kills 1000] [--houses 25] [--agents 4]

A house is a custodian with its keeper, two programs that count aloud (on a terminal and on a pipe) and somebody who watches
one of them; some have an agent too. The custodian waits up to 5 s before it starts one that was killed again and again,
so many houses are worked on in turn. Prints one line of JSON; the exit status says whether everything was exact.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))
from test_consoles import BINARIES, House, wait_for  # noqa: E402

# Bursts, so that 25 of them leave something of two cores; some kills come in the middle of one, some between.
COUNTER = (
    "exec 3<> <(:); i=0; while :; do for ((k = 0; k < 40; k++)); do echo line $((++i)); done; read -t 0.00{} -u 3; done"
)


class Worked(House):
    def __init__(self, root, has_agent, seed):
        self.has_agent = has_agent
        super().__init__(root)
        if has_agent:
            self.start_agent()
        for name, pty in (("tty", ["--pty"]), ("pipe", [])):
            self.fleet("--name", name, *pty, "--log-bytes", "10000000000", "--", "/bin/bash", "-c", COUNTER.format(1 + seed % 9))
        self.shown = open(self.path("shown"), "wb")
        self.watcher = subprocess.Popen(
            [os.path.join(BINARIES, "procyon"), "console", "--root", self.root, "-s", "tty"],
            stdin=subprocess.DEVNULL,
            stdout=self.shown,
        )
        self.pids = self.programs()
        self.killed = {"keeper": 0, "agent": 0}

    def start_agent(self):
        """The custodian that is there is told to start it; what it says is of no interest here."""
        self.launcher = subprocess.Popen(
            [os.path.join(BINARIES, "procyon"), "agent", "--root", self.root, "--listen-ssh", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for("the agent", self.agent)

    def agent(self):
        return self.ward(b"--serve")

    def programs(self):
        return re.findall(r":/bin/bash[^:]*,(\d+),", self.console("-i"))

    def kill(self, which):
        pid = self.keeper() if which == "keeper" else self.agent()
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        self.killed[which] += 1
        return True

    def finish(self):
        """What is wrong, after all of it is written."""
        wait_for("a keeper", self.keeper)
        lengths = [len(self.log(name)) for name in ("tty", "pipe")]
        wait_for("more output", lambda: all(len(self.log(n)) > l for n, l in zip(("tty", "pipe"), lengths)))
        wrong = {}
        if self.programs() != self.pids:
            wrong["started anew"] = 1
        for name in ("tty", "pipe"):
            self.count(self.log(name), name, 1, wrong)
        self.watcher.kill()
        self.watcher.wait()
        with open(self.path("shown"), "rb") as shown:
            text = shown.read()
        if b"@@@ lost" in text:
            wrong["watcher told of a loss"] = text.count(b"@@@ lost")
        else:
            self.count(text[text.index(b"line ") :].replace(b"[spying]\r\n", b""), "watcher", None, wrong)
        return wrong

    def count(self, text, what, first, wrong):
        expected = first
        self.lines = getattr(self, "lines", 0)
        for line in text.replace(b"\r", b"").split(b"\n")[:-1]:
            self.lines += 1
            number = int(line[5:]) if line[5:].isdigit() else None
            if expected is not None and number != expected:
                wrong[what] = wrong.get(what, 0) + 1
            expected = None if number is None else number + 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--kills", type=int, default=1000)
    arguments.add_argument("--houses", type=int, default=25)
    arguments.add_argument("--agents", type=int, default=4)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    chance = random.Random(asked.seed)
    folder = tempfile.mkdtemp(prefix="procyon-kills-")
    begin, houses, wrong = time.monotonic(), [], {}
    try:
        for number in range(asked.houses):
            houses.append(Worked(os.path.join(folder, str(number)), number < asked.agents, number))
        kills = 0
        while kills < asked.kills:
            house = chance.choice(houses)
            which = "agent" if house.has_agent and chance.random() < 0.5 else "keeper"
            kills += house.kill(which)
            time.sleep(chance.random() * 0.1)
        for house in houses:
            for what, count in house.finish().items():
                wrong[what] = wrong.get(what, 0) + count
    finally:
        for house in houses:
            house.close()
            if house.has_agent:
                house.launcher.wait()
        shutil.rmtree(folder, ignore_errors=True)
    row = {
        "kills": {which: sum(house.killed[which] for house in houses) for which in ("keeper", "agent")},
        "lines": sum(house.lines for house in houses),
        "wrong": wrong,
        "seconds": round(time.monotonic() - begin),
    }
    print(json.dumps(row))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
