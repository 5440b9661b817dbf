"""NETCONF over TLS, endpoints as configuration, and call home: on real binaries, with certificates of openssl."""

import base64
import contextlib
import datetime
import glob
import hashlib
import os
import signal
import socket
import ssl
import subprocess

import netconf_client.connect
import netconf_client.ncclient
import pytest
from lxml import etree
from ncclient import manager

from test_hostile import config, group_config
from device import boxes, quick, refusal

SERVER = "urn:ietf:params:xml:ns:yang:ietf-netconf-server"
KEYSTORE = "urn:ietf:params:xml:ns:yang:ietf-keystore"
TRUSTSTORE = "urn:ietf:params:xml:ns:yang:ietf-truststore"
NAMES = "urn:ietf:params:xml:ns:yang:ietf-x509-cert-to-name"
END = b"]]>]]>"
SECONDS = 20


class Certificates:
    """An authority, one for the device, and clients."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.authority("ca")
        self.authority("other-ca")
        self.make("device", "ca", "device", "DNS:localhost,IP:127.0.0.1")
        self.make("fred", "ca", "fred", "DNS:Fred.Example,email:admin@example.org")
        self.make("mallory", "other-ca", "fred")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=self.folder)

    def authority(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".pem")

    def make(self, name, by, common, alternatives="DNS:x"):
        with open(self.path(name + ".ext"), "w", encoding="ascii") as handle:
            handle.write("subjectAltName=" + alternatives)
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + common, "-keyout", name + ".key", "-out", name + ".csr")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", by + ".pem", "-CAkey", by + ".key", "-CAcreateserial", "-days", "30", "-extfile", name + ".ext", "-out", name + ".pem")

    def der(self, name):
        with open(self.path(name + ".pem"), encoding="ascii") as handle:
            return ssl.PEM_cert_to_DER_cert(handle.read())

    def bare(self, name):
        return base64.b64encode(self.der(name)).decode()

    def cms(self, name):
        self.openssl("crl2pkcs7", "-nocrl", "-certfile", name + ".pem", "-outform", "der", "-out", name + ".p7b")
        with open(self.path(name + ".p7b"), "rb") as handle:
            return base64.b64encode(handle.read()).decode()

    def fingerprint(self, name):
        return "04:" + ":".join("%02x" % byte for byte in hashlib.sha256(self.der(name)).digest())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stores(box, certificates):
    """Keystore and truststore with all of it, and an account for the user of the certificate."""
    key = os.path.join(box.root, "keys", "tls-key")
    with open(certificates.path("device.key"), "rb") as source, open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as target:
        target.write(source.read())

    def asymmetric(name, inside=""):
        return "<asymmetric-key><name>{}</name><hidden-private-key/>{}</asymmetric-key>".format(name, inside)

    def bag(name, data):
        return "<certificate-bag><name>{0}</name><certificate><name>{0}</name><cert-data>{1}</cert-data></certificate></certificate-bag>".format(name, data)

    device = "<certificates><certificate><name>device</name><cert-data>{}</cert-data></certificate></certificates>".format(certificates.cms("device"))
    with box.connect() as admin:
        box.configure(
            admin,
            config(
                '<keystore xmlns="{}"><asymmetric-keys>{}{}</asymmetric-keys></keystore>'.format(
                    KEYSTORE, asymmetric("tls-key", device), asymmetric("ssh_host_ed25519_key")
                )
            ),
            config(
                '<truststore xmlns="{}"><certificate-bags>{}{}</certificate-bags></truststore>'.format(
                    TRUSTSTORE, bag("authorities", certificates.cms("ca")), bag("fred", certificates.bare("fred"))
                )
            ),
            group_config("admin", "fred"),
        )
    return certificates


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def entry(number, kind, more=""):
    return '<cert-to-name><id>{}</id>{}<map-type xmlns:n="{}">n:{}</map-type></cert-to-name>'.format(number, more, NAMES, kind)


def tls_side(trust="<ca-certs><central-truststore-reference>authorities</central-truststore-reference></ca-certs>", mappings=None, key="tls-key"):
    return (
        "<tls-server-parameters><server-identity><certificate><central-keystore-reference><asymmetric-key>{}</asymmetric-key>"
        "<certificate>device</certificate></central-keystore-reference></certificate></server-identity>"
        "<client-authentication>{}</client-authentication></tls-server-parameters>"
        "<netconf-server-parameters><client-identity-mappings>{}</client-identity-mappings></netconf-server-parameters>"
    ).format(key, trust, mappings or entry(1, "common-name"))


SSH_SIDE = (
    "<ssh-server-parameters><server-identity><host-key><name>only</name><public-key>"
    "<central-keystore-reference>ssh_host_ed25519_key</central-keystore-reference></public-key></host-key></server-identity></ssh-server-parameters>"
)


def listen(name, port, side, transport="tls", idle=0, operation="replace"):
    return config(
        '<netconf-server xmlns="{}"><listen><idle-timeout>{}</idle-timeout><endpoints><endpoint nc:operation="{}"><name>{}</name><{t}>'
        "<tcp-server-parameters><local-bind><local-address>127.0.0.1</local-address><local-port>{}</local-port></local-bind>"
        "</tcp-server-parameters>{}</{t}></endpoint></endpoints></listen></netconf-server>".format(
            SERVER, idle, operation, name, port, side, t=transport
        )
    )


def no_server():
    return config('<netconf-server xmlns="{}" nc:operation="remove"/>'.format(SERVER))


@pytest.fixture
def clean(box):
    yield
    with box.connect() as last:
        box.configure(last, no_server())


class Client:
    """NETCONF 1.0 over a stream, as little of it as a test needs."""

    def __init__(self, stream, at_once=None):
        """`at_once` is asked in the same breath as hello is said."""
        self.stream = stream
        self.waiting = b""
        hello = '<hello xmlns="{}"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>'
        self.send(hello.format(boxes.NETCONF), *[self.rpc(operation) for operation in [at_once] if operation])
        self.hello = self.receive()

    def send(self, *texts):
        self.stream.sendall(b"".join(text.encode() + END for text in texts))

    def receive(self):
        while END not in self.waiting:
            more = self.stream.recv(65536)
            if not more:
                raise EOFError(self.waiting)
            self.waiting += more
        message, _, self.waiting = self.waiting.partition(END)
        return message.decode()

    @staticmethod
    def rpc(operation):
        return '<rpc xmlns="{}" message-id="1">{}</rpc>'.format(boxes.NETCONF, operation)

    def ask(self, operation):
        self.send(self.rpc(operation))
        return self.receive()

    def sessions(self):
        return self.ask(
            '<get><filter type="subtree"><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state></filter></get>'
        )


def context(certificates, name):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(certificates.path("ca.pem"))
    if name:
        made.load_cert_chain(certificates.path(name + ".pem"), certificates.path(name + ".key"))
    return made


def over_tls(certificates, port, name="fred", version=None):
    made = context(certificates, name)
    if version:
        made.maximum_version = version
    return made.wrap_socket(socket.create_connection(("127.0.0.1", port), SECONDS), server_hostname="localhost")


def test_a_certificate_is_a_user_and_is_told_as_one(box, session, stores, clean):
    port = free_port()
    box.configure(session, listen("tls", port, tls_side()))
    for version in (None, ssl.TLSVersion.TLSv1_2):
        with over_tls(stores, port, version=version) as stream:
            client = Client(stream)
            assert "base:1.1" in client.hello
            told = client.sessions()
            assert "<username>fred</username>" in told and "netconf-tls" in told
            assert "<ok/>" in client.ask("<close-session/>")


def files_of(certificates, name):
    return dict(keyfile=certificates.path(name + ".key"), certfile=certificates.path(name + ".pem"), ca_certs=certificates.path("ca.pem"))


def read_and_leave(opened):
    """With netconf-client, whose thread would go on reading from the descriptor of a socket that is closed under it, and
    so from whatever connection is given the same number next."""
    client = netconf_client.ncclient.Manager(opened, timeout=SECONDS)
    assert client.get_config(source="running").data_xml
    client.close_session()
    opened.thread.join(SECONDS)
    assert not opened.thread.is_alive()


def test_clients_that_other_people_wrote_come_by_tls(box, session, stores, clean):
    port = free_port()
    box.configure(session, listen("tls", port, tls_side()))
    named = dict(protocol=ssl.PROTOCOL_TLS_CLIENT, server_hostname="localhost", timeout=SECONDS)
    with manager.connect_tls(host="127.0.0.1", port=port, **named, **files_of(stores, "fred")) as theirs:
        assert theirs.get_config("running").data_xml
    timeouts = dict(initial_timeout=SECONDS, general_timeout=SECONDS)
    with netconf_client.connect.connect_tls(host="127.0.0.1", port=port, **timeouts, **files_of(stores, "fred")) as opened:
        read_and_leave(opened)


@pytest.mark.parametrize("who", [None, "mallory"])
def test_whoever_is_not_certified_gets_nothing(box, session, stores, clean, who):
    port = free_port()
    box.configure(session, listen("tls", port, tls_side()))
    with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
        with over_tls(stores, port, who) as stream:
            Client(stream)


def test_hundreds_that_never_end_their_handshake_keep_nobody_out(box, session, stores, clean):
    port = free_port()
    box.configure(session, listen("crowded", port, tls_side()))
    with contextlib.ExitStack() as held:
        # A record of a handshake of which most is to come, a part of its head, and nothing.
        for number in range(300):
            stranger = held.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS))
            with contextlib.suppress(ConnectionError):
                stranger.sendall((b"\x16\x03\x01\x02\x00\x01", b"\x16\x03", b"")[number % 3])
        with over_tls(stores, port) as stream:
            assert "<ok/>" in quick(Client(stream).ask, "<discard-changes/>")
        quick(session.discard_changes)


def test_a_certificate_that_means_nobody_gets_nothing(box, session, stores, clean):
    port = free_port()
    box.configure(session, listen("tls", port, tls_side(mappings=entry(1, "san-ip-address"))))
    with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
        with over_tls(stores, port) as stream:
            Client(stream)


def test_entries_fingerprints_and_alternative_names_decide_who_it_is(box, session, stores, clean):
    port = free_port()
    of = lambda name: "<fingerprint>{}</fingerprint>".format(stores.fingerprint(name))
    for mappings, user in (
        (entry(7, "san-dns-name"), "fred.example"),
        (entry(1, "common-name", of("mallory")) + entry(2, "san-rfc822-name", of("ca")), "admin@example.org"),
        (entry(1, "specified", of("fred")).replace("</cert-to-name>", "<name>somebody</name></cert-to-name>"), "somebody"),
    ):
        box.configure(session, listen("tls", port, tls_side(mappings=mappings)), group_config("admin", user))
        with over_tls(stores, port) as stream:
            assert "<username>{}</username>".format(user) in Client(stream).sessions()


def test_a_session_ends_when_its_certificate_means_somebody_else(box, session, stores, clean):
    port = free_port()
    pinned = "<ee-certs><central-truststore-reference>fred</central-truststore-reference></ee-certs>"
    box.configure(session, listen("tls", port, tls_side(pinned)))
    with over_tls(stores, port) as stream:
        client = Client(stream)
        # The same configuration once more ends nothing.
        box.configure(session, listen("tls", port, tls_side(pinned, entry(3, "common-name"))))
        assert "fred" in client.sessions()
        box.configure(session, listen("tls", port, tls_side(pinned, entry(3, "san-dns-name"))))
        with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
            while True:
                client.receive()


def test_a_silent_session_ends_and_a_busy_one_does_not(box, session, stores, clean):
    port = free_port()
    box.configure(session, listen("tls", port, tls_side(), idle=1))
    with over_tls(stores, port) as silent, over_tls(stores, port) as subscribed:
        # Between hello and subscription the session is silent as well, for as long as a busy machine makes it.
        client = Client(subscribed, '<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>')
        assert "<ok/>" in client.receive()
        other = Client(silent)
        with pytest.raises((EOFError, ssl.SSLError)):
            other.receive()
        told = client.receive()
        while "netconf-session-end" not in told:
            told = client.receive()
        assert "<termination-reason>timeout" in told


def test_an_endpoint_by_ssh_serves_the_same_users(box, session, stores, clean):
    port = free_port()
    box.configure(session, listen("second", port, SSH_SIDE, transport="ssh"))
    with box.connect(port=port) as other:
        assert other.get_config("running").data_xml
        box.configure(session, listen("second", free_port(), SSH_SIDE, transport="ssh"))
        # The port has moved; who is in stays in.
        assert other.get_config("running").data_xml
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), SECONDS)


def test_no_connection_to_an_endpoint_is_refused_while_the_agent_is_restarted(box, stores, clean):
    port = free_port()
    with box.connect() as first:
        box.configure(first, listen("tls", port, tls_side()))
        boxes.wait_for("the custodian's copy", lambda: listeners(port) == 2)
    known, pid = len(box.readies), box.ready.pid
    os.kill(pid, signal.SIGKILL)
    boxes.wait_for("its end", lambda: not boxes.alive(pid))
    # Whoever comes between the two agents waits in the listener that the custodian holds.
    while True:
        is_last = len(box.readies) > known
        with over_tls(stores, port) as stream:
            assert "base:1.0" in Client(stream).hello
        if is_last:
            break
    with box.connect() as second:
        box.configure(second, no_server())
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), SECONDS)
        # What was given up can be had again at once, also while the custodian still has the old one.
        box.configure(second, listen("tls", port, tls_side()))
    with over_tls(stores, port) as stream:
        assert "base:1.0" in Client(stream).hello


def listeners(port):
    """How many processes have the socket that listens there."""
    wanted = "0100007F:{:04X}".format(port)
    with open("/proc/net/tcp", encoding="ascii") as table:
        inodes = [row.split()[9] for row in table if row.split()[1] == wanted and row.split()[3] == "0A"]
    if not inodes:
        return 0
    link, having = "socket:[{}]".format(inodes[0]), set()
    for each in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(each) == link:
                having.add(each.split("/")[2])
        except OSError:
            pass
    return len(having)


def test_what_cannot_be_served_is_refused_before_it_is_committed(box, session, stores, clean):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        error = refusal(lambda: box.configure(session, listen("tls", taken.getsockname()[1], tls_side())))
        assert "cannot listen on 127.0.0.1" in error.message
    error = refusal(lambda: box.configure(session, listen("tls", free_port(), tls_side(key="ssh_host_ed25519_key"))))
    assert error.tag in ("data-missing", "invalid-value")
    absent = '<keystore xmlns="{}"><asymmetric-keys><asymmetric-key><name>absent</name><hidden-private-key/><certificates><certificate><name>device</name><cert-data>{}</cert-data></certificate></certificates></asymmetric-key></asymmetric-keys></keystore>'
    error = refusal(lambda: box.configure(session, config(absent.format(KEYSTORE, stores.bare("device"))), listen("tls", free_port(), tls_side(key="absent"))))
    assert "is not there; make one with `openssl" in error.message
    wrong = absent.format(KEYSTORE, "AAAA").replace("absent", "tls-key").replace(">device<", ">noise<")
    error = refusal(lambda: box.configure(session, config(wrong)))
    assert "the certificate `noise` cannot be used" in error.message


# Call home


def call(name, ports, side, transport="ssh", connection="<persistent/>", strategy=""):
    endpoints = "".join(
        "<endpoint><name>e{n}</name><{t}><tcp-client-parameters><remote-address>127.0.0.1</remote-address><remote-port>{port}</remote-port>"
        "</tcp-client-parameters>{side}</{t}></endpoint>".format(n=number, port=port, side=side, t=transport)
        for number, port in enumerate(ports)
    )
    return config(
        '<netconf-server xmlns="{}"><call-home><netconf-client nc:operation="replace"><name>{}</name><endpoints>{}</endpoints>'
        "<connection-type>{}</connection-type><reconnect-strategy>{}</reconnect-strategy></netconf-client></call-home></netconf-server>".format(
            SERVER, name, endpoints, connection, strategy
        )
    )


def home(port=0):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    server.settimeout(SECONDS)
    return server


def options_of(box):
    return dict(username=box.admin, key_filename=box.key, hostkey_verify=False, allow_agent=False, look_for_keys=False, timeout=SECONDS)


def state_of(session, client):
    """The leaves of what is told of the calls to a client, by name."""
    wanted = (
        '<netconf-server xmlns="{}"><call-home><netconf-client><name>{}</name><state xmlns="urn:procyon:netconf-server"/>'
        "</netconf-client></call-home></netconf-server>"
    ).format(SERVER, client)
    data = etree.fromstring(session.get(filter=("subtree", wanted)).data_xml.encode())
    return {etree.QName(leaf).localname: leaf.text for state in data.iter("{urn:procyon:netconf-server}state") for leaf in state}


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_ncclient_is_called(box, session, stores, clean):
    port = free_port()
    box.configure(session, call("noc", [port], SSH_SIDE))
    with manager.call_home(host="127.0.0.1", port=port, **options_of(box)) as called:
        assert called.get_config("running").data_xml


def test_netconf_client_is_called_by_tls(box, session, stores, clean):
    port = free_port()
    with netconf_client.connect.CallhomeManager(bind_to="127.0.0.1", port=port) as waiting:
        box.configure(session, call("noc", [port], tls_side(), transport="tls"))
        with waiting.accept_one_tls(**files_of(stores, "fred")) as opened:
            read_and_leave(opened)


def test_a_client_that_has_gone_is_called_again(box, session, stores, clean):
    with home() as server:
        box.configure(session, call("noc", [server.getsockname()[1]], SSH_SIDE))
        for _ in range(2):
            connection, _ = server.accept()
            with manager.connect_ssh(host="127.0.0.1", sock=connection, **options_of(box)) as called:
                assert called.get_config("running").data_xml


def test_the_next_endpoint_is_called_where_nobody_is_home(box, session, stores, clean):
    with home() as server:
        nobody = free_port()
        box.configure(
            session,
            call("noc", [nobody, server.getsockname()[1]], tls_side(), transport="tls", strategy="<max-attempts>1</max-attempts>"),
        )
        connection, _ = server.accept()
        with context(stores, "fred").wrap_socket(connection, server_hostname="localhost") as stream:
            assert "<username>fred</username>" in Client(stream).sessions()


def test_a_client_that_is_no_longer_configured_is_hung_up_on(box, session, stores, clean):
    with home() as server:
        box.configure(session, call("noc", [server.getsockname()[1]], tls_side(), transport="tls"))
        connection, _ = server.accept()
        with context(stores, "fred").wrap_socket(connection, server_hostname="localhost") as stream:
            client = Client(stream)
            box.configure(session, no_server())
            with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
                client.receive()


def test_a_periodic_call_that_is_closed_in_order_is_not_made_again_at_once(box, session, stores, clean):
    with home() as server:
        periodic = "<periodic><period>60</period></periodic>"
        box.configure(session, call("noc", [server.getsockname()[1]], tls_side(), transport="tls", connection=periodic))
        connection, _ = server.accept()
        with context(stores, "fred").wrap_socket(connection, server_hostname="localhost") as stream:
            client = Client(stream)
            state = state_of(session, "noc")
            assert (state["status"], state["endpoint"], state["failed-calls"]) == ("connected", "e0", "0")
            assert "<ok/>" in client.ask("<close-session/>")
        state = boxes.wait_for("the end", lambda: next((s for s in [state_of(session, "noc")] if s["status"] != "connected"), None))
        assert state["status"] == "waiting" and "last-problem" not in state
        hour = when(state["next-call"]) - when(state["last-connected"])
        assert abs(hour.total_seconds() - 3600) < SECONDS


def test_why_a_client_cannot_be_called_and_an_endpoint_is_not_served_is_told(box, session, stores, clean):
    nobody = free_port()
    box.configure(session, call("noc", [nobody], SSH_SIDE))
    state = boxes.wait_for("a failure", lambda: next((s for s in [state_of(session, "noc")] if "last-problem" in s), None))
    assert state["status"] in ("waiting", "calling") and int(state["failed-calls"]) > 0
    assert state["last-problem"].startswith("127.0.0.1:{}: ".format(nobody)) and "refused" in state["last-problem"]
    box.configure(session, no_server(), listen("tls", free_port(), tls_side()))
    assert state_of(session, "noc") == {}
    told = session.get(filter=("subtree", '<netconf-server xmlns="{}"/>'.format(SERVER))).data_xml
    assert "<status>serving</status>" in told
