"""The pytest plug-in: a scratch device for a test, or for all tests of a module."""

import contextlib
import tempfile

import pytest

from procyon_testing.device import Device


@contextlib.contextmanager
def scratch():
    # Not below tmp_path, which bears the name of the test: the path of a socket is bounded.
    with tempfile.TemporaryDirectory(prefix="procyon-") as folder, Device(folder + "/device") as device:
        yield device


@pytest.fixture
def procyon():
    """A scratch device of the test's own."""
    with scratch() as device:
        yield device


@pytest.fixture(scope="module")
def procyon_module():
    """One scratch device for all tests of a module: quicker, and each sees what the others have left."""
    with scratch() as device:
        yield device
