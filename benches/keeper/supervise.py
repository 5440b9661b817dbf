#!/usr/bin/env python3
"""The keeper under the measuring harness for supervisors: fleets, consoles, echo, logs, and a client that never reads.

  supervise.py --harness DIR fleet -n 1000 [--idle 20] [--kills 100] [--peer bare]
  supervise.py --harness DIR console --clients 10 [--bytes 50000000] [--peer bare-pty]
  supervise.py --harness DIR echo | log [--peer procyon-pipe]
  supervise.py --harness DIR stuck [--bytes 200000000]
  supervise.py --harness DIR full -n 1000      memory with every console's ring full
  supervise.py --harness DIR adopt -n 1000     how long a new agent's view and a new keeper take
  supervise.py --harness DIR loop [--idle 20]  CPU of a child that exits at once, for ever

DIR holds supervise_bench.py and its peers. Needs cargo build --release --bins --examples, or PROCYON_BIN.
"""

import argparse
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARIES = os.path.abspath(os.environ.get("PROCYON_BIN", os.path.join(TOP, "target", "release")))
READY_SECONDS_MAX = 30


def harness(folder):
    sys.path.insert(0, folder)
    import supervise_bench

    return supervise_bench


def define(bench):
    from peers.base import CHILD, Peer, children_of

    class Procyon(Peer):
        name = "procyon"
        note = "agent, keeper and custodian; every child on a pty with a console"
        settle = 0.2
        pty = ["--pty"]

        def prepare(self, n):
            self.n = n
            self.house()

        def house(self):
            shutil.rmtree(self.root, ignore_errors=True)
            self.program("procyon", "init", "--root", self.root, "--admin", "admin", "--password-stdin", input="secret\n")
            words = [os.path.join(BINARIES, "procyon"), "agent", "--root", self.root, "--listen-ssh", "127.0.0.1:0"]
            self.launcher = self.spawn(words, stdout=subprocess.PIPE, text=True)
            self.ready = dict(word.split("=", 1) for word in self.launcher.stdout.readline().split()[1:])

        def program(self, name, *words, **options):
            return subprocess.run([os.path.join(BINARIES, name), *words], check=True, text=True, **options)

        def fleet(self, *words):
            self.program("examples/fleet", "--root", self.root, *words)

        def start(self):
            self.fleet(
                "--name", "c", "--count", str(self.n), *self.pty, "--env", "BENCH_SOCK=" + bench.SOCK, "--", CHILD, "{}"
            )

        def pids(self):
            """Agent and keeper, and their parent the custodian; not who only waits for their first word."""
            agent, keeper = int(self.ready["pid"]), int(self.ready["keeper"])
            with open("/proc/{}/stat".format(keeper)) as stat:
                custodian = int(stat.read().rpartition(")")[2].split()[1])
            return [agent, keeper, custodian]

        def stop(self):
            self.program("procyon", "agent", "--root", self.root, "--stop")
            self.end()

        def start_one(self, args, log=None):
            self.house()
            self.sock = self.root + "/run/one.sock"
            logs = ["--logs", log + ".d", "--log-bytes", "10000000000"] if log else []
            self.logfile = log + ".d/stdout.log" if log else None
            self.fleet(
                "--unix", self.sock, "--write", "--never", *self.pty, *logs, "--env", "BENCH_SOCK=" + bench.SOCK, "--",
                CHILD, "one", *args,
            )
            # What the harness takes for the server's processes.
            self.procs = [Known(pid) for pid in self.pids()] + self.procs

        def attach(self):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.sock)
            client.settimeout(0.3)
            try:
                while client.recv(65536):
                    pass
            except socket.timeout:
                pass
            client.settimeout(None)
            return client

        def end(self, procs=None, sig=signal.SIGTERM, wait=20):
            super().end([self.launcher], sig, wait)
            self.procs = []

    class ProcyonPipe(Procyon):
        name = "procyon-pipe"
        note = "agent, keeper and custodian; every child on pipes"
        pty = []

    class Bare(Peer):
        name = "bare"
        note = "terminals and posix_spawn alone: what the machine itself takes"
        settle = 0.2

        def prepare(self, n):
            self.n = n

        def start(self):
            words = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "bare.py"), str(self.n), CHILD]
            self.bare = self.spawn(words)

        def pids(self):
            return [self.bare.pid]

        def stop(self):
            self.end()

    class Known:
        def __init__(self, pid):
            self.pid = pid

        def poll(self):
            return None if os.path.exists("/proc/{}".format(self.pid)) else 0

    for peer in (Procyon, ProcyonPipe, Bare):
        bench.PEERS[peer.name] = peer
    return Procyon


