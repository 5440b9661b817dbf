"""A NETCONF client that says exactly what it is told, well-formed or not: for tests of the server's every word.

Speaks over the agent's local socket, whose user no access rule concerns.
"""

import re
import socket

from lxml import etree

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
END = b"]]>]]>"
REPLY_SECONDS_MAX = 20
HELLO = '<hello xmlns="{}"><capabilities>{{}}</capabilities></hello>'.format(BASE)
BOTH = "".join("<capability>urn:ietf:params:netconf:base:1.{}</capability>".format(minor) for minor in (0, 1))


class Peer:
    """One session; with base 1.1 unless another hello is given."""

    def __init__(self, path, hello=HELLO.format(BOTH), chunked=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(REPLY_SECONDS_MAX)
        self.socket.connect(path)
        self.buffer = b""
        self.chunked = False
        self.hello = self.receive()
        self.number = 0
        if hello is not None:
            self.socket.sendall(hello.encode() + END)
            self.chunked = chunked

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.socket.close()

    @property
    def session_id(self):
        return text_of(etree.fromstring(self.hello), "session-id")

    @property
    def capabilities(self):
        return [node.text for node in etree.fromstring(self.hello).iter("{%s}capability" % BASE)]

    def send(self, message):
        message = message if isinstance(message, bytes) else message.encode()
        self.socket.sendall(b"\n#%d\n%s\n##\n" % (len(message), message) if self.chunked else message + END)

    def take(self, length):
        while len(self.buffer) < length:
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError("the agent has closed the session; left: {!r}".format(self.buffer))
            self.buffer += piece
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def take_until(self, mark):
        while mark not in self.buffer:
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError("the agent has closed the session; left: {!r}".format(self.buffer))
            self.buffer += piece
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken

    def receive(self):
        """The next message, as bytes."""
        if not self.chunked:
            return self.take_until(END)
        message = b""
        while True:
            assert self.take(2) == b"\n#"
            size = self.take_until(b"\n")
            if size == b"#":
                return message
            message += self.take(int(size))

    def is_closed(self):
        """Whether the agent ends the session, after whatever it still says."""
        try:
            while True:
                piece = self.socket.recv(65536)
                if not piece:
                    return True
                self.buffer += piece
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def exchange(self, message):
        self.send(message)
        return etree.fromstring(self.receive())

    def rpc(self, operation):
        """The reply to an operation of the base namespace."""
        self.number += 1
        reply = self.exchange('<rpc xmlns="{}" message-id="{}">{}</rpc>'.format(BASE, self.number, operation))
        assert reply.get("message-id") == str(self.number)
        return reply

    def ok(self, operation):
        reply = self.rpc(operation)
        assert [local(child) for child in reply] == ["ok"], show(reply)
        return reply

    def data(self, operation):
        """The content of <data>, as text without the namespace declarations."""
        reply = self.rpc(operation)
        assert [local(child) for child in reply] == ["data"], show(reply)
        return "".join(show(child) for child in reply[0])

    def errors(self, operation):
        """What was refused: `type tag [app-tag] path info`, a line each."""
        return refusals(self.rpc(operation))

    def edit(self, config, target="candidate", options="", check=True):
        operation = (
            '<edit-config><target><{0}/></target>{1}<config xmlns:nc="{2}" xmlns:yang="urn:ietf:params:xml:ns:yang:1" '
            'xmlns:wd="urn:ietf:params:xml:ns:netconf:default:1.0">{3}</config></edit-config>'
        ).format(target, options, BASE, config)
        return self.ok(operation) if check else self.errors(operation)


def local(element):
    return etree.QName(element).localname


def text_of(element, name):
    return next(node.text for node in element.iter() if local(node) == name)


def show(element):
    """An element as text; declarations of namespaces are left out."""
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", etree.tostring(element, encoding="unicode", with_tail=False))


def refusals(reply):
    lines = []
    for error in reply.iter("{%s}rpc-error" % BASE):
        parts = {local(child): child for child in error}
        assert parts["error-severity"].text == "error" and parts["error-message"].text
        words = [parts["error-type"].text, parts["error-tag"].text]
        if "error-app-tag" in parts:
            words.append("({})".format(parts["error-app-tag"].text))
        if "error-path" in parts:
            words.append(parts["error-path"].text)
        for info in parts.get("error-info", ()):
            words.append("{}={}".format(local(info), info.text or ""))
        lines.append(" ".join(words))
    assert lines, show(reply)
    return lines
