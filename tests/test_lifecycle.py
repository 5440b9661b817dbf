"""Process definitions from outside: real programs that start when they may, and say why when they may not."""

import base64
import os
import signal
import socket
import sqlite3
import subprocess
from xml.sax.saxutils import escape

import pytest
from lxml import etree
from ncclient.operations import RPCError

from device import boxes

PROCESS = "urn:procyon:process"
DEFINITION = "http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00"
# What a program of the host may take to start or to end.
PROGRAM_SECONDS_MAX = 20
# From the event that was waited for to the next state, on a machine that does other things as well.
WAKE_SECONDS_MAX = 2


def command(*argv):
    program, *parameters = argv
    inside = "".join("<parameter>{}</parameter>".format(escape(parameter)) for parameter in parameters)
    return "<execute>{}</execute>{}".format(program, inside)


def definition(name, start, stop=("/bin/kill", "0"), configtest=("/bin/true",), version="1", pid=None, resources=""):
    return (
        '<sipXecs-process xmlns="{}"><name>{}</name><version>{}</version><commands>'
        "<configtest>{}</configtest><start>{}</start><stop>{}</stop></commands><status>{}</status>{}</sipXecs-process>"
    ).format(
        DEFINITION,
        name,
        version,
        command(*configtest),
        command(*start),
        command(*stop),
        "<pid>{}</pid>".format(pid) if pid else "",
        "<resources>{}</resources>".format(resources) if resources else "",
    )


def define(box, name, *arguments, **options):
    """As an installer does it: at once and as a whole."""
    folder = os.path.join(box.root, "process.d")
    with open(os.path.join(folder, ".new"), "w", encoding="utf-8") as handle:
        handle.write(definition(name, *arguments, **options))
    os.rename(os.path.join(folder, ".new"), os.path.join(folder, name + "-process.xml"))


def sleeper(tmp_path, name):
    """A program in the foreground that ends when it is told to by a file."""
    path = tmp_path / (name + ".sh")
    path.write_text("#!/bin/sh\necho $$ > {0}/{1}.own\nexec sleep 1000\n".format(tmp_path, name))
    path.chmod(0o755)
    stop = ("/bin/sh", "-c", "kill $(cat {}/{}.own)".format(tmp_path, name))
    return {"start": (str(path),), "stop": stop}


def rpc(box, session, name, content=""):
    return box.call(session, '<{0} xmlns="{1}">{2}</{0}>'.format(name, PROCESS, content))


def names(*processes):
    return "".join("<name>{}</name>".format(name) for name in processes)


def set_version(box, session, name, version="1"):
    rpc(box, session, "process-set-version", "<name>{}</name><version>{}</version>".format(name, version))


def states(session, name=None):
    """{name: {leaf: text}}"""
    which = "<process><name>{}</name></process>".format(name) if name else ""
    wanted = '<processes-state xmlns="{}">{}</processes-state>'.format(PROCESS, which)
    data = session.get(filter=("subtree", wanted)).data
    return {
        process.findtext("{*}name"): {boxes.local(leaf): leaf.text for leaf in process if len(leaf) == 0}
        for process in data.iterfind(".//{*}processes-state/{*}process")
    }


def state(session, name):
    return states(session, name).get(name, {}).get("state")


def wait_state(session, name, wanted, seconds=PROGRAM_SECONDS_MAX):
    seen = []

    def reached():
        now = states(session, name).get(name, {})
        if not seen or seen[-1].get("state") != now.get("state"):
            seen.append(now)
        return now if now.get("state") == wanted else None

    try:
        return boxes.wait_for("{} to be {}".format(name, wanted), reached, seconds)
    except boxes.Trouble as trouble:
        raise AssertionError("{}; it was {}".format(trouble, seen)) from None


def path_of(session, name):
    """The states that it went through."""
    wanted = '<processes-state xmlns="{}"><process><name>{}</name></process></processes-state>'.format(PROCESS, name)
    data = session.get(filter=("subtree", wanted)).data
    return [step.findtext("{*}to") for step in data.iterfind(".//{*}transition")]


def why(box, session, name):
    reply = etree.fromstring(rpc(box, session, "process-why", names(name)).xml.encode())
    return reply.findtext("{*}why"), reply.findtext("{*}remedy")


def start(box, session, *processes):
    for name in processes:
        boxes.wait_for("definition of " + name, lambda name=name: name in states(session))
        set_version(box, session, name)
    rpc(box, session, "process-start", names(*processes))


