"""Every leaf of a container's definition, and what it does: the table at the end names a test for each, and a leaf that
is added to the module without one fails.
"""

import contextlib
import gzip
import os
import pwd
import re
import signal
import socket

import pytest

import test_console_config
import test_containers
import test_logs
from box import wait_for
from seats import Client, free_port
from test_console_config import PROMPT, SHELL, WRITE, console, listeners, seats, tcp, unix  # noqa: F401
from test_containers import configure, container, details, empty, log, operate, states, text, until  # noqa: F401

MODULE_FILE = os.path.join(os.path.dirname(__file__), "..", "yang", "procyon-container@2026-11-21.yang")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="ANOTHER ACCOUNT'S LEAVES ARE NOT TESTED: only root may give it others")


# As sd_notify does.
TELLS = (
    'python3 -c "import os,socket,sys; place = os.environ[\\"NOTIFY_SOCKET\\"]; '
    'socket.socket(1, 2).sendto(chr(10).join(sys.argv[1:]).encode(), chr(0) + place[1:])"'
)


def lines_of(box, name, count=1):
    return wait_for("what it prints", lambda: (found := log(box, name).replace("\r", "")).count("\n") >= count and found)


SHOWS = (
    "sh -c 'cat /proc/self/limits /proc/self/status; echo umask $(umask), nice $(nice), user $(id -un), group $(id -gn),"
    " groups $(id -Gn), size $(stty size), in $PWD, of $WHOSE; echo made > mine && echo end; exec sleep 300'"
)
# What is configured, and what the program then finds.
GIVEN = {
    "user": ("<user>nobody</user>", r"user nobody,"),
    "primary-group": ("<primary-group>daemon</primary-group>", r", group daemon,"),
    "supplementary-group": ("<supplementary-group>bin</supplementary-group>", r"groups (\w+ )*bin\b"),
    "umask": ("<umask>027</umask>", r"umask 0027,"),
    "nice": ("<nice>7</nice>", r"nice 7,"),
    "new-privileges": ("<new-privileges>true</new-privileges>", r"NoNewPrivs:\s+0"),
    "limits": (
        "<limits><core-size>4096</core-size><open-files>64</open-files><address-space>1073741824</address-space>"
        "<file-size>1048576</file-size><processes>4321</processes><cpu-time>600</cpu-time><stack-size>4194304</stack-size>"
        "<locked-memory>65536</locked-memory></limits>",
        r"Max cpu time +600 +600 [^$]*Max file size +1048576 +1048576 [^$]*Max stack size +4194304 +4194304 "
        r"[^$]*Max core file size +4096 +4096 [^$]*Max processes +4321 +4321 [^$]*Max open files +64 +64 "
        r"[^$]*Max locked memory +65536 +65536 [^$]*Max address space +1073741824 +1073741824 ",
    ),
    "environment": ("<environment><name>WHOSE</name><value>%I</value></environment>", r"of a/b\n"),
    "terminal": ("<terminal><rows>40</rows><columns>132</columns></terminal>", r"size 40 132,"),
}


@root_only
def test_a_program_gets_what_its_definition_says(session, box):
    configure(session, container("given@a-b", SHOWS, "".join(xml for xml, _ in GIVEN.values())))
    shown = wait_for("all of it", lambda: "end\n" in (found := log(box, "given@a-b")) and found)
    for leaf, (_, found) in GIVEN.items():
        assert re.search(found, shown), (leaf, shown)
    # A folder of its own, which stays.
    folder = re.search(r", in (\S+), of", shown).group(1)
    assert os.stat(folder).st_uid == pwd.getpwnam("nobody").pw_uid
    operate(session, "stop", "given@a-b")
    until(session, "given@a-b", "stopped")
    assert os.path.exists(os.path.join(folder, "mine"))


