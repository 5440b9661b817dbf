//! Commits that wait together: what shares a file, who is refused, and that it comes to the same as one after the other.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::testing::{Rig, Told, Witness};
use super::super::{Client, Datastore, Kind};
use super::*;

const NC: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

fn entry(key: &str, value: &str) -> String {
    format!("<root-list xmlns='urn:sample'><k>{key}</k><v>{value}</v></root-list>")
}

fn leaf(value: &str) -> String {
    format!("<top-leaf xmlns='urn:sample'>{value}</top-leaf>")
}

fn plain(callers: &[Caller]) -> Vec<(&Caller, CommitOptions)> {
    callers.iter().map(|caller| (caller, CommitOptions::default())).collect()
}

fn shells(rig: &mut Rig, count: usize) -> Vec<Caller> {
    (0..count).map(|_| rig.open(Client::Shell)).collect()
}

fn witnessed(takes_each_alone: bool) -> (Rig, Told) {
    let told = Told::default();
    let witness = |name, roots: &'static [&'static str]| -> Box<dyn crate::northbound::provider::Provider> {
        Box::new(Witness { name, roots, takes_each_alone, told: Arc::clone(&told) })
    };
    let rig = Rig::new(vec![witness("list", &["/sample:root-list"]), witness("leaf", &["/sample:top-leaf"])]);
    (rig, told)
}

fn heard(told: &Told) -> String {
    std::mem::take(&mut *told.lock().unwrap()).join(" ")
}

#[test]
fn commits_that_wait_together_are_one_file_and_keep_their_ids() {
    let mut rig = Rig::new(Vec::new());
    let callers = shells(&mut rig, 3);
    for (index, caller) in callers.iter().enumerate() {
        rig.edit(caller, &entry(&index.to_string(), "x"));
    }
    assert!(rig.commit_together(&plain(&callers)).iter().all(Result::is_ok));
    assert_eq!(rig.commit_files(), ["1000000001-1000000003"]);
    let running = rig.config(&callers[0], Datastore::Running);
    for key in ["<k>0</k>", "<k>1</k>", "<k>2</k>"] {
        assert!(running.contains(key), "{running}");
    }
    let changes = |index: usize| rig.northbound.recorded(1_000_000_001 + index as u64).unwrap();
    let text = String::from_utf8(changes(1)).unwrap();
    assert!(text.contains("<k>1</k>") && !text.contains("<k>0</k>") && !text.contains("<k>2</k>"), "{text}");
    assert_eq!(rig.northbound.history.newest_first().map(|entry| entry.meta.session).max(), Some(3));
}

#[test]
fn a_failed_force_refuses_the_whole_group_and_loses_no_edit() {
    let (mut rig, told) = witnessed(true);
    let callers = shells(&mut rig, 3);
    rig.edit(&callers[0], &entry("a", "1"));
    // The same as the first one's: on top of that there is nothing left to do.
    rig.edit(&callers[1], &entry("a", "1"));
    rig.edit(&callers[2], &leaf("mine"));
    rig.disk.fail_syncs(true);
    let answers = rig.commit_together(&plain(&callers));
    assert_eq!(heard(&told), "list:prepare leaf:prepare leaf:abort list:abort");
    for answer in &answers {
        assert!(answer.as_ref().unwrap_err()[0].message.contains("durable"), "{answer:?}");
    }
    assert_eq!(rig.commit_files(), Vec::<String>::new());
    assert!(!rig.config(&callers[0], Datastore::Running).contains("sample"));
    for (caller, edited) in callers.iter().zip(["<v>1</v>", "<v>1</v>", "mine"]) {
        assert!(rig.config(caller, Datastore::Candidate).contains(edited));
    }
    rig.disk.fail_syncs(false);
    assert!(rig.commit_together(&plain(&callers)).iter().all(Result::is_ok));
    assert_eq!(heard(&told), "list:prepare leaf:prepare list:apply leaf:apply");
    assert_eq!(rig.commit_files(), ["1000000001-1000000002"]);
}

#[test]
fn a_provider_that_remembers_hears_of_one_commit_at_a_time() {
    let (mut rig, told) = witnessed(false);
    let callers = shells(&mut rig, 4);
    rig.edit(&callers[0], &entry("a", "1"));
    rig.edit(&callers[1], &leaf("other"));
    rig.edit(&callers[2], &entry("b", "1"));
    rig.edit(&callers[3], &entry("c", "1"));
    assert!(rig.commit_together(&plain(&callers)).iter().all(Result::is_ok));
    assert_eq!(
        heard(&told),
        "list:prepare leaf:prepare list:apply leaf:apply list:prepare list:apply list:prepare list:apply"
    );
    assert_eq!(rig.commit_files(), ["1000000001-1000000002", "1000000003", "1000000004"]);
}

