"""procServ to the letter: each of its options with what it does, each key with what is said to it. The options are those
that `--help` lists, so that none can be added, or left out, without a line here.
"""

import os
import re
import select
import signal
import time

import pytest

import test_procserv
from device import needs_binaries
from test_procserv import DEBIANS, LIMIT, gone, needs, run, serve  # noqa: F401

pytestmark = needs_binaries


def control(server):
    return server.client().banner.decode("latin-1")


def text_when(server, name, is_whole):
    """What a file holds, once it holds that."""
    deadline = time.monotonic() + LIMIT
    while True:
        text = server.text(name) if os.path.exists(os.path.join(server.folder, name)) else b""
        if is_whole(text):
            return text.decode("latin-1")
        assert time.monotonic() < deadline, text
        select.select([], [], [], 0.01)


def an_unknown_power_is_declined_and_the_rest_goes_on(serve):
    server = serve("-f", "--allow", "-P", "unix:control", "/bin/cat")
    assert "@@@ Welcome" in control(server)
    server.process.terminate()
    assert server.ended()[2].splitlines()[0] == "procServ: --allow not supported"


def the_toggle_key_is_another(serve):
    server = serve("-f", "--autorestartcmd", "^B", "-P", "unix:control", "/bin/cat")
    client = server.client()
    assert b"use ^B to toggle auto restart\r\n" in client.banner
    client.send(b"\x02")
    client.until(b"@@@ Toggled auto restart to OFF\r\n")


def the_kill_key_is_another_and_sends_another_signal(serve):
    server = serve("-f", "-k", "^A", "--killsig=-15", "-P", "unix:control", "/bin/cat")
    client = server.client()
    assert b"@@@ Use ^A to kill the child, " in client.banner
    client.send(b"\x01")
    assert b"@@@ ^R or ^A restarts the child, ^Q quits the server\r\n" in client.until(b"quits the server\r\n")
    assert b"SHUT DOWN" in server.client().banner


def the_log_port_is_for_this_host(serve):
    server = serve("-f", "-I", "info", "--restrict", "-l", "0", "-P", "unix:control", "/bin/cat")
    server.client()
    assert re.search(r"^tcp:127\.0\.0\.1:\d+$", server.text("info").decode(), re.M)


def times_are_written_so(serve):
    server = serve("-f", "--timefmt", "on %Y.", "-P", "unix:control", "/bin/cat")
    year = time.strftime("%Y")
    assert control(server).count("started at: on {}.\r\n".format(year)) == 2


def lines_of_the_log_have_the_bare_time(serve):
    server = serve("-f", "--timefmt", "%Y", "--logstamp", "-L", "log", "-P", "unix:control", "/bin/echo", "hello")
    text_when(server, "log", lambda text: re.search(rb"^%s@@@ Restarting child" % time.strftime("%Y").encode(), text))


def it_stays_and_shows_the_console(serve):
    server = serve("-d", "-n", "IOC", "-P", "unix:control", "/bin/echo", "hello")
    seen = b""
    while b"hello\r\n" not in seen:
        seen += os.read(server.process.stdout.fileno(), 65536)
    assert b'@@@ The PID of new child "IOC" is: ' in seen
    assert server.process.poll() is None


