"""Consoles under YANG, from outside: listeners, rights, and changes of both under people's hands; conserver's own client
with no conserver; consoles of others.
"""

import contextlib
import getpass
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

from box import NETCONF, RPCError, wait_for
from device import BINARIES, one_box
from seats import Client, Seat, free_port
from test_alarms import alarms, cleared, raised
from test_containers import commit, configure, container, details, log, states, text, until

CONSOLES = "urn:procyon:console"
SHELL = "/bin/bash --norc -i"
PROMPT = "<environment><name>PS1</name><value>=&gt; </value></environment><terminal/><stop><signal>HUP</signal></stop>"


@pytest.fixture(autouse=True)
def empty(box):
    yield
    with box.connect() as session:
        for top, module in (("containers", "urn:procyon:container"), ("conserver-listener", CONSOLES)):
            commit(session, '<{0} xmlns="{1}" nc:operation="remove" xmlns:nc="{2}"/>'.format(top, module, NETCONF))
        wait_for("end of every container", lambda: not states(session))


@pytest.fixture
def seats():
    taken = []
    yield lambda seat: taken.append(seat) or seat
    for seat in taken:
        seat.close()


def console(inner):
    return PROMPT + "<console>{}</console>".format(inner)


def tcp(port, more="", name="telnet"):
    return "<listener><name>{}</name><tcp><port>{}</port></tcp>{}</listener>".format(name, port, more)


def unix(path, more="", mode="660", name="main"):
    place = "<unix><path>{}</path><mode>{}</mode></unix>".format(path, mode)
    return "<listener><name>{}</name>{}{}</listener>".format(name, place, more)


def consoles(session):
    """Entries of the operational list, by name."""
    reply = session.get(filter=("subtree", '<consoles xmlns="{}"/>'.format(CONSOLES)))
    entries = reply.data_ele.iter("{%s}console" % CONSOLES)
    return {entry.findtext("{%s}name" % CONSOLES): entry for entry in entries}


def listeners(session, name):
    entries = consoles(session)["container:" + name].iter("{%s}listener" % CONSOLES)
    return {e.findtext("{%s}place" % CONSOLES): e.findtext("{%s}problem" % CONSOLES) for e in entries}


WRITE = "<write>true</write>"


def test_listeners_come_change_and_go_by_commit_and_nobody_else_notices(session, seats, tmp_path):
    first, second = free_port(), free_port()
    path = str(tmp_path / "control")
    configure(session, container("one", SHELL, console(tcp(first, WRITE) + unix(path, WRITE) + "<logout-key>^Q</logout-key>")))
    pid = text(until(session, "one", "running"), "pid")
    telnet = seats(Seat(["telnet", "127.0.0.1", str(first)]))
    telnet.until("@@@ Use ^X to kill the child, auto restart is ON, use ^T to toggle auto restart")
    telnet.until("@@@ Use ^Q to logout from procServ server")
    telnet.until("(plus you)")
    telnet.type("echo via-$((3*3))\r")
    telnet.until("via-9")
    assert os.stat(path).st_mode & 0o777 == 0o660
    users = [e.findtext("{%s}name" % CONSOLES) for e in consoles(session)["container:one"].iter("{%s}user" % CONSOLES)]
    assert users == ["telnet"]
    other = seats(Client(path))
    other.until("(plus you)")
    configure(session, container("one", None, console(tcp(second, name="more") + unix(path, WRITE, "600"))))
    wait_for("the new mode", lambda: os.path.exists(path) and os.stat(path).st_mode & 0o777 == 0o600)
    wait_for("the new port", lambda: listeners(session, "one").get("tcp:127.0.0.1:{}".format(second), "") is None)
    telnet.type("echo still-$((4*4))\r")
    telnet.until("still-16")
    watcher = seats(Client(("127.0.0.1", second)))
    assert b"Welcome" not in watcher.until("@@@ Child")
    watcher.type("echo not-$((1+1))\r")
    telnet.type("echo seen-$((5*5))\r")
    assert b"not-2" not in watcher.until("seen-25")
    assert text(states(session)["one"], "pid") == pid
    telnet.type(b"\x11")
    assert telnet.ended() is not None
    commit(session, '<containers xmlns="urn:procyon:container"><container><name>one</name><console><listener '
           'xmlns:nc="{}" nc:operation="delete"><name>main</name></listener></console></container></containers>'.format(NETCONF))
    wait_for("the socket's end", lambda: not os.path.exists(path))
    assert text(states(session)["one"], "pid") == pid


