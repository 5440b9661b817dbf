//! What libyang is relied on for, pinned: a new version cannot change an answer unseen.

use super::diff::{self, Diff};
use super::rpc::{Operation, Permit};
use super::schema::{ModuleSpec, NodeKind, Schema, SchemaError, TextError, TextFormat};
use super::select::{Seen, View, prune, select, with_view};
use super::testing::{schema, text, top, tree, valid};
use super::tree::Tree;
use super::value::Element;
use crate::northbound::filter::{Content, Filter, Selection};
use crate::northbound::provider::{Change, Edit};
use crate::northbound::{Fragment, Kind, Refusal, WithDefaults};

/// `kind path app-tag` of each refusal.
fn brief(refusals: &[Refusal]) -> Vec<String> {
    let line = |refusal: &Refusal| {
        assert!(!refusal.message.is_empty());
        let kind = format!("{:?}", refusal.kind);
        let kind = kind.split([' ', '{']).next().unwrap().to_owned();
        let words = [Some(kind), refusal.path.clone(), refusal.app_tag.clone()];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    refusals.iter().map(line).collect()
}

#[test]
fn the_schema_knows_its_modules_and_nodes() {
    let schema = schema();
    let info = schema.modules().into_iter().find(|info| info.name == "sample").unwrap();
    assert_eq!((info.revision, info.namespace, info.is_implemented), (Some("2026-01-01"), "urn:sample", true));
    assert_eq!(info.features, ["extra"]);
    assert!(schema.text("sample", None, TextFormat::Yang).unwrap().starts_with("module sample"));
    assert!(schema.text("more", Some("2026-01-01"), TextFormat::Yin).unwrap().contains("<module"));
    assert_eq!(schema.text("none", None, TextFormat::Yang), Err(TextError::Unknown));
    assert_eq!(schema.text("sample", Some("1999-01-01"), TextFormat::Yang), Err(TextError::Unknown));
    let list = schema.node("/sample:top/pair[left='a/b'][right='c']").unwrap();
    assert_eq!(list.kind(), NodeKind::List);
    assert_eq!(list.keys().iter().map(|key| key.name()).collect::<Vec<_>>(), ["left", "right"]);
    assert_eq!(schema.node("/sample:top/more:plus/size").unwrap().path(), "/sample:top/more:plus/size");
    assert_eq!(schema.node("/sample:machines/machine/reset").unwrap().kind(), NodeKind::Action);
    assert!(schema.node("/sample:top/nothing").is_none());
    assert!(!schema.node("/sample:top/status").unwrap().is_config());
    assert_eq!(schema.content_id().len(), 32);
}

#[test]
fn a_module_that_cannot_be_loaded_is_named_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("bad.yang"),
        "module bad {\n namespace urn:bad;\n prefix b;\n leaf x { typ string; }\n}",
    )
    .unwrap();
    let spec = |name: &str| ModuleSpec { name: name.to_owned(), revision: None, features: Vec::new() };
    let error = Schema::load(&[dir.path().to_owned()], &[spec("bad")]).unwrap_err();
    let SchemaError::ModuleRefused { module, reason } = &error else { panic!("{error}") };
    assert_eq!(module, "bad");
    assert!(reason.contains("line 4"), "{reason}");
    let error = Schema::load(&[dir.path().to_owned()], &[spec("absent")]).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
    let error = Schema::load(&[dir.path().join("nowhere")], &[]).unwrap_err();
    assert!(matches!(error, SchemaError::DirectoryUnusable { .. }));
}

#[test]
fn configuration_is_read_and_printed_compactly() {
    let xml = top("<name>a&amp;b</name><pet xmlns:m=\"urn:more\">m:dog</pet><item><name>i</name><port>7</port></item>\
                   <plus xmlns=\"urn:more\"><size>3</size></plus>");
    let tree = valid(&xml);
    assert_eq!(tree.find("/sample:top/pet").unwrap().value(), Some("more:dog"));
    assert_eq!(tree.find("/sample:top/mtu").unwrap().value(), Some("1500"));
    assert!(tree.find("/sample:top/mtu").unwrap().is_default());
    insta::assert_snapshot!(text(&tree), @r#"<top xmlns="urn:sample"><name>a&amp;b</name><pet xmlns:m="urn:more">m:dog</pet><item><name>i</name><port>7</port></item><plus xmlns="urn:more"><size>3</size></plus></top>"#);
    let json = tree.print_json(WithDefaults::Explicit);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["sample:top"]["item"][0]["port"], 7);
    let again = Tree::parse_stored(schema(), &tree.print_xml(WithDefaults::Explicit)).unwrap();
    assert_eq!(text(&again), text(&tree));
    assert!(Tree::new(schema()).print_xml(WithDefaults::ReportAll).is_empty());
}

