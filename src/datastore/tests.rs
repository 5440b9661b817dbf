//! Scenario tables for edit-config (RFC 6241 section 7.2) and for candidates.

use proptest::prelude::*;

use super::edit::{Access, Edit};
use super::*;
use crate::northbound::Fragment;
use crate::yang::testing::{schema, text, top, valid};

fn edit(inside: &str) -> Edit {
    let xml = format!(
        "<top xmlns=\"urn:sample\" xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\" \
         xmlns:y=\"urn:ietf:params:xml:ns:yang:1\" xmlns:s=\"urn:sample\">{inside}</top>"
    );
    Edit::parse(&Fragment(xml.into())).unwrap()
}

/// The content of `top` after the edit, or the tag and path of each refusal.
fn outcome(before: &str, inside: &str, default_operation: DefaultOperation) -> String {
    let before = if before.is_empty() { String::new() } else { top(before) };
    let mut tree = valid(&before);
    match edit(inside).apply(&mut tree, default_operation, ErrorOption::RollbackOnError, None) {
        Ok(()) => inner(&tree),
        Err(refusals) => {
            let lines: Vec<String> = refusals
                .iter()
                .map(|refusal| {
                    let kind = format!("{:?}", refusal.kind);
                    let kind = kind.split([' ', '{']).next().unwrap().to_owned();
                    format!("{kind} {}", refusal.path.as_deref().unwrap_or("-"))
                })
                .collect();
            lines.join("; ")
        }
    }
}

fn inner(tree: &Tree) -> String {
    let text = text(tree);
    let text = text.strip_prefix("<top xmlns=\"urn:sample\">").unwrap_or(&text);
    text.strip_suffix("</top>").unwrap_or(text).to_owned()
}

