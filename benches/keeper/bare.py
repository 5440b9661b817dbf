#!/usr/bin/env python3
"""The floor for any supervisor: programs on bare terminals by posix_spawn, started again as soon as they end. No logs, no consoles.

  bare.py COUNT PROGRAM        PROGRAM is given its number; SIGTERM ends all
"""

import os
import signal
import sys


def begin(program, number):
    master, slave = os.openpty()
    streams = [(os.POSIX_SPAWN_DUP2, slave, stream) for stream in range(3)]
    pid = os.posix_spawn(program, [program, str(number)], os.environ, file_actions=streams, setsid=True)
    os.close(slave)
    return pid, master


def main():
    count, program = int(sys.argv[1]), sys.argv[2]
    running, masters, is_over = {}, {}, False

    def end(*_):
        nonlocal is_over
        is_over = True
        for pid in running:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    for number in range(count):
        pid, masters[number] = begin(program, number)
        running[pid] = number
    while running:
        number = running.pop(os.wait()[0])
        os.close(masters[number])
        if not is_over:
            pid, masters[number] = begin(program, number)
            running[pid] = number


if __name__ == "__main__":
    main()
