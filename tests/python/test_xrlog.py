"""The shapes of log lines, and that logging never hurts the script."""

import json
import os
import re
import socket

import pytest

from cisco.script_mgmt import xrlog
from launching import run


@pytest.fixture
def system_log(monkeypatch):
    """The agent's end of the door."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(10)
        monkeypatch.setenv("PROCYON_DOOR_FD", str(theirs.fileno()))
        yield ours


def test_a_script_log_line_has_the_shape_of_the_guide(capsys):
    log = xrlog.getScriptLogger("sample process")
    log.info("Beginning execution of %s..", "process")
    log.warning(42)
    out = capsys.readouterr().out.splitlines()
    assert re.match(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] INFO \[sample process\]:: Beginning execution of process\.\.$", out[0]
    )
    assert out[1].endswith("] WARNING [sample process]:: 42")


def test_a_script_logger_is_one_however_often_it_is_made(capsys):
    for _ in range(3):
        xrlog.getScriptLogger("again").error("once")
    xrlog.getScriptLogger("other").debug("seen")
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_script_logger_shows_the_exception(capsys):
    log = xrlog.getScriptLogger("sample")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("it broke")
    out = capsys.readouterr().out
    assert "ERROR [sample]:: it broke\nTraceback" in out and "ZeroDivisionError" in out


def test_the_root_logger_of_the_script_does_not_double_lines():
    outcome = run(
        "import logging; logging.basicConfig(level=logging.DEBUG)\n"
        "from cisco.script_mgmt import xrlog\n"
        "xrlog.getScriptLogger('root').info('one')\n"
    )
    assert outcome.output.count("one") == 1 and outcome.errors == "", outcome


SEVERITIES = [
    ("emergency", 0, "EMERGENCY"),
    ("alert", 1, "ALERT"),
    ("critical", 2, "CRITICAL"),
    ("error", 3, "ERROR"),
    ("exception", 3, "ERROR"),
    ("warning", 4, "WARNING"),
    ("notification", 5, "NOTIFICATION"),
    ("info", 6, "INFO"),
    ("debug", 7, "DEBUG"),
]


@pytest.mark.parametrize("method, severity, code", SEVERITIES)
def test_a_system_log_line_goes_to_both_places(system_log, capsys, method, severity, code):
    syslog = xrlog.getSysLogger("test_process")
    getattr(syslog, method)("CPU utilization is %s, threshold value is %s", 6, 5)
    line = capsys.readouterr().err
    assert re.match(
        r"RP/0/RP0/CPU0:[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d\.\d{3} \S+: python3_xr\[%d\]: "
        r"%%OS-SCRIPT_MGMT-%d-%s : Script-test_process: CPU utilization is 6, threshold value is 5\n$"
        % (os.getpid(), severity, code),
        line,
    ), line
    assert json.loads(system_log.recv(65536).decode("utf-8")) == {
        "process": "python3_xr",
        "pid": os.getpid(),
        "category": "OS",
        "group": "SCRIPT_MGMT",
        "severity": severity,
        "code": code,
        "text": "Script-test_process: CPU utilization is 6, threshold value is 5",
    }


def test_the_node_is_named_by_the_device(monkeypatch, capsys):
    monkeypatch.setenv("PROCYON_NODE", "RP/0/RSP1/CPU0")
    xrlog.getSysLogger("x").info("hello")
    assert capsys.readouterr().err.startswith("RP/0/RSP1/CPU0:")


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((17,), "17"),
        ((None,), "None"),
        (({"a": 1},), "{'a': 1}"),
        (("%d%%", 7), "7%"),
        (("%(a)s", {"a": 1}), "1"),
        (("100%",), "100%"),
        (("%d", "no number"), "%d 'no number'"),
        (("too few %s %s", 1), "too few %s %s 1"),
        (("none", 1, 2), "none 1 2"),
        ((b"bytes",), "b'bytes'"),
        (("caf\u00e9 \u4e2d",), "caf\u00e9 \u4e2d"),
    ],
)
def test_anything_can_be_logged(system_log, arguments, text):
    xrlog.getSysLogger("a name").info(*arguments)
    assert json.loads(system_log.recv(65536).decode("utf-8"))["text"] == "Script-a name: " + text


def test_an_object_that_cannot_be_printed_does_not_end_the_script(capsys):
    class Spiteful(object):
        def __str__(self):
            raise RuntimeError("no")

    xrlog.getSysLogger("x").error(Spiteful())
    xrlog.getSysLogger("x").error("%s", Spiteful())


def test_the_exception_comes_with_its_traceback(system_log, capsys):
    try:
        raise KeyError("gone")
    except KeyError:
        xrlog.getSysLogger("x").exception("lookup")
    xrlog.getSysLogger("x").exception("nothing is being handled")
    err = capsys.readouterr().err
    assert "Script-x: lookup\nTraceback" in err and "KeyError: 'gone'" in err
    assert "KeyError" in json.loads(system_log.recv(65536).decode("utf-8"))["text"]
    assert json.loads(system_log.recv(65536).decode("utf-8"))["text"] == "Script-x: nothing is being handled"


def test_a_long_text_is_cut_between_characters_for_the_system_log_only(system_log, capsys):
    xrlog.getSysLogger("x").info("\u00e9" * 100000)
    text = json.loads(system_log.recv(65536).decode("utf-8"))["text"]
    assert 0 < len(text.encode("utf-8")) <= xrlog.SYSLOG_TEXT_BYTES_MAX
    assert set(text[len("Script-x: "):]) == {"\u00e9"}
    assert capsys.readouterr().err.count("\u00e9") == 100000


def test_a_system_log_that_does_not_read_never_holds_the_script_up(system_log, capsys):
    syslog = xrlog.getSysLogger("x")
    # Far more than any queue of datagrams holds; the test would hang if a send waited.
    for _ in range(2000):
        syslog.info("line")
    assert capsys.readouterr().err.count("line\n") == 2000


@pytest.mark.parametrize("number", ["", "none", "-1", "987654", "9" * 40])
def test_a_system_log_that_is_not_there_is_no_trouble(monkeypatch, capsys, number):
    monkeypatch.setenv("PROCYON_DOOR_FD", number)
    xrlog.getSysLogger("x").info("still here")
    assert "still here" in capsys.readouterr().err


def test_a_descriptor_that_is_no_door_gets_no_lines(monkeypatch, capsys, tmp_path):
    with open(str(tmp_path / "file"), "w+b") as file:
        monkeypatch.setenv("PROCYON_DOOR_FD", str(file.fileno()))
        xrlog.getSysLogger("x").info("still here")
        assert os.fstat(file.fileno()).st_size == 0
    assert "still here" in capsys.readouterr().err


def test_a_script_that_closed_its_outputs_goes_on():
    outcome = run(
        "import os, sys\n"
        "from cisco.script_mgmt import xrlog\n"
        "sys.stderr.close()\n"
        "xrlog.getSysLogger('x').info('lost')\n"
        "sys.stderr = None\n"
        "xrlog.getSysLogger('x').info('lost')\n"
        "sys.stdout = None\n"
        "xrlog.getScriptLogger('x').info('lost')\n"
        "os._exit(7)\n"
    )
    assert outcome.status == 7, outcome
