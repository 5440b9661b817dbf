"""What process definitions meet that nobody wishes for: full disks, broken files, mounts that come late, tests without end."""

import os
import signal
import subprocess

import pytest
from ncclient.operations import RPCError

from device import boxes, filled, one_box
from processes import (
    DEFINITION,
    config,
    configured,
    define,
    definition,
    kill_agent,
    names,
    rpc,
    set_version,
    sleeper,
    start,
    state,
    states,
    wait_state,
    why,
)
from test_hostile import NACM, group_config, user_config


def refused(operation, *arguments):
    with pytest.raises(RPCError) as caught:
        operation(*arguments)
    return str(caught.value)


def bad_test(tmp_path, name, words="port 70000 is none"):
    """A configuration test that fails, and leaves a trace that it was run."""
    trace = tmp_path / (name + ".tested")
    return trace, ("/bin/sh", "-c", "touch {}; echo {} >&2; exit 1".format(trace, words))


def test_what_would_be_committed_is_tested_when_somebody_asks_whether_it_is_valid(box, session, tmp_path):
    trace, configtest = bad_test(tmp_path, "proposed")
    made = config(configured("proposed", **sleeper(tmp_path, "proposed"), configtest=configtest))
    box.edit(session, made)
    said = refused(session.validate)
    assert "the configuration test of process `proposed` fails: port 70000 is none" in said
    trace.unlink()
    session.commit()
    wait_state(session, "proposed", "Disabled")
    assert not trace.exists(), "a commit does not run it"
    assert session.validate().ok, "what would not change is not tested"
    box.edit(session, config("<settings><configtest-at-validate>false</configtest-at-validate></settings>"))
    box.edit(session, config("<process><name>proposed</name><version>2</version></process>"))
    assert session.validate().ok and not trace.exists()
    session.discard_changes()
    box.configure(session, config('<process nc:operation="delete"><name>proposed</name></process>'))


def test_nobody_runs_a_command_by_asking_whether_it_is_valid_who_could_not_run_it_otherwise(box, session, tmp_path):
    trace, configtest = bad_test(tmp_path, "smuggled")
    allowed = (
        '<config xmlns="{}"><nacm xmlns="{}"><rule-list><name>askers</name><group>askers</group><rule><name>validate</name>'
        "<rpc-name>validate</rpc-name><module-name>*</module-name><access-operations>exec</access-operations>"
        "<action>permit</action></rule></rule-list></nacm></config>"
    ).format(boxes.NETCONF, NACM)
    box.configure(session, user_config("asker", "$0$asker"), group_config("askers", "asker"), allowed)
    inside = config(configured("smuggled", **sleeper(tmp_path, "smuggled"), configtest=configtest))
    request = "<validate xmlns='{}'><source>{}</source></validate>".format(boxes.NETCONF, inside)
    with box.connect(username="asker", password="asker", key_filename=None) as asker:
        assert box.call(asker, request).ok
    assert not trace.exists()
    assert "the configuration test of process `smuggled` fails" in refused(box.call, session, request)
    assert trace.exists(), "whoever may, does"


