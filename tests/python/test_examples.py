"""The example scripts, as they are, against a device made of a few lines."""

import os
import re
import signal

import pytest

from fake_device import FakeDevice
from launching import TOP, finish, start
from test_library import CPU


def example(name):
    with open(os.path.join(TOP, "scripts", "examples", name), "rb") as handle:
        return handle.read()


def launch(name, device, *arguments):
    return start(
        example(name), *arguments, name=name, environment=device.environment, pass_fds=[device.door.fileno()]
    )


def line_with(stream, text):
    """The first line that holds `text`; fails when the stream ends before."""
    for line in iter(stream.readline, b""):
        if text in line.decode("utf-8"):
            return line.decode("utf-8")
    raise AssertionError("the script ended without saying {!r}".format(text))


def end(process):
    process.kill()
    process.communicate()


def test_cpu_watch_reports_only_from_the_threshold_on():
    pytest.importorskip("xmltodict")
    loads = iter([4, 5, 60])
    with FakeDevice(answer=lambda request: CPU.format(next(loads, 0))) as device:
        process = launch("cpu-watch.py", device, "5", "--every", "0.01")
        try:
            assert "is 4, threshold value is 5" in line_with(process.stdout, "CPU utilization")
            assert "Script-cpu-watch: CPU utilization is 5," in line_with(process.stderr, "%OS-SCRIPT_MGMT-3-ERROR")
            assert "is 60," in line_with(process.stderr, "%OS-SCRIPT_MGMT-3-ERROR")
        finally:
            end(process)


def test_cpu_watch_outlives_a_device_that_tells_nothing():
    pytest.importorskip("xmltodict")
    answers = iter([" <data>\n </data>", None])
    with FakeDevice(answer=lambda request: next(answers, CPU.format(3))) as device:
        process = launch("cpu-watch.py", device, "5", "--every", "0.01")
        try:
            line_with(process.stderr, "does not tell its CPU utilization")
            line_with(process.stdout, "no look this time: the device ended the session")
            line_with(process.stdout, "is 3, threshold value is 5")
        finally:
            end(process)


def test_heartbeat_beats_and_stops_when_asked():
    with FakeDevice() as device:
        process = launch("heartbeat.py", device, "--every", "30")
        try:
            line_with(process.stdout, "beat 1 of process {}".format(process.pid))
            process.send_signal(signal.SIGTERM)
            outcome = finish(process)
        finally:
            end(process) if process.returncode is None else None
    assert outcome.status == 0 and "asked to stop after 1 beats" in outcome.output, outcome


@pytest.mark.parametrize("arguments, status", [((), 0), (("--fail",), 1)])
def test_heartbeat_ends_as_told(arguments, status):
    with FakeDevice() as device:
        outcome = finish(launch("heartbeat.py", device, "--every", "0", "--beats", "3", *arguments))
    assert outcome.status == status, outcome
    assert len(re.findall(r"beat \d of process", outcome.output)) == 3
    assert ("%OS-SCRIPT_MGMT-3-ERROR" in outcome.errors) == (status == 1)


def test_set_hostname_commits_once_and_then_only_looks():
    state = {"name": "old", "commits": 0}

    def answer(request):
        if "<get-config>" in request:
            return " <data>\n  <hostname>\n   <system-network-name>{}</system-network-name>\n  </hostname>\n </data>".format(
                state["name"]
            )
        if "<edit-config>" in request:
            state["name"] = re.search(r"<system-network-name>(.*?)<", request).group(1)
        if "<commit/>" in request:
            state["commits"] += 1
        return " <ok/>"

    with FakeDevice(answer=answer) as device:
        process = launch("set-hostname.py", device, "edge-7", "--every", "0")
        try:
            line_with(process.stderr, "%OS-SCRIPT_MGMT-5-NOTIFICATION : Script-set-hostname: host name set to edge-7")
            state["name"] = "somebody else's"
            line_with(process.stderr, "host name set to edge-7")
        finally:
            end(process)
    assert state["commits"] == 2


def test_set_hostname_says_why_the_device_refused():
    refusal = ' <rpc-error>\n  <error-message xml:lang="en">no write access; set username</error-message>\n </rpc-error>'
    with FakeDevice(answer=lambda request: " <data>\n </data>" if "<get-config>" in request else refusal) as device:
        outcome = finish(launch("set-hostname.py", device, "edge-7"))
    assert outcome.status == 1
    assert "host name not set: no write access; set username" in outcome.errors, outcome
