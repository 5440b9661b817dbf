//! Stores that were written with other modules, and the text way of putting a store together held against the strict one.

use proptest::prelude::*;

use super::edit::Edit;
use super::recovery::{NotPlaced, Recovered, fold, recover};
use super::*;
use crate::northbound::{Fragment, WithDefaults};
use crate::yang::schema::ModuleSpec;
use crate::yang::testing::{schema, text, valid};

/// Modules of these names and bodies.
fn modules(modules: &[(&str, &str)]) -> &'static Schema {
    let dir = tempfile::tempdir().unwrap();
    let specs: Vec<ModuleSpec> = modules
        .iter()
        .map(|(name, body)| {
            let text = format!("module {name} {{ yang-version 1.1; namespace urn:{name}; prefix p;\n{body}\n}}");
            std::fs::write(dir.path().join(format!("{name}.yang")), text).unwrap();
            ModuleSpec { name: (*name).to_owned(), revision: None, features: Vec::new() }
        })
        .collect();
    Schema::load(&[dir.path().to_owned()], &specs).unwrap()
}

const OLD: &str = "container box {
  leaf name { type string; }
  leaf size { type uint32; }
  leaf colour { type string; }
  list slot { key id; leaf id { type uint8; } leaf card { type string; } container port { leaf speed { type uint32; } } }
  leaf-list tag { type string; ordered-by user; }
}";
const OTHER: &str = "container gone { list it { key k; leaf k { type string; } leaf v { type string; } } }";

/// A snapshot after the first edits, the records of all, and running.
struct Written {
    records: Vec<Vec<u8>>,
    snapshot: Vec<u8>,
    running: String,
}

fn write(schema: &'static Schema, edits: &[&str]) -> Written {
    let mut running = Tree::new(schema);
    running.validate_config().unwrap();
    let mut stores = Datastores::new(schema, running);
    let (mut records, mut snapshot) = (Vec::new(), Vec::new());
    for (turn, text) in edits.iter().enumerate() {
        let edit = Edit::parse(&Fragment(text.to_string().into())).unwrap();
        let id = CandidateId::Shared;
        stores.edit_candidate(id, &edit, DefaultOperation::Merge, ErrorOption::RollbackOnError, None).unwrap();
        let proposal = stores.propose(id).unwrap();
        records.push(proposal.diff.print_xml().to_vec());
        stores.accept(&proposal);
        if turn == 0 {
            snapshot = stores.running().print_xml(WithDefaults::Explicit).to_vec();
        }
    }
    Written { records, snapshot, running: text(stores.running()) }
}

impl Written {
    /// What another set of modules makes of it, the same from a snapshot and from records alone.
    fn read(&self, schema: &'static Schema) -> Recovered {
        let records: Vec<&[u8]> = self.records.iter().map(Vec::as_slice).collect();
        let [one, other] =
            [(None, &records[..]), (Some(&self.snapshot[..]), &records[1..])].map(|(snapshot, records)| {
                let recovered = recover(schema, snapshot, records).unwrap();
                let folded = fold(schema, snapshot, records).unwrap();
                let again = recover(schema, Some(&folded), &[]).unwrap();
                assert_eq!(text(&again.tree), text(&recovered.tree));
                recovered
            });
        assert_eq!((text(&one.tree), &one.not_placed), (text(&other.tree), &other.not_placed));
        one
    }
}

fn paths(not_placed: &[NotPlaced]) -> Vec<&str> {
    not_placed.iter().map(|it| it.path.as_str()).collect()
}

const EDITS: [&str; 3] = [
    "<box xmlns='urn:box'><name>n</name><size>7</size><slot><id>1</id><card>a</card></slot><tag>x</tag></box>\
     <gone xmlns='urn:gone'><it><k>1</k><v>a</v></it><it><k>2</k></it></gone>",
    "<box xmlns='urn:box'><colour>red</colour><slot><id>1</id><card>b</card></slot><slot><id>2</id>\
     <port><speed>10</speed></port></slot></box>",
    "<box xmlns='urn:box' xmlns:y='urn:ietf:params:xml:ns:yang:1'><size>70000</size><tag y:insert='first'>w</tag></box>",
];

#[test]
fn a_module_that_is_not_there_any_more_is_named_and_comes_back_with_it() {
    let both = modules(&[("box", OLD), ("gone", OTHER)]);
    let written = write(both, &EDITS);
    let recovered = written.read(modules(&[("box", OLD)]));
    let told = NotPlaced {
        path: "/gone".to_owned(),
        reason: "element gone is in a namespace that no module has: urn:gone".to_owned(),
    };
    assert_eq!(recovered.not_placed, [told]);
    assert_eq!(
        text(&recovered.tree),
        "<box xmlns=\"urn:box\"><name>n</name><size>70000</size><colour>red</colour><slot><id>1</id><card>b</card></slot>\
         <slot><id>2</id><port><speed>10</speed></port></slot><tag>w</tag><tag>x</tag></box>"
    );
    // Nothing was changed: with the module, all is there again.
    let recovered = written.read(both);
    assert_eq!((text(&recovered.tree), recovered.not_placed), (written.running, vec![]));
}