#[test]
fn who_is_refused_does_not_keep_the_others_back_and_hears_it_when_they_are_durable() {
    let (mut rig, told) = witnessed(true);
    let callers = shells(&mut rig, 4);
    rig.edit(&callers[0], &leaf("left"));
    rig.edit(&callers[1], &leaf("right"));
    rig.edit(&callers[2], &entry("no", "1"));
    rig.edit(&callers[3], &entry("yes", "1"));
    let answers = rig.commit_together(&plain(&callers));
    assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap_err()[0].path.as_deref(), Some("/sample:top-leaf"));
    let refused = &answers[2].as_ref().unwrap_err()[0];
    assert_eq!(refused.path.as_deref(), Some("/sample:root-list[k='no']"), "the refusal of a provider names the node");
    assert_eq!(heard(&told), "leaf:prepare list:prepare list:prepare leaf:apply list:apply");
    assert!(rig.config(&callers[1], Datastore::Candidate).contains("right"), "nothing is lost");
    // Nobody else's refusal is told while that on which it stands may be taken back.
    rig.edit(&callers[0], &leaf("again"));
    rig.disk.fail_syncs(true);
    let answers =
        rig.commit_together(&[(&callers[0], CommitOptions::default()), (&callers[1], CommitOptions::default())]);
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err()[0].message.contains("durable")), "{answers:?}");
}

#[test]
fn a_label_is_given_once_also_within_a_group() {
    let mut rig = Rig::new(Vec::new());
    let callers = shells(&mut rig, 2);
    let labelled = CommitOptions { label: Some("both".to_owned()), ..CommitOptions::default() };
    rig.edit(&callers[0], &entry("a", "1"));
    rig.edit(&callers[1], &entry("b", "1"));
    let answers = rig.commit_together(&[(&callers[0], labelled.clone()), (&callers[1], labelled)]);
    assert!(answers[0].is_ok());
    assert_eq!(answers[1].as_ref().unwrap_err()[0].kind, Kind::InvalidValue);
}

#[test]
fn new_access_rules_hold_for_who_commits_next() {
    let mut rig = Rig::new(Vec::new());
    let callers = shells(&mut rig, 2);
    rig.edit(
        &callers[0],
        "<nacm xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-acm'><enable-nacm>true</enable-nacm></nacm>",
    );
    rig.edit(&callers[1], &entry("a", "1"));
    let answers = rig.commit_together(&plain(&callers));
    assert!(answers[0].is_ok());
    assert_eq!(answers[1].as_ref().unwrap_err()[0].kind, Kind::AccessDenied);
}

#[test]
fn what_confirms_or_is_shared_does_not_wait() {
    let mut rig = Rig::new(Vec::new());
    let (shell, client) = (rig.open(Client::Shell), rig.open(Client::Netconf));
    let confirmed = CommitOptions {
        confirm: Asked { confirmed: Some(crate::datastore::confirmed::Confirmation::default()), persist_id: None },
        ..CommitOptions::default()
    };
    assert!(rig.northbound.may_wait(&shell, &CommitOptions::default()));
    assert!(!rig.northbound.may_wait(&shell, &confirmed));
    assert!(!rig.northbound.may_wait(&client, &CommitOptions::default()));
    rig.edit(&shell, &leaf("x"));
    rig.ask(&shell, super::super::Request::Commit(confirmed)).unwrap();
    assert!(!rig.northbound.may_wait(&shell, &CommitOptions::default()));
}

/// One session's edit of one of few nodes.
fn any_edit() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[a-c]", "[12]").prop_map(|(key, value)| entry(&key, &value)),
        "[a-c]".prop_map(|key| format!(
            "<root-list xmlns='urn:sample' xmlns:nc='{NC}' nc:operation='remove'><k>{key}</k></root-list>"
        )),
        "[xy]".prop_map(|value| leaf(&value)),
        Just(entry("no", "1")),
        Just("<bounds xmlns='urn:sample'/>".to_owned()),
    ]
}

type Seen = (Vec<Vec<bool>>, String, Vec<String>);

/// Rounds of edits and commits of four sessions: what was answered, and what is there in the end.
fn play(rounds: &[Vec<(usize, String)>], together: bool, takes_each_alone: bool, failing: Option<usize>) -> Seen {
    let (mut rig, _) = witnessed(takes_each_alone);
    let callers = shells(&mut rig, 4);
    let mut answered = Vec::new();
    for (at, round) in rounds.iter().enumerate() {
        for (who, edit) in round {
            let _ = rig.try_edit(&callers[*who], edit);
        }
        if failing == Some(at) {
            let before = state(&mut rig, &callers);
            rig.disk.fail_syncs(true);
            let answers = rig.commit_together(&plain(&callers));
            rig.disk.fail_syncs(false);
            assert_eq!(state(&mut rig, &callers), before, "{answers:?}");
        }
        let answers = match together {
            true => rig.commit_together(&plain(&callers)),
            false => callers.iter().map(|caller| rig.commit(caller)).collect(),
        };
        answered.push(answers.iter().map(Result::is_ok).collect());
    }
    let candidates = callers.iter().map(|caller| rig.config(caller, Datastore::Candidate)).collect();
    (answered, rig.config(&callers[0], Datastore::Running), candidates)
}

fn state(rig: &mut Rig, callers: &[Caller]) -> Vec<String> {
    let running = rig.config(&callers[0], Datastore::Running);
    callers.iter().map(|caller| rig.config(caller, Datastore::Candidate)).chain([running]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_group_comes_to_the_same_as_one_after_the_other_and_a_failed_force_to_nothing(
        rounds in prop::collection::vec(prop::collection::vec((0_usize..4, any_edit()), 1..6), 1..5),
        takes_each_alone: bool,
        failing in prop::option::of(0_usize..4),
    ) {
        let one_by_one = play(&rounds, false, takes_each_alone, None);
        prop_assert_eq!(&play(&rounds, true, takes_each_alone, None), &one_by_one);
        prop_assert_eq!(&play(&rounds, true, takes_each_alone, failing), &one_by_one);
    }
}
