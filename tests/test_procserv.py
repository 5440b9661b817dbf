"""procyon-keeper as procServ, from outside: its sockets, keys, texts and files, next to Debian's procServ where that is
installed, and behind conserver, socat and telnet.
"""

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import termios
import time

import pytest

from device import BINARIES, needs_binaries

KEEPER = os.path.join(BINARIES, "procyon-keeper")
DEBIANS = "/usr/bin/procServ"

pytestmark = needs_binaries

# No step takes so long unless something is broken.
LIMIT = 15
REQUESTS = b"\xff\xfb\x01\xff\xfd\x22"
RULE = "@@@ @@@ @@@ @@@ @@@\r\n"
DOWN = b"quits the server"


def needs(*commands):
    missing = [command for command in commands if not shutil.which(command)]
    return pytest.mark.skipif(bool(missing), reason="not installed: {}".format(", ".join(missing)))


class Client:
    """One connection; `seen` is all that has come."""

    def __init__(self, place):
        deadline = time.monotonic() + LIMIT
        while True:
            family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET6 if ":" in place[0] else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            try:
                self.socket.connect(place)
                break
            except OSError:
                self.socket.close()
                assert time.monotonic() < deadline, "nobody listens at {}".format(place)
                select.select([], [], [], 0.01)
        self.socket.settimeout(LIMIT)
        self.seen = b""

    def send(self, data):
        self.socket.sendall(data)

    def until(self, mark):
        """What came up to and with the mark, which is used up."""
        while mark not in self.seen:
            data = self.socket.recv(65536)
            assert data, "closed before {}; saw {}".format(mark, self.seen[-500:])
            self.seen += data
        end = self.seen.index(mark) + len(mark)
        found, self.seen = self.seen[:end], self.seen[end:]
        return found

    def until_closed(self):
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                self.seen += data
        return self.seen


class Served:
    """A server in the foreground, and how to reach it."""

    def __init__(self, folder, arguments, binary=KEEPER, stdin=subprocess.DEVNULL):
        self.folder = folder
        self.process = subprocess.Popen(
            [binary, *arguments], cwd=folder, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def client(self, name="control"):
        client = Client(os.path.join(self.folder, name))
        client.banner = client.until(REQUESTS)
        return client

    def ended(self):
        """Exit status, output, errors."""
        out, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out.decode(), errors.decode()

    def text(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()


def read_until(terminal, mark, times=1):
    """What a terminal shows, up to and with the mark."""
    seen, deadline = b"", time.monotonic() + LIMIT
    while seen.count(mark) < times:
        ready = select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]
        assert ready, "no {} in {}".format(mark, seen)
        seen += os.read(terminal, 4096)
    return seen


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(*arguments, **more):
        servers.append(Served(str(tmp_path), arguments, **more))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.communicate(timeout=LIMIT)


@pytest.fixture
def cat(serve):
    """`cat` that may be restarted at once, on `control`."""
    return serve("-f", "--holdoff", "0", "-n", "IOC", "-P", "unix:control", "/bin/cat")


def child_pid(client):
    """Of the next child that is started."""
    client.until(b"@@@ The PID of new child")
    return int(re.search(rb" is: (\d+)", client.until(b"@@@ @@@ @@@ @@@ @@@\r\n")).group(1))


def shell(serve, script, *options):
    """A server of a shell script that begins when somebody watches."""
    server = serve("-f", "-w", *options, "-P", "unix:control", "/bin/sh", "-c", script)
    client = server.client()
    client.send(b"\x12")
    return server, client


def run(*arguments, binary=KEEPER, **more):
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=LIMIT, check=False, **more)


# What users and their scripts read


def test_the_banner_is_that_of_2_7_0(cat):
    first = cat.client()
    lines = first.banner[: -len(REQUESTS)].decode().split("\r\n")
    shown = [re.sub(r"PID: \d+", "PID: N", re.sub(r"at: .*", "at: DATE", line)) for line in lines]
    folder = cat.folder
    assert shown == [
        "@@@ Welcome to procServ (procServ Process Server 2.7.0)",
        "@@@ Use ^X to kill the child, auto restart is ON, use ^T to toggle auto restart",
        "@@@ procServ server PID: N",
        "@@@ Server startup directory: " + folder,
        "@@@ Child startup directory: " + folder,
        '@@@ Child "IOC" started as: /bin/cat',
        '@@@ Child "IOC" PID: N',
        "@@@ procServ server started at: DATE",
        '@@@ Child "IOC" started at: DATE',
        "@@@ 0 user(s) and 0 logger(s) connected (plus you)",
        "",
    ]
    assert re.search(r"started at: [A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$", lines[7])
    assert "1 user(s) and 0 logger(s)" in cat.client().banner.decode("latin-1")


