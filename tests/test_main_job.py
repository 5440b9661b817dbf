"""The main job from outside: real binaries, NETCONF over SSH by ncclient and OpenSSH, a real HTTP server, real scripts."""

import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
from ncclient.operations import RPCError

import box as boxes
from device import END, FOREVER, HELLO, App, filled, one_box, openssh, quick, refusal

# The flow


def test_the_main_job(box, session, server, name):
    source = b'"""Says hello.\n\nArguments:\n    word  what to say\n"""\nimport sys\n' + FOREVER.replace(
        b"'running'", b"'hello', sys.argv[1:]"
    )
    server.content["/scripts/" + name] = source
    app = name[:-3]
    box.call(session, box.add_request(server.url + "/scripts", name))
    assert box.script_state(session, name)["status"] == "Config Checksum"
    assert box.script_state(session, name)["last-action"] == "NEW"

    box.configure(session, box.checksum_config(name, boxes.sha256(source)))
    assert box.script_state(session, name)["status"] == "Ready"

    box.configure(session, box.app_config(app, name, "world --loud", "on-failure", 3))
    state = box.wait_app(session, app, status="not-started", is_activated="false", is_cfg_pending="false")
    assert "last-started-time" not in state

    box.act(session, "activate", app)
    state = box.wait_app(session, app, status="started", is_activated="true", restarts=0)
    assert state["checksum"].lower() == boxes.sha256(source)
    assert state["executable"] == name and state["run-args"] == "world --loud"
    assert state["log-location"] == "/harddisk:/mirror/script-mgmt/logs/{}_process_{}".format(name, app)
    assert box.wait_log(name, app, "hello ['world', '--loud']").startswith("hello")

    pid = box.wait_pid(name)
    os.kill(pid, signal.SIGKILL)
    assert box.wait_pid(name, other_than=pid) != pid
    box.wait_app(session, app, status="started", restarts=1)

    box.act(session, "stop", app)
    box.wait_app(session, app, status="stopped")
    assert box.pids_of(name) == []
    box.act(session, "start", app)
    box.wait_app(session, app, status="started")
    box.act(session, "restart", app)
    box.wait_log(name, app, "hello", count=4)
    box.act(session, "deactivate", app)
    box.wait_app(session, app, is_activated="false")
    assert box.pids_of(name) == []
    errors = box.log(name, app, "stderr")
    runs = [int(found) for found in re.findall(r"^-----Run ID:(\d+)  \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}-----$", errors, re.M)]
    assert len(runs) == 4 and runs == list(range(runs[0], runs[0] + 4)), errors


def test_a_script_that_asks_the_device_gets_the_text_that_scripts_rely_on(box, session, name):
    source = b"""
import re, signal
import xmltodict
from iosxr.netconf.netconf_lib import NetconfClient
nc = NetconfClient()
nc.connect()
nc.rpc.get(request='''
<system-monitoring xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-wdsysmon-fd-oper">
  <cpu-utilization><node-name>0/RP0/CPU0</node-name><total-cpu-one-minute/></cpu-utilization>
</system-monitoring>''')
found = re.search(r"<data>\\s+(<system-monitoring.*</system-monitoring>).*</data>", nc.reply.replace("\\n", " "))
tree = xmltodict.parse(found.group(1))
print("cpu", int(tree["system-monitoring"]["cpu-utilization"]["total-cpu-one-minute"]), flush=True)
nc.rpc.edit_config(config='''
<hostname xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg"><system-network-name>x</system-network-name></hostname>''')
nc.rpc.commit()
print("refused", "access-denied" in nc.reply, "username" in nc.reply, flush=True)
nc.close()
signal.pause()
"""
    app = App(box, session, name, source)
    app.activate()
    box.wait_log(name, app.name, "refused True True")
    assert re.search(r"^cpu \d+$", box.log(name, app.name), re.M)
    app.end()


def test_pending_configuration_takes_effect_at_the_next_activation(box, session, name):
    app = App(box, session, name, b"import sys\nprint(sys.argv[1:], flush=True)\n" + FOREVER, arguments="one")
    app.activate()
    box.configure(session, box.app_config(app.name, name, "two"))
    assert app.wait(is_cfg_pending="true")["run-args"] == "one"
    app.act("restart")
    box.wait_log(name, app.name, "['one']", count=2)
    app.act("deactivate")
    app.wait(is_activated="false")
    app.activate()
    box.wait_log(name, app.name, "['two']")
    app.wait(is_cfg_pending="false")
    app.end()


