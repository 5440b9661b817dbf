"""Alarms as RFC 8632 has them: raised, told, shelved, handled by operators, cleared, purged, and there after a restart."""

import os
import signal

import pytest
from lxml import etree
from ncclient.operations import RPCError

from device import boxes
from processes import define, names, rpc, sleeper, start, state, wait_state

ALARMS = "urn:ietf:params:xml:ns:yang:ietf-alarms"
# From something that happens to what is told of it, on a machine that does other things as well.
TOLD_SECONDS_MAX = 20


def alarms(session, side="alarm-list"):
    """{(resource, type): {leaf: text}} of what is listed, or shelved."""
    data = session.get(filter=("subtree", '<alarms xmlns="{}"><{}/></alarms>'.format(ALARMS, side))).data
    entry = "alarm" if side == "alarm-list" else "shelved-alarm"
    return {
        (alarm.findtext("{*}resource"), alarm.findtext("{*}alarm-type-id").rpartition(":")[2]): {
            boxes.local(leaf): leaf.text for leaf in alarm if len(leaf) == 0
        }
        for alarm in data.iterfind(".//{*}" + side + "/{*}" + entry)
    }


def action(box, session, inside):
    request = '<action xmlns="urn:ietf:params:xml:ns:yang:1"><alarms xmlns="{}">{}</alarms></action>'.format(ALARMS, inside)
    return etree.fromstring(box.call(session, request).xml.encode())


def control(inside):
    return '<config xmlns="{}"><alarms xmlns="{}"><control>{}</control></alarms></config>'.format(
        boxes.NETCONF, ALARMS, inside
    )


def untested(box, session, tmp_path, name):
    """A process whose configuration test fails; the key of the alarm about it."""
    define(box, name, **sleeper(tmp_path, name), configtest=("/bin/sh", "-c", "echo bad port >&2; exit 1"))
    start(box, session, name)
    wait_state(session, name, "ConfigurationTestFailed")
    return "process " + name, "PROCESS_CONFIGTEST_FAILED"


def stop(box, session, name):
    rpc(box, session, "process-stop", names(name))
    wait_state(session, name, "Disabled")


def raised(session, key, side="alarm-list"):
    return boxes.wait_for("the alarm", lambda: alarms(session, side).get(key, {}).get("is-cleared") == "false")


def cleared(session, key):
    return boxes.wait_for("its end", lambda: alarms(session).get(key, {}).get("is-cleared") == "true")


def next_of(session, name):
    while True:
        told = session.take_notification(timeout=TOLD_SECONDS_MAX)
        assert told is not None, "no " + name
        found = told.notification_ele.find(".//{*}" + name)
        if found is not None:
            return found


def test_an_alarm_is_raised_and_cleared_and_purged(box, session, tmp_path):
    key = untested(box, session, tmp_path, "untested")
    raised(session, key)
    alarm = alarms(session)[key]
    assert alarm["alarm-text"] == "Process 'untested' failed its configuration test. bad port"
    assert alarm["perceived-severity"] == "critical"
    stop(box, session, "untested")
    cleared(session, key)
    purge = "<alarm-list><purge-alarms><alarm-clearance-status>cleared</alarm-clearance-status></purge-alarms></alarm-list>"
    assert int(action(box, session, purge).findtext("{*}purged-alarms")) >= 1
    assert key not in alarms(session)


def test_what_an_operator_says_of_an_alarm_is_kept_and_told(box, session, tmp_path):
    key = untested(box, session, tmp_path, "handled")
    raised(session, key)
    which = "<resource>{}</resource><alarm-type-id xmlns:p='urn:procyon:alarms'>p:{}</alarm-type-id><alarm-type-qualifier/>"
    say = "<alarm-list><alarm>{}<set-operator-state><state>{}</state><text>{}</text></set-operator-state></alarm></alarm-list>"
    with box.connect() as listener:
        listener.create_subscription()
        action(box, session, say.format(which.format(*key), "ack", "I know"))
        told = next_of(listener, "operator-action")
    assert (told.findtext("{*}operator"), told.findtext("{*}state"), told.findtext("{*}text")) == (box.admin, "ack", "I know")
    with pytest.raises(RPCError) as refused:
        action(box, session, say.format(which.format("process nobody", key[1]), "ack", ""))
    assert "there is no such alarm" in str(refused.value)
    stop(box, session, "handled")
    cleared(session, key)
    action(box, session, say.format(which.format(*key), "closed", "done"))
    purge = (
        "<alarm-list><purge-alarms><alarm-clearance-status>any</alarm-clearance-status><operator-state-filter>"
        "<state>closed</state><user>{}</user></operator-state-filter></purge-alarms></alarm-list>"
    )
    assert action(box, session, purge.format("nobody")).findtext("{*}purged-alarms") == "0"
    assert action(box, session, purge.format(box.admin)).findtext("{*}purged-alarms") == "1"
    assert key not in alarms(session)


