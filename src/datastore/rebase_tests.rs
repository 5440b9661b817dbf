//! Rebasing held against an oracle: a merge of what is written on three sides, node by node, that knows no trees.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::edit::Edit;
use super::*;
use crate::northbound::Fragment;
use crate::yang::schema::NodeKind;
use crate::yang::testing::{schema, text, valid};
use crate::yang::tree::Node;

const ONE: CandidateId = CandidateId::Private(SessionId(1));
const TWO: CandidateId = CandidateId::Private(SessionId(2));

fn change(stores: &mut Datastores, id: CandidateId, inside: &str) {
    let text = format!("<top xmlns='urn:sample' xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0'>{inside}</top>");
    let edit = Edit::parse(&Fragment(text.into())).unwrap();
    // One that cannot be done (deletes what is not there) changes nothing.
    let _ = stores.edit_candidate(id, &edit, DefaultOperation::Merge, ErrorOption::RollbackOnError, None);
}

fn commit(stores: &mut Datastores, id: CandidateId) -> Result<(), Vec<Refusal>> {
    let proposal = stores.propose(id)?;
    stores.accept(&proposal);
    Ok(())
}

/// What is written: each leaf with its value, each entry and presence container; not what only holds them.
type Facts = BTreeMap<String, Option<String>>;

fn facts(tree: &Tree) -> Facts {
    fn walk(node: Node<'_>, into: &mut Facts) {
        if node.is_default() {
            return;
        }
        if node.schema().kind() != (NodeKind::Container { presence: false }) {
            into.insert(node.path(), node.value().map(str::to_owned));
        }
        node.children().for_each(|child| walk(child, into));
    }
    let mut found = Facts::new();
    tree.roots().for_each(|root| walk(root, &mut found));
    found
}

/// What both sides together made of `base`; `None` where they stand against each other.
fn merged(base: &Facts, one: &Facts, other: &Facts) -> Option<Facts> {
    let mut result = Facts::new();
    let paths: std::collections::BTreeSet<&String> = base.keys().chain(one.keys()).chain(other.keys()).collect();
    for path in paths {
        let (was, left, right) = (base.get(path), one.get(path), other.get(path));
        let is = match (left == was, right == was) {
            (true, _) => right,
            (_, true) => left,
            _ if left == right => left,
            _ => return None,
        };
        if let Some(is) = is {
            result.insert(path.clone(), is.clone());
        }
    }
    // Neither worked below what the other took away.
    let taken =
        |side: &Facts| -> Vec<String> { base.keys().filter(|path| !side.contains_key(*path)).cloned().collect() };
    let is_orphan = |path: &String| {
        let below = |taken: &Vec<String>| taken.iter().any(|above| path.starts_with(&format!("{above}/")));
        below(&taken(one)) || below(&taken(other))
    };
    (!result.keys().any(is_orphan)).then_some(result)
}

fn any_edit() -> impl Strategy<Value = String> {
    let operation =
        || prop_oneof![4 => Just(""), 2 => Just(" nc:operation='remove'"), 1 => Just(" nc:operation='replace'")];
    prop_oneof![
        ("[12]", operation()).prop_map(|(value, operation)| format!("<name{operation}>{value}</name>")),
        (70..73_u16, operation()).prop_map(|(value, operation)| format!("<mtu{operation}>{value}</mtu>")),
        ("[xy]", operation()).prop_map(|(value, operation)| format!("<tag{operation}>{value}</tag>")),
        ("[ab]", "[12]", operation())
            .prop_map(|(leaf, value, operation)| { format!("<inner><{leaf}{operation}>{value}</{leaf}></inner>") }),
        operation().prop_map(|operation| format!("<inner{operation}><a>9</a></inner>")),
        ("[0-9]", operation()).prop_map(|(level, operation)| format!("<on{operation}><level>{level}</level></on>")),
        ("[pq]", operation(), prop::option::of("[12]")).prop_map(|(name, operation, note)| {
            let note = note.map(|note| format!("<note>{note}</note>")).unwrap_or_default();
            format!("<item{operation}><name>{name}</name>{note}</item>")
        }),
        ("[pq]", "[xy]", "[12]", operation()).prop_map(|(name, leaf, value, operation)| {
            format!("<item><name>{name}</name><deep><{leaf}{operation}>{value}</{leaf}></deep></item>")
        }),
        ("[pq]", operation()).prop_map(|(name, operation)| {
            format!("<item><name>{name}</name><deep{operation}><x>7</x></deep></item>")
        }),
    ]
}