def test_a_script_copied_by_hand_appears(box, session, name):
    path = os.path.join(box.repository, name)
    with open(path, "wb") as handle:
        handle.write(FOREVER)
    state = boxes.wait_for("the script", lambda: box.script_state(session, name))
    assert (state["status"], state["last-action"]) == ("Config Checksum", "NEW")
    data = session.get(filter=("subtree", box.script_filter())).data_xml
    assert "User action IN_CLOSE_WRITE" in data
    os.unlink(path)
    boxes.wait_for("its end", lambda: box.script_state(session, name) is None)


def test_a_script_with_a_wrong_checksum_never_runs(box, session, name):
    app = App(box, session, name, FOREVER)
    with open(os.path.join(box.repository, name), "ab") as handle:
        handle.write(b"# changed\n")
    boxes.wait_for("mismatch", lambda: box.script_state(session, name)["status"] == "Checksum Mismatch")
    error = refusal(app.act, "activate")
    assert name in error.message and "checksum" in error.message.lower()
    assert box.pids_of(name) == []


@pytest.mark.parametrize("policy, runs", [("never", 1), ("on-failure", 4), ("always", 4)])
def test_a_restart_policy_restarts_what_fails(box, session, name, policy, runs):
    app = App(
        box, session, name, b"import sys\nprint('run', flush=True)\nsys.exit(3)\n", restart=policy, retries=3 if policy == "on-failure" else None
    )
    app.act("activate")
    box.wait_log(name, app.name, "run", count=runs)
    if policy != "always":
        state = app.wait(status="exit-failure")
        assert (state["last-exit-code"], state["restarts"]) == ("3", str(runs - 1))
        assert box.log(name, app.name).count("run") == runs
    app.end()


# What is robust


def test_kill_9_of_the_agent_leaves_the_script_alone(own_box, name):
    box = own_box
    source = b"import time\nwhile True:\n    print('tick', flush=True)\n    time.sleep(0.05)\n"
    app = App(box, box.connect(), name, source)
    app.activate()
    pid = app.pid()
    keeper, agent, port = box.ready.keeper, box.ready.pid, box.ready.ssh
    ticks = box.log(name, app.name).count("tick")
    known = len(box.readies)
    os.kill(agent, signal.SIGKILL)
    ready = box.wait_ready(known)
    assert (ready.keeper, ready.ssh) == (keeper, port) and ready.pid != agent
    assert box.pids_of(name) == [pid]
    box.wait_log(name, app.name, "tick", count=ticks + 3)
    with box.connect() as session:
        state = box.wait_app(session, app.name, status="started", restarts=0, is_activated="true")
        assert state["checksum"]
        box.act(session, "stop", app.name)
        box.wait_app(session, app.name, status="stopped")
    assert not boxes.alive(pid)


def test_a_commit_that_was_acknowledged_outlives_kill_9(own_box, name):
    box = own_box
    session = box.connect()
    box.configure(session, box.app_config("kept", name))
    box.edit(session, box.app_config("never-committed", name))
    known = len(box.readies)
    os.kill(box.ready.pid, signal.SIGKILL)
    box.wait_ready(known)
    with box.connect() as session:
        config = session.get_config("running").data_xml
        assert "kept" in config and "never-committed" not in config


def test_the_keeper_killed_with_9_comes_back_and_the_script_runs_on(own_box, name):
    box = own_box
    with box.connect() as session:
        app = App(box, session, name, FOREVER)
        app.activate()
        pid = app.pid()
        os.kill(box.ready.keeper, signal.SIGKILL)
        assert boxes.wait_for("an answer", lambda: app.state().get("status") == "started")
        assert box.pids_of(name) == [pid]
        app.act("stop")
        app.wait(status="stopped")
        assert not boxes.alive(pid)


def test_a_second_agent_on_the_same_root_is_refused_and_names_the_first(box):
    done = subprocess.run(
        box.agent_command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=boxes.READY_SECONDS_MAX
    )
    assert done.returncode != 0
    assert "ready " not in done.stdout
    assert str(box.ready.pid) in done.stderr, done.stderr