def test_a_process_waits_for_its_version_and_says_what_to_do(box, session, tmp_path):
    define(box, "versions", **sleeper(tmp_path, "versions"))
    boxes.wait_for("the definition", lambda: state(session, "versions") == "Disabled")
    assert "process-start name versions" in why(box, session, "versions")[1]
    rpc(box, session, "process-start", names("versions"))
    wait_state(session, "versions", "ConfigurationMismatch")
    text, remedy = why(box, session, "versions")
    assert "its software is of version `1`, its configuration of none" in text
    assert remedy == "rpc process-set-version name versions version 1"
    set_version(box, session, "versions", "0")
    assert state(session, "versions") == "ConfigurationMismatch"
    set_version(box, session, "versions")
    running = wait_state(session, "versions", "Running")
    assert boxes.alive(int(running["pid"]))
    assert path_of(session, "versions") == [
        "ConfigurationMismatch", "ResourceRequired", "Testing", "Starting", "Running",
    ]
    rpc(box, session, "process-stop", names("versions"))
    wait_state(session, "versions", "Disabled")
    assert not boxes.alive(int(running["pid"]))


def test_one_bad_definition_keeps_no_other_out(box, session, tmp_path):
    folder = os.path.join(box.root, "process.d")
    with open(os.path.join(folder, "bad-process.xml"), "w", encoding="utf-8") as handle:
        handle.write('<sipXecs-process xmlns="{}">\n<name>bad</name>\n<versoin>1</versoin></sipXecs-process>'.format(DEFINITION))
    for one, other in (("ring-a", "ring-b"), ("ring-b", "ring-a")):
        define(box, one, **sleeper(tmp_path, one), resources="<process>{}</process>".format(other))
    define(box, "good", **sleeper(tmp_path, "good"))

    def problems():
        data = session.get(filter=("subtree", '<processes-state xmlns="{}"/>'.format(PROCESS))).data
        return {
            problem.findtext("{*}source"): (problem.findtext("{*}line"), problem.findtext("{*}reason"))
            for problem in data.iterfind(".//{*}definition-problem")
        }

    boxes.wait_for("all three", lambda: len(problems()) == 3)
    assert problems()["bad-process.xml"] == (
        "3", "<sipXecs-process> has no element <versoin> here: expected is <version>",
    )
    assert problems()["ring-b-process.xml"][1].endswith("ring-a -> ring-b -> ring-a")
    boxes.wait_for("the good one", lambda: state(session, "good") == "Disabled")
    with pytest.raises(RPCError) as refused:
        rpc(box, session, "process-start", names("bad"))
    assert "mend bad-process.xml: line 3" in str(refused.value)
    for name in ("bad", "ring-a"):
        os.remove(os.path.join(folder, name + "-process.xml"))
    boxes.wait_for("ring-b to be sound", lambda: state(session, "ring-b") == "Disabled" and problems() == {})


