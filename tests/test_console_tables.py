"""What a console says, to the letter: each escape sequence and its answer, from ours and from a real conserver; the lists;
and where what a banner tells stands as state.
"""

import os
import re
import subprocess

import pytest

from box import wait_for
from device import needs_binaries
from seats import SECONDS_MAX, Seat, free_port
from test_console_config import console, seats, tcp  # noqa: F401
from test_consoles import house  # noqa: F401
from test_containers import configure, container, details, empty, get, text, until  # noqa: F401
from test_procserv import needs

pytestmark = needs_binaries

# What is typed behind ^Ec, and how the answer begins; in this order, at one console. The last column is ours where it
# is another: no log can be stopped.
HELP = (
    "[help]\r\n .       disconnect                     ;       move to another console\r\n"
    " a       attach read/write              b       send broadcast message\r\n"
    " c       toggle flow control            d       down a console\r\n"
    " e       change escape sequence         f       force attach read/write\r\n"
    " g       group info                     i       information dump\r\n"
    " L       toggle logging on/off          l?      break sequence list\r\n"
    " l0      send break per config file     l1-9a-z send specific break sequence\r\n"
    " m       display message of the day     n       write a note to the logfile\r\n"
    " o       (re)open the tty and log file  p       playback the last 60 lines\r\n"
    " P       set number of playback lines   r       replay the last 20 lines\r\n"
    " R       set number of replay lines     s       spy mode (read only)\r\n"
    " u       show host status               v       show version info\r\n"
    " w       who is on this console         x       show console baud info\r\n"
    " z       suspend the connection         !       invoke task\r\n"
    " |       attach local command           ?       print this message\r\n"
    " <cr>    ignore/abort command           ^R      replay the last line\r\n"
    " \\ooo    send character by octal code\r\n"
)
ESCAPES = [
    ("w", "[who one]\r\n alice@localhost                  * attach    0:00 "),
    ("u", "[hosts]\r\n one                      * up   alice@localhost\r\n"),
    ("x", "[examine]\r\n one                      on /dev/pts/"),
    ("i", "[info]\r\none:"),
    ("g", "[group"),
    ("v", "[version `"),
    ("m", "[-- MOTD -- be kind]\r\n"),
    ("r", "[replay]\r\n"),
    ("p", "[playback]\r\n"),
    ("\x12", "[^R]\r\n"),
    ("?", HELP),
    ("l?", "[halt list]\r\n 0 - 250ms, `"),
    ("l0", "[halt sent]\r\n"),
    ("l9", "[halt undefined]\r\n"),
    ("l\r", "[halt aborted]\r\n"),
    ("a", "[ok]\r\n"),
    ("s", "[spying]\r\n"),
    ("a", "[attached]\r\n"),
    ("f", "[ok]\r\n"),
    ("c", "[ixon OFF]\r\n"),
    ("c", "[ixon ON]\r\n"),
    ("L", "[logging off]\r\n", "[logging is always on]\r\n"),
    ("L", "[logging on]\r\n", "[logging is always on]\r\n"),
    ("P5\r", "[set playback (60): 5]\r\n"),
    ("R7\r", "[set replay (20): 7]\r\n"),
    ("Rx\r", "[set replay (7): 7]\r\n"),
    ("!?", "[task list]\r\n <undefined>\r\n"),
    ("!a", "[task undefined]\r\n"),
    ("!\r", "[task aborted]\r\n"),
    ("\\101", "[quote \\101]"),
    ("\\1x", "[quote \\1 aborted]\r\n"),
    ("\r", "[ignored]\r\n"),
    ("Q", "[unknown -- use `?']\r\n"),
    ("bhello\r", "[Enter message: hello]\r\n[alice@localhost: hello]\r\n"),
    ("nnote\r", "[Enter note: note]\r\n"),
    ("e\x05c", "[redef: ^E c  ok]\r\n"),
    ("d", "[line down]\r\n"),
    ("o", "[up]\r\n"),
    ("|", "[exec: "),
    (";", "[console: "),
]
# These ask for a line; it is empty.
ASKS = "|;"
CAT = ("/bin/sh", "-c", "trap '' INT; exec cat")


class Ours:
    def __init__(self, house):
        self.house = house
        house.fleet("--pty", "--motd", "be kind", "--", *CAT)

    def sit(self, *words):
        return self.house.sit(*words, "one")

    def close(self):
        pass


