"""Notifications from outside: who subscribes hears what happens, why, and what happened before."""

import datetime
import os
import re
import signal
import socket

import pytest
from lxml import etree
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

from device import App
from test_access import bob  # noqa: F401

NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"
MANAGE = "urn:ietf:params:xml:ns:netmod:notification"
BASE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
APPS = "urn:procyon:appmgr"
OURS = "urn:procyon:notifications"

# The longest that an event is on its way.
EVENT_SECONDS_MAX = 20

FAILS = b"import sys\nsys.stderr.write('the disk is on fire \\x1b[31mred\\x1b[0m\\n')\nsys.exit(3)\n"
SLEEPS = b"import signal\nwhile True:\n    signal.pause()\n"


class Event:
    def __init__(self, xml):
        time, self.node = etree.fromstring(xml.encode())
        self.time = datetime.datetime.fromisoformat(time.text.replace("Z", "+00:00"))
        self.kind = etree.QName(self.node).localname
        self.namespace = etree.QName(self.node).namespace

    def __getitem__(self, leaf):
        return self.node.findtext(".//{*}" + leaf)

    def all(self, leaf):
        return [found.text for found in self.node.iter("{*}" + leaf)]

    def __repr__(self):
        return etree.tostring(self.node).decode()


def next_event(session, **wanted):
    """The next event whose kind and leaves are as wanted; others are passed over."""
    wanted = {leaf.replace("_", "-"): value for leaf, value in wanted.items()}
    kind = wanted.pop("kind", None)
    seen = []
    while True:
        taken = session.take_notification(timeout=EVENT_SECONDS_MAX)
        assert taken is not None, "no {} {}; but {}".format(kind, wanted, seen)
        event = Event(taken.notification_xml)
        seen.append(event)
        if kind in (None, event.kind) and all(event[leaf] == value for leaf, value in wanted.items()):
            return event


def events_until(session, kind):
    """Everything up to the first of that kind, which is the last of the list."""
    events = [next_event(session)]
    while events[-1].kind != kind:
        events.append(next_event(session))
    return events


def subtree(text):
    return ("subtree", text)


def group(user):
    return (
        '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><nacm xmlns="{}"><groups><group><name>heard</name>'
        "<user-name>{}</user-name></group></groups></nacm></config>".format(NACM, user)
    )


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def as_text(time):
    return time.isoformat().replace("+00:00", "Z")


@pytest.fixture
def session(box):
    with box.connect() as opened:
        yield opened


@pytest.fixture
def listener(box):
    with box.connect() as opened:
        yield opened


def test_the_stream_and_the_capabilities_are_told(session):
    for capability in ("notification:1.0", "interleave:1.0"):
        assert "urn:ietf:params:netconf:capability:" + capability in session.server_capabilities
    data = session.get(filter=subtree('<netconf xmlns="{}"><streams/></netconf>'.format(MANAGE))).data
    stream = data.find(".//{*}stream")
    leaves = {etree.QName(leaf).localname: leaf.text for leaf in stream}
    assert (leaves["name"], leaves["replaySupport"]) == ("NETCONF", "true")
    assert leaves["replayLogCreationTime"] <= as_text(now())


def test_an_app_tells_where_it_stands_and_why(box, session, listener, name):
    listener.create_subscription()
    app = App(box, session, name, FAILS, restart="never")
    added = next_event(listener, kind="script-status-change", script_name=name, last_action="NEW")
    assert added.namespace == APPS and added["script-type"] == "process"
    next_event(listener, kind="script-status-change", script_name=name, status="Ready")
    app.act("activate")
    started = next_event(listener, kind="app-state-change", name=app.name, status="started")
    assert int(started["pid"]) > 0
    failed = next_event(listener, kind="app-state-change", name=app.name, status="exit-failure")
    assert failed["last-exit-code"] == "3"
    assert failed["previous-status"]
    assert "appmgr process-script start name " + app.name in failed["why"]
    assert "the disk is on fire" in failed["last-error-line"]
    assert abs((now() - failed.time).total_seconds()) < 60
    app.act("deactivate")


def test_a_script_that_was_changed_is_told_with_both_checksums(box, session, listener, name):
    app = App(box, session, name, SLEEPS)
    listener.create_subscription()
    with open(os.path.join(box.repository, app.script), "ab") as handle:
        handle.write(b"# touched\n")
    event = next_event(listener, kind="script-status-change", script_name=name, status="Checksum Mismatch")
    assert len(event["expected-checksum"]) == len(event["found-checksum"]) == 64
    assert "checksum SHA256 " + event["found-checksum"] in event["description"]