#[test]
fn values_with_prefixes_mean_what_the_document_binds() {
    let xml = "<x:top xmlns:x=\"urn:sample\" xmlns=\"urn:more\"><x:pet>dog</x:pet>\
               <x:where>/x:top/x:item[x:name='k']/colour</x:where></x:top>";
    let bound = xml.replace("/colour", "/y:colour").replace("<x:top ", "<x:top xmlns:y=\"urn:more\" ");
    let tree = tree(&bound);
    assert_eq!(tree.find("/sample:top/pet").unwrap().value(), Some("more:dog"));
    assert_eq!(tree.find("/sample:top/where").unwrap().value(), Some("/sample:top/item[name='k']/more:colour"));
    assert!(Tree::parse_config(schema(), top("<pet>none</pet>").as_bytes()).is_err());
}

#[test]
fn every_mistake_of_a_document_is_told_with_its_path() {
    for (inside, expected) in [
        ("<mtu>67</mtu>", "InvalidValue /sample:top/mtu mtu-range"),
        ("<mtu>x</mtu>", "InvalidValue /sample:top/mtu"),
        ("<name/>", "InvalidValue /sample:top/name"),
        ("<nothing/>", "UnknownElement /sample:top/sample:nothing"),
        ("<a xmlns='urn:none'/>", "UnknownNamespace /sample:top"),
        ("<status>x</status>", "UnknownElement /sample:top/status"),
        ("<item><port>1</port></item>", "MissingElement /sample:top/item"),
        ("<name>a</name><name>b</name>", "BadElement /sample:top/name"),
        ("<name x='1'>a</name>", "UnknownAttribute /sample:top/name"),
        ("text", "BadElement /sample:top"),
        ("<name><x/></name>", "UnknownElement /sample:top/name"),
    ] {
        let refusals = Tree::parse_config(schema(), top(inside).as_bytes()).unwrap_err();
        assert_eq!(brief(&refusals), [expected], "{inside}");
    }
    let refusals = Tree::parse_config(schema(), top("<mtu>1</mtu><x/><name/>").as_bytes()).unwrap_err();
    assert_eq!(refusals.len(), 3);
    assert_eq!(refusals[0].message, "an mtu is 68 to 9000");
}

#[test]
fn validation_answers_as_rfc_7950_section_15_says() {
    for (xml, expected) in [
        (top("<on/>"), vec!["DataMissing /sample:top/on/level"]),
        (
            top("<item><name>a</name><peer>b</peer></item>"),
            vec!["DataMissing /sample:top/item[name='a']/peer instance-required"],
        ),
        (
            top("<item><name>a</name><port>1</port></item><item><name>b</name><port>1</port></item>"),
            vec!["OperationFailed /sample:top/item[name='b'] data-not-unique"],
        ),
        (top("<many>10</many>"), vec!["OperationFailed /sample:top/many too-big"]),
        (top("<plain>5</plain>"), vec!["OperationFailed /sample:top/plain must-violation"]),
        (top("<gated>x</gated>"), vec!["UnknownElement /sample:top/gated"]),
        (top("<few>1</few><few>2</few><few>3</few>"), vec!["OperationFailed /sample:top/few too-many-elements"]),
        (
            "<bounds xmlns='urn:sample'><one>x</one></bounds>".to_owned(),
            vec!["OperationFailed /sample:bounds/need too-few-elements"],
        ),
        (
            "<bounds xmlns='urn:sample'><need><k>x</k></need></bounds>".to_owned(),
            vec!["DataMissing /sample:bounds missing-choice"],
        ),
        (top("<host>h</host><number>1</number>"), vec!["BadElement /"]),
    ] {
        let refusals = tree(&xml).validate_config().unwrap_err();
        assert_eq!(brief(&refusals), expected, "{xml}");
    }
    let many = top("<many>10</many><plain>5</plain><on/>");
    assert_eq!(tree(&many).validate_config().unwrap_err().len(), 3);
    let message = &tree(&top("<many>10</many>")).validate_config().unwrap_err()[0].message;
    assert_eq!(message, "many is below ten");
}