#[test]
fn the_five_operations_on_each_kind_of_node() {
    let item = "<item><name>a</name><port>1</port></item>";
    let steps = "<step>x</step><step>y</step>";
    for (before, inside, expected) in [
        // leaf
        ("", "<name>n</name>", "<name>n</name>"),
        ("<name>o</name>", "<name>n</name>", "<name>n</name>"),
        ("", "<name nc:operation='create'>n</name>", "<name>n</name>"),
        ("<name>o</name>", "<name nc:operation='create'>n</name>", "DataExists /sample:top/name"),
        ("<name>o</name>", "<name nc:operation='replace'>n</name>", "<name>n</name>"),
        ("<name>o</name>", "<name nc:operation='delete'/>", ""),
        ("", "<name nc:operation='delete'/>", "DataMissing /sample:top/name"),
        ("<name>o</name>", "<name nc:operation='remove'/>", ""),
        ("<mtu>80</mtu>", "<name nc:operation='remove'/>", "<mtu>80</mtu>"),
        // a default counts as absent
        ("", "<mtu nc:operation='create'>1500</mtu>", "<mtu>1500</mtu>"),
        ("", "<mtu nc:operation='delete'/>", "DataMissing /sample:top/mtu"),
        ("<mtu>80</mtu>", "<mtu nc:operation='delete'/>", ""),
        // container
        ("", "<on nc:operation='create'/>", "<on/>"),
        ("<on><level>1</level></on>", "<on nc:operation='create'/>", "DataExists /sample:top/on"),
        ("<on><level>1</level></on>", "<on nc:operation='delete'/>", ""),
        ("", "<on nc:operation='delete'/>", "DataMissing /sample:top/on"),
        ("<inner><a>1</a><b>2</b></inner>", "<inner><b>3</b></inner>", "<inner><a>1</a><b>3</b></inner>"),
        (
            "<inner><a>1</a><b>2</b></inner>",
            "<inner nc:operation='replace'><b>3</b></inner>",
            "<inner><b>3</b></inner>",
        ),
        ("", "<inner nc:operation='create'><a>1</a></inner>", "<inner><a>1</a></inner>"),
        ("<inner><a>1</a></inner>", "<inner nc:operation='create'><b>1</b></inner>", "DataExists /sample:top/inner"),
        ("", "<inner nc:operation='remove'/>", ""),
        // list
        ("", item, item),
        (item, "<item><name>a</name><note>n</note></item>", "<item><name>a</name><port>1</port><note>n</note></item>"),
        (
            item,
            "<item nc:operation='replace'><name>a</name><note>n</note></item>",
            "<item><name>a</name><note>n</note></item>",
        ),
        (item, "<item nc:operation='create'><name>a</name></item>", "DataExists /sample:top/item[name='a']"),
        (item, "<item nc:operation='delete'><name>a</name></item>", ""),
        (item, "<item nc:operation='delete'><name>b</name></item>", "DataMissing /sample:top/item"),
        (item, "<item nc:operation='remove'><name>b</name></item>", item),
        (item, "<item><name>a</name><port nc:operation='delete'/></item>", "<item><name>a</name></item>"),
        (item, "<item><port>1</port></item>", "MissingElement /sample:top/item"),
        (
            "",
            "<pair><right>\"it's\"</right><left>l</left></pair>",
            "<pair><left>l</left><right>\"it's\"</right></pair>",
        ),
        // leaf-list
        ("<tag>x</tag>", "<tag>y</tag><tag>x</tag>", "<tag>x</tag><tag>y</tag>"),
        ("<tag>x</tag>", "<tag nc:operation='create'>x</tag>", "DataExists /sample:top/tag[.='x']"),
        ("<tag>x</tag><tag>y</tag>", "<tag nc:operation='delete'>x</tag>", "<tag>y</tag>"),
        ("<tag>x</tag>", "<tag nc:operation='delete'>z</tag>", "DataMissing /sample:top/tag"),
        ("<tag>x</tag>", "<tag nc:operation='remove'>z</tag>", "<tag>x</tag>"),
        // user order
        (steps, "<step y:insert='first'>z</step>", "<step>z</step><step>x</step><step>y</step>"),
        (steps, "<step y:insert='last'>x</step>", "<step>y</step><step>x</step>"),
        (steps, "<step y:insert='before' y:value='y'>z</step>", "<step>x</step><step>z</step><step>y</step>"),
        (steps, "<step y:insert='after' y:value='y'>x</step>", "<step>y</step><step>x</step>"),
        (steps, "<step y:insert='after' y:value='q'>x</step>", "BadAttribute /sample:top/step[.='x']"),
        (steps, "<step y:insert='before'>x</step>", "MissingAttribute /sample:top/step[.='x']"),
        (steps, "<step y:insert='between'>x</step>", "BadAttribute /sample:top/step[.='x']"),
        (
            "<rule><id>1</id></rule><rule><id>2</id></rule>",
            "<rule y:insert='before' y:key=\"[s:id='1']\"><id>3</id></rule>",
            "<rule><id>3</id></rule><rule><id>1</id></rule><rule><id>2</id></rule>",
        ),
        (
            "<rule><id>1</id><text>t</text></rule><rule><id>2</id></rule>",
            "<rule nc:operation='replace'><id>1</id></rule>",
            "<rule><id>1</id></rule><rule><id>2</id></rule>",
        ),
        // choice
        ("<host>h</host>", "<number>1</number>", "<number>1</number>"),
        ("<number>1</number><extra>e</extra>", "<host>h</host>", "<host>h</host>"),
        ("<number>1</number>", "<extra>e</extra>", "<number>1</number><extra>e</extra>"),
        // anydata
        ("", "<blob><x xmlns='urn:x'>1</x></blob>", "<blob><x xmlns=\"urn:x\">1</x></blob>"),
        // what cannot be
        ("", "<nothing/>", "UnknownElement /sample:top/sample:nothing"),
        ("", "<a xmlns='urn:none'/>", "UnknownNamespace /sample:top"),
        ("", "<status>x</status>", "UnknownElement /sample:top/status"),
        ("", "<name nc:operation='swap'>n</name>", "BadAttribute /sample:top/name"),
        ("", "<name colour='red'>n</name>", "UnknownAttribute /sample:top/name"),
        ("", "<name y:insert='first'>n</name>", "UnknownAttribute /sample:top/name"),
        ("", "<mtu>1</mtu>", "InvalidValue /sample:top/mtu"),
        ("", "<tag><x/></tag>", "UnknownElement /sample:top/tag"),
        ("", "<mtu>1</mtu><nothing/>", "InvalidValue /sample:top/mtu; UnknownElement /sample:top/sample:nothing"),
        // an incomplete candidate is legal
        (
            "",
            "<many>99</many><item><name>a</name><peer>none</peer></item>",
            "<item><name>a</name><peer>none</peer></item><many>99</many>",
        ),
    ] {
        assert_eq!(outcome(before, inside, DefaultOperation::Merge), expected, "{before} + {inside}");
    }
}

