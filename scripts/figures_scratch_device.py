"""How long a scratch device takes until a script can be run on it: PROCYON_BIN=FOLDER scripts/figures_scratch_device.py [TIMES]"""

import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "python"))

from procyon_testing import Device  # noqa: E402


def main():
    took = []
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 20):
        with tempfile.TemporaryDirectory(prefix="procyon-") as folder:
            device = Device(os.path.join(folder, "device"))
            began = time.monotonic()
            device.start()
            took.append(time.monotonic() - began)
            device.stop()
    took.sort()
    print("scratch device ready: p50 {:.2f} s, least {:.2f} s, most {:.2f} s".format(took[len(took) // 2], took[0], took[-1]))


if __name__ == "__main__":
    main()