def test_stop_ends_everything(own_box, name):
    box = own_box
    with box.connect() as session:
        App(box, session, name, FOREVER).activate()
        pid = box.wait_pid(name)
    box.stop()
    assert not boxes.alive(pid)
    assert box.leftovers() == []
    # Nobody was connected: there was nothing to wait for.
    assert not any("did not end" in line for line in box.said)


def test_a_full_disk_refuses_the_commit_and_loses_nothing(small_disk, name):
    with one_box(small_disk) as box, box.connect() as session:
        box.configure(session, box.app_config("before", name))
        with filled(small_disk):
            error = refusal(box.configure, session, box.app_config("during", name))
            assert "space" in error.message.lower(), error.message
            assert "before" in session.get_config("running").data_xml
        box.configure(session, box.app_config("after", name))
        config = session.get_config("running").data_xml
        assert "after" in config and "during" not in config


# Bad input


def repository_names(box, session):
    data = session.get(filter=("subtree", box.script_filter())).data_xml
    return set(re.findall(r"<script-name>(.*?)</script-name>", data))


@pytest.mark.parametrize(
    "bad", ["a/b.py", "../b.py", "..", ".py", "b.txt", "b", "/etc/passwd", "a\nb.py", "x" * 300 + ".py"]
)
def test_a_name_that_is_none_is_refused(box, session, server, bad):
    before = repository_names(box, session)
    error = refusal(box.call, session, box.add_request(server.url + "/scripts", bad))
    assert error.tag in ("invalid-value", "operation-failed", "bad-element")
    assert repository_names(box, session) == before
    assert server.asked == []


def test_eleven_scripts_are_refused_and_ten_are_taken(box, session, server, name):
    names = ["n{}-{}".format(number, name) for number in range(11)]
    for each in names:
        server.content["/" + each] = FOREVER
    refusal(box.call, session, box.add_request(server.url, *names))
    assert not repository_names(box, session) & set(names)
    box.call(session, box.add_request(server.url, *names[:10]))
    assert set(names[:10]) <= repository_names(box, session)
    refusal(box.call, session, box.remove_request(*names))
    box.call(session, box.remove_request(*names[:10]))
    assert not repository_names(box, session) & set(names)


def test_add_is_all_or_nothing(box, session, server, name):
    server.content["/" + name] = FOREVER
    error = refusal(box.call, session, box.add_request(server.url, name, "absent-" + name))
    assert "absent-" + name in error.message and "404" in error.message
    assert name not in repository_names(box, session)
    assert [each for each in os.listdir(box.repository) if name in each] == []


def test_a_wrong_checksum_at_add_is_refused(box, session, server, name):
    server.content["/" + name] = FOREVER
    error = refusal(box.call, session, box.add_request(server.url, name, sums={name: "0" * 64}))
    assert boxes.sha256(FOREVER) in error.message
    assert name not in repository_names(box, session)
    box.call(session, box.add_request(server.url, name, sums={name: boxes.sha256(FOREVER)}))
    assert name in repository_names(box, session)


def test_an_unknown_script_cannot_be_removed(box, session, name):
    assert name in refusal(box.call, session, box.remove_request(name)).message


def test_an_active_script_cannot_be_removed(box, session, name):
    app = App(box, session, name, FOREVER)
    app.activate()
    assert app.name in refusal(box.call, session, box.remove_request(name)).message
    app.end()
    box.call(session, box.remove_request(name))


def truncated(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"print('half of it')\n")
    handler.close_connection = True


def huge(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 40))
    handler.end_headers()
    pour(handler, lambda piece: piece)