#[test]
fn plain_values_become_trees_and_trees_plain_values() {
    let given = Element::node(
        "top",
        vec![
            Element::leaf("status", "up"),
            Element::node(
                "item",
                vec![Element::leaf("name", "a'b"), Element::leaf("colour", "blue").in_module("more")],
            ),
        ],
    )
    .in_module("sample");
    let tree = Tree::from_elements(schema(), std::slice::from_ref(&given)).unwrap();
    let mut found = tree.to_element("/sample:top").unwrap();
    found.children.retain(|child| child.name != "inner" && child.name != "plus");
    found.children.sort_by_key(|child| child.name != "status");
    assert_eq!(found, given);
    let item = tree.to_element("/sample:top/item[name=\"a'b\"]").unwrap();
    assert_eq!((item.module.as_deref(), item.text_of("name")), (Some("sample"), Some("a'b")));
    assert!(tree.to_element("/sample:top/item[name='none']").is_none());
    let wrong = Element::node("top", vec![Element::leaf("mtu", "many"), Element::leaf("no", 1)]).in_module("sample");
    assert_eq!(brief(&Tree::from_elements(schema(), &[wrong]).unwrap_err()).len(), 2);
}

fn sel(name: &str, content: Content) -> Selection {
    Selection { namespace: Some("urn:sample".to_owned()), name: name.to_owned(), attributes: Vec::new(), content }
}

fn within(name: &str, inside: Vec<Selection>) -> Selection {
    sel(name, Content::Within(inside))
}

fn all(name: &str) -> Selection {
    sel(name, Content::Selected)
}

fn equal(name: &str, text: &str) -> Selection {
    sel(name, Content::Match(text.to_owned()))
}

#[test]
fn subtree_filters_select_as_rfc_6241_section_6_says() {
    let data = valid(&top(
        "<name>n</name><item><name>a</name><port>1</port><note>x</note><deep><x>1</x><y>2</y></deep></item>\
         <item><name>b</name><port>2</port><note>x</note></item>\
         <rule><id>2</id></rule><rule><id>1</id><text>t</text></rule>",
    ));
    let item_a = "<item><name>a</name><port>1</port><note>x</note><deep><x>1</x><y>2</y></deep></item>";
    let item_b = "<item><name>b</name><port>2</port><note>x</note></item>";
    let wild = Selection { namespace: None, ..within("top", vec![Selection { namespace: None, ..all("name") }]) };
    let with_attribute = Selection { attributes: vec![(None, "a".to_owned(), "b".to_owned())], ..all("top") };
    let attribute = vec![(None, "a".to_owned(), "b".to_owned())];
    let equal_with_attribute = Selection { attributes: attribute, ..equal("name", "n") };
    for (what, selections, expected) in [
        ("nothing", vec![], ""),
        (
            "a value with an attribute that it does not have",
            vec![within("top", vec![equal_with_attribute, all("item")])],
            "",
        ),
        ("a leaf", vec![within("top", vec![all("name")])], "<name>n</name>"),
        ("any namespace", vec![wild], "<name>n</name>"),
        ("a whole list", vec![within("top", vec![all("item")])], &format!("{item_a}{item_b}")),
        ("an entry by key", vec![within("top", vec![within("item", vec![equal("name", "b")])])], item_b),
        (
            "a leaf of an entry, with its key",
            vec![within("top", vec![within("item", vec![equal("name", "b"), all("port")])])],
            "<item><name>b</name><port>2</port></item>",
        ),
        (
            "a leaf of all entries",
            vec![within("top", vec![within("item", vec![all("port")])])],
            "<item><name>a</name><port>1</port></item><item><name>b</name><port>2</port></item>",
        ),
        ("entries by another leaf", vec![within("top", vec![within("item", vec![equal("port", "01")])])], item_a),
        ("no such value", vec![within("top", vec![within("item", vec![equal("port", "9")])])], ""),
        ("no such node", vec![within("top", vec![within("item", vec![within("deep", vec![all("z")])])])], ""),
        (
            "two selections of one list are joined",
            vec![within(
                "top",
                vec![
                    within("item", vec![equal("name", "a"), within("deep", vec![all("x")])]),
                    within("item", vec![equal("name", "b"), all("note")]),
                ],
            )],
            "<item><name>a</name><deep><x>1</x></deep></item><item><name>b</name><note>x</note></item>",
        ),
        (
            "two selections of one entry are joined",
            vec![within(
                "top",
                vec![
                    within("item", vec![equal("name", "a"), all("port")]),
                    within("item", vec![equal("name", "a"), all("note")]),
                ],
            )],
            "<item><name>a</name><port>1</port><note>x</note></item>",
        ),
        (
            "user order is kept when selections come in another",
            vec![within("top", vec![within("rule", vec![equal("id", "1")]), within("rule", vec![equal("id", "2")])])],
            "<rule><id>2</id></rule><rule><id>1</id><text>t</text></rule>",
        ),
        ("an attribute that no data has", vec![with_attribute], ""),
        ("a match beside", vec![within("top", vec![equal("name", "m"), all("item")])], ""),
        (
            "a match beside that holds",
            vec![within("top", vec![equal("name", "n"), within("rule", vec![equal("id", "2")])])],
            "<name>n</name><rule><id>2</id></rule>",
        ),
    ] {
        let found = select(&data, &Filter::Subtree(selections)).unwrap();
        let expected = if expected.is_empty() { String::new() } else { top(expected) };
        assert_eq!(text(&found), expected, "{what}");
    }
}

