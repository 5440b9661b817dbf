"""The NETCONF client of scripts, against a device made of a few lines."""

import logging
import os
import socket
import sys
import threading

import pytest

from fake_device import FakeDevice
from iosxr.netconf import framing
from iosxr.netconf.netconf_lib import MONITORING, NetconfClient, NetconfError
from launching import run


@pytest.fixture
def at_the_door(monkeypatch):
    """Puts a fake device behind the door of this process."""
    opened = []

    def make(*arguments, **options):
        device = FakeDevice(*arguments, **options)
        opened.append(device)
        monkeypatch.setenv("PROCYON_DOOR_FD", str(device.door.fileno()))
        return device

    yield make
    for device in opened:
        device.__exit__(None, None, None)


def inner(request):
    """The operation without its envelope."""
    return request[request.index(">") + 1:request.rindex("<")]


OPERATIONS = [
    (lambda rpc: rpc.get(), "<get></get>"),
    (lambda rpc: rpc.get(request="\n<a/>"), '<get><filter type="subtree">\n<a/></filter></get>'),
    (lambda rpc: rpc.get(request="<filter type='xpath' select='/a'/>"), "<get><filter type='xpath' select='/a'/></get>"),
    (lambda rpc: rpc.get_config(), "<get-config><source><running/></source></get-config>"),
    (
        lambda rpc: rpc.get_config(datastore="candidate", config_filter="<a/>"),
        '<get-config><source><candidate/></source><filter type="subtree"><a/></filter></get-config>',
    ),
    (
        lambda rpc: rpc.edit_config(config="<a/>"),
        "<edit-config><target><candidate/></target><config><a/></config></edit-config>",
    ),
    (
        lambda rpc: rpc.edit_config(config=" <config><a/></config>"),
        "<edit-config><target><candidate/></target> <config><a/></config></edit-config>",
    ),
    (lambda rpc: rpc.commit(), "<commit/>"),
    (lambda rpc: rpc.discard(), "<discard-changes/>"),
    (lambda rpc: rpc.lock(), "<lock><target><candidate/></target></lock>"),
    (lambda rpc: rpc.lock(datastore="running"), "<lock><target><running/></target></lock>"),
    (lambda rpc: rpc.unlock(), "<unlock><target><candidate/></target></unlock>"),
    (lambda rpc: rpc.validate(), "<validate><source><candidate/></source></validate>"),
    (lambda rpc: rpc.validate(config="<a/>"), "<validate><source><config><a/></config></source></validate>"),
    (
        lambda rpc: rpc.schema_list(),
        '<get><filter type="subtree"><netconf-state xmlns="' + MONITORING + '"><schemas/></netconf-state></filter></get>',
    ),
]


@pytest.mark.parametrize("operation, expected", OPERATIONS)
def test_an_operation_is_what_rfc_6241_calls_it(at_the_door, operation, expected):
    device = at_the_door()
    nc = NetconfClient()
    nc.connect()
    operation(nc.rpc)
    assert inner(nc.request) == expected
    assert device.requests == [nc.request]
    assert "<ok/>" in nc.reply
    nc.close()
    assert device.words == [b"netconf"]
    assert inner(device.requests[-1]) == "<close-session/>"
    assert inner(nc.request) == expected, "close keeps what the script sent"


@pytest.mark.parametrize("argument, operation", [
    ("get", "<get>"), ("get_config", "<get-config>"), ("edit_config", "<edit-config>"), ("validate", "<validate>"),
])
def test_a_request_can_stand_in_a_file(at_the_door, tmp_path, argument, operation):
    at_the_door()
    path = tmp_path / "request.xml"
    path.write_bytes('\ufeff<?xml version="1.0" encoding="utf-8"?>\n<a>\u00fc</a>'.encode("utf-8"))
    with NetconfClient() as nc:
        getattr(nc.rpc, argument)(file=str(path))
        assert operation in nc.request
        assert "<a>\u00fc</a>" in nc.request and "<?xml" not in nc.request
        with pytest.raises(NetconfError, match="absent.xml: No such file"):
            getattr(nc.rpc, argument)(file=str(tmp_path / "absent.xml"))


@pytest.mark.parametrize("versions", [("1.0", "1.1"), ("1.0",)])
@pytest.mark.parametrize("pieces", [1, 7, None])
def test_a_reply_arrives_as_the_device_laid_it_out(at_the_door, versions, pieces):
    body = " <data>\n  <a>caf\u00e9 \u4e2d\u6587 ]]> \n#1\n</a>\n </data>"
    at_the_door(answer=lambda request: body, versions=versions, pieces=pieces)
    with NetconfClient() as nc:
        for _ in range(3):
            assert nc.rpc.get() == nc.reply
            assert nc.reply.split(">\n", 1)[1].rsplit("\n", 1)[0] == body