def test_one_writer_motd_replay_breaks_and_keys_are_configured(session, box, seats):
    port = free_port()
    inner = (
        "<writers>one</writers><replay-lines>5</replay-lines><message-of-the-day>be kind</message-of-the-day>"
        "<marks>true</marks><ignored-keys>^D</ignored-keys><toggle-key/>"
        "<break><name>1</name><send>echo broken-\\1045\\r</send></break>"
        "<break><name>2</name><send>\\decho after-\\1046\\r</send><pause>1500</pause></break>"
    )
    configure(session, container("one", SHELL, console(inner + tcp(port, WRITE))))
    until(session, "one", "running")
    alice = seats(Seat([box.procyon, "console", "--root", box.root, "-l", "alice", "one"]))
    alice.until("[-- MOTD -- be kind]")
    bob = seats(Seat([box.procyon, "console", "--root", box.root, "-l", "bob", "one"]))
    bob.until("[no, alice@localhost is attached]")
    alice.type("\x05cl?")
    alice.until("[halt list]\r\n 0 - 250ms, `\\z'\r\n 1 - 250ms, `echo broken-D5\\r'\r\n 2 - 1500ms, `\\decho after-D6\\r'\r\n")
    alice.type("\x05cl1")
    bob.until("break #1 sent by alice@localhost")
    bob.until("broken-D5")
    alice.type("\x05cl2\x05cl1")
    alice.until("[halt [halt another is on its way]\r\n")
    bob.until("after-D6")
    alice.until("sent]")
    box.command("console", "--root", box.root, "-b", "lunch", "container:one")
    alice.until("lunch]")
    assert "broadcast -- `lunch' -- " in log(box, "one")
    alice.type("\x05cl9")
    alice.until("[halt undefined]")
    alice.type("\x04echo up-$((1+1))\r")
    alice.until("up-2")
    telnet = seats(Client(("127.0.0.1", port)))
    telnet.until("auto restart is ON, auto restart toggle disabled")
    telnet.until("up-2")
    configure(session, container("one", None, "<console><writers>shared</writers></console>"))
    bob.type("\x05ca")
    bob.until("[attached]")


def rule(name, path, access, action):
    return (
        "<rule><name>{}</name><path xmlns:procyon-console=\"urn:procyon:console\">{}</path><access-operations>{}</access-operations><action>{}</action></rule>"
    ).format(name, path, access, action)


