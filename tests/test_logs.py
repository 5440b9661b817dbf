"""Logs, from outside: nothing is lost when files are put aside and the keeper is killed in between; what was printed is
found by name, account and time, by command and by rpc, with the agent or without it; who may read what.
"""

import contextlib
import glob
import gzip
import os
import pwd
import re
import signal
import subprocess

import pytest

from box import NETCONF, RPCError, to_ele, wait_for
from test_containers import commit, configure, container, until

MODULE = "urn:procyon:log"
COUNT = "i=0; while [ $i -lt {0} ]; do i=$((i+1)); echo line $i {1}; done; sleep 1000"


def small(more=""):
    return "<log><max-size>65536</max-size><keep>255</keep>{}</log>".format(more)


def logs(box, *words, check=True):
    return box.command("logs", "--root", box.root, *words, check=check)


def show(session, inner):
    reply = to_ele(session.dispatch(to_ele('<show-log xmlns="{}">{}</show-log>'.format(MODULE, inner))).xml)
    texts = [entry.findtext("{%s}text" % MODULE) for entry in reply.iter("{%s}lines" % MODULE)]
    return "".join(texts), reply.findtext("{%s}cursor" % MODULE)


@pytest.fixture(autouse=True)
def empty(request):
    yield
    if "box" in request.fixturenames:
        with request.getfixturevalue("box").connect() as session:
            commit(session, '<containers xmlns="urn:procyon:container" nc:operation="remove" xmlns:nc="{}"/>'.format(NETCONF))


def test_no_line_is_lost_or_doubled_while_files_are_put_aside_and_keepers_are_killed(own_box):
    lines = 60000
    with own_box.connect() as session:
        configure(session, container("flood", "/bin/sh -c '{}'".format(COUNT.format(lines, "x" * 40)), small()))
    folder = os.path.join(own_box.root, "harddisk/mirror/script-mgmt/logs/container/flood")
    said = 'line {} '.format(lines)
    killed = []

    def children(pid):
        with contextlib.suppress(OSError), open("/proc/{0}/task/{0}/children".format(pid), encoding="ascii") as listed:
            return listed.read().split()
        return []

    def keeper():
        for pid in [grandchild for child in children(own_box.agent.pid) for grandchild in children(child)]:
            with contextlib.suppress(OSError), open("/proc/{}/cmdline".format(pid), "rb") as words:
                if b"--keeper" in words.read().split(b"\0"):
                    return int(pid)
        return None

    def is_done():
        aside = len(glob.glob(folder + "/stdout.log-*"))
        pid = keeper()
        # Another one waits ever longer before it comes.
        if len(killed) < 3 and aside > (killed[-1] if killed else 0) and pid is not None:
            os.kill(pid, signal.SIGKILL)
            killed.append(aside)
        with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, "stdout.log"), encoding="utf-8") as handle:
            return said in handle.read()

    wait_for("the last line", is_done, 60)
    told = logs(own_box, "flood", "-o", "cat", "--output").stdout.splitlines()
    assert [line.split()[1] for line in told] == [str(number) for number in range(1, lines + 1)]
    assert len(killed) == 3
    # The rest waits until nothing else is to be done.
    packed = wait_for("packed files", lambda: glob.glob(folder + "/stdout.log-*.gz"))
    with gzip.open(packed[0], "rt") as handle:
        assert handle.readline().startswith("line ")


def test_lines_are_found_by_name_time_and_account(box, session):
    entries = [container("one", "/bin/sh -c 'id -u; echo first; echo second >&2; sleep 1000'", "<user>daemon</user>"), container("two", "/bin/sh -c 'echo third; sleep 1000'")]
    configure(session, *entries)
    for name in ("one", "two"):
        until(session, name, "running")
    wait_for("all lines", lambda: "third" in logs(box, "*").stdout and "second" in logs(box, "*").stdout)
    told = logs(box, "one").stdout
    assert re.search(r"^\w{3} \d\d \d\d:\d\d:\d\d container:one: first$", told, re.M), told
    assert re.search(r"^\w{3} \d\d \d\d:\d\d:\d\d container:one!: second$", told, re.M), told
    assert "third" not in told
    assert "third" in logs(box, "t?o", "--since", "-1h").stdout
    assert "third" in logs(box, "two", "--since", "today", "--until", "now").stdout
    assert logs(box, "two", "--until", "yesterday").stdout == ""
    assert logs(box, "one", "-n", "1", "--output", "-o", "cat").stdout == "first\n"
    daemon = pwd.getpwnam("daemon").pw_uid if os.geteuid() == 0 else os.geteuid()
    assert "first" in logs(box, "one", "two", "--uid", str(daemon)).stdout
    assert logs(box, "one", "two", "--uid", "54321").stdout == ""


