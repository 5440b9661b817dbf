//! What the history and the sessions look like as data: the trees of `config-cfgmgr-exec-oper` and what `procyon-history`
//! adds to them.
//!
//! Must not know: how records are stored.

use jiff::tz::TimeZone;

use super::committing::client_name;
use super::driver::{Northbound, now, now_since_boot};
use super::filter::Filter;
use super::sessions::Session;
use super::wanted::Wanted;
use super::{Datastore, LeftOut};
use crate::datastore::CandidateId;
use crate::datastore::history::Entry;
use crate::datastore::recovery::NotPlaced;
use crate::yang::value::Element;

const NAME: &str = "config-manager";
const TABLES: &str = "history-tables";
const MODULE: &str = "Cisco-IOS-XR-config-cfgmgr-exec-oper";
/// The tables of events that commits are in, as routers name them: all that is recorded here is a commit.
const HISTORY_TABLES: &[&str] = &["all", "commit"];
/// What stands in a flag that is set, as in the router's table of sessions.
const FLAG: &str = "*";
/// The one node of this device.
const NODE: &str = "0/RP0/CPU0";

/// What of it a filter can reach.
struct Asked {
    commits: bool,
    /// They hold the same commits once more, for those who ask for them by this name.
    tables: bool,
    sessions: bool,
}

impl Asked {
    fn by(filter: Option<&Filter>) -> Self {
        match filter {
            None => Self { commits: true, tables: false, sessions: true },
            Some(Filter::XPath { expression, .. }) => {
                Self { commits: true, tables: expression.contains(TABLES), sessions: true }
            }
            Some(Filter::Subtree(selections)) => {
                let mine = selections.iter().filter(|selection| selection.name == NAME);
                let inside: Vec<Wanted<'_>> =
                    mine.filter_map(|selection| Wanted::new(Some(selection)).within("global")).collect();
                Self {
                    commits: inside.iter().any(|wanted| wanted.has("config-commit")),
                    tables: inside.iter().any(|wanted| wanted.names(TABLES)),
                    sessions: inside.iter().any(|wanted| wanted.has("config-session")),
                }
            }
        }
    }
}

impl Northbound {
    /// The state of the history and the sessions that is asked for.
    pub(super) fn history_state(&self, filter: Option<&Filter>) -> Element {
        let zone = TimeZone::system();
        let asked = Asked::by(filter);
        let mut inside = Vec::new();
        if asked.commits {
            inside.push(self.config_commit(&zone));
        }
        if asked.tables {
            let tables = HISTORY_TABLES.iter().map(|table| {
                let mut leaves = vec![Element::leaf("history-type", table)];
                leaves.extend(self.history.newest_first().map(|entry| history(entry, &zone)));
                Element::node("history-table", leaves)
            });
            inside.push(Element::node(TABLES, tables.collect()));
        }
        if asked.sessions {
            let sessions = self.sessions.iter().filter_map(|session| self.config_session(session, &zone)).collect();
            inside.push(Element::node("config-session", vec![Element::node("sessions", sessions)]));
        }
        Element::node(NAME, vec![Element::node("global", inside)]).in_module(MODULE)
    }

    fn config_commit(&self, zone: &TimeZone) -> Element {
        let commits = self.history.newest_first().map(|entry| commit(entry, zone)).collect();
        let mut inside = vec![Element::node("commits", commits)];
        inside.extend(self.confirming.machine.pending().map(|pending| {
            let left = self.confirming.machine.time_left(now_since_boot()).unwrap_or_default().as_secs();
            let mut leaves =
                vec![Element::leaf("rollback-to", pending.rollback_to), Element::leaf("user", &pending.user)];
            leaves.extend(Element::leaf_if("session", pending.holder));
            leaves.push(Element::leaf("persistent", pending.persist.is_some()));
            leaves.push(Element::leaf("seconds-left", u32::try_from(left).unwrap_or(u32::MAX)));
            Element::node("confirmed-commit", leaves).in_module("procyon-history")
        }));
        inside.extend(self.left_out.as_ref().map(left_out));
        Element::node("config-commit", inside)
    }

