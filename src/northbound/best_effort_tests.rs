//! Commits of what can be committed: what is refused is named and stays, all else is running.

use super::super::testing::{Rig, Told, Witness};
use super::super::{Client, Datastore, Request};
use super::*;
use crate::datastore::confirmed::{Asked, Confirmation};

const SAMPLE: &str = "xmlns='urn:sample'";

fn rig() -> Rig {
    let provider =
        Witness { name: "entries", roots: &["/sample:root-list"], takes_each_alone: true, told: Told::default() };
    Rig::new(vec![Box::new(provider)])
}

fn best_effort(rig: &mut Rig, caller: &Caller) -> Answer {
    let options = CommitOptions { best_effort: true, ..CommitOptions::default() };
    rig.ask(caller, Request::Commit(options))
}

/// Where, and with which app-tag.
fn told(answer: Answer) -> Vec<String> {
    let line = |refusal: &Refusal| {
        format!("{} {}", refusal.path.as_deref().unwrap_or("-"), refusal.app_tag.as_deref().unwrap_or("-"))
    };
    answer.err().unwrap_or_default().iter().map(line).collect()
}

fn top(content: &str) -> String {
    format!("<top {SAMPLE}>{content}</top>")
}

/// What the candidate has and running has not, as paths.
fn left(rig: &mut Rig, caller: &Caller) -> Vec<String> {
    let output = rig.northbound.candidate_changes(caller);
    let changes = output.iter().filter(|element| element.name == "change");
    changes.filter_map(|change| change.text_of("path").map(str::to_owned)).collect()
}

#[test]
fn what_is_valid_is_committed_and_what_is_not_is_named_and_stays() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    rig.edit(&me, &top("<name>n</name><many>12</many><plain>5</plain><tag>t</tag>"));
    let answer = best_effort(&mut rig, &me);
    let last = answer.as_ref().unwrap_err().last().unwrap().to_string();
    assert!(last.contains("committed as 1000000001"), "{last}");
    assert_eq!(told(answer), ["/sample:top/many too-big", "/sample:top/plain must-violation", "- partly-committed"]);
    let running = rig.config(&me, Datastore::Running);
    assert!(running.contains("<name>n</name>") && running.contains("<tag>t</tag>"), "{running}");
    assert_eq!(left(&mut rig, &me), ["/sample:top/many", "/sample:top/plain"]);

    rig.edit(&me, &top("<many>1</many><plain>1</plain>"));
    assert_eq!(told(best_effort(&mut rig, &me)), Vec::<String>::new());
    assert!(rig.config(&me, Datastore::Running).contains("<many>1</many>"));
    assert_eq!(left(&mut rig, &me), Vec::<String>::new());
}

#[test]
fn an_entry_goes_with_its_missing_leaf_and_nothing_else_does() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    rig.edit(&me, &top("<name>n</name><on/>"));
    assert_eq!(told(best_effort(&mut rig, &me)), ["/sample:top/on/level -", "- partly-committed"]);
    assert_eq!(left(&mut rig, &me), ["/sample:top/on"]);
}

#[test]
fn what_a_deletion_breaks_takes_back_the_deletion_and_not_its_neighbours() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    rig.edit(&me, &top("<item><name>a</name></item><item><name>b</name><peer>a</peer></item>"));
    rig.commit(&me).unwrap();
    rig.edit(
        &me,
        &format!(
            "<top {SAMPLE} xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0'><name>n</name>\
             <item nc:operation='delete'><name>a</name></item><item><name>c</name></item></top>"
        ),
    );
    let answer = best_effort(&mut rig, &me);
    assert_eq!(
        told(answer),
        ["/sample:top/item[name='b']/peer instance-required", "/sample:top/item[name='a'] -", "- partly-committed"]
    );
    assert_eq!(left(&mut rig, &me), ["/sample:top/item[name='a']"]);
    let running = rig.config(&me, Datastore::Running);
    assert!(running.contains("<name>c</name>") && running.contains("<name>n</name>"), "{running}");
}