fn edits() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(any_edit(), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn two_sides_come_to_their_merge_in_either_order_or_are_told_that_they_cannot(
        base in edits(), one in edits(), other in edits(),
    ) {
        let mut stores = Datastores::new(schema(), valid(""));
        base.iter().for_each(|edit| change(&mut stores, ONE, edit));
        prop_assume!(commit(&mut stores, ONE).is_ok());
        let base = stores.running().duplicate();
        one.iter().for_each(|edit| change(&mut stores, ONE, edit));
        other.iter().for_each(|edit| change(&mut stores, TWO, edit));
        let sides = [ONE, TWO].map(|id| stores.candidate(id));
        let [left, right] = [&sides[0], &sides[1]].map(|side| facts(side));
        let expected = merged(&facts(&base), &left, &right);
        for (first, second, mine) in [(&sides[0], &sides[1], &right), (&sides[1], &sides[0], &left)] {
            let mut stores = Datastores::new(schema(), base.duplicate());
            stores.replace_candidate(TWO, second.duplicate());
            // The first one is taken as it is: whether it is valid is not asked here.
            stores.replace_candidate(ONE, first.duplicate());
            let Ok(proposal) = stores.propose(ONE) else { continue };
            // Validation takes away what its `when` forbids: then it is another first side.
            if facts(&stores.candidate(ONE)) != facts(first) {
                continue;
            }
            stores.accept(&proposal);
            let conflicts = stores.conflicts(TWO);
            let result = facts(&stores.candidate(TWO));
            match &expected {
                Some(expected) => {
                    prop_assert!(conflicts.is_empty(), "{conflicts:?} but {expected:?}");
                    prop_assert_eq!(&result, expected);
                }
                None => {
                    prop_assert!(!conflicts.is_empty(), "{} and {}", text(first), text(second));
                    // Nothing of it is lost.
                    for (path, value) in mine.iter().filter(|(path, value)| facts(&base).get(*path) != Some(value)) {
                        prop_assert_eq!(result.get(path), Some(value), "{}", path);
                    }
                    prop_assert!(stores.update(TWO, None).is_err());
                    prop_assert_eq!(facts(&stores.candidate(TWO)), result);
                    let theirs = if mine == &right { &left } else { &right };
                    for (winner, winning) in [(Side::Running, theirs), (Side::Candidate, mine)] {
                        let mut stores = Datastores::new(schema(), base.duplicate());
                        stores.replace_candidate(TWO, second.duplicate());
                        stores.replace_candidate(ONE, first.duplicate());
                        commit(&mut stores, ONE).unwrap();
                        let outcome = stores.update(TWO, Some(winner));
                        prop_assert!(outcome.is_ok(), "{outcome:?}");
                        let result = facts(&stores.candidate(TWO));
                        let base = facts(&base);
                        for path in base.keys().chain(winning.keys()).filter(|path| base.get(*path) != winning.get(*path)) {
                            prop_assert_eq!(result.get(path), winning.get(path), "{:?} {}", winner, path);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn taking_the_last_out_of_a_container_does_not_stand_against_what_others_put_into_it() {
    for (first, second) in [(ONE, TWO), (TWO, ONE)] {
        let base =
            "<top xmlns='urn:sample'><inner><a>1</a></inner><item><name>i</name><deep><x>1</x></deep></item></top>";
        let mut stores = Datastores::new(schema(), valid(base));
        change(
            &mut stores,
            ONE,
            "<inner nc:operation='delete'/><item><name>i</name><deep nc:operation='delete'/></item>",
        );
        change(&mut stores, TWO, "<inner><b>2</b></inner><item><name>i</name><deep><y>2</y></deep></item>");
        commit(&mut stores, first).unwrap();
        assert_eq!(stores.conflicts(second), Vec::<String>::new());
        commit(&mut stores, second).unwrap();
        assert_eq!(
            text(stores.running()),
            "<top xmlns=\"urn:sample\"><inner><b>2</b></inner><item><name>i</name><deep><y>2</y></deep></item></top>"
        );
    }
}

#[test]
fn a_container_that_both_emptied_goes() {
    let mut stores = Datastores::new(schema(), valid("<top xmlns='urn:sample'><inner><a>1</a><b>2</b></inner></top>"));
    change(&mut stores, ONE, "<inner><a nc:operation='delete'/></inner>");
    change(&mut stores, TWO, "<inner><b nc:operation='delete'/></inner><name>n</name>");
    commit(&mut stores, ONE).unwrap();
    commit(&mut stores, TWO).unwrap();
    assert_eq!(text(stores.running()), "<top xmlns=\"urn:sample\"><name>n</name></top>");
}

#[test]
fn two_sides_that_take_different_cases_of_a_choice_are_told_of_both_and_either_can_win() {
    let both = ["/sample:top/number", "/sample:top/host"];
    for (winner, expected) in [(Side::Candidate, "<number>7</number>"), (Side::Running, "<host>h</host>")] {
        let mut stores = Datastores::new(schema(), valid(""));
        change(&mut stores, ONE, "<host>h</host>");
        change(&mut stores, TWO, "<number>7</number><name>n</name>");
        commit(&mut stores, ONE).unwrap();
        let refused = commit(&mut stores, TWO).unwrap_err();
        assert_eq!(refused.iter().map(|refusal| refusal.path.as_deref().unwrap()).collect::<Vec<_>>(), both);
        stores.update(TWO, Some(winner)).unwrap();
        commit(&mut stores, TWO).unwrap();
        assert_eq!(text(stores.running()), format!("<top xmlns=\"urn:sample\"><name>n</name>{expected}</top>"));
    }
    // The same case is no conflict.
    let mut stores = Datastores::new(schema(), valid(""));
    change(&mut stores, ONE, "<number>7</number>");
    change(&mut stores, TWO, "<extra>e</extra>");
    commit(&mut stores, ONE).unwrap();
    commit(&mut stores, TWO).unwrap();
}