    /// A session that is at work on the configuration: it has edited a candidate of its own, holds a lock, or has to
    /// confirm a commit.
    fn config_session(&self, session: &Session, zone: &TimeZone) -> Option<Element> {
        let Session { caller, opened_unix, .. } = session;
        let id = caller.session;
        let has_edited = self.datastores.is_dirty(CandidateId::Private(id));
        let is_holder = |datastore| self.locks.holder(datastore) == Some(id);
        let has_lock = is_holder(Datastore::Running) || is_holder(Datastore::Candidate);
        let is_on_trial = self.confirming.machine.pending().is_some_and(|pending| pending.holder == Some(id));
        if !(has_edited || has_lock || is_on_trial) {
            return None;
        }
        let since = jiff::Timestamp::from_second(*opened_unix).unwrap_or_default();
        let elapsed = now().as_second().saturating_sub(*opened_unix).max(0);
        let mut leaves = vec![
            Element::leaf("session", id),
            Element::leaf("session-id", id),
            Element::leaf("client-name", client_name(&caller.client)),
            Element::leaf("user-id", &caller.user),
            Element::leaf("tty-name", line(id.0)),
            Element::leaf("timestamp", timestamp(&since.to_string(), zone)),
        ];
        leaves.extend(has_lock.then(|| Element::leaf("lock-flag", FLAG)));
        leaves.extend(is_on_trial.then(|| Element::leaf("trial-flag", FLAG)));
        leaves.extend([
            Element::leaf("pid", std::process::id()),
            Element::leaf("process-name", "procyon"),
            Element::leaf("node-name", NODE),
            Element::leaf("elapsed-time", elapsed),
        ]);
        Some(Element::node("session", leaves))
    }
}

fn left_out(left_out: &LeftOut) -> Element {
    let mut inside = vec![Element::leaf("kept-in", left_out.kept_in.display())];
    inside.extend(left_out.nodes.iter().enumerate().map(|(index, NotPlaced { path, reason })| {
        let leaves = vec![Element::leaf("index", index), Element::leaf("path", path), Element::leaf("reason", reason)];
        Element::node("node", leaves)
    }));
    Element::node("not-placed", inside).in_module("procyon-history")
}

fn commit(entry: &Entry, zone: &TimeZone) -> Element {
    let mut leaves =
        vec![Element::leaf("commit", entry.id), Element::leaf("timestamp", timestamp(&entry.meta.time, zone))];
    leaves.extend(facts(entry));
    Element::node("commit", leaves)
}

fn history(entry: &Entry, zone: &TimeZone) -> Element {
    let info =
        vec![Element::leaf("type", "cfghist-bag-record-commit"), Element::node("commit-info", facts(entry).collect())];
    Element::node(
        "history",
        vec![
            Element::leaf("history", entry.id),
            Element::leaf("timestamp", timestamp(&entry.meta.time, zone)),
            Element::node("info", info),
        ],
    )
}

fn facts(entry: &Entry) -> impl Iterator<Item = Element> {
    let Entry { id, meta, .. } = entry;
    let always = [Element::leaf("commit-id", id), Element::leaf("user-id", &meta.user)];
    let line = (meta.session > 0).then(|| Element::leaf("line", line(meta.session)));
    let notes = [Element::leaf_if("label", meta.label.as_ref()), Element::leaf_if("comment", meta.comment.as_ref())];
    always
        .into_iter()
        .chain(line)
        .chain([Element::leaf("client-name", &meta.client)])
        .chain(notes.into_iter().flatten())
}

fn line(session: u32) -> String {
    format!("session-{session}")
}

