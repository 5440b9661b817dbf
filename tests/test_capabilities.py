"""What NETCONF has beside its base (RFC 6241 section 8, RFC 5717), on real binaries: startup, writable running, URLs and
locks on parts."""

import http.server
import os
import ssl
import threading

import pytest
from lxml import etree

from peer import BASE, Peer, show
from sample import SAMPLE, SampleBox, subtree, top

CAPABILITY = "urn:ietf:params:netconf:capability:"
COPY = "<copy-config><target><{}/></target><source><{}/></source></copy-config>"


class Device(SampleBox):
    """Has a startup datastore, lets running be edited, and trusts the authority of `certificates`."""

    def initialise(self):
        super().initialise()
        with open(self.settings, encoding="utf-8") as handle:
            rest = handle.read()
        self.authority = self.root + ".pem"
        with open(self.settings, "w", encoding="utf-8") as handle:
            handle.write("startup = true\nwritable_running = true\n")
            handle.write('[fetch]\ncertificates = "{}"\n[limits]\nmessage_bytes = 100000\n'.format(self.authority))
            handle.write(rest)


@pytest.fixture
def peer(box):
    with Peer(box.ready.socket) as opened:
        yield opened
    with Peer(box.ready.socket) as opened:
        opened.edit(top("", 'nc:operation="remove"'), "running")
        opened.ok("<discard-changes/>")


def running(peer, content=top("")):
    return peer.data(subtree(content).replace("candidate", "running"))


def test_what_is_switched_on_is_announced(peer):
    for capability in (
        "startup:1.0",
        "writable-running:1.0",
        "url:1.0?scheme=file,https",
        "partial-lock:1.0",
        "validate:1.1",
        "rollback-on-error:1.0",
        "xpath:1.0",
        "interleave:1.0",
    ):
        assert CAPABILITY + capability in peer.capabilities
    features = next(capability for capability in peer.capabilities if "module=ietf-netconf&" in capability)
    assert {"startup", "writable-running", "url"} <= set(features.split("features=")[1].split(","))


# Running


def test_running_is_edited_at_once_and_wholly_or_not_at_all(peer):
    peer.edit(top("<name>now</name>"), "running")
    assert running(peer) == "<top><name>now</name></top>"
    assert peer.edit(top("<name>later</name><mtu>7</mtu>"), "running", check=False) == [
        "application invalid-value (mtu-range) /s:top/s:mtu"
    ]
    assert peer.edit(top("<plain>5</plain>"), "running", check=False) == [
        "application operation-failed (must-violation) /s:top/s:plain"
    ]
    assert running(peer) == "<top><name>now</name></top>"
    go_on = "<error-option>continue-on-error</error-option>"
    peer.edit(top("<name>later</name><mtu>7</mtu>"), "running", go_on, check=False)
    assert running(peer) == "<top><name>later</name></top>"
    peer.edit(top("<name>never</name>"), "running", "<test-option>test-only</test-option>")
    assert running(peer) == "<top><name>later</name></top>"


def test_a_locked_running_is_not_edited_by_others_and_a_pending_commit_not_by_anybody(peer, other):
    other.ok("<lock><target><running/></target></lock>")
    assert peer.edit(top("<name>x</name>"), "running", check=False) == ["application in-use"]
    assert peer.errors(COPY.format("running", "candidate")) == ["application in-use"]
    other.ok("<unlock><target><running/></target></unlock>")
    other.edit(top("<name>y</name>"))
    other.ok("<commit><confirmed/></commit>")
    assert peer.edit(top("<name>x</name>"), "running", check=False) == ["application in-use"]
    other.ok("<cancel-commit/>")


def test_the_candidate_is_copied_to_running_like_a_commit(peer):
    peer.edit(top("<name>copied</name>"))
    peer.ok(COPY.format("running", "candidate"))
    assert running(peer) == "<top><name>copied</name></top>"


# Startup


def kept_in_startup(peer):
    return peer.data(subtree(top("")).replace("candidate", "startup"))


