"""The calls of sipXsupervisor's management client: by XML-RPC over TLS, with Python's own client."""

import base64
import http.client
import os
import shutil
import socket
import xmlrpc.client

import pytest

from device import boxes, while_the_agent_is_away
from processes import define, sleeper, start, state, wait_state
from test_alarms import alarms
from test_transports import Certificates, context, free_port

HOST, OTHER = "config.example", "other.example"


class Device(boxes.Box):
    """One that listens for XML-RPC."""

    def initialise(self):
        done = super().initialise()
        self.port = free_port()
        with open(self.settings, "a", encoding="utf-8") as handle:
            handle.write('[xmlrpc]\nlisten = "127.0.0.1:{}"\nhosts = ["{}"]\nuser = "{}"\n'.format(self.port, HOST, self.admin))
        folder = self.root + ".certificates"
        os.mkdir(folder)
        self.certificates = Certificates(folder)
        for name in (HOST, OTHER):
            self.certificates.make(name, "ca", name, "DNS:" + name)
        for source, target in (("device.pem", "xmlrpc.pem"), ("device.key", "xmlrpc.key"), ("ca.pem", "xmlrpc-authorities.pem")):
            shutil.copy(self.certificates.path(source), os.path.join(self.root, "keys", target))
        os.chmod(os.path.join(self.root, "keys", "xmlrpc.key"), 0o600)
        return done

    def context(self, host=HOST):
        return context(self.certificates, host)

    def proxy(self, host=HOST):
        return xmlrpc.client.ServerProxy("https://localhost:{}/RPC2".format(self.port), context=self.context(host))

    def http(self, method, path):
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context(), timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def fault(call, *parameters):
    with pytest.raises(xmlrpc.client.Fault) as refused:
        call(*parameters)
    return refused.value.faultCode, refused.value.faultString


def test_processes_are_managed_as_the_original_client_does_it(box, session, tmp_path):
    manager = box.proxy().ProcMgmtRpc
    define(box, "proxy", **sleeper(tmp_path, "proxy"))
    boxes.wait_for("the definition", lambda: state(session, "proxy"))
    assert manager.getStateAll(HOST)["proxy"] == "Disabled"
    assert manager.getConfigVersion(HOST, "proxy") == ""
    assert manager.start(HOST, ["proxy", "nobody"], True) == {"proxy": True, "nobody": False}
    wait_state(session, "proxy", "ConfigurationMismatch")
    assert manager.getStatusMessages(HOST, "proxy") == ["version.mismatch: software '1' != config ''"]
    assert manager.setConfigVersion(HOST, "proxy", "1") is True
    assert manager.getConfigVersion(HOST, "proxy") == "1"
    wait_state(session, "proxy", "Running")
    assert manager.getStateAll(HOST)["proxy"] == "Running"
    assert manager.restart(HOST, ["proxy"], False) == {"proxy": True}
    wait_state(session, "proxy", "Running")
    assert manager.stop(HOST, ["proxy"], False) == {"proxy": True}
    wait_state(session, "proxy", "Disabled")


def test_a_configuration_is_tested_alone(box, session, tmp_path):
    manager = box.proxy().ProcMgmtRpc
    define(box, "tried", **sleeper(tmp_path, "tried"), configtest=("/bin/sh", "-c", "echo port 70000 is none; exit 1"))
    boxes.wait_for("the definition", lambda: state(session, "tried"))
    assert manager.runConfigtest(HOST, "tried") is True

    def messages():
        told = manager.getConfigtestMessages(HOST, "tried")
        return told if any(line.startswith("return.code") for line in told) else None

    assert boxes.wait_for("the end of it", messages) == ["stdout.msg-1: port 70000 is none", "return.code: 1"]
    assert state(session, "tried") == "Disabled", "nothing is started by it"


def test_a_test_that_takes_long_is_not_waited_for_and_not_run_twice(box, session, tmp_path):
    manager, gate = box.proxy().ProcMgmtRpc, tmp_path / "gate"
    os.mkfifo(gate)
    define(box, "slow", **sleeper(tmp_path, "slow"), configtest=("/bin/sh", "-c", "read line < {}; echo $line >&2".format(gate)))
    boxes.wait_for("the definition", lambda: state(session, "slow"))
    assert manager.runConfigtest(HOST, "slow") is True
    assert manager.getConfigtestMessages(HOST, "slow") == []
    assert manager.runConfigtest(HOST, "slow") is False
    gate.write_text("well done\n")
    told = boxes.wait_for("the end of it", lambda: manager.getConfigtestMessages(HOST, "slow"))
    assert told == ["stderr.msg-1: well done", "return.code: 0"]