/// As routers write it: `Tue Jun  7 14:42:19 2016`.
fn timestamp(recorded: &str, zone: &TimeZone) -> String {
    match recorded.parse::<jiff::Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => recorded.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::{Content, Selection};
    use super::super::testing::Rig;
    use super::super::{Client, CommitOptions, Request, Response};
    use super::*;

    #[test]
    fn times_are_written_as_on_a_router() {
        assert_eq!(timestamp("2016-06-07T14:42:19.5Z", &TimeZone::UTC), "Tue Jun  7 14:42:19 2016");
        assert_eq!(timestamp("yesterday", &TimeZone::UTC), "yesterday");
    }

    fn global(rig: &mut Rig, inside: &str) -> String {
        let caller = rig.open(Client::Netconf);
        let within = |name: &str, content| Selection {
            namespace: None,
            name: name.to_owned(),
            attributes: Vec::new(),
            content: Content::Within(content),
        };
        let asked = Selection { content: Content::Selected, ..within(inside, Vec::new()) };
        let filter = Filter::Subtree(vec![within("config-manager", vec![within("global", vec![asked])])]);
        let request = Request::Get { filter: Some(filter), with_defaults: super::super::WithDefaults::Explicit };
        let Response::Data(data) = rig.ask(&caller, request).unwrap() else { panic!("a get is answered with data") };
        let answer = String::from_utf8(data.to_vec()).unwrap();
        let varying = regex::Regex::new("<(timestamp|pid|elapsed-time)>[^<]*").unwrap();
        varying.replace_all(&answer, "<$1>").replace("><", ">\n<")
    }

    #[test]
    fn who_is_at_work_on_the_configuration_is_told_with_his_locks() {
        let mut rig = Rig::new(Vec::new());
        let (editor, _idle, holder) = (rig.open(Client::Shell), rig.open(Client::Shell), rig.open(Client::Netconf));
        rig.edit(&editor, "<top-leaf xmlns='urn:sample'>v</top-leaf>");
        rig.ask(&holder, Request::Lock { target: Datastore::Running }).unwrap();
        insta::assert_snapshot!(global(&mut rig, "config-session"), @r#"
        <config-manager xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper">
        <global>
        <config-session>
        <sessions>
        <session>
        <session>1</session>
        <session-id>1</session-id>
        <client-name>CLI</client-name>
        <user-id>ann</user-id>
        <tty-name>session-1</tty-name>
        <timestamp>
        </timestamp>
        <pid>
        </pid>
        <process-name>procyon</process-name>
        <node-name>0/RP0/CPU0</node-name>
        <elapsed-time>
        </elapsed-time>
        </session>
        <session>
        <session>3</session>
        <session-id>3</session-id>
        <client-name>NETCONF</client-name>
        <user-id>ann</user-id>
        <tty-name>session-3</tty-name>
        <timestamp>
        </timestamp>
        <lock-flag>*</lock-flag>
        <pid>
        </pid>
        <process-name>procyon</process-name>
        <node-name>0/RP0/CPU0</node-name>
        <elapsed-time>
        </elapsed-time>
        </session>
        </sessions>
        </config-session>
        </global>
        </config-manager>
        "#);
    }

    #[test]
    fn commits_are_in_the_tables_of_the_history_for_those_who_name_them() {
        let mut rig = Rig::new(Vec::new());
        let me = rig.open(Client::Shell);
        rig.edit(&me, "<top-leaf xmlns='urn:sample'>v</top-leaf>");
        let options = CommitOptions { label: Some("first".to_owned()), ..CommitOptions::default() };
        rig.ask(&me, Request::Commit(options)).unwrap();
        insta::assert_snapshot!(global(&mut rig, TABLES), @r#"
        <config-manager xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper">
        <global>
        <history-tables>
        <history-table>
        <history-type>all</history-type>
        <history>
        <history>1000000001</history>
        <timestamp>
        </timestamp>
        <info>
        <type>cfghist-bag-record-commit</type>
        <commit-info>
        <commit-id>1000000001</commit-id>
        <user-id>ann</user-id>
        <line>session-1</line>
        <client-name>CLI</client-name>
        <label>first</label>
        </commit-info>
        </info>
        </history>
        </history-table>
        <history-table>
        <history-type>commit</history-type>
        <history>
        <history>1000000001</history>
        <timestamp>
        </timestamp>
        <info>
        <type>cfghist-bag-record-commit</type>
        <commit-info>
        <commit-id>1000000001</commit-id>
        <user-id>ann</user-id>
        <line>session-1</line>
        <client-name>CLI</client-name>
        <label>first</label>
        </commit-info>
        </info>
        </history>
        </history-table>
        </history-tables>
        </global>
        </config-manager>
        "#);
        assert!(!global(&mut rig, "config-commit").contains("history-table"));
    }
}
