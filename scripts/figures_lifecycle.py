#!/usr/bin/env python3
"""What the lifecycle costs: 200 processes ten deep from the start order to the last one running; how soon a process that
waits for a file goes on; 1,000 idle definitions.

scripts/figures_lifecycle.py --bin target/release
"""

import argparse
import datetime
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
# Between looks at where everything stands, which cost more than what is looked at.
LOOK_SECONDS = 0.5


def define(box, name, needs=(), file=None):
    text = (
        '<sipXecs-process xmlns="{}"><name>{}</name><version>1</version><commands><configtest><execute>/bin/true</execute>'
        "</configtest><start><execute>/bin/sleep</execute><parameter>1000</parameter></start>"
        "<stop><execute>/bin/false</execute></stop></commands><status/><resources>{}{}</resources></sipXecs-process>"
    ).format(
        DEFINITION,
        name,
        "".join("<process>{}</process>".format(other) for other in needs),
        "<file>{}</file>".format(file) if file else "",
    )
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


def transitions(session):
    """[(name, state that it came to, time in seconds)] of all processes, as the agent noted them."""
    wanted = '<processes-state xmlns="{}"><process><name/><transition/></process></processes-state>'.format(PROCESS)
    data = session.get(filter=("subtree", wanted)).data
    return [
        (process.findtext("{*}name"), step.findtext("{*}to"), seconds_of(step.findtext("{*}time")))
        for process in data.iterfind(".//{*}process")
        for step in process.iterfind("{*}transition")
    ]


def seconds_of(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return at.timestamp() + float("0." + (fraction or "0"))


def wake(box, count):
    """Seconds from a file's coming to the test of the process that has waited for it, `count` times."""
    folder = os.path.join(box.root, "wanted")
    os.makedirs(folder)
    names = ["w{:03}".format(number) for number in range(count)]
    for name in names:
        define(box, name, file=os.path.join(folder, name))
    with box.connect() as session:
        boxes.wait_for("the definitions", lambda: len(states(session)) == count)
        for name in names:
            rpc(box, session, "process-set-version", "<name>{}</name><version>1</version>".format(name))
        rpc(box, session, "process-start", "".join("<name>{}</name>".format(name) for name in names))
        boxes.wait_for("all to wait", lambda: states(session).count("ResourceRequired") == count)
        came = {}
        for name in names:
            came[name] = time.time()
            with open(os.path.join(folder, name), "w", encoding="utf-8"):
                pass
            time.sleep(0.05)
        boxes.wait_for("all to run", lambda: states(session).count("Running") == count)
        tested = {name: at for name, state, at in transitions(session) if state == "Testing"}
        return sorted(tested[name] - came[name] for name in names)


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
        begin, before = time.time(), [cpu_seconds(pid) for pid in pids]
        rpc(box, session, "process-start", "".join("<name>{}</name>".format(name) for name in names))
        deadline = time.monotonic() + 120
        while states(session).count("Running") < count and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        running = [at for _, state, at in transitions(session) if state == "Running"]
        if len(running) != count:
            raise boxes.Trouble("{} of {} run".format(len(running), count))
        return max(running) - begin, [cpu_seconds(pid) - was for pid, was in zip(pids, before)]


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


def forget(box):
    """Stops and removes all processes."""
    with box.connect() as session:
        names = [name[: -len("-process.xml")] for name in os.listdir(os.path.join(box.root, "process.d"))]
        rpc(box, session, "process-stop", "".join("<name>{}</name>".format(name) for name in names))
        for name in names:
            os.unlink(os.path.join(box.root, "process.d", name + "-process.xml"))
        boxes.wait_for("them to go", lambda: states(session) == [], 60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--wakes", type=int, default=50)
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
        forget(box)
        times = wake(box, asked.wakes)
        print(
            "a file that was waited for: the test begins after {:.1f} ms (median), {:.1f} ms (longest of {})".format(
                times[len(times) // 2] * 1000, times[-1] * 1000, len(times)
            )
        )
        forget(box)
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