def conversation(binary, folder, more):
    """The same words to a server, and all that was said, without what differs from run to run."""
    options = ["-f", "-n", "IOC", "-i", "^C", "-L", "log", "--holdoff", "1", "-w", *more]
    server = Served(folder, [*options, "-P", "unix:control", "/bin/cat"], binary)
    client = server.client()
    said = [client.banner]
    for words, mark in (
        (b"lost", None),
        (b"\x12", b"@@@ @@@ @@@ @@@ @@@\r\n"),
        (b"a\x03b\r", b"ab\r\nab\r\n"),
        (b"\xff\xff\xff\xfd\x01c\r", b"\xff\xffc\r\n\xff\xffc\r\n"),
        (b"\x14", b"OFF\r\n"),
        (b"\x18", None),
        (b"\x14\x14", b"OFF\r\n"),
        (b"\x18", b"@@@ @@@ @@@ @@@ @@@\r\n"),
        (b"end\r", b"end\r\nend\r\n"),
        (b"\x04", None),
        (b"\x11", None),
    ):
        client.send(words)
        if words == b"lost" or words == b"\x11":
            continue
        if mark:
            said.append(client.until(mark))
        else:
            # Two blocks, of which either may come first.
            block = client.until(b"@@@ ^R or ^X restarts the child, ^Q quits the server") + client.until(b"\r\n")
            if b"sigChild" not in block:
                block += client.until(b"sigChild") + client.until(b"\r\n")
            said.append(b"\r\n".join(sorted(line for line in block.split(b"\r\n") if line)))
    said.append(client.until_closed())
    status, _, _ = server.ended()
    log = sorted(line for line in server.text("log").split(b"\r\n") if line)
    text = b"\n".join([*said, *log, str(status).encode()])
    # Whoever looked whether it serves may not be gone yet.
    text = re.sub(rb"@@@ \d user\(s\) and", b"@@@ N user(s) and", text, count=1)
    text = re.sub(rb"((?:PID|is): |process )\d+", rb"\1N", text)
    return re.sub(rb"(at|time): [A-Z][^\r\n]*\d{4}", rb"\1: DATE", text)


@needs(DEBIANS)
@pytest.mark.parametrize(
    "more", [[], ["-x", "^A"], ["--timefmt", "T %Y", "--logstamp"], ["-c", "/tmp", "--logstamp=> "]], ids=str
)
def test_every_byte_of_a_conversation_is_what_debians_procserv_says(tmp_path, more):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir(), ours.mkdir()
    expected = conversation(DEBIANS, str(theirs), more).replace(bytes(theirs), b"HERE")
    assert conversation(KEEPER, str(ours), more).replace(bytes(ours), b"HERE") == expected


class ProcServControl:
    """As the EPICS record support reads it: lines that begin with `@@@`, words behind the name."""

    def __init__(self):
        self.running = self.restart = self.pid = None

    def read(self, text):
        for line in text.split("\r\n"):
            if not line.startswith("@@@"):
                continue
            words = re.match(r'@@@ Child "[^"]*" (\S+) ?(\S*)', line)
            if words and words.group(1) == "PID:":
                self.running, self.pid = True, int(words.group(2))
            elif words and words.group(1) == "is":
                self.running = False
            elif line.startswith("@@@ Restarting child"):
                self.running = True
            elif line.startswith("@@@ Child process is shutting"):
                self.running = False
            elif line.startswith("@@@ The PID of new child"):
                self.pid = int(line.rsplit(" ", 1)[1])
            for state in ("ON", "OFF"):
                if line == "@@@ Toggled auto restart to " + state:
                    self.restart = state == "ON"
                if "Use ^X to kill the child, auto restart is {},".format(state) in line:
                    self.restart = state == "ON"


def test_the_epics_support_for_procserv_understands_all_it_reads(cat):
    client, reader = cat.client(), ProcServControl()
    reader.read(client.banner.decode("latin-1"))
    assert (reader.running, reader.restart) == (True, True)
    first = reader.pid
    # It sends both without waiting.
    client.send(b"\x14\x18")
    reader.read(client.until(DOWN).decode())
    assert (reader.running, reader.restart) == (False, False)
    client.send(b"\x18")
    reader.read(client.until(RULE.encode()).decode())
    assert reader.running and reader.pid != first
    client.send(b"\x14")
    reader.read(client.until(b"ON\r\n").decode())
    assert reader.restart