def test_without_a_word_a_program_has_the_houses_values(session, box):
    configure(session, container("bare", "sh -c 'umask; cat /proc/self/limits /proc/self/status; echo end; exec sleep 300'"))
    shown = wait_for("all of it", lambda: "end\n" in (found := log(box, "bare")) and found)
    for found in (r"^0022\n", r"Max core file size +0 +0 ", r"Max open files +1024 +1024 ", r"NoNewPrivs:\s+1"):
        assert re.search(found, shown), (found, shown)


@root_only
def test_folders_are_made_with_their_owner_before_a_start(session, tmp_path):
    tmp_path.chmod(0o755)
    made = "<directory><path>{}/%i/run</path><owner>daemon</owner><group>bin</group><mode>2750</mode></directory>".format(tmp_path)
    configure(session, container("folders@x", "sleep 300", made + "<working-directory>{}/%i/work</working-directory><user>nobody</user>".format(tmp_path)))
    until(session, "folders@x", "running")
    facts = os.stat(str(tmp_path / "x" / "run"))
    assert (facts.st_uid, facts.st_mode & 0o7777) == (pwd.getpwnam("daemon").pw_uid, 0o2750)
    assert os.stat(str(tmp_path / "x" / "work")).st_uid == pwd.getpwnam("nobody").pw_uid


def test_a_missing_path_may_refuse_a_start(session, tmp_path):
    needs = "<required-path><path>{}/mount</path><when-missing>refuse</when-missing></required-path>".format(tmp_path)
    configure(session, container("needs", "sleep 300", needs + "<restart><policy>never</policy></restart>"))
    until(session, "needs", "failed")
    assert "{}/mount".format(tmp_path) in text(details(session, "needs"), "why")


def test_restarts_follow_the_list_of_delays(session, box):
    restart = "<restart><delay>0</delay><delay>0.05</delay><delay>3600</delay></restart>"
    configure(session, container("delays", "sh -c 'echo run; exit 1'", restart))
    # The third has no end; so those before it are over.
    wait_for("three runs", lambda: log(box, "delays") == "run\n" * 3)
    until(session, "delays", "restart-pending")
    exits = wait_for("three records", lambda: (found := list(details(session, "delays").iter("{*}exit"))) and len(found) == 3 and found)
    assert [text(each, "last-lines") for each in exits] == ["run"] * 3, "each has what its own run printed"


def test_the_first_restart_waits_for_the_holdoff(session, box):
    configure(session, container("holdoff", "sh -c 'echo run; exit 0'", "<restart><holdoff>3600</holdoff></restart>"))
    until(session, "holdoff", "restart-pending")
    assert log(box, "holdoff") == "run\n"


def test_who_is_started_too_often_stays_down_until_somebody_starts_it(session, box):
    limit = "<restart><start-limit><starts>2</starts><within>3600</within></start-limit></restart>"
    configure(session, container("often", "sh -c 'echo run; exit 1'", limit))
    until(session, "often", "failed")
    assert log(box, "often") == "run\nrun\n"
    assert "start often" in text(details(session, "often"), "why")


def test_retries_are_counted(session, box):
    restart = "<restart><policy>on-failure</policy><max-retries>2</max-retries></restart>"
    configure(session, container("retries", "sh -c 'echo run; exit 1'", restart))
    until(session, "retries", "failed")
    assert log(box, "retries") == "run\n" * 3


@pytest.mark.parametrize(
    "policy, status, state",
    [
        ("never", 1, "failed"), ("never", 0, "succeeded"), ("oneshot", 0, "succeeded"), ("oneshot", 1, "failed"),
        ("on-failure", 0, "succeeded"), ("unless-errored", 1, "failed"), ("always", 0, "restart-pending"),
        ("on-failure", 1, "restart-pending"), ("unless-errored", 0, "restart-pending"), ("unless-stopped", 0, "restart-pending"),
    ],
)  # fmt: skip
def test_a_policy_says_what_follows_an_end(session, policy, status, state):
    more = "<restart><policy>{}</policy><delay>3600</delay></restart>".format(policy)
    configure(session, container("end", "sh -c 'exit {}'".format(status), more))
    until(session, "end", state)