#[test]
fn default_operation_none_and_replace() {
    for (before, inside, operation, expected) in [
        ("<name>o</name>", "<name>n</name>", DefaultOperation::None, "<name>o</name>"),
        ("", "<name>n</name>", DefaultOperation::None, "DataMissing /sample:top/name"),
        ("", "<inner><a nc:operation='create'>1</a></inner>", DefaultOperation::None, "<inner><a>1</a></inner>"),
        (
            "",
            "<item><name>a</name><port nc:operation='create'>1</port></item>",
            DefaultOperation::None,
            "DataMissing /sample:top/item",
        ),
        ("<name>o</name><mtu>80</mtu>", "<name>n</name>", DefaultOperation::Replace, "<name>n</name>"),
        (
            "<name>o</name><mtu>80</mtu>",
            "<mtu nc:operation='merge'>90</mtu>",
            DefaultOperation::Replace,
            "<mtu>90</mtu>",
        ),
    ] {
        assert_eq!(outcome(before, inside, operation), expected, "{before} + {inside}");
    }
    let mut tree = valid("<root-list xmlns='urn:sample'><k>1</k></root-list><top-leaf xmlns='urn:sample'>x</top-leaf>");
    let replacement = Edit::parse(&Fragment("<root-list xmlns='urn:sample'><k>2</k></root-list>".into())).unwrap();
    replacement.apply(&mut tree, DefaultOperation::Replace, ErrorOption::StopOnError, None).unwrap();
    assert_eq!(text(&tree), "<root-list xmlns=\"urn:sample\"><k>2</k></root-list>");
}

#[test]
fn error_options_say_how_much_of_an_edit_is_done() {
    let broken = "<name>n</name><nothing/><mtu>1</mtu><tag>t</tag>";
    for (option, refusals, after) in [
        (ErrorOption::StopOnError, 1, ""),
        (ErrorOption::RollbackOnError, 2, ""),
        (ErrorOption::ContinueOnError, 2, "<name>n</name><tag>t</tag>"),
    ] {
        let mut stores = Datastores::new(schema(), valid(""));
        let result = stores.edit_candidate(CandidateId::Shared, &edit(broken), DefaultOperation::Merge, option, None);
        assert_eq!(result.unwrap_err().len(), refusals, "{option:?}");
        assert_eq!(inner(&stores.candidate(CandidateId::Shared)), after, "{option:?}");
    }
}

#[test]
fn an_edit_tells_what_it_touches_and_can_be_forbidden() {
    let stores = Datastores::new(schema(), valid(&top("<name>o</name><item><name>a</name><port>1</port></item>")));
    let change = edit(
        "<name>n</name><mtu>1500</mtu><item nc:operation='delete'><name>a</name></item><item><name>b</name></item>",
    );
    let touched = |change: &Edit| {
        let (mut next, mut touched) = (stores.running().duplicate(), Vec::new());
        let mut note = |touch: edit::Touch<'_>| {
            touched.push(format!("{:?} {}", touch.access, touch.node.path()));
            Ok(())
        };
        change.apply(&mut next, DefaultOperation::Merge, ErrorOption::RollbackOnError, Some(&mut note)).unwrap();
        touched
    };
    assert_eq!(
        touched(&change),
        [
            "Update /sample:top/name",
            "Create /sample:top/mtu",
            "Delete /sample:top/item[name='a']",
            "Delete /sample:top/item[name='a']/name",
            "Delete /sample:top/item[name='a']/port",
            "Create /sample:top/item[name='b']",
            "Create /sample:top/item[name='b']/name",
        ]
    );
    let same = edit("<name>o</name>");
    assert!(touched(&same).is_empty());
    let mut stores = stores;
    let mut forbid = |touch: edit::Touch<'_>| match touch.access {
        Access::Delete => Err(Refusal::new(Kind::AccessDenied, "no").at(touch.node.path())),
        Access::Create | Access::Update => Ok(()),
    };
    let result = stores.edit_candidate(
        CandidateId::Shared,
        &change,
        DefaultOperation::Merge,
        ErrorOption::StopOnError,
        Some(&mut forbid),
    );
    assert_eq!(result.unwrap_err()[0].kind, Kind::AccessDenied);
    assert!(!stores.is_dirty(CandidateId::Shared));
}