def test_the_ioc_manager_removes_an_ioc_as_it_always_did(cat):
    client = cat.client()
    banner = client.banner.decode("latin-1")
    assert "server started at" in banner and "auto restart is ON" in banner
    assert re.search(r'@@@ Child "(.*)" PID: ([0-9]*)', banner).group(1) == "IOC"
    assert re.search('@@@ Child "(.*)" start', banner)
    assert re.search("@@@ Server startup directory: (.*)", banner).group(1).strip() == cat.folder
    client.send(b"\x14")
    client.until(b"auto restart to OFF")
    client.send(b"\x18")
    client.until(b"process was killed")
    client.send(b"\x11")
    client.until_closed()
    assert cat.ended()[0] == 0


def test_newer_words_and_a_third_state_come_when_asked_for(serve):
    server, client = shell(serve, "echo $PROCSERV_INFO; cat", "--wording", "2.8", "-L", "log")
    client.until("PID={};CTL=unix:control\r\n".format(server.process.pid).encode())
    assert b"auto restart mode is ON, use ^T" in client.banner and b"@@@ Child log file: log\r\n" in client.banner
    for state in (b"OFF", b"ONESHOT", b"ON"):
        client.send(b"\x14")
        client.until(b"Toggled auto restart mode to " + state + b"\r\n")


# Keys


def test_x_then_q_ends_it_although_the_child_runs_again(cat):
    client = cat.client()
    client.send(b"\x18")
    pid = child_pid(client)
    client.send(b"\x11")
    client.until_closed()
    assert cat.ended()[0] == 0
    gone(pid)
    assert not os.path.exists(os.path.join(cat.folder, "control"))


def test_x_and_q_in_one_packet_end_it(cat):
    client = cat.client()
    client.send(b"\x18\x11")
    client.until_closed()
    assert cat.ended()[0] == 0


def test_q_alone_is_for_the_child(serve):
    _, client = shell(serve, "stty raw -echo; echo go; head -c 2 | od -An -tx1")
    client.until(b"go\n")
    client.send(b"\x11\x12")
    assert b"11 12" in client.until(DOWN)


def test_without_a_window_q_after_x_is_for_the_child(serve):
    server = serve("-f", "--quit-window", "0", "--holdoff", "0", "-P", "unix:control", "/bin/cat")
    client = server.client()
    client.send(b"\x18")
    child_pid(client)
    client.send(b"\x11still\r")
    client.until(b"still")


def test_a_logout_key_that_is_the_quit_key_only_logs_out_while_the_child_runs(serve):
    server = serve("-f", "-x", "^Q", "--holdoff", "0", "-P", "unix:control", "/bin/cat")
    client = server.client()
    assert b"@@@ Use ^Q to logout from procServ server\r\n" in client.banner
    client.send(b"\x18")
    child_pid(client)
    client.send(b"\x11")
    client.until_closed()
    client = server.client()
    client.send(b"\x14\x18")
    client.until(b"^Q quits the server, ^Q closes this connection\r\n")
    client.send(b"\x11")
    client.until_closed()
    assert server.ended()[0] == 0


def test_keys_are_found_anywhere_and_what_stood_before_them_goes_first(serve):
    _, client = shell(serve, "stty -echo; echo go; exec cat", "-i", "^Cz")
    client.until(b"go\r\n")
    client.send(b"be\x03foz\x14re\r")
    assert b"Toggled auto restart to OFF" in client.until(b"before\r\n")


def test_keys_that_are_switched_off_reach_the_child(serve):
    script = "stty raw -echo; echo go; head -c 2 | od -An -tx1"
    _, client = shell(serve, script, "-k", "", "--autorestartcmd", "")
    assert b"@@@ Kill command disabled, auto restart is ON, auto restart toggle disabled\r\n" in client.banner
    client.until(b"go\n")
    client.send(b"\x18\x14")
    assert b"18 14" in client.until(b"sigChild")