#[test]
fn xpath_filters_select_nodes_with_ancestors_and_keys() {
    let data =
        valid(&top("<name>n</name><item><name>a</name><port>1</port></item><item><name>b</name><port>2</port></item>"));
    let ask = |expression: &str| {
        let namespaces = vec![("q".to_owned(), "urn:sample".to_owned())];
        select(&data, &Filter::XPath { expression: expression.to_owned(), namespaces }).map(|tree| text(&tree))
    };
    assert_eq!(ask("/q:top/q:item[q:name='b']/q:port").unwrap(), top("<item><name>b</name><port>2</port></item>"));
    assert_eq!(
        ask("/q:top/q:name | /q:top/q:item[1]").unwrap(),
        top("<name>n</name><item><name>a</name><port>1</port></item>")
    );
    assert_eq!(ask("//q:item/q:name").unwrap(), top("<item><name>a</name></item><item><name>b</name></item>"));
    assert_eq!(ask("/q:top/q:none").unwrap_or_default(), "");
    assert_eq!(ask("/q:top[").unwrap_err().kind, Kind::InvalidValue);
    assert_eq!(ask("1 + 1").unwrap_err().kind, Kind::InvalidValue);
}

#[test]
fn what_may_not_be_read_is_left_out() {
    let data = valid(&top("<name>n</name><item><name>a</name><note>secret</note></item>"));
    let readable = |node: super::tree::Node<'_>| if node.name() == "note" { Seen::Nothing } else { Seen::Itself };
    assert_eq!(text(&prune(&data, &readable)), top("<name>n</name><item><name>a</name></item>"));
    let seen = |filter: Filter| {
        let print = |view: &View<'_>| text(&view.to_tree());
        with_view(&data, Some(&filter), Some(&readable), false, print).unwrap()
    };
    let item = |inner| Filter::Subtree(vec![within("top", vec![within("item", inner)])]);
    assert_eq!(seen(item(vec![equal("name", "a"), all("note")])), top("<item><name>a</name></item>"));
    // What is hidden is not told by a match or a predicate either.
    assert_eq!(seen(item(vec![equal("note", "secret"), all("name")])), "");
    let namespaces = vec![("q".to_owned(), "urn:sample".to_owned())];
    assert_eq!(seen(Filter::XPath { expression: "/q:top/q:item[q:note]".to_owned(), namespaces }), "");
}

#[test]
fn changes_are_told_in_document_order_with_effective_values() {
    let old = valid(&top(
        "<name>n</name><mtu>100</mtu><item><name>a</name></item><rule><id>1</id></rule><rule><id>2</id></rule>",
    ));
    let new = valid(&top("<name>m</name><rule><id>2</id></rule><rule><id>1</id></rule><inner><a>x</a></inner>"));
    let told = diff::changes(&old, &new);
    let has = |path: &str, edit: Edit| told.contains(&Change { path: path.to_owned(), edit });
    assert!(has("/sample:top/name", Edit::Modify { value: "m".to_owned() }), "{told:#?}");
    assert!(has("/sample:top/mtu", Edit::Modify { value: "1500".to_owned() }), "{told:#?}");
    assert!(has("/sample:top/item[name='a']", Edit::Delete), "{told:#?}");
    assert!(has("/sample:top/inner/a", Edit::Create { value: Some("x".to_owned()) }), "{told:#?}");
    assert_eq!(told.iter().filter(|change| change.edit == Edit::Move).count(), 1, "{told:#?}");
    assert!(diff::changes(&old, &old).is_empty());
}