fn change(stores: &mut Datastores, id: CandidateId, inside: &str) {
    stores.edit_candidate(id, &edit(inside), DefaultOperation::Merge, ErrorOption::StopOnError, None).unwrap();
}

fn commit(stores: &mut Datastores, id: CandidateId) -> Result<(), Vec<Refusal>> {
    let proposal = stores.propose(id)?;
    stores.accept(&proposal);
    Ok(())
}

#[test]
fn a_commit_makes_the_candidate_running_and_clean() {
    let mut stores = Datastores::new(schema(), valid(""));
    assert!(stores.propose(CandidateId::Shared).unwrap().is_empty());
    change(&mut stores, CandidateId::Shared, "<name>n</name>");
    assert!(stores.is_dirty(CandidateId::Shared));
    let before = Arc::clone(stores.running());
    let proposal = stores.propose(CandidateId::Shared).unwrap();
    assert!(!proposal.is_empty());
    stores.accept(&proposal);
    assert!(!stores.is_dirty(CandidateId::Shared));
    assert_eq!(inner(stores.running()), "<name>n</name>");
    // A reader keeps what it began with.
    assert_eq!(inner(&before), "");
    change(&mut stores, CandidateId::Shared, "<name>m</name>");
    change(&mut stores, CandidateId::Shared, "<name>n</name>");
    assert!(!stores.is_dirty(CandidateId::Shared), "edited back to running is clean");
    change(&mut stores, CandidateId::Shared, "<many>99</many>");
    assert!(stores.propose(CandidateId::Shared).is_err());
    assert_eq!(inner(&stores.candidate(CandidateId::Shared)), "<name>n</name><many>99</many>");
    stores.discard(CandidateId::Shared);
    assert_eq!(inner(&stores.candidate(CandidateId::Shared)), "<name>n</name>");
}

#[test]
fn a_candidate_is_rebased_when_running_moves_and_a_conflict_is_named() {
    let one = CandidateId::Private(SessionId(1));
    let mut stores = Datastores::new(schema(), valid(&top("<item><name>a</name><port>1</port></item>")));
    change(&mut stores, one, "<name>mine</name><item><name>a</name><note>n</note></item>");
    change(&mut stores, CandidateId::Shared, "<mtu>80</mtu><item><name>a</name><port>2</port></item>");
    commit(&mut stores, CandidateId::Shared).unwrap();
    assert_eq!(
        inner(&stores.candidate(one)),
        "<name>mine</name><mtu>80</mtu><item><name>a</name><port>2</port><note>n</note></item>"
    );
    commit(&mut stores, one).unwrap();

    change(&mut stores, one, "<name>left</name>");
    change(&mut stores, CandidateId::Shared, "<name>right</name>");
    commit(&mut stores, CandidateId::Shared).unwrap();
    let refusals = stores.propose(one).unwrap_err();
    assert_eq!(refusals[0].path.as_deref(), Some("/sample:top/name"));
    assert!(inner(&stores.candidate(one)).contains("left"), "nothing is lost");
    stores.discard(one);
    assert!(stores.propose(one).unwrap().is_empty());

    change(&mut stores, one, "<item nc:operation='delete'><name>a</name></item>");
    change(&mut stores, CandidateId::Shared, "<item><name>a</name><port>9</port></item>");
    commit(&mut stores, CandidateId::Shared).unwrap();
    assert_eq!(stores.conflicts(one), ["/sample:top/item[name='a']/port"]);
    stores.discard(one);

    change(&mut stores, one, "<item><name>new</name></item><tag>t</tag>");
    change(&mut stores, CandidateId::Shared, "<item><name>new</name></item><mtu nc:operation='delete'/>");
    commit(&mut stores, CandidateId::Shared).unwrap();
    assert!(stores.conflicts(one).is_empty());
    commit(&mut stores, one).unwrap();
    let after = inner(stores.running());
    assert!(after.contains("<tag>t</tag>") && after.matches("<name>new</name>").count() == 1, "{after}");
    assert!(!after.contains("mtu"), "{after}");
}