def a_daemon_says_nothing(serve, tmp_path):
    done = run("-q", "-p", "pid", "-L", "log", "-P", "unix:::0660:control", "/bin/cat", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    gone(pid)


def it_tells_its_options(serve):
    done = run("-h")
    assert done.returncode == 0 and done.stdout.startswith("Usage: procServ [options] -P <endpoint>... <command args ...>")


def the_child_runs_in_another_folder_each_time(serve, tmp_path):
    """A link is followed anew at each start."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("one")
    script = "pwd -P; read x"
    server = serve("-f", "-w", "--holdoff", "0", "-c", str(tmp_path / "link"), "-P", "unix:control", "/bin/sh", "-c", script)
    client = server.client()
    client.send(b"\x12")
    client.until(b"/one\r\n")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    client.send(b"\r")
    client.until(b"/two\r\n")


def the_pid_file_is_named_by_the_environment(serve, tmp_path):
    done = run("-q", "-P", "unix:::0660:control", "/bin/cat", cwd=tmp_path, env={**os.environ, "PROCSERV_PID": "own"})
    assert done.returncode == 0
    pid = int((tmp_path / "own").read_text())
    os.kill(pid, signal.SIGTERM)
    gone(pid)
    assert not (tmp_path / "own").exists()


def debugging_is_asked_by_the_environment(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("PROCSERV_DEBUG", "1")
    server = serve("-P", "unix:control", "/bin/cat")
    assert "@@@ Welcome" in control(server)
    assert server.process.poll() is None


OPTIONS = {
    "--allow": [an_unknown_power_is_declined_and_the_rest_goes_on],
    "--autorestartcmd": [the_toggle_key_is_another, "test_keys_that_are_switched_off_reach_the_child"],
    "--chdir": ["test_the_command_is_called_as_options_say", the_child_runs_in_another_folder_each_time],
    "--coresize": ["test_the_command_is_called_as_options_say"],
    "--debug": [it_stays_and_shows_the_console],
    "--exec": ["test_the_command_is_called_as_options_say"],
    "--foreground": ["test_a_terminal_in_the_foreground_is_a_client"],
    "--grace-period": ["test_a_grace_period_lets_the_child_end_by_itself"],
    "--help": [it_tells_its_options],
    "--holdoff": ["test_the_holdoff_counts_from_the_start"],
    "--ignore": ["test_keys_are_found_anywhere_and_what_stood_before_them_goes_first"],
    "--info-file": ["test_every_kind_of_endpoint_is_served_and_listed"],
    "--killcmd": [the_kill_key_is_another_and_sends_another_signal, "test_keys_that_are_switched_off_reach_the_child"],
    "--killsig": [the_kill_key_is_another_and_sends_another_signal, "test_a_grace_period_lets_the_child_end_by_itself"],
    "--logport": ["test_who_watches_at_the_log_port_reads_and_nothing_more", "test_every_kind_of_endpoint_is_served_and_listed"],
    "--logfile": ["test_the_log_is_appended_to_stamped_and_reopened_on_hup", "test_the_log_can_be_standard_output"],
    "--logstamp": [lines_of_the_log_have_the_bare_time, "test_the_log_is_appended_to_stamped_and_reopened_on_hup"],
    "--name": ["test_the_banner_is_that_of_2_7_0"],
    "--noautorestart": ["test_it_waits_for_the_first_start_and_does_not_restart_when_told_so"],
    "--oneshot": ["test_a_oneshot_server_ends_with_its_child"],
    "--pidfile": ["test_a_daemon_says_its_pid_and_the_pid_file_is_there_when_the_caller_ends"],
    "--port": ["test_every_kind_of_endpoint_is_served_and_listed"],
    "--quiet": [a_daemon_says_nothing],
    "--quit-window": ["test_without_a_window_q_after_x_is_for_the_child"],
    "--restrict": [the_log_port_is_for_this_host],
    "--timefmt": [times_are_written_so],
    "--version": ["test_what_cannot_be_served_or_run_is_refused_as_ever"],
    "--wait": ["test_it_waits_for_the_first_start_and_does_not_restart_when_told_so"],
    "--wording": ["test_newer_words_and_a_third_state_come_when_asked_for"],
    "--logoutcmd": ["test_a_logout_key_that_is_the_quit_key_only_logs_out_while_the_child_runs"],
    "PROCSERV_PID": [the_pid_file_is_named_by_the_environment],
    "PROCSERV_DEBUG": [debugging_is_asked_by_the_environment],
    "PROCSERV_INFO": ["test_newer_words_and_a_third_state_come_when_asked_for"],
}

HERE = sorted({each for tests in OPTIONS.values() for each in tests if callable(each)}, key=lambda each: each.__name__)


def test_each_option_of_the_help_is_in_the_table():
    listed = re.findall(r"^ (?:-\w|  ) (--[a-z-]+)", run("-h").stdout, re.M)
    assert sorted(listed) == sorted(name for name in OPTIONS if name.startswith("--"))
    elsewhere = {each for tests in OPTIONS.values() for each in tests if not callable(each)}
    assert not [name for name in elsewhere if not hasattr(test_procserv, name)]


@needs(DEBIANS)
def test_each_option_of_debians_procserv_is_known():
    theirs = set(re.findall(r"(--[a-z-]+)", run("-h", binary=DEBIANS).stdout))
    # Of a form for other systems.
    assert theirs <= set(OPTIONS), theirs - set(OPTIONS)


@pytest.mark.parametrize("effect", HERE, ids=lambda effect: effect.__name__)
def test_an_option_does_what_it_says(effect, serve, request):
    wanted = effect.__code__.co_varnames[: effect.__code__.co_argcount]
    effect(*[serve if name == "serve" else request.getfixturevalue(name) for name in wanted])


# What a key is answered, by the state of the child. `TO_THE_CHILD`: the child reads it; `NOTHING`: nobody hears of it.
X, T, R, Q = b"\x18", b"\x14", b"\x12", b"\x11"
TO_THE_CHILD, NOTHING = object(), object()
KILLED = "The process was killed by signal 9\r\n"
AGAIN = "@@@ Child process is shutting down, a new one will be restarted shortly\r\n"
NO_MORE = "@@@ Child process is shutting down, auto restart is disabled\r\n"
HINT = "@@@ ^R or ^X restarts the child, ^Q quits the server\r\n"
STARTED = '@@@ Restarting child "IOC"\r\n@@@    (as /bin/sh)\r\n@@@ The PID of new child "IOC" is: '
ON, OFF = ("\r\n@@@ Toggled auto restart to {}\r\n".format(mode) for mode in ("ON", "OFF"))
STAYS, LEAVES, ENDS = "stays", "leaves", "ends"
KEYS = [
    # options, state of the child, key, what is said, what becomes of the connection (and of the server)
    ("", "runs", X, [KILLED, AGAIN, HINT, STARTED], STAYS),
    ("", "runs", T, [OFF], STAYS),
    ("", "runs", R, TO_THE_CHILD, STAYS),
    ("", "runs", Q, TO_THE_CHILD, STAYS),
    ("", "runs", b"\x04", TO_THE_CHILD, STAYS),
    ("", "runs", b"\0", NOTHING, STAYS),
    ("--noautorestart", "runs", X, [KILLED, NO_MORE, HINT], STAYS),
    ("--noautorestart", "runs", T, [ON], STAYS),
    ("", "down", X, [STARTED], STAYS),
    ("", "down", R, [STARTED], STAYS),
    ("", "down", T, [OFF], STAYS),
    ("", "down", Q, [], ENDS),
    ("", "down", b"any", NOTHING, STAYS),
    ("", "runs after ^X", Q, [], ENDS),
    ("--quit-window=0", "runs after ^X", Q, TO_THE_CHILD, STAYS),
    ("-x^Q", "runs", Q, [], LEAVES),
    ("-x^Q", "runs after ^X", Q, [], LEAVES),
    ("-x^Q", "down", Q, [], ENDS),
    ("-x^A", "runs", b"\x01", [], LEAVES),
    ("-x^A", "down", b"\x01", [], LEAVES),
    ("-i^D", "runs", b"\x04", NOTHING, STAYS),
    ("--killcmd=", "runs", X, TO_THE_CHILD, STAYS),
    ("--killcmd=", "down", X, NOTHING, STAYS),
    ("--autorestartcmd=", "runs", T, TO_THE_CHILD, STAYS),
    ("", "at the log port", X + T + R + Q + b"any", NOTHING, STAYS),
]


@pytest.mark.parametrize("option, state, key, said, then", KEYS)
def test_a_key_is_answered_so(serve, option, state, key, said, then):
    script = "stty raw -echo; echo go; while :; do head -c 1 | od -An -tx1; done"
    options = ["--holdoff", "0", "-l", "unix:watch", "-w", *([option] if option else [])]
    server = serve("-f", "-n", "IOC", *options, "-P", "unix:control", "/bin/sh", "-c", script)
    client, witness = server.client(), server.client()
    if state != "down":
        client.send(R)
        client.until(b"go\n")
    if state == "runs after ^X":
        client.send(X)
        client.until(b"The PID of new child")
        client.until(b"go\n")
    typist = server.client("watch") if state == "at the log port" else client
    typist.send(key)
    if said is TO_THE_CHILD:
        client.until("{:02x}\n".format(key[0]).encode())
    elif said is NOTHING:
        # What is answered next came behind it.
        client.send(T)
        assert client.until(OFF.encode()) == OFF.encode()
    else:
        seen = b""
        # Of the two lines about an end either may come first.
        while not all(line.encode() in seen for line in said):
            data = client.socket.recv(65536)
            assert data, seen
            seen += data
    if then != STAYS:
        client.until_closed()
    if then == LEAVES:
        assert b"@@@ 1 user(s) and 0 logger(s) connected (plus you)" in server.client().banner
    if then == ENDS:
        witness.until_closed()
        assert server.ended()[0] == 0