def test_who_watches_at_the_log_port_reads_and_nothing_more(serve):
    server = serve("-f", "--logstamp=%Y| ", "-l", "unix:watch", "-P", "unix:control", "/bin/cat")
    watcher, client = server.client("watch"), server.client()
    assert watcher.banner.startswith(b"@@@ procServ server PID: ") and b"plus you" not in watcher.banner
    assert b"0 user(s) and 1 logger(s)" in client.banner
    watcher.send(b"\x18\x14no\r")
    client.send(b"yes\r")
    year = time.strftime("%Y").encode()
    assert watcher.until(b"yes\r\n" + year + b"| yes\r\n").startswith(year + b"| ")
    assert client.until(b"yes\r\nyes\r\n") == b"yes\r\nyes\r\n"


# Lives


def test_a_child_that_is_killed_is_back_at_once(cat):
    client = cat.client()
    delays = []
    pid = int(re.search(rb'Child "IOC" PID: (\d+)', client.banner).group(1))
    for _ in range(5):
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        pid = child_pid(client)
        delays.append(time.monotonic() - begin)
    assert sorted(delays)[2] < 0.2, delays


def test_a_chatty_client_does_not_put_off_a_restart(serve):
    _, client = shell(serve, "echo run; read x; exit 3", "--holdoff", "1")
    client.until(b"run\r\n")
    client.send(b"\r")
    client.until(b"Normal exit status = 3")
    begin = time.monotonic()
    while b"Restarting" not in client.seen:
        client.send(b"x")
        if select.select([client.socket], [], [], 0.05)[0]:
            client.seen += client.socket.recv(65536)
    assert time.monotonic() - begin < 3


def test_the_holdoff_counts_from_the_start(serve):
    script = 'read since rest < /proc/uptime; echo "be""gan=$since."; sleep 0.6'
    server = serve("-f", "--holdoff", "1", "-P", "unix:control", "/bin/sh", "-c", script)
    client = server.client()
    starts = []
    while len(starts) < 4:
        client.until(b"began=")
        starts.append(float(client.until(b".\r\n")[:-3]))
    # Counted from the end, three would take 4.8 s. The first of them may have been late on a busy machine.
    assert 2.6 < starts[-1] - starts[0] < 4.6, starts


def test_a_child_that_ends_at_once_for_ever_costs_little(serve):
    server = serve("-f", "--holdoff", "0", "-P", "unix:control", "/bin/true")
    client = server.client()
    begin, starts = time.monotonic(), 0
    while time.monotonic() - begin < 2:
        client.until(b"Restarting child")
        starts += 1
    assert starts < 14, starts


def test_it_waits_for_the_first_start_and_does_not_restart_when_told_so(serve):
    server = serve("-f", "-w", "--noautorestart", "-P", "unix:control", "/bin/sh", "-c", "exit 7")
    client = server.client()
    assert b'is SHUT DOWN\r\n' in client.banner and b"auto restart is OFF" in client.banner
    for key in (b"\x12", b"\x18"):
        client.send(key)
        text = client.until(DOWN).decode()
        assert "Normal exit status = 7" in text and "auto restart is disabled" in text
    client.send(b"\x11")
    assert server.ended()[0] == 0


@pytest.mark.parametrize("script, status", [("exit 7", 7), ("kill -9 $$", 137)])
def test_a_oneshot_server_ends_with_its_child(serve, script, status):
    assert serve("-f", "-o", "-P", "unix:control", "/bin/sh", "-c", script).ended()[0] == status


def test_sigterm_ends_the_child_and_its_group(serve):
    server, client = shell(serve, "sleep 1000 & echo pid=$!.; wait")
    child = int(re.search(rb"pid=(\d+)\.", client.until(b".\r\n")).group(1))
    server.process.terminate()
    assert server.ended()[0] == 0
    gone(child)


def gone(pid):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            with open("/proc/{}/stat".format(pid)) as file:
                if file.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    return
        except OSError:
            return
    raise AssertionError("{} lives".format(pid))


def test_a_grace_period_lets_the_child_end_by_itself(serve):
    script = "trap 'echo bye; exit 0' TERM; echo go; while :; do sleep 0.05; done"
    server, client = shell(serve, script, "-L", "log", "--killsig", "15", "-G", "10")
    client.until(b"go\r\n")
    server.process.terminate()
    assert server.ended()[0] == 0
    assert b"bye\r\n" in server.text("log") and b"auto restart is disabled" in server.text("log")


