"""The example of RFC 8341, appendix A, from outside: its groups and rules, and what each of its people may do."""

import os

import pytest
from lxml import etree
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

from device import BINARIES, boxes, refusal
from test_hostile import NACM, config, user_config

MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
ACME = 'xmlns="http://example.com/ns/netconf"'
ITF = 'xmlns="http://example.com/ns/itf"'

# The modules that the appendix only names.
MODULES = {
    "acme-netconf": 'module acme-netconf { namespace "http://example.com/ns/netconf"; prefix acme; revision 2026-01-01;'
    " container acme-netconf { container config-parameters { leaf depth { type uint8; } } leaf other { type string; } } }",
    "acme-interfaces": 'module acme-interfaces { yang-version 1.1; namespace "http://example.com/ns/itf"; prefix acme;'
    " revision 2026-01-01; container interfaces { list interface { key name; leaf name { type string; }"
    " leaf mtu { type uint16; } action reset { input { leaf delay { type uint8; mandatory true; } } } } } }",
}


def group(name, *users):
    return "<group><name>{}</name>{}</group>".format(name, "".join("<user-name>{}</user-name>".format(each) for each in users))


def rules(name, groups, *inside):
    groups = "".join("<group>{}</group>".format(each) for each in groups)
    return "<rule-list><name>{}</name>{}{}</rule-list>".format(name, groups, "".join(inside))


def rule(name, action, operations=None, **what):
    matter = "".join("<{0} {2}>{1}</{0}>".format(key.replace("_", "-"), *value) for key, value in what.items())
    access = "<access-operations>{}</access-operations>".format(operations) if operations else ""
    return "<rule><name>{}</name>{}{}<action>{}</action></rule>".format(name, matter, access, action)


def module(name):
    return {"module_name": (name, "")}


def rpc(name):
    return {"module_name": ("ietf-netconf", ""), "rpc_name": (name, "")}


def path(text, namespace):
    return {"path": (text, "xmlns:a='{}'".format(namespace))}


APPENDIX = (
    '<nacm xmlns="{}" nc:operation="replace"><groups>'.format(NACM)
    + group("admin", "admin", "andy") + group("limited", "wilma", "bam-bam") + group("guest", "guest", "guest@example.com")
    + "</groups>"
    # A.2 to A.5; lists are looked at in their order.
    + rules("guest-acl", ["guest"], rule("deny-ncm", "deny", "*", **module("ietf-netconf-monitoring")),
            rule("deny-nacm", "deny", "*", path=("/ietf-netconf-acm:nacm", "")))
    + rules("guest-limited-acl", ["limited", "guest"], rule("deny-kill-session", "deny", "exec", **rpc("kill-session")),
            rule("deny-delete-config", "deny", "exec", **rpc("delete-config")),
            rule("permit-dummy-interface", "permit", "read update",
                 **path("/a:interfaces/a:interface[a:name='dummy']", "http://example.com/ns/itf")))
    + rules("limited-acl", ["limited"], rule("permit-ncm", "permit", "read", **module("ietf-netconf-monitoring")),
            rule("permit-exec", "permit", "exec", **module("*")),
            rule("permit-acme-config", "permit", "read create update",
                 **path("/a:acme-netconf/a:config-parameters", "http://example.com/ns/netconf")))
    + rules("admin-acl", ["admin"], rule("permit-all", "permit", "*", **module("*")))
    + "</nacm>"
)
INTERFACES = (
    "<interfaces {}>".format(ITF)
    + "".join("<interface><name>{}</name><mtu>1500</mtu></interface>".format(each) for each in ("dummy", "eth0"))
    + "</interfaces>"
)


class AcmeBox(boxes.Box):
    def agent_command(self):
        words = [word for each in MODULES for word in ("--module", each)]
        return super().agent_command() + ["--yang-dir", os.path.dirname(self.root)] + words


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acme")
    for each, text in MODULES.items():
        (folder / (each + ".yang")).write_text(text)
    made = AcmeBox(folder / "root", BINARIES)
    try:
        made.initialise()
        made.start()
        with made.connect() as admin:
            users = [user_config(user, "$0$" + user) for user in ("wilma", "guest")]
            made.configure(admin, *users, config(INTERFACES), config(APPENDIX))
        yield made
    finally:
        made.remove()


