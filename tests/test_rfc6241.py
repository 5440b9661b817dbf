"""NETCONF by the letter (RFC 6241), one table for each part of it, on a module of the user's: real binaries, raw messages."""

import pytest
from lxml import etree

from peer import BASE, BOTH, HELLO, Peer, refusals, show
from sample import SampleBox as Device, rpc, subtree, top  # noqa: F401


# Messages


def test_the_attributes_of_an_rpc_come_back_unchanged(peer):
    peer.send(
        '<x:rpc xmlns:x="{}" xmlns:e="urn:e" message-id="a &lt;b&gt; &quot;c&quot;" e:user="fred" plain="1">'
        "<x:commit/></x:rpc>".format(BASE)
    )
    reply = etree.fromstring(peer.receive())
    assert dict(reply.attrib) == {"message-id": 'a <b> "c"', "{urn:e}user": "fred", "plain": "1"}


def test_declarations_of_an_rpc_come_back_whatever_the_default_namespace_is(peer):
    for operation in ("<x:commit/>", "<x:get><x:filter/></x:get>", "<x:nonsense/>"):
        peer.send('<x:rpc xmlns="urn:other" xmlns:x="{}" message-id="1">{}</x:rpc>'.format(BASE, operation))
        reply = etree.fromstring(peer.receive())
        assert reply.tag == "{%s}rpc-reply" % BASE and reply.nsmap == {None: "urn:other", "x": BASE}
        assert {etree.QName(child).namespace for child in reply.iter()} == {BASE}


@pytest.mark.parametrize(
    "message, said",
    [
        (rpc("<commit/>", ""), "rpc missing-attribute bad-attribute=message-id bad-element=rpc"),
        (rpc(""), "rpc missing-element bad-element=operation"),
        (rpc("<commit/><commit/>"), "rpc unknown-element bad-element=commit"),
        (rpc("<commit/>x"), "rpc bad-element bad-element=rpc"),
        (rpc("<nonsense/>"), "protocol operation-not-supported"),
        (rpc('<commit xmlns=""/>'), "protocol unknown-namespace bad-element=commit bad-namespace="),
        (rpc('<go xmlns="urn:nowhere"/>'), "protocol unknown-namespace bad-element=go bad-namespace=urn:nowhere"),
        (rpc('<go xmlns="urn:sample"/>'), "protocol operation-not-supported"),
        (rpc("<commit/>", namespace="urn:x"), "rpc unknown-namespace bad-element=rpc bad-namespace=urn:x"),
        (HELLO.format(BOTH), "rpc unknown-element bad-element=hello"),
        ("<rpc", "rpc malformed-message"),
        (rpc("<commit>"), "rpc malformed-message"),
        (b"\xff\xfe<rpc/>", "rpc malformed-message"),
        ("<!DOCTYPE rpc [<!ENTITY a 'b'>]>" + rpc("<commit/>"), "rpc malformed-message"),
        (rpc("<commit>&a;</commit>"), "rpc malformed-message"),
        (rpc("<commit>\0</commit>"), "rpc malformed-message"),
        (rpc("<1commit/>"), "rpc malformed-message"),
        (rpc("<:commit/>"), "rpc malformed-message"),
        (rpc("<!-- a -- b --><commit/>"), "rpc malformed-message"),
        (rpc("<commit/>", 'message-id="1" xmlns:x=""'), "rpc malformed-message"),
        (rpc("<commit/>", 'message-id="1" xmlns:xml="urn:x"'), "rpc malformed-message"),
        (rpc("<commit/>", 'message-id="1" xmlns:xmlns="urn:x"'), "rpc malformed-message"),
    ],
)
def test_what_is_wrong_with_a_message_is_said_and_the_session_goes_on(peer, message, said):
    assert refusals(peer.exchange(message)) == [said]
    peer.ok("<discard-changes/>")


def test_an_old_client_is_not_told_malformed_message(box):
    old = HELLO.format("<capability>urn:ietf:params:netconf:base:1.0</capability>")
    with Peer(box.ready.socket, old, chunked=False) as peer:
        assert refusals(peer.exchange("<rpc")) == ["rpc operation-failed"]


@pytest.mark.parametrize(
    "hello",
    [
        HELLO.format("<capability>urn:ietf:params:netconf:base:9.0</capability>"),
        HELLO.format(BOTH).replace("</hello>", "<session-id>4</session-id></hello>"),
        rpc("<commit/>"),
        "<hello/>",
        "nonsense",
    ],
)
def test_a_bad_first_message_ends_the_session(box, hello):
    with Peer(box.ready.socket, hello, chunked=False) as peer:
        assert peer.is_closed()


