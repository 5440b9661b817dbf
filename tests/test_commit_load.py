"""Sessions that commit together while the agent is killed: nothing acknowledged is lost. Some seconds of what
`scripts/commit_load.py crash` does for as long as one likes.
"""

import os
import re
import subprocess
import sys

from device import BINARIES, TOP, boxes
from test_history import edit_host, set_host

SECONDS = 6


def test_no_commit_is_lost_or_half_there_when_the_agent_is_killed_under_load(tmp_path):
    command = [sys.executable, os.path.join(TOP, "scripts", "commit_load.py"), "crash", "--bin", BINARIES]
    done = subprocess.run(
        [*command, "--seconds", str(SECONDS), "--folder", str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kills, commits = (int(found) for found in re.search(r"(\d+) kills, (\d+) commits", done.stdout).groups())
    assert kills >= 2 and commits > 0, done.stdout


def test_a_client_that_asks_for_it_has_a_candidate_of_its_own(own_box):
    private = {"capabilities": ["urn:ietf:params:netconf:capability:private-candidate:1.0"]}
    with own_box.connect() as shared, own_box.connect(nc_params=private) as mine:
        assert any("private-candidate:1.0?supported-resolution-modes=" in text for text in mine.server_capabilities)
        edit_host(shared, "half-made")
        assert "half-made" not in mine.get_config(source="candidate").data_xml
        set_host(mine, "mine")
        assert "half-made" in shared.get_config(source="candidate").data_xml
        update = '<update xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-private-candidate"/>'
        assert mine.dispatch(boxes.to_ele(update)).ok