def test_capabilities_are_those_of_the_hello(at_the_door):
    at_the_door()
    with NetconfClient() as nc:
        nc.rpc.capability_list()
        assert "<hello" in nc.reply and "base:1.1" in nc.reply
        assert nc.capabilities == ["urn:ietf:params:netconf:base:1.0", "urn:ietf:params:netconf:base:1.1"]


def test_an_rpc_error_is_left_in_the_reply(at_the_door):
    error = " <rpc-error><error-tag>access-denied</error-tag></rpc-error>"
    at_the_door(answer=lambda request: error)
    with NetconfClient() as nc:
        nc.rpc.commit()
        assert error in nc.reply
        nc.rpc.get()
        assert error in nc.reply


def test_large_messages_pass_in_both_directions(at_the_door):
    at_the_door(answer=lambda request: " <data>" + "y" * 3000000 + "</data>")
    with NetconfClient() as nc:
        nc.rpc.edit_config(config="<a>" + "x" * 3000000 + "</a>")
        assert nc.reply.count("y") >= 3000000


def test_several_clients_at_once(at_the_door):
    device = at_the_door(answer=lambda request: " <data>{}</data>".format(inner(request)))
    failures = []

    def work(number):
        try:
            with NetconfClient() as nc:
                for turn in range(20):
                    nc.rpc.get(request="<n{}-{}/>".format(number, turn))
                    assert "<n{}-{}/>".format(number, turn) in nc.reply
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(device.words) == 6


def test_one_client_used_by_several_threads_keeps_requests_apart(at_the_door):
    at_the_door(answer=lambda request: " <data>{}</data>".format(inner(request)))
    wrong = []
    with NetconfClient() as nc:
        def work(number):
            for turn in range(20):
                mark = "<n{}-{}/>".format(number, turn)
                if mark not in nc.rpc.get(request=mark):
                    wrong.append(mark)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []


def test_a_child_after_a_fork_connects_for_itself():
    text = """
import os
from iosxr.netconf.netconf_lib import NetconfClient, NetconfError
nc = NetconfClient()
nc.connect()
child = os.fork()
if child == 0:
    try:
        nc.rpc.get()
    except NetconfError as error:
        print("child:", error)
    nc.close()
    nc.connect()
    nc.rpc.get()
    print("child:", "<ok/>" in nc.reply)
    os._exit(0)
os.waitpid(child, 0)
nc.rpc.get()
print("parent:", "<ok/>" in nc.reply)
nc.close()
"""
    with FakeDevice() as device:
        outcome = run(text, environment=device.environment, pass_fds=[device.door.fileno()])
    assert outcome.output.splitlines() == [
        "child: this session belongs to the process that connected it: connect() a client here",
        "child: True",
        "parent: True",
    ], outcome


def test_a_spawned_child_finds_the_door():
    text = """
import multiprocessing
from iosxr.netconf.netconf_lib import NetconfClient
def child(queue):
    with NetconfClient() as nc:
        queue.put("<ok/>" in nc.rpc.get())
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=30))
    process.join()
"""
    with FakeDevice() as device:
        outcome = run(text, environment=device.environment, pass_fds=[device.door.fileno()])
    assert outcome.output == "True\n", outcome


def test_without_a_door_the_error_says_how_to_start_the_script(monkeypatch):
    monkeypatch.delenv("PROCYON_DOOR_FD", raising=False)
    with pytest.raises(NetconfError, match="not started by the app manager: no PROCYON_DOOR_FD; activate it as an app"):
        NetconfClient().connect()


def test_a_door_that_is_something_else_is_not_used(monkeypatch, tmp_path):
    with open(str(tmp_path / "file"), "w") as other, socket.socket() as stream:
        for number in (other.fileno(), stream.fileno(), 9999, 10 ** 12):
            monkeypatch.setenv("PROCYON_DOOR_FD", str(number))
            with pytest.raises(NetconfError, match="pass_fds"):
                NetconfClient().connect()


def test_a_door_whose_device_is_gone_is_a_clear_error(monkeypatch):
    door, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device.close()
    with door:
        monkeypatch.setenv("PROCYON_DOOR_FD", str(door.fileno()))
        with pytest.raises(NetconfError, match="does not take sessions now.*later"):
            NetconfClient().connect()


def test_before_connect_and_after_close_operations_say_so(at_the_door):
    at_the_door()
    nc = NetconfClient()
    nc.close()
    with pytest.raises(NetconfError, match="not connected: call connect"):
        nc.rpc.get()
    nc.connect()
    nc.close()
    nc.close()
    with pytest.raises(NetconfError, match="not connected: call connect"):
        nc.rpc.get()
    nc.connect()
    nc.rpc.get()
    nc.close()


