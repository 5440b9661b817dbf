//! The notifications of RFC 6470: configuration changes and sessions, as values.
//!
//! Must not know: who listens.

use std::net::SocketAddr;

use crate::yang::select::{self, Seen};
use crate::yang::tree::{Node, Tree};

use crate::northbound::provider::{Change, Edit};
use crate::northbound::router::root_of;
use crate::northbound::{Caller, Client, Datastore, SessionEnd};
use crate::yang::value::Element;

const MODULE: &str = "ietf-netconf-notifications";
const CONFIG_CHANGE: &str = "netconf-config-change";

/// Edits that one notification names; beyond, only the top nodes below which something changed.
pub const EDITS_MAX: usize = 1000;

/// netconf-config-change: running or startup was changed by `caller`.
pub fn config_change(caller: &Caller, datastore: Datastore, changes: &[Change]) -> Element {
    let changed_by = match caller.client {
        Client::Agent => vec![Element { name: "server".into(), ..Element::default() }],
        Client::Netconf
        | Client::Tls
        | Client::Shell
        | Client::LocalShell
        | Client::Script { .. }
        | Client::Judge { .. }
        | Client::Local => who(caller),
    };
    let name = if datastore == Datastore::Startup { "startup" } else { "running" };
    let mut children = vec![Element::node("changed-by", changed_by), Element::leaf("datastore", name)];
    children.extend(edits(changes).into_iter().map(|(target, operation)| {
        Element::node("edit", vec![Element::leaf("target", target), Element::leaf("operation", operation)])
    }));
    Element::node(CONFIG_CHANGE, children).in_module(MODULE)
}

pub fn session_start(caller: &Caller) -> Element {
    Element::node("netconf-session-start", who(caller)).in_module(MODULE)
}

pub fn session_end(caller: &Caller, end: SessionEnd) -> Element {
    let mut children = who(caller);
    if let SessionEnd::Killed { by } = end {
        children.push(Element::leaf("killed-by", by));
    }
    let reason = match end {
        SessionEnd::Closed => "closed",
        SessionEnd::Killed { .. } => "killed",
        SessionEnd::Dropped => "dropped",
        SessionEnd::Timeout => "timeout",
        SessionEnd::BadHello => "bad-hello",
        SessionEnd::Other => "other",
    };
    children.push(Element::leaf("termination-reason", reason));
    Element::node("netconf-session-end", children).in_module(MODULE)
}

/// What became of a confirmed commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmEvent {
    /// It waits for its confirmation for so many seconds.
    Start {
        seconds: u64,
    },
    Extend {
        seconds: u64,
    },
    Complete,
    Cancel,
    Timeout,
}

/// netconf-confirmed-commit; `caller` is who did it, which nobody did when the time was over.
pub fn confirmed_commit(caller: &Caller, event: ConfirmEvent) -> Element {
    let (name, seconds) = match event {
        ConfirmEvent::Start { seconds } => ("start", Some(seconds)),
        ConfirmEvent::Extend { seconds } => ("extend", Some(seconds)),
        ConfirmEvent::Complete => ("complete", None),
        ConfirmEvent::Cancel => ("cancel", None),
        ConfirmEvent::Timeout => ("timeout", None),
    };
    let mut children = if event == ConfirmEvent::Timeout { Vec::new() } else { who(caller) };
    children.push(Element::leaf("confirm-event", name));
    children.extend(Element::leaf_if("timeout", seconds));
    Element::node("netconf-confirmed-commit", children).in_module(MODULE)
}

/// A configuration change without the edits of nodes that may not be read: their names and keys are nobody's business
/// either. `None` where nothing has to be hidden.
pub fn without_hidden(notification: &Tree, may_read: &dyn Fn(&str) -> bool) -> Option<Tree> {
    let is_hidden = |node: Node<'_>| {
        let target = node.children().find(|child| child.name() == "target");
        node.name() == "edit" && target.and_then(Node::value).is_some_and(|target| !may_read(target))
    };
    let root = notification.roots().next().filter(|root| root.name() == CONFIG_CHANGE)?;
    let hides = root.children().any(is_hidden);
    let sees = |node: Node<'_>| if is_hidden(node) { Seen::Nothing } else { Seen::Itself };
    hides.then(|| select::prune(notification, &sees))
}

