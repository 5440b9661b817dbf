"""The other side of the door: takes sessions from scripts and speaks NETCONF with them, one thread a session."""

import array
import re
import socket
import threading

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
END = b"]]>]]>"
WAIT_SECONDS_MAX = 30


def text_reply(number, body):
    """As the device lays replies out for scripts: one space a level."""
    return '<rpc-reply xmlns="{}" message-id="{}">\n{}\n</rpc-reply>'.format(BASE, number, body)


def ok(request):
    return " <ok/>"


class FakeDevice:
    """`answer` turns the text of a request into the body of its reply; None ends the session without one."""

    def __init__(self, answer=ok, versions=("1.0", "1.1"), pieces=None, raw=None):
        self.answer = answer
        self.versions = versions
        self.pieces = pieces
        self.raw = raw
        self.words = []
        self.requests = []
        self.sessions = []
        self.door, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(WAIT_SECONDS_MAX)
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.door.close()
        self.ours.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT_SECONDS_MAX)
        self.ours.close()
        for session in self.sessions:
            session.join(WAIT_SECONDS_MAX)
            assert not session.is_alive()

    @property
    def environment(self):
        return {"PROCYON_DOOR_FD": str(self.door.fileno())}

    def take(self):
        while True:
            data, control, _, _ = self.ours.recvmsg(64, socket.CMSG_SPACE(4))
            if not data:
                return
            self.words.append(data)
            for level, kind, value in control:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                descriptors = array.array("i")
                descriptors.frombytes(value)
                session = threading.Thread(target=self.serve, args=(socket.socket(fileno=descriptors[0]),), daemon=True)
                session.start()
                self.sessions.append(session)

    def serve(self, stream):
        stream.settimeout(WAIT_SECONDS_MAX)
        with stream:
            try:
                self.converse(stream)
            except (ConnectionError, EOFError):
                pass

    def converse(self, stream):
        if self.raw is not None:
            stream.sendall(self.raw)
            while stream.recv(4096):
                pass
            return
        capabilities = "".join(
            "<capability>urn:ietf:params:netconf:base:{}</capability>".format(each) for each in self.versions
        )
        hello = '<hello xmlns="{}"><capabilities>{}</capabilities><session-id>7</session-id></hello>'
        self.send(stream, hello.format(BASE, capabilities).encode() + END)
        buffer = bytearray()
        theirs = self.until(stream, buffer, END)
        chunked = "1.1" in self.versions and b"base:1.1" in theirs
        while True:
            request = self.chunks(stream, buffer) if chunked else self.until(stream, buffer, END).decode()
            self.requests.append(request)
            number = re.search(r'message-id="(\d+)"', request).group(1)
            body = " <ok/>" if "<close-session/>" in request else self.answer(request)
            if body is None:
                return
            reply = text_reply(number, body).encode("utf-8")
            if not chunked:
                self.send(stream, reply + END)
            else:
                # Two chunks, cut anywhere: also within a character.
                cut = max(1, len(reply) // 3)
                parts = [part for part in (reply[:cut], reply[cut:]) if part]
                self.send(stream, b"".join(b"\n#%d\n%s" % (len(part), part) for part in parts) + b"\n##\n")
            if "<close-session/>" in request:
                return

    def send(self, stream, data):
        step = self.pieces or len(data)
        for at in range(0, len(data), step):
            stream.sendall(data[at:at + step])

    def until(self, stream, buffer, mark):
        while mark not in buffer:
            self.more(stream, buffer)
        end = buffer.index(mark)
        taken = bytes(buffer[:end])
        del buffer[: end + len(mark)]
        return taken

    def chunks(self, stream, buffer):
        message = b""
        while True:
            while not re.match(rb"\n#(\d+|#)\n", buffer):
                self.more(stream, buffer)
            head = re.match(rb"\n#(\d+|#)\n", buffer)
            size = head.group(1)
            del buffer[: head.end()]
            if size == b"#":
                return message.decode("utf-8")
            while len(buffer) < int(size):
                self.more(stream, buffer)
            message += buffer[: int(size)]
            del buffer[: int(size)]

    def more(self, stream, buffer):
        data = stream.recv(65536)
        if not data:
            raise EOFError
        buffer += data