#[test]
fn what_both_made_alike_does_not_bring_back_what_the_other_one_changed() {
    let one = CandidateId::Private(SessionId(1));
    let mut stores = Datastores::new(schema(), valid(&top("<name>old</name><mtu>80</mtu>")));
    change(&mut stores, one, "<item><name>new</name></item><mtu>90</mtu>");
    change(&mut stores, CandidateId::Shared, "<item><name>new</name></item><name>theirs</name><mtu>90</mtu>");
    commit(&mut stores, CandidateId::Shared).unwrap();
    change(&mut stores, one, "<tag>t</tag>");
    commit(&mut stores, one).unwrap();
    let after = inner(stores.running());
    assert!(after.contains("<name>theirs</name><mtu>90</mtu>") && after.contains("<tag>t</tag>"), "{after}");
}

#[test]
fn a_whole_candidate_that_is_rebased_does_not_bring_back_what_the_other_side_changed() {
    let one = CandidateId::Private(SessionId(1));
    let mut stores = Datastores::new(schema(), valid(&top("<name>old</name><mtu>80</mtu><tag>1</tag>")));
    // As copy-config brings it: complete, and not yet validated.
    let whole = Tree::parse_config(schema(), top("<name>old</name><mtu>80</mtu>").as_bytes()).unwrap();
    stores.replace_candidate(one, whole);
    change(&mut stores, CandidateId::Shared, "<name>theirs</name>");
    commit(&mut stores, CandidateId::Shared).unwrap();
    commit(&mut stores, one).unwrap();
    let after = inner(stores.running());
    assert!(after.contains("<name>theirs</name><mtu>80</mtu>") && !after.contains("<tag>"), "{after}");
}

#[test]
fn running_is_recovered_from_a_snapshot_and_the_records_after_it() {
    let mut stores = Datastores::new(schema(), valid(""));
    let mut records = Vec::new();
    let mut snapshot = None;
    for (turn, inside) in [
        "<inner><a>1</a></inner><mtu>80</mtu>",
        "<rule><id>1</id></rule><rule><id>2</id></rule><item><name>x</name></item>",
        "<rule y:insert='first'><id>2</id></rule><inner nc:operation='delete'/><mtu>1500</mtu>",
        "<mtu nc:operation='delete'/><item><name>x</name><colour xmlns='urn:more'>red</colour></item>",
    ]
    .into_iter()
    .enumerate()
    {
        change(&mut stores, CandidateId::Shared, inside);
        let proposal = stores.propose(CandidateId::Shared).unwrap();
        records.push(proposal.diff.print_xml());
        stores.accept(&proposal);
        if turn == 1 {
            snapshot = Some(stores.running().print_xml(crate::northbound::WithDefaults::Explicit));
        }
    }
    let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
    for (snapshot, records) in [(None, &records[..]), (snapshot.as_deref(), &records[2..])] {
        let recovered = recovery::recover(schema(), snapshot, records).unwrap();
        assert!(recovered.tree.is_same(stores.running()), "{recovered:?}");
        assert_eq!(recovered.not_placed, []);
    }
}

fn some_edit() -> impl Strategy<Value = String> {
    let operation = prop_oneof![Just("merge"), Just("replace"), Just("remove")];
    let node = prop_oneof![
        "[a-c]".prop_map(|value| ("name", value, String::new())),
        "[1-3]".prop_map(|value| ("tag", value, String::new())),
        "[1-4]".prop_map(|value| ("step", value, String::new())),
        ("[a-c]", "[1-3]?").prop_map(|(key, note)| ("item", format!("<name>{key}</name>"), note)),
        ("[1-3]", "[a-b]?").prop_map(|(key, text)| ("rule", format!("<id>{key}</id>"), text)),
        "[x-z]".prop_map(|value| ("host", value, String::new())),
        "[1-3]".prop_map(|value| ("number", value, String::new())),
    ];
    proptest::collection::vec((operation, node, any::<bool>()), 1..6).prop_map(|parts| {
        let mut text = String::new();
        let mut leaves = Vec::new();
        for (operation, (name, value, extra), first) in parts {
            // A leaf is given once.
            if matches!(name, "name" | "host" | "number") {
                if leaves.contains(&name) {
                    continue;
                }
                leaves.push(name);
            }
            let place = if first && matches!(name, "step" | "rule") && operation != "remove" {
                " y:insert='first'"
            } else {
                ""
            };
            let extra = match name {
                "item" if !extra.is_empty() && operation != "remove" => format!("<note>{extra}</note>"),
                "rule" if !extra.is_empty() && operation != "remove" => format!("<text>{extra}</text>"),
                _ => String::new(),
            };
            text.push_str(&format!("<{name} nc:operation='{operation}'{place}>{value}{extra}</{name}>"));
        }
        text
    })
}