def test_startup_is_copied_read_locked_validated_and_deleted(peer, other):
    peer.edit(top("<name>kept</name>"), "running")
    peer.ok(COPY.format("startup", "running"))
    peer.edit(top("<name>moved on</name>"), "running")
    assert kept_in_startup(peer) == "<top><name>kept</name></top>"
    peer.ok("<validate><source><startup/></source></validate>")
    assert peer.edit(top(""), "startup", check=False) == ["application operation-not-supported"]
    peer.ok("<lock><target><startup/></target></lock>")
    assert other.errors(COPY.format("startup", "running")) == ["application in-use"]
    assert other.errors("<delete-config><target><startup/></target></delete-config>") == ["application in-use"]
    peer.ok("<unlock><target><startup/></target></unlock>")
    peer.ok(COPY.format("candidate", "startup"))
    assert "kept" in peer.data(subtree(top("<name/>")))
    peer.ok("<delete-config><target><startup/></target></delete-config>")
    assert kept_in_startup(peer) == ""


def reboot(box):
    """As a start after a boot of the host: the boot that was seen last is another one."""
    box.stop()
    os.unlink(os.path.join(box.root, "state", "startup-boot"))
    box.start()


def test_a_boot_loads_startup_and_a_mere_restart_does_not(own_box):
    with Peer(own_box.ready.socket) as peer:
        peer.edit(top("<name>at boot</name>"), "running")
        peer.ok(COPY.format("startup", "running"))
        peer.edit(top("<name>since</name>"), "running")
    own_box.stop()
    own_box.start()
    with Peer(own_box.ready.socket) as peer:
        assert running(peer) == "<top><name>since</name></top>"
    reboot(own_box)
    with Peer(own_box.ready.socket) as peer:
        assert running(peer) == "<top><name>at boot</name></top>"
        history = peer.data('<get><filter><config-manager xmlns="{}"/></filter></get>'.format(HISTORY))
        newest = etree.fromstring(history).find(".//{*}commit")
        assert newest.findtext("{*}client-name") == "Startup" and "boot" in newest.findtext("{*}comment")
        peer.ok("<delete-config><target><startup/></target></delete-config>")
    reboot(own_box)
    with Peer(own_box.ready.socket) as peer:
        assert running(peer) == "<top><name>at boot</name></top>"


HISTORY = "http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper"


# URLs

FILE = "<url>file:///harddisk:/{}</url>"


def test_a_configuration_goes_to_a_file_and_comes_back(peer, box):
    peer.edit(top("<name>on file</name>"), "running")
    peer.ok("<copy-config><target>{}</target><source><running/></source></copy-config>".format(FILE.format("kept.xml")))
    path = os.path.join(box.root, "harddisk", "kept.xml")
    whole = etree.parse(path).getroot()
    assert whole.tag == "{%s}config" % BASE and whole.find("{urn:sample}top/{urn:sample}name").text == "on file"
    assert os.listdir(os.path.dirname(path)).count("kept.xml.part") == 0
    peer.edit(top("", 'nc:operation="remove"'), "running")
    peer.ok("<validate><source>{}</source></validate>".format(FILE.format("kept.xml")))
    peer.ok("<copy-config><target><candidate/></target><source>{}</source></copy-config>".format(FILE.format("kept.xml")))
    assert "on file" in peer.data(subtree(top("<name/>")))
    peer.ok("<discard-changes/>")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write('<config xmlns="{}">{}</config>'.format(BASE, top("<mtu>77</mtu>")))
    peer.ok("<edit-config><target><running/></target>{}</edit-config>".format(FILE.format("kept.xml")))
    assert running(peer) == "<top><mtu>77</mtu></top>"
    peer.ok("<delete-config><target>{}</target></delete-config>".format(FILE.format("kept.xml")))
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "mode, written",
    [
        ("explicit", ["<name>"]),
        ("trim", ["<name>"]),
        ("report-all", ["<name>", "<mtu>1500</mtu>"]),
        ("report-all-tagged", ["<name>", ':default="true">1500</mtu>']),
    ],
)
def test_a_copy_to_a_file_has_the_defaults_that_were_asked_for_and_can_be_read_again(peer, box, mode, written):
    peer.edit(top("<name>n</name>"), "running")
    mode = '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">{}</with-defaults>'.format(mode)
    copy = "<copy-config><target>{}</target><source>{}</source>{}</copy-config>"
    peer.ok(copy.format(FILE.format("modes.xml"), "<running/>", mode))
    with open(os.path.join(box.root, "harddisk", "modes.xml"), encoding="utf-8") as handle:
        text = handle.read()
    assert [piece for piece in ("<name>", "<mtu>1500</mtu>", ':default="true">1500</mtu>') if piece in text] == written
    peer.ok("<validate><source>{}</source></validate>".format(FILE.format("modes.xml")))
    peer.edit(top("", 'nc:operation="remove"'), "running")