def test_a_stop_has_its_signal_and_its_time(session, box):
    loop = "echo go; while :; do sleep 0.02; done"
    obeys = container("obeys", "sh -c 'trap \"exit 3\" USR1; {}'".format(loop), "<stop><signal>USR1</signal></stop>")
    ignores = container("ignores", "sh -c 'trap \"\" TERM; {}'".format(loop), "<stop><timeout>0.1</timeout></stop>")
    configure(session, obeys, ignores)
    wait_for("both", lambda: log(box, "obeys") == log(box, "ignores") == "go\n")
    operate(session, "stop", "obeys", "ignores")
    ends = []
    for name in ("obeys", "ignores"):
        until(session, name, "stopped")
        (exit,) = wait_for("record of the end", lambda name=name: list(details(session, name).iter("{*}exit")))
        ends.append((text(exit, "code"), text(exit, "signal")))
    assert ends == [("3", None), (None, "SIGKILL")]


@pytest.fixture
def gate(tmp_path):
    """Whoever reads waits until somebody has written."""
    tmp_path.chmod(0o777)
    path = str(tmp_path / "gate")
    os.mkfifo(path)
    os.chmod(path, 0o666)
    return path


def open_the(gate):
    with open(gate, "w", encoding="utf-8") as writer:
        writer.write("go\n")


@pytest.mark.parametrize(
    "readiness, says",
    [
        ("<by>newline</by>", "echo >&3"),
        ("<by>newline</by><descriptor>5</descriptor>", "echo >&$PROCYON_READY_FD; test $PROCYON_READY_FD = 5"),
        ("<by>notify</by>", TELLS + " READY=1 STATUS=busy"),
    ],
)
def test_who_has_not_said_that_he_is_ready_is_starting(session, gate, readiness, says):
    command = "sh -c 'read x < {}; {}; exec sleep 300'".format(gate, says)
    configure(session, container("ready", command, "<readiness>{}</readiness>".format(readiness)))
    until(session, "ready", "starting")
    open_the(gate)
    until(session, "ready", "running")
    if "notify" in readiness:
        assert text(details(session, "ready"), "status-text") == "busy"


def test_who_is_not_ready_in_time_is_killed(session):
    more = "<readiness><by>newline</by><timeout>0.1</timeout></readiness><restart><policy>never</policy></restart>"
    configure(session, container("late", "sleep 300", more))
    until(session, "late", "failed")
    (exit,) = wait_for("record of the end", lambda: list(details(session, "late").iter("{*}exit")))
    assert text(exit, "signal") == "SIGKILL"


def test_a_watchdog_that_hears_nothing_aborts(session):
    says = TELLS + " READY=1; test $WATCHDOG_USEC = 100000 && exec sleep 300"
    more = "<readiness><by>notify</by><watchdog>0.1</watchdog></readiness><restart><policy>never</policy></restart>"
    configure(session, container("dog", "sh -c '{}'".format(says), more))
    until(session, "dog", "failed")
    (exit,) = wait_for("record of the end", lambda: list(details(session, "dog").iter("{*}exit")))
    assert text(exit, "signal") == "SIGABRT"


def test_one_that_is_before_others_keeps_them_waiting(session, gate):
    first = "<before>behind@%i</before><readiness><by>newline</by></readiness>"
    configure(session, container("first@1", "sh -c 'read x < {}; echo >&3; exec sleep 300'".format(gate), first), container("behind@1", "sleep 300"))
    until(session, "first@1", "starting")
    assert text(details(session, "behind@1"), "waiting-for") == "first@1"
    open_the(gate)
    until(session, "behind@1", "running")


def test_what_does_not_start_at_boot_starts_when_somebody_starts_it(session):
    configure(session, container("asleep", "sleep 300", "<start-at-boot>false</start-at-boot>"))
    until(session, "asleep", "not-started")
    assert operate(session, "start", "asleep") == {"asleep": ("done", None)}
    until(session, "asleep", "running")