#[test]
fn what_was_deleted_before_its_module_went_is_not_missed() {
    let both = modules(&[("box", OLD), ("gone", OTHER)]);
    let nc = "xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0'";
    let one = format!("<gone xmlns='urn:gone' {nc}><it nc:operation='delete'><k>2</k></it></gone>");
    let all = format!("<gone xmlns='urn:gone' {nc} nc:operation='delete'/>");
    let written = write(both, &[EDITS[0], &one, &all]);
    assert_eq!(written.read(modules(&[("box", OLD)])).not_placed, []);
}

#[test]
fn a_leaf_that_is_gone_or_has_another_type_is_named_and_the_rest_is_there() {
    let written = write(modules(&[("box", OLD), ("gone", OTHER)]), &EDITS);
    let newer =
        OLD.replace("leaf colour { type string; }", "").replace("size { type uint32; }", "size { type uint16; }");
    let newer = newer.replace("leaf speed { type uint32; }", "leaf pace { type uint32; }");
    let recovered = written.read(modules(&[("box", &newer), ("gone", OTHER)]));
    assert_eq!(
        paths(&recovered.not_placed),
        ["/box:box/size", "/box:box/box:colour", "/box:box/slot[id='2']/port/box:speed"]
    );
    assert!(recovered.not_placed[0].reason.contains("70000"), "{:?}", recovered.not_placed);
    let found = text(&recovered.tree);
    assert!(found.contains("<card>b</card>") && found.contains("<id>2</id>") && found.contains("<k>2</k>"), "{found}");
}

#[test]
fn what_newer_modules_do_not_allow_is_left_out_by_name() {
    let written = write(modules(&[("box", OLD), ("gone", OTHER)]), &EDITS);
    let newer = OLD
        .replace("leaf size {", "leaf size { must '. < 100';")
        .replace("leaf card { type string; }", "leaf card { type string; mandatory true; }");
    let recovered = written.read(modules(&[("box", &newer), ("gone", OTHER)]));
    let mut left_out = paths(&recovered.not_placed);
    left_out.sort_unstable();
    assert_eq!(left_out, ["/box:box/size", "/box:box/slot[id='2']"]);
    // Where no node can be left out there is no running to begin with.
    let impossible = format!("{OLD} container now {{ leaf must-be {{ type string; mandatory true; }} }}");
    let records: Vec<&[u8]> = written.records.iter().map(Vec::as_slice).collect();
    assert!(recover(modules(&[("box", &impossible), ("gone", OTHER)]), None, &records).is_err());
}

fn any_edit() -> impl Strategy<Value = String> {
    let operation =
        prop_oneof![3 => Just(""), 1 => Just(" nc:operation='remove'"), 1 => Just(" nc:operation='replace'")];
    let first = prop_oneof![Just(""), Just(" y:insert='first'")];
    let node = prop_oneof![
        "[ab]".prop_map(|value| ("name", value)),
        "[xyz]".prop_map(|value| ("tag", value)),
        "[xyz]".prop_map(|value| ("step", value)),
        ("[pq]", "[12]?").prop_map(|(key, note)| ("item", format!("<name>{key}</name><note>{note}</note>"))),
        ("[pq]", "[12]").prop_map(|(key, x)| ("item", format!("<name>{key}</name><deep><x>{x}</x></deep>"))),
        ("[123]", "[ab]").prop_map(|(id, text)| ("rule", format!("<id>{id}</id><text>{text}</text>"))),
        "[123]".prop_map(|id| ("rule", format!("<id>{id}</id>"))),
        ("[ab]", "[ab]").prop_map(|(left, right)| ("pair", format!("<left>{left}</left><right>{right}</right>"))),
        "[12]".prop_map(|a| ("inner", format!("<a>{a}</a>"))),
        "[12]".prop_map(|level| ("on", format!("<level>{level}</level>"))),
        "[ab]".prop_map(|host| ("host", host)),
        "[12]".prop_map(|number| ("number", number)),
    ];
    (node, operation, first).prop_map(|((name, inside), operation, first)| {
        let place = if matches!(name, "step" | "rule") && operation.is_empty() { first } else { "" };
        format!("<{name}{operation}{place}>{inside}</{name}>")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn put_together_as_text_a_store_comes_to_the_same_as_by_the_schema(
        edits in prop::collection::vec(prop::collection::vec(any_edit(), 1..5), 1..8),
    ) {
        let mut stores = Datastores::new(schema(), valid(""));
        let mut records = Vec::new();
        for round in edits {
            let inside = round.concat();
            let text = format!(
                "<top xmlns='urn:sample' xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' \
                 xmlns:y='urn:ietf:params:xml:ns:yang:1'>{inside}</top>"
            );
            let edit = Edit::parse(&Fragment(text.into())).unwrap();
            let id = CandidateId::Shared;
            let _ = stores.edit_candidate(id, &edit, DefaultOperation::Merge, ErrorOption::RollbackOnError, None);
            let Ok(proposal) = stores.propose(id) else { continue };
            records.push(proposal.diff.print_xml());
            stores.accept(&proposal);
        }
        let tops = crate::yang::replay::replay(None, records.iter().map(|record| &record[..])).unwrap();
        let mut tree = Tree::new(schema());
        prop_assert_eq!(Edit::of(tops).merge_what_fits(&mut tree), vec![]);
        tree.validate_config().unwrap();
        prop_assert_eq!(text(&tree), text(stores.running()));
    }
}
