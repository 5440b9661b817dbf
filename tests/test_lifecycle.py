"""Process definitions from outside: real programs that start when they may, and say why when they may not."""

import base64
import glob
import os
import pwd
import signal
import socket
import sqlite3
import subprocess

import pytest
from lxml import etree
from ncclient.operations import RPCError

from device import boxes
from processes import (
    DEFINITION,
    PROCESS,
    WAKE_SECONDS_MAX,
    config,
    configured,
    define,
    names,
    path_of,
    rpc,
    set_version,
    sleeper,
    start,
    state,
    states,
    wait_state,
    why,
)

# A database is asked every 5 s while somebody waits for it.
DATABASE_SECONDS_MAX = 30


def test_a_process_waits_for_its_version_and_says_what_to_do(box, session, tmp_path):
    define(box, "versions", **sleeper(tmp_path, "versions"))
    boxes.wait_for("the definition", lambda: state(session, "versions") == "Disabled")
    assert "process start versions" in why(box, session, "versions")[1]
    rpc(box, session, "process-start", names("versions"))
    wait_state(session, "versions", "ConfigurationMismatch")
    text, remedy = why(box, session, "versions")
    assert "its software is of version `1`, its configuration of none" in text
    assert remedy == "process set-version versions 1"
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


def test_a_database_of_postgresql_is_waited_for(box, session, tmp_path):
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not programs:
        pytest.skip("POSTGRESQL IS NOT TESTED: apt-get install postgresql")
    # It refuses to be run by root.
    user = "nobody" if os.geteuid() == 0 else None
    folder = tmp_path / "pg"
    folder.mkdir()
    if user:
        os.chown(str(folder), pwd.getpwnam(user).pw_uid, -1)
    tmp_path.chmod(0o755)
    server, data = os.path.join(programs[-1], "postgres"), folder / "data"
    initdb = [os.path.join(programs[-1], "initdb"), "-D", str(data), "-U", "reports", "-A", "trust", "--no-sync"]
    as_user = ["setpriv", "--reuid", user, "--clear-groups"] if user else []
    subprocess.run(as_user + initdb, check=True, capture_output=True, cwd=str(folder))
    define(
        box, "postgres", start=(server, "-D", str(data), "-k", str(folder), "-c", "listen_addresses=", "-F"),
        stop=(os.path.join(programs[-1], "pg_ctl"), "-D", str(data), "-m", "fast", "stop"), user=user,
    )
    database = "<sqldb><server>{}</server><dbname>postgres</dbname><username>reports</username></sqldb>".format(folder)
    define(box, "report", **sleeper(tmp_path, "report"), resources=database)
    start(box, session, "report")
    wait_state(session, "report", "ResourceRequired")
    assert "sqldb 'postgres' (it does not answer" in why(box, session, "report")[0]
    start(box, session, "postgres")
    wait_state(session, "postgres", "Running")
    wait_state(session, "report", "Running", DATABASE_SECONDS_MAX)
    for name in ("report", "postgres"):
        rpc(box, session, "process-stop", names(name))
        wait_state(session, name, "Disabled")


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


def test_everything_is_stopped_by_its_command_in_reverse_order(own_box, tmp_path):
    box = own_box
    order = tmp_path / "order"
    for name, needs in (("low", ""), ("middle", "low"), ("high", "middle")):
        made = sleeper(tmp_path, name)
        stop = made["stop"][:2] + ("echo {} >> {}; {}".format(name, order, made["stop"][2]),)
        define(box, name, made["start"], stop=stop, resources="<process>{}</process>".format(needs) if needs else "")
    with box.connect() as session:
        start(box, session, "high", "middle", "low")
        for name in ("low", "middle", "high"):
            wait_state(session, name, "Running")
    # The agent is gone by then: the keeper holds the commands.
    box.stop()
    assert order.read_text().split() == ["high", "middle", "low"]
    box.start()
    with box.connect() as session:
        for name in ("low", "middle", "high"):
            wait_state(session, name, "Running")


def test_a_process_comes_back_while_the_agent_is_away(own_box, tmp_path):
    box = own_box
    define(box, "guarded", **sleeper(tmp_path, "guarded"))
    with box.connect() as session:
        start(box, session, "guarded")
        pid = int(wait_state(session, "guarded", "Running")["pid"])
    custodian, known = boxes.parent(box.ready.pid), len(box.readies)
    os.kill(custodian, signal.SIGSTOP)
    os.kill(box.ready.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    own = tmp_path / "guarded.own"
    again = boxes.wait_for("another one", lambda: int(own.read_text() or pid) != pid and int(own.read_text() or pid))
    os.kill(custodian, signal.SIGCONT)
    box.wait_ready(known)
    with box.connect() as session:
        assert wait_state(session, "guarded", "Running")["pid"] == str(again), "and is taken over as it runs"


def test_a_replaced_definition_waits_for_the_next_start(box, session, tmp_path):
    define(box, "upgraded", **sleeper(tmp_path, "upgraded"))
    start(box, session, "upgraded")
    pid = wait_state(session, "upgraded", "Running")["pid"]
    define(box, "upgraded", **sleeper(tmp_path, "upgraded"), version="2")
    boxes.wait_for("the change", lambda: states(session)["upgraded"]["definition-pending"] == "true")
    assert (states(session)["upgraded"]["pid"], states(session)["upgraded"]["pending-version"]) == (pid, "2")
    rpc(box, session, "process-restart", names("upgraded"))
    wait_state(session, "upgraded", "ConfigurationMismatch")
    set_version(box, session, "upgraded", "2")
    assert wait_state(session, "upgraded", "Running")["pid"] != pid
    rpc(box, session, "process-stop", names("upgraded"))
    wait_state(session, "upgraded", "Disabled")


def test_a_configured_process_is_one_like_any_other(box, session, tmp_path):
    made = sleeper(tmp_path, "configured")
    needs_itself = "<resource><index>1</index><process>configured</process></resource>"
    with pytest.raises(RPCError) as refused:
        box.configure(session, config(configured("configured", **made, inside=needs_itself)))
    assert "needs itself" in str(refused.value)
    box.configure(session, config(configured("configured", **made)))
    start(box, session, "configured")
    running = wait_state(session, "configured", "Running")
    assert running["source"] == "configuration"
    box.configure(session, config('<process nc:operation="delete"><name>configured</name></process>'))
    boxes.wait_for("it to be pending", lambda: states(session)["configured"]["definition-pending"] == "true")
    rpc(box, session, "process-stop", names("configured"))
    boxes.wait_for("it to be gone", lambda: "configured" not in states(session))
