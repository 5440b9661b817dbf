"""The script that the guide prints, unchanged, on a real device: from its shelf to the line in the logs.

Runs where the guide lies beside this tree, or in the folder that PROCYON_SEEDS names.
"""

import os
import re
import sys

import pytest

from device import boxes, needs_binaries

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "python"))

from guide import guide, script_of_the_guide  # noqa: E402

pytestmark = [
    needs_binaries,
    pytest.mark.skipif(guide() is None, reason="the guide is not beside this tree: set PROCYON_SEEDS to its folder"),
]

NAME = "cpu-utilization-process.py"
LINE = re.compile(
    r"RP/0/RP0/CPU0:\w{3} [ \d]\d [\d:.]+ \w+: python3_xr\[\d+\]: %OS-SCRIPT_MGMT-3-ERROR : "
    r"Script-Sample: CPU utilization is \d+, threshold value is 0"
)
SYSLOG = '<syslog xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-infra-syslog-oper"/>'


def test_the_script_of_the_guide_reports_the_cpu_utilization(own_box):
    source = script_of_the_guide(guide()).encode("utf-8")
    with open(os.path.join(own_box.repository, NAME), "wb") as script:
        script.write(source)
    with own_box.connect() as session:
        boxes.wait_for("the script on its shelf", lambda: own_box.script_state(session, NAME))
        own_box.configure(
            session, own_box.checksum_config(NAME, boxes.sha256(source)), own_box.app_config("my-process-app", NAME, "0")
        )
        own_box.act(session, "activate", "my-process-app")
        own_box.wait_app(session, "my-process-app", status="started")
        own_box.wait_log(NAME, "my-process-app", "CPU utilization is", stream="stderr")
        errors = own_box.log(NAME, "my-process-app", stream="stderr")
        assert re.match(r"-----Run ID:\d+  \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}-----\n", errors), errors
        assert LINE.search(errors), errors
        told = boxes.wait_for(
            "the line in the system log",
            lambda: "CPU utilization is" in session.get(filter=("subtree", SYSLOG)).data_xml,
        )
        assert told
