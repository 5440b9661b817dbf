//! Rollbacks that later commits, or the schema, stand against: refused, forced, or done in part.

use super::super::testing::Rig;
use super::super::{Client, CommitOptions, Datastore, Request};
use super::*;
use crate::datastore::CandidateId;

const ROLLBACK_ACT: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-cfgmgr-rollback-act";

fn commit(rig: &mut Rig, caller: &Caller, content: &str) {
    rig.edit(caller, &format!("<top xmlns='urn:sample'>{content}</top>"));
    rig.ask(caller, Request::Commit(CommitOptions::default())).unwrap();
}

/// Of each refusal where it is and its tag; nothing when all was done.
fn roll_back(rig: &mut Rig, caller: &Caller, which: &str, flags: &str) -> Vec<String> {
    let (name, argument) = match which.split_once(' ') {
        Some(("last", count)) => ("-last", format!("<count>{count}</count>")),
        _ => ("", format!("<commit-id>{which}</commit-id>")),
    };
    let rpc = format!(
        "<roll-back-configuration{name} xmlns='{ROLLBACK_ACT}'>{argument}{flags}</roll-back-configuration{name}>"
    );
    let line = |refusal: &Refusal| {
        format!("{} {}", refusal.path.as_deref().unwrap_or("-"), refusal.app_tag.as_deref().unwrap_or("-"))
    };
    let refusals = rig.invoke(caller, &rpc).err().unwrap_or_default();
    assert!(!rig.northbound.datastores.is_dirty(CandidateId::Rollback), "nothing is left of the trial");
    refusals.iter().map(line).collect()
}

fn top(rig: &mut Rig, caller: &Caller) -> String {
    let running = rig.config(caller, Datastore::Running);
    let top = running.split("<top xmlns=\"urn:sample\">").nth(1).and_then(|rest| rest.split("</top>").next());
    top.unwrap_or_default().to_owned()
}

const BEST: &str = "<best-effort>true</best-effort>";
const FORCE: &str = "<force>true</force>";

/// Commit 1000000002 changed two leaves, and 1000000003 one of them again.
fn rig_with_a_later_commit() -> (Rig, Caller) {
    let mut rig = Rig::new(Vec::new());
    let me = rig.open(Client::Shell);
    commit(&mut rig, &me, "<name>a</name><mtu>80</mtu>");
    commit(&mut rig, &me, "<name>b</name><mtu>90</mtu>");
    commit(&mut rig, &me, "<name>c</name>");
    (rig, me)
}

#[test]
fn what_a_later_commit_changed_stays_in_a_rollback_of_best_effort() {
    let (mut rig, me) = rig_with_a_later_commit();
    assert_eq!(roll_back(&mut rig, &me, "1000000002", ""), ["/sample:top/name -"]);
    assert_eq!(top(&mut rig, &me), "<name>c</name><mtu>90</mtu>");
    assert_eq!(roll_back(&mut rig, &me, "1000000002", BEST), ["/sample:top/name -", "- partly-committed"]);
    assert_eq!(top(&mut rig, &me), "<name>c</name><mtu>80</mtu>");
    let commits = rig.commit_files().len();
    // There is nothing left to undo.
    assert_eq!(roll_back(&mut rig, &me, "1000000002", BEST), ["/sample:top/name -"]);
    assert_eq!(rig.commit_files().len(), commits);
}

#[test]
fn a_forced_rollback_undoes_what_a_later_commit_changed_too() {
    let (mut rig, me) = rig_with_a_later_commit();
    assert_eq!(roll_back(&mut rig, &me, "1000000002", FORCE), Vec::<String>::new());
    assert_eq!(top(&mut rig, &me), "<name>a</name><mtu>80</mtu>");
    // It is a commit like any other.
    assert_eq!(roll_back(&mut rig, &me, "last 1", FORCE), Vec::<String>::new());
    assert_eq!(top(&mut rig, &me), "<name>c</name><mtu>90</mtu>");
}

#[test]
fn what_the_schema_forbids_to_undo_stays_and_all_else_is_undone() {
    let mut rig = Rig::new(Vec::new());
    let me = rig.open(Client::Shell);
    commit(&mut rig, &me, "<item><name>a</name></item><mtu>80</mtu>");
    commit(&mut rig, &me, "<item><name>b</name><peer>a</peer></item>");
    let refused = roll_back(&mut rig, &me, "1000000001", FORCE);
    assert!(refused.iter().all(|line| line.starts_with("/sample:top/item[name='b']/peer")), "{refused:?}");
    let told = roll_back(&mut rig, &me, "1000000001", BEST);
    assert!(told[0].starts_with("/sample:top/item[name='b']/peer"), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("- partly-committed"));
    assert_eq!(top(&mut rig, &me), "<item><name>a</name></item><item><name>b</name><peer>a</peer></item>");
}

#[test]
fn a_rollback_in_part_is_as_a_whole_where_nothing_stands_against_it() {
    let (mut rig, me) = rig_with_a_later_commit();
    assert_eq!(roll_back(&mut rig, &me, "last 2", BEST), Vec::<String>::new());
    assert_eq!(top(&mut rig, &me), "<name>a</name><mtu>80</mtu>");
    let newest = rig.northbound.history.newest_first().next().unwrap().clone();
    assert_eq!(newest.meta.client, ROLLBACK);
    assert_eq!(newest.meta.comment.as_deref(), Some("undoes the last 2"));
}

#[test]
fn a_lock_stands_against_any_rollback_and_both_flags_are_one_too_many() {
    let (mut rig, me) = rig_with_a_later_commit();
    assert_eq!(roll_back(&mut rig, &me, "last 1", &format!("{FORCE}{BEST}")).len(), 1);
    let other = rig.open(Client::Netconf);
    rig.ask(&other, Request::Lock { target: Datastore::Running }).unwrap();
    for flags in ["", FORCE, BEST] {
        assert_eq!(roll_back(&mut rig, &me, "last 1", flags), ["- -"]);
    }
    assert_eq!(top(&mut rig, &me), "<name>c</name><mtu>90</mtu>");
}
