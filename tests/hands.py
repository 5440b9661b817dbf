"""What tests of the shell share: one command or some lines over OpenSSH or on the box, and somebody at a terminal."""

import os
import re
import subprocess

import pexpect

import box as boxes

STAMP = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} [ \d]\d [\d:]+\.\d{3} \S+\n", re.M)

# A busy machine is allowed more than the figures that are promised.
SECONDS_MAX = 20


def ssh_command(box, *words, terminal=False):
    host, port = box.ready.ssh
    return [
        "ssh", "-F", "none", "-q", "-tt" if terminal else "-T", "-i", box.key, "-p", str(port),
        "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "BatchMode=yes", "{}@{}".format(box.admin, host), *words,
    ]  # fmt: skip


def ssh(box, *words, typed=None):
    """One command, or lines on standard input; what came back without the times."""
    done = subprocess.run(
        ssh_command(box, *words), input=typed, stdin=subprocess.DEVNULL if typed is None else None,
        capture_output=True, text=True, timeout=SECONDS_MAX,
    )  # fmt: skip
    return done.returncode, STAMP.sub("", done.stdout), done.stderr


def local(box, *words, typed=""):
    done = subprocess.run(
        [box.procyon, "shell", "--root", box.root, *words], input=typed, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    return done.returncode, STAMP.sub("", done.stdout), done.stderr


def configure(box, *lines):
    status, out, errors = local(box, typed="\n".join(["configure", *lines, "commit", "end"]) + "\n")
    assert (status, errors) == (0, ""), out


class Hands:
    """Somebody at a terminal."""

    def __init__(self, box, rows=0, words=None, **environment):
        words = words or ssh_command(box, terminal=True)
        self.child = pexpect.spawn(
            words[0], words[1:], timeout=SECONDS_MAX, encoding="utf-8", dimensions=(rows or 200, 120), env=dict(os.environ, **environment)
        )
        self.child.delaybeforesend = None
        self.prompt()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.child.close(force=True)

    def type(self, keys):
        self.child.send(keys)

    def see(self, pattern):
        self.child.expect(pattern)
        after = self.child.after
        return self.child.before + (after if isinstance(after, str) else "")

    def prompt(self, mode=""):
        return self.see(r"RP/0/RP0/CPU0:[\w.-]+{}#".format(re.escape(mode)))

    def line(self, text, mode=""):
        self.type(text + "\r")
        return self.prompt(mode)


NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"


def guest(box, name):
    """Somebody who may read, and has a key of his own."""
    key = os.path.join(box.root, name)
    if not os.path.exists(key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with open(key + ".pub") as handle:
        kind, data = handle.read().split()[:2]
    with box.connect() as session:
        box.configure(
            session,
            '<config xmlns="{4}"><system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><name>{0}</name><authorized-key>'
            "<name>k</name><algorithm>{1}</algorithm><key-data>{2}</key-data></authorized-key></user></authentication></system>"
            '<nacm xmlns="{3}"><groups><group><name>{0}</name><user-name>{0}</user-name></group></groups><rule-list><name>{0}</name>'
            "<group>{0}</group><rule><name>no-scripts</name><module-name>Cisco-IOS-XR-infra-script-mgmt-act</module-name>"
            "<access-operations>exec</access-operations><action>deny</action></rule></rule-list></nacm></config>".format(name, kind, data, NACM, boxes.NETCONF),
        )
    words = ssh_command(box, terminal=True)
    host = words[-1].split("@")[1]
    return [word if word != box.key else key for word in words[:-1]] + ["{}@{}".format(name, host)]
