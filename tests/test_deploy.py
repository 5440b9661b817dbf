"""`procyon deploy`: one script onto a device, wholly or not at all, and a second time nothing."""

import os
import subprocess

import box as boxes
import pytest

RUNS = b"import time\nprint('one', flush=True)\nwhile True:\n    time.sleep(60)\n"
RUNS_TOO = b"import time\nprint('two', flush=True)\nwhile True:\n    time.sleep(60)\n"
FAILS = b"import sys\nprint('no such port', file=sys.stderr)\nsys.exit(4)\n"


@pytest.fixture(params=["host", "root"])
def deploy(request, box, tmp_path):
    """Runs it against a device by SSH, and against a root on this host."""
    host, port = box.ready.ssh
    options = ["IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
    by_ssh = ["--host", "{}@{}".format(box.admin, host), "--port", str(port), "--key", box.key]
    where = {"root": ["--root", box.root], "host": by_ssh + [word for option in options for word in ("--ssh-option", option)]}

    def run(script, app, *words):
        name = "{}-{}.py".format(app, request.param)
        (tmp_path / name).write_bytes(script)
        command = [box.procyon, "deploy", str(tmp_path / name), "--app", app, "--healthy", "1", *where[request.param], *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    run.way = request.param
    return run


def running(box, session, app):
    return {name: box.app_state(session, app).get(name) for name in ("status", "is-activated", "checksum", "run-args")}


def test_a_script_is_deployed_once_and_then_left_alone(box, session, deploy):
    app = "dep-" + deploy.way
    words = ("--args", "--port 80 'a b'", "--restart", "on-failure", "--max-retries", "2", "--diff")
    status, out, errors = deploy(RUNS, app, *words, "--check")
    assert status == 0 and "+ activate " + app in out and out.endswith("would change; nothing was done\n"), (out, errors)
    assert box.app_state(session, app) == {}
    status, out, errors = deploy(RUNS, app, *words)
    assert (status, errors) == (0, "") and "deployed: " in out, (out, errors)
    first = running(box, session, app)
    expected = {"status": "started", "is-activated": "true", "checksum": boxes.sha256(RUNS), "run-args": "--port 80 'a b'"}
    assert first == expected
    pid = box.wait_pid("{}.py".format(app + "-" + deploy.way))
    status, out, errors = deploy(RUNS, app, *words)
    assert status == 0 and out.startswith("unchanged: ") and boxes.alive(pid), (out, errors)
    status, out, errors = deploy(RUNS_TOO, app, *words)
    assert status == 0 and running(box, session, app)["checksum"] == boxes.sha256(RUNS_TOO), (out, errors)
    # The confirmation holds: nothing is undone afterwards.
    assert "checksum" in str(session.get_config(source="running", filter=("subtree", '<script xmlns="{}"/>'.format(boxes.SCRIPT_CFG))))


def test_what_does_not_run_is_taken_back(box, session, deploy):
    app = "back-" + deploy.way
    status, out, errors = deploy(FAILS, app, "--restart", "never")
    assert status == 1 and "no such port" in out and "as it was" in errors, (out, errors)
    assert box.app_state(session, app) == {} and not os.path.exists(os.path.join(box.repository, "{0}-{1}.py".format(app, deploy.way)))
    # With something there before, that is what runs again.
    assert deploy(RUNS, app)[0] == 0
    status, out, errors = deploy(FAILS, app, "--args", "other", "--restart", "never")
    assert status == 1 and "taken back: the script" in out, (out, errors)
    box.wait_app(session, app, status="started", checksum=boxes.sha256(RUNS))
    assert running(box, session, app)["run-args"] is None


def test_what_cannot_begin_changes_nothing(box, deploy):
    status, _, errors = deploy(RUNS, "-bad-name-")
    assert status != 0 and "Traceback" not in errors
    done = subprocess.run([box.procyon, "deploy", "/no/such.py", "--app", "a1", "--root", box.root], capture_output=True, text=True)
    assert done.returncode == 1 and "/no/such.py cannot be read" in done.stderr
