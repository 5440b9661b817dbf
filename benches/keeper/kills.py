#!/usr/bin/env python3
"""Kills agents and keepers at random moments while programs print, and counts what is lost, doubled or started anew.

  kills.py [--kills 1000] [--houses 10] [--no-agents] [--seed N]

A house is a root with custodian, keeper and agent, two configured containers that count aloud (on a terminal and on a pipe)
and somebody who watches one of them. The custodian waits up to 5 s before it starts one that was killed again and again, so
many houses are worked on in turn. What counts is the end of one that had served; who is killed on its way up is told apart, and
one that ends without being killed is an error. Prints one line of JSON; the exit status says whether everything was exact.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import types

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))
sys.path.insert(0, os.path.join(TOP, "scripts"))
from box import NETCONF, Box  # noqa: E402
from test_consoles import BINARIES, House, wait_for  # noqa: E402

# Bursts, so that 25 of them leave something of two cores; some kills come in the middle of one, some between.
COUNTER = (
    "exec 3<> <(:); i=0; while :; do for ((k = 0; k < 40; k++)); do echo line $((++i)); done; read -t 0.00{} -u 3; done"
)


# Of those that are met on their way up, this share is killed, too.
EARLY_SHARE = 0.1
IDLE_SECONDS_MAX = 60


class Worked(House):
    """A custodian and its keeper; nobody configures anything."""

    prefix = ""

    def __init__(self, root, seed):
        self.begin(root, seed)
        self.shown = open(self.path("shown"), "wb")
        self.watcher = subprocess.Popen(
            [os.path.join(BINARIES, "procyon"), "console", "--root", self.root, "-s", self.prefix + "tty"],
            stdin=subprocess.DEVNULL,
            stdout=self.shown,
        )
        wait_for("both programs", lambda: len(self.programs()) == 2)
        self.pids = self.programs()
        self.killed, self.early = {"keeper": 0, "agent": 0}, {"keeper": 0, "agent": 0}
        self.lines = 0

    def begin(self, root, seed):
        super().__init__(root)
        self.said = self.path("said")
        for name, pty in (("tty", ["--pty"]), ("pipe", [])):
            self.fleet("--name", name, *pty, "--log-bytes", "10000000000", "--", "/bin/bash", "-c", COUNTER.format(1 + seed % 9))

    def programs(self):
        return re.findall(r":/bin/bash[^:]*,(\d+),", self.console("-i"))

    wards = {"keeper": b"--keeper"}

    def serves(self, name, pid):
        """Whether that keeper has got as far as to answer by its socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:
            if knock.connect_ex(self.path("run/keeper.sock")) != 0:
                return False
            return struct.unpack("3i", knock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] == pid

    def kill(self, chance):
        """Whether there was one that served, and it is killed."""
        name = chance.choice(sorted(self.wards))
        pid = self.ward(self.wards[name])
        if pid is None:
            return False
        served = self.serves(name, pid)
        # Some on their way up, too: a takeover may be cut off at any point.
        if not served and chance.random() > EARLY_SHARE:
            return False
        os.kill(pid, signal.SIGKILL)
        (self.killed if served else self.early)[name] += 1
        return served

    def unasked(self):
        """How many have ended by themselves."""
        with open(self.said, encoding="utf-8", errors="replace") as said:
            started = re.findall(r"started ward=(\w+)", said.read())
        return {name: started.count(name.title()) - 1 - self.killed[name] - self.early[name] for name in self.wards}

    def finish(self):
        """What is wrong, after all of it is written."""
        wait_for("a keeper", self.keeper)
        lengths = [len(self.log(name)) for name in ("tty", "pipe")]
        wait_for("more output", lambda: all(len(self.log(n)) > l for n, l in zip(("tty", "pipe"), lengths)))
        wrong = {"{} ended by itself".format(name): count for name, count in self.unasked().items() if count}
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
        for line in text.replace(b"\r", b"").split(b"\n")[:-1]:
            self.lines += 1
            number = int(line[5:]) if line[5:].isdigit() else None
            if expected is not None and number != expected:
                wrong[what] = wrong.get(what, 0) + 1
            expected = None if number is None else number + 1


class Governed(Worked):
    """The same with an agent, which has both programs in its configuration."""

    prefix = "container:"
    wards = {"keeper": b"--keeper", "agent": b"--serve"}

    def begin(self, root, seed):
        self.box, self.root, self.seats = Box(root, BINARIES), str(root), []
        self.box.initialise()
        with open(self.box.settings, "a", encoding="utf-8") as settings:
            settings.write("[limits]\nlog_bytes = 10000000000\n")
        # Refuses with what the agent has said if it does not serve: then nothing of this would be about agents.
        self.box.start()
        self.said = self.path("state/custodian.log")
        with open("/proc/{}/stat".format(self.box.ready.keeper)) as stat:
            self.process = types.SimpleNamespace(pid=int(stat.read().rpartition(")")[2].split()[1]))
        counter = self.path("count.sh")
        with open(counter, "w", encoding="utf-8") as script:
            script.write(COUNTER.format(1 + seed % 9))
        entry = "<container><name>{}</name><command>/bin/bash {}</command>{}</container>"
        entries = entry.format("tty", counter, "<terminal/>") + entry.format("pipe", counter, "")
        config = '<config xmlns="{}"><containers xmlns="urn:procyon:container">{}</containers></config>'
        with self.box.connect() as session:
            session.edit_config(target="candidate", config=config.format(NETCONF, entries))
            session.commit()

    def serves(self, name, pid):
        return any(ready.pid == pid for ready in self.box.readies) if name == "agent" else super().serves(name, pid)

    def log(self, name):
        try:
            path = "harddisk/mirror/script-mgmt/logs/container/{}/stdout.log".format(name)
            with open(self.path(path), "rb") as log:
                return log.read()
        except FileNotFoundError:
            return b""

    def finish(self):
        wait_for("an agent", lambda: self.ward(b"--serve"))
        return super().finish()

    def close(self):
        self.watcher.kill()
        self.box.remove()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--kills", type=int, default=1000)
    arguments.add_argument("--houses", type=int, default=10)
    arguments.add_argument("--no-agents", action="store_true")
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    chance = random.Random(asked.seed)
    folder = tempfile.mkdtemp(prefix="procyon-kills-")
    begin, houses, wrong = time.monotonic(), [], {}
    try:
        for number in range(asked.houses):
            house = Worked if asked.no_agents else Governed
            houses.append(house(os.path.join(folder, str(number)), number))
        kills, last = 0, time.monotonic()
        while kills < asked.kills:
            if chance.choice(houses).kill(chance):
                kills, last = kills + 1, time.monotonic()
            elif time.monotonic() > last + IDLE_SECONDS_MAX:
                sys.exit("nobody serves any more: see state/custodian.log of the houses in {}".format(folder))
            time.sleep(chance.random() * 0.1)
        for house in houses:
            for what, count in house.finish().items():
                wrong[what] = wrong.get(what, 0) + count
    finally:
        for house in houses:
            house.close()
        shutil.rmtree(folder, ignore_errors=True)
    row = {
        "kills": {name: sum(house.killed[name] for house in houses) for name in ("agent", "keeper")},
        "killed on their way up": {name: sum(house.early[name] for house in houses) for name in ("agent", "keeper")},
        "lines": sum(house.lines for house in houses),
        "wrong": wrong,
        "seconds": round(time.monotonic() - begin),
    }
    print(json.dumps(row))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