#[test]
fn what_a_provider_has_no_room_for_stays() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    let entry = |key: &str| format!("<root-list {SAMPLE}><k>{key}</k></root-list>");
    rig.edit(&me, &[entry("yes"), entry("no")].concat());
    let answer = best_effort(&mut rig, &me);
    assert_eq!(answer.as_ref().unwrap_err()[0].message, "there is no room");
    assert_eq!(told(answer).last().map(String::as_str), Some("- partly-committed"));
    let running = rig.config(&me, Datastore::Running);
    assert!(running.contains("<k>yes</k>") && !running.contains("<k>no</k>"), "{running}");
    assert!(left(&mut rig, &me).contains(&"/sample:root-list[k='no']".to_owned()));
}

#[test]
fn an_ordered_list_keeps_the_order_of_running_for_what_is_taken_back() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    let rule = |id: u8| format!("<rule><id>{id}</id></rule>");
    rig.edit(&me, &top(&[rule(1), rule(2), rule(3)].concat()));
    rig.commit(&me).unwrap();
    rig.edit(
        &me,
        &format!(
            "<top {SAMPLE} xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0'>\
             <rule nc:operation='delete'><id>2</id></rule></top>"
        ),
    );
    let id = rig.northbound.candidate_of(&me);
    let whole = rig.northbound.datastores.keep(id);
    let given_up = BTreeSet::from(["/sample:top/rule[id='2']".to_owned()]);
    rig.northbound.datastores.put_back_without(&whole, &given_up);
    assert!(!rig.northbound.datastores.is_dirty(id), "what is taken back stands where it stood");
}

#[test]
fn where_nothing_can_be_committed_nothing_is_and_the_candidate_is_whole() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    rig.edit(&me, &top("<many>12</many>"));
    assert_eq!(told(best_effort(&mut rig, &me)), ["/sample:top/many too-big"]);
    assert!(rig.commit_files().is_empty());
    assert_eq!(left(&mut rig, &me).last().map(String::as_str), Some("/sample:top/many"));
}

#[test]
fn a_lock_and_a_conflict_refuse_it_as_a_whole() {
    let mut rig = rig();
    let (me, other) = (rig.open(Client::Shell), rig.open(Client::Shell));
    rig.edit(&me, &top("<name>mine</name><tag>t</tag>"));
    rig.ask(&other, Request::Lock { target: Datastore::Running }).unwrap();
    assert_eq!(told(best_effort(&mut rig, &me)).len(), 1);
    rig.edit(&other, &top("<name>theirs</name>"));
    rig.commit(&other).unwrap();
    rig.ask(&other, Request::Unlock { target: Datastore::Running }).unwrap();
    assert_eq!(told(best_effort(&mut rig, &me)), ["/sample:top/name -"]);
    assert!(!rig.config(&me, Datastore::Running).contains("<tag>"));
    assert_eq!(rig.northbound.datastores.conflicts(rig.northbound.candidate_of(&me)), ["/sample:top/name"]);
}

#[test]
fn a_part_can_have_to_be_confirmed() {
    let mut rig = rig();
    let me = rig.open(Client::Shell);
    rig.edit(&me, &top("<name>n</name><many>12</many>"));
    let confirm = Asked { confirmed: Some(Confirmation::default()), persist_id: None };
    let options = CommitOptions { confirm, best_effort: true, ..CommitOptions::default() };
    assert_eq!(told(rig.ask(&me, Request::Commit(options))).len(), 2);
    assert!(rig.northbound.confirming.machine.pending().is_some());
    rig.ask(&me, Request::CancelCommit { persist_id: None }).unwrap();
    assert!(!rig.config(&me, Datastore::Running).contains("<name>"));
    assert!(left(&mut rig, &me).contains(&"/sample:top/many".to_owned()));
}
