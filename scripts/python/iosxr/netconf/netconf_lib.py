"""A NETCONF client for scripts that run on the device.

    nc = NetconfClient()
    nc.connect()
    nc.rpc.get(request='<system-monitoring xmlns="..."/>')
    print(nc.reply)
    nc.close()

There are no addresses and no credentials: the session belongs to the app that the script runs for, and has the rights
of that app's user. Each session has a candidate of its own, gone when it is closed.

An rpc-error does not raise: it is in `reply`, as the device sent it. What raises is a session that cannot be had or
has broken: NetconfError, which says what to do. A client belongs to the process that connected it; after a fork the
child connects again. Several clients at once are fine.

Environment:
    PROCYON_DOOR_FD   a descriptor inherited from the app manager; sessions are asked for through it
"""

import logging
import os
import re
import socket
import threading
import time
from xml.etree import ElementTree

import procyon_door
from iosxr.netconf import framing

__all__ = ["NetconfClient", "NetconfError"]

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"

# How long a request may take, in seconds; `timeout` of a client changes it.
DEFAULT_TIMEOUT = 60

# How long close() waits for a polite goodbye, in seconds.
CLOSE_TIMEOUT = 5

READ_BYTES = 64 * 1024

_log = logging.getLogger("netconf")


class NetconfError(Exception):
    """There is no session, or it broke. Says what to do about it."""


class NetconfClient(object):
    """One NETCONF session with the device that this script runs on.

    rpc       the operations
    request   the text last sent
    reply     the text last received
    timeout   seconds that a request may take
    """

    def __init__(self, debug=False):
        self.debug = debug
        self.timeout = DEFAULT_TIMEOUT
        self.rpc = Operations(self)
        self.request = ""
        self.reply = ""
        self.hello = ""
        self.capabilities = []
        self._socket = None
        self._reader = None
        self._chunked = False
        self._owner = None
        self._number = 100
        self._turn = threading.Lock()

    def connect(self):
        """Opens the session; a session that was open is closed first."""
        self.close()
        with self._turn:
            deadline = time.monotonic() + self.timeout
            self._socket = self._stream()
            self._owner = os.getpid()
            self._reader = framing.Reader(lambda: self._receive(deadline))
            self._chunked = False
            self.hello = ""
            hello = '<hello xmlns="{}"><capabilities>{}</capabilities></hello>'.format(
                BASE, "".join("<capability>{}</capability>".format(each) for each in (BASE_1_0, BASE_1_1))
            )
            self._send(framing.marked(hello.encode("utf-8")), deadline)
            self.hello = self._next(self._reader.marked)
            self.capabilities = self._capabilities_of(self.hello)
            self._chunked = BASE_1_1 in self.capabilities

    def close(self):
        """Ends the session. Never raises; a client that is not connected is left as it is."""
        if self._socket is None:
            return
        request, reply = self.request, self.reply
        if self._owner == os.getpid():
            try:
                self.exchange("<close-session/>", min(CLOSE_TIMEOUT, self.timeout))
            except NetconfError:
                # It is over either way.
                pass
        self.request, self.reply = request, reply
        self._drop()

    def __enter__(self):
        if self._socket is None:
            self.connect()
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def exchange(self, operation, timeout=None):
        """Sends one operation element and returns the text of the reply to it."""
        with self._turn:
            if self._socket is None:
                raise NetconfError("not connected: call connect() first")
            if self._owner != os.getpid():
                raise NetconfError("this session belongs to the process that connected it: connect() a client here")
            self._number += 1
            self.reply = ""
            self.request = '<rpc xmlns="{}" message-id="{}">{}</rpc>'.format(BASE, self._number, operation)
            if self.debug:
                _log.debug("request: %s", self.request)
            deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
            self._reader.receive = lambda: self._receive(deadline)
            message = self.request.encode("utf-8")
            self._send(framing.chunked(message) if self._chunked else framing.marked(message), deadline)
            self.reply = self._next(self._reader.chunked if self._chunked else self._reader.marked)
            if self.debug:
                _log.debug("reply: %s", self.reply)
            return self.reply

    def _stream(self):
        return _through_the_door()

    def _send(self, message, deadline):
        try:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._socket.sendall(message)
        except socket.timeout:
            self._broken("the device did not take the request in time; raise `timeout` or connect() again")
        except OSError as error:
            self._broken("the session broke while sending ({}); connect() again".format(error))

    def _next(self, read):
        try:
            return read().decode("utf-8")
        except socket.timeout:
            self._broken("no reply in time; raise `timeout`, ask for less with a filter, or connect() again")
        except (EOFError, ConnectionResetError):
            if self.hello:
                self._broken("the device ended the session; connect() again")
            self._broken(
                "the device ended the session before its hello: close() sessions that this run no longer needs, "
                "then connect() again"
            )
        except OSError as error:
            self._broken("the session broke while receiving ({}); connect() again".format(error))
        except (framing.FramingError, UnicodeDecodeError) as error:
            self._broken("the device sent what is not NETCONF ({}); connect() again".format(error))

    def _receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._socket.settimeout(left)
        return self._socket.recv(READ_BYTES)

    def _capabilities_of(self, hello):
        try:
            root = ElementTree.fromstring(hello.encode("utf-8"))
        except ElementTree.ParseError as error:
            self._broken("the device's hello is not XML ({}); connect() again".format(error))
        found = root.findall(".//{%s}capability" % BASE)
        return [element.text.strip() for element in found if element.text]

    def _broken(self, text):
        self._drop()
        raise NetconfError(text)

    def _drop(self):
        held, self._socket, self._reader = self._socket, None, None
        if held is not None:
            held.close()