def stuck(bench, size):
    """One client never reads; another does: how long it waits at most between two pieces."""
    ears = bench.ears()
    peer = bench.PEERS["procyon"](bench.ROOT, bench.env())
    peer.start_one(["flood", str(size)], None)
    _, pid, _ = bench.hear(ears, 20)
    time.sleep(0.5)
    try:
        never, reads = peer.attach(), peer.attach()
        os.kill(pid, signal.SIGUSR1)
        gaps, seen, tail, last = [], 0, b"", None
        while b"BENCH-END" not in tail:
            if not select.select([reads], [], [], 20)[0]:
                break
            piece = reads.recv(1 << 18)
            now = time.monotonic()
            if last is not None:
                gaps.append((now - last) * 1000)
            last, seen, tail = now, seen + len(piece), (tail + piece)[-64:]
        never.close()
        return {
            "test": "stuck", "peer": "procyon", "bytes": size, "seen": seen, "pieces": len(gaps),
            "gap_ms_p50": round(bench.pct(gaps, 50), 3), "gap_ms_p999": round(bench.pct(gaps, 99.9), 3),
            "gap_ms_max": round(max(gaps), 3),
        }
    finally:
        bench.stop_one(peer, pid)
        ears.close()


def full(bench, n):
    """Each child prints more than its ring holds."""
    peer = bench.PEERS["procyon"](bench.ROOT, bench.env())
    peer.prepare(n)
    try:
        talk = "head -c 65536 /dev/zero | tr '\\0' x; exec sleep 1000"
        peer.fleet("--name", "c", "--count", str(n), "--pty", "--never", "--", "/bin/sh", "-c", talk)
        deadline = time.monotonic() + 120
        logs = [os.path.join(peer.root, "logs", "c{:04d}".format(number), "stdout.log") for number in range(n)]
        while any(not os.path.exists(log) or os.path.getsize(log) < 65536 for log in logs):
            if time.monotonic() > deadline:
                raise TimeoutError("not all of them have printed")
            time.sleep(0.1)
        rss, pss = bench.mem(peer.pids())
        each = {name: bench.mem([pid])[1] for name, pid in zip(("agent", "keeper", "custodian"), peer.pids())}
        return {"test": "full", "peer": "procyon", "n": n, "rss_kib": rss, "pss_kib": pss, "each_pss_kib": each}
    finally:
        peer.stop()


def adopt(bench, n):
    """Kills the agent, then the keeper, each time until what follows it serves."""
    ears = bench.ears()
    peer = bench.PEERS["procyon"](bench.ROOT, bench.env())
    peer.prepare(n)
    try:
        peer.start()
        for _ in range(n):
            bench.hear(ears, 30)
        row = {"test": "adopt", "peer": "procyon", "n": n}
        begin = time.monotonic()
        os.kill(int(peer.ready["pid"]), signal.SIGKILL)
        peer.launcher.stdout.readline()
        row["agent_ready_ms"] = round((time.monotonic() - begin) * 1000, 1)
        begin = time.monotonic()
        os.kill(int(peer.ready["keeper"]), signal.SIGKILL)
        listed = [os.path.join(BINARIES, "procyon"), "console", "--root", peer.root, "-u"]
        while True:
            done = subprocess.run(listed, capture_output=True, text=True)
            if done.stdout.count(" up ") == n:
                break
        row["keeper_lists_all_ms"] = round((time.monotonic() - begin) * 1000, 1)
        return row
    finally:
        peer.stop()
        ears.close()


def loop(bench, seconds):
    """One child that always exits at once, from its first start on."""
    peer = bench.PEERS["procyon"](bench.ROOT, bench.env())
    peer.prepare(1)
    try:
        begin, busy = time.monotonic(), bench.cpu_ns(peer.pids())
        peer.fleet("--name", "c", "--pty", "--", "/bin/true")
        time.sleep(seconds)
        used, passed = (bench.cpu_ns(peer.pids()) - busy) / 1e9, time.monotonic() - begin
        return {"test": "loop", "peer": "procyon", "seconds": round(passed, 1), "cpu_pct_of_a_core": round(100 * used / passed, 3)}
    finally:
        peer.stop()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--harness", required=True, metavar="DIR")
    arguments.add_argument("test", choices=["fleet", "console", "echo", "log", "stuck", "full", "adopt", "loop"])
    arguments.add_argument("--peer", default="procyon")
    arguments.add_argument("-n", type=int, default=1000)
    arguments.add_argument("--idle", type=float, default=20)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--clients", type=int, default=1)
    arguments.add_argument("--bytes", type=int, default=50_000_000)
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--repeat", type=int, default=1)
    asked = arguments.parse_args()
    bench = harness(asked.harness)
    define(bench)
    bench.build()
    run = {
        "fleet": lambda: bench.fleet(asked.peer, asked.n, asked.idle, asked.kills),
        "console": lambda: bench.console(asked.peer, asked.clients, asked.bytes),
        "echo": lambda: bench.echo(asked.peer, asked.clients, asked.count),
        "log": lambda: bench.log(asked.peer, asked.bytes),
        "stuck": lambda: stuck(bench, asked.bytes),
        "full": lambda: full(bench, asked.n),
        "adopt": lambda: adopt(bench, asked.n),
        "loop": lambda: loop(bench, asked.idle),
    }
    for _ in range(asked.repeat):
        print(json.dumps(run[asked.test]()), flush=True)


if __name__ == "__main__":
    main()