def test_a_change_may_wait_for_the_next_start(session):
    configure(session, container("later", "sleep 300", "<on-change>next-start</on-change>"))
    pid = text(until(session, "later", "running"), "pid")
    configure(session, container("later", "sleep 301"))
    wait_for("the mark", lambda: text(details(session, "later"), "outdated") == "true")
    assert text(states(session)["later"], "pid") == pid
    operate(session, "restart", "later")
    wait_for("the new run", lambda: text(details(session, "later"), "outdated") == "false")
    assert [text(each, "command") for each in details(session, "later").iter("{*}process")] == ["sleep 301"]


def test_an_instance_may_have_another_name_than_its_container(session, box):
    template = "<template><name>tty</name><command>sh -c 'echo $0 $1 $2; exec sleep 300' %n %i %I</command></template>"
    configure(session, template, container("seven", None, "<template>tty</template><instance>dev/tty S7</instance>"))
    assert lines_of(box, "seven") == "seven dev-tty\\x20S7 dev/tty S7\n"


def test_the_record_of_an_end_says_all_that_is_known_of_it(session, box):
    words = "sh -c 'seq 300; kill -SEGV $$'"
    more = "<limits><core-size>100000000</core-size></limits><restart><policy>never</policy></restart>"
    configure(session, container("record", words, more))
    until(session, "record", "failed")
    (exit,) = wait_for("record of the end", lambda: list(details(session, "record").iter("{*}exit")))
    assert text(exit, "signal") == "SIGSEGV"
    assert text(exit, "last-lines").split() == [str(number) for number in range(101, 301)]
    assert all(int(text(exit, leaf)) >= 0 for leaf in ("user-time", "system-time", "resident-max"))
    assert text(exit, "asked-by") is None and text(exit, "started") < text(exit, "ended")
    with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as pattern:
        taker = pattern.read()
    if taker.startswith("|"):
        assert text(exit, "core").startswith("given to ")
    else:
        assert os.path.exists(text(exit, "core"))
    operate(session, "start", "record")
    wait_for("two records", lambda: len(list(details(session, "record").iter("{*}exit"))) == 2)


def test_who_asked_for_an_end_is_told_with_the_source(session, box):
    configure(session, container("asked", "sleep 300"))
    until(session, "asked", "running")
    operate(session, "kill", "asked")
    (exit,) = wait_for("record of the end", lambda: list(details(session, "asked").iter("{*}exit")))
    assert (text(exit, "signal"), text(exit, "asked-by")) == ("SIGKILL", box.admin)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", text(exit, "asked-from"))


# Logs


def test_logs_that_others_have_moved_are_opened_anew_on_hup(session, box, gate):
    words = "sh -c 'echo one; read x < {0}; echo two; exec sleep 300'".format(gate)
    configure(session, container("moved", words))
    wait_for("a line", lambda: log(box, "moved") == "one\n")
    path = os.path.join(box.root, "harddisk/mirror/script-mgmt/logs/container/moved/stdout.log")
    os.rename(path, path + ".mine")
    os.kill(box.ready.keeper, signal.SIGHUP)
    wait_for("a new file", lambda: os.path.exists(path))
    open_the(gate)
    wait_for("the next line", lambda: log(box, "moved") == "two\n")
    with open(path + ".mine", encoding="utf-8") as mine:
        assert mine.read() == "one\n"


def test_files_of_a_log_are_put_aside_packed_and_kept_in_number(session, box):
    words = "sh -c 'head -c 400000 /dev/zero | tr \"\\0\" x | fold -w 99; echo; exec sleep 300'"
    configure(session, container("packed", words, "<log><max-size>65536</max-size><keep>3</keep><compress>true</compress></log>"))
    folder = os.path.join(box.root, "harddisk/mirror/script-mgmt/logs/container/packed")

    def aside():
        names = sorted(name for name in os.listdir(folder) if name.startswith("stdout.log-") and not name.endswith(".times"))
        return names if len(names) == 3 and all(name.endswith(".gz") for name in names) else None

    until(session, "packed", "running")
    for name in wait_for("three packed files", aside):
        with gzip.open(os.path.join(folder, name)) as packed:
            assert set(packed.read()) == set(b"x\n")