# Parameters


@pytest.mark.parametrize(
    "operation, said",
    [
        ("<get-config/>", "protocol missing-element bad-element=source"),
        ("<edit-config><target><candidate/></target></edit-config>", "protocol missing-element bad-element=config"),
        ("<edit-config><config/></edit-config>", "protocol missing-element bad-element=target"),
        ("<lock><target/></lock>", "protocol missing-element bad-element=target"),
        ("<lock><target>running</target></lock>", "protocol bad-element bad-element=target"),
        ("<lock><target><running>x</running></target></lock>", "protocol bad-element bad-element=running"),
        ('<get depth="1"/>', "protocol unknown-attribute bad-attribute=depth bad-element=get"),
        (
            '<edit-config><target><candidate/></target><config xmlns:nc="{0}" nc:operation="replace"/></edit-config>'.format(BASE),
            "protocol unknown-attribute bad-attribute=operation bad-element=config",
        ),
        ("<kill-session/>", "protocol missing-element bad-element=session-id"),
        ("<get-config><source><running/><candidate/></source></get-config>", "protocol bad-element bad-element=candidate"),
        ("<commit><commit/></commit>", "protocol unknown-element bad-element=commit"),
        ("<edit-config><target><running/></target><config/></edit-config>", "application operation-not-supported"),
        ("<lock><target><startup/></target></lock>", "application operation-not-supported"),
        ("<copy-config><target><candidate/></target><source><candidate/></source></copy-config>", "application invalid-value"),
        ("<delete-config><target><running/></target></delete-config>", "application operation-not-supported"),
        ("<unlock><target><running/></target></unlock>", "application operation-failed"),
        (
            "<kill-session><session-id>0</session-id></kill-session>",
            "protocol invalid-value /nc:rpc/nc:kill-session/nc:session-id",
        ),
        ("<kill-session><session-id>4000000000</session-id></kill-session>", "application invalid-value"),
        ('<get><filter type="regex"/></get>', "protocol bad-attribute bad-attribute=type bad-element=filter"),
        ('<get><filter type="xpath"/></get>', "protocol missing-attribute bad-attribute=select bad-element=filter"),
        ('<get><filter depth="1"/></get>', "protocol unknown-attribute bad-attribute=depth bad-element=filter"),
        ('<greet xmlns="urn:sample"/>', "protocol missing-element /s:greet/s:who bad-element=who"),
        (
            '<greet xmlns="urn:sample"><who>a</who><who>b</who></greet>',
            "application bad-element /s:greet/s:who bad-element=who",
        ),
        (
            '<greet xmlns="urn:sample"><who>a</who><whom/></greet>',
            "application unknown-element /s:greet/s:whom bad-element=whom",
        ),
        (
            '<greet xmlns="urn:sample"><who>a</who><times>x</times></greet>',
            "application invalid-value /s:greet/s:times",
        ),
    ],
)
def test_a_parameter_that_is_wrong_is_named(peer, operation, said):
    assert peer.errors(operation) == [said]


# Edits


@pytest.mark.parametrize(
    "config, said",
    [
        (top("<mtu>7</mtu>"), "application invalid-value (mtu-range) /s:top/s:mtu"),
        (top("<pet>whale</pet>"), "application invalid-value /s:top/s:pet"),
        (top("<nothing/>"), "application unknown-element /s:top/s:nothing bad-element=nothing"),
        (top("<status>x</status>"), "application unknown-element /s:top/s:status bad-element=status"),
        (top('<mtu xmlns="urn:zz">7</mtu>'), "application unknown-namespace /s:top bad-element=mtu bad-namespace=urn:zz"),
        (top("<xml:mtu>7</xml:mtu>"), "application unknown-namespace /s:top bad-element=mtu bad-namespace=http://www.w3.org/XML/1998/namespace"),
        (top("<blob><xml:a/></blob>"), "application invalid-value /s:top/s:blob"),
        (top("", 'colour="red"'), "application unknown-attribute /s:top bad-attribute=colour bad-element=top"),
        (top("", 'nc:operation="burn"'), "application bad-attribute /s:top bad-attribute=operation bad-element=top"),
        (top("text"), "application bad-element /s:top bad-element=top"),
        (top("<mtu>70</mtu><mtu>71</mtu>"), "application bad-element /s:top/s:mtu bad-element=mtu"),
        (top("<item/>"), "application missing-element /s:top/s:item bad-element=name"),
        (top("<item><name>a</name><name>b</name></item>"), "application bad-element /s:top/s:item[s:name='a']/s:name bad-element=name"),
        (top('<mtu nc:operation="delete"/>'), "application data-missing /s:top/s:mtu"),
        (top('<item nc:operation="delete"><name>gone</name></item>'), "application data-missing /s:top/s:item"),
        (top('<name nc:operation="create">x</name>'), "application data-exists /s:top/s:name"),
        (
            top('<rule yang:insert="before"><id>1</id></rule>'),
            "application missing-attribute /s:top/s:rule[s:id='1'] bad-attribute=key bad-element=rule",
        ),
        (
            top('<step yang:insert="after" yang:value="none">x</step>'),
            "application bad-attribute (missing-instance) /s:top/s:step[.='x'] bad-attribute=value bad-element=step",
        ),
        (
            top('<step yang:insert="aside">x</step>'),
            "application bad-attribute /s:top/s:step[.='x'] bad-attribute=insert bad-element=step",
        ),
        (
            top('<mtu wd:default="true">70</mtu>'),
            "application invalid-value /s:top/s:mtu",
        ),
    ],
)
def test_an_edit_that_is_wrong_is_refused_with_its_place_and_changes_nothing(peer, config, said):
    peer.edit(top("<name>before</name>"))
    before = peer.data(subtree(top("")))
    assert peer.edit(config, check=False) == [said]
    assert peer.data(subtree(top(""))) == before