@pytest.mark.parametrize(
    "words, said",
    [
        (["nobody-here"], "nobody called `nobody-here` has a log: `procyon logs` without a name shows everybody's"),
        (["--since", "soon"], "`soon` is no time: give now, today, yesterday"),
        (["--since", "today", "--until", "yesterday"], "since lies behind until"),
        (["--uid", "nobody-here"], "there is no account `nobody-here` on this host"),
        (["-n", "many"], "invalid value 'many'"),
    ],
)
def test_what_is_wrong_is_said(box, words, said):
    done = logs(box, *words, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_log_is_read_while_nobody_serves_it(own_box):
    with own_box.connect() as session:
        configure(session, container("left", "/bin/sh -c 'echo still here; sleep 1000'"))
        wait_for("the line", lambda: "still here" in logs(own_box, "left").stdout)
    own_box.stop()
    assert logs(own_box, "left", "-o", "cat", "--output").stdout == "still here\n"


def test_what_comes_is_followed_over_files(box, session, tmp_path):
    gate = tmp_path / "gate"
    tmp_path.chmod(0o777)
    os.mkfifo(gate)
    gate.chmod(0o666)
    words = "/bin/sh -c 'echo begun; read x < {}; {}'".format(gate, COUNT.format(3000, "y" * 60))
    configure(session, container("later", words, small()))
    wait_for("the first line", lambda: "begun" in logs(box, "later").stdout)
    command = [box.procyon, "logs", "--root", box.root, "later", "-f", "-o", "cat", "--output"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout.readline() == "begun\n"
        gate.write_text("go\n")
        numbers = [int(follower.stdout.readline().split()[1]) for _ in range(3000)]
        follower.kill()
    assert numbers == list(range(1, 3001))


def test_the_rpc_tells_the_same_and_goes_on_where_it_was(box, session, tmp_path):
    gate = tmp_path / "gate"
    tmp_path.chmod(0o777)
    os.mkfifo(gate)
    gate.chmod(0o666)
    configure(session, container("asked", "/bin/sh -c 'echo one; echo two; read x < {}; echo three; sleep 1000'".format(gate)))
    until(session, "asked", "running")

    def begun():
        told, cursor = show(session, "<name>asked</name><stream>output</stream>")
        return (told, cursor) if "two" in told else None

    told, cursor = wait_for("two lines", begun)
    assert told == "one\ntwo\n"
    assert show(session, "<name>asked</name><last>1</last><stream>output</stream>")[0] == "two\n"
    assert show(session, "<name>asked</name><until>yesterday</until>")[0] == ""
    more = "<name>asked</name><stream>output</stream><cursor>{}</cursor>"
    assert show(session, more.format(cursor))[0] == ""
    with open(gate, "w", encoding="utf-8") as writer:
        writer.write("go\n")
    told, cursor = show(session, more.format(cursor) + "<wait>20</wait>")
    assert told == "three\n"
    assert show(session, more.format(cursor))[0] == ""
    for wrong, said in [("<name>nobody-here</name>", "no log has such a name"), ("<since>soon</since>", "is no time"), ("<cursor>x</cursor>", "is no cursor")]:
        with pytest.raises(RPCError, match=said):
            show(session, wrong)
    names = session.get(filter=("subtree", '<logs xmlns="{}"><log><name>container:asked</name></log></logs>'.format(MODULE)))
    assert "stdout.log" in names.data_xml


def test_who_may_not_read_an_entry_may_not_read_its_log(own_box):
    key = own_box.key + ".guest"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with open(key + ".pub", encoding="utf-8") as handle:
        kind, data = handle.read().split()[:2]
    rules = """
      <system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><name>guest</name>
        <authorized-key><name>k</name><algorithm>{}</algorithm><key-data>{}</key-data></authorized-key></user></authentication></system>
      <nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
        <groups><group><name>guests</name><user-name>guest</user-name></group></groups>
        <rule-list><name>a-guests</name><group>guests</group>
          <rule><name>no-secret</name><path xmlns:l="{}">/l:logs/l:log[l:name='container:secret']</path><access-operations>read</access-operations><action>deny</action></rule>
          <rule><name>ask</name><module-name>procyon-log</module-name><access-operations>exec read</access-operations><action>permit</action></rule>
        </rule-list></nacm>""".format(kind, data, MODULE)
    with own_box.connect() as session:
        configure(session, container("secret", "/bin/sh -c 'echo hidden; sleep 1000'"), container("open", "/bin/sh -c 'echo shown; sleep 1000'"))
        commit(session, rules)
        for name in ("secret", "open"):
            until(session, name, "running")
        wait_for("both lines", lambda: all(word in show(session, "")[0] for word in ("hidden", "shown")))
    with own_box.connect(username="guest", key_filename=key) as guest:
        told, cursor = show(guest, "")
        assert "shown" in told and "hidden" not in told
        assert "secret" not in cursor
        with pytest.raises(RPCError, match="no log has such a name"):
            show(guest, "<name>secret</name>")


def test_a_log_has_its_own_place_and_stamps(box, session, tmp_path):
    tmp_path.chmod(0o755)
    place = tmp_path / "place"
    more = "<log><file>{}/%i/out.log</file><stamp>[%F %T] </stamp></log>".format(place)
    configure(session, container("ioc@e3", "/bin/sh -c 'echo one; printf \"two \"; echo three; sleep 1000'", more))
    until(session, "ioc@e3", "running")
    path = place / "e3" / "out.log"
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] "
    wait_for("the lines", lambda: path.exists() and re.fullmatch("{0}one\n{0}two three\n".format(stamp), path.read_text()))
    assert "two three" in logs(box, "ioc@e3").stdout
    with pytest.raises(RPCError, match="the stamp of container x means nothing"):
        configure(session, container("x", "/bin/true", "<log><stamp>%J</stamp></log>"))
