"""Programs on terminals of their own and plain connections, for tests that type to consoles."""

import os
import pty
import select
import signal
import socket
import time

SECONDS_MAX = 15
POLL_SECONDS = 0.01


def wait_for(what, condition):
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "no {} in time".format(what)
        time.sleep(POLL_SECONDS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Reader:
    """What comes, with what was looked for taken off."""

    def __init__(self):
        self.seen = b""

    def until(self, text, seconds=SECONDS_MAX):
        text = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, "no {!r} in {!r}".format(text, self.seen[-2000:])
            if select.select([self], [], [], 0.1)[0]:
                piece = self.read()
                assert piece, "ended before {!r}: {!r}".format(text, self.seen[-2000:])
                self.seen += piece
        before, _, self.seen = self.seen.partition(text)
        return before


class Seat(Reader):
    """A program on a terminal of its own."""

    def __init__(self, words):
        super().__init__()
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execvp(words[0], words)
        self.pid = pid

    def fileno(self):
        return self.terminal

    def read(self):
        try:
            return os.read(self.terminal, 65536)
        except OSError:
            return b""

    def type(self, text):
        os.write(self.terminal, text if isinstance(text, bytes) else text.encode())

    def ended(self):
        """The exit status, once it has ended."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            while select.select([self.terminal], [], [], 0)[0] and self.read():
                pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = None
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, "it does not end"
            time.sleep(POLL_SECONDS)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)


class Client(Reader):
    """A plain connection to a console's socket."""

    def __init__(self, place):
        super().__init__()
        if isinstance(place, tuple):
            self.socket = socket.create_connection(place)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(place)

    def fileno(self):
        return self.socket.fileno()

    def read(self):
        return self.socket.recv(65536)

    def type(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def close(self):
        self.socket.close()
