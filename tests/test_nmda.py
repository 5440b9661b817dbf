"""The datastores of RFC 8342 by get-data and edit-data (RFC 8526), and what the library says of them: real binaries."""

import pytest
from lxml import etree

from peer import show
from sample import SampleBox as Device, subtree, top  # noqa: F401

NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"
ORIGIN = "{urn:ietf:params:xml:ns:yang:ietf-origin}origin"
FILTER = '<subtree-filter>{}</subtree-filter>'


def get_data(datastore, inside=""):
    return (
        '<get-data xmlns="{}" xmlns:ds="{}" xmlns:or="urn:ietf:params:xml:ns:yang:ietf-origin" xmlns:q="urn:sample">'
        "<datastore>ds:{}</datastore>{}</get-data>"
    ).format(NMDA, DATASTORES, datastore, inside)


def edit_data(datastore, config, options=""):
    return (
        '<edit-data xmlns="{0}" xmlns:ds="{1}"><datastore>ds:{2}</datastore>{3}'
        '<config xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">{4}</config></edit-data>'
    ).format(NMDA, DATASTORES, datastore, options, config)


def with_defaults(mode):
    return '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">{}</with-defaults>'.format(mode)


@pytest.fixture
def filled(peer):
    peer.ok(edit_data("candidate", top("<name>n</name><inner><a>x</a></inner><item><name>i</name><deep><x>1</x></deep></item>")))
    peer.ok("<commit/>")
    yield peer
    peer.ok("<discard-changes/>")
    peer.ok(edit_data("candidate", top("", 'nc:operation="remove"')))
    peer.ok("<commit/>")


def test_a_datastore_is_read_with_all_filters(filled):
    whole = "<top><name>n</name><inner><a>x</a></inner><item><name>i</name><deep><x>1</x></deep></item></top>"
    only = FILTER.format(top(""))
    assert filled.data(get_data("running", only)) == whole
    assert filled.data(get_data("intended", only)) == whole
    assert filled.data(get_data("candidate", "<xpath-filter>/q:top/q:item/q:deep</xpath-filter>")) == (
        "<top><item><name>i</name><deep><x>1</x></deep></item></top>"
    )
    assert filled.data(get_data("running", only + "<config-filter>false</config-filter>")) == ""
    assert filled.data(get_data("running", only + "<config-filter>true</config-filter>")) == whole
    assert filled.data(get_data("running", only + "<max-depth>1</max-depth>")) == "<top/>"
    # What nobody has written into is not there.
    unwritten = FILTER.format(top("<name/>") + '<machines xmlns="urn:sample"/>') + "<max-depth>1</max-depth>"
    assert filled.data(get_data("running", unwritten)) == "<top><name>n</name></top>"
    assert filled.data(get_data("running", only + "<max-depth>2</max-depth>")) == (
        "<top><name>n</name><inner/><item><name>i</name></item></top>"
    )
    assert filled.data(get_data("running", FILTER.format(top("<item/>")) + "<max-depth>2</max-depth>")) == (
        "<top><item><name>i</name><deep/></item></top>"
    )
    assert filled.data(get_data("running", only + "<max-depth>unbounded</max-depth>")) == whole
    assert "<mtu>1500</mtu>" in filled.data(get_data("running", only + with_defaults("report-all")))


