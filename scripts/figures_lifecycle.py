#!/usr/bin/env python3
"""What the lifecycle costs: 200 processes ten deep from the start order to the last one running; 1,000 idle definitions.

scripts/figures_lifecycle.py --bin target/release
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import box as boxes  # noqa: E402

PROCESS = "urn:procyon:process"
DEFINITION = "http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00"
DEEP = 10
TICKS = os.sysconf("SC_CLK_TCK")


def define(box, name, needs=()):
    text = (
        '<sipXecs-process xmlns="{}"><name>{}</name><version>1</version><commands><configtest><execute>/bin/true</execute>'
        "</configtest><start><execute>/bin/sleep</execute><parameter>1000</parameter></start>"
        "<stop><execute>/bin/false</execute></stop></commands><status/><resources>{}</resources></sipXecs-process>"
    ).format(DEFINITION, name, "".join("<process>{}</process>".format(other) for other in needs))
    path = os.path.join(box.root, "process.d", name + "-process.xml")
    with open(path + ".new", "w", encoding="utf-8") as handle:
        handle.write(text)
    os.rename(path + ".new", path)


def states(session):
    wanted = '<processes-state xmlns="{}"><process><name/><state/></process></processes-state>'.format(PROCESS)
    data = session.get(filter=("subtree", wanted)).data
    return [process.findtext("{*}state") for process in data.iterfind(".//{*}process")]


def rpc(box, session, name, content):
    box.call(session, '<{0} xmlns="{1}">{2}</{0}>'.format(name, PROCESS, content))


def cpu_seconds(pid):
    words = boxes.read_proc(pid, "stat").rpartition(b")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def run_many(box, count):
    """Seconds from the order to the last one running, and CPU seconds of agent and keeper in them."""
    names = ["p{:03}".format(number) for number in range(count)]
    wide = count // DEEP
    for number, name in enumerate(names):
        define(box, name, names[number - wide : number - wide + 1] if number >= wide else ())
    with box.connect() as session:
        boxes.wait_for("the definitions", lambda: len(states(session)) == count)
        for name in names:
            rpc(box, session, "process-set-version", "<name>{}</name><version>1</version>".format(name))
        pids = (box.ready.pid, box.ready.keeper)
        begin, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
        rpc(box, session, "process-start", "".join("<name>{}</name>".format(name) for name in names))
        boxes.wait_for("all to run", lambda: states(session).count("Running") == count, 120)
        seconds = time.monotonic() - begin
        return seconds, [cpu_seconds(pid) - was for pid, was in zip(pids, before)]


def idle(box, count, seconds):
    """CPU seconds of agent and keeper, while nothing happens."""
    for number in range(count):
        define(box, "idle{:04}".format(number))
    with box.connect() as session:
        boxes.wait_for("the definitions", lambda: len(states(session)) >= count, 60)
    time.sleep(1)
    pids = (box.ready.pid, box.ready.keeper)
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(seconds)
    return [cpu_seconds(pid) - was for pid, was in zip(pids, before)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    asked = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="procyon-figures-")
    box = boxes.Box(os.path.join(folder, "root"), asked.bin)
    try:
        box.initialise()
        box.start()
        agent, keeper = idle(box, asked.idle, asked.seconds)
        print("{} idle definitions, {} s: agent {:.2f} s CPU, keeper {:.2f} s".format(asked.idle, asked.seconds, agent, keeper))
        for name in os.listdir(os.path.join(box.root, "process.d")):
            os.unlink(os.path.join(box.root, "process.d", name))
        with box.connect() as session:
            boxes.wait_for("them to go", lambda: states(session) == [])
        seconds, (agent, keeper) = run_many(box, asked.processes)
        print(
            "{} processes, {} deep: all run after {:.2f} s; agent {:.2f} s CPU, keeper {:.2f} s".format(
                asked.processes, DEEP, seconds, agent, keeper
            )
        )
    finally:
        box.remove()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