@pytest.fixture
def people(box):
    """Sessions of the three of them."""
    with box.connect() as admin, log_in(box, "wilma") as wilma, log_in(box, "guest") as guest:
        yield {"admin": admin, "wilma": wilma, "guest": guest}


def log_in(box, user):
    return box.connect(username=user, password=user, key_filename=None)


def edit(session, inside):
    try:
        session.edit_config(target="candidate", config=config(inside))
    finally:
        session.discard_changes()


@pytest.mark.parametrize(
    "user, inside, shown",
    [
        ("guest", '<netconf-state xmlns="{}"><sessions/></netconf-state>'.format(MONITORING), False),
        ("wilma", '<netconf-state xmlns="{}"><sessions/></netconf-state>'.format(MONITORING), True),
        ("guest", '<nacm xmlns="{}"/>'.format(NACM), False),
        # No rule is about it, and without one the schema denies it (default-deny-all).
        ("wilma", '<nacm xmlns="{}"/>'.format(NACM), False),
        ("admin", '<nacm xmlns="{}"/>'.format(NACM), True),
        ("guest", "<interfaces {}/>".format(ITF), True),
    ],
)
def test_reads_leave_out_without_a_word_what_is_denied(people, user, inside, shown):
    data = people[user].get(filter=("subtree", inside)).data
    assert (len(data) > 0) == shown


@pytest.mark.parametrize(
    "user, inside, allowed",
    [
        ("wilma", "<interfaces {}><interface><name>dummy</name><mtu>9000</mtu></interface></interfaces>".format(ITF), True),
        ("guest", "<interfaces {}><interface><name>dummy</name><mtu>9000</mtu></interface></interfaces>".format(ITF), True),
        ("wilma", "<interfaces {}><interface><name>eth0</name><mtu>9000</mtu></interface></interfaces>".format(ITF), False),
        (
            "wilma",
            '<interfaces {}><interface nc:operation="delete"><name>dummy</name></interface></interfaces>'.format(ITF),
            False,
        ),
        ("wilma", "<acme-netconf {}><other>x</other></acme-netconf>".format(ACME), False),
        ("guest", "<acme-netconf {}><config-parameters><depth>1</depth></config-parameters></acme-netconf>".format(ACME), False),
        ("admin", "<acme-netconf {}><other>x</other></acme-netconf>".format(ACME), True),
        ("admin", "<interfaces {}><interface><name>eth1</name></interface></interfaces>".format(ITF), True),
    ],
)
def test_writes_are_refused_with_the_path_and_counted(people, user, inside, allowed):
    before = denied(people["admin"], "denied-data-writes")
    if allowed:
        edit(people[user], inside)
        assert denied(people["admin"], "denied-data-writes") == before
    else:
        refused = refusal(edit, people[user], inside)
        assert refused.tag == "access-denied" and refused.path.startswith("/")
        assert denied(people["admin"], "denied-data-writes") == before + 1


def test_a_parameter_below_a_permitted_node_is_created_where_what_is_above_is_there(people):
    admin, wilma = people["admin"], people["wilma"]
    admin.edit_config(target="candidate", config=config("<acme-netconf {}><other>x</other></acme-netconf>".format(ACME)))
    admin.commit()
    edit(wilma, "<acme-netconf {}><config-parameters><depth>1</depth></config-parameters></acme-netconf>".format(ACME))


@pytest.fixture
def ruled(people):
    """Puts a list of rules before the others, for the time of a test."""

    def put(text):
        people["admin"].edit_config(target="candidate", config=config('<nacm xmlns="{}">{}</nacm>'.format(NACM, text)))
        people["admin"].commit()

    first = '<rule-list xmlns:yang="urn:ietf:params:xml:ns:yang:1" yang:insert="first">'
    yield lambda *what: put(rules("for-now", *what).replace("<rule-list>", first, 1))
    put('<rule-list nc:operation="remove"><name>for-now</name></rule-list>')


