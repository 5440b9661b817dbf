"""The history of commits from outside: listed, undone, confirmed or not; and two sessions that want different things."""

import glob
import json
import os
import signal
import socket
import subprocess
import time
import zlib
from xml.sax.saxutils import escape

import pytest
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

from device import boxes, one_box

HOSTNAME = boxes.CISCO + "um-hostname-cfg"
ROLLBACK = boxes.CISCO + "cfgmgr-rollback-act"
EXEC_OPER = boxes.CISCO + "config-cfgmgr-exec-oper"
HISTORY = "urn:procyon:history"
NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"

# Long enough that no test runs into it.
LATER = "300"
# What a commit that is not confirmed may take to be undone, beyond its timeout.
UNDONE_SECONDS_MAX = 10


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One agent for all tests that do not kill it."""
    with one_box(tmp_path_factory.mktemp("history")) as made:
        yield made


@pytest.fixture
def box(shared):
    with shared.connect() as session:
        set_host(session, "start")
    yield shared
    with shared.connect() as session:
        assert pending(session) is None


@pytest.fixture
def own_box(tmp_path):
    with one_box(tmp_path) as made:
        with made.connect() as session:
            set_host(session, "start")
        yield made


def host_config(name):
    return '<config xmlns="{}"><hostname xmlns="{}"><system-network-name>{}</system-network-name></hostname></config>'.format(
        boxes.NETCONF, HOSTNAME, name
    )


def edit_host(session, name):
    session.edit_config(target="candidate", config=host_config(name))


def set_host(session, name):
    edit_host(session, name)
    session.commit()


def host(session, datastore="running"):
    data = session.get_config(source=datastore, filter=("subtree", '<hostname xmlns="{}"/>'.format(HOSTNAME))).data
    found = data.find(".//{%s}system-network-name" % HOSTNAME)
    return None if found is None else found.text


def checksums(session):
    data = session.get_config(source="running", filter=("subtree", '<script xmlns="{}"/>'.format(boxes.SCRIPT_CFG))).data
    return sorted(found.text for found in data.iter("{%s}process-name" % boxes.SCRIPT_CFG))


def add_checksum(box, session, name):
    box.configure(session, box.checksum_config(name, boxes.sha256(name.encode())))


def config_commit(session):
    wanted = '<config-manager xmlns="{}"><global><config-commit/></global></config-manager>'.format(EXEC_OPER)
    return session.get(filter=("subtree", wanted)).data


def commits(session):
    """{leaf: text} of each commit, newest first."""
    return [
        {boxes.local(leaf): leaf.text for leaf in commit}
        for commit in config_commit(session).iter("{%s}commit" % EXEC_OPER)
        if len(commit)
    ]


def newest(session):
    return commits(session)[0]["commit-id"]


def pending(session):
    """{leaf: text} of the commit that waits, or None."""
    found = config_commit(session).find(".//{%s}confirmed-commit" % HISTORY)
    return None if found is None else {boxes.local(leaf): leaf.text for leaf in found}


def roll_back(session, how, **leaves):
    inside = "".join("<{0}>{1}</{0}>".format(name.replace("_", "-"), value) for name, value in leaves.items())
    operation = "roll-back-configuration" + how
    return session.dispatch(to_ele('<{0} xmlns="{1}">{2}</{0}>'.format(operation, ROLLBACK, inside)))


def changes(session, **which):
    """(path, operation, old value, value) of each change."""
    inside = "".join("<{0}>{1}</{0}>".format(name.replace("_", "-"), value) for name, value in which.items())
    reply = session.dispatch(to_ele('<get-commit-changes xmlns="{}">{}</get-commit-changes>'.format(HISTORY, inside)))
    tree = to_ele(reply.xml if hasattr(reply, "xml") else str(reply))
    return [
        tuple(change.findtext("{%s}%s" % (HISTORY, leaf)) for leaf in ("path", "operation", "old-value", "value"))
        for change in tree.iter("{%s}change" % HISTORY)
    ]


def noted_commit(session, label=None, comment=None):
    inside = "".join(
        '<{0} xmlns="{1}">{2}</{0}>'.format(name, HISTORY, escape(value))
        for name, value in (("label", label), ("comment", comment))
        if value is not None
    )
    return session.dispatch(to_ele('<commit xmlns="{}">{}</commit>'.format(boxes.NETCONF, inside)))


def refusal(operation, *arguments, **options):
    """The rpc-error that `operation` ends with; every one says what is wrong."""
    with pytest.raises(RPCError) as caught:
        operation(*arguments, **options)
    # Of several the first.
    error = getattr(caught.value, "errors", None) or [caught.value]
    assert error[0].tag and error[0].type and error[0].message, error
    return error[0]


def wait_host(session, name, seconds=UNDONE_SECONDS_MAX):
    boxes.wait_for("host name {}".format(name), lambda: host(session) == name, seconds)


def kill_agent(box):
    known = len(box.readies)
    os.kill(box.ready.pid, signal.SIGKILL)
    return box.wait_ready(known)


HOST_PATH = "/Cisco-IOS-XR-um-hostname-cfg:hostname/system-network-name"


# The history


def test_commits_are_listed_with_who_when_and_why(box, session):
    edit_host(session, "listed")
    noted_commit(session, label="before-upgrade", comment="two words & <more>")
    listed = commits(session)
    first = listed[-1]
    assert first["commit-id"] == "1000000001" and first["client-name"] == "Agent"
    assert [int(commit["commit-id"]) for commit in listed] == list(range(1000000000 + len(listed), 1000000000, -1))
    last = listed[0]
    assert last["commit"] == last["commit-id"]
    assert last["user-id"] == "admin" and last["client-name"] == "NETCONF"
    assert last["label"] == "before-upgrade" and last["comment"] == "two words & <more>"
    time.strptime(last["timestamp"], "%a %b %d %H:%M:%S %Y")

    edit_host(session, "again")
    error = refusal(noted_commit, session, label="before-upgrade")
    assert error.tag == "invalid-value" and last["commit-id"] in error.message
    for bad in ("two words", "1000000001", "x" * 31):
        assert refusal(noted_commit, session, label=bad).tag == "invalid-value"
    assert refusal(noted_commit, session, comment="x" * 1025).tag == "invalid-value"
    assert host(session) == "listed"
    session.discard_changes()


def test_the_changes_of_commits_are_told(box, session):
    before = newest(session)
    set_host(session, "one")
    one = newest(session)
    add_checksum(box, session, "changes.py")
    edit_host(session, "three")
    noted_commit(session, label="third")
    assert changes(session, commit_id=one) == [(HOST_PATH, "modify", "start", "one")]
    assert changes(session, commit_id="third") == [(HOST_PATH, "modify", "one", "three")]
    since = changes(session, since=one)
    assert (HOST_PATH, "modify", "start", "three") in since
    assert any("changes.py" in path and operation == "create" for path, operation, _, _ in since)
    assert changes(session, last=3) == since
    assert changes(session, **{"from": before, "to": one}) == [(HOST_PATH, "modify", "start", "one")]
    back = changes(session, **{"from": "third", "to": one})
    assert (HOST_PATH, "modify", "three", "one") in back
    assert any("changes.py" in path and operation == "delete" for path, operation, _, _ in back)
    assert changes(session, **{"from": one, "to": one}) == []
    entry = [path for path, operation, _, _ in back if operation == "delete"]
    assert entry and all(path.endswith("[process-name='changes.py']") or "changes.py" not in path for path in entry), entry
    assert refusal(changes, session, commit_id="1").tag == "invalid-value"
    roll_back(session, "-to-exclude", commit_id=before)


def test_commits_are_undone_by_count_and_id(box, session):
    base = newest(session)
    for name in ("one", "two", "three"):
        set_host(session, name)
    ids = [int(base) + step for step in (1, 2, 3)]
    roll_back(session, "-last", count=1)
    assert host(session) == "two"
    last = commits(session)[0]
    assert int(last["commit-id"]) == ids[2] + 1 and last["client-name"] == "Rollback" and last["user-id"] == "admin"
    # A rollback is a commit: it can be undone.
    roll_back(session, "-last", count=1, label="undo-undo", comment="on second thoughts")
    assert host(session) == "three"
    assert commits(session)[0]["label"] == "undo-undo" and commits(session)[0]["comment"] == "on second thoughts"
    roll_back(session, "-to-exclude", commit_id=ids[1])
    assert host(session) == "two"
    roll_back(session, "-to", commit_id=ids[1])
    assert host(session) == "one"
    count = len(commits(session))
    roll_back(session, "-to-exclude", commit_id=ids[0])
    assert len(commits(session)) == count, "what changes nothing is no commit"
    roll_back(session, "-to-exclude", commit_id=base)
    assert host(session) == "start"
    assert refusal(roll_back, session, "", commit_id="no-such").tag == "invalid-value"
    assert refusal(roll_back, session, "-to", commit_id=str(ids[0] + 1000)).tag == "invalid-value"
    if count < 100:
        assert refusal(roll_back, session, "-last", count=100).tag == "invalid-value"


def test_one_commit_is_undone_below_later_ones_unless_they_touched_the_same(box, session):
    base = newest(session)
    add_checksum(box, session, "single-one.py")
    one = newest(session)
    set_host(session, "later")
    two = newest(session)
    add_checksum(box, session, "single-two.py")
    roll_back(session, "", commit_id=one)
    assert "single-one.py" not in checksums(session) and "single-two.py" in checksums(session)
    assert host(session) == "later"
    set_host(session, "latest")
    count = len(commits(session))
    error = refusal(roll_back, session, "", commit_id=two)
    assert error.tag == "operation-failed" and "system-network-name" in error.path, error.path
    assert host(session) == "latest" and len(commits(session)) == count
    roll_back(session, "-to-exclude", commit_id=base)
    assert "single-two.py" not in checksums(session)


def test_a_commit_of_best_effort_does_what_it_can_and_names_the_rest(box, session):
    edit_host(session, "effort")
    session.edit_config(target="candidate", config=box.app_config("astray", "a/../../astray.py"))
    assert refusal(session.commit).path.endswith("executable") and host(session) == "start"
    best_effort = to_ele('<commit xmlns="{}"><best-effort xmlns="{}"/></commit>'.format(boxes.NETCONF, HISTORY))
    with pytest.raises(RPCError) as caught:
        session.dispatch(best_effort)
    errors = caught.value.errlist
    assert [error.app_tag for error in errors][-1] == "partly-committed"
    assert commits(session)[0]["commit-id"] in errors[-1].message
    assert errors[0].path.endswith("executable")
    assert host(session) == "effort"
    # What was refused is still there to be mended.
    assert "astray" in session.get_config(source="candidate").xml
    assert "astray" not in session.get_config(source="running").xml
    session.discard_changes()


def test_who_is_at_work_on_the_configuration_is_told(box, session):
    def at_work():
        asked = '<config-manager xmlns="{}"><global><config-session/></global></config-manager>'.format(EXEC_OPER)
        sessions = session.get(filter=("subtree", asked)).data.iter("{%s}session-id" % EXEC_OPER)
        return [found.text for found in sessions]

    assert at_work() == []
    with box.connect() as other, other.locked("running"):
        assert at_work() == [other.session_id]
    assert at_work() == []


def test_the_tables_of_the_history_hold_the_commits(box, session):
    asked = '<config-manager xmlns="{}"><global><history-tables/></global></config-manager>'.format(EXEC_OPER)
    tables = session.get(filter=("subtree", asked)).data
    ids = [found.text for found in tables.iter("{%s}commit-id" % EXEC_OPER)]
    assert ids == 2 * [commit["commit-id"] for commit in commits(session)]


def test_a_rollback_of_best_effort_names_what_it_leaves_and_a_forced_one_leaves_nothing(box, session):
    base = newest(session)
    add_checksum(box, session, "partly.py")
    edit_host(session, "second")
    session.edit_config(target="candidate", config=box.app_config("partly", "partly.py"))
    session.commit()
    second = newest(session)
    set_host(session, "third")
    assert refusal(roll_back, session, "", commit_id=second).tag == "operation-failed"
    with pytest.raises(RPCError) as caught:
        roll_back(session, "", commit_id=second, best_effort="true")
    errors = caught.value.errlist
    assert "system-network-name" in errors[0].path and errors[-1].app_tag == "partly-committed"
    assert commits(session)[0]["commit-id"] in errors[-1].message and commits(session)[0]["client-name"] == "Rollback"
    app = "<process-script-name>partly<"
    assert host(session) == "third" and app not in session.get_config(source="running").xml
    roll_back(session, "-last", count=1)
    assert host(session) == "third" and app in session.get_config(source="running").xml
    roll_back(session, "", commit_id=second, force="true")
    assert host(session) == "start" and "partly.py" in checksums(session)
    assert app not in session.get_config(source="running").xml
    roll_back(session, "-to-exclude", commit_id=base)


def test_what_a_rollback_does_not_do_is_said(box, session):
    assert refusal(roll_back, session, "-last", count=1, force="true", best_effort="true").tag == "operation-failed"
    set_host(session, "gone")
    roll_back(session, "-last", count=1, force="false", best_effort="false")
    assert host(session) == "start"
    assert refusal(roll_back, session, "-last", count=0).tag == "invalid-value"
    with box.connect() as other, other.locked("running"):
        for flag in ("none", "force", "best-effort"):
            flags = {} if flag == "none" else {flag: "true"}
            assert refusal(roll_back, session, "-last", count=1, **flags).tag == "in-use"


def test_a_rollback_may_change_only_what_its_caller_may_change(box, session, tmp_path):
    key = str(tmp_path / "bob")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
    with open(key + ".pub", encoding="utf-8") as handle:
        algorithm, data = handle.read().split()[:2]
    user = (
        '<system xmlns="{}"><authentication><user><name>bob</name><authorized-key><name>k</name><algorithm>{}</algorithm>'
        "<key-data>{}</key-data></authorized-key></user></authentication></system>"
    ).format(SYSTEM, algorithm, data)
    rules = (
        '<nacm xmlns="{}"><groups><group><name>bobs</name><user-name>bob</user-name></group></groups><rule-list>'
        "<name>bobs</name><group>bobs</group><rule><name>undo</name><module-name>Cisco-IOS-XR-cfgmgr-rollback-act</module-name>"
        "<access-operations>exec</access-operations><action>permit</action></rule><rule><name>look</name>"
        "<module-name>procyon-history</module-name><access-operations>exec</access-operations><action>permit</action></rule>"
        "<rule><name>blind</name><path xmlns:s='{}'>/s:script</path><access-operations>read</access-operations>"
        "<action>deny</action></rule></rule-list></nacm>"
    ).format(NACM, boxes.SCRIPT_CFG)
    base = newest(session)
    box.configure(session, '<config xmlns="{}">{}{}</config>'.format(boxes.NETCONF, user, rules))
    set_host(session, "not-bobs")
    add_checksum(box, session, "hidden.py")
    count = len(commits(session))
    with box.connect(username="bob", key_filename=key) as bob:
        error = refusal(roll_back, bob, "-last", count=2)
        assert error.tag == "access-denied", error
        assert changes(bob, last=2) == [(HOST_PATH, "modify", "start", "not-bobs")]
    assert any("hidden.py" in path for path, _, _, _ in changes(session, last=2))
    assert host(session) == "not-bobs" and len(commits(session)) == count
    roll_back(session, "-to-exclude", commit_id=base)


def commit_many(box, names):
    """One commit for each host name, over the local socket and without waiting in between: a client's own pauses, a
    tenth of a second each, would be most of this test."""
    rpc = '<rpc xmlns="{}" message-id="1">{{}}</rpc>]]>]]>'.format(boxes.NETCONF)
    edit = "<edit-config><target><candidate/></target>{}</edit-config>"
    hello = "<hello xmlns='{}'><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>]]>]]>"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(boxes.REPLY_SECONDS_MAX)
        client.connect(box.ready.socket)
        client.sendall(hello.format(boxes.NETCONF).encode())
        said = b""
        for name in names:
            client.sendall((rpc.format(edit.format(host_config(name))) + rpc.format("<commit/>")).encode())
            wanted = said.count(b"]]>]]>") + (2 if said else 3)
            while said.count(b"]]>]]>") < wanted:
                said += client.recv(65536)
    assert said.count(b"<ok/>") == 2 * len(names) and b"rpc-error" not in said, said[-2000:]


def test_old_commits_go_when_there_are_too_many(tmp_path):
    with one_box(tmp_path, settings="[limits]\nhistory_commits = 5\n") as box:
        with box.connect() as session:
            # Two snapshots stand between the oldest commits and recovery.
            commit_many(box, ["n{}".format(index) for index in range(320)])
            kept = commits(session)
            assert 5 <= len(kept) <= 210, len(kept)
            assert refusal(roll_back, session, "-to", commit_id="1000000001").tag == "invalid-value"
            files = os.listdir(os.path.join(box.root, "config", "commits"))
            assert sorted(files) == sorted(commit["commit-id"] for commit in kept)
            roll_back(session, "-last", count=3)
            assert host(session) == "n316"
            listed = [commit["commit-id"] for commit in commits(session)]
        kill_agent(box)
        with box.connect() as session:
            assert host(session) == "n316"
            assert [commit["commit-id"] for commit in commits(session)] == listed


# Confirmed commits


def commit_confirmed(session, name, **options):
    edit_host(session, name)
    return session.commit(confirmed=True, **options)


def test_a_commit_that_nobody_confirms_is_undone(box, session):
    assert ":confirmed-commit:1.1" in "".join(session.server_capabilities)
    commit_confirmed(session, "tried", timeout=LATER)
    assert host(session) == "tried" and pending(session)["persistent"] == "false"
    session.commit(confirmed=True, timeout="1")
    wait_host(session, "start")
    assert pending(session) is None
    last = commits(session)[0]
    assert last["client-name"] == "Rollback" and "not confirmed" in last["comment"]
    assert host(session, "candidate") == "start"


def test_a_confirmed_commit_stays_with_what_the_confirmation_adds(box, session):
    commit_confirmed(session, "tried", timeout=LATER)
    session.commit()
    commit_confirmed(session, "more", timeout="4")
    edit_host(session, "most")
    session.commit()
    assert pending(session) is None
    # Past the deadline that it would have had.
    set_time = time.monotonic() + 4.5
    boxes.wait_for("deadline", lambda: time.monotonic() > set_time)
    assert host(session) == "most"


def test_a_follow_up_begins_the_time_anew_and_all_is_undone(box, session):
    commit_confirmed(session, "one", timeout=LATER)
    assert 290 <= int(pending(session)["seconds-left"]) <= 300
    commit_confirmed(session, "two", timeout="1")
    wait_host(session, "start")


def test_a_confirmed_commit_is_cancelled(box, session):
    commit_confirmed(session, "tried", timeout=LATER)
    session.cancel_commit()
    assert host(session) == "start" and pending(session) is None
    assert refusal(session.cancel_commit).tag == "operation-failed"
    assert refusal(session.cancel_commit, persist_id="none").tag == "invalid-value"


def test_it_is_undone_when_its_session_ends_or_is_killed(box, session):
    with box.connect() as other:
        commit_confirmed(other, "tried", timeout=LATER)
        assert host(session) == "tried"
    wait_host(session, "start")
    victim = box.connect()
    commit_confirmed(victim, "tried", timeout=LATER)
    session.kill_session(victim.session_id)
    # RFC 6241 section 7.9: it is undone when the killer hears of it.
    assert host(session) == "start"


def test_others_wait_while_a_commit_waits(box, session):
    commit_confirmed(session, "tried", timeout=LATER)
    with box.connect() as other:
        other.edit_config(target="candidate", config=box.checksum_config("waited.py", boxes.sha256(b"waited")))
        for error in (refusal(other.commit), refusal(other.commit, confirmed=True), refusal(other.cancel_commit)):
            assert error.tag == "in-use" and "session {}".format(session.session_id) in error.message, error.message
        assert refusal(roll_back, other, "-last", count=1).tag == "in-use"
        error = refusal(other.lock, "running")
        assert error.tag == "lock-denied" and session.session_id in error.info, error.info
        with session.locked("running"):
            pass
        session.cancel_commit()
        other.commit()
    assert host(session) == "start" and "waited.py" in checksums(session)


def test_it_is_undone_even_when_running_is_locked(box, session):
    with session.locked("running"):
        commit_confirmed(session, "tried", timeout="1")
        wait_host(session, "start")


def test_a_persistent_one_is_confirmed_or_cancelled_by_whoever_knows_its_token(box, session):
    with box.connect() as other:
        commit_confirmed(other, "kept", timeout=LATER, persist="token")
    assert host(session) == "kept"
    waiting = pending(session)
    assert waiting["persistent"] == "true" and "session" not in waiting and waiting["user"] == "admin"
    assert refusal(session.commit).tag == "in-use"
    assert refusal(session.commit, persist_id="guess").tag == "invalid-value"
    assert refusal(session.cancel_commit, persist_id="guess").tag == "invalid-value"
    assert refusal(session.lock, "running").tag == "lock-denied"
    session.commit(persist_id="token")
    assert pending(session) is None and host(session) == "kept"
    commit_confirmed(session, "tried", timeout=LATER, persist="token")
    assert refusal(session.cancel_commit).tag == "in-use"
    with box.connect() as other:
        other.cancel_commit(persist_id="token")
    assert host(session) == "kept"


def test_a_refused_confirmed_commit_leaves_nothing_that_waits(box, session):
    session.edit_config(target="candidate", config=box.app_config("half", "x.py", restart="always", retries=3))
    refusal(session.commit, confirmed=True, timeout="1")
    assert pending(session) is None
    session.discard_changes()
    assert not os.path.exists(os.path.join(box.root, "state", "confirmed-commit"))


def test_kill_9_undoes_what_was_not_confirmed_before_anything_is_served(own_box):
    session = own_box.connect()
    commit_confirmed(session, "tried", timeout=LATER)
    kill_agent(own_box)
    with own_box.connect() as session:
        assert host(session) == "start"
        assert pending(session) is None
        assert commits(session)[0]["client-name"] == "Rollback"
        count = len(commits(session))
    kill_agent(own_box)
    with own_box.connect() as session:
        assert host(session) == "start" and len(commits(session)) == count


def test_kill_9_leaves_a_persistent_one_its_deadline(own_box):
    session = own_box.connect()
    commit_confirmed(session, "tried", timeout="8", persist="token")
    kill_agent(own_box)
    with own_box.connect() as session:
        assert host(session) == "tried"
        assert int(pending(session)["seconds-left"]) <= 8
        edit_host(session, "more")
        session.commit(confirmed=True, timeout="3", persist_id="token")
    kill_agent(own_box)
    with own_box.connect() as session:
        wait_host(session, "start")
        commit_confirmed(session, "kept", timeout=LATER, persist="token")
    kill_agent(own_box)
    with own_box.connect() as session:
        session.commit(persist_id="token")
    kill_agent(own_box)
    with own_box.connect() as session:
        assert host(session) == "kept" and pending(session) is None


def note_path(box):
    return os.path.join(box.root, "state", "confirmed-commit")


def rewrite_note(box, text=None, **changed):
    if text is None:
        with open(note_path(box), encoding="utf-8") as handle:
            text = handle.read().split("\n", 1)[1]
    text = json.dumps(dict(json.loads(text), **changed))
    with open(note_path(box), "w", encoding="utf-8") as handle:
        handle.write("{:08x}\n{}".format(zlib.crc32(text.encode()), text))
    return text


def test_a_reboot_undoes_a_persistent_one_too(own_box):
    with own_box.connect() as session:
        commit_confirmed(session, "tried", timeout=LATER, persist="token")
    own_box.stop()
    rewrite_note(own_box, boot_id="another boot")
    own_box.start()
    with own_box.connect() as session:
        assert host(session) == "start" and pending(session) is None
    assert not os.path.exists(note_path(own_box))


def test_a_crash_between_the_note_and_the_commit_or_between_undoing_and_the_note_changes_nothing(own_box):
    with own_box.connect() as session:
        commit_confirmed(session, "tried", timeout=LATER, persist="token")
        text = rewrite_note(own_box)
        session.cancel_commit(persist_id="token")
        listed = [commit["commit-id"] for commit in commits(session)]
    for rollback_to in (int(listed[2]), int(listed[0])):
        own_box.stop()
        rewrite_note(own_box, text, rollback_to=rollback_to, boot_id="another boot")
        own_box.start()
        with own_box.connect() as session:
            assert host(session) == "start" and pending(session) is None
            assert [commit["commit-id"] for commit in commits(session)] == listed
        assert not os.path.exists(note_path(own_box))


def test_what_cannot_be_undone_in_time_is_undone_when_it_can_be(own_box):
    folder = os.path.join(own_box.root, "config", "commits")
    with own_box.connect() as session:
        commit_confirmed(session, "tried", timeout="1")
        os.rename(folder, folder + ".away")
        boxes.wait_for("failure", lambda: any("cannot be undone now" in line for line in own_box.said))
        assert host(session) == "tried" and pending(session) is not None
        os.rename(folder + ".away", folder)
        wait_host(session, "start")
        assert pending(session) is None and not os.path.exists(note_path(own_box))


def test_a_note_that_cannot_be_read_is_set_aside_and_said(own_box):
    with own_box.connect() as session:
        commit_confirmed(session, "tried", timeout=LATER, persist="token")
    own_box.stop()
    with open(note_path(own_box), "r+b") as handle:
        handle.write(b"00000000")
    own_box.start()
    with own_box.connect() as session:
        assert host(session) == "tried" and pending(session) is None
        set_host(session, "on")
    assert glob.glob(note_path(own_box) + ".damaged")
    assert any("confirmed-commit" in line for line in own_box.said)


def commit_path(box, commit):
    return os.path.join(box.root, "config", "commits", str(commit))


def test_of_a_damaged_history_the_newest_good_state_is_used_and_the_rest_is_set_aside(own_box):
    with own_box.connect() as session:
        set_host(session, "good")
        set_host(session, "bad")
        bad = newest(session)
        set_host(session, "behind")
        behind = newest(session)
    own_box.stop()
    with open(commit_path(own_box, bad), "r+b") as handle:
        # Somewhere in its diff; what its sum says is another thing then.
        handle.seek(-120, os.SEEK_END)
        handle.write(b"!")
    own_box.start()
    aside = [commit_path(own_box, bad) + ".damaged", commit_path(own_box, behind) + ".behind-damaged"]
    assert all(os.path.exists(path) for path in aside), os.listdir(os.path.dirname(aside[0]))
    assert any(commit_path(own_box, bad) in line and "damaged" in line for line in own_box.said)
    with own_box.connect() as session:
        assert host(session) == "good"
        set_host(session, "on")
        assert newest(session) == bad, "its number is free again"
    kill_agent(own_box)
    with own_box.connect() as session:
        assert host(session) == "on"
    assert all(os.path.exists(path) for path in aside)


def test_a_disk_that_takes_nothing_refuses_commits_and_the_agent_goes_on(own_box):
    folder = os.path.join(own_box.root, "config", "commits")
    with own_box.connect() as session:
        count = len(commits(session))
        os.rename(folder, folder + ".away")
        edit_host(session, "refused")
        error = refusal(session.commit)
        assert error.tag == "operation-failed" and "durable" in error.message, error
        assert host(session) == "start" and len(commits(session)) == count
        assert "refused" in session.get_config(source="candidate").xml, "no edit is lost"
        os.rename(folder + ".away", folder)
        session.commit()
        assert host(session) == "refused" and len(commits(session)) == count + 1


# Two sessions


RIVAL = b"""
import os
import sys
import time

