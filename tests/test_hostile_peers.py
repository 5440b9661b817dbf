"""Peers that send what no client would: each costs itself only, and the agent no more memory than its bounds."""

import contextlib
import resource
import socket
import threading
import time

import paramiko
import pytest

from device import ANSWER_SECONDS_MAX, HELLO as OLD_HELLO, boxes, quick
from peer import BASE, BOTH, END, HELLO, Peer, refusals
from sample import SampleBox as Device, rpc, top  # noqa: F401

# What one message may be, and what it may cost while it is looked at.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
MEMORY_BYTES_MAX = 6 * MESSAGE_BYTES_MAX

NESTED = 100_000


def edit(config):
    return rpc("<edit-config><target><candidate/></target><config>{}</config></edit-config>".format(config))


@pytest.mark.parametrize(
    "message, said",
    [
        (rpc("<get><filter>{}{}</filter></get>".format("<a>" * NESTED, "</a>" * NESTED)), "rpc too-big"),
        (edit("<a>" * NESTED + "</a>" * NESTED), "rpc too-big"),
        (edit('<top xmlns="urn:sample">{}{}</top>'.format("<inner>" * 400, "</inner>" * 400)), "application too-big"),
        (rpc("<get/>", 'message-id="1" ' + " ".join("a{}='1'".format(n) for n in range(10_000))), "rpc too-big"),
        (edit("<top xmlns='urn:sample' {}/>".format(" ".join("a{}='1'".format(n) for n in range(10_000)))), "rpc too-big"),
        (rpc("<get/>", 'message-id="{}"'.format("1" * 100_000)), "rpc too-big"),
        (rpc("<get {}/>".format(" ".join("xmlns:n{0}='urn:{0}'".format(n) for n in range(300)))), "rpc too-big"),
        (
            '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>' + edit("&c;"),
            "rpc malformed-message",
        ),
        ('<!DOCTYPE r SYSTEM "file:///etc/passwd">' + rpc("<get/>"), "rpc malformed-message"),
        (edit(top("<name>&xxe;</name>")), "rpc malformed-message"),
        (edit(top("<name>&#0;</name>")), "rpc malformed-message"),
        (rpc("<get/>").encode().replace(b"<get/>", b"<get>\xc0\x80</get>"), "rpc malformed-message"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "message",
)
def test_a_message_that_means_no_good_is_refused_and_the_session_goes_on(peer, message, said):
    begun = time.monotonic()
    assert refusals(peer.exchange(message)) == [said]
    peer.ok("<discard-changes/>")
    assert time.monotonic() - begun < ANSWER_SECONDS_MAX


def resident(pid):
    for line in boxes.read_proc(pid, "status").decode().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS of {}".format(pid))


@pytest.mark.parametrize("hello", [HELLO.format(BOTH), None], ids=["in a session", "instead of a hello"])
def test_a_start_tag_that_never_ends_ends_its_session_within_the_bound(box, peer, hello):
    before = resident(box.ready.pid)
    with Peer(box.ready.socket, hello, chunked=False) as endless:
        piece = b"<rpc " + b"a" * 1_000_000
        sent = 0
        with pytest.raises(ConnectionError):
            while sent <= 2 * MESSAGE_BYTES_MAX:
                endless.socket.sendall(piece)
                sent += len(piece)
        assert sent <= MESSAGE_BYTES_MAX + 10_000_000
    peer.ok("<discard-changes/>")
    assert resident(box.ready.pid) - before < MEMORY_BYTES_MAX


def test_hundreds_that_never_say_hello_or_end_their_message_keep_nobody_waiting(box, peer):
    # Each half of them stops at another place.
    open_ones = []
    try:
        for number in range(200):
            hello = HELLO.format(BOTH) if number % 2 else None
            silent = Peer(box.ready.socket, hello, chunked=bool(number % 2))
            silent.socket.sendall(b"\n#100\n<rpc" if number % 2 else b"<hello")
            open_ones.append(silent)
        begun = time.monotonic()
        for _ in range(50):
            peer.ok("<discard-changes/>")
        assert time.monotonic() - begun < ANSWER_SECONDS_MAX
    finally:
        for silent in open_ones:
            silent.socket.close()


def test_a_peer_that_asks_much_and_reads_nothing_is_cut_off_and_nobody_waits_for_it(box, peer):
    before = resident(box.ready.pid)
    greedy = Peer(box.ready.socket)
    ask = ('<rpc xmlns="{}" message-id="1"><get/></rpc>'.format(BASE)).encode()
    flood = b"\n#%d\n%s\n##\n" % (len(ask), ask) * 10_000
    ended = threading.Event()

    def pour():
        try:
            while True:
                greedy.socket.sendall(flood)
        except OSError:
            ended.set()

    greedy.socket.settimeout(boxes.REPLY_SECONDS_MAX)
    pouring = threading.Thread(target=pour, daemon=True)
    pouring.start()
    answered = 0
    while not ended.is_set():
        begun = time.monotonic()
        peer.ok("<discard-changes/>")
        assert time.monotonic() - begun < ANSWER_SECONDS_MAX
        answered += 1
    pouring.join()
    greedy.socket.close()
    assert answered > 0
    assert resident(box.ready.pid) - before < MEMORY_BYTES_MAX


# How far strangers come who never log in.
STAGES = (b"", b"SSH-2.0-half", b"SSH-2.0-half\r\n", b"SSH-2.0-half\r\n\x00\x00\x04\x00\x0a\x14" + b"k" * 100, b"GET / HTTP/1.1\r\n")


def test_a_thousand_half_open_connections_keep_nobody_out_or_waiting(box, peer):
    before = resident(box.ready.pid)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most[1], most[1]))
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, most)
        for number in range(1000):
            stranger = held.enter_context(socket.create_connection(box.ready.ssh, timeout=boxes.REPLY_SECONDS_MAX))
            # Whoever had to give way already is told so here.
            with contextlib.suppress(ConnectionError):
                stranger.sendall(STAGES[number % len(STAGES)])
            if number % 50 == 0:
                quick(peer.ok, "<discard-changes/>")
        with quick(box.connect) as newcomer:
            quick(newcomer.discard_changes)
        quick(peer.ok, "<discard-changes/>")
        assert resident(box.ready.pid) - before < MESSAGE_BYTES_MAX


def test_clients_by_ssh_that_never_read_cost_only_themselves(box, peer):
    before = resident(box.ready.pid)
    asked = OLD_HELLO + (rpc("<get/>").encode() + END) * 500
    with contextlib.ExitStack() as held:
        for _ in range(8):
            transport = paramiko.Transport(box.ready.ssh)
            held.callback(transport.close)
            transport.connect(username=box.admin, pkey=paramiko.Ed25519Key.from_private_key_file(box.key))
            channel = transport.open_session()
            channel.invoke_subsystem("netconf")
            channel.sendall(asked)
            quick(peer.ok, "<discard-changes/>")
        with quick(box.connect) as newcomer:
            quick(newcomer.discard_changes)
        assert resident(box.ready.pid) - before < MEMORY_BYTES_MAX