def test_lines_go_to_a_collector_too(session):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(15)
        address = "<address>127.0.0.1:{}</address><facility>local3</facility>".format(collector.getsockname()[1])
        configure(session, container("told", "sh -c 'echo one; echo two >&2; exec sleep 300'", "<log><syslog>{}</syslog></log>".format(address)))
        heard = sorted(collector.recv(4096).decode() for _ in range(2))
    pid = text(until(session, "told", "running"), "pid")
    head = r"1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ told " + pid
    assert re.fullmatch("<156>{} errors - two".format(head), heard[0]) and re.fullmatch("<158>{} output - one".format(head), heard[1]), heard
    assert text(details(session, "told"), "syslog-lines-lost") == "0"


def test_lines_go_to_a_journal_too_and_a_gap_is_told(session, tmp_path, gate):
    path = str(tmp_path / "socket")

    def listen():
        journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        journal.bind(path)
        os.chmod(path, 0o666)
        journal.settimeout(15)
        return journal

    def entry(journal):
        return dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())

    journal = listen()
    words = "sh -c 'echo one; read x < {0}; echo two; echo three; read x < {0}; echo four; exec sleep 300'".format(gate)
    configure(session, container("told@j", words, "<log><journal><socket>{}/%n</socket></journal></log>".format(tmp_path).replace("%n", "socket")))
    first = entry(journal)
    pid = text(until(session, "told@j", "running"), "pid")
    expected = {
        "MESSAGE": "one", "PRIORITY": "6", "SYSLOG_FACILITY": "3", "SYSLOG_IDENTIFIER": "told@j", "SYSLOG_PID": pid, "OBJECT_PID": pid,
        "UNIT": "told@j.service", "PROCYON_CONTAINER": "told@j", "PROCYON_STREAM": "output",
        "PROCYON_RUN": text(details(session, "told@j"), "run-id"), "PROCYON_UID": first["PROCYON_UID"],
    }  # fmt: skip
    assert first == expected
    with open("/proc/{}/status".format(pid)) as status:
        assert re.search(r"^Uid:\s+{}\s".format(first["PROCYON_UID"]), status.read(), re.M)
    # Nobody listens: two lines are lost, and counted.
    journal.close()
    os.unlink(path)
    open_the(gate)
    wait_for("the count", lambda: text(details(session, "told@j"), "journal-lines-lost") == "2")
    with listen() as journal:
        open_the(gate)
        gap, last = entry(journal), entry(journal)
    assert (gap["PROCYON_MISSING"], gap["PRIORITY"], last["MESSAGE"]) == ("2", "4", "four")
    assert gap["MESSAGE"] == "2 lines are missing here: they could not be taken in time"


# Consoles


def test_the_kill_key_and_the_title_may_be_others(session, seats):
    port = free_port()
    configure(session, container("keys", SHELL, console(tcp(port, WRITE) + "<kill-key>^A</kill-key><title>IOC of %n</title>")))
    pid = text(until(session, "keys", "running"), "pid")
    client = seats(Client(("127.0.0.1", port)))
    client.until("@@@ Use ^A to kill the child")
    client.until('@@@ Child "IOC of keys" PID: ')
    client.until("(plus you)")
    client.type(b"\x01")
    client.until("Received a sigChild for process {}".format(pid))


def test_the_time_and_what_happens_are_marked(session, box):
    configure(session, container("marked", "sh -c 'echo one; exec sleep 300'", "<console><marks>true</marks><mark-every>1</mark-every></console>"))
    date = r" -- \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]\n"
    wait_for("marks", lambda: re.search(r"(\[-- MARK{0}){{2}}".format(date), log(box, "marked")))
    operate(session, "stop", "marked")
    until(session, "marked", "stopped")
    lines = log(box, "marked")
    assert re.search(r"\[-- Console up" + date, lines) and re.search(r"\[-- Console down" + date, lines), lines


