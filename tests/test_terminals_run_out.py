"""The kernel has no terminal left: the container says so, and what mends it.

PROCYON_BIN names the folder of the binaries, target/debug unless told.
"""

import os
import subprocess

import pytest
from device import boxes, needs_binaries, one_box

MODULE = "urn:procyon:container"
# A mount namespace of its own, in which there are two terminals.
FEW = 'mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,max=2 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx && exec "$@"'
WORDS = ["unshare", "--mount", "/bin/sh", "-c", FEW, "sh"]

pytestmark = needs_binaries


class FewTerminals(boxes.Box):
    def agent_command(self):
        return WORDS + super().agent_command()


def test_a_start_without_a_terminal_left_names_the_kernels_setting(tmp_path):
    tried = subprocess.run(WORDS + ["true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if os.geteuid() != 0 or tried.returncode != 0:
        pytest.skip("TERMINALS THAT RUN OUT ARE NOT TESTED: no mount namespace here: {}".format(tried.stderr.strip()))
    entry = "<container><name>t{}</name><command>sleep 300</command><terminal/><restart><policy>never</policy></restart></container>"
    content = "".join(entry.format(number) for number in range(3))
    with one_box(tmp_path, make=FewTerminals) as box, box.connect() as session:
        config = '<config xmlns="{}"><containers xmlns="{}">{}</containers></config>'
        session.edit_config(target="candidate", config=config.format(boxes.NETCONF, MODULE, content))
        session.commit()

        def said():
            query = '<containers-state xmlns="{}"><container><name/><state/><why/></container></containers-state>'
            data = session.get(filter=("subtree", query.format(MODULE))).data
            found = ["".join(why.itertext()) for why in data.iter("{%s}why" % MODULE)]
            running = [state.text for state in data.iter("{%s}state" % MODULE)].count("running")
            return found if running == 2 and found else None

        [why] = boxes.wait_for("refusal", said)
        assert "no terminal is left: raise the kernel's limit, sysctl kernel.pty.max" in why
