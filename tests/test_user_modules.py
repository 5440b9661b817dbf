"""A user's own modules, YANG 1.0 and 1.1, served as plain configuration: what the languages have, each used once."""

import os

import pytest
from lxml import etree

from device import TOP, boxes
from peer import Peer
from sample import subtree


class Device(boxes.Box):
    def agent_command(self):
        modules = ["sample", "more", "old:fast", "old-changes"]
        words = [word for module in modules for word in ("--module", module)]
        return super().agent_command() + ["--yang-dir", os.path.join(TOP, "tests", "yang")] + words


def house(inside):
    return '<house xmlns="urn:old">{}</house>'.format(inside)


WRITTEN = house(
    "<street>s</street><full>7</full><either>many</either><speed>high</speed><small>1.50</small><flags>c a</flags>"
    '<raw>aGk=</raw><empty/><pet xmlns:s="urn:sample">s:cat</pet><guest>b</guest><guest>a</guest><chief>a</chief>'
    '<note><deep xmlns="urn:any" n="1">x<y/></deep></note>'
    "<room><floor>-1</floor><number>2</number><wood>oak</wood></room>"
    '<room><floor>1</floor><number>2</number><door>blue</door><view xmlns="urn:old-changes">sea</view></room>'
)


def test_what_was_written_comes_back_as_it_is_meant_and_outlives_the_agent(box):
    with Peer(box.ready.socket) as peer:
        peer.edit(WRITTEN)
        peer.ok("<commit/>")
    box.stop()
    box.start()
    with Peer(box.ready.socket) as peer:
        data = peer.data(subtree(house("")).replace("candidate", "running"))
        peer.edit(house("").replace("<house", '<house nc:operation="remove"'))
        peer.ok("<commit/>")
    told = etree.fromstring(data)
    assert [node.text for node in told.iter("guest")] == ["b", "a"]
    assert (told.findtext("small"), told.findtext("flags"), told.findtext("raw")) == ("1.5", "a c", "aGk=")
    assert told.findtext("pet").endswith("cat") and told.find("empty") is not None
    assert told.find("note/deep").get("n") == "1"
    assert sorted(room.findtext("floor") for room in told.iter("room")) == ["-1", "1"]
    assert told.findtext("room/view") == "sea"


@pytest.mark.parametrize(
    "inside, said",
    [
        ("<full>101</full>", "application invalid-value /o:house/o:full"),
        ("<either>k-K</either>", "application invalid-value /o:house/o:either"),
        ("<delay>1</delay>", "application unknown-element /o:house/o:delay bad-element=delay"),
        ("<gone>1</gone>", "application unknown-element /o:house/o:gone bad-element=gone"),
        ("<counted>1</counted>", "application unknown-element /o:house/o:counted bad-element=counted"),
        ("<small>1.555</small>", "application invalid-value /o:house/o:small"),
        ("<flags>a d</flags>", "application invalid-value /o:house/o:flags"),
        ("<pet>whale</pet>", "application invalid-value /o:house/o:pet"),
        ("<room><floor>1</floor></room>", "application missing-element /o:house/o:room bad-element=number"),
    ],
)
def test_values_are_judged_by_their_types(peer, inside, said):
    assert peer.edit(house(inside), check=False) == [said]


@pytest.mark.parametrize(
    "inside, said",
    [
        ("<chief>nobody</chief>", "application data-missing (instance-required) /o:house/o:chief"),
        (
            '<room><floor>0</floor><number>1</number><view xmlns="urn:old-changes">x</view></room>',
            "application unknown-element /o:house/o:room[o:floor='0'][o:number='1']/oc:view bad-element=view",
        ),
    ],
)
def test_data_is_judged_by_its_constraints(peer, inside, said):
    peer.edit(house(inside))
    assert peer.errors("<commit/>") == [said]


def test_one_case_drives_out_another_and_defaults_come_with_theirs(peer):
    room = "<room><floor>1</floor><number>1</number>{}</room>"
    report = '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">report-all</with-defaults></get-config>'
    ask = subtree(house("<full/><room/>")).replace("</get-config>", report)
    peer.edit(house(room.format("")))
    assert peer.data(ask) == "<house><full>50</full><room><floor>1</floor><number>1</number><gas>town</gas></room></house>"
    peer.edit(house(room.format("<wood>oak</wood>")))
    assert peer.data(ask) == "<house><full>50</full><room><floor>1</floor><number>1</number><wood>oak</wood></room></house>"
    peer.edit(house(room.format("<gas>bottled</gas>")))
    assert "wood" not in peer.data(ask)


def test_an_action_that_nobody_carries_out_is_refused_for_what_it_is(peer):
    action = (
        '<action xmlns="urn:ietf:params:xml:ns:yang:1">{}</action>'
    ).format(house('<room><floor>1</floor><number>1</number><paint xmlns="urn:old-changes">{}</paint></room>'))
    assert peer.errors(action.format("<colour>red</colour>")) == [
        "application data-missing /o:house/o:room[o:floor='1'][o:number='1']"
    ]
    peer.edit(house("<room><floor>1</floor><number>1</number></room>"))
    peer.ok("<commit/>")
    where = "/o:house/o:room[o:floor='1'][o:number='1']/oc:paint"
    assert peer.errors(action.format("")) == ["protocol missing-element {}/oc:colour bad-element=colour".format(where)]
    assert peer.errors(action.format("<colour>red</colour>")) == ["application operation-not-supported"]
    peer.edit(house("").replace("<house", '<house nc:operation="remove"'))
    peer.ok("<commit/>")


def test_modules_are_announced_with_features_deviations_and_submodules(peer):
    said = next(capability for capability in peer.capabilities if "module=old&" in capability)
    assert said == "urn:old?module=old&revision=2020-02-02&features=fast&deviations=old-changes"
    text = (
        '<get-schema xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><identifier>old-part</identifier></get-schema>'
    )
    assert "grouping rooms" in peer.rpc(text).findtext("{*}data")
    library = peer.rpc('<get><filter><yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"/></filter></get>')
    module = next(module for module in library.iter("{*}module") if module.findtext("{*}name") == "old")
    assert module.findtext("{*}submodule/{*}name") == "old-part" and module.findtext("{*}deviation") == "old-changes"
