"""The library as a wheel: what authors install has all that a device has, and the plug-in for their tests."""

import glob
import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from launching import LIBRARY

MODULES = [
    "cisco.config_validation", "cisco.script_mgmt.precommit", "cisco.script_mgmt.xr_utils", "cisco.script_mgmt.xrlog", "iosxr.eem",
    "iosxr.netconf.netconf_lib", "iosxr.xrcli.xrcli_helper", "procyon_testing", "procyon_testing.lint",
]  # fmt: skip


def python(*words, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=120, env=dict(kept, **environment), cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("THE WHEEL IS NOT TESTED: it is built by pip and setuptools, which are not here")
    folder = tmp_path_factory.mktemp("wheel")
    # Building leaves things beside the sources.
    shutil.copytree(LIBRARY, str(folder / "source"), ignore=shutil.ignore_patterns("__pycache__"))
    alone = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    python("-m", "pip", "wheel", *alone, "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    wheels = glob.glob(str(folder / "*.whl"))
    assert len(wheels) == 1 and wheels[0].endswith("-py3-none-any.whl"), wheels
    python("-m", "pip", "install", *alone, "--target", str(folder / "site"), wheels[0])
    return str(folder / "site")


def test_everything_that_a_device_has_can_be_imported_from_it(site):
    shown = python("-c", "import {0}; print(iosxr.__file__)".format(", ".join(MODULES)), PYTHONPATH=site)
    assert shown.startswith(site)
    # Whatever is added to the library is packed.
    for path in glob.glob(os.path.join(LIBRARY, "**", "*.py"), recursive=True):
        assert os.path.exists(os.path.join(site, os.path.relpath(path, LIBRARY))), path


def test_pytest_finds_the_plug_in_by_itself(site):
    shown = python("-m", "pytest", "--fixtures", "-q", "-p", "no:cacheprovider", "--rootdir", site, site, PYTHONPATH=site)
    assert "\nprocyon --" in shown and "A scratch device of the test's own." in shown


def test_the_commands_of_authors_come_with_it(site):
    shown = python(os.path.join(site, "bin", "procyon-script"), "lint", os.path.join(LIBRARY, "iosxr", "eem.py"), PYTHONPATH=site)
    assert shown == ""