@pytest.mark.parametrize(
    "config, said",
    [
        (
            top("<item><name>a</name><port>1</port></item><item><name>b</name><port>1</port></item>"),
            "application operation-failed (data-not-unique) /s:top/s:item[s:name='b'] "
            "non-unique=/s:top/s:item[s:name='a']/s:port non-unique=/s:top/s:item[s:name='b']/s:port",
        ),
        (
            top("<few>1</few><few>2</few><few>3</few>"),
            "application operation-failed (too-many-elements) /s:top/s:few",
        ),
        (
            '<bounds xmlns="urn:sample"><one>1</one></bounds>',
            "application operation-failed (too-few-elements) /s:bounds/s:need",
        ),
        (
            '<bounds xmlns="urn:sample"><need><k>1</k></need></bounds>',
            "application data-missing (missing-choice) /s:bounds missing-choice=must-be",
        ),
        (top("<plain>5</plain>"), "application operation-failed (must-violation) /s:top/s:plain"),
        (top("<many>12</many>"), "application operation-failed (too-big) /s:top/s:many"),
        (
            top("<item><name>a</name><peer>none</peer></item>"),
            "application data-missing (instance-required) /s:top/s:item[s:name='a']/s:peer",
        ),
        (top("<on/>"), "application data-missing /s:top/s:on/s:level"),
        (top("<gated>x</gated>"), "application unknown-element /s:top/s:gated bad-element=gated"),
    ],
)
def test_a_configuration_that_is_not_valid_is_refused_by_validate_and_commit(peer, config, said):
    peer.edit(config)
    for operation in ("<validate><source><candidate/></source></validate>", "<commit/>"):
        assert peer.errors(operation) == [said]


@pytest.mark.parametrize("inside", ["<1a/>", "<:a/>", "<a b:c='1' xmlns:b=''/>", "<a xmlns:xml='urn:x'/>", "<a 1b='x'/>", "<a>&#1;</a>"])
def test_nothing_is_kept_that_could_not_be_read_again(peer, inside):
    assert peer.edit(top("<blob>{}</blob>".format(inside)), check=False)[0].split()[1] == "malformed-message"
    assert peer.data(subtree(top("<blob/>"))) == ""


def test_several_errors_come_in_one_reply(peer):
    wrong = top("<mtu>7</mtu><name>fine</name><pet>whale</pet><nothing/>")
    said = [
        "application invalid-value (mtu-range) /s:top/s:mtu",
        "application invalid-value /s:top/s:pet",
        "application unknown-element /s:top/s:nothing bad-element=nothing",
    ]
    option = "<error-option>{}</error-option>"
    assert peer.edit(wrong, options=option.format("stop-on-error"), check=False) == said[:1]
    assert peer.edit(wrong, options=option.format("rollback-on-error"), check=False) == said
    assert "fine" not in peer.data(subtree(top("<name/>")))
    assert peer.edit(wrong, options=option.format("continue-on-error"), check=False) == said
    assert "fine" in peer.data(subtree(top("<name/>")))