def test_the_operational_datastore_tells_what_is_in_use_and_where_it_comes_from(filled):
    only = FILTER.format(top("<name/><mtu/><inner/>"))
    told = filled.rpc(get_data("operational", only + "<with-origin/>"))[0][0]
    origins = {etree.QName(node).localname: node.get(ORIGIN) for node in told.iter()}
    assert origins == {
        "top": "or:intended",
        "name": None,
        "mtu": "or:default",
        "inner": None,
        "a": None,
        "b": "or:default",
    }
    assert told.nsmap["or"] == "urn:ietf:params:xml:ns:yang:ietf-origin"
    intended = "<top><name>n</name><inner><a>x</a></inner></top>"
    default = "<top><mtu>1500</mtu><inner><b>7</b></inner></top>"
    for choice, expected in (
        ("<origin-filter>or:intended</origin-filter>", intended),
        ("<origin-filter>or:default</origin-filter>", default),
        ("<origin-filter>or:learned</origin-filter>", ""),
        ("<negated-origin-filter>or:default</negated-origin-filter>", intended),
        ("<negated-origin-filter>or:origin</negated-origin-filter>", ""),
    ):
        assert filled.data(get_data("operational", only + choice)) == expected, choice
    # The filter looks at what the choice of origins leaves out.
    by_default = FILTER.format(top("<inner><a/><b>7</b></inner>")) + "<origin-filter>or:intended</origin-filter>"
    assert filled.data(get_data("operational", by_default)) == "<top><inner><a>x</a></inner></top>"
    by_default = "<xpath-filter>/q:top[q:mtu = 1500]/q:name</xpath-filter><origin-filter>or:intended</origin-filter>"
    assert filled.data(get_data("operational", by_default)) == "<top><name>n</name></top>"
    state = '<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><datastores/></netconf-state>'
    for choice, is_told in (("", True), ("<config-filter>false</config-filter>", True), ("<config-filter>true</config-filter>", False)):
        assert ("datastores" in filled.data(get_data("operational", FILTER.format(state) + choice))) == is_told
    assert filled.data(get_data("operational", only + "<config-filter>false</config-filter>")) == ""


def test_defaults_in_use_are_told_as_they_are_asked_for(filled):
    assert "urn:ietf:params:netconf:capability:with-operational-defaults:1.0" in filled.capabilities
    filled.ok(edit_data("candidate", top("<inner><b>7</b></inner>")))
    filled.ok("<commit/>")
    only = FILTER.format(top("<name/><mtu/><inner/>"))
    everything = "<top><name>n</name><mtu>1500</mtu><inner><a>x</a><b>7</b></inner></top>"
    set_by_somebody = "<top><name>n</name><inner><a>x</a><b>7</b></inner></top>"
    for mode, expected in (
        ("report-all", everything),
        ("explicit", set_by_somebody),
        ("trim", "<top><name>n</name><inner><a>x</a></inner></top>"),
    ):
        assert filled.data(get_data("operational", only + with_defaults(mode))) == expected, mode
    assert filled.data(get_data("operational", only)) == everything
    told = filled.rpc(get_data("operational", only + with_defaults("report-all-tagged") + "<with-origin/>"))[0][0]
    marked = "{urn:ietf:params:xml:ns:netconf:default:1.0}default"
    nodes = {etree.QName(node).localname: (node.get(marked), node.get(ORIGIN)) for node in told.iter()}
    assert nodes["mtu"] == ("true", "or:default") and nodes["b"] == (None, None), nodes
    deep = only + "<max-depth>1</max-depth>"
    assert filled.data(get_data("operational", deep + with_defaults("explicit"))) == "<top><name>n</name><inner/></top>"
    assert "<mtu>1500</mtu>" in filled.data(get_data("operational", deep))


@pytest.mark.parametrize(
    "operation, said",
    [
        (get_data("operational", "<max-depth>0</max-depth>"), "protocol invalid-value /nc:rpc/nc:get-data/nc:max-depth"),
        (get_data("conventional"), "protocol invalid-value /nc:rpc/nc:get-data/nc:datastore"),
        (get_data("intended", "<with-origin/>"), "protocol invalid-value"),
        (edit_data("intended", top("")), "protocol invalid-value"),
        (get_data("startup"), "application invalid-value"),
        (get_data("running", "<with-origin/>"), "protocol invalid-value"),
        (get_data("running", "<origin-filter>or:intended</origin-filter>"), "protocol invalid-value"),
        (get_data("running", "<nonsense/>"), "protocol unknown-element bad-element=nonsense"),
        ('<get-data xmlns="{}"/>'.format(NMDA), "protocol missing-element bad-element=datastore"),
        (edit_data("operational", top("")), "protocol invalid-value"),
        (edit_data("running", top("")), "application invalid-value"),
        (edit_data("startup", top("")), "application invalid-value"),
        (edit_data("candidate", top("<mtu>7</mtu>")), "application invalid-value (mtu-range) /s:top/s:mtu"),
    ],
)
def test_what_a_datastore_cannot_give_is_refused(peer, operation, said):
    assert peer.errors(operation) == [said]