def test_the_command_is_called_as_options_say(serve, tmp_path):
    script = 'tr "\\0" "|" < /proc/$$/cmdline; pwd; ulimit -Sc; exec sleep 100'
    path = tmp_path / "script"
    path.write_text(script)
    server = serve("-f", "-L", "log", "-e", "/bin/sh", "-c", "/usr", "--coresize", "0", "-P", "unix:control", str(path))
    client = server.client()
    assert "Child started as: {}".format(path).encode() in client.banner
    deadline = time.monotonic() + LIMIT
    while b"\r\n0\r\n" not in server.text("log"):
        assert time.monotonic() < deadline, server.text("log")
    log = server.text("log")
    assert "/bin/sh|{}|/usr\r\n0\r\n".format(path).encode() in log and b"(as /bin/sh)" in log


# Clients


def test_a_client_that_never_reads_stops_nobody_and_is_told_what_it_lost(serve):
    script = "stty -echo; read x; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo done; cat"
    server, client = shell(serve, script)
    stuck = server.client()
    client.send(b"\r")
    begin, last, gap, seen = time.monotonic(), time.monotonic(), 0, b""
    while b"done" not in seen:
        seen = seen[-10:] + client.socket.recv(1 << 20)
        now = time.monotonic()
        gap, last = max(gap, now - last), now
    assert gap < 2 and last - begin < LIMIT
    text = stuck.until(b"done\r\n")
    lost = [int(count) for count in re.findall(rb"\r\n@@@ lost (\d+) bytes\r\n", text)]
    assert lost and sum(lost) + text.count(b"x") == 20000000


def test_a_child_that_does_not_read_stops_nobody(serve):
    _, client = shell(serve, "stty raw -echo; echo go; exec sleep 1000")
    client.until(b"go\n")
    client.send(b"y" * 300_000)
    client.until(b"@@@ The child does not read: what is typed is lost\r\n")
    client.send(b"\x18")
    client.until(b"killed by signal 9")


def test_a_terminal_in_the_foreground_is_a_client(serve):
    master, slave = pty.openpty()
    server = serve("-f", "-n", "IOC", "-P", "unix:control", "/bin/cat", stdin=slave)
    os.close(slave)
    seen = read_until(master, b"plus you")
    assert b"Welcome to procServ" in seen and b"1 user(s)" in server.client().banner
    os.write(master, b"\x14")
    read_until(master, b"Toggled auto restart to OFF")
    os.close(master)


# Endpoints and files


def test_every_kind_of_endpoint_is_served_and_listed(serve):
    abstract = "procyon-test-{}".format(os.getpid())
    server = serve(
        "-f", "-I", "info", "-p", "pid", "-P", "0", "-P", "[::1]:0", "-P", "unix:@" + abstract, "-P", "unix::root:0640:control",
        "-l", "0", "/bin/cat",
    )  # fmt: skip
    server.client()
    mode = os.stat(os.path.join(server.folder, "control"))
    assert stat.S_IMODE(mode.st_mode) == 0o640 and mode.st_gid == 0
    listed = server.text("info").decode().splitlines()
    assert listed[0] == "pid:{}".format(server.process.pid) and server.text("pid").decode() == listed[0][4:] + "\n"
    log, unix, hidden, six, four = listed[1:]
    assert unix == "unix:control" and hidden == "unix:@" + abstract and log.startswith("tcp:0.0.0.0:")
    assert four.startswith("tcp:127.0.0.1:") and six.startswith("tcp:[::1]:")
    port = lambda line: int(line.rsplit(":", 1)[1])
    for place in (("127.0.0.1", port(four)), ("::1", port(six)), "\0" + abstract):
        assert Client(place).until(REQUESTS).startswith(b"@@@ Welcome to procServ")
    assert Client(("127.0.0.1", port(log))).until(REQUESTS).startswith(b"@@@ procServ server PID")
    server.process.terminate()
    _, _, errors = server.ended()
    assert "the log port 0.0.0.0:{} is open to other hosts: --restrict".format(port(log)) in errors
    assert os.listdir(server.folder) == []


def test_a_daemon_says_its_pid_and_the_pid_file_is_there_when_the_caller_ends(tmp_path):
    for binary in [KEEPER] + [DEBIANS] * os.path.exists(DEBIANS):
        done = run("-p", "pid", "-P", "unix:::0660:control", "/bin/cat", binary=binary, cwd=tmp_path)
        deadline = time.monotonic() + LIMIT
        # Debian's writes it a moment later.
        while binary != KEEPER and not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline
        pid = int((tmp_path / "pid").read_text())
        said = done.stderr.replace(binary, "procServ")
        assert said == (
            "procServ: spawning daemon process: {}\n"
            "Warning: No log file and no port for log connections specified.\n".format(pid)
        )
        assert "procServ server PID: {}\r\n".format(pid).encode() in Client(str(tmp_path / "control")).until(REQUESTS)
        os.kill(pid, signal.SIGTERM)
        gone(pid)
        assert list(tmp_path.iterdir()) == []


