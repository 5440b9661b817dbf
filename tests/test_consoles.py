"""Consoles of terminals, with the programs that people use: `procyon console`, telnet, socat and a real conserver.

The containers are defined at a keeper without an agent, by the example `fleet`.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from device import BINARIES
from seats import SECONDS_MAX, Client, Seat, free_port, wait_for


class House:
    """A custodian and its keeper on a scratch root."""

    def __init__(self, root):
        self.root = str(root)
        for folder in ("keys", "harddisk", "run", "state", "config"):
            os.makedirs(os.path.join(self.root, folder))
        self.process = subprocess.Popen(
            [os.path.join(BINARIES, "procyon-keeper"), "--custodian", "--root", self.root],
            stdin=subprocess.DEVNULL,
            stderr=open(os.path.join(self.root, "said"), "wb"),
        )
        self.seats = []

    def fleet(self, *words):
        subprocess.run(
            [os.path.join(BINARIES, "examples", "fleet"), "--root", self.root, *words], check=True, timeout=SECONDS_MAX
        )

    def path(self, name):
        return os.path.join(self.root, name)

    def log(self, name):
        with contextlib.suppress(FileNotFoundError), open(self.path("logs/{}/stdout.log".format(name)), "rb") as log:
            return log.read()
        return b""

    def keeper(self):
        """The pid of the keeper that serves now, if one does."""
        return self.ward(b"--keeper")

    def ward(self, word):
        """The process below the custodian that was called with that word; programs of dead keepers are there too."""
        with open("/proc/{0}/task/{0}/children".format(self.process.pid)) as children:
            for pid in children.read().split():
                with contextlib.suppress(OSError), open("/proc/{}/cmdline".format(pid), "rb") as words:
                    if word in words.read().split(b"\0"):
                        return int(pid)
        return None

    def console(self, *words):
        done = subprocess.run(
            [os.path.join(BINARIES, "procyon"), "console", "--root", self.root, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sit(self, *words):
        return self.seat([os.path.join(BINARIES, "procyon"), "console", "--root", self.root, *words])

    def seat(self, words):
        seat = Seat(words)
        self.seats.append(seat)
        return seat

    def connect(self, name):
        client = Client(self.path(name))
        self.seats.append(client)
        return client

    def close(self):
        for seat in self.seats:
            seat.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(SECONDS_MAX)


@pytest.fixture
def house():
    root = tempfile.mkdtemp(prefix="procyon-consoles-")
    made = House(os.path.join(root, "root"))
    yield made
    made.close()
    shutil.rmtree(root, ignore_errors=True)


SHELL = ("--", "/bin/bash", "--norc", "-i")


def test_a_shell_is_typed_to_by_several_and_everyone_sees_it(house):
    house.fleet("--pty", "--motd", "be kind", "--env", "PS1=> ", *SHELL)
    alice = house.sit("-l", "alice", "one")
    alice.until("[Enter `^Ec?' for help]\r\n[-- MOTD -- be kind]")
    bob = house.sit("-l", "bob", "one")
    bob.until("[-- MOTD -- be kind]")
    alice.type("echo a-$((40+2))\r")
    for seat in (alice, bob):
        seat.until("a-42")
    bob.type("echo b-$((40+3))\r")
    alice.until("b-43")
    assert re.fullmatch(r" one +up +alice@localhost,bob@localhost\n", house.console("-u"))
    alice.type("\x05cs")
    alice.until("[spying]")
    alice.type("x")
    alice.until("[read-only -- use `^Ec?' for help]")
    alice.type("\x05cw")
    alice.until("[who one]")
    alice.until(" bob@localhost                      attach    0:00 ")
    alice.type("\x05c?")
    alice.until("print this message")
    house.console("-b", "lunch", "one")
    bob.until("lunch]")
    alice.type("\x05c.")
    alice.until("[disconnect]")
    assert alice.ended() == 0
    assert "disconnected 1 user" in house.console("-d", "bob@one")
    bob.until("[-- Disconnected by admin")


def test_with_one_writer_the_next_one_watches_or_takes_over(house):
    house.fleet("--pty", "--one-writer", "--marks", "--env", "PS1=> ", *SHELL)
    alice = house.sit("-l", "alice", "one")
    alice.until("> ")
    bob = house.sit("-l", "bob", "one")
    bob.until("[no, alice@localhost is attached]")
    bob.type("\x05cf")
    bob.until("[bumped alice@localhost]")
    alice.until("[forced to `spy' mode by bob@localhost]")
    bob.type("echo from-$((1+1))\r")
    alice.until("from-2")
    log = house.log("one").decode()
    assert "[-- alice@localhost attached -- " in log and "[-- bob@localhost bumped alice@localhost -- " in log
    bob.type("\x05c.")
    bob.until("[disconnect]")
    assert house.sit("-S", "one").until("[spying]") is not None


def test_down_open_break_and_replay_by_escape_sequences(house):
    house.fleet("--pty", "--env", "PS1=> ", *SHELL)
    seat = house.sit("one")
    seat.until("> ")
    seat.type("sh -c 'echo up-$((1+1)); exec sleep 1000'\r")
    seat.until("up-2")
    seat.type("\x05cl0")
    seat.until("[halt sent]")
    seat.until("> ")
    seat.type("echo last-$((2*4))\r")
    seat.until("last-8")
    seat.type("\x05cr")
    assert b"last-8" in seat.until("last-8\r\n") + b"last-8"
    seat.type("\x05cd")
    seat.until("[line down]")
    wait_for("a console that is down", lambda: " down " in house.console("-u"))
    seat.type("\x05co")
    seat.until("[up]")
    seat.until('The PID of new child "one" is: ')
    wait_for("a console that is up", lambda: " up " in house.console("-u"))


def test_telnet_finds_procservs_banner_and_keys_and_a_name_is_logged(house):
    port = free_port()
    house.fleet("--pty", "--write", "--tcp", "127.0.0.1:{}".format(port), "--env", "PS1=> ", *SHELL)
    telnet = house.seat(["telnet", "127.0.0.1", str(port)])
    telnet.until("@@@ Welcome to procServ (procServ Process Server 2.7.0)")
    telnet.until("@@@ Use ^X to kill the child, auto restart is ON, use ^T to toggle auto restart")
    pid = int(re.search(rb'Child "one" PID: (\d+)', telnet.until("(plus you)")).group(1))
    telnet.type("echo via-$((3*3))\r")
    telnet.until("via-9")
    telnet.type(b"\x18")
    telnet.until("Received a sigChild for process {}. The process was killed by signal 9".format(pid))
    telnet.until("a new one will be restarted shortly")
    telnet.until('The PID of new child "one" is: ')
    telnet.type(b"\x14")
    telnet.until("@@@ Toggled auto restart to OFF")
    telnet.type(b"\x18")
    telnet.until("auto restart is disabled")
    telnet.until("@@@ ^R or ^X restarts the child, ^Q quits the server")
    telnet.type(b"\x12")
    telnet.until('The PID of new child "one" is: ')
    telnet.until("> ")
    with open(house.path("said")) as said:
        assert re.search(r'key was pressed at the console.*who="?telnet@127.0.0.1', re.sub("\x1b\\[[0-9;]*m", "", said.read()))


def test_a_port_is_read_only_unless_said_otherwise(house):
    port = free_port()
    house.fleet("--pty", "--tcp", "127.0.0.1:{}".format(port), "--env", "PS1=> ", *SHELL)
    client = Client(("127.0.0.1", port))
    house.seats.append(client)
    assert b"Welcome" not in client.until("@@@ Child")
    client.type("echo not-$((1+1))\r\x18")
    writer = house.sit("one")
    writer.until("help]")
    writer.type("echo done-$((1+1))\r")
    assert b"not-2" not in client.until("done-2")


def test_socat_on_the_socket_and_who_may_connect(house):
    path = house.path("run/one.sock")
    house.fleet("--pty", "--write", "--unix", path, "--replay", "5", "--env", "PS1=> ", *SHELL)
    assert os.stat(path).st_mode & 0o777 == 0o660
    first = house.connect("run/one.sock")
    first.until("(plus you)")
    first.type("echo early-$((5+5))\r")
    first.until("early-10")
    socat = house.seat(["socat", "-,raw,echo=0", "UNIX-CONNECT:" + path])
    socat.until("@@@ 1 user(s) and 0 logger(s) connected (plus you)")
    socat.until("early-10")
    socat.type("echo late-$((5+6))\r")
    first.until("late-11")


def test_a_real_conserver_in_front_of_our_sockets(house):
    port = free_port()
    house.fleet("--pty", "--write", "--unix", house.path("run/uds.sock"), "--name", "uds", "--env", "PS1=> ", *SHELL)
    house.fleet("--pty", "--write", "--tcp", "127.0.0.1:{}".format(port), "--name", "tcp", "--env", "PS1=> ", *SHELL)
    own = free_port()
    with open(house.path("conserver.cf"), "w") as config:
        config.write(
            "config * {{ }}\ndefault full {{ rw *; }}\ndefault * {{ logfile /dev/null; timestamp \"\"; include full; }}\n"
            "console uds {{ type uds; uds {0}/run/uds.sock; master localhost; }}\n"
            "console tcp {{ type host; host 127.0.0.1; port {1}; master localhost; }}\n"
            "access * {{ trusted 127.0.0.1, localhost, ::1; }}\n".format(house.root, port)
        )
    with open(house.path("passwd"), "w") as passwords:
        passwords.write("*any*:\n")
    words = ["conserver", "-C", house.path("conserver.cf"), "-P", house.path("passwd"), "-p", str(own), "-b", "0", "-u"]
    with open(house.path("conserver.said"), "wb") as said:
        server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
    try:
        def listed():
            done = subprocess.run(["console", "-M", "127.0.0.1", "-p", str(own), "-u"], capture_output=True, text=True)
            return done.stdout.count(" up ") == 2

        wait_for("both consoles up", listed)
        for name, text in (("uds", "one"), ("tcp", "two")):
            seat = house.seat(["console", "-M", "127.0.0.1", "-p", str(own), "-l", "carol", name])
            seat.until("help]")
            seat.type("echo {}-$((6*7))\r".format(text))
            seat.until(text + "-42")
            seat.type("\x05c.")
            seat.until("disconnect")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(SECONDS_MAX)


COUNTER = "i=0; while :; do i=$((i+1)); echo line $i; done"


def test_the_keeper_is_killed_under_load_and_no_byte_is_lost_or_doubled(house):
    house.fleet("--pty", "--log-bytes", "1000000000", "--", "/bin/bash", "-c", COUNTER)
    house.fleet("--name", "two", "--log-bytes", "1000000000", "--", "/bin/bash", "-c", COUNTER)
    seat = subprocess.Popen(
        [os.path.join(BINARIES, "procyon"), "console", "--root", house.root, "-s", "one"],
        stdin=subprocess.DEVNULL,
        stdout=open(house.path("shown"), "wb"),
    )
    pids = re.findall(r":/bin/bash[^:]*,(\d+),", house.console("-i"))
    for turn in range(3):
        before, length = house.keeper(), len(house.log("one"))
        wait_for("more output", lambda: len(house.log("one")) > length + 100_000)
        os.kill(before, signal.SIGKILL)
        wait_for("the next keeper", lambda: house.keeper() not in (None, before))
    length = len(house.log("one"))
    wait_for("more output", lambda: len(house.log("one")) > length + 100_000)
    assert re.findall(r":/bin/bash[^:]*,(\d+),", house.console("-i")) == pids, "no child was started anew"
    for name in ("one", "two"):
        assert_counted(house.log(name))
    with open(house.path("shown"), "rb") as shown:
        text = shown.read()
    seat.kill()
    seat.wait()
    assert b"lost" not in text
    assert_counted(text[text.index(b"line ") :].replace(b"[spying]\r\n", b""), first=None)


def assert_counted(text, first=1):
    lines = text.replace(b"\r", b"").split(b"\n")[:-1]
    numbers = [line.removeprefix(b"line ") for line in lines]
    begin = int(numbers[0]) if first is None else first
    expected = [str(number).encode() for number in range(begin, begin + len(numbers))]
    wrong = [at for at in range(len(numbers)) if numbers[at] != expected[at]]
    assert not wrong, lines[max(0, wrong[0] - 2) : wrong[0] + 3]