fn who(caller: &Caller) -> Vec<Element> {
    let mut children = vec![Element::leaf("username", &caller.user), Element::leaf("session-id", caller.session)];
    let host = caller.origin.parse::<SocketAddr>().ok().map(|peer| peer.ip());
    children.extend(Element::leaf_if("source-host", host));
    children
}

/// The topmost node of each change: what came with a node that came is not named again.
fn edits(changes: &[Change]) -> Vec<(&str, &'static str)> {
    let mut edits: Vec<(&str, &'static str)> = Vec::new();
    let mut created = None;
    for Change { path, edit } in changes {
        if created.is_some_and(|above| is_below(path, above)) {
            continue;
        }
        let operation = match edit {
            Edit::Create { .. } => {
                created = Some(path.as_str());
                "create"
            }
            Edit::Delete => "delete",
            Edit::Modify { .. } => "replace",
            Edit::Move => "merge",
        };
        edits.push((path, operation));
    }
    if edits.len() > EDITS_MAX {
        // RFC 6470 section 2.2: an ancestor of the changed node may stand for it.
        let mut roots: Vec<&str> = edits.iter().map(|(path, _)| root_of(path)).collect();
        roots.dedup();
        return roots.into_iter().map(|root| (root, "merge")).collect();
    }
    edits
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::SessionId;

    fn caller(client: Client, origin: &str) -> Caller {
        Caller { session: SessionId(4), user: "ann".to_owned(), groups: vec![], client, origin: origin.to_owned() }
    }

    fn change(path: &str, edit: Edit) -> Change {
        Change { path: path.to_owned(), edit }
    }

    #[test]
    fn a_change_names_its_topmost_nodes() {
        let created = || Edit::Create { value: None };
        let changes = [
            change("/m:a/l[k='1']", created()),
            change("/m:a/l[k='1']/k", created()),
            change("/m:a/l[k='1']/c/d", created()),
            change("/m:a/l[k='10']", created()),
            change("/m:a/l[k='2']", Edit::Delete),
            change("/m:a/x", Edit::Modify { value: "1".to_owned() }),
            change("/m:a/u[k='3']", Edit::Move),
        ];
        let expected = [
            ("/m:a/l[k='1']", "create"),
            ("/m:a/l[k='10']", "create"),
            ("/m:a/l[k='2']", "delete"),
            ("/m:a/x", "replace"),
            ("/m:a/u[k='3']", "merge"),
        ];
        assert_eq!(edits(&changes), expected);
    }

    #[test]
    fn a_flood_of_changes_is_told_by_the_top_nodes() {
        let paths = (0..=EDITS_MAX).map(|index| change(&format!("/m:a/l[k='{index}']"), Edit::Delete));
        let changes: Vec<Change> = paths.chain([change("/n:b", Edit::Delete)]).collect();
        assert_eq!(edits(&changes), [("/m:a", "merge"), ("/n:b", "merge")]);
    }

    #[test]
    fn who_did_it_is_told_with_the_host_where_there_is_one() {
        let over_ssh = session_start(&caller(Client::Netconf, "192.0.2.7:40122"));
        assert_eq!((over_ssh.text_of("username"), over_ssh.text_of("source-host")), (Some("ann"), Some("192.0.2.7")));
        let local = session_end(&caller(Client::Local, "local"), SessionEnd::Killed { by: SessionId(9) });
        assert_eq!((local.text_of("source-host"), local.text_of("killed-by")), (None, Some("9")));
        let start = confirmed_commit(&caller(Client::Local, "local"), ConfirmEvent::Start { seconds: 9 });
        assert_eq!((start.text_of("username"), start.text_of("timeout")), (Some("ann"), Some("9")));
        let late = confirmed_commit(&caller(Client::Local, "local"), ConfirmEvent::Timeout);
        assert_eq!((late.text_of("username"), late.text_of("confirm-event")), (None, Some("timeout")));
        let ours = config_change(&caller(Client::Agent, "init"), Datastore::Running, &[]);
        assert!(ours.descend(&["changed-by", "server"]).is_some());
    }
}
