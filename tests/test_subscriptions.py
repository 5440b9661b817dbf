"""Subscriptions by RFC 8639 and 8641: events and datastores, on real binaries, from outside."""

import re
import time

import pytest

from test_hostile import config, group_config, user_config
from device import FOREVER, App, boxes, refusal

SN = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"
YP = "urn:ietf:params:xml:ns:yang:ietf-yang-push"
DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
HOSTNAME = "http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg"
SECONDS = 20


class Told:
    """A session and what it is told."""

    def __init__(self, box, **options):
        self.box = box
        self.session = box.connect(**options)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.session.close_session()

    def ask(self, operation):
        return self.box.call(self.session, operation).xml

    def establish(self, inside):
        reply = self.ask('<establish-subscription xmlns="{}" xmlns:yp="{}">{}</establish-subscription>'.format(SN, YP, inside))
        return int(re.search(r"<id[^>]*>(\d+)</id>", reply).group(1))

    def about(self, verb, number, inside="", module=SN):
        return self.ask('<{0} xmlns="{1}" xmlns:yp="{2}"><id>{3}</id>{4}</{0}>'.format(verb, module, YP, number, inside))

    def next(self, wanted):
        """The next notification with `wanted` in it; those before it are passed over."""
        deadline = time.monotonic() + SECONDS
        seen = []
        while time.monotonic() < deadline:
            notification = self.session.take_notification(timeout=1)
            if notification is not None:
                seen.append(notification.notification_xml)
                if wanted in seen[-1]:
                    return seen[-1]
        raise boxes.Trouble("no {!r} in {}".format(wanted, seen))

    def quiet(self, unwanted, seconds=1):
        notification = self.session.take_notification(timeout=seconds)
        while notification is not None:
            assert unwanted not in notification.notification_xml
            notification = self.session.take_notification(block=False)


@pytest.fixture
def told(box):
    with Told(box) as made:
        yield made


def hostname(text):
    return config('<hostname xmlns="{}"><system-network-name>{}</system-network-name></hostname>'.format(HOSTNAME, text))


def on_change(datastore="running", filtered='<hostname xmlns="{}"/>'.format(HOSTNAME), more=""):
    return (
        '<yp:datastore xmlns:ds="{}">ds:{}</yp:datastore><yp:datastore-subtree-filter>{}</yp:datastore-subtree-filter>'
        "<yp:on-change>{}</yp:on-change>"
    ).format(DS, datastore, filtered, more)


def test_a_stream_is_subscribed_to_with_a_number(box, session, told):
    number = told.establish("<stream>NETCONF</stream>")
    assert number >= 2**31
    box.configure(session, hostname("one"))
    assert "netconf-config-change" in told.next("config-change")
    state = told.session.get(("subtree", '<subscriptions xmlns="{0}"/>'.format(SN))).data_xml
    assert "<id>{}</id>".format(number) in state and "<stream>NETCONF</stream>" in state and "sent-event-records" in state
    streams = told.session.get(("subtree", '<streams xmlns="{0}"/>'.format(SN))).data_xml
    assert "<replay-support/>" in streams
    told.about("delete-subscription", number)
    box.configure(session, hostname("two"))
    told.quiet("config-change")
    assert refusal(lambda: told.about("delete-subscription", number)).app_tag == "ietf-subscribed-notifications:no-such-subscription"


def test_several_subscriptions_filter_and_replay_each_for_itself(box, session, told):
    box.configure(session, hostname("before"))
    begin = "2020-01-01T00:00:00Z"
    changes = '<netconf-config-change xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"/>'
    first = told.establish(
        "<stream>NETCONF</stream><stream-subtree-filter>{}</stream-subtree-filter><replay-start-time>{}</replay-start-time>".format(changes, begin)
    )
    told.next("config-change")
    assert "<id>{}</id>".format(first) in told.next("replay-completed")
    xpath = '<stream>NETCONF</stream><stream-xpath-filter xmlns:n="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications">/n:netconf-session-start</stream-xpath-filter>'
    second = told.establish(xpath)
    assert second != first
    with box.connect():
        told.next("netconf-session-start")
    told.about("modify-subscription", second, "<stream-subtree-filter>{}</stream-subtree-filter>".format(changes))
    assert "<id>{}</id>".format(second) in told.next("subscription-modified")
    with box.connect():
        told.quiet("session-start")


def test_a_change_of_configuration_is_pushed_as_a_patch(box, session, told):
    box.configure(session, hostname("first"))
    number = told.establish(on_change())
    assert "first" in told.next("push-update")
    box.configure(session, hostname("second"))
    patch = told.next("push-change-update")
    assert "<operation>replace</operation>" in patch and "second" in patch and "<id>{}</id>".format(number) in patch
    assert "/Cisco-IOS-XR-um-hostname-cfg:hostname/system-network-name" in patch
    # What is not selected is not told.
    box.configure(session, user_config("unrelated", "$0$x"))
    told.quiet("push-change-update")
    told.about("resync-subscription", number, module=YP)
    assert "second" in told.next("push-update")