def test_a_listener_may_speak_raw_or_as_a_log_port(session, seats, tmp_path):
    raw, logs = str(tmp_path / "raw"), str(tmp_path / "log")
    places = unix(raw, WRITE + "<speaks>raw</speaks>", name="raw") + unix(logs, "<speaks>log</speaks>", name="log")
    configure(session, container("speaks", SHELL, console(places)))
    until(session, "speaks", "running")
    wait_for("the sockets", lambda: os.path.exists(raw) and os.path.exists(logs))
    watcher, typist = seats(Client(logs)), seats(Client(raw))
    assert b"Welcome" not in watcher.until("@@@ Child")
    watcher.type("echo not-$((1+1))\r")
    typist.type("echo raw-$((2+2))\r")
    watcher.until("raw-4")
    assert b"@@@" not in typist.until("raw-4") and b"\xff" not in typist.seen


def test_only_the_sources_that_are_named_may_connect(session, seats):
    port, other = free_port(), free_port()
    named = "<listener><name>{}</name><tcp><address>0.0.0.0</address><port>{}</port><source>{}</source></tcp></listener>"
    configure(session, container("sources", SHELL, console(named.format("here", port, "127.0.0.0/8") + named.format("there", other, "192.0.2.0/24"))))
    until(session, "sources", "running")
    seats(Client(("127.0.0.1", port))).until("@@@ Child")
    stranger = seats(Client(("127.0.0.1", other)))
    with contextlib.suppress(ConnectionResetError):
        assert stranger.read() == b""


def test_a_socket_belongs_to_whom_it_is_given(session, tmp_path):
    path = str(tmp_path / "%i")
    owned = "<listener><name>m</name><unix><path>{}</path><owner>%i</owner><group>%i</group><mode>640</mode></unix></listener>".format(path)
    configure(session, container("owned@daemon", SHELL, console(owned)))
    facts = wait_for("the socket", lambda: os.path.exists(path.replace("%i", "daemon")) and os.stat(path.replace("%i", "daemon")))
    daemon = pwd.getpwnam("daemon")
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (daemon.pw_uid, daemon.pw_gid, 0o640)


test_a_socket_belongs_to_whom_it_is_given = root_only(test_a_socket_belongs_to_whom_it_is_given)