def test_a_configuration_that_was_mended_elsewhere_is_looked_at_again(box, session, tmp_path):
    manager, good = box.proxy().ProcMgmtRpc, tmp_path / "good"
    define(box, "elsewhere", **sleeper(tmp_path, "elsewhere"), configtest=("/bin/ls", str(good)))
    start(box, session, "elsewhere")
    wait_state(session, "elsewhere", "ConfigurationTestFailed")
    told = manager.getStatusMessages(HOST, "elsewhere")
    assert len(told) == 1 and told[0].startswith("stderr.msg-1: ") and str(good) in told[0]
    # No definition declares it, so nobody watches it.
    good.write_text("")
    assert manager.resync(HOST, ["elsewhere", "nobody"], False) == {"elsewhere": True, "nobody": False}
    wait_state(session, "elsewhere", "Running")
    assert manager.getStatusMessages(HOST, "elsewhere") == []
    assert manager.stop(HOST, ["elsewhere"], False) == {"elsewhere": True}
    wait_state(session, "elsewhere", "Disabled")


def test_faults_are_those_that_clients_know(box, session, tmp_path):
    define(box, "known", **sleeper(tmp_path, "known"))
    boxes.wait_for("the definition", lambda: state(session, "known"))
    proxy = box.proxy()
    manager = proxy.ProcMgmtRpc
    assert fault(manager.getConfigVersion, HOST, "nobody") == (301, "could not find process 'nobody'")
    assert fault(manager.runConfigtest, HOST, "nobody") == (301, "could not find process 'nobody'")
    missing = "ProcMgmtRpc.getStatusMessages 'alias' parameter is missing or invalid type"
    assert fault(manager.getStatusMessages, HOST, "nobody") == (301, missing)
    assert fault(manager.start, HOST, "known", True) == (301, "ProcMgmtRpc.start 'alias' parameter is missing or invalid type")
    assert fault(manager.noSuch, HOST)[0] == -3
    # Who the caller says it is must be who its certificate is for, and one of those that may call.
    assert fault(manager.getStateAll, OTHER) == (-4, "TLS Peer Authentication Failure")
    assert fault(box.proxy(OTHER).ProcMgmtRpc.getStateAll, OTHER) == (
        300, "Unconfigured calling host 'other.example'",
    )
    assert fault(box.proxy(None).ProcMgmtRpc.getStateAll, HOST) == (-4, "TLS Peer Authentication Failure")


def test_an_alarm_of_the_client_is_one_of_the_device(box, session):
    raise_alarm = box.proxy().Alarm.raiseAlarm
    assert raise_alarm(HOST, "LOGIN_FAILED", ["ann", "3 times"]) is True
    alarm = alarms(session)["host " + HOST, "REPORTED"]
    assert (alarm["alarm-type-qualifier"], alarm["alarm-text"], alarm["is-cleared"]) == ("LOGIN_FAILED", "ann 3 times", "false")
    missing = "Alarm.raiseAlarm 'AlarmParams' parameter is missing or invalid type"
    assert fault(raise_alarm, HOST, "LOGIN_FAILED", "ann") == (301, missing)
    assert fault(raise_alarm, HOST, "LOGIN_FAILED", [], "more") == (301, "Alarm.raiseAlarm has incorrect number of parameters")


def test_declared_files_are_replaced_read_and_deleted_and_no_others(box, session, tmp_path):
    config, log = tmp_path / "app.conf", tmp_path / "app.log"
    log.write_text("started\n")
    resources = '<file>{}</file><file configAccess="read-only" required="false">{}</file>'.format(config, log)
    define(box, "filed", **sleeper(tmp_path, "filed"), resources=resources)
    boxes.wait_for("the definition", lambda: state(session, "filed"))
    replace = box.proxy().File.replace
    content = base64.encodebytes(b"speed = 5\n" * 20).decode()
    assert replace(HOST, str(config), 0o640, content) is True
    assert config.read_bytes() == b"speed = 5\n" * 20 and config.stat().st_mode & 0o777 == 0o640
    undeclared = "File '/etc/passwd' not declared as a resource by any sipXecs process"
    assert fault(replace, HOST, "/etc/passwd", 0o640, content) == (301, undeclared)
    assert fault(replace, HOST, str(log), 0o640, content) == (
        301, "File '{}' is not writeable (configAccess='read-only')".format(log),
    )
    assert "not within valid range" in fault(replace, HOST, str(config), 0o7777, content)[1]
    assert box.http("GET", str(log)) == (200, b"started\n")
    large = b"a line of a long log\n" * 300000
    log.write_bytes(large)
    assert box.http("GET", str(log)) == (200, large)
    assert box.http("GET", "/etc/passwd")[0] == 404
    assert box.http("GET", str(config) + "/../app.log")[0] in (400, 404)
    assert box.http("DELETE", str(log))[0] == 403
    assert box.http("DELETE", str(config))[0] == 200
    assert not config.exists()


def test_no_connection_is_refused_while_the_agent_is_restarted(own_box):
    box = own_box
    for _ in while_the_agent_is_away(box):
        assert box.http("GET", "/nothing")[0] in (403, 404)


def test_what_is_no_call_ends_nothing(box):
    with socket.create_connection(("localhost", box.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
    context = box.context()
    connection = http.client.HTTPSConnection("localhost", box.port, context=context, timeout=20)
    connection.request("POST", "/RPC2", b"<methodCall>" + b"<x>" * 1000)
    assert b"<i4>-1</i4>" in connection.getresponse().read()
    connection.close()
    assert isinstance(box.proxy().ProcMgmtRpc.getStateAll(HOST), dict)