class Operations(object):
    """The operations of a session. Each returns the reply's text, which is also the client's `reply`.

    Where both a text and a file can be given, the file is read only when there is no text.
    """

    def __init__(self, client):
        self._client = client

    def get(self, file=None, request=None):
        """State and configuration; `request` is what stands inside a subtree filter."""
        return self._client.exchange("<get>{}</get>".format(_filter(_content(request, file))))

    def get_config(self, datastore=None, config_filter=None, file=None):
        return self._client.exchange(
            "<get-config><source>{}</source>{}</get-config>".format(
                _datastore(datastore, "running"), _filter(_content(config_filter, file))
            )
        )

    def edit_config(self, config=None, file=None):
        """Changes the candidate; `config` is what stands inside `<config>`."""
        content = _content(config, file)
        if content is None:
            raise NetconfError("edit_config needs `config` or `file`")
        return self._client.exchange(
            "<edit-config><target><candidate/></target>{}</edit-config>".format(_config(content))
        )

    def commit(self):
        return self._client.exchange("<commit/>")

    def discard(self):
        return self._client.exchange("<discard-changes/>")

    def lock(self, datastore=None):
        return self._client.exchange("<lock><target>{}</target></lock>".format(_datastore(datastore, "candidate")))

    def unlock(self, datastore=None):
        return self._client.exchange("<unlock><target>{}</target></unlock>".format(_datastore(datastore, "candidate")))

    def validate(self, config=None, file=None):
        """Checks the candidate, or a configuration that is given."""
        content = _content(config, file)
        source = "<candidate/>" if content is None else _config(content)
        return self._client.exchange("<validate><source>{}</source></validate>".format(source))

    def capability_list(self):
        """What the device said in its hello; costs no message."""
        self._client.request = ""
        self._client.reply = self._client.hello
        return self._client.hello

    def schema_list(self):
        """The YANG modules of the device (RFC 6022)."""
        return self._client.exchange(
            '<get><filter type="subtree"><netconf-state xmlns="{}"><schemas/></netconf-state></filter></get>'.format(
                MONITORING
            )
        )


def _content(text, file):
    if text is None and file is not None:
        try:
            with open(file, "rb") as handle:
                text = handle.read()
        except OSError as error:
            raise NetconfError("{}: {}".format(file, error.strerror or error))
    if isinstance(text, (bytes, bytearray)):
        text = bytes(text).decode("utf-8-sig")
    if text is None:
        return None
    # A file often begins with an XML declaration, which has no place inside a message.
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text)


def _filter(content):
    if content is None or not content.strip():
        return ""
    if re.match(r"\s*<filter[\s>/]", content):
        return content
    return '<filter type="subtree">{}</filter>'.format(content)


def _config(content):
    return content if re.match(r"\s*<config[\s>/]", content) else "<config>{}</config>".format(content)


def _datastore(name, default):
    name = default if name is None else str(name)
    if not re.match(r"[A-Za-z_][A-Za-z0-9_.-]*$", name):
        raise NetconfError("{!r} does not name a datastore: running, candidate or startup".format(name))
    return "<{}/>".format(name)


def _through_the_door():
    """A connected socket whose other half the device has taken as a new session of this app."""
    try:
        return procyon_door.stream(b"netconf")
    except procyon_door.DoorError as error:
        raise NetconfError(str(error))