def asked(session, text):
    with pytest.raises(RPCError) as refused:
        session.dispatch(to_ele(text))
    return refused.value.tag


def test_an_operation_is_judged_before_its_input_and_before_what_is_there(people, ruled):
    kill = '<kill-subscription xmlns="urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications">{}</kill-subscription>'
    for inside in ("", "<id>x</id>", "<nonsense/>"):
        assert asked(people["guest"], kill.format(inside)) == "access-denied"
        assert asked(people["admin"], kill.format(inside)) != "access-denied"
    ruled(["guest"], rule("hide", "deny", "read", path=("/a:interfaces", "xmlns:a='http://example.com/ns/itf'")))
    reset = (
        '<action xmlns="urn:ietf:params:xml:ns:yang:1"><interfaces {}><interface><name>{}</name><reset>{}</reset></interface>'
        "</interfaces></action>"
    )
    for name, inside, tag in (
        ("eth0", "<delay>1</delay>", "operation-not-supported"),
        ("eth0", "", "missing-element"),
        ("eth9", "<delay>1</delay>", "data-missing"),
    ):
        assert asked(people["admin"], reset.format(ITF, name, inside)) == tag
        assert asked(people["guest"], reset.format(ITF, name, inside)) == "access-denied"


def test_a_copy_has_only_what_its_caller_may_read(people, ruled):
    admin, wilma = people["admin"], people["wilma"]
    admin.edit_config(target="candidate", config=config("<acme-netconf {}><other>x</other></acme-netconf>".format(ACME)))
    admin.commit()
    # What a guest may not read would go, and that is not for guests to do.
    assert refusal(people["guest"].copy_config, "running", "candidate").tag == "access-denied"
    acme = "xmlns:a='http://example.com/ns/netconf'"
    ruled(["limited"], rule("hide", "deny", "read", path=("/a:acme-netconf", acme)), rule("all", "permit", "*", **module("*")))

    def tops():
        return {etree.QName(child).localname for child in admin.get_config("candidate").data}

    before = tops()
    assert {"acme-netconf", "interfaces"} <= before
    wilma.copy_config(source="running", target="candidate")
    assert tops() == before - {"acme-netconf"}
    wilma.discard_changes()
    assert tops() == before


@pytest.mark.parametrize(
    "user, operation, allowed",
    [
        ("wilma", "<kill-session><session-id>4000000</session-id></kill-session>", False),
        ("guest", "<kill-session><session-id>4000000</session-id></kill-session>", False),
        ("wilma", "<delete-config><target><startup/></target></delete-config>", False),
        ("wilma", "<validate><source><running/></source></validate>", True),
        ("guest", "<validate><source><running/></source></validate>", True),
        ("guest", '<get-schema xmlns="{}"><identifier>acme-netconf</identifier></get-schema>'.format(MONITORING), False),
        ("wilma", '<get-schema xmlns="{}"><identifier>acme-netconf</identifier></get-schema>'.format(MONITORING), True),
    ],
)
def test_operations_are_decided_by_name_and_refusals_are_counted(people, user, operation, allowed):
    before = denied(people["admin"], "denied-operations")
    named = operation if "xmlns" in operation else operation.replace(">", ' xmlns="{}">'.format(boxes.NETCONF), 1)
    if allowed:
        people[user].dispatch(to_ele(named))
    else:
        with pytest.raises(RPCError) as refused:
            people[user].dispatch(to_ele(named))
        assert refused.value.tag == "access-denied"
        assert denied(people["admin"], "denied-operations") == before + 1


def denied(admin, counter):
    data = admin.get(filter=("subtree", '<nacm xmlns="{}"><{}/></nacm>'.format(NACM, counter))).data
    return int(data.findtext(".//{{{}}}{}".format(NACM, counter)))
