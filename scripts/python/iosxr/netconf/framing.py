"""NETCONF messages on a byte stream (RFC 6242): end-of-message markers for 1.0, chunks for 1.1.

Knows no XML and no session; `receive` is any function that returns the next bytes, or none at the end.
"""

END_OF_MESSAGE = b"]]>]]>"

# A larger message is not kept: a script asks with a filter instead.
MESSAGE_BYTES_MAX = 256 * 1024 * 1024

# "\n#" and ten digits and "\n" (RFC 6242 section 4.2: a chunk size is at most 4294967295).
CHUNK_HEAD_BYTES_MAX = 13


class FramingError(Exception):
    """What came is not NETCONF framing; the stream cannot be used any more."""


def marked(message):
    return message + END_OF_MESSAGE


def chunked(message):
    return b"\n#" + str(len(message)).encode("ascii") + b"\n" + message + b"\n##\n"


class Reader(object):
    """Takes messages out of a stream of bytes."""

    def __init__(self, receive):
        self.receive = receive
        self.buffer = bytearray()

    def marked(self):
        """The next message that ends with `]]>]]>`."""
        start = 0
        while True:
            end = self.buffer.find(END_OF_MESSAGE, start)
            if end >= 0:
                return self._take(end, len(END_OF_MESSAGE))
            # The marker may have been cut by a read.
            start = max(0, len(self.buffer) - len(END_OF_MESSAGE) + 1)
            self._more(len(self.buffer))

    def chunked(self):
        """The next message in chunks."""
        message = bytearray()
        while True:
            size = self._chunk_head()
            if size is None:
                if not message:
                    raise FramingError("a message without a chunk")
                return bytes(message)
            self._limit(len(message) + size)
            while len(self.buffer) < size:
                self._more(len(message) + len(self.buffer))
            message += self._take(size, 0)

    def _chunk_head(self):
        """The size of the next chunk, or None at the end of the chunks."""
        while True:
            end = self.buffer.find(b"\n", 2)
            if end >= 0 or len(self.buffer) > CHUNK_HEAD_BYTES_MAX:
                break
            self._more(len(self.buffer))
        head = bytes(self.buffer[: end + 1])
        if head == b"\n##\n":
            del self.buffer[: end + 1]
            return None
        digits = head[2:-1]
        if not head.startswith(b"\n#") or not digits.isdigit() or digits.startswith(b"0") or len(digits) > 10:
            raise FramingError("not the head of a chunk: {!r}".format(bytes(self.buffer[:CHUNK_HEAD_BYTES_MAX])))
        del self.buffer[: end + 1]
        return int(digits)

    def _more(self, held):
        self._limit(held)
        data = self.receive()
        if not data:
            raise EOFError("the stream ended")
        self.buffer += data

    def _limit(self, size):
        if size > MESSAGE_BYTES_MAX:
            raise FramingError("a message of more than {} bytes; ask with a filter".format(MESSAGE_BYTES_MAX))

    def _take(self, size, marker):
        taken = bytes(self.buffer[:size])
        del self.buffer[: size + marker]
        return taken