def rules(session, users, *entries, operation="replace"):
    """A rule list of its own for a group of these users."""
    members = "".join("<user-name>{}</user-name>".format(user) for user in users)
    commit(session, (
        '<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm" xmlns:nc="{0}">'
        '<groups><group nc:operation="{1}"><name>desk</name>{2}</group></groups>'
        '<rule-list nc:operation="{1}" xmlns:yang="urn:ietf:params:xml:ns:yang:1" yang:insert="first"><name>desk</name><group>desk</group>{3}</rule-list></nacm>'
    ).format(NETCONF, operation, members, "".join(entries)))


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another account needs root")
def test_who_is_known_to_the_host_is_judged_by_the_access_rules_also_without_the_agent(own_box, seats):
    folder = os.path.dirname(own_box.root)
    path = os.path.join(folder, "control")
    nobody = pwd.getpwnam("nobody")

    def visit():
        account = ["--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
        return seats(Seat(["setpriv", *account, "socat", "-,raw,echo=0", "UNIX-CONNECT:" + path]))

    where = "/procyon-console:consoles/console[name='container:one']"
    with own_box.connect() as session:
        configure(session, container("one", SHELL, console(unix(path, WRITE, "666"))))
        until(session, "one", "running")
        rules(session, ["nobody"], rule("look", where, "read", "deny"))
        wait_for("a visitor that is turned away", lambda: visit().ended() is not None)
        rules(session, ["nobody"], rule("look", where, "read", "permit"), rule("type", where, "update", "permit"))
        wait_for("the new rules", lambda: "Welcome" in greeting(visit()))
        writer = visit()
        writer.until("(plus you)")
        writer.type("echo may-$((2+3))\r")
        writer.until("may-5")
        rules(session, ["nobody"], rule("look", where, "read", "permit"))
        writer.until("[read-only from now on]")
        os.kill(own_box.ready.pid, signal.SIGSTOP)
        try:
            watcher = visit()
            assert b"Welcome" not in watcher.until("@@@ Child")
        finally:
            os.kill(own_box.ready.pid, signal.SIGCONT)
        rules(session, ["nobody"], rule("look", where, "read", "deny"))
        writer.until("[access is withdrawn]")
        assert writer.ended() is not None


def greeting(seat):
    """The banner that a visitor reads, or nothing if it is turned away."""
    try:
        return seat.until("@@@ Child").decode()
    except AssertionError:
        return ""


def test_what_cannot_be_a_listener_is_refused_with_its_path_or_shown_with_its_reason(session, tmp_path):
    def refused(inner, name="x"):
        with pytest.raises(RPCError) as caught:
            configure(session, container(name, "sleep 300", inner))
        return caught.value.message

    open_port = "<console><listener><name>t</name><tcp><address>0.0.0.0</address><port>4000</port></tcp></listener></console>"
    assert "lets in other hosts" in refused(open_port)
    assert "no terminal to type to" in refused("<console>{}</console>".format(tcp(4000, WRITE)))
    assert "has no place" in refused("<console><listener><name>t</name></listener></console>")
    assert "stands for nothing" in refused("<console><break><name>1</name><send>\\q</send></break></console>")
    assert "two listeners" in refused(console(tcp(4000) + tcp(4000, name="again")))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        place = "tcp:127.0.0.1:{}".format(holder.getsockname()[1])
        configure(session, container("one", SHELL, console(tcp(holder.getsockname()[1]))))
        until(session, "one", "running")
        wait_for("the reason", lambda: "in use" in (listeners(session, "one").get(place) or ""))
    wait_for("the port, once it is free", lambda: listeners(session, "one").get(place, "") is None)


def client(port, *words):
    """conserver's own client, to its end."""
    done = subprocess.run(
        ["console", "-E", "-M", "127.0.0.1", "-p", str(port), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    )
    return done.stdout.replace("\r", "") + done.stderr


def listen(session, port, more=""):
    commit(session, '<conserver-listener xmlns="{}"><port>{}</port>{}</conserver-listener>'.format(CONSOLES, port, more))


TRUSTED = "<trusted>127.0.0.1</trusted>"


def test_conservers_own_client_works_with_no_conserver(session, box, seats):
    port = free_port()
    configure(session, container("one", SHELL, console("<message-of-the-day>be kind</message-of-the-day><writers>one</writers>")),
              container("two", SHELL, PROMPT))
    until(session, "one", "running"), until(session, "two", "running")
    listen(session, port, TRUSTED)
    wait_for("the listener", lambda: client(port, "-l", box.admin, "-u").count(" up ") == 2)
    listed = client(port, "-l", box.admin, "-u")
    assert re.search(r"^ one {24}up   <none>$", listed, re.M), listed

    def sit(*words, user=box.admin):
        return seats(Seat(["console", "-E", "-M", "127.0.0.1", "-p", str(port), "-l", user, *words]))

    alice = sit("one")
    alice.until("[Enter `^Ec?' for help]")
    alice.until("[-- MOTD -- be kind]")
    alice.type("echo from-$((6*7))\r")
    alice.until("from-42")
    bob = sit("-s", "one")
    bob.until("[Enter `^Ec?' for help]")
    bob.until("[-- MOTD -- be kind]")

    def reaches_bob():
        # What is shown before a client has said that it shows it is not sent to it.
        alice.type("echo to-$((6*8))\r")
        with contextlib.suppress(AssertionError):
            return bob.until("to-48", 1) is not None

    wait_for("a second client that is shown what comes", reaches_bob)
    alice.type("printf 'a\\377b\\n' | od -c\r")
    alice.until("377")
    bob.type("\x05cf")
    bob.until("[bumped {}@127.0.0.1]".format(box.admin))
    alice.until("[forced to `spy' mode by {}@127.0.0.1]".format(box.admin))
    assert "{}@127.0.0.1".format(box.admin) in client(port, "-l", box.admin, "-w")
    assert len(client(port, "-l", box.admin, "-i", "one").strip().split(":")) == 15
    assert " on /dev/pts/" in client(port, "-l", box.admin, "-x")
    client(port, "-l", box.admin, "-b", "lunch")
    bob.until("lunch]")
    client(port, "-l", box.admin, "-t", "{}@one".format(box.admin), "psst")
    bob.until("psst]")
    assert str(box.ready.pid) in client(port, "-l", box.admin, "-P")
    bob.type("\x05c|")
    bob.until("exec: ")
    bob.type("echo 'echo by-command-$((4*5))'; exec sleep 300\r")
    bob.until("by-command-20")
    bob.type(b"\x1c")
    bob.until("local command terminated")
    alice.type("\x05cw")
    alice.until("[who one]")
    bob.type("echo back-$((5*5))\r")
    alice.until("back-25")
    bob.type("\x05ce\x01z")
    bob.until("ok]")
    bob.type("\x01z.")
    bob.until("[disconnect]")
    assert bob.ended() == 0
    forced = sit("-f", "-e", "^Az", "one")
    forced.until("[Enter `^Az?' for help]")
    forced.type("echo forced-$((1+2))\r")
    forced.until("forced-3")
    forced.type("\x01z;")
    forced.until("console: ")
    forced.type("two\r")
    forced.until("[Enter `^Az?' for help]")
    forced.type("echo two-$((1+2))\r")
    forced.until("two-3")
    assert "not found" in client(port, "-l", box.admin, "-s", "nosuch")
    assert "disconnected 1 user" in client(port, "-l", box.admin, "-d", box.admin + "@two")
    assert "unauthorized" in client(port, "-l", box.admin, "-q")
    assert "version `procyon" in client(port, "-l", box.admin, "-r")


def test_a_port_that_somebody_else_has_refuses_the_commit(session):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(RPCError) as caught:
            listen(session, port)
    assert "cannot be served on 127.0.0.1:{}".format(port) in caught.value.message
    assert "choose another" in caught.value.message


def test_who_is_at_a_console_does_not_notice_that_the_agent_is_restarted(own_box, seats):
    port = free_port()
    with own_box.connect() as session:
        configure(session, container("one", SHELL, PROMPT))
        until(session, "one", "running")
        listen(session, port, TRUSTED)
        wait_for("the listener", lambda: " up " in client(port, "-l", own_box.admin, "-u"))
        seat = seats(Seat(["console", "-E", "-M", "127.0.0.1", "-p", str(port), "-l", own_box.admin, "one"]))
        seat.until("help]")
        seat.type("echo before-$((6*7))\r")
        seat.until("before-42")
    os.kill(own_box.ready.pid, signal.SIGKILL)
    seat.type("echo meanwhile-$((6*8))\r")
    seat.until("meanwhile-48")
    # Nobody is refused: who comes while there is no agent waits for the next.
    assert " up " in client(port, "-l", own_box.admin, "-u")
    seat.type("\x05c.")
    seat.until("disconnect]")
    assert seat.ended() == 0


def certificate(folder, name):
    """Paths of a key and of a certificate that vouches for itself."""
    key, own = str(folder / (name + ".key")), str(folder / (name + ".crt"))
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([*words, "-subj", "/CN=" + name, "-keyout", key, "-out", own], check=True, capture_output=True)
    return key, own


def test_a_port_for_conservers_clients_that_somebody_else_has_is_told_and_an_alarm(tmp_path):
    with one_box(tmp_path) as box:
        port = free_port()

        def told(session):
            entry = session.get(filter=("subtree", '<consoles xmlns="{}"><conserver-listener/></consoles>'.format(CONSOLES)))
            problem = entry.data_ele.find(".//{%s}problem" % CONSOLES)
            return None if problem is None else problem.text

        with box.connect() as session:
            listen(session, port)
            wait_for("the listener", lambda: client(port, "-l", box.admin, "-P"))
            assert told(session) is None
        box.stop()
        with socket.create_server(("127.0.0.1", port)):
            box.start()
            with box.connect() as session:
                assert wait_for("the problem", lambda: told(session)).startswith("127.0.0.1:{}: Address already in use".format(port))
                raised(session, ("conserver-listener", "CONSERVER_LISTENER_CLOSED"))
                assert "it is tried again" in alarms(session)[("conserver-listener", "CONSERVER_LISTENER_CLOSED")]["alarm-text"]
        with box.connect() as session:
            cleared(session, ("conserver-listener", "CONSERVER_LISTENER_CLOSED"))
            assert told(session) is None and client(port, "-l", box.admin, "-P")


def test_conservers_client_encrypts_where_there_are_credentials(session, box, seats, tmp_path):
    port = free_port()
    configure(session, container("one", SHELL, PROMPT))
    until(session, "one", "running")
    with pytest.raises(RPCError) as caught:
        listen(session, port, "<credentials>console.pem</credentials>")
    assert "is not there" in caught.value.message
    key, own = certificate(tmp_path, "device")
    _, others = certificate(tmp_path, "other")
    credentials = os.path.join(box.root, "keys", "console.pem")
    with open(credentials, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as together:
        for part in (own, key):
            with open(part) as text:
                together.write(text.read())
    try:
        listen(session, port, TRUSTED + "<credentials>console.pem</credentials>")

        def words(authority, *more):
            config = tmp_path / (os.path.basename(authority) + ".cf")
            config.write_text("config * {{ sslrequired yes; sslcacertificatefile {}; }}\n".format(authority))
            return ["console", "-C", str(config), "-M", "127.0.0.1", "-p", str(port), "-l", box.admin, *more]

        def said(authority):
            done = subprocess.run(words(authority, "-u"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
            return done.stdout + done.stderr

        wait_for("the listener", lambda: " up " in said(own))
        assert " up " not in said(others)
        assert "encryption required" in client(port, "-l", box.admin, "-u")
        seat = seats(Seat(words(own, "one")))
        seat.until("[Enter `^Ec?' for help]")
        seat.type("echo encrypted-$((6*7))\r")
        seat.until("encrypted-42")
        seat.type("\x05c.")
        seat.until("disconnect]")
        assert seat.ended() == 0
        listen(session, port, "<clear-text>true</clear-text>")
        wait_for("a client that does not encrypt", lambda: " up " in client(port, "-l", box.admin, "-u"))
    finally:
        os.remove(credentials)


def test_a_command_of_ones_own_types_and_reads_in_ones_place(session, box, seats):
    configure(session, container("one", SHELL, PROMPT))
    until(session, "one", "running")
    seat = seats(Seat([box.procyon, "console", "--root", box.root, "one"]))
    seat.until("=> ")
    seat.type("\x05c|")
    seat.until("[exec: ")
    # It types an escape sequence, which means nothing, and ends when it has read what came of it.
    seat.type("printf 'echo %s-$((4*5))\\n' \"$(printf 'x\\005c.')\"; grep -m1 -a -e '-20' >/dev/null; exit 7\r")
    seat.until("-20")
    seat.until("exit(7)]")
    seat.type("echo back-$((2*2))\r")
    seat.until("back-4")
    seat.type("\x05c|")
    seat.until("[exec: ")
    seat.type("sleep 300\r")
    seat.until("running - pid ")
    seat.type(b"\x1c")
    seat.until("signal(9)]")


def test_a_password_is_asked_where_nobody_is_believed(session, box, seats):
    port = free_port()
    configure(session, container("one", SHELL, PROMPT))
    until(session, "one", "running")
    user = "<user><name>carol</name><password>$0$open sesame</password></user>"
    commit(session, '<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication>{}</authentication></system>'.format(user))
    listen(session, port)
    wait_for("the listener", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)

    def ask(password):
        seat = seats(Seat(["console", "-E", "-M", "127.0.0.1", "-p", str(port), "-l", "carol", "-u"]))
        seat.until("Enter carol@")
        seat.type(password + "\r")
        return seat

    assert b"<none>" not in ask("wrong").until("invalid password")
    ask("open sesame").until(" one                        up   <none>")


@pytest.fixture
def echo_server():
    """Somebody's telnet console: greets, asks as procServ does, and echoes what is typed, in capitals."""
    heard = []

    def serve(listener):
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.sendall(b"\xff\xfb\x01\xff\xfd\x22hello\r\n")
            while piece := peer.recv(4096):
                heard.append(piece)
                if b"bye" in piece:
                    break
                peer.sendall(piece.upper())
            peer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_console_of_somebody_else_is_served_to_many_and_called_again(session, box, seats, echo_server):
    port, heard = echo_server
    connect = "<connect><host>127.0.0.1</host><port>{}</port></connect>".format(port)
    configure(session, container("rack", None, connect + "<console><marks>true</marks></console>"))
    until(session, "rack", "running")
    alice = seats(Seat([box.procyon, "console", "--root", box.root, "-A", "-l", "alice", "rack"]))
    alice.until("hello")
    bob = seats(Seat([box.procyon, "console", "--root", box.root, "-l", "bob", "rack"]))
    bob.until("help]")
    alice.type("abc")
    bob.until("ABC")
    assert b"".join(heard).startswith(b"\xff\xfd\x01\xff\xfc\x22")
    alice.type("\x05cl0")
    alice.until("[halt sent]")
    wait_for("a break", lambda: b"\xff\xf3" in b"".join(heard))
    alice.type("bye")
    alice.until("the other side has closed the connection")
    alice.until("hello")
    until(session, "rack", "running")
    log = os.path.join(box.root, "harddisk/mirror/script-mgmt/logs/container/rack/stdout.log")
    with open(log, "rb") as kept:
        assert kept.read().count(b"hello") == 2


def test_a_procserv_is_attached_by_its_socket_and_one_that_is_away_is_said_to_be(session, box, seats, tmp_path):
    path = str(tmp_path / "control")
    configure(session, container("ioc", None, "<connect><unix>{}</unix></connect><user>{}</user>".format(path, getpass.getuser())))
    wait_for("what is wrong", lambda: "starts again at" in (text(details(session, "ioc"), "why") or ""))
    assert "No such file" in text(next(details(session, "ioc").iter("{urn:procyon:container}exit")), "last-lines")
    keeper = os.path.join(BINARIES, "procyon-keeper")
    server = subprocess.Popen([keeper, "-f", "-q", "-n", "ioc", "-P", "unix:" + path, "/bin/cat"], stdin=subprocess.DEVNULL)
    try:
        until(session, "ioc", "running")
        seat = seats(Seat([box.procyon, "console", "--root", box.root, "-A", "ioc"]))
        seat.until('@@@ Child "ioc" PID')
        seat.type("meow\r")
        seat.until("meow")
    finally:
        server.terminate()
        server.wait(20)


CONSERVER_CF = """config * {{
    primaryport {};
}}

default full {{ rw *; }}
default * {{
        timestamp "";
        include full;
        master localhost;
}}

#include /etc/conserver/procs.cf

access * {{
        trusted 127.0.0.1;
        allowed 127.0.0.1;
}}
"""


def test_what_moves_in_from_a_conserver_serves_its_clients(session, box, seats):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        port, control = free_port(), os.path.join(folder, "control")
        files = {"conserver.cf": CONSERVER_CF.format(port), "procs.cf": "console test-ioc {{ type uds; uds {}; }}\n".format(control)}
        for name, content in files.items():
            with open(os.path.join(folder, name), "w") as handle:
                handle.write(content)
        done = box.command("import", *(os.path.join(folder, name) for name in files))
        assert "#include /etc/conserver/procs.cf" in done.stderr
        keeper = os.path.join(BINARIES, "procyon-keeper")
        server = subprocess.Popen([keeper, "-f", "-q", "-n", "ioc", "-P", "unix:" + control, "/bin/cat"], stdin=subprocess.DEVNULL)
        try:
            wait_for("procServ's socket", lambda: os.path.exists(control))
            commit(session, done.stdout)
            until(session, "test-ioc", "running")
            wait_for("the listener", lambda: "test-ioc" in client(port, "-l", box.admin, "-u"))
            seat = seats(Seat(["console", "-E", "-M", "127.0.0.1", "-p", str(port), "-l", box.admin, "test-ioc"]))
            seat.until("help]")
            seat.type("meow\r")
            seat.until("meow\r\nmeow")
        finally:
            server.terminate()
            server.wait(20)
            commit(session, '<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><rule-list xmlns:nc="{}" nc:operation="remove">'
                   "<name>writers of test-ioc</name></rule-list></nacm>".format(NETCONF))
