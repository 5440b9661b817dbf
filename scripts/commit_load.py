#!/usr/bin/env python3
"""Many sessions that commit at once: how many commits a second, and whether any is lost when the agent is killed.

    scripts/commit_load.py rate  [--sessions 8] [--seconds 5]            commits a second and their times
    scripts/commit_load.py crash [--sessions 8] [--seconds 30] [--seed N]  kill -9 at random moments, again and again

Each session has a candidate of its own and an entry of its own, in which it writes the same number into two leaves with
every commit. After each kill the agent is started again, and then for every session: both leaves are the same (no commit
is half there), the number is at least the last one that was acknowledged (none is missing) and at most the one that was
under way. Ends with 1 when that does not hold.
"""

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import box as boxes  # noqa: E402

MODULE = "commit-load"
NAMESPACE = "urn:procyon:commit-load"
YANG = """module commit-load {
  yang-version 1.1;
  namespace "urn:procyon:commit-load";
  prefix load;
  container load {
    leaf shared { type string; }
    list writer {
      key name;
      leaf name { type string; }
      leaf count { type uint64; }
      leaf twin { type uint64; must ". = ../count"; }
    }
  }
}
"""
PRIVATE = "urn:ietf:params:netconf:capability:private-candidate:1.0"
HELLO = (
    '<hello xmlns="{}"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability>'
    "<capability>{}</capability></capabilities></hello>".format(boxes.NETCONF, PRIVATE)
)
END = b"]]>]]>"
FILTER = '<filter type="subtree"><load xmlns="{}"/></filter>'.format(NAMESPACE)
# One commit in so many also writes a leaf that all want: most of those are refused, and nothing of them may be there.
CONTENDED_EVERY = 7
START_SECONDS_MAX = 60
REPLY_SECONDS_MAX = 60


class Gone(Exception):
    """The agent went away in the middle of something."""


class Refused(Exception):
    """What should have been done was not, or what is there should not be."""


class Session:
    """NETCONF over the agent's local socket."""

    def __init__(self, path):
        self.buffer = b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(REPLY_SECONDS_MAX)
        try:
            self.socket.connect(path)
        except OSError as error:
            raise Gone(str(error)) from error
        self.send(HELLO)
        self.receive()

    def send(self, text):
        try:
            self.socket.sendall(text.encode() + END)
        except OSError as error:
            raise Gone(str(error)) from error

    def receive(self):
        while END not in self.buffer:
            try:
                piece = self.socket.recv(65536)
            except ConnectionError as error:
                raise Gone(str(error)) from error
            if not piece:
                raise Gone("closed")
            self.buffer += piece
        message, self.buffer = self.buffer.split(END, 1)
        return message.decode()

    def ask(self, operation):
        self.send('<rpc xmlns="{}" message-id="1">{}</rpc>'.format(boxes.NETCONF, operation))
        return self.receive()

    def close(self):
        self.socket.close()


class Writer:
    """One session's share: what it tried, and what it was told is there."""

    def __init__(self, name):
        self.name = name
        self.acknowledged = 0
        self.tried = 0
        self.commits = 0
        self.conflicts = 0
        self.times = []

    def step(self, session):
        """The next number; with it, now and then, the leaf that all want."""
        self.tried += 1
        contended = self.tried % CONTENDED_EVERY == 0
        begin = time.monotonic()
        reply = self.commit(session, "<shared>{}-{}</shared>".format(self.name, self.tried) if contended else "")
        if contended and "/commit-load:load/shared" in reply:
            # Refused as a whole, so the number is not there either.
            self.conflicts += 1
            session.ask("<discard-changes/>")
            reply = self.commit(session, "")
        if "<ok/>" not in reply:
            raise Refused(reply)
        self.times.append(time.monotonic() - begin)
        self.acknowledged = self.tried
        self.commits += 1

    def commit(self, session, shared):
        entry = "<writer><name>{0}</name><count>{1}</count><twin>{1}</twin></writer>".format(self.name, self.tried)
        config = '<load xmlns="{}">{}{}</load>'.format(NAMESPACE, shared, entry)
        reply = session.ask("<edit-config><target><candidate/></target><config>{}</config></edit-config>".format(config))
        return session.ask("<commit/>") if "<ok/>" in reply else reply


