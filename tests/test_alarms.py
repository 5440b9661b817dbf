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


def purge(box, session, where, inside):
    request = "<{0}><purge-{1}>{2}</purge-{1}></{0}>".format(where, "shelved-alarms" if "shelved" in where else "alarms", inside)
    return int(action(box, session, request).findtext("{*}purged-alarms"))


def test_other_programs_raise_and_clear_alarms_of_their_own(box, session):
    def report(verb, name, more=""):
        inside = "<resource>rack 3</resource><name>{}</name>{}".format(name, more)
        return box.call(session, '<{0}-alarm xmlns="urn:procyon:alarms">{1}</{0}-alarm>'.format(verb, inside))

    def types():
        data = session.get(filter=("subtree", '<alarms xmlns="{}"><alarm-inventory/></alarms>'.format(ALARMS))).data
        return [leaf.text for leaf in data.iterfind(".//{*}alarm-type/{*}alarm-type-qualifier") if leaf.text]

    with box.connect() as listener:
        listener.create_subscription()
        report("raise", "FAN", "<severity>major</severity><text>fan 2 stands still</text>")
        assert next_of(listener, "alarm-inventory-changed") is not None
        told = next_of(listener, "alarm-notification")
    assert (told.findtext("{*}resource"), told.findtext("{*}alarm-type-qualifier")) == ("rack 3", "FAN")
    key = "rack 3", "REPORTED"
    assert (alarms(session)[key]["perceived-severity"], types()) == ("major", ["FAN"])
    with pytest.raises(RPCError) as refused:
        report("clear", "DOOR")
    assert "no alarm `DOOR` of `rack 3` is raised" in str(refused.value)
    report("clear", "FAN")
    assert alarms(session)[key]["is-cleared"] == "true"
    assert purge(box, session, "alarm-list", "<alarm-clearance-status>cleared</alarm-clearance-status>") >= 1
    assert types() == []


def test_shelved_alarms_are_compressed_and_purged_apart(box, session, tmp_path):
    box.configure(session, control("<alarm-shelving><shelf><name>all</name><resource>process aside.*</resource></shelf></alarm-shelving>"))
    keys = [untested(box, session, tmp_path, name) for name in ("aside", "aside-2")]
    for key in keys:
        raised(session, key, "shelved-alarms")
    stop(box, session, "aside")
    boxes.wait_for("its end", lambda: alarms(session, "shelved-alarms")[keys[0]]["is-cleared"] == "true")
    compress = "<shelved-alarms><compress-shelved-alarms><resource>process aside</resource></compress-shelved-alarms></shelved-alarms>"
    assert action(box, session, compress).findtext("{*}compressed-alarms") == "1"
    cleared_ones = "<alarm-clearance-status>cleared</alarm-clearance-status>"
    severe = "<alarm-clearance-status>any</alarm-clearance-status><severity><{0}>critical</{0}></severity>"
    aged = "<alarm-clearance-status>any</alarm-clearance-status><older-than><hours>1</hours></older-than>"
    assert purge(box, session, "shelved-alarms", severe.format("below")) == 0
    assert purge(box, session, "shelved-alarms", aged) == 0
    assert purge(box, session, "shelved-alarms", cleared_ones) == 1
    assert keys[0] not in alarms(session, "shelved-alarms") and keys[1] in alarms(session, "shelved-alarms")
    assert purge(box, session, "shelved-alarms", severe.format("is")) == 1
    box.configure(session, control('<alarm-shelving xmlns:nc="{}" nc:operation="delete"/>'.format(boxes.NETCONF)))
    stop(box, session, "aside-2")


def test_an_alarm_has_the_severity_that_a_profile_gives_it(box, session, tmp_path):
    key = untested(box, session, tmp_path, "profiled")
    raised(session, key)
    profile = (
        '<config xmlns="{}"><alarms xmlns="{}"><alarm-profile xmlns:p="urn:procyon:alarms" xmlns:nc="{}"{{}}>'
        "<alarm-type-id>p:PROCESS_CONFIGTEST_FAILED</alarm-type-id><alarm-type-qualifier-match>.*</alarm-type-qualifier-match>"
        "<resource>{{}}</resource>{{}}</alarm-profile></alarms></config>"
    ).format(boxes.NETCONF, ALARMS, boxes.NETCONF)
    levels = "<description>known</description><alarm-severity-assignment-profile>{}</alarm-severity-assignment-profile>"
    minor = levels.format("<severity-level>minor</severity-level>")
    with pytest.raises(RPCError) as refused:
        both = levels.format("<severity-level>minor</severity-level><severity-level>major</severity-level>")
        box.configure(session, profile.format("", "process profiled", both))
    assert "one severity" in str(refused.value)
    with box.connect() as listener:
        listener.create_subscription(filter=("subtree", '<alarm-notification xmlns="{}"/>'.format(ALARMS)))
        box.configure(session, profile.format("", "process profiled", minor))
        told = next_of(listener, "alarm-notification")
    assert (told.findtext("{*}resource"), told.findtext("{*}perceived-severity")) == (key[0], "minor")
    assert alarms(session)[key]["perceived-severity"] == "minor"
    box.configure(session, profile.format(' nc:operation="delete"', "process profiled", ""))
    assert alarms(session)[key]["perceived-severity"] == "critical"
    stop(box, session, "profiled")
    cleared(session, key)


def test_only_what_is_asked_for_is_told(box, session, tmp_path):
    wanted = "<notify-status-changes>severity-level</notify-status-changes><notify-severity-level>{}</notify-severity-level>"
    box.configure(session, control(wanted.format("major")))
    with box.connect() as listener:
        listener.create_subscription(filter=("subtree", '<alarm-notification xmlns="{}"/>'.format(ALARMS)))
        # A mismatch is a warning only.
        define(box, "mild", **sleeper(tmp_path, "mild"))
        boxes.wait_for("the definition", lambda: state(session, "mild"))
        rpc(box, session, "process-start", names("mild"))
        raised(session, ("process mild", "PROCESS_CONFIG_MISMATCH"))
        key = untested(box, session, tmp_path, "severe")
        assert next_of(listener, "alarm-notification").findtext("{*}resource") == key[0]
    nothing = '<notify-{0} xmlns:nc="{1}" nc:operation="delete"/>'
    box.configure(session, control(nothing.format("severity-level", boxes.NETCONF) + nothing.format("status-changes", boxes.NETCONF)))
    for name in ("mild", "severe"):
        stop(box, session, name)


def test_the_inventory_tells_what_alarms_there_can_be_and_the_summary_how_many_there_are(session):
    data = session.get(filter=("subtree", '<alarms xmlns="{}"/>'.format(ALARMS))).data
    types = [leaf.text.rpartition(":")[2] for leaf in data.iterfind(".//{*}alarm-inventory/{*}alarm-type/{*}alarm-type-id")]
    assert {"PROCESS_FAILED", "SCRIPT_CHECKSUM_MISMATCH", "KEEPER_LOST", "CUSTODIAN_LOST", "CONSERVER_LISTENER_CLOSED"} <= set(types)
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
