"""A systemd of the tests' own: process 1 of namespaces of its own, with our units and nothing else of this host.

Needs root, and control groups of version 2 that may be written.
"""

import contextlib
import os
import shutil
import subprocess

from box import wait_for
from device import BINARIES, TOP

UNITS = os.path.join(TOP, "dist", "systemd")
INIT = "/lib/systemd/systemd"
SECONDS_MAX = 30
# What default dependencies of our units name.
TARGETS = ("sysinit", "basic", "shutdown", "network", "network-online", "local-fs", "remote-fs", "multi-user")
# Moves itself into a control group of its own, then becomes process 1 with that group for all it sees.
BOOT = """
set -e
echo $$ > {group}/cgroup.procs
exec unshare --cgroup --mount --pid --fork --kill-child --uts --ipc /bin/sh -ec '
    mount --make-rprivate /
    umount -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t proc proc /proc
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount -t tmpfs tmpfs /run
    export container=test SYSTEMD_UNIT_PATH={units}
    exec {init} --system --unit=multi-user.target --log-target=console --show-status=no --default-standard-output=null'
"""


def hierarchy():
    """Where control groups of version 2 are, if we may make some."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        found = [line.split(" ")[4] for line in mounts if " - cgroup2 " in line]
    return found[0] if found and os.access(found[0], os.W_OK) else None


def missing():
    """Why no systemd can be run here."""
    if os.geteuid() != 0:
        return "a systemd of its own needs root"
    if not os.access(INIT, os.X_OK):
        return "systemd is not installed: apt-get install systemd"
    if hierarchy() is None:
        return "no control groups of version 2 may be made here"
    tried = subprocess.run(["unshare", "--cgroup", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return tried.stderr.decode() or None


class Machine:
    def __init__(self, folder, root):
        self.folder, self.root = str(folder), str(root)
        self.units = os.path.join(self.folder, "units")
        self.group = os.path.join(hierarchy(), "procyon-machine-{}".format(os.getpid()))
        self.process = None

    def install(self, **additions):
        """Our units for this root, each with a few lines more; they start when they are told to."""
        os.makedirs(self.units)
        for target in TARGETS:
            with open(os.path.join(self.units, target + ".target"), "w", encoding="utf-8") as handle:
                handle.write("[Unit]\nDefaultDependencies=no\n")
        for name in ("procyon-keeper.service", "procyon.service"):
            with open(os.path.join(UNITS, name), encoding="utf-8") as handle:
                text = handle.read().replace("/usr/bin/procyon", BINARIES + "/procyon").replace("/var/lib/procyon", self.root)
            with open(os.path.join(self.units, name), "w", encoding="utf-8") as handle:
                handle.write(text)
            os.makedirs(os.path.join(self.units, name + ".d"))
            output = "[Service]\nStandardOutput=append:{0}/{1}\nStandardError=append:{0}/{1}\n".format(self.folder, name + ".said")
            with open(os.path.join(self.units, name + ".d", "test.conf"), "w", encoding="utf-8") as handle:
                handle.write(output + additions.get(name.split(".")[0].replace("-", "_"), ""))

    def boot(self):
        os.mkdir(self.group)
        script = BOOT.format(group=self.group, units=self.units, init=INIT)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, stdout=open(os.path.join(self.folder, "console"), "wb"), stderr=subprocess.STDOUT
        )
        wait_for("systemd", lambda: self.init() and self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"))

    def init(self):
        """Its process 1, as we see it."""
        with contextlib.suppress(OSError), open("/proc/{0}/task/{0}/children".format(self.process.pid)) as children:
            for pid in children.read().split():
                with open("/proc/{}/comm".format(pid)) as comm:
                    if comm.read().strip() == "systemd":
                        return int(pid)
        return None

    def inside(self, *words):
        """That command as it is called from here."""
        return ["nsenter", "--target", str(self.init()), "--mount", "--pid", "--cgroup", "--", *words]

    def run(self, *words, check=True):
        done = subprocess.run(
            self.inside(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr, self.told())
        return done

    def systemctl(self, *words):
        return self.run("systemctl", *words).stdout

    def show(self, unit, what):
        return self.systemctl("show", "--value", "--property", what, unit).strip()

    def main_pid(self, unit):
        """Of a unit that is up; as it is called inside."""
        state, pid = self.systemctl("show", "--value", "--property", "ActiveState", "--property", "MainPID", unit).split()[::-1]
        state, pid = (state, pid) if pid.isdigit() else (pid, state)
        return int(pid) if state == "active" and pid != "0" else None

    def successor(self, unit, old):
        """The main process of the unit that follows that one."""
        return wait_for("{} after {}".format(unit, old), lambda: next((p for p in [self.main_pid(unit)] if p not in (None, old)), None))

    def told(self):
        said = []
        for name in ("console", "procyon-keeper.service.said", "procyon.service.said"):
            with contextlib.suppress(OSError), open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as handle:
                said.append("{}: {}".format(name, handle.read()[-4000:]))
        return "\n".join(said)

    def close(self):
        if self.process is not None:
            # What is inside ends with its process 1.
            self.process.kill()
            self.process.wait(SECONDS_MAX)
        for folder, _, _ in os.walk(self.group, topdown=False):
            wait_for("an empty group", lambda: removed(folder))
        shutil.rmtree(self.units, ignore_errors=True)


def removed(group):
    with contextlib.suppress(OSError):
        os.rmdir(group)
    return not os.path.exists(group)