def test_test_only_changes_nothing_and_validates(peer):
    option = "<test-option>test-only</test-option>"
    peer.edit(top("<name>new</name>"), options=option)
    assert peer.data(subtree(top("<name/>"))) == ""
    said = peer.edit(top("<plain>5</plain>"), options=option, check=False)
    assert said == ["application operation-failed (must-violation) /s:top/s:plain"]


def test_default_operations_and_values_that_need_not_be_given(peer):
    peer.edit(top("<name>a</name><mtu>70</mtu><item><name>x</name></item>"))
    none = "<default-operation>none</default-operation>"
    peer.edit(top('<mtu nc:operation="delete"/><item nc:operation="remove"><name>y</name></item>'), options=none)
    assert peer.data(subtree(top(""))) == "<top><name>a</name><item><name>x</name></item></top>"
    assert peer.edit(top("<on><level>1</level></on>"), options=none, check=False) == ["application data-missing /s:top/s:on"]
    peer.edit(top("<name>b</name>"), options="<default-operation>replace</default-operation>")
    assert peer.data(subtree(top(""))) == "<top><name>b</name></top>"


def test_a_default_that_comes_back_as_it_was_reported_is_not_written(peer):
    peer.edit(top("<mtu>1500</mtu>"))
    assert "mtu" in peer.data(subtree(top("")))
    peer.edit(top('<mtu wd:default="true">1500</mtu>'))
    assert peer.data(subtree(top(""))) == ""


def test_entries_that_the_user_orders_stay_where_they_are_put(peer):
    rule = '<rule {}><id>{}</id></rule>'
    peer.edit(top("".join(rule.format("", number) for number in (1, 2, 3))))
    peer.edit(top(rule.format('yang:insert="first"', 3)))
    peer.edit(top(rule.format("""yang:insert="after" yang:key="[id='1']\"""", 4)))
    steps = "".join("<step>{}</step>".format(step) for step in "abc")
    peer.edit(top(steps + '<step yang:insert="before" yang:value="b">c</step>'))
    order = etree.fromstring(peer.data(subtree(top("<rule><id/></rule><step/>"))))
    assert [node.text for node in order.iter("id")] == ["3", "1", "4", "2"]
    assert [node.text for node in order.iter("step")] == ["a", "c", "b"]


# Locks


def test_a_lock_keeps_others_out_and_says_whose_it_is(peer, other):
    target = "<target><{}/></target>"
    peer.ok("<lock>{}</lock>".format(target.format("candidate")))
    held = "application lock-denied session-id=" + peer.session_id
    assert other.errors("<lock>{}</lock>".format(target.format("candidate"))) == [held]
    assert other.edit(top("<name>x</name>"), check=False) == ["application in-use"]
    assert other.errors("<commit/>") == ["application in-use"]
    assert other.errors("<unlock>{}</unlock>".format(target.format("candidate"))) == [held]
    # What was not committed goes with the lock, also when its holder gives it up (section 8.3.5.2).
    peer.edit(top("<name>held</name>"))
    peer.ok("<unlock>{}</unlock>".format(target.format("candidate")))
    assert peer.data(subtree(top("<name/>"))) == ""
    other.edit(top("<name>x</name>"))
    assert peer.errors("<lock>{}</lock>".format(target.format("candidate"))) == ["application lock-denied session-id=0"]
    other.ok("<discard-changes/>")
    peer.ok("<lock>{}</lock>".format(target.format("running")))
    assert other.errors("<commit/>") == ["application in-use"]
    peer.rpc("<close-session/>")
    assert peer.is_closed()
    other.ok("<lock>{}</lock>".format(target.format("running")))


def test_a_session_neither_locks_twice_nor_kills_itself(peer):
    lock = "<lock><target><running/></target></lock>"
    peer.ok(lock)
    assert peer.errors(lock) == ["application lock-denied session-id=" + peer.session_id]
    kill = "<kill-session><session-id>{}</session-id></kill-session>".format(peer.session_id)
    assert peer.errors(kill) == ["application invalid-value"]
    peer.ok("<unlock><target><running/></target></unlock>")


def test_a_commit_that_waits_for_its_confirmation_is_its_session_s_own_and_goes_with_it(peer, other):
    peer.edit(top("<name>on trial</name>"))
    peer.ok("<commit><confirmed/></commit>")
    running = '<get-config><source><running/></source><filter>{}</filter></get-config>'.format(top("<name/>"))
    assert other.data(running) == "<top><name>on trial</name></top>"
    denied = "application lock-denied session-id=" + peer.session_id
    assert other.errors("<lock><target><running/></target></lock>") == [denied]
    assert other.errors("<commit/>") == ["application in-use"]
    assert other.errors("<cancel-commit/>") == ["application in-use"]
    other.ok("<kill-session><session-id>{}</session-id></kill-session>".format(peer.session_id))
    assert peer.is_closed()
    assert other.data(running) == ""