def test_a_device_that_ends_the_session_is_a_clear_error(at_the_door):
    at_the_door(answer=lambda request: None)
    nc = NetconfClient()
    nc.connect()
    with pytest.raises(NetconfError, match="ended the session; connect"):
        nc.rpc.get()
    with pytest.raises(NetconfError, match="not connected"):
        nc.rpc.get()


def test_a_device_that_takes_no_more_sessions_is_a_clear_error(monkeypatch):
    door, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def turn_away():
        _, control, _, _ = device.recvmsg(64, socket.CMSG_SPACE(4))
        os.close(int.from_bytes(control[0][2], sys.byteorder))

    with door, device:
        monkeypatch.setenv("PROCYON_DOOR_FD", str(door.fileno()))
        thread = threading.Thread(target=turn_away)
        thread.start()
        with pytest.raises(NetconfError, match="before its hello: close\\(\\) sessions|broke while sending"):
            NetconfClient().connect()
        thread.join(30)


def test_a_silent_device_costs_the_time_limit_and_no_more(at_the_door):
    release = threading.Event()

    def answer(request):
        release.wait(30)
        return None

    at_the_door(answer=answer)
    nc = NetconfClient()
    nc.connect()
    nc.timeout = 0.05
    with pytest.raises(NetconfError, match="no reply in time; raise `timeout`"):
        nc.rpc.get()
    release.set()


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n]]>]]>",
        b"<hello><unclosed>]]>]]>",
        b"\xff\xfe]]>]]>",
    ],
)
def test_a_hello_that_is_none_is_a_clear_error(at_the_door, raw):
    at_the_door(raw=raw)
    with pytest.raises(NetconfError, match="connect\\(\\) again"):
        NetconfClient().connect()


@pytest.mark.parametrize("name", ["running/><x", "", "a b", "1st"])
def test_a_datastore_is_a_name(at_the_door, name):
    at_the_door()
    with NetconfClient() as nc:
        with pytest.raises(NetconfError, match="does not name a datastore"):
            nc.rpc.lock(datastore=name)


def test_debug_tells_the_netconf_logger_and_nobody_else(at_the_door, caplog, capsys):
    at_the_door()
    with caplog.at_level(logging.DEBUG, "netconf"):
        with NetconfClient() as nc:
            nc.rpc.get()
        assert caplog.records == []
        with NetconfClient(debug=True) as nc:
            nc.rpc.get()
        assert any(record.getMessage().startswith("request: <rpc") for record in caplog.records)
        assert any(record.getMessage().startswith("reply: <rpc-reply") for record in caplog.records)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "stream",
    [
        b"\n#0\n\n##\n",
        b"\n#01\na\n##\n",
        b"\n##\n",
        b"\n#99999999999\n",
        b"\n#4294967295\n" + b"x",
        b"\n#-1\na\n##\n",
        b"#3\nabc\n##\n",
        b"\n#1 \na\n##\n",
        b"x" * 100,
        b"\n#1\nab\n##\n",
    ],
)
def test_what_is_not_a_chunk_is_refused(stream):
    data = [stream]
    reader = framing.Reader(lambda: data.pop() if data else b"")
    with pytest.raises((framing.FramingError, EOFError)):
        reader.chunked()
        reader.chunked()


def test_chunks_are_joined_wherever_they_are_cut():
    stream = b"\n#4\n<rpc\n#19\n message-id=\"102\"\n>\n##\n" + framing.chunked(b"second")
    for step in range(1, len(stream)):
        pieces = [stream[at:at + step] for at in range(0, len(stream), step)]
        reader = framing.Reader(lambda: pieces.pop(0) if pieces else b"")
        assert reader.chunked() == b"<rpc message-id=\"102\"\n>"
        assert reader.chunked() == b"second"


def test_the_marker_is_found_wherever_it_is_cut():
    stream = framing.marked(b"<a>]]>]]</a>") + framing.marked(b"b")
    for step in range(1, len(stream)):
        pieces = [stream[at:at + step] for at in range(0, len(stream), step)]
        reader = framing.Reader(lambda: pieces.pop(0) if pieces else b"")
        assert reader.marked() == b"<a>]]>]]</a>"
        assert reader.marked() == b"b"


def test_descriptors_are_given_back(at_the_door):
    at_the_door()
    with NetconfClient() as nc:
        nc.rpc.get()
    nc = NetconfClient()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        nc.connect()
        nc.close()
    # The device's half goes when its thread has seen the goodbye.
    assert len(os.listdir("/proc/self/fd")) <= before + 5
