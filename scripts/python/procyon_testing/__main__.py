"""`procyon script lint FILE` and `procyon script try FILE [ARGUMENT ...]`."""

import sys
import tempfile

from procyon_testing.device import Device, DeviceError
from procyon_testing.lint import lint

USAGE = "usage: lint FILE ... | try FILE [ARGUMENT ...]"


def main(words=None):
    words = sys.argv[1:] if words is None else words
    if len(words) < 2 or words[0] not in ("lint", "try"):
        sys.exit(USAGE)
    try:
        if words[0] == "lint":
            return looked_at(words[1:])
        return tried(words[1], words[2:])
    except (DeviceError, OSError) as error:
        sys.exit("error: {}".format(error))


def looked_at(files):
    found = [line for file in files for line in lint(file)]
    for line in found:
        print(line)
    return 1 if found else 0


def tried(file, arguments):
    with tempfile.TemporaryDirectory(prefix="procyon-try-") as folder:
        with Device(folder + "/device") as device:
            run = device.run(file, *arguments)
    section("run {}: {}, return value {}".format(run.request_id, run.status, run.return_value), run.events)
    section("output", run.output.splitlines())
    section("errors", run.errors.splitlines())
    section("rpcs", [line for pair in run.rpcs for line in pair])
    section("committed", run.changes)
    section("system log", run.syslog)
    return 0 if run.status == "Executed" and run.return_value == 0 else 1


def section(title, lines):
    if lines:
        print("--- {}".format(title))
        for line in lines:
            print(line.rstrip("\n"))


if __name__ == "__main__":
    sys.exit(main())
