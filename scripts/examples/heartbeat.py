"""Says at regular intervals that it is alive, counts, and stops politely when it is asked to.

Arguments:
    --every   seconds between two beats, 10 unless told
    --beats   end well after so many beats; without it, never
    --fail    end with exit code 1 after the beats instead: to watch a restart policy at work
"""

import argparse
import os
import signal
import sys
import threading

from cisco.script_mgmt import xrlog

log = xrlog.getScriptLogger("heartbeat")
syslog = xrlog.getSysLogger("heartbeat")

stopping = threading.Event()


def stop(number, frame):
    stopping.set()


def main():
    parser = argparse.ArgumentParser(description="Says at regular intervals that it is alive")
    parser.add_argument("--every", type=float, default=10, help="seconds between two beats")
    parser.add_argument("--beats", type=int, default=None, help="end after so many beats")
    parser.add_argument("--fail", action="store_true", help="end with exit code 1")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    beat = 0
    while arguments.beats is None or beat < arguments.beats:
        beat += 1
        log.info("beat %d of process %d", beat, os.getpid())
        if stopping.wait(arguments.every):
            log.info("asked to stop after %d beats", beat)
            return 0
    if arguments.fail:
        syslog.error("failing after %d beats, as told", beat)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