class Load:
    """An agent on a scratch root, without a keeper, and the sessions that load it."""

    def __init__(self, folder, binaries, sessions):
        self.box = boxes.Box(os.path.join(folder, "root"), binaries)
        self.box.initialise()
        with open(os.path.join(folder, MODULE + ".yang"), "w", encoding="utf-8") as handle:
            handle.write(YANG)
        self.folder = folder
        self.socket = os.path.join(self.box.root, "run", "agent.sock")
        self.writers = [Writer("w{}".format(index)) for index in range(sessions)]
        self.agent = None
        self.over = threading.Event()
        self.refused = None
        self.log = open(os.path.join(folder, "agent.log"), "ab")

    def start(self):
        command = self.box.agent_command() + ["--yang-dir", self.folder, "--module", MODULE, "--serve"]
        self.agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)

    def connect(self):
        """A session of the agent that serves now."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return Session(self.socket)
            except Gone:
                if self.agent.poll() is not None:
                    raise Refused("the agent does not start; see " + self.log.name)
                if time.monotonic() > deadline:
                    raise Refused("the agent does not serve within {} s".format(START_SECONDS_MAX))
                time.sleep(0.01)

    def write(self, writer):
        try:
            session = Session(self.socket)
            while not self.over.is_set():
                writer.step(session)
            session.close()
        except Gone:
            pass
        except Refused as refused:
            self.refused = refused

    def run_writers(self, until):
        """Lets all sessions commit until `until` returns."""
        self.over.clear()
        threads = [threading.Thread(target=self.write, args=(writer,)) for writer in self.writers]
        for thread in threads:
            thread.start()
        until()
        self.over.set()
        for thread in threads:
            thread.join()
        if self.refused:
            raise self.refused

    def kill(self):
        self.agent.send_signal(signal.SIGKILL)
        self.agent.wait()

    def check(self):
        """What an agent that was just started knows of every session. Answers how many commits under way are there."""
        session = self.connect()
        running = session.ask("<get-config><source><running/></source>{}</get-config>".format(FILTER))
        ids = [int(found) for found in re.findall(r"<commit-id>(\d+)</commit-id>", session.ask(HISTORY))]
        session.close()
        if ids != list(range(ids[0], ids[0] - len(ids), -1)):
            raise Refused("the history has a gap: {}".format(ids))
        survived = 0
        for writer in self.writers:
            entry = re.search("<name>{}</name>(.*?)</writer>".format(writer.name), running)
            leaves = re.findall(r"<(?:count|twin)>(\d+)</", entry.group(1)) if entry else ["0", "0"]
            if len(leaves) != 2 or leaves[0] != leaves[1]:
                raise Refused("a commit of {} is half there: {}".format(writer.name, leaves))
            count = int(leaves[0])
            if not writer.acknowledged <= count <= writer.tried:
                told = "{} was acknowledged {} and tried {}, there is {}"
                raise Refused(told.format(writer.name, writer.acknowledged, writer.tried, count))
            survived += count - writer.acknowledged
            writer.acknowledged = writer.tried = count
        return survived

    def files(self):
        """How many commit files there are, and how many of them hold more than one."""
        names = [name for name in os.listdir(os.path.join(self.box.root, "config", "commits")) if name[0].isdigit()]
        return len(names), sum("-" in name for name in names)

    def end(self):
        if self.agent and self.agent.poll() is None:
            self.kill()
        self.log.close()
        self.box.remove()


HISTORY = '<get><filter type="subtree"><config-manager xmlns="{}config-cfgmgr-exec-oper"/></filter></get>'.format(boxes.CISCO)


def crash(load, options):
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    dice = random.Random(seed)
    load.start()
    load.connect().close()
    kills = survived = 0
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:

        def kill_some_time():
            time.sleep(dice.uniform(0.02, 0.5))
            load.kill()

        load.run_writers(kill_some_time)
        kills += 1
        load.start()
        if dice.random() < 0.2:
            # Also while it recovers.
            time.sleep(dice.uniform(0, 0.3))
            load.kill()
            kills += 1
            load.start()
        survived += load.check()
    commits = sum(writer.commits for writer in load.writers)
    conflicts = sum(writer.conflicts for writer in load.writers)
    told = "seed {}: {} kills, {} commits acknowledged, none missing, none half there; {} unacknowledged ones survived, {} conflicts"
    print(told.format(seed, kills, commits, survived, conflicts))
    print("{} commit files, {} of them shared".format(*load.files()))


def rate(load, options):
    load.start()
    load.connect().close()
    load.run_writers(lambda: time.sleep(options.seconds))
    commits = sum(writer.commits for writer in load.writers)
    times = sorted(taken for writer in load.writers for taken in writer.times)
    print(
        "{} sessions: {:.0f} commits/s, p50 {:.2f} ms, p99 {:.2f} ms".format(
            len(load.writers), commits / options.seconds, 1e3 * times[len(times) // 2], 1e3 * times[len(times) * 99 // 100]
        )
    )
    print("{} commit files, {} of them shared".format(*load.files()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rate", "crash"])
    parser.add_argument("--bin", default=os.path.join(boxes.TOP, "target", "debug"))
    parser.add_argument("--folder", help="where the scratch root is made; its file system is what is measured")
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        load = Load(folder, options.bin, options.sessions)
        try:
            {"rate": rate, "crash": crash}[options.what](load, options)
        except Refused as refused:
            sys.exit(str(refused))
        finally:
            load.end()


if __name__ == "__main__":
    main()
