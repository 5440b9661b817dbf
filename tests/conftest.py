"""What tests against the real binaries share: one device for a module, or one for a test alone.

A module that needs another kind of device names its class `Device`.
"""

import os
import re
import subprocess

import pytest

from device import boxes, one_box
from peer import Peer


def kind(request):
    return getattr(request.module, "Device", boxes.Box)


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A folder with a short name: the path of a socket is bounded, and that of a root with it."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture(scope="module")
def box(request, tmp_path_factory):
    """One agent for all tests of a module that leave it as they found it; each uses names of its own."""
    with one_box(tmp_path_factory.mktemp("shared"), kind(request)) as made:
        yield made


@pytest.fixture
def own_box(request, tmp_path):
    """An agent of one's own, for tests that kill or starve it."""
    with one_box(tmp_path, kind(request)) as made:
        yield made


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own that is soon full; `device.filled` fills it."""
    if os.geteuid() != 0:
        pytest.skip("A FULL DISK IS NOT TESTED: only root can mount a small one")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("A FULL DISK IS NOT TESTED: cannot mount a tmpfs: {}".format(mounted.stderr.decode()))
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.fixture
def session(box):
    with box.connect() as opened:
        yield opened


@pytest.fixture
def peer(box):
    """A client that speaks by hand, and a candidate that it and the next one find as running is."""
    with Peer(box.ready.socket) as opened:
        opened.ok("<discard-changes/>")
        yield opened
    with Peer(box.ready.socket) as opened:
        opened.ok("<discard-changes/>")


@pytest.fixture
def other(box):
    with Peer(box.ready.socket) as opened:
        yield opened


@pytest.fixture
def server():
    with boxes.Files() as serving:
        yield serving


@pytest.fixture
def name(request):
    """A script name that no other test uses."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:100] + ".py"