proptest! {
    #[test]
    fn the_record_of_an_edit_makes_the_same_tree_and_its_reverse_restores(
        before in some_edit(),
        after in some_edit(),
    ) {
        let mut old = valid("");
        edit(&before).apply(&mut old, DefaultOperation::Merge, ErrorOption::StopOnError, None).unwrap();
        old.validate_config().unwrap();
        let mut new = old.duplicate();
        edit(&after).apply(&mut new, DefaultOperation::Merge, ErrorOption::StopOnError, None).unwrap();
        new.validate_config().unwrap();
        let record = Diff::between(&old, &new).print_xml();
        let read = Diff::parse(schema(), &record).unwrap();
        let mut applied = read.applied_to(&old).unwrap();
        applied.validate_config().unwrap();
        prop_assert_eq!(text(&applied), text(&new));
        prop_assert!(applied.is_same(&new));
        let mut back = read.reverse().applied_to(&new).unwrap();
        back.validate_config().unwrap();
        prop_assert_eq!(text(&back), text(&old));
    }

    #[test]
    fn no_bytes_make_an_edit_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(edit) = Edit::parse(&Fragment(bytes.into())) {
            let mut tree = valid("");
            let _ = edit.apply(&mut tree, DefaultOperation::Merge, ErrorOption::ContinueOnError, None);
        }
    }
}

/// How a commit of this edit is judged, or whom a refusal names.
fn verdict(stores: &mut Datastores, inside: &str) -> String {
    let id = CandidateId::Shared;
    stores.edit_candidate(id, &edit(inside), DefaultOperation::Merge, ErrorOption::RollbackOnError, None).unwrap();
    match stores.propose(id) {
        Ok(proposal) => {
            stores.accept(&proposal);
            if proposal.is_partial() { "by its part".to_owned() } else { "by the whole".to_owned() }
        }
        Err(refusals) => {
            stores.discard(id);
            let paths: Vec<&str> = refusals.iter().filter_map(|refusal| refusal.path.as_deref()).collect();
            format!("refused: {}", paths.join(" "))
        }
    }
}

#[test]
fn what_names_an_entry_and_what_is_unique_is_judged_without_the_rest() {
    let items: String = (0..20).map(|n| format!("<item><name>i{n}</name><port>{n}</port></item>")).collect();
    let mut stores = Datastores::new(schema(), valid(&top(&items)));
    for (edit, expected) in [
        ("<item><name>new</name><port>100</port><peer>i7</peer></item>", "by its part"),
        ("<item><name>i3</name><peer>new</peer></item>", "by its part"),
        ("<item><name>x</name><port>7</port></item>", "refused: /sample:top/item[name='x']"),
        ("<item><name>x</name><peer>none</peer></item>", "refused: /sample:top/item[name='x']/peer"),
        ("<item nc:operation='delete'><name>i7</name></item>", "refused: /sample:top/item[name='new']/peer"),
        ("<item nc:operation='delete'><name>i8</name></item>", "by its part"),
        ("<item><name>x</name><port>8</port></item>", "by its part"),
        ("<item><name>new</name><peer nc:operation='delete'/></item>", "by its part"),
        ("<item nc:operation='delete'><name>i7</name></item>", "by its part"),
        ("<item><name>x</name><port>100</port></item>", "refused: /sample:top/item[name='x']"),
        ("<item><name>new</name><port>8</port></item><item><name>x</name><port>100</port></item>", "by its part"),
    ] {
        assert_eq!(verdict(&mut stores, edit), expected, "{edit}");
    }
}