#[test]
fn a_record_survives_printing_and_can_be_turned_round() {
    let old = valid(&top(
        "<name>n</name><item><name>a</name><port>1</port></item><rule><id>1</id></rule><rule><id>2</id></rule><step>x</step><step>y</step>",
    ));
    let new = valid(&top(
        "<mtu>70</mtu><inner><b>7</b></inner><item><name>b</name></item><rule><id>2</id></rule><rule><id>1</id></rule><step>y</step><step>x</step><blob><any xmlns='urn:any'>t</any></blob>",
    ));
    let record = Diff::between(&old, &new).print_xml();
    let read = Diff::parse(schema(), &record).unwrap();
    let mut next = read.applied_to(&old).unwrap();
    next.validate_config().unwrap();
    assert_eq!(text(&next), text(&new));
    let mut back = read.reverse().applied_to(&new).unwrap();
    back.validate_config().unwrap();
    assert_eq!(text(&back), text(&old));
    assert!(Diff::parse(schema(), b"<nonsense/>").is_err());
    assert!(Diff::between(&old, &old).is_empty());
}

const ANYBODY: Permit<'_> = &|_, _| Ok(());

fn fragment(xml: &str) -> Fragment {
    Fragment(bytes::Bytes::copy_from_slice(xml.as_bytes()))
}

#[test]
fn an_rpc_is_checked_on_the_way_in_and_out() {
    let greet =
        Operation::parse_rpc(schema(), &fragment("<greet xmlns='urn:sample'><who>me</who></greet>"), None, ANYBODY)
            .unwrap();
    assert_eq!(greet.path(), "/sample:greet");
    assert_eq!((greet.input().text_of("who"), greet.input().text_of("times")), (Some("me"), Some("2")));
    let output = [Element::leaf("text", "hello"), Element::node("line", vec![Element::leaf("n", 1)])];
    insta::assert_snapshot!(
        String::from_utf8(greet.output(&output).unwrap().to_vec()).unwrap(),
        @r#"<text xmlns="urn:sample">hello</text><line xmlns="urn:sample"><n>1</n></line>"#
    );
    assert!(greet.output(&[Element::leaf("nothing", 1)]).is_err());
    for (xml, expected) in [
        ("<greet xmlns='urn:sample'/>", "MissingElement /sample:greet/who"),
        ("<greet xmlns='urn:sample'><who>x</who><times>999</times></greet>", "InvalidValue /sample:greet/times"),
        ("<greet xmlns='urn:sample'><no/></greet>", "UnknownElement /sample:greet/sample:no"),
        ("<nothing xmlns='urn:sample'/>", "OperationNotSupported"),
        ("<top xmlns='urn:sample'/>", "OperationNotSupported"),
        ("<greet xmlns='urn:none'/>", "UnknownNamespace"),
        ("", "MalformedMessage"),
    ] {
        let refusals = Operation::parse_rpc(schema(), &fragment(xml), None, ANYBODY).unwrap_err();
        assert_eq!(brief(&refusals), [expected], "{xml}");
    }
}

#[test]
fn an_action_is_found_where_it_is_asked() {
    let xml = "<machines xmlns='urn:sample'><machine><id>m 1</id><reset><delay>3</delay></reset></machine></machines>";
    let state = tree("<machines xmlns='urn:sample'><machine><id>m 1</id></machine></machines>");
    let reset = Operation::parse_action(schema(), &fragment(xml), Some(&state), ANYBODY).unwrap();
    assert_eq!(reset.path(), "/sample:machines/machine[id='m 1']/reset");
    assert_eq!(reset.data_path(), Some("/sample:machines/machine[id='m 1']"));
    assert_eq!(reset.input().text_of("delay"), Some("3"));
    assert_eq!(&reset.output(&[Element::leaf("done", true)]).unwrap()[..], b"<done xmlns=\"urn:sample\">true</done>");
    assert_eq!(brief(&reset.output(&[]).unwrap_err()), ["DataMissing /sample:machines/machine[id='m 1']/reset/done"]);
    let empty = Tree::new(schema());
    let refusals = Operation::parse_action(schema(), &fragment(xml), Some(&empty), ANYBODY).unwrap_err();
    assert_eq!(refusals[0].kind, Kind::DataMissing);
    let nothing = "<machines xmlns='urn:sample'/>";
    assert!(Operation::parse_action(schema(), &fragment(nothing), None, ANYBODY).is_err());
}

#[test]
fn what_is_no_data_is_kept_in_anydata_as_it_was_written() {
    for content in ["<top><inner/></top>", "<top/>", "<other xmlns=\"urn:x\"><a>1</a><a/></other>"] {
        let written = top(&format!("<blob>{content}</blob>"));
        assert_eq!(text(&tree(&written)), written);
    }
}