def test_an_order_that_cannot_be_recorded_says_so_and_is_recorded_when_there_is_room(small_disk, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("p")
    elsewhere.chmod(0o755)
    with one_box(small_disk) as box:
        with box.connect() as session:
            define(box, "wanted", **sleeper(elsewhere, "wanted"))
            boxes.wait_for("the definition", lambda: state(session, "wanted") == "Disabled")
            with filled(small_disk):
                said = refused(rpc, box, session, "process-start", names("wanted"))
                assert "it is done, but could not be recorded" in said
                assert state(session, "wanted") == "ConfigurationMismatch"
            rpc(box, session, "process-start", names("wanted"))
        kill_agent(box)
        with box.connect() as session:
            assert states(session)["wanted"]["enabled"] == "true"


def test_a_process_outlives_the_agent_though_its_definition_is_broken_by_then(own_box, tmp_path):
    box, made = own_box, sleeper(tmp_path, "kept")
    define(box, "kept", **made)
    with box.connect() as session:
        start(box, session, "kept")
        pid = wait_state(session, "kept", "Running")["pid"]
    path = os.path.join(box.root, "process.d", "kept-process.xml")

    def spoil():
        with open(path, "w", encoding="utf-8") as handle:
            handle.write("<sipXecs-process")

    kill_agent(box, spoil)
    with box.connect() as session:
        assert "mend kept-process.xml" in refused(rpc, box, session, "process-start", names("kept"))
        assert boxes.alive(int(pid))
        define(box, "kept", **made)
        assert wait_state(session, "kept", "Running")["pid"] == pid
    kill_agent(box, lambda: os.unlink(path))
    boxes.wait_for("its end", lambda: not boxes.alive(int(pid)))


def test_a_test_and_a_stop_without_end_come_to_one(own_box, tmp_path):
    box, deaf = own_box, "trap '' TERM; echo $$ > {}; while :; do sleep 1; done"
    limits = "<settings><configtest-limit>4</configtest-limit><stop-limit>1</stop-limit><kill-limit>1</kill-limit></settings>"
    with box.connect() as session:
        box.configure(session, config(limits))
        define(box, "endless", **sleeper(tmp_path, "endless"), configtest=("/bin/sh", "-c", deaf.format(tmp_path / "test")))
        start(box, session, "endless")
        failed = wait_state(session, "endless", "ConfigurationTestFailed")
        assert "its configuration test failed" in failed["why"]
        assert not boxes.alive(int((tmp_path / "test").read_text()))
        define(box, "deaf", start=("/bin/sh", "-c", deaf.format(tmp_path / "deaf")), stop=("/bin/sleep", "1000"))
        start(box, session, "deaf")
        pid = int(wait_state(session, "deaf", "Running")["pid"])
        rpc(box, session, "process-stop", names("deaf", "endless"))
        wait_state(session, "deaf", "Disabled")
        assert not boxes.alive(pid)


def test_what_comes_with_a_mount_is_noticed(box, session, tmp_path):
    place, source = tmp_path / "mounted", tmp_path / "source"
    for folder in (place, source):
        folder.mkdir()
    (source / "file").write_text("here")
    define(box, "mounted", **sleeper(tmp_path, "mounted"), resources="<file>{}</file>".format(place / "file"))
    start(box, session, "mounted")
    wait_state(session, "mounted", "ResourceRequired")
    mounted = subprocess.run(["mount", "--bind", str(source), str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("MOUNTS ARE NOT TESTED: {}".format(mounted.stderr.decode()))
    try:
        wait_state(session, "mounted", "Running")
        rpc(box, session, "process-restart", names("mounted"))
        wait_state(session, "mounted", "Running")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

    def is_missed():
        rpc(box, session, "process-restart", names("mounted"))
        ends = {"Running", "ResourceRequired"}
        return boxes.wait_for("an end of that", lambda: ends & {state(session, "mounted")}) == {"ResourceRequired"}

    boxes.wait_for("the file to be missed", is_missed)
    assert "there is no such file" in why(box, session, "mounted")[0]
    rpc(box, session, "process-stop", names("mounted"))


def test_a_strict_process_waits_for_the_agent(own_box, tmp_path):
    box = own_box
    with box.connect() as session:
        box.configure(session, config("<settings><strict>true</strict></settings>"))
        for name in ("strict", "guarded"):
            define(box, name, **sleeper(tmp_path, name))
        start(box, session, "strict")
        wait_state(session, "strict", "Running")
        box.configure(session, config("<settings><strict>false</strict></settings>"))
        start(box, session, "guarded")
        pids = {name: int(wait_state(session, name, "Running")["pid"]) for name in ("strict", "guarded")}
    own = {name: tmp_path / (name + ".own") for name in pids}

    def lose_both():
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        # Both ended together: when the one is back the other has had its time too.
        boxes.wait_for("the other one", lambda: int(own["guarded"].read_text() or 0) not in (0, pids["guarded"]), 60)

    kill_agent(box, lose_both)
    assert int(own["strict"].read_text()) == pids["strict"]
    with box.connect() as session:
        boxes.wait_for("its next start", lambda: states(session)["strict"].get("pid") not in (None, str(pids["strict"])), 60)


def test_definitions_that_mean_harm_are_named_and_harm_nobody(box, session, tmp_path):
    folder = os.path.join(box.root, "process.d")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + definition("bomb", ("/bin/true",))
    texts = {
        "bomb": bomb,
        "huge": definition("huge", ("/bin/true",), configtest=("/bin/echo",) + ("x" * 4000,) * 300),
        "deep": '<sipXecs-process xmlns="{}">'.format(DEFINITION) + "<a>" * 10000,
        "dots": definition("dots", ("/bin/../bin/true",)),
        "relative": definition("relative", ("true",)),
        "twice": definition("honest", ("/bin/true",)),
    }
    define(box, "honest", **sleeper(tmp_path, "honest"))
    boxes.wait_for("the honest one", lambda: state(session, "honest") == "Disabled")
    for name, text in texts.items():
        with open(os.path.join(folder, name + "-process.xml"), "w", encoding="utf-8") as handle:
            handle.write(text)
    os.symlink("/dev/zero", os.path.join(folder, "endless-process.xml"))
    os.mkfifo(os.path.join(folder, "fifo-process.xml"))
    os.symlink("loop-process.xml", os.path.join(folder, "loop-process.xml"))

    def reasons():
        data = session.get(filter=("subtree", '<processes-state xmlns="urn:procyon:process"/>')).data
        found = data.iterfind(".//{*}definition-problem")
        return {it.findtext("{*}source")[:-12]: it.findtext("{*}reason") for it in found}

    try:
        boxes.wait_for("all of them", lambda: len(reasons()) == len(texts) + 3)
        said = reasons()
        assert "document type" in said["bomb"] and "more than" in said["huge"] and "nested" in said["deep"]
        assert "full path" in said["dots"] and "full path" in said["relative"] and "honest-process.xml" in said["twice"]
        assert said["endless"] == said["fifo"] == "it cannot be read: not a regular file"
        shown = box.command("shell", "--root", box.root, "-c", "show process").stdout
        assert "bomb-process.xml line 1: " + said["bomb"] in shown
        set_version(box, session, "honest")
        rpc(box, session, "process-start", names("honest"))
        wait_state(session, "honest", "Running")
        rpc(box, session, "process-stop", names("honest"))
        wait_state(session, "honest", "Disabled")
    finally:
        for name in (*texts, "endless", "fifo", "loop"):
            os.unlink(os.path.join(folder, name + "-process.xml"))
