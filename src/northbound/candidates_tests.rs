//! Candidates of a session's own: who has one, what it tells of itself, and how it is brought onto what others committed.

use super::super::testing::Rig;
use super::super::{Datastore, Request, Source};
use super::*;

fn leaf(value: &str) -> String {
    format!("<top-leaf xmlns='urn:sample'>{value}</top-leaf>")
}

fn entry(key: &str) -> String {
    format!("<root-list xmlns='urn:sample'><k>{key}</k></root-list>")
}

fn update(mode: &str) -> String {
    format!(
        "<update xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-private-candidate'><resolution-mode>{mode}</resolution-mode></update>"
    )
}

const CHANGES: &str = "<get-candidate-changes xmlns='urn:procyon:history'/>";

#[test]
fn netconf_shares_a_candidate_unless_it_asks_and_scripts_and_shells_never_do() {
    let mut rig = Rig::new(Vec::new());
    let script = Client::Script { app: "a".to_owned(), run_id: 1 };
    let clients = [Client::Netconf, Client::Local, Client::Netconf, Client::Shell, script];
    let callers = clients.map(|client| rig.open(client));
    rig.ask(&callers[2], Request::UsePrivateCandidate).unwrap();
    rig.edit(&callers[0], &leaf("half-made"));
    let sees: Vec<bool> =
        callers.iter().map(|caller| rig.config(caller, Datastore::Candidate).contains("half-made")).collect();
    assert_eq!(sees, [true, true, false, false, false]);
    // Nobody commits what is not his.
    for caller in &callers[2..] {
        rig.edit(caller, &entry(&caller.session.to_string()));
        rig.commit(caller).unwrap();
    }
    assert!(!rig.config(&callers[0], Datastore::Running).contains("half-made"));
    assert!(rig.config(&callers[0], Datastore::Candidate).contains("half-made"));

    rig.northbound.choice = Choice::new(Candidates::Private);
    for client in [Client::Netconf, Client::Local] {
        let caller = rig.open(client);
        assert!(!rig.config(&caller, Datastore::Candidate).contains("half-made"));
    }
}

#[test]
fn a_conflict_is_told_by_validate_and_update_and_settled_as_the_client_wants() {
    for (mode, expected) in [("prefer-candidate", "mine"), ("prefer-running", "theirs")] {
        let mut rig = Rig::new(Vec::new());
        let (me, other) = (rig.open(Client::Shell), rig.open(Client::Shell));
        rig.edit(&me, &leaf("mine"));
        rig.edit(&me, &entry("kept"));
        rig.invoke(&me, &update("revert-on-conflict")).unwrap();
        rig.edit(&other, &leaf("theirs"));
        rig.commit(&other).unwrap();
        let validate = Request::Validate { source: Source::Datastore(Datastore::Candidate) };
        let answers = [rig.ask(&me, validate.clone()), rig.commit(&me)];
        let updated = rig.invoke(&me, &update("revert-on-conflict"));
        for refusals in answers.into_iter().map(Result::unwrap_err).chain([updated.unwrap_err()]) {
            assert_eq!(refusals[0].path.as_deref(), Some("/sample:top-leaf"));
        }
        let told = rig.invoke(&me, CHANGES).unwrap();
        assert!(told.contains("<conflict") && told.contains("/sample:top-leaf") && told.contains("mine"), "{told}");
        rig.invoke(&me, &update(mode)).unwrap();
        rig.ask(&me, validate).unwrap();
        rig.commit(&me).unwrap();
        let running = rig.config(&me, Datastore::Running);
        assert!(running.contains(expected) && running.contains("kept"), "{mode}: {running}");
    }
}

#[test]
fn the_shared_candidate_is_not_updated_by_request() {
    let mut rig = Rig::new(Vec::new());
    let client = rig.open(Client::Netconf);
    assert_eq!(rig.invoke(&client, &update("prefer-running")).unwrap_err()[0].kind, Kind::OperationNotSupported);
}

#[test]
fn what_a_commit_would_change_is_told_with_the_newest_commit() {
    let mut rig = Rig::new(Vec::new());
    let (me, other) = (rig.open(Client::Shell), rig.open(Client::Shell));
    insta::assert_snapshot!(rig.invoke(&me, CHANGES).unwrap(), @r#"<private xmlns="urn:procyon:history">true</private>"#);
    rig.edit(&other, &leaf("old"));
    rig.commit(&other).unwrap();
    rig.edit(&me, &leaf("new"));
    rig.edit(&me, &entry("e"));
    let told = rig.invoke(&me, CHANGES).unwrap();
    insta::assert_snapshot!(told.replace("><", ">\n<"), @r#"
    <newest-commit xmlns="urn:procyon:history">1000000001</newest-commit>
    <private xmlns="urn:procyon:history">true</private>
    <change xmlns="urn:procyon:history">
    <path>/sample:root-list[k='e']</path>
    <operation>create</operation>
    </change>
    <change xmlns="urn:procyon:history">
    <path>/sample:root-list[k='e']/k</path>
    <operation>create</operation>
    <value>e</value>
    </change>
    <change xmlns="urn:procyon:history">
    <path>/sample:top-leaf</path>
    <operation>modify</operation>
    <old-value>old</old-value>
    <value>new</value>
    </change>
    "#);
}

#[test]
fn who_locks_running_is_the_only_one_to_commit() {
    let mut rig = Rig::new(Vec::new());
    let (me, other) = (rig.open(Client::Shell), rig.open(Client::Shell));
    rig.ask(&me, Request::Lock { target: Datastore::Running }).unwrap();
    rig.edit(&other, &leaf("x"));
    assert_eq!(rig.commit(&other).unwrap_err()[0].kind, Kind::InUse);
    rig.edit(&me, &leaf("y"));
    rig.commit(&me).unwrap();
    rig.northbound.close(me.session, super::super::SessionEnd::Closed);
    assert_eq!(rig.commit(&other).unwrap_err()[0].path.as_deref(), Some("/sample:top-leaf"));
}
