#!/usr/bin/env python3
"""What a commit costs with a config script that looks at it, and without: 2 x 300 commits of one leaf by one session.

    .venv/bin/python scripts/figures_commit_scripts.py [BINARIES]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import box as boxes
from peer import Peer

COMMITS = 300
VALIDATION = boxes.CISCO + "um-config-validation-cfg"
NAME = '<hostname xmlns="{}um-hostname-cfg"><system-network-name>h{}</system-network-name></hostname>'
SCRIPT = """
from cisco.config_validation import register_validate_callback, add_error

def check(root):
    name = root.get_node('/um-hostname-cfg:hostname/system-network-name')
    if name is not None and name.value == 'forbidden':
        add_error(name, 'not this one')

register_validate_callback('/um-hostname-cfg:hostname/*', check)
"""


def timed(peer):
    times = []
    for number in range(COMMITS):
        config = NAME.format(boxes.CISCO, number)
        peer.ok("<edit-config><target><candidate/></target><config>{}</config></edit-config>".format(config))
        began = time.perf_counter()
        peer.ok("<commit/>")
        times.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(times, n=100)
    return "p50 {:.2f} ms, p90 {:.2f} ms, p99 {:.2f} ms".format(cuts[49], cuts[89], cuts[98])


def switch_on(box):
    (Path(box.root) / "harddisk" / "look.py").write_text(SCRIPT)
    with box.connect() as session:
        box.call(session, box.add_request("harddisk:", "look.py").replace(">process<", ">config<"))
        box.configure(session, (
            '<config xmlns="{}"><script xmlns="{}"><configs xmlns="{v}"><config><config-name>look.py</config-name><checksum>'
            '<sha256>{}</sha256></checksum></config></configs></script><configuration xmlns="{v}"><validation><scripts/>'
            "</validation></configuration></config>"
        ).format(boxes.NETCONF, boxes.SCRIPT_CFG, boxes.sha256(SCRIPT.encode()), v=VALIDATION))


def main():
    binaries = sys.argv[1] if len(sys.argv) > 1 else "target/debug"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        box = boxes.Box(Path(folder) / "root", binaries)
        try:
            box.initialise()
            box.start()
            with Peer(box.ready.socket) as peer:
                print("without a config script:", timed(peer))
            switch_on(box)
            with Peer(box.ready.socket) as peer:
                print("with one that looks:    ", timed(peer))
        finally:
            box.remove()


if __name__ == "__main__":
    main()