def test_what_lies_on_a_shelf_is_told_to_nobody(box, session, tmp_path):
    shelf = "<alarm-shelving><shelf><name>known</name><resource>process shelved.*</resource></shelf></alarm-shelving>"
    with pytest.raises(RPCError) as refused:
        box.configure(session, control(shelf.replace("shelved.*", "(")))
    assert "is no regular expression" in str(refused.value)
    box.configure(session, control(shelf))
    with box.connect() as listener:
        listener.create_subscription(filter=("subtree", '<alarm-notification xmlns="{}"/>'.format(ALARMS)))
        key = untested(box, session, tmp_path, "shelved")
        raised(session, key, "shelved-alarms")
        other = untested(box, session, tmp_path, "seen")
        raised(session, other)
        told = next_of(listener, "alarm-notification")
    assert told.findtext("{*}resource") == other[0], "what came before it lies on the shelf"
    assert key not in alarms(session)
    assert alarms(session, "shelved-alarms")[key]["shelf-name"] == "known"
    box.configure(session, control('<alarm-shelving xmlns:nc="{}" nc:operation="delete"/>'.format(boxes.NETCONF)))
    boxes.wait_for("it to come back", lambda: key in alarms(session))
    for name in ("shelved", "seen"):
        stop(box, session, name)
    compress = "<alarm-list><compress-alarms><resource>process (shelved|seen)</resource></compress-alarms></alarm-list>"
    cleared(session, key)
    cleared(session, other)
    assert action(box, session, compress).findtext("{*}compressed-alarms") == "2"


def test_the_inventory_tells_what_alarms_there_can_be_and_the_summary_how_many_there_are(session):
    data = session.get(filter=("subtree", '<alarms xmlns="{}"/>'.format(ALARMS))).data
    types = [leaf.text.rpartition(":")[2] for leaf in data.iterfind(".//{*}alarm-inventory/{*}alarm-type/{*}alarm-type-id")]
    assert {"PROCESS_FAILED", "SCRIPT_CHECKSUM_MISMATCH", "KEEPER_LOST", "CUSTODIAN_LOST"} <= set(types)
    counted = sum(int(leaf.text) for leaf in data.iterfind(".//{*}alarm-summary/{*}total"))
    assert counted == int(data.findtext(".//{*}number-of-alarms")) == len(alarms(session))


def test_alarms_outlive_the_agent_and_what_is_over_by_then_is_cleared(own_box, tmp_path):
    box = own_box
    with box.connect() as session:
        stays = untested(box, session, tmp_path, "stays")
        goes = untested(box, session, tmp_path, "goes")
        for key in (stays, goes):
            raised(session, key)
        times = {key: alarms(session)[key]["time-created"] for key in (stays, goes)}
    known = len(box.readies)
    custodian = boxes.parent(box.ready.pid)
    os.kill(custodian, signal.SIGSTOP)
    os.kill(box.ready.pid, signal.SIGKILL)
    os.unlink(os.path.join(box.root, "process.d", "goes-process.xml"))
    os.kill(custodian, signal.SIGCONT)
    box.wait_ready(known)
    with box.connect() as session:
        cleared(session, goes)
        assert alarms(session)[goes]["alarm-text"] == "Process 'goes' is not defined any more."
        raised(session, stays)
        assert {key: alarms(session)[key]["time-created"] for key in times} == times
        assert state(session, "goes") is None


def test_a_custodian_that_is_gone_is_an_alarm(own_box):
    box = own_box
    custodian = boxes.parent(box.ready.pid)
    with box.connect() as session:
        assert ("custodian", "CUSTODIAN_LOST") not in alarms(session)
        os.kill(custodian, signal.SIGKILL)
        raised(session, ("custodian", "CUSTODIAN_LOST"))
    box.stop()
    box.start()
    with box.connect() as session:
        cleared(session, ("custodian", "CUSTODIAN_LOST"))


def test_a_script_that_is_not_what_was_approved_is_an_alarm(box, session):
    path = os.path.join(box.repository, "differs.py")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("print('approved?')\n")
    box.configure(session, box.checksum_config("differs.py", "0" * 64))
    key = ("script process/differs.py", "SCRIPT_CHECKSUM_MISMATCH")
    raised(session, key)
    with open(path, "rb") as handle:
        box.configure(session, box.checksum_config("differs.py", boxes.sha256(handle.read())))
    cleared(session, key)
    assert alarms(session)[key]["alarm-text"] == "The script is the approved one."
    os.unlink(path)
