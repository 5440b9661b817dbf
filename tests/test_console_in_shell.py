"""Somebody in the shell sits at a console while agent and keeper are killed: the console goes on, to the byte."""

import os
import re
import signal

from box import wait_for
from device import needs_binaries
from seats import Seat
from test_containers import configure, container, until

COUNTER = "i=0; while :; do for ((k = 0; k < 20; k++)); do echo line $((++i)); done; read -r -t 0.01; done"

pytestmark = needs_binaries


def sit(box, words):
    seat = Seat([box.procyon, "shell", "--root", box.root])
    seat.until("#")
    seat.type("console {}\r".format(words))
    return seat


def numbers(text):
    return [int(number) for number in re.findall(rb"line (\d+)\r\n", text)]


def until_line(seat, number):
    """All that is shown up to that line."""
    return seat.until("line {}\r\n".format(number)) + "line {}\r\n".format(number).encode()


def test_the_console_of_a_local_shell_outlives_agent_and_keeper(own_box):
    box = own_box
    script = os.path.join(box.root, "count.sh")
    with open(script, "w", encoding="ascii") as handle:
        handle.write("stty -echo\n" + COUNTER)
    with box.connect() as session:
        configure(session, container("count", "/bin/bash " + script, "<terminal/>"))
        until(session, "count", "running")
    seat = sit(box, "count")
    try:
        shown = seat.until("line ") + b"line " + seat.until("\r\n") + b"\r\n"
        first = numbers(shown)[0]
        shown += until_line(seat, first + 2000)
        os.kill(box.ready.pid, signal.SIGKILL)
        shown += until_line(seat, first + 6000)
        os.kill(box.ready.keeper, signal.SIGKILL)
        shown += until_line(seat, first + 20000)
        counted = numbers(shown)
        assert counted == list(range(first, first + 20001))
        seat.type("\x05c.")
        seat.until("disconnect")
        seat.until("the agent has ended")
        assert seat.ended() == 1
    finally:
        seat.close()
    wait_for("the next agent", lambda: len(box.readies) == 2)


def test_who_leaves_the_console_is_in_the_shell_again_and_ends_with_the_agent(own_box):
    box = own_box
    with box.connect() as session:
        configure(session, container("cat", "/bin/cat", "<terminal/>"))
        until(session, "cat", "running")
    seat = sit(box, "cat")
    try:
        assert b"\x1b_" not in seat.until("help]")
        # Who is root on the box types, too: the terminal echoes it, and cat says it again.
        seat.type("typed\r")
        seat.until("typed\r\ntyped\r\n")
        seat.type("\x05c.")
        seat.until("disconnect")
        seat.until("#")
        os.kill(box.ready.pid, signal.SIGKILL)
        seat.until("the agent has ended; what was not committed is forgotten")
        assert seat.ended() == 1
    finally:
        seat.close()