class Conservers:
    def __init__(self, house):
        self.house, self.port = house, free_port()
        with open(house.path("conserver.cf"), "w", encoding="ascii") as config:
            config.write(
                "config * {{ }}\ndefault full {{ rw *; }}\ndefault * {{ logfile {0}/own.log; timestamp \"\"; include full; master localhost; }}\n"
                "console one {{ type exec; exec {1}; motd \"be kind\"; }}\naccess * {{ trusted 127.0.0.1, localhost, ::1; }}\n".format(
                    house.root, "\"trap '' INT; exec cat\""
                )
            )
        with open(house.path("passwd"), "w", encoding="ascii") as passwords:
            passwords.write("*any*:\n")
        words = ["conserver", "-C", "conserver.cf", "-P", "passwd", "-p", str(self.port), "-b", "0", "-u"]
        with open(house.path("conserver.said"), "wb") as said:
            self.server = subprocess.Popen(
                words, cwd=house.root, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        self.words = ["console", "-M", "127.0.0.1", "-p", str(self.port)]
        wait_for("a conserver", lambda: " up " in subprocess.run([*self.words, "-u"], capture_output=True, text=True).stdout)

    def sit(self, *words):
        return self.house.seat([*self.words, *words, "one"])

    def close(self):
        os.killpg(self.server.pid, 15)
        self.server.wait(SECONDS_MAX)


@pytest.fixture(params=[Ours, pytest.param(Conservers, marks=needs("conserver", "console"))], ids=lambda kind: kind.__name__.lower())
def desk(request, house):  # noqa: F811
    made = request.param(house)
    yield made
    made.close()


def test_each_escape_sequence_is_answered(desk):
    alice = desk.sit("-l", "alice")
    alice.until("[Enter `^Ec?' for help]\r\n[-- MOTD -- be kind]")
    alice.type("something\r")
    alice.until("something\r\nsomething\r\n")
    for typed, *answers in ESCAPES:
        alice.type(b"\x05c" + typed.encode("latin-1"))
        alice.until(answers[-1] if isinstance(desk, Ours) else answers[0])
        if typed in ASKS:
            alice.type("\r")
            alice.until("]\r\n")
    alice.type("\x05c.")
    alice.until("[disconnect]")
    assert alice.ended() == 0


def test_the_next_one_types_when_the_writer_leaves(house):  # noqa: F811
    house.fleet("--pty", "--one-writer", "--", *CAT)
    taking_turns(lambda user: house.sit("-l", user, "one"))


@needs("conserver", "console")
def test_the_next_one_types_when_a_real_conservers_writer_leaves(house):  # noqa: F811
    theirs = Conservers(house)
    try:
        taking_turns(lambda user: theirs.sit("-l", user))
    finally:
        theirs.close()


def taking_turns(sit):
    alice, bob = sit("alice"), None
    alice.until("for help]")
    alice.type("first\r")
    alice.until("first\r\nfirst\r\n")
    bob = sit("bob")
    bob.until("[no, alice@localhost is attached]")
    bob.type("\x05cf")
    bob.until("[bumped alice@localhost]")
    alice.until("\r\n[forced to `spy' mode by bob@localhost]\r\n")
    bob.type("\x05cs")
    bob.until("[spying]")
    alice.until("\r\n[attached]\r\n")
    bob.type("\x05ca")
    bob.until("[no, alice@localhost is attached]")
    alice.type("\x05c.")
    alice.until("[disconnect]")
    bob.until("\r\n[attached]\r\n")
    bob.type("second\r")
    bob.until("second\r\nsecond\r\n")


def test_the_built_in_defaults_are_listed(house):  # noqa: F811
    told = house.console("-V")
    for part in ("escape sequence: ^Ec", "replay: 20 lines, playback: 60 lines", "run/keeper.sock", "782 on 127.0.0.1"):
        assert part in told, told


def test_lists_have_conservers_columns(house):  # noqa: F811
    house.fleet("--pty", "--", *CAT)
    seat = house.sit("-l", "alice", "one")
    seat.until("for help]")
    assert house.console("-u") == " one                        up   alice@localhost\n"
    assert house.console("-w") == " alice@localhost                    attach    0:00 one\n"
    assert re.fullmatch(r" one                      on /dev/pts/\d{1,3} +at   Local \n", house.console("-x"))
    fields = house.console("-i").rstrip("\n").split(":")
    assert len(fields) == 15 and fields[0] == "one" and fields[5] == "up"
    assert re.fullmatch(r"w@alice@localhost@\d+@rw", fields[4]), fields


def test_what_a_banner_tells_is_state_too(session, box, seats):  # noqa: F811
    port = free_port()
    configure(session, container("told", "/bin/cat", console(tcp(port))))
    pid = text(until(session, "told", "running"), "pid")
    banner = seats(Seat(["telnet", "127.0.0.1", str(port)])).until("Child \"told\" started at").decode()
    server = next(get(session, "<server/>").iter("{*}server"))
    entry = details(session, "told")
    lines = r"@@@ (procServ server PID|Server startup directory|Child startup directory|Child \"told\" PID): (\S+)"
    assert [value for _, value in re.findall(lines, banner)] == [
        text(server, "pid"),
        text(server, "directory"),
        text(entry, "working-directory"),
        pid,
    ]
    assert text(server, "started") and text(entry, "started")
    assert (text(entry, "users"), text(entry, "loggers")) == ("0", "1")