# Filters


FILTERED = top(
    "<name>n</name><mtu>70</mtu><tag>a</tag><tag>b</tag><item><name>one</name><port>1</port><note>x</note></item>"
    "<item><name>two</name><port>2</port></item>"
)


@pytest.mark.parametrize(
    "content, selected",
    [
        ("", ""),
        (top("<name/>"), "<top><name>n</name></top>"),
        ('<top xmlns=""><name/></top>', "<top><name>n</name></top>"),
        ('<nothing xmlns="urn:sample"/>', ""),
        ('<top xmlns="urn:other"/>', ""),
        (top("<item><name>two</name></item>"), "<top><item><name>two</name><port>2</port></item></top>"),
        (top("<item><name> two </name><port/></item>"), "<top><item><name>two</name><port>2</port></item></top>"),
        (top("<item><port>1</port><note/></item>"), "<top><item><name>one</name><port>1</port><note>x</note></item></top>"),
        (top("<item><port>9</port></item>"), ""),
        (top("<tag>a</tag>"), FILTERED.replace(' xmlns="urn:sample" ', "")),
        (top("<tag>a</tag><name/>"), "<top><name>n</name><tag>a</tag></top>"),
        (top("<tag>z</tag><name/>"), ""),
        (
            top("<item><name>one</name><port/></item><item><name>two</name><port/></item><name/>"),
            "<top><name>n</name><item><name>one</name><port>1</port></item><item><name>two</name><port>2</port></item></top>",
        ),
        (top("<name/>") + top("<mtu/>"), "<top><name>n</name><mtu>70</mtu></top>"),
        (top('<name kind="x"/>'), ""),
        (top('<item a:b="c" xmlns:a="urn:a"/>'), ""),
    ],
)
def test_subtree_filters(peer, content, selected):
    peer.edit(FILTERED)
    assert peer.data(subtree(content)) == selected


def test_xpath_filters_use_the_prefixes_in_scope_and_no_others(peer):
    peer.edit(FILTERED)
    select = '<get-config><source><candidate/></source><filter type="xpath" xmlns:q="urn:sample" select="{}"/></get-config>'
    one = peer.data(select.format("/q:top/q:item[q:port &gt; 1]/q:port"))
    assert one == "<top><item><name>two</name><port>2</port></item></top>"
    assert peer.data(select.format("/q:top/q:name | /q:top/q:mtu")) == "<top><name>n</name><mtu>70</mtu></top>"
    assert peer.errors(select.format("/zz:top")) == ["application invalid-value"]
    assert peer.errors(select.format("///")) == ["application invalid-value"]


# Defaults (RFC 6243)


def test_defaults_are_told_as_asked_for(peer):
    peer.edit(top("<mtu>1500</mtu><inner><a>x</a></inner>"))
    ask = (
        '<get-config><source><candidate/></source><filter><top xmlns="urn:sample">{}</top></filter>'
        '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">{}</with-defaults></get-config>'
    )
    told = {mode: peer.data(ask.format("<mtu/><inner/>", mode)) for mode in ("explicit", "trim", "report-all", "report-all-tagged")}
    assert told["explicit"] == "<top><mtu>1500</mtu><inner><a>x</a></inner></top>"
    assert told["trim"] == "<top><inner><a>x</a></inner></top>"
    assert told["report-all"] == "<top><mtu>1500</mtu><inner><a>x</a><b>7</b></inner></top>"
    # What was written is no default, whatever its value.
    assert told["report-all-tagged"].replace("dflt:", "") == (
        '<top><mtu>1500</mtu><inner><a>x</a><b default="true">7</b></inner></top>'
    )
    marked = '<inner><b w:default="true" xmlns:w="urn:ietf:params:xml:ns:netconf:default:1.0"/></inner>'
    found = peer.rpc(ask.format(marked, "report-all-tagged"))
    mark = "{urn:ietf:params:xml:ns:netconf:default:1.0}default"
    assert [(node.text, node.get(mark)) for node in found.iter("{urn:sample}b")] == [("7", "true")]
    assert peer.data(ask.format(marked, "report-all")) == ""


def test_a_filter_that_is_not_understood_names_what_it_holds(peer):
    assert refusals(peer.rpc(subtree(top("text<name/>")))) == ["protocol bad-element bad-element=top"]
    assert show(peer.rpc("<get><filter/></get>")[0]) == "<data/>"