from iosxr.netconf.netconf_lib import NetconfClient

HOST = '<hostname xmlns="%s"><system-network-name>%s</system-network-name></hostname>'
MODULE = "http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg"


def say(*words):
    print(*[" ".join(str(word).split()) for word in words], flush=True)


nc = NetconfClient()
nc.connect()
nc.rpc.edit_config(config=HOST % (MODULE, "of-the-script"))
say("edited", nc.reply)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
nc.rpc.commit()
say("committed", nc.reply)
nc.rpc.get_config(datastore="candidate", config_filter='<hostname xmlns="%s"/>' % MODULE)
say("candidate", nc.reply)
nc.rpc.discard()
nc.rpc.edit_config(config=HOST % (MODULE, "after-all"))
nc.rpc.commit()
say("again", nc.reply)
"""


def test_of_two_sessions_that_want_different_things_the_second_is_told_where_and_loses_nothing(own_box, tmp_path):
    tmp_path.chmod(0o755)
    signal_file = str(tmp_path / "go")
    with own_box.connect() as session:
        path = os.path.join(own_box.root, "harddisk", "rival.py")
        with open(path, "wb") as handle:
            handle.write(RIVAL)
        own_box.call(session, own_box.add_request("harddisk:", "rival.py"))
        app = own_box.app_config("rival", "rival.py", signal_file, restart="never").replace(
            "</process-script></process-scripts>", "<username>admin</username></process-script></process-scripts>"
        )
        own_box.configure(session, own_box.checksum_config("rival.py", boxes.sha256(RIVAL)), app)
        own_box.act(session, "activate", "rival")
        own_box.wait_log("rival.py", "rival", "edited")
        # The script's edits are its own: nobody else sees or commits them.
        assert host(session, "candidate") == "start"
        set_host(session, "of-the-client")
        with open(signal_file, "w", encoding="utf-8"):
            pass
        said = own_box.wait_log("rival.py", "rival", "\nagain ")
        lines = {line.split(" ", 1)[0]: line for line in said.splitlines()}
        assert "operation-failed" in lines["committed"] and "system-network-name" in lines["committed"], lines
        assert "of-the-script" in lines["candidate"], lines
        assert "<ok/>" in lines["again"], lines
        assert host(session) == "after-all"
        assert commits(session)[0]["client-name"] == "Script"


def test_a_shared_candidate_takes_in_what_others_commit(box, session):
    base = newest(session)
    session.edit_config(target="candidate", config=box.checksum_config("mine.py", boxes.sha256(b"mine")))
    # A rollback moves running under the candidate.
    with box.connect() as other:
        roll_back(other, "-last", count=1)
        moved = host(other)
    assert moved != "start" and host(session, "candidate") == moved
    session.commit()
    assert host(session) == moved and "mine.py" in checksums(session)

    edit_host(session, "mine")
    with box.connect() as other:
        roll_back(other, "-to-exclude", commit_id=base)
    assert host(session) == "start"
    error = refusal(session.commit)
    assert error.tag == "operation-failed" and "system-network-name" in error.path
    assert host(session, "candidate") == "mine", "nothing is lost"
    session.discard_changes()