def test_an_app_s_way_is_pushed_as_it_goes(box, session, told, name):
    filtered = '<appmgr xmlns="{}"><process-scripts><process-script><name>{}</name><info><status/></info></process-script></process-scripts></appmgr>'
    told.establish(on_change("operational", filtered.format(boxes.APP_OPER, name[:-3])))
    told.next("push-update")
    app = App(box, session, name, FOREVER)
    app.act("activate")
    told.next("started")
    app.act("stop")
    told.next("stopped")
    app.end()


def test_dampened_changes_come_as_one(box, session, told):
    period = 1.5
    box.configure(session, hostname("d0"))
    told.establish(on_change(more="<yp:dampening-period>{:.0f}</yp:dampening-period>".format(100 * period)))
    told.next("d0")
    begun = time.monotonic()
    for number in range(1, 6):
        box.configure(session, hostname("d{}".format(number)))
    patches = [told.next("push-change-update")]
    while "d5" not in patches[-1]:
        patches.append(told.next("push-change-update"))
    # One a period at most, however long a busy machine takes for the changes.
    assert len(patches) <= (time.monotonic() - begun) / period + 1
    told.quiet("push-change-update")


def test_a_periodic_subscription_tells_all_of_it_each_time(box, session, told):
    box.configure(session, hostname("again"))
    periodic = on_change().replace("<yp:on-change></yp:on-change>", "<yp:periodic><yp:period>20</yp:period></yp:periodic>")
    number = told.establish(periodic)
    for _ in range(3):
        assert "again" in told.next("push-update")
    told.about("delete-subscription", number)


def test_what_may_not_be_read_is_not_pushed(box, session):
    box.configure(session, user_config("watcher", "$0$watcher"), group_config("watchers", "watcher"))
    with Told(box, username="watcher", password="watcher", key_filename=None) as watcher:
        watcher.establish(on_change(filtered='<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"/>'))
        first = watcher.next("push-update")
        assert "watcher" in first and "$6$" not in first
        box.configure(session, user_config("watcher", "$0$another"))
        watcher.quiet("push-change-update")
        error = refusal(lambda: watcher.about("kill-subscription", 2**31))
        assert error.tag == "access-denied"


def test_a_configured_filter_is_followed_and_its_end_is_the_end(box, session, told):
    named = '<filters xmlns="{}"><selection-filter xmlns="{}"><filter-id>host</filter-id><datastore-subtree-filter>{}</datastore-subtree-filter></selection-filter></filters>'
    box.configure(session, hostname("named"), config(named.format(SN, YP, '<hostname xmlns="{}"/>'.format(HOSTNAME))))
    told.establish(
        '<yp:datastore xmlns:ds="{}">ds:running</yp:datastore><yp:selection-filter-ref>host</yp:selection-filter-ref><yp:on-change/>'.format(DS)
    )
    assert "named" in told.next("push-update")
    box.configure(session, config(named.format(SN, YP, '<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication/></system>')))
    told.next("subscription-modified")
    assert "authentication" in told.next("push-update")
    box.configure(session, config('<filters xmlns="{}" nc:operation="delete"/>'.format(SN)))
    assert "filter-unavailable" in told.next("subscription-terminated")


def test_an_administrator_ends_what_another_has_begun(box, session, told):
    number = told.establish("<stream>NETCONF</stream>")
    with Told(box) as other:
        assert refusal(lambda: other.about("delete-subscription", number)).tag == "invalid-value"
        other.about("kill-subscription", number)
    assert "no-such-subscription" in told.next("subscription-terminated")


SN_MODULE = "ietf-subscribed-notifications:"


@pytest.mark.parametrize(
    "inside, app_tag",
    [
        (on_change("operational", '<system-monitoring xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-wdsysmon-fd-oper"/>'), "ietf-yang-push:on-change-unsupported"),
        (on_change("candidate"), "ietf-yang-push:datastore-not-subscribable"),
        ("<stream>NETCONF</stream><stream-xpath-filter>/[</stream-xpath-filter>", SN_MODULE + "filter-unsupported"),
        ('<stream>NETCONF</stream><encoding xmlns:s="{}">s:encode-json</encoding>'.format(SN), SN_MODULE + "encoding-unsupported"),
        ("<stream>NETCONF</stream><dscp>10</dscp>", SN_MODULE + "dscp-unavailable"),
        ("<stream>nowhere</stream>", None),
        ("<stream>NETCONF</stream><stop-time>2020-01-01T00:00:00Z</stop-time>", None),
        ("", None),
    ],
)
def test_what_cannot_be_subscribed_to_is_refused(told, inside, app_tag):
    error = refusal(lambda: told.establish(inside))
    if app_tag:
        assert error.app_tag == app_tag
    assert "<id>" not in told.session.get(("subtree", '<subscriptions xmlns="{0}"/>'.format(SN))).data_xml


def test_a_subscription_ends_at_its_stop_time(box, session, told):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
    told.establish("<stream>NETCONF</stream><stop-time>{}</stop-time>".format(soon))
    gone = lambda: "<id>" not in told.session.get(("subtree", '<subscriptions xmlns="{0}"/>'.format(SN))).data_xml
    boxes.wait_for("end of the subscription", gone)