@pytest.mark.parametrize(
    "url, said",
    [
        ("ftp://h/x", "protocol invalid-value /nc:rpc/nc:copy-config/nc:url"),
        ("http://h/x", "protocol invalid-value /nc:rpc/nc:copy-config/nc:url"),
        ("file://elsewhere/x", "protocol invalid-value /nc:rpc/nc:copy-config/nc:url"),
        ("file:///harddisk:/../../etc/passwd", "application invalid-value"),
        ("file:///harddisk:/absent.xml", "application operation-failed"),
        ("file:///harddisk:/link.xml", "application operation-failed"),
        ("file:///harddisk:/mirror", "application operation-failed"),
        ("file:///harddisk:/other.xml", "application invalid-value"),
        ("file:///harddisk:/large.xml", "application too-big"),
        ("https://127.0.0.1:1/x", "application operation-failed"),
    ],
)
def test_what_a_url_does_not_give_is_refused(peer, box, url, said):
    disk = os.path.join(box.root, "harddisk")
    if not os.path.lexists(os.path.join(disk, "link.xml")):
        os.symlink("/etc/passwd", os.path.join(disk, "link.xml"))
    for file, content in (("other.xml", "<data/>"), ("large.xml", "<config>" + " " * 100000)):
        with open(os.path.join(disk, file), "w", encoding="utf-8") as handle:
            handle.write(content)
    copy = "<copy-config><target><candidate/></target><source><url>{}</url></source></copy-config>"
    assert peer.errors(copy.format(url)) == [said]


