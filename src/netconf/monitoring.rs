//! The state of ietf-netconf-monitoring (RFC 6022 section 2.1) from plain values.
//!
//! Must not know: where the values come from.

use super::counters::{Counts, Totals};
use crate::northbound::{Datastore, SessionId};
use crate::yang::value::Element;

const MODULE: &str = "ietf-netconf-monitoring";

/// The top node that [`state`] makes.
pub const ROOT: &str = "/ietf-netconf-monitoring:netconf-state";

/// What is told about the agent as a NETCONF server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    pub capabilities: Vec<String>,
    pub datastores: Vec<DatastoreState>,
    pub schemas: Vec<Schema>,
    pub sessions: Vec<SessionState>,
    /// When the agent began to serve, as RFC 3339 text.
    pub started: String,
    pub totals: Totals,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatastoreState {
    pub datastore: Datastore,
    pub lock: Option<Lock>,
    pub partial_locks: Vec<PartialLock>,
}

/// A lock on a part of a datastore (RFC 5717).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialLock {
    pub id: u32,
    pub lock: Lock,
    pub selects: Vec<String>,
    pub nodes: Vec<String>,
}

/// A global lock: who holds it, since when (RFC 3339).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub holder: SessionId,
    pub since: String,
}

/// A module or submodule that get-schema gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub name: String,
    /// Empty where the module has none.
    pub revision: String,
    pub namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    pub session: SessionId,
    /// An identity of base `transport`, as `module:name`; [`SSH`] for NETCONF over SSH, [`TLS`] for NETCONF over TLS.
    pub transport: String,
    pub user: String,
    pub source_host: Option<String>,
    pub login_time: String,
    pub counts: Counts,
}

pub const SSH: &str = "ietf-netconf-monitoring:netconf-ssh";
pub const TLS: &str = "ietf-netconf-monitoring:netconf-tls";

/// The state as its one top element.
pub fn state(server: &Server) -> Vec<Element> {
    let capabilities = server.capabilities.iter().map(|uri| Element::leaf("capability", uri)).collect();
    let totals = &server.totals;
    let mut statistics = vec![
        Element::leaf("netconf-start-time", &server.started),
        Element::leaf("in-bad-hellos", wrapped(totals.in_bad_hellos)),
        Element::leaf("in-sessions", wrapped(totals.in_sessions)),
        Element::leaf("dropped-sessions", wrapped(totals.dropped_sessions)),
    ];
    statistics.extend(counts(&totals.counts));
    let children = vec![
        Element::node("capabilities", capabilities),
        Element::node("datastores", server.datastores.iter().map(datastore).collect()),
        Element::node("schemas", server.schemas.iter().map(schema).collect()),
        Element::node("sessions", server.sessions.iter().map(session).collect()),
        Element::node("statistics", statistics),
    ];
    vec![Element::node("netconf-state", children).in_module(MODULE)]
}

fn datastore(state: &DatastoreState) -> Element {
    let name = match state.datastore {
        Datastore::Running => "running",
        Datastore::Candidate => "candidate",
        Datastore::Startup => "startup",
    };
    let mut children = vec![Element::leaf("name", name)];
    children.extend(state.lock.as_ref().map(|lock| {
        let global = vec![Element::leaf("locked-by-session", lock.holder), Element::leaf("locked-time", &lock.since)];
        Element::node("locks", vec![Element::node("global-lock", global)])
    }));
    if !state.partial_locks.is_empty() {
        let held = state.partial_locks.iter().map(|held| {
            let mut leaves = vec![
                Element::leaf("lock-id", held.id),
                Element::leaf("locked-by-session", held.lock.holder),
                Element::leaf("locked-time", &held.lock.since),
            ];
            leaves.extend(held.selects.iter().map(|select| Element::leaf("select", select)));
            leaves.extend(held.nodes.iter().map(|node| Element::leaf("locked-node", node)));
            Element::node("partial-lock", leaves)
        });
        children.push(Element::node("locks", held.collect()));
    }
    Element::node("datastore", children)
}

fn schema(schema: &Schema) -> Element {
    Element::node(
        "schema",
        vec![
            Element::leaf("identifier", &schema.name),
            Element::leaf("version", &schema.revision),
            Element::leaf("format", "ietf-netconf-monitoring:yang"),
            Element::leaf("namespace", &schema.namespace),
            Element::leaf("location", "NETCONF"),
        ],
    )
}

fn session(state: &SessionState) -> Element {
    let mut children = vec![
        Element::leaf("session-id", state.session),
        Element::leaf("transport", &state.transport),
        Element::leaf("username", &state.user),
    ];
    children.extend(Element::leaf_if("source-host", state.source_host.as_ref()));
    children.push(Element::leaf("login-time", &state.login_time));
    children.extend(counts(&state.counts));
    Element::node("session", children)
}

fn counts(counts: &Counts) -> [Element; 4] {
    [
        Element::leaf("in-rpcs", wrapped(counts.in_rpcs)),
        Element::leaf("in-bad-rpcs", wrapped(counts.in_bad_rpcs)),
        Element::leaf("out-rpc-errors", wrapped(counts.out_rpc_errors)),
        Element::leaf("out-notifications", wrapped(counts.out_notifications)),
    ]
}

/// RFC 6991 zero-based-counter32: goes on from 0 after 4294967295.
fn wrapped(count: u64) -> u64 {
    count & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_has_every_part_of_the_module() {
        let server = Server {
            capabilities: vec!["urn:a".to_owned()],
            datastores: vec![
                DatastoreState { datastore: Datastore::Running, lock: None, partial_locks: Vec::new() },
                DatastoreState {
                    datastore: Datastore::Candidate,
                    lock: Some(Lock { holder: SessionId(4), since: "2026-11-21T07:00:00Z".to_owned() }),
                    partial_locks: Vec::new(),
                },
            ],
            schemas: vec![Schema { name: "m".to_owned(), revision: String::new(), namespace: "urn:m".to_owned() }],
            sessions: vec![SessionState {
                session: SessionId(4),
                transport: SSH.to_owned(),
                user: "fred".to_owned(),
                source_host: Some("192.0.2.7".to_owned()),
                login_time: "2026-11-21T06:59:00Z".to_owned(),
                counts: Counts { in_rpcs: 4_294_967_297, ..Counts::default() },
            }],
            started: "2026-11-21T06:00:00Z".to_owned(),
            totals: Totals { in_sessions: 3, ..Totals::default() },
        };
        let [top] = &state(&server)[..] else { panic!("one top element") };
        assert_eq!(top.module.as_deref(), Some("ietf-netconf-monitoring"));
        let session = top.descend(&["sessions", "session"]).unwrap();
        assert_eq!((session.text_of("username"), session.text_of("in-rpcs")), (Some("fred"), Some("1")));
        let stores: Vec<_> = top.child("datastores").unwrap().children_named("datastore").collect();
        assert_eq!(stores[0].child("locks"), None);
        let lock = stores[1].descend(&["locks", "global-lock"]).unwrap();
        assert_eq!(lock.text_of("locked-by-session"), Some("4"));
        assert_eq!(top.descend(&["schemas", "schema"]).unwrap().text_of("version"), Some(""));
        assert_eq!(top.child("statistics").unwrap().text_of("in-sessions"), Some("3"));
    }
}
