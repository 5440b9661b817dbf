//! Whole gets on a rig: what is told in pieces is what would be told at once, of one moment.

use super::super::filter::Selection;
use super::super::nmda::{Asked, Store};
use super::super::provider::{Call, Later, Proposal, Provider};
use super::super::testing::Rig;
use super::super::{Client, Request};
use super::*;
use crate::northbound::nmda::Origins;

/// Its entries are more than one piece.
const MACHINES: usize = PIECE_NODES;

/// Tells the state of two tops, of which the first is large.
struct Teller;

fn machines() -> Vec<Element> {
    let entries = (0..MACHINES).map(|number| Element::node("machine", vec![Element::leaf("id", number)]));
    vec![Element::node("machines", entries.collect()).in_module("sample")]
}

fn status() -> Vec<Element> {
    vec![Element::node("top", vec![Element::leaf("status", "well")]).in_module("sample")]
}

impl Provider for Teller {
    fn name(&self) -> &'static str {
        "teller"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &["/sample:machines", "/sample:top"]
    }

    fn calls(&self) -> &'static [&'static str] {
        &[]
    }

    fn validate(&self, _: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        Ok(())
    }

    fn prepare(&mut self, _: &Proposal<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn abort(&mut self) {}

    fn apply(&mut self, _: &Proposal<'_>) {}

    fn state(&self, root: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let told = if root == "/sample:top" { status() } else { machines() };
        Box::pin(async { Ok(told) })
    }

    fn call(&self, _: Call) -> Later<Vec<Element>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn rig() -> (Rig, Caller) {
    let mut rig = Rig::new(vec![Box::new(Teller)]);
    let caller = rig.open(Client::Shell);
    rig.edit(&caller, "<top xmlns='urn:sample'><name>first</name></top><top-leaf xmlns='urn:sample'>1</top-leaf>");
    rig.commit(&caller).unwrap();
    (rig, caller)
}

fn tops(names: &[&str]) -> Filter {
    let selection = |name: &&str| Selection {
        namespace: None,
        name: (*name).to_owned(),
        attributes: Vec::new(),
        content: Content::Selected,
    };
    Filter::Subtree(names.iter().map(selection).collect())
}

fn text(answer: Answer) -> String {
    match answer.unwrap() {
        Response::Data(bytes) | Response::Output(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_get_in_pieces_is_of_one_moment_and_lets_others_have_their_turn() {
    let (mut rig, caller) = rig();
    let filter = Some(tops(&["top-leaf", "machines", "top"]));
    let mut answer = rig.begin(&caller, Request::Get { filter, with_defaults: WithDefaults::Explicit });
    rig.hear_one();
    assert!(answer.try_recv().is_err(), "what is left has its turn later");
    rig.edit(&caller, "<top xmlns='urn:sample'><name>second</name></top><top-leaf xmlns='urn:sample'>2</top-leaf>");
    rig.commit(&caller).unwrap();
    let told = text(rig.wait_for(&mut answer));
    assert_eq!(told.matches("<machine>").count(), MACHINES);
    assert!(told.contains("<top-leaf xmlns=\"urn:sample\">1</top-leaf>"), "{told}");
    assert!(told.ends_with("<top xmlns=\"urn:sample\"><name>first</name><status>well</status></top>"), "{told}");
}

#[test]
fn others_are_answered_while_a_large_get_is_made() {
    let (mut rig, caller) = rig();
    let filter = Some(tops(&["machines"]));
    let mut get = rig.begin(&caller, Request::Get { filter, with_defaults: WithDefaults::Explicit });
    rig.hear_one();
    // Whoever asks now goes before what was asked first.
    rig.edit(&caller, "<top-leaf xmlns='urn:sample'>2</top-leaf>");
    rig.commit(&caller).unwrap();
    assert!(get.try_recv().is_err(), "nobody has heard of it yet");
    assert_eq!(text(rig.wait_for(&mut get)).matches("<machine>").count(), MACHINES);
}

#[test]
fn whoever_has_gone_is_told_nothing_more() {
    let (mut rig, caller) = rig();
    let filter = Some(tops(&["machines", "top"]));
    let answer = rig.begin(&caller, Request::Get { filter, with_defaults: WithDefaults::Explicit });
    rig.hear_one();
    drop(answer);
    rig.hear_one();
    assert!(rig.northbound.gets.pending.is_empty());
}

#[test]
fn of_large_gets_only_so_many_are_under_way_and_none_is_forgotten() {
    let (mut rig, caller) = rig();
    let names = ["config-manager", "nacm", "netconf", "machines", "top"];
    assert!(names.len() > FEW_TOPS);
    let large = || Request::Get { filter: Some(tops(&names)), with_defaults: WithDefaults::Explicit };
    let mut waiting: Vec<_> = (0..GETS_AT_ONCE_MAX + 3).map(|_| rig.begin(&caller, large())).collect();
    // One has gone before its turn.
    waiting.pop();
    let (mut told, mut most) = (Vec::new(), 0);
    while !waiting.is_empty() || rig.northbound.gets.under_way > 0 {
        rig.hear_one();
        most = most.max(rig.northbound.gets.under_way);
        waiting.retain_mut(|answer| match answer.try_recv() {
            Ok(answer) => {
                told.push(text(answer));
                false
            }
            Err(_) => true,
        });
    }
    assert_eq!((told.len(), most), (GETS_AT_ONCE_MAX + 2, GETS_AT_ONCE_MAX));
    assert!(told.iter().all(|text| text.matches("<machine>").count() == MACHINES && text.contains("well")));
    assert!(rig.northbound.gets.queued.is_empty());
}

#[test]
fn pieces_say_what_would_be_said_at_once() {
    let (mut rig, caller) = rig();
    let operational = Shape { config: None, origins: Origins::All, max_depth: None, with_origin: true };
    let shallow = Shape { max_depth: Some(2), ..operational.clone() };
    for names in [&["top"][..], &["machines"], &["top-leaf"], &["top", "top-leaf", "machines"]] {
        for shape in [None, Some(&operational), Some(&shallow)] {
            let filter = Some(tops(names));
            let with_defaults = WithDefaults::ReportAll;
            let request = match shape.cloned() {
                None => Request::Get { filter: filter.clone(), with_defaults },
                Some(shape) => {
                    let filter = filter.clone();
                    Request::GetData(Asked { store: Store::Operational, filter, shape, with_defaults })
                }
            };
            let in_pieces = text(rig.ask_and_wait(&caller, request));
            let mut told = VecDeque::new();
            for (name, state) in [("machines", machines()), ("top", status())] {
                by_top(&mut told, if names.contains(&name) { state } else { Vec::new() });
            }
            let wanted = Wanted { caller: caller.clone(), filter, with_defaults, shape: shape.cloned() };
            let at_once = text(rig.northbound.at_once(&wanted, told, VecDeque::new()));
            // Tops come in another order.
            let sorted = |text: &str| {
                let mut tags: Vec<String> = text.replace("><", ">\n<").lines().map(str::to_owned).collect();
                tags.sort();
                tags
            };
            assert!(sorted(&in_pieces) == sorted(&at_once), "{names:?} {shape:?}");
        }
    }
}