NGINX = """
daemon on;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; return 200 "hello"; }}
}}
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answer_of(port):
    with socket.create_connection(("127.0.0.1", port)) as web:
        web.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while True:
            part = web.recv(4096)
            if not part:
                return answer
            answer += part


def test_nginx_leaves_invalid_configuration_when_it_is_mended(box, session, tmp_path):
    tmp_path.chmod(0o755)
    config, port = tmp_path / "nginx.conf", free_port()
    config.write_text("this is no configuration;\n")
    nginx = ("/usr/sbin/nginx", "-c", str(config), "-e", str(tmp_path / "error.log"))
    define(
        box, "nginx", start=nginx, stop=(*nginx, "-s", "quit"), configtest=(*nginx, "-t"), pid=tmp_path / "nginx.pid",
        resources="<file>{}</file>".format(config),
    )
    start(box, session, "nginx")
    wait_state(session, "nginx", "ConfigurationTestFailed")
    assert 'unknown directive "this"' in why(box, session, "nginx")[0]

    config.write_text(NGINX.format(folder=tmp_path, port=port))
    running = wait_state(session, "nginx", "Running")
    pid = int(running["pid"])
    assert pid == int((tmp_path / "nginx.pid").read_text())
    assert b"hello" in answer_of(port)

    # It is a daemon: its end is seen all the same, and it comes back.
    os.kill(pid, signal.SIGKILL)
    boxes.wait_for("another nginx", lambda: states(session)["nginx"].get("pid") not in (None, str(pid)))
    again = wait_state(session, "nginx", "Running")
    assert b"hello" in answer_of(port)
    rpc(box, session, "process-stop", names("nginx"))
    wait_state(session, "nginx", "Disabled")
    assert not boxes.alive(int(again["pid"]))


def test_redis_comes_before_what_needs_it(box, session, tmp_path):
    tmp_path.chmod(0o755)
    door, database = tmp_path / "redis.sock", tmp_path / "orders.db"
    redis = ("/usr/bin/redis-server", "--port", "0", "--unixsocket", str(door), "--dir", str(tmp_path), "--save", '""')
    define(box, "redis", start=redis, stop=("/usr/bin/redis-cli", "-s", str(door), "shutdown", "nosave"))
    define(
        box, "shop", **sleeper(tmp_path, "shop"),
        resources="<process>redis</process><imdb>prices</imdb>"
        "<sqldb><dbname>{}</dbname><dbdriver>{{SQLite}}</dbdriver></sqldb>".format(database),
    )
    start(box, session, "shop")
    wait_state(session, "shop", "ResourceRequired")
    boxes.wait_for("redis", lambda: state(session, "redis") == "Disabled")
    text, _ = why(box, session, "shop")
    assert "process 'redis' (it is Disabled" in text and "imdb 'prices'" in text and "sqldb" in text
    start(box, session, "redis")
    wait_state(session, "redis", "Running")
    rpc(box, session, "imdb-register", "<table>prices</table>")
    assert state(session, "shop") == "ResourceRequired"
    with sqlite3.connect(database) as connection:
        connection.execute("create table orders (id)")
    # A database is asked every 5 s while somebody waits for it.
    wait_state(session, "shop", "Running")
    rpc(box, session, "process-stop", names("redis"))
    wait_state(session, "redis", "Disabled")
    assert state(session, "shop") == "Running", "who needs it to start goes on without it"
    rpc(box, session, "process-stop", names("shop"))
    wait_state(session, "shop", "Disabled")


def test_a_missing_file_wakes_at_once_when_it_comes(box, session, tmp_path):
    wanted = tmp_path / "not" / "yet" / "there"
    define(box, "files", **sleeper(tmp_path, "files"), resources="<file>{}</file>".format(wanted))
    start(box, session, "files")
    wait_state(session, "files", "ResourceRequired")
    wanted.parent.mkdir(parents=True)
    wanted.write_text("here")
    wait_state(session, "files", "Running", WAKE_SECONDS_MAX)
    rpc(box, session, "process-stop", names("files"))
    wait_state(session, "files", "Disabled")


def test_a_process_that_fails_is_started_again_after_two_seconds(box, session, tmp_path):
    define(box, "fails", start=("/bin/sh", "-c", "echo the disk is full >&2; exit 3"))
    start(box, session, "fails")
    failed = wait_state(session, "fails", "Failed")
    assert "it ended with code 3: the disk is full; failure 1 in a row" in failed["why"]
    boxes.wait_for("the second failure", lambda: states(session)["fails"]["failures"] == "2")
    rpc(box, session, "process-stop", names("fails"))
    wait_state(session, "fails", "Disabled")


def test_a_pid_file_of_somebody_else_is_refused(box, session, tmp_path):
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            path = tmp_path / "foreign.pid"
            forge = "echo {} > {}".format(stranger.pid, path)
            define(box, "forger", start=("/bin/sh", "-c", forge), pid=path)
            start(box, session, "forger")
            failed = wait_state(session, "forger", "Failed")
            assert "names process {} (sleep), which did not come of the start command".format(stranger.pid) in failed["why"]
            rpc(box, session, "process-stop", names("forger"))
            wait_state(session, "forger", "Disabled")
            assert stranger.poll() is None, "and nobody touches it"
        finally:
            stranger.kill()


def test_declared_files_are_managed_and_no_others(box, session, tmp_path):
    config, log = tmp_path / "app.conf", tmp_path / "app.log"
    log.write_text("started\n")
    resources = '<file configAccess="read-write">{}</file><file configAccess="read-only" required="false">{}</file>'
    define(box, "managed", **sleeper(tmp_path, "managed"), resources=resources.format(config, log))
    boxes.wait_for("the definition", lambda: state(session, "managed"))
    content = base64.b64encode(b"speed = 5\n").decode()

    def replace(path, mode="640"):
        inside = "<path>{}</path><mode>{}</mode><content>{}</content>".format(path, mode, content)
        rpc(box, session, "file-replace", inside)

    replace(config)
    assert config.read_text() == "speed = 5\n" and config.stat().st_mode & 0o777 == 0o640
    reply = etree.fromstring(rpc(box, session, "file-read", "<path>{}</path>".format(log)).xml.encode())
    assert base64.b64decode(reply.findtext("{*}content")) == b"started\n"
    for path in (log, "/etc/passwd", tmp_path / ".." / "x"):
        with pytest.raises(RPCError):
            replace(path)
    with pytest.raises(RPCError) as refused:
        replace(config, mode="100")
    assert "from 101 to 777" in str(refused.value)


def test_what_runs_outlives_agent_and_keeper_and_what_is_wanted_outlives_all(own_box, tmp_path):
    box = own_box
    for name in ("low", "high"):
        needs = "<process>low</process>" if name == "high" else ""
        define(box, name, **sleeper(tmp_path, name), resources=needs)
    define(box, "idle", **sleeper(tmp_path, "idle"))
    with box.connect() as session:
        start(box, session, "high", "low")
        pids = {name: wait_state(session, name, "Running")["pid"] for name in ("low", "high")}
    for victim in ("agent", "keeper"):
        known = len(box.readies)
        os.kill(box.ready.pid if victim == "agent" else box.ready.keeper, signal.SIGKILL)
        if victim == "agent":
            box.wait_ready(known)
        with box.connect() as session:
            for name, pid in pids.items():
                assert wait_state(session, name, "Running")["pid"] == pid, "after the end of the " + victim
    box.stop()
    assert not any(boxes.alive(int(pid)) for pid in pids.values())
    box.start()
    with box.connect() as session:
        for name in pids:
            assert wait_state(session, name, "Running")["pid"] not in pids.values()
        assert state(session, "idle") == "Disabled"


def test_a_replaced_definition_waits_for_the_next_start(box, session, tmp_path):
    define(box, "upgraded", **sleeper(tmp_path, "upgraded"))
    start(box, session, "upgraded")
    pid = wait_state(session, "upgraded", "Running")["pid"]
    define(box, "upgraded", **sleeper(tmp_path, "upgraded"), version="2")
    boxes.wait_for("the change", lambda: states(session)["upgraded"]["definition-pending"] == "true")
    assert states(session)["upgraded"]["pid"] == pid
    rpc(box, session, "process-restart", names("upgraded"))
    wait_state(session, "upgraded", "ConfigurationMismatch")
    set_version(box, session, "upgraded", "2")
    assert wait_state(session, "upgraded", "Running")["pid"] != pid
    rpc(box, session, "process-stop", names("upgraded"))
    wait_state(session, "upgraded", "Disabled")


def test_a_configured_process_is_one_like_any_other(box, session, tmp_path):
    made = sleeper(tmp_path, "configured")

    def commands(which):
        program, *parameters = which
        return "<execute>{}</execute>{}".format(
            program,
            "".join("<parameter><index>{}</index><value>{}</value></parameter>".format(*it) for it in enumerate(parameters)),
        )

    entry = (
        "<process><name>configured</name><version>1</version><commands><configtest><execute>/bin/true</execute>"
        "</configtest><start>{}</start><stop>{}</stop></commands>{{}}</process>"
    ).format(commands(made["start"]), commands(made["stop"]))

    def config(inside):
        return '<config xmlns="{}"><processes xmlns="{}">{}</processes></config>'.format(boxes.NETCONF, PROCESS, inside)

    needs_itself = "<resource><index>1</index><process>configured</process></resource>"
    with pytest.raises(RPCError) as refused:
        box.configure(session, config(entry.format(needs_itself)))
    assert "needs itself" in str(refused.value)
    box.configure(session, config(entry.format("")))
    start(box, session, "configured")
    running = wait_state(session, "configured", "Running")
    assert running["source"] == "configuration"
    gone = '<process xmlns:nc="{}" nc:operation="delete"><name>configured</name></process>'.format(boxes.NETCONF)
    box.configure(session, config(gone))
    boxes.wait_for("it to be pending", lambda: states(session)["configured"]["definition-pending"] == "true")
    rpc(box, session, "process-stop", names("configured"))
    boxes.wait_for("it to be gone", lambda: "configured" not in states(session))


ALARMS = "urn:ietf:params:xml:ns:yang:ietf-alarms"


def alarms(session):
    """{(resource, type): whether it is over}"""
    data = session.get(filter=("subtree", '<alarms xmlns="{}"><alarm-list/></alarms>'.format(ALARMS))).data
    return {
        (alarm.findtext("{*}resource"), alarm.findtext("{*}alarm-type-id").rpartition(":")[2]): alarm.findtext("{*}is-cleared")
        for alarm in data.iterfind(".//{*}alarm-list/{*}alarm")
    }


def test_an_alarm_is_raised_and_cleared_and_purged(box, session, tmp_path):
    define(box, "untested", **sleeper(tmp_path, "untested"), configtest=("/bin/sh", "-c", "echo bad port >&2; exit 1"))
    start(box, session, "untested")
    wait_state(session, "untested", "ConfigurationTestFailed")
    key = ("process untested", "PROCESS_CONFIGTEST_FAILED")
    boxes.wait_for("the alarm", lambda: alarms(session).get(key) == "false")
    rpc(box, session, "process-stop", names("untested"))
    wait_state(session, "untested", "Disabled")
    boxes.wait_for("its end", lambda: alarms(session).get(key) == "true")
    purge = (
        '<action xmlns="urn:ietf:params:xml:ns:yang:1"><alarms xmlns="{}"><alarm-list><purge-alarms>'
        "<alarm-clearance-status>cleared</alarm-clearance-status></purge-alarms></alarm-list></alarms></action>"
    )
    box.call(session, purge.format(ALARMS))
    assert key not in alarms(session)