def endless(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    pour(handler, lambda piece: b"%x\r\n%s\r\n" % (len(piece), piece))


def pour(handler, framed):
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(framed(b"#" * 65535 + b"\n"))
    except OSError:
        pass


def redirecting(target):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", target(handler))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def failing(handler):
    handler.send_error(503)


def rude(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.mark.parametrize(
    "content",
    [truncated, huge, endless, failing, rude, redirecting(lambda handler: handler.path), redirecting(lambda handler: "file:///etc/passwd")],
    ids=["truncated", "huge", "endless", "failing", "rude", "redirecting-for-ever", "redirecting-to-a-file"],
)
def test_a_bad_http_server_is_a_clear_error(box, session, server, name, content):
    server.content["/" + name] = content
    error = refusal(box.call, session, box.add_request(server.url, name))
    assert name in error.message or server.url in error.message
    assert name not in repository_names(box, session)
    assert [each for each in os.listdir(box.repository) if name in each] == []


def test_a_redirect_is_followed(box, session, server, name):
    server.content["/" + name] = redirecting(lambda handler: "/moved/" + name)
    server.content["/moved/" + name] = FOREVER
    box.call(session, box.add_request(server.url, name))
    with open(os.path.join(box.repository, name), "rb") as handle:
        assert handle.read() == FOREVER


def test_a_slow_http_server_keeps_nobody_else_waiting(box, session, server, name):
    reached, release = threading.Event(), threading.Event()

    def slow(handler):
        reached.set()
        release.wait(60)
        truncated(handler)

    server.content["/" + name] = slow
    with box.connect() as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(refusal, box.call, other, box.add_request(server.url, name))
        try:
            assert reached.wait(20)
            quick(box.configure, session, box.app_config("meanwhile-" + name[:-3], name))
            quick(box.script_state, session, name)
        finally:
            release.set()
        assert waiting.result().message


def test_a_server_that_is_not_there_is_a_clear_error(box, session, name):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:{}".format(free.getsockname()[1])
    assert url in refusal(box.call, session, box.add_request(url, name)).message


@pytest.mark.parametrize("source", ["gopher://127.0.0.1/", "harddisk:/../../etc", "", "http://"])
def test_a_source_that_is_none_is_refused(box, session, name, source):
    refusal(box.call, session, box.add_request(source, name))


def test_an_app_without_its_script_is_accepted_and_says_so_when_activated(box, session, name):
    box.configure(session, box.app_config(name[:-3], name))
    box.wait_app(session, name[:-3], status="not-started")
    assert name in refusal(box.act, session, "activate", name[:-3]).message


def test_an_app_whose_executable_is_a_path_says_so_when_activated(box, session, name):
    box.configure(session, box.app_config(name[:-3], "package/" + name))
    assert "package/" + name in refusal(box.act, session, "activate", name[:-3]).message


def test_an_unknown_app_is_refused(box, session):
    for verb in ("activate", "deactivate", "start", "stop", "kill", "restart"):
        assert "nobody" in refusal(box.act, session, verb, "nobody").message


def test_actions_out_of_order_are_refused_and_change_nothing(box, session, name):
    app = App(box, session, name, FOREVER)
    for verb in ("start", "stop", "kill", "restart"):
        assert app.name in refusal(app.act, verb).message
    app.activate()
    pid = app.pid()
    assert app.name in refusal(app.act, "activate").message
    assert app.name in refusal(app.act, "start").message
    assert box.pids_of(name) == [pid]
    app.end()


def test_a_script_that_is_not_python_fails_with_its_error_in_the_log(box, session, name):
    app = App(box, session, name, b"\x7fELF not python\n", retries=2)
    app.act("activate")
    state = app.wait(status="exit-failure", restarts=2)
    assert state["last-exit-code"] == "1"
    assert "/harddisk:/mirror/script-mgmt/process/" + name in box.log(name, app.name, "stderr")
    app.end()


def test_a_script_that_ignores_the_stop_is_ended_by_kill_with_all_it_started(box, session, name):
    source = b"""
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        while True:
            signal.pause()
print("ready", flush=True)
while True:
    signal.pause()
"""
    app = App(box, session, name, source)
    app.activate()
    box.wait_log(name, app.name, "ready")
    device = ("/script-mgmt/process/" + name).encode()
    mine = lambda: [pid for pid in boxes.processes() if device in boxes.command_line(pid) and boxes.alive(pid)]  # noqa: E731
    assert len(mine()) == 4
    app.act("stop")
    app.wait(status="stop-requested")
    app.act("kill")
    app.wait(status="killed")
    boxes.wait_for("no process of it", lambda: not mine())
    app.end()


def test_a_script_that_prints_100_megabytes_hurts_nobody(box, session, name):
    source = b"import sys\nline = 'x' * 1023 + '\\n'\nfor _ in range(100 * 1024):\n    sys.stdout.write(line)\nsys.exit(0)\n"
    app = App(box, session, name, source, restart="never")
    app.act("activate")
    quick(app.state)
    boxes.wait_for("its end", lambda: quick(app.state).get("status") == "exit-success", seconds=60)
    app.end()


def test_a_script_that_exits_at_once_for_ever_is_paced(box, session, name):
    app = App(box, session, name, b"print('run')\n", restart="always")
    app.act("activate")
    box.wait_log(name, app.name, "run", count=6)
    quick(app.state)
    # The seventh run comes after a pause of at least a second: by then there are not many more.
    assert box.log(name, app.name).count("run") < 20
    app.end()
    assert box.pids_of(name) == []


# Peers


def one_rpc(number, operation):
    return (
        '<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="{}">{}</rpc>'.format(number, operation).encode() + END
    )


def test_openssh_speaks_netconf(box):
    client = openssh(box)
    output, errors = client.communicate(HELLO + one_rpc(1, "<close-session/>"), timeout=30)
    hello, reply = output.split(END)[:2]
    assert b"urn:ietf:params:netconf:base:1.1" in hello and b"<session-id>" in hello, errors
    assert b'message-id="1"' in reply and b"<ok/>" in reply
    assert client.returncode == 0


@pytest.mark.parametrize(
    "message",
    [b"<rpc><unclosed>", b"not xml at all", b"<rpc xmlns='urn:other' message-id='1'><get/></rpc>", b"\xff\xfe\x00", b"<!DOCTYPE a [<!ENTITY b 'c'>]><rpc/>"],
)
def test_a_malformed_message_hurts_only_its_session(box, session, message):
    client = openssh(box)
    output, _ = client.communicate(HELLO + message + END, timeout=30)
    answers = output.split(END)
    assert b"<hello" in answers[0]
    # An rpc-error or the end of the session, both are what RFC 6241 allows; never silence with the session open.
    assert client.returncode is not None
    assert quick(session.get_config, "running").ok


def test_a_client_that_goes_away_in_the_middle_leaves_no_lock(box, session):
    client = openssh(box)
    client.stdin.write(HELLO + one_rpc(1, "<lock><target><candidate/></target></lock>"))
    client.stdin.flush()
    seen = b""
    while b"<ok/>" not in seen:
        piece = os.read(client.stdout.fileno(), 65536)
        assert piece, client.stderr.read()
        seen += piece
    assert refusal(session.lock, "candidate").tag == "lock-denied"
    client.stdin.write(b"<rpc xmlns='urn:ietf:params:xml:ns:netconf:base:1.0' message-id='2'><get-conf")
    client.stdin.flush()
    client.kill()
    client.communicate()

    def free():
        try:
            return session.lock("candidate").ok
        except RPCError:
            return False

    boxes.wait_for("the lock", free)
    session.unlock("candidate")


def test_a_client_that_never_reads_keeps_nobody_waiting(box, session):
    client = openssh(box)
    client.stdin.write(HELLO)
    client.stdin.flush()
    os.set_blocking(client.stdin.fileno(), False)
    request = one_rpc(1, "<get/>")
    try:
        for _ in range(2000):
            os.write(client.stdin.fileno(), request)
    except BlockingIOError:
        pass
    for _ in range(5):
        assert quick(session.get_config, "running").ok
    client.kill()
    client.communicate()


def test_a_wrong_key_and_an_unknown_user_are_refused(box, tmp_path):
    other = str(tmp_path / "other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True, stdin=subprocess.DEVNULL)
    for options in (dict(key_filename=other), dict(username="nobody-here")):
        with pytest.raises(Exception, match="(?i)auth"):
            box.connect(**options)


def test_every_refused_edit_leaves_the_candidate_as_it_was(box, session):
    before = session.get_config("candidate").data_xml
    bad = [
        box.app_config("x", "a.py"),
        box.app_config("ok-name", "a.py", retries=11),
        box.app_config("ok-name", "a.py", restart="sometimes"),
        box.app_config("ok-name", "a.py").replace("executable", "no-such-leaf"),
        box.app_config("ok-name", "a.py").replace(boxes.APP_CFG, "urn:no-such-module"),
    ]
    for config in bad:
        refusal(box.edit, session, config)
        assert session.get_config("candidate").data_xml == before
