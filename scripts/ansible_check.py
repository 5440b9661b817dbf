#!/usr/bin/env python3
"""Plays ansible_check.yml twice against a scratch device, with the collections of the `ansible` package of PyPI.

    .venv/bin/python scripts/ansible_check.py [--bin target/debug]

The second time nothing may change. Not a part of scripts/test: the package has 54 MB. It goes to target/ansible.
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile
import zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import box as boxes  # noqa: E402

PLAYBOOK = os.path.join(boxes.TOP, "scripts", "ansible_check.yml")
HOME = os.path.join(boxes.TOP, "target", "ansible")
ANSIBLE = "ansible==12.3.0"
CORE = ["ansible-core==2.19.*", "ncclient==0.7.1", "paramiko==5.1.0", "ansible-pylibssh"]
COLLECTIONS = tuple("ansible_collections/" + name for name in ("cisco/iosxr/", "ansible/netcommon/", "ansible/utils/"))


def install():
    """ansible-core in an environment of its own, and of the large package the three collections that are needed."""
    python = os.path.join(HOME, "venv", "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", os.path.join(HOME, "venv")], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *CORE], check=True)
    if not os.path.isdir(os.path.join(HOME, COLLECTIONS[0])):
        subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", "-d", HOME, ANSIBLE], check=True)
        with zipfile.ZipFile(glob.glob(os.path.join(HOME, "ansible-*.whl"))[0]) as wheel:
            wheel.extractall(HOME, [name for name in wheel.namelist() if name.startswith(COLLECTIONS)])
    return python


def play(box, python):
    """How many tasks have changed something."""
    host, port = box.ready.ssh
    facts = {
        "ansible_host": host, "ansible_port": port, "ansible_user": box.admin, "ansible_ssh_private_key_file": box.key,
        "ansible_network_os": "cisco.iosxr.iosxr", "ansible_python_interpreter": python,
    }  # fmt: skip
    inventory = os.path.join(box.root, "inventory")
    with open(inventory, "w") as handle:
        handle.write("[router]\nr1 {}\n".format(" ".join("{}={}".format(*fact) for fact in facts.items())))
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=HOME, ANSIBLE_HOST_KEY_CHECKING="False", ANSIBLE_HOME=os.path.join(HOME, "home"))
    playbook = os.path.join(os.path.dirname(python), "ansible-playbook")
    done = subprocess.run([playbook, "-i", inventory, PLAYBOOK], env=environment, stdout=subprocess.PIPE, text=True)
    sys.stdout.write(done.stdout)
    if done.returncode != 0:
        raise SystemExit("the playbook has failed")
    return int(re.search(r"changed=(\d+)", done.stdout.split("PLAY RECAP")[1]).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(boxes.TOP, "target", "debug"))
    arguments = parser.parse_args()
    python = install()
    with tempfile.TemporaryDirectory(prefix="procyon-ansible-") as folder:
        os.chmod(folder, 0o755)
        box = boxes.Box(os.path.join(folder, "root"), os.path.abspath(arguments.bin))
        box.initialise()
        box.start()
        try:
            first, second = play(box, python), play(box, python)
        finally:
            box.remove()
    if not first or second:
        raise SystemExit("changed {} tasks and then {}; some and then none are wanted".format(first, second))


if __name__ == "__main__":
    main()