class Keeping(http.server.BaseHTTPRequestHandler):
    """Keeps what is put, as a server for configurations does."""

    def reply(self, status, content=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self):
        self.server.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(201)

    def do_GET(self):
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/kept.xml")
            self.end_headers()
        elif self.path in self.server.kept:
            self.reply(200, self.server.kept[self.path])
        else:
            self.reply(404)

    def do_DELETE(self):
        self.reply(204 if self.server.kept.pop(self.path, None) else 404)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(box):
    """An https server that the box trusts."""
    key, certificate = job_certificate()
    with open(box.authority, "wb") as handle:
        handle.write(certificate)
    pair = box.root + ".server"
    with open(pair, "wb") as handle:
        handle.write(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    serving.kept = {}
    serving.socket = context.wrap_socket(serving.socket, server_side=True)
    thread = threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def job_certificate():
    """A key and its own certificate for 127.0.0.1, in PEM form."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kept here")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, made.public_bytes(pem)


def test_a_configuration_goes_to_an_https_server_and_comes_back(peer, server):
    url = "<url>https://127.0.0.1:{}/{{}}</url>".format(server.server_address[1])
    peer.edit(top("<name>far away</name>"), "running")
    peer.ok("<copy-config><target>{}</target><source><running/></source></copy-config>".format(url.format("kept.xml")))
    assert b"far away" in server.kept["/kept.xml"]
    source = "<validate><source>{}</source></validate>"
    peer.ok(source.format(url.format("kept.xml")))
    assert peer.errors(source.format(url.format("absent.xml"))) == ["application operation-failed"]
    assert peer.errors(source.format(url.format("elsewhere"))) == ["application operation-failed"]
    peer.ok("<delete-config><target>{}</target></delete-config>".format(url.format("kept.xml")))
    assert not server.kept


# Locks on parts (RFC 5717)


def part(*selects):
    selects = "".join('<select xmlns:q="{}">{}</select>'.format(SAMPLE, select) for select in selects)
    return '<partial-lock xmlns="urn:ietf:params:xml:ns:netconf:partial-lock:1.0">{}</partial-lock>'.format(selects)


def unlock(number):
    return (
        '<partial-unlock xmlns="urn:ietf:params:xml:ns:netconf:partial-lock:1.0"><lock-id>{}</lock-id></partial-unlock>'
    ).format(number)


def locked(reply):
    assert not list(reply.iter("{*}rpc-error")), show(reply)
    return reply.findtext("{*}lock-id"), [node.text for node in reply.iter("{*}locked-node")]


def test_a_part_that_is_locked_is_changed_by_its_holder_only(peer, other):
    items = "".join("<item><name>{0}</name><note>{0}</note></item>".format(name) for name in "abc")
    peer.edit(top(items), "running")
    number, nodes = locked(peer.rpc(part("/q:top/q:item[q:name='a']", "/q:top/q:item[q:note='b']")))
    assert len(nodes) == 2 and nodes[0].endswith("item[s:name='a']"), nodes
    change = '<item><name>{}</name><note>changed</note></item>'
    path = "/s:top/s:item[s:name='a']"
    in_use = "application in-use (locked) {}/s:note".format(path)
    assert other.edit(top(change.format("a")), "running", check=False) == [in_use]
    other.edit(top(change.format("a")))
    assert other.errors("<commit/>") == [in_use]
    other.ok("<discard-changes/>")
    delete = top('<item nc:operation="delete"><name>a</name></item>')
    assert other.edit(delete, "running", check=False) == ["application in-use (locked) " + path]
    other.edit(top(change.format("c")), "running")
    peer.edit(top(change.format("a")), "running")
    denied = "application lock-denied {} session-id=" + peer.session_id
    assert other.errors(part("/q:top")) == [denied.format("/s:top")]
    assert other.errors(part("/q:top/q:item[q:name='a']/q:note")) == [denied.format(path + "/s:note")]
    assert other.errors("<lock><target><running/></target></lock>") == [denied.replace("{} ", "")]
    state = etree.fromstring(
        other.data('<get><filter><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><datastores/></netconf-state></filter></get>')
    )
    assert [node.text for node in state.iter("lock-id")] == [number] and len(list(state.iter("locked-node"))) == 2
    other_number, _ = locked(other.rpc(part("/q:top/q:item[q:name='c']")))
    assert peer.errors(unlock(other_number)) == ["application invalid-value"]
    other.ok(unlock(other_number))
    peer.rpc("<close-session/>")
    assert peer.is_closed()
    other.edit(delete, "running")
    other.ok("<lock><target><running/></target></lock>")
    other.ok("<unlock><target><running/></target></unlock>")
    other.edit(top("", 'nc:operation="remove"'), "running")


@pytest.mark.parametrize(
    "selects, said",
    [
        (["/q:top/q:item[q:name='none']"], "application operation-failed (no-matches)"),
        (["1 + 1"], "application invalid-value (not-a-node-set)"),
        (["///"], "application invalid-value (not-a-node-set)"),
        ([], "protocol missing-element bad-element=select"),
    ],
)
def test_a_partial_lock_that_locks_nothing_is_refused(other, selects, said):
    assert other.errors(part(*selects)) == [said]


def test_a_partial_lock_waits_for_other_locks_and_confirmed_commits(peer, other):
    peer.edit(top("<name>x</name>"), "running")
    peer.ok("<lock><target><running/></target></lock>")
    assert other.errors(part("/q:top")) == ["application lock-denied session-id=" + peer.session_id]
    peer.ok("<unlock><target><running/></target></unlock>")
    peer.edit(top("<name>y</name>"))
    peer.ok("<commit><confirmed/></commit>")
    assert other.errors(part("/q:top")) == [
        "application lock-denied (outstanding-confirmed-commit) session-id=" + peer.session_id
    ]
    peer.ok("<cancel-commit/>")