GIVES = "test_a_program_gets_what_its_definition_says"
# By path below the definition: the names of tests here, or in the files on consoles, containers and logs.
LEAVES = {
    "description documentation": "test_what_is_told_of_a_container_is_true",
    "group": "test_instances_share_a_template_and_a_group",
    "command": "test_what_is_told_of_a_container_is_true",
    "connect/unix": "test_a_procserv_is_attached_by_its_socket_and_one_that_is_away_is_said_to_be",
    "connect/host connect/port connect/speaks": "test_a_console_of_somebody_else_is_served_to_many_and_called_again",
    "working-directory": "test_folders_are_made_with_their_owner_before_a_start",
    "environment/name environment/value user primary-group supplementary-group umask nice new-privileges": GIVES,
    "limits/core-size limits/open-files limits/address-space limits/file-size limits/processes limits/cpu-time": GIVES,
    "limits/stack-size limits/locked-memory terminal/rows terminal/columns": GIVES,
    "directory/path directory/owner directory/group directory/mode": "test_folders_are_made_with_their_owner_before_a_start",
    "required-path/path required-path/when-missing": "test_a_missing_path_may_refuse_a_start",
    "stop/signal stop/timeout": "test_a_stop_has_its_signal_and_its_time",
    "restart/policy": "test_a_policy_says_what_follows_an_end",
    "restart/max-retries": "test_retries_are_counted",
    "restart/holdoff": "test_the_first_restart_waits_for_the_holdoff",
    "restart/delay": "test_restarts_follow_the_list_of_delays",
    "restart/start-limit/starts restart/start-limit/within": "test_who_is_started_too_often_stays_down_until_somebody_starts_it",
    "readiness/by readiness/descriptor": "test_who_has_not_said_that_he_is_ready_is_starting",
    "readiness/timeout": "test_who_is_not_ready_in_time_is_killed",
    "readiness/watchdog": "test_a_watchdog_that_hears_nothing_aborts",
    "log/file log/stamp": "test_a_log_has_its_own_place_and_stamps",
    "log/max-size log/keep log/compress": "test_files_of_a_log_are_put_aside_packed_and_kept_in_number",
    "log/syslog/address log/syslog/facility": "test_lines_go_to_a_collector_too",
    "log/journal/socket": "test_lines_go_to_a_journal_too_and_a_gap_is_told",
    "console/writers console/replay-lines console/message-of-the-day console/marks console/ignored-keys console/toggle-key":
        "test_one_writer_motd_replay_breaks_and_keys_are_configured",
    "console/break/name console/break/send console/break/pause": "test_one_writer_motd_replay_breaks_and_keys_are_configured",
    "console/mark-every": "test_the_time_and_what_happens_are_marked",
    "console/kill-key console/title": "test_the_kill_key_and_the_title_may_be_others",
    "console/logout-key": "test_listeners_come_change_and_go_by_commit_and_nobody_else_notices",
    "console/listener/name console/listener/unix/path console/listener/write console/listener/tcp/port":
        "test_listeners_come_change_and_go_by_commit_and_nobody_else_notices",
    "console/listener/unix/owner console/listener/unix/group console/listener/unix/mode": "test_a_socket_belongs_to_whom_it_is_given",
    "console/listener/tcp/address console/listener/tcp/source": "test_only_the_sources_that_are_named_may_connect",
    "console/listener/speaks": "test_a_listener_may_speak_raw_or_as_a_log_port",
    "after": "test_a_start_waits_for_a_path_and_for_those_before_it",
    "before": "test_one_that_is_before_others_keeps_them_waiting",
    "start-at-boot": "test_what_does_not_start_at_boot_starts_when_somebody_starts_it",
    "on-change": "test_a_change_may_wait_for_the_next_start",
}  # fmt: skip
# Where no control group and no moment of the wall clock can be had in a test from outside, by tests of the keeper.
ELSEWHERE = {
    "resources/memory resources/processes": "tests/test_confinement.py: test_an_app_has_the_memory_that_is_configured_and_no_more",
    "log/max-age": "src/keeper/log_tests.rs: a_file_is_put_aside_when_it_is_old",
    "survivors": "src/container/machine_tests.rs: what_has_survived_everybody_is_watched_or_ended_before_anything_is_started",
}


def leaves_of_the_module():
    """Paths of the leaves of the grouping `definition`; a choice and its cases are no part of a path."""
    with open(MODULE_FILE, encoding="utf-8") as handle:
        body = handle.read().split("grouping definition {", 1)[1]
    body = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', "S", body)
    path, leaves = [], []
    for word, name, brace in re.findall(r"(?:([a-z-]+)(?:\s+([\w.:-]+))?\s*)?(\{|;|\})", body):
        if brace == "{":
            path.append((word, name))
            if word in ("leaf", "leaf-list"):
                leaves.append("/".join(name for kind, name in path if kind in ("container", "list", "leaf", "leaf-list")))
        elif brace == "}":
            if not path:
                break
            path.pop()
    return leaves


def test_each_leaf_of_a_definition_has_a_test():
    known = {leaf for table in (LEAVES, ELSEWHERE) for leaves in table for leaf in leaves.split()}
    assert sorted(known) == sorted(leaves_of_the_module())
    modules = [globals(), vars(test_console_config), vars(test_containers), vars(test_logs)]
    assert not [name for name in LEAVES.values() if not any(name in module for module in modules)]