def test_a_commit_is_told_with_who_and_what(box, session, listener):
    listener.create_subscription()
    box.configure(session, group("who-and-what"))
    event = next_event(listener, kind="netconf-config-change", session_id=session.session_id)
    assert (event["username"], event["source-host"], event["datastore"]) == ("admin", "127.0.0.1", "running")
    targets = event.all("target")
    assert any(target.endswith("user-name[.='who-and-what']") or "heard" in target for target in targets), targets
    assert event["operation"] == "create"


def test_a_confirmed_commit_is_told_from_its_start_to_its_end(box, session, listener):
    listener.create_subscription(filter=subtree('<netconf-confirmed-commit xmlns="{}"/>'.format(BASE)))

    def told():
        event = next_event(listener, kind="netconf-confirmed-commit")
        return event["confirm-event"], event["timeout"], event["username"]

    box.edit(session, group("confirmed"))
    session.commit(confirmed=True, timeout="600")
    session.commit(confirmed=True, timeout="300")
    session.commit()
    assert [told() for _ in range(3)] == [
        ("start", "600", "admin"),
        ("extend", "300", "admin"),
        ("complete", None, "admin"),
    ]
    box.edit(session, group("cancelled"))
    session.commit(confirmed=True, timeout="600")
    session.cancel_commit()
    assert [told() for _ in range(2)] == [("start", "600", "admin"), ("cancel", None, "admin")]
    box.edit(session, group("too late"))
    session.commit(confirmed=True, timeout="1")
    assert [told() for _ in range(2)] == [("start", "1", "admin"), ("timeout", None, None)]


def test_sessions_are_told_when_they_come_and_go(box, listener):
    listener.create_subscription()
    with box.connect() as other:
        id = other.session_id
        started = next_event(listener, kind="netconf-session-start", session_id=id)
        assert started["username"] == "admin"
    ended = next_event(listener, kind="netconf-session-end", session_id=id)
    assert ended["termination-reason"] == "closed"
    victim = box.connect()
    listener.kill_session(victim.session_id)
    ended = next_event(listener, kind="netconf-session-end", session_id=victim.session_id)
    assert (ended["termination-reason"], ended["killed-by"]) == ("killed", listener.session_id)


@pytest.mark.parametrize("kind", ["subtree", "xpath"])
def test_a_filter_lets_through_what_it_selects(box, session, listener, name, kind):
    if kind == "subtree":
        chosen = subtree('<app-state-change xmlns="{}"><status>started</status></app-state-change>'.format(APPS))
    else:
        chosen = ("xpath", ({"a": APPS}, "/a:app-state-change[a:status='started']"))
    listener.create_subscription(filter=chosen)
    app = App(box, session, name, SLEEPS)
    app.act("activate")
    event = next_event(listener)
    assert (event.kind, event["name"], event["status"]) == ("app-state-change", app.name, "started")
    app.act("deactivate")


def test_requests_go_on_while_subscribed(box, session, listener):
    listener.create_subscription()
    for round in range(8):
        box.configure(session, group("interleave-{}".format(round)))
        assert "interleave-{}".format(round) in listener.get_config("running").data_xml
    seen = [next_event(listener, kind="netconf-config-change", session_id=session.session_id) for _ in range(8)]
    assert [event.time for event in seen] == sorted(event.time for event in seen)
    statistics = '<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>'
    for told in listener.get(filter=subtree(statistics)).data.iter("{*}session"):
        if told.findtext("{*}session-id") == listener.session_id:
            assert int(told.findtext("{*}out-notifications")) >= 8
            return
    pytest.fail("the session is not told of")


def test_the_past_is_told_again_after_a_crash_of_the_agent(own_box):
    begin = now()
    with own_box.connect() as session:
        own_box.configure(session, group("before"))
        with own_box.connect() as listener:
            listener.create_subscription(start_time=as_text(begin))
            before = events_until(listener, "replayComplete")
    assert any(event.kind == "netconf-config-change" and event["username"] == "admin" for event in before)
    wait_for_log(own_box, "heard")
    known = len(own_box.readies)
    os.kill(own_box.ready.pid, signal.SIGKILL)
    own_box.wait_ready(known)
    with own_box.connect() as session:
        session.create_subscription(start_time=as_text(begin))
        after = events_until(session, "replayComplete")
        changes = [event for event in after if event.kind == "netconf-config-change"]
        assert [repr(event) for event in changes] == [
            repr(event) for event in before if event.kind == "netconf-config-change"
        ]
        # And goes on with what happens now.
        own_box.configure(session, group("after"))
        next_event(session, kind="netconf-config-change")


def wait_for_log(box, text):
    path = os.path.join(box.root, "state", "notifications.journal")

    def is_there():
        with open(path, encoding="utf-8") as handle:
            return text in handle.read()

    import box as boxes

    boxes.wait_for("{} in the event log".format(text), is_there)


