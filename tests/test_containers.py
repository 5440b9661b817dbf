"""Containers under YANG, from outside: a commit changes what differs and nothing else; operations, groups, rolling
restarts, what is told of each; a kill -9 of the agent.
"""

import getpass
import os
import re
import shutil
import signal
import tempfile

import pytest

from box import NETCONF, RPCError, alive, to_ele, wait_for
from far_files import FarFiles
from seats import Seat

MODULE = "urn:procyon:container"


@pytest.fixture(autouse=True)
def empty(box):
    yield
    with box.connect() as session:
        commit(session, '<containers xmlns="{}" nc:operation="remove" xmlns:nc="{}"/>'.format(MODULE, NETCONF))
        wait_for("end of every container", lambda: not states(session))


def commit(session, content):
    session.edit_config(target="candidate", config='<config xmlns="{}">{}</config>'.format(NETCONF, content))
    try:
        session.commit()
    except RPCError:
        session.discard_changes()
        raise


def configure(session, *entries):
    commit(session, '<containers xmlns="{}">{}</containers>'.format(MODULE, "".join(entries)))


def container(name, command=None, more=""):
    words = "" if command is None else "<command>{}</command>".format(command.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return "<container><name>{}</name>{}{}</container>".format(name, words, more)


def get(session, inner):
    reply = session.get(filter=("subtree", '<containers-state xmlns="{}">{}</containers-state>'.format(MODULE, inner)))
    return reply.data_ele


def text(element, leaf):
    found = element.find("{%s}%s" % (MODULE, leaf))
    return None if found is None else found.text


def states(session):
    data = get(session, "<container><name/><state/><pid/></container>")
    return {text(entry, "name"): entry for entry in data.iter("{%s}container" % MODULE)}


def details(session, name):
    data = get(session, "<container><name>{}</name></container>".format(name))
    return next(data.iter("{%s}container" % MODULE))


def until(session, name, state):
    def seen():
        entry = states(session).get(name)
        return [entry] if entry is not None and text(entry, "state") == state else None

    return wait_for("{} {}".format(state, name), seen)[0]


def operate(session, verb, *names, more=""):
    chosen = "".join("<name>{}</name>".format(name) for name in names)
    reply = session.dispatch(to_ele('<{0} xmlns="{1}">{2}{3}</{0}>'.format(verb, MODULE, chosen, more)))
    entries = to_ele(reply.xml).iter("{%s}container" % MODULE)
    return {text(entry, "name"): (text(entry, "outcome"), text(entry, "why")) for entry in entries}


def checked(session):
    data = get(session, "<last-check/>")
    entries = {text(e, "name"): text(e, "effect") for e in data.iter("{%s}container" % MODULE)}
    return entries, next(data.iter("{%s}untouched" % MODULE)).text


def log(box, name, stream="stdout"):
    path = os.path.join(box.root, "harddisk/mirror/script-mgmt/logs/container", name, stream + ".log")
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def test_a_commit_starts_changes_and_ends_what_it_names_and_leaves_the_rest_alone(session):
    configure(session, container("a", "sleep 300"), container("b", "sleep 300"))
    before = {name: text(until(session, name, "running"), "pid") for name in "ab"}
    content = '<containers xmlns="{}">{}</containers>'.format(
        MODULE, container("a", "sleep 301") + container("c", "sleep 300") + container("b", None, "<restart><holdoff>3</holdoff></restart>")
    )
    session.edit_config(target="candidate", config='<config xmlns="{}">{}</config>'.format(NETCONF, content))
    session.validate("candidate")
    assert checked(session) == ({"a": "restart", "b": "live", "c": "create"}, "0")
    session.commit()
    until(session, "c", "running")
    wait_for("new run of a", lambda: text(until(session, "a", "running"), "pid") != before["a"])
    assert text(states(session)["b"], "pid") == before["b"]


def test_what_is_told_of_a_container_is_true(session, box):
    command = "sh -c 'echo hello from $0; (setsid sleep 300 &) ; exec sleep 300' %n"
    configure(session, container("told@x-y", command, "<description>for %I</description><documentation>file:///x</documentation>"))
    until(session, "told@x-y", "running")
    wait_for("output", lambda: "hello" in log(box, "told@x-y"))
    entry = details(session, "told@x-y")
    assert (text(entry, "description"), text(entry, "documentation")) == ("for x/y", "file:///x")
    commands = [text(process, "command") for process in entry.iter("{%s}process" % MODULE)]
    assert commands.count("sleep 300") == 2, commands
    assert int(text(entry, "output-bytes")) == len("hello from told@x-y\n")
    pids = [int(text(process, "pid")) for process in entry.iter("{%s}process" % MODULE)]
    assert operate(session, "stop", "told@*") == {"told@x-y": ("done", None)}
    until(session, "told@x-y", "stopped")
    assert not [pid for pid in pids if alive(pid)]
    (exit,) = wait_for("record of the end", lambda: list(details(session, "told@x-y").iter("{%s}exit" % MODULE)))
    assert (text(exit, "signal"), text(exit, "asked-by"), text(exit, "last-lines")) == ("SIGTERM", "admin", "hello from told@x-y")


def test_a_stop_holds_over_a_change_and_a_start_takes_it_up(session):
    configure(session, container("still", "sleep 300"))
    until(session, "still", "running")
    operate(session, "stop", "still")
    until(session, "still", "stopped")
    configure(session, container("still", "sleep 302"))
    assert text(until(session, "still", "stopped"), "pid") is None
    assert operate(session, "start", "still") == {"still": ("done", None)}
    until(session, "still", "running")
    commands = [text(process, "command") for process in details(session, "still").iter("{%s}process" % MODULE)]
    assert commands == ["sleep 302"]


def test_instances_share_a_template_and_a_group(session, box):
    template = "<template><name>ioc</name><command>sh -c 'echo i am %i; exec sleep 300'</command><group>iocs</group></template>"
    configure(session, template, *[container("ioc@{}".format(n), None, "<template>ioc</template>") for n in range(3)])
    for n in range(3):
        until(session, "ioc@{}".format(n), "running")
        wait_for("output", lambda: log(box, "ioc@{}".format(n)) == "i am {}\n".format(n))
    outcomes = operate(session, "restart", more="<group>iocs</group><rolling><at-once>1</at-once><timeout>10</timeout><settle>0.1</settle></rolling>")
    assert outcomes == {"ioc@{}".format(n): ("done", None) for n in range(3)}
    assert all(log(box, "ioc@{}".format(n)).count("i am") == 2 for n in range(3))


def test_a_rolling_restart_ends_at_the_first_that_fails(session):
    # Where the account that runs containers may look.
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    mark = os.path.join(folder, "broken")
    command = "sh -c 'test -e {} && {{ echo no such port >&2; exit 3; }}; exec sleep 300'".format(mark)
    configure(session, container("r1", command), container("r2", command))
    for name in ("r1", "r2"):
        until(session, name, "running")
    before = text(states(session)["r2"], "pid")
    open(mark, "w").close()
    outcomes = operate(session, "restart", "r?", more="<rolling><timeout>10</timeout></rolling>")
    shutil.rmtree(folder)
    assert outcomes == {"r1": ("failed", "it has ended: no such port"), "r2": ("left-alone", None)}
    assert text(states(session)["r2"], "pid") == before


def test_a_start_waits_for_a_path_and_for_those_before_it(session, box):
    mount = os.path.join(box.root, "mount")
    first = container("first", "sleep 300", "<required-path><path>{}</path></required-path>".format(mount))
    configure(session, first, container("second", "sleep 300", "<after>first</after>"))
    until(session, "first", "waiting")
    entry = until(session, "second", "waiting")
    entry = details(session, "second")
    assert (text(entry, "waiting-for"), text(entry, "why")) == ("first", "starts when these are ready: first")
    os.mkdir(mount)
    until(session, "second", "running")
    os.rmdir(mount)


def test_a_kill_9_of_the_agent_touches_no_container_and_the_next_one_adopts_them(box):
    names = ["k{}".format(n) for n in range(5)]
    with box.connect() as own:
        configure(own, *[container(name, "sleep 300") for name in names])
        before = {name: text(until(own, name, "running"), "pid") for name in names}
    known = len(box.readies)
    os.kill(box.ready.pid, signal.SIGKILL)
    box.wait_ready(known)
    with box.connect() as again:
        after = {name: text(until(again, name, "running"), "pid") for name in names}
        assert after == before


@pytest.mark.parametrize(
    "entry, said",
    [
        (container("bad"), "a container has a command, something to connect to, or a template"),
        (container("bad", "sh 'open"), "the command of container bad: the quote ' is never closed"),
        (container("bad", "run %q"), "`%q` stands for nothing"),
        (container("bad", None, "<template>none</template>"), "none"),
        (container("bad", "run", "<after>bad</after>"), "wait for each other for ever: bad after bad"),
        (container("bad name", "run"), "bad name"),
        (container("bad", "run", "<stop><signal>NOPE</signal></stop>"), "NOPE"),
        (container("bad", "run", "<working-directory>relative</working-directory>"), "relative"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_with_the_reason(box, entry, said):
    with box.connect() as own:
        with pytest.raises(RPCError) as refused:
            configure(own, entry)
        assert said in str(refused.value.message) + str(refused.value.path), refused.value
        own.discard_changes()


def test_what_cannot_be_started_says_why_and_what_mends_it(session):
    configure(session, container("nothing", "no-such-program", "<restart><policy>never</policy></restart>"))
    until(session, "nothing", "failed")
    why = text(details(session, "nothing"), "why")
    assert re.match("`no-such-program` is not a program that can be run .*; its policy .*: start nothing tries again", why), why
    with pytest.raises(RPCError, match="no container has such a name"):
        operate(session, "stop", "nobody-*")


def test_the_host_says_what_it_can_do(session):
    host = next(get(session, "<host/>").iter("{%s}host" % MODULE))
    groups = text(host, "control-groups")
    assert groups in ("true", "false")
    assert (text(host, "why-not") is None) == (groups == "true")


@pytest.fixture
def far_files(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("A FILE SYSTEM THAT HANGS IS NOT TESTED: it takes root and /dev/fuse")
    try:
        files = FarFiles(str(folder), "program", "#!/bin/sh\nexec sleep 300\n")
    except OSError as error:
        pytest.skip("A FILE SYSTEM THAT HANGS IS NOT TESTED: {}".format(error))
    yield files
    files.close()


@pytest.mark.parametrize("is_script", [False, True], ids=["itself", "its interpreter"])
def test_a_program_that_cannot_be_read_keeps_nobody_else_waiting(session, box, far_files, tmp_path, is_script):
    program = far_files.program
    if is_script:
        # On this disk; only who runs it is far.
        tmp_path.chmod(0o755)
        script = tmp_path / "script"
        script.write_text("#!{}\n".format(program))
        script.chmod(0o755)
        program = str(script)
    near = container("near", "sh -c 'read word; echo got-$word; exec sleep 300'", "<terminal/>")
    configure(session, near, container("far", program, "<user>{}</user>".format(getpass.getuser())))
    pid = text(until(session, "near", "running"), "pid")
    assert far_files.asked.wait(20), "nobody has begun to read the program"
    seat = Seat([box.procyon, "console", "--root", box.root, "near"])
    try:
        seat.until("help]")
        seat.type("something\r")
        seat.until("got-something")
    finally:
        seat.close()
    operate(session, "restart", "near")
    wait_for("new run of near", lambda: text(until(session, "near", "running"), "pid") != pid)
    assert text(states(session)["far"], "state") == "starting"
    far_files.answer_all()
    until(session, "far", "running")