def test_the_log_is_appended_to_stamped_and_reopened_on_hup(serve):
    server = serve("-f", "-L", "log", "--logstamp=%H> ", "-P", "unix:control", "/bin/cat")
    client = server.client()
    client.send(b"one\r")
    client.until(b"one\r\none\r\n")
    assert re.search(rb"\d\d> one\r\n\d\d> one\r\n$", server.text("log"))
    os.rename(os.path.join(server.folder, "log"), os.path.join(server.folder, "log.1"))
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + LIMIT
    while not os.path.exists(os.path.join(server.folder, "log")):
        assert time.monotonic() < deadline
    client.send(b"two\r")
    client.until(b"two\r\ntwo\r\n")
    assert re.fullmatch(rb"\d\d> two\r\n\d\d> two\r\n", server.text("log")) and b"two" not in server.text("log.1")


def test_the_log_can_be_standard_output(serve):
    server = serve("-f", "-o", "-L", "-", "-P", "unix:control", "/bin/echo", "hello")
    assert "hello\r\n" in server.ended()[1]


def test_what_cannot_be_served_or_run_is_refused_as_ever(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("-P", str(taken.getsockname()[1]), "/bin/cat")
    assert done.returncode == 98 and done.stderr.endswith("procServ: Exiting with error code: 98\n")
    missing = run("-P", "0", "/nonexistent/st.cmd")
    assert (missing.returncode, missing.stderr) == (22, "/nonexistent/st.cmd: No such file or directory\n")
    unknown = run("-P", "unix:nobody-such:::{}/x".format(tmp_path), "/bin/cat")
    assert (unknown.returncode, unknown.stderr) == (1, "Unknown user 'nobody-such'\n")
    wrong = run("--foo", "-P")
    assert wrong.returncode == 1 and wrong.stdout.startswith("Usage: procServ [options] -P <endpoint>...")
    assert "procServ: unrecognized option '--foo'\n" in wrong.stderr
    link = tmp_path / "procServ"
    link.symlink_to(KEEPER)
    assert run("--version", binary=link).stdout == "procServ Process Server 2.7.0\n"


# Behind what people use


@needs("socat")
def test_socat_reads_and_types(cat):
    watcher = cat.client()
    socat = subprocess.Popen(
        ["socat", "-", "UNIX-CONNECT:control"], cwd=cat.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    seen = read_until(socat.stdout.fileno(), REQUESTS)
    assert b"Welcome to procServ" in seen
    socat.stdin.write(b"by socat\r")
    socat.stdin.flush()
    read_until(socat.stdout.fileno(), b"by socat\r\n", times=2)
    watcher.until(b"by socat\r\nby socat\r\n")
    socat.stdin.close()
    assert socat.wait(LIMIT) == 0
    socat.stdout.close()


@needs("telnet")
def test_telnet_shows_what_is_typed_once_and_leaves(serve):
    server = serve("-f", "-I", "info", "-P", "0", "/bin/cat")
    deadline = time.monotonic() + LIMIT
    while not os.path.exists(os.path.join(server.folder, "info")) or server.text("info").count(b"\n") < 2:
        assert time.monotonic() < deadline
    port = server.text("info").split()[1].rsplit(b":", 1)[1].decode()
    master, slave = pty.openpty()
    telnet = subprocess.Popen(["telnet", "127.0.0.1", port], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    read_until(master, b"plus you)")
    # What it shows may come before it has told the terminal that the other side echoes.
    while termios.tcgetattr(master)[3] & termios.ECHO:
        assert time.monotonic() < deadline
    os.write(master, b"dbl\r")
    seen = read_until(master, b"dbl", times=2)
    os.write(master, b"\x1d")
    seen += read_until(master, b"telnet>")
    os.write(master, b"quit\r")
    assert telnet.wait(LIMIT) in (0, 1)
    os.close(master)
    assert seen.count(b"dbl") == 2


@needs("conserver", "console")
@pytest.mark.parametrize("kind", ["uds", "host"])
def test_conserver_serves_our_console(serve, tmp_path, kind):
    server = serve("-f", "-I", "info", "-n", "IOC", "-P", "0", "-P", "unix:control", "/bin/cat")
    server.client()
    port = server.text("info").split()[2].rsplit(b":", 1)[1].decode()
    how = {"uds": "type uds; uds {}/control;".format(tmp_path), "host": "type host; host 127.0.0.1; port {};".format(port)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master_port = str(free.getsockname()[1])
    (tmp_path / "passwd").write_text("*any*:\n")
    (tmp_path / "conserver.cf").write_text(
        'config * {{ }}\ndefault full {{ rw *; }}\ndefault * {{ logfile ""; timestamp ""; include full; master localhost; }}\n'
        "console ioc {{ {} }}\naccess * {{ trusted 127.0.0.1; allowed 127.0.0.1; }}\n".format(how[kind])
    )
    (tmp_path / "console.cf").write_text("config * {{ master localhost; port {}; }}\n".format(master_port))
    daemon = subprocess.Popen(
        ["conserver", "-C", "conserver.cf", "-P", "passwd", "-p", master_port, "-b", "0", "-M", "127.0.0.1", "-L",
         "conserver.log", "-U", "."],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    client = None
    try:
        until_up(tmp_path, daemon)
        master, slave = pty.openpty()
        client = subprocess.Popen(
            ["console", "-C", "console.cf", "-f", "ioc"], cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        read_until(master, b"help]")
        os.write(master, b"by conserver\r")
        read_until(master, b"by conserver", times=2)
        os.write(master, b"\x14")
        read_until(master, b"@@@ Toggled auto restart to OFF")
        os.write(master, b"\x05c.")
        assert client.wait(LIMIT) == 0
        os.close(master)
    finally:
        for process in (client, daemon):
            if process and process.poll() is None:
                process.terminate()
                process.wait(LIMIT)


def until_up(folder, daemon):
    deadline = time.monotonic() + LIMIT
    while True:
        done = subprocess.run(
            ["console", "-C", "console.cf", "-u"], cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        if re.search(r"ioc\s+up", done.stdout):
            return
        assert daemon.poll() is None, daemon.stdout.read()
        assert time.monotonic() < deadline, done


IOC_RUNS = b"iocRun: All initialization complete"


@pytest.fixture
def real_ioc():
    pytest.importorskip("epicscorelibs", reason="NO REAL IOC IS TESTED: scripts/setup installs one")
    return [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "ioc.py"), "TEST:one"]


def test_the_shell_of_a_real_ioc_is_typed_to_restarted_and_kept_from_what_would_end_it(serve, real_ioc):
    server = serve("-f", "-n", "IOC", "-i", "^D^C", "--holdoff", "0", "-P", "unix:control", *real_ioc)
    client = server.client()
    first = int(re.search(rb'Child "IOC" PID: (\d+)', client.banner).group(1))
    # What was shown before somebody came is in no client's history, as ever; the answer to a command is.
    client.send(b"dbl\r")
    client.until(b"TEST:one\r\n")
    # As the guide's start script has it: the file stays where the child was started.
    client.send(b"dbl > PV.list\r")
    client.send(b"\x03\x04dbgf TEST:one\r")
    client.until(b"DBF_DOUBLE:")
    assert server.text("PV.list") == b"TEST:one\n"
    client.send(b"exit\r")
    client.until(b"Received a sigChild for process %d. Normal exit status = 0" % first)
    assert child_pid(client) != first
    client.until(IOC_RUNS)
    client.send(b"dbl\r")
    client.until(b"TEST:one\r\n")
    client.send(b"\x18")
    client.until(b"The process was killed by signal 9")
    client.send(b"\x11")
    client.until_closed()
    assert server.ended()[0] == 0


@pytest.mark.parametrize("key, end", [(b"\x03", b"killed by signal 2"), (b"\x04", b"Normal exit status = 0")])
def test_a_real_ioc_is_ended_by_keys_that_are_not_kept_from_it(serve, real_ioc, key, end):
    server = serve("-f", "-n", "IOC", "-w", "--noautorestart", "-P", "unix:control", *real_ioc)
    client = server.client()
    client.send(b"\x12")
    client.until(IOC_RUNS)
    client.send(b"dbl\r")
    client.until(b"TEST:one\r\n")
    client.send(key)
    client.until(end)
