//! Commits and their judges, as whoever asks for them sees it.

use std::sync::Mutex;

use super::*;
use crate::northbound::provider::Provider;
use crate::northbound::testing::{Rig, Told, Witness};
use crate::northbound::{CommitOptions, Response};

/// A judge that does as the test says.
#[derive(Clone)]
struct Scripted(std::sync::Arc<Mutex<Vec<Step>>>);

enum Step {
    Accept,
    Refuse(&'static str),
    /// With the path of a node.
    RefuseAt(&'static str),
    Amend(&'static str),
    /// Says nothing until it is told to.
    Wait(oneshot::Receiver<()>),
}

impl Judge for Scripted {
    fn may_want(&self, changes: &[Change]) -> bool {
        changes.iter().any(|change| change.path.starts_with("/sample:"))
    }

    fn hear(&self, case: Case) -> Ruling {
        let step = self.0.lock().unwrap().remove(0);
        Box::pin(async move {
            match step {
                Step::Accept => Ok(()),
                Step::Refuse(why) => Err(vec![Refusal::new(Kind::OperationFailed, why)]),
                Step::RefuseAt(path) => {
                    let refusal = Refusal::new(Kind::OperationFailed, "not here").at(path);
                    Err(vec![refusal.tagged(COMMIT_SCRIPT)])
                }
                Step::Wait(told) => {
                    told.await.unwrap();
                    Ok(())
                }
                Step::Amend(fragment) => {
                    case.view.amend(Fragment(fragment.into())).await?;
                    let seen = case.view.node("/sample:top/mtu".to_owned()).await.unwrap();
                    assert_eq!(seen.unwrap().value.as_deref(), Some("1400"), "what is amended is seen at once");
                    let settled = case.view.settle().await?;
                    assert_eq!(settled.amended.len(), 1, "{settled:?}");
                    Ok(())
                }
            }
        })
    }
}

fn rig(steps: Vec<Step>) -> (Rig, Told) {
    let told = Told::default();
    let witness = Witness {
        name: "witness",
        roots: &["/sample:top"],
        takes_each_alone: true,
        told: std::sync::Arc::clone(&told),
    };
    let mut rig = Rig::new(vec![Box::new(witness) as Box<dyn Provider>]);
    let judge = Scripted(std::sync::Arc::new(Mutex::new(steps)));
    rig.northbound.judging = Judging::new(Some(Box::new(judge)));
    (rig, told)
}

const NAME: &str = "<top xmlns='urn:sample'><name>here</name></top>";

fn commit() -> Request {
    Request::Commit(CommitOptions::default())
}

#[test]
fn what_a_judge_accepts_is_committed_and_what_it_refuses_is_not() {
    let (mut rig, told) = rig(vec![Step::Refuse("no"), Step::Accept]);
    let who = rig.open(Client::Netconf);
    rig.edit(&who, NAME);
    let refused = rig.ask_and_wait(&who, commit()).unwrap_err();
    assert_eq!(refused[0].message, "no");
    assert!(told.lock().unwrap().is_empty(), "nobody prepares for what is refused");
    assert_eq!(rig.ask_and_wait(&who, commit()), Ok(Response::Ok), "the candidate is as it was");
    assert!(rig.config(&who, Datastore::Running).contains("here"));
    assert_eq!(rig.commit_files().len(), 1);
}

#[test]
fn what_a_judge_amends_is_a_part_of_the_commit() {
    let (mut rig, _) = rig(vec![Step::Amend("<top xmlns='urn:sample'><mtu>1400</mtu></top>")]);
    let who = rig.open(Client::Shell);
    rig.edit(&who, NAME);
    assert_eq!(rig.ask_and_wait(&who, commit()), Ok(Response::Ok));
    let running = rig.config(&who, Datastore::Running);
    assert!(running.contains("here") && running.contains("1400"), "{running}");
    assert_eq!(rig.config(&who, Datastore::Candidate), running);
}

#[test]
fn an_amendment_that_is_not_valid_refuses_the_commit() {
    let (mut rig, _) = rig(vec![Step::Amend("<top xmlns='urn:sample'><mtu>1400</mtu><many>200</many></top>")]);
    let who = rig.open(Client::Netconf);
    rig.edit(&who, NAME);
    let refused = rig.ask_and_wait(&who, commit()).unwrap_err();
    assert_eq!(refused[0].app_tag.as_deref(), Some("too-big"));
    assert!(!rig.config(&who, Datastore::Running).contains("here"));
    assert!(rig.config(&who, Datastore::Candidate).contains("here"), "the candidate stays");
}

#[test]
fn what_a_judge_refuses_is_not_committed_in_part_either() {
    let (mut rig, _) = rig(vec![Step::RefuseAt("/sample:top/mtu"), Step::Accept]);
    let who = rig.open(Client::Netconf);
    rig.edit(&who, "<top xmlns='urn:sample'><name>here</name><mtu>1400</mtu></top>");
    let options = || CommitOptions { best_effort: true, ..CommitOptions::default() };
    let refused = rig.ask_and_wait(&who, Request::Commit(options())).unwrap_err();
    assert_eq!(refused[0].message, "not here");
    let candidate = rig.config(&who, Datastore::Candidate);
    assert!(candidate.contains("here") && candidate.contains("1400"), "{candidate}");
    assert!(rig.commit_files().is_empty());
    assert_eq!(rig.ask_and_wait(&who, Request::Commit(options())), Ok(Response::Ok));
    assert_eq!(rig.config(&who, Datastore::Running), candidate);
}

#[test]
fn a_rollback_is_looked_at_too() {
    let (mut rig, _) = rig(vec![Step::Accept, Step::Refuse("stay")]);
    let who = rig.open(Client::Netconf);
    rig.edit(&who, NAME);
    rig.ask_and_wait(&who, commit()).unwrap();
    let back = "<roll-back-configuration-last xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-cfgmgr-rollback-act'>\
                <count>1</count></roll-back-configuration-last>";
    let refused = rig.ask_and_wait(&who, Request::Invoke { operation: Fragment(back.into()) }).unwrap_err();
    assert_eq!(refused[0].message, "stay");
    assert!(rig.config(&who, Datastore::Running).contains("here"));
}

#[test]
fn while_a_judge_looks_others_read_and_who_would_commit_waits() {
    let (tell, told) = oneshot::channel();
    let (mut rig, _) = rig(vec![Step::Wait(told), Step::Accept]);
    let (first, second) = (rig.open(Client::Shell), rig.open(Client::Shell));
    rig.edit(&first, NAME);
    rig.edit(&second, "<top xmlns='urn:sample'><tag>mine</tag></top>");
    let mut first_answer = rig.begin(&first, commit());
    assert!(!rig.config(&second, Datastore::Running).contains("here"), "it is read as it is");
    let mut second_answer = rig.begin(&second, commit());
    let judge = rig.open(Client::Judge { script: "a.py".to_owned() });
    rig.edit(&judge, "<top xmlns='urn:sample'><tag>its</tag></top>");
    let refused = rig.begin(&judge, commit()).try_recv().unwrap().unwrap_err();
    assert_eq!(refused[0].kind, Kind::InUse, "a judge that commits would wait for itself");
    assert!(first_answer.try_recv().is_err() && second_answer.try_recv().is_err());
    tell.send(()).unwrap();
    assert_eq!(rig.wait_for(&mut first_answer), Ok(Response::Ok));
    assert_eq!(rig.wait_for(&mut second_answer), Ok(Response::Ok));
    let running = rig.config(&second, Datastore::Running);
    assert!(running.contains("here") && running.contains("mine") && !running.contains("its"), "{running}");
}
