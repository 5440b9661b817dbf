"""Starts scripts the way the keeper does: sealed bytes by descriptor, then the launcher."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LIBRARY = os.path.join(TOP, "scripts", "python")
LAUNCHER = os.path.join(LIBRARY, "procyon_launcher.py")
DEVICE = "/harddisk:/mirror/script-mgmt/process/"
RUN_SECONDS_MAX = 60

# The interpreter that scripts run under, when it is to be another one than the tests' own.
INTERPRETER = os.environ.get("PROCYON_TEST_PYTHON", sys.executable)

F_ADD_SEALS = 1033
ALL_SEALS = 0x0F


def sealed(data, name="procyon"):
    """A descriptor of an unchangeable copy of `data`, its position at the end as after a copy."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]
    fcntl.fcntl(descriptor, F_ADD_SEALS, ALL_SEALS)
    return descriptor


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def start(source, *arguments, **options):
    """Popen of the script `source`. Options: name, repository, checksums, environment, pass_fds, interpreter."""
    if isinstance(source, str):
        source = source.encode("utf-8")
    name = options.pop("name", "probe.py")
    repository = options.pop("repository", None)
    checksums = options.pop("checksums", None)
    pass_fds = list(options.pop("pass_fds", ()))
    interpreter = options.pop("interpreter", INTERPRETER)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PROCYON"))
    }
    environment["PROCYON_LIBRARY"] = LIBRARY
    if repository is not None:
        environment["PROCYON_REPOSITORY"] = str(repository)
    script = sealed(source)
    pass_fds.append(script)
    ours = [script]
    if checksums is not None:
        sums = sealed(json.dumps(checksums).encode("utf-8"))
        environment["PROCYON_CHECKSUMS_FD"] = str(sums)
        pass_fds.append(sums)
        ours.append(sums)
    environment.update(options.pop("environment", {}))
    # As the keeper does it: the launcher, too, is bytes that nobody can change.
    with open(LAUNCHER, "rb") as handle:
        launcher = sealed(handle.read(), "launcher")
    pass_fds.append(launcher)
    ours.append(launcher)
    command = [interpreter, "-u", "-s", "/proc/self/fd/{}".format(launcher), str(script), DEVICE + name]
    command.extend(arguments)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=pass_fds,
            **options
        )
    finally:
        for descriptor in ours:
            os.close(descriptor)


class Outcome:
    def __init__(self, status, output, errors):
        self.status = status
        self.output = output
        self.errors = errors

    def __repr__(self):
        return "status {}\n--- output\n{}--- errors\n{}".format(self.status, self.output, self.errors)


def finish(process):
    try:
        output, errors = process.communicate(timeout=RUN_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError("the script did not end: {!r}".format(Outcome(None, output.decode(), errors.decode())))
    return Outcome(process.returncode, output.decode("utf-8"), errors.decode("utf-8"))


def run(source, *arguments, **options):
    return finish(start(source, *arguments, **options))