def test_locks_and_validation_take_datastores_by_their_identity(peer, other):
    named = '<datastore xmlns="{}" xmlns:ds="{}">ds:candidate</datastore>'.format(NMDA, DATASTORES)
    peer.ok("<lock><target>{}</target></lock>".format(named))
    assert other.errors("<lock><target><candidate/></target></lock>")[0].startswith("application lock-denied")
    peer.ok("<validate><source>{}</source></validate>".format(named))
    peer.ok("<unlock><target>{}</target></unlock>".format(named))


def test_an_edit_with_several_mistakes_leaves_nothing_behind(peer):
    said = peer.errors(edit_data("candidate", top("<name>fine</name><mtu>7</mtu><nothing/>")))
    assert len(said) == 2
    assert peer.data(subtree(top("<name/>"))) == ""


def test_the_library_says_what_hello_says(peer):
    library = peer.rpc('<get><filter><yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"/></filter></get>')
    stores = [node.findtext("{*}name") for node in library.iter("{*}datastore")]
    assert {store.rpartition(":")[2] for store in stores} == {"running", "candidate", "intended", "operational"}
    content = next(library.iter("{*}content-id")).text
    for version, leaf in (("1.0", "module-set-id"), ("1.1", "content-id")):
        capability = "urn:ietf:params:netconf:capability:yang-library:{}?revision=2019-01-04&{}={}"
        assert capability.format(version, leaf, content) in peer.capabilities
    told = {
        (module.findtext("{*}name"), module.findtext("{*}revision") or "", module.findtext("{*}namespace"))
        for module in library.iter("{*}module")
    }
    said = set()
    for capability in peer.capabilities:
        if "module=" in capability:
            namespace, _, rest = capability.partition("?")
            words = dict(word.split("=", 1) for word in rest.split("&"))
            said.add((words["module"], words.get("revision", ""), namespace))
    assert told == said
    older = peer.rpc('<get><filter><modules-state xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"/></filter></get>')
    assert next(older.iter("{*}module-set-id")).text == content


@pytest.mark.parametrize(
    "inside",
    [
        "<identifier>nowhere</identifier>",
        "<identifier>sample</identifier><version>1999-01-01</version>",
        "<identifier>sample</identifier><format>xsd</format>",
    ],
)
def test_a_schema_that_is_not_there_is_an_invalid_value(peer, inside):
    ask = '<get-schema xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">{}</get-schema>'
    assert peer.errors(ask.format(inside)) == ["application invalid-value"]


@pytest.mark.parametrize("form", ["yang", "yin"])
def test_every_module_and_submodule_has_its_text(peer, form):
    state = '<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><schemas/></netconf-state>'
    schemas = peer.rpc("<get><filter>{}</filter></get>".format(state))
    found = 0
    for schema in schemas.iter("{*}schema"):
        name, version = schema.findtext("{*}identifier"), schema.findtext("{*}version")
        reply = peer.rpc(
            '<get-schema xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><identifier>{}</identifier>'
            "<version>{}</version><format>{}</format></get-schema>".format(name, version or "", form)
        )
        text = reply.findtext("{*}data")
        assert text and name in text[:200], (name, show(reply)[:300])
        if form == "yin":
            assert etree.fromstring(text.encode()).get("name") == name
        found += 1
    assert found > 30