def test_a_subscription_ends_at_its_stop_time(session):
    start, stop = now() - datetime.timedelta(hours=1), now() + datetime.timedelta(seconds=1)
    session.create_subscription(start_time=as_text(start), stop_time=as_text(stop))
    assert events_until(session, "replayComplete")
    assert next_event(session, kind="notificationComplete").time >= stop
    # The session goes on, and may subscribe again.
    session.create_subscription()


@pytest.mark.parametrize(
    "inside, tag, element",
    [
        ("<startTime>2999-01-01T00:00:00Z</startTime>", "bad-element", "startTime"),
        ("<startTime>2020-01-02T00:00:00Z</startTime><stopTime>2020-01-01T00:00:00Z</stopTime>", "bad-element", "stopTime"),
        ("<stopTime>2999-01-01T00:00:00Z</stopTime>", "missing-element", "startTime"),
        ("<stream>SNMP</stream>", "invalid-value", None),
        ("<filter type='xpath' select='/a['/>", "invalid-value", None),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(session, inside, tag, element):
    with pytest.raises(RPCError) as refused:
        session.dispatch(to_ele('<create-subscription xmlns="{}">{}</create-subscription>'.format(NOTIFICATION, inside)))
    assert refused.value.tag == tag
    assert element is None or "<bad-element>{}</bad-element>".format(element) in refused.value.info


def test_a_second_subscription_of_a_session_is_refused(session):
    session.create_subscription()
    with pytest.raises(RPCError) as refused:
        session.create_subscription()
    assert refused.value.tag == "in-use"


def test_who_may_not_hear_of_it_does_not(box, session, bob):
    rules = (
        '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><nacm xmlns="{}"><rule-list><name>quiet</name>'
        "<group>operators</group><rule><name>no-sessions</name><module-name>ietf-netconf-notifications</module-name>"
        "<notification-name>netconf-session-start</notification-name><access-operations>read</access-operations>"
        "<action>deny</action></rule></rule-list></nacm></config>".format(NACM)
    )
    box.configure(session, rules)
    bob.create_subscription()
    with box.connect() as visitor:
        pass
    # What earlier tests have left may still be told in between.
    heard = [next_event(bob)]
    while (heard[-1].kind, heard[-1]["session-id"]) != ("netconf-session-end", visitor.session_id):
        heard.append(next_event(bob))
    assert "netconf-session-start" not in [event.kind for event in heard]
    denied = session.get(filter=subtree('<nacm xmlns="{}"><denied-notifications/></nacm>'.format(NACM))).data
    assert int(denied.findtext(".//{*}denied-notifications")) >= 1


def test_a_subscriber_that_does_not_read_loses_events_and_is_told_where(own_box):
    rounds, users = 18, 100

    def members(round, operation):
        listed = "".join('<user-name nc:operation="{}">u-{}-{:04}-{}</user-name>'.format(operation, round, at, "x" * 1000) for at in range(users))
        return (
            '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">'
            '<nacm xmlns="{}"><groups><group><name>many</name>{}</group></groups></nacm></config>'.format(NACM, listed)
        )

    with Raw(own_box.ready.socket) as slow, own_box.connect() as listener, own_box.connect() as session:
        chosen = '<netconf-config-change xmlns="{}"/>'.format(BASE)
        listener.create_subscription(filter=subtree(chosen))
        slow.ask('<create-subscription xmlns="{}"><filter>{}</filter></create-subscription>'.format(NOTIFICATION, chosen))
        for round in range(rounds):
            edits = [members(round, "create")] + ([members(round - 1, "delete")] if round else [])
            own_box.configure(session, *edits)
        # Nobody else notices.
        events = [next_event(listener) for _ in range(rounds)]
        assert {event.kind for event in events} == {"netconf-config-change"}
        seen = lost = 0
        while seen + lost < rounds:
            event = Event(slow.message())
            if event.kind == "events-lost":
                assert event.namespace == OURS and event["first-time"] <= event["last-time"]
                lost += int(event["count"])
            else:
                assert event.time == events[seen + lost].time
                seen += 1
        assert lost > 0 and seen > 0


class Raw:
    """NETCONF 1.0 on the agent's own socket, byte by byte: reads only when it is told to."""

    END = b"]]>]]>"

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(EVENT_SECONDS_MAX)
        self.socket.connect(path)
        self.read = b""
        self.message()
        self.send(
            '<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>'
            "urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>"
        )

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode() + self.END)

    def message(self):
        while self.END not in self.read:
            piece = self.socket.recv(65536)
            assert piece, "the agent closed the session"
            self.read += piece
        message, _, self.read = self.read.partition(self.END)
        return re.sub(r"^<\?xml.*?\?>", "", message.decode())

    def ask(self, operation):
        self.send('<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">{}</rpc>'.format(operation))
        reply = self.message()
        assert "<ok/>" in reply, reply
