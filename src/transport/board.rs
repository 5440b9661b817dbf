//! What is told of the ways to this device (`procyon-netconf-server`): written by those who serve and call, read by the
//! northbound.
//!
//! Knows no sockets and no clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::config::Plan;
use crate::yang::value::Element;

const MODULE: &str = "procyon-netconf-server";

/// How the calls to a client go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) phase: Phase,
    pub(super) since_unix: i64,
    pub(super) failed: u32,
    pub(super) last_connected_unix: Option<i64>,
    pub(super) last_problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting { endpoint: String, until_unix: i64 },
    Calling { endpoint: String },
    Connected { endpoint: String },
}

impl Calls {
    pub(super) fn new(endpoint: &str, now_unix: i64) -> Self {
        let phase = Phase::Calling { endpoint: endpoint.to_owned() };
        Self { phase, since_unix: now_unix, failed: 0, last_connected_unix: None, last_problem: None }
    }

    pub(super) fn enter(&mut self, phase: Phase, now_unix: i64) {
        if let Phase::Connected { .. } = phase {
            self.failed = 0;
            self.last_connected_unix = Some(now_unix);
        }
        self.phase = phase;
        self.since_unix = now_unix;
    }

    pub(super) fn fail(&mut self, problem: String) {
        self.failed = self.failed.saturating_add(1);
        self.last_problem = Some(problem);
    }

    fn told(&self) -> Vec<Element> {
        let (status, endpoint, until) = match &self.phase {
            Phase::Waiting { endpoint, until_unix } => ("waiting", endpoint, Some(*until_unix)),
            Phase::Calling { endpoint } => ("calling", endpoint, None),
            Phase::Connected { endpoint } => ("connected", endpoint, None),
        };
        let mut told = vec![Element::leaf("status", status), Element::leaf("endpoint", endpoint)];
        told.push(Element::leaf("since", time(self.since_unix)));
        told.extend(until.map(|until| Element::leaf("next-call", time(until))));
        told.push(Element::leaf("failed-calls", self.failed));
        told.extend(self.last_connected_unix.map(|at| Element::leaf("last-connected", time(at))));
        told.extend(Element::leaf_if("last-problem", self.last_problem.as_ref()));
        told
    }
}

/// Shared by everybody who has something to tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    endpoints: Vec<String>,
    clients: Vec<String>,
    /// What of the configuration cannot be served, and why: keys that are not there.
    unserved: BTreeMap<Way, String>,
    /// By endpoint and address: why it does not listen there.
    deaf: BTreeMap<(String, SocketAddr), String>,
    calls: BTreeMap<String, Calls>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Endpoint(String),
    Client(String),
}

impl Board {
    /// Another configuration: what it does not have is not told of any more.
    pub(super) fn plan(&self, plan: &Plan, unserved: BTreeMap<Way, String>) {
        let mut told = self.lock();
        told.deaf.retain(|(name, address), _| {
            plan.listen.get(name).is_some_and(|endpoint| endpoint.binds.contains(address))
        });
        told.calls.retain(|name, _| plan.call.contains_key(name));
        told.endpoints = plan.listen.keys().cloned().collect();
        told.clients = plan.call.keys().cloned().collect();
        told.unserved = unserved;
    }

    /// Whether an endpoint listens on one of its addresses.
    pub(super) fn listening(&self, endpoint: &str, address: SocketAddr, problem: Option<String>) {
        let key = (endpoint.to_owned(), address);
        match problem {
            Some(problem) => drop(self.lock().deaf.insert(key, problem)),
            None => drop(self.lock().deaf.remove(&key)),
        }
    }

    pub(super) fn calls(&self, client: &str, calls: &Calls) {
        let mut told = self.lock();
        // Whoever is called no longer may say so late.
        if told.clients.iter().any(|known| known == client) {
            told.calls.insert(client.to_owned(), calls.clone());
        }
    }

    /// The tree of `ietf-netconf-server`, as far as it is state.
    pub(super) fn state(&self) -> Vec<Element> {
        let told = self.lock();
        let mut inside = Vec::new();
        let endpoints: Vec<Element> =
            told.endpoints.iter().map(|name| entry("endpoint", name, told.endpoint(name))).collect();
        if !endpoints.is_empty() {
            inside.push(Element::node("listen", vec![Element::node("endpoints", endpoints)]));
        }
        let clients: Vec<Element> =
            told.clients.iter().filter_map(|name| Some(entry("netconf-client", name, told.client(name)?))).collect();
        if !clients.is_empty() {
            inside.push(Element::node("call-home", clients));
        }
        if inside.is_empty() {
            return Vec::new();
        }
        vec![Element::node("netconf-server", inside).in_module("ietf-netconf-server")]
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn endpoint(&self, name: &str) -> Vec<Element> {
        let deaf = self.deaf.iter().filter(|((endpoint, _), _)| endpoint == name);
        let problem = match self.unserved.get(&Way::Endpoint(name.to_owned())) {
            Some(problem) => Some(problem.clone()),
            None => deaf.map(|((_, address), problem)| format!("{address}: {problem}")).next(),
        };
        let status = if problem.is_some() { "in-trouble" } else { "serving" };
        let mut told = vec![Element::leaf("status", status)];
        told.extend(Element::leaf_if("problem", problem));
        told
    }

    fn client(&self, name: &str) -> Option<Vec<Element>> {
        if let Some(problem) = self.unserved.get(&Way::Client(name.to_owned())) {
            return Some(vec![Element::leaf("status", "in-trouble"), Element::leaf("last-problem", problem)]);
        }
        self.calls.get(name).map(Calls::told)
    }
}

fn entry(list: &'static str, name: &str, state: Vec<Element>) -> Element {
    Element::node(list, vec![Element::leaf("name", name), Element::node("state", state).in_module(MODULE)])
}

fn time(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::config::{Client, Endpoint, Ssh, Transport};
    use crate::transport::reconnect::{Connection, Policy, StartWith};

    fn plan() -> Plan {
        let transport = Transport::Ssh(Ssh { host_keys: Vec::new(), keepalive: None });
        let policy = Policy { start_with: StartWith::FirstListed, attempts: 3, connection: Connection::Persistent };
        let client = Client { remotes: Vec::new(), policy, idle: None, max_wait: std::time::Duration::from_secs(5) };
        let endpoint = Endpoint { binds: Vec::new(), idle: None, transport };
        let listen = ["in", "out"].map(|name| (name.to_owned(), endpoint.clone()));
        Plan { listen: listen.into(), call: BTreeMap::from([("noc".to_owned(), client)]) }
    }

    /// `path=value` of each leaf of the state.
    fn told(board: &Board) -> String {
        fn walk(element: &Element, path: &str, lines: &mut Vec<String>) {
            let path = format!("{path}/{}", element.name);
            lines.extend(element.text.iter().map(|text| format!("{path}={text}")));
            element.children.iter().for_each(|child| walk(child, &path, lines));
        }
        let mut lines = Vec::new();
        board.state().iter().for_each(|element| walk(element, "", &mut lines));
        lines.join("\n").replace("/netconf-server", "")
    }

    #[test]
    fn nothing_is_told_of_what_is_not_configured() {
        let board = Board::default();
        board.calls("noc", &Calls::new("east", 0));
        assert!(board.state().is_empty());
        board.plan(&plan(), BTreeMap::new());
        board.calls("noc", &Calls::new("east", 0));
        assert!(!board.state().is_empty());
        board.plan(&Plan::default(), BTreeMap::new());
        assert!(board.state().is_empty());
    }

    #[test]
    fn endpoints_say_why_they_do_not_listen_and_clients_how_their_calls_go() {
        let board = Board::default();
        board.plan(&plan(), BTreeMap::from([(Way::Endpoint("in".to_owned()), "the key has gone".to_owned())]));
        let address = "192.0.2.1:830".parse().unwrap();
        board.listening("out", address, Some("no such address".to_owned()));
        let mut calls = Calls::new("east", 1_700_000_000);
        calls.fail("nobody is there".to_owned());
        calls.enter(Phase::Waiting { endpoint: "west".to_owned(), until_unix: 1_700_000_060 }, 1_700_000_001);
        board.calls("noc", &calls);
        insta::assert_snapshot!(told(&board), @r"
        /listen/endpoints/endpoint/name=in
        /listen/endpoints/endpoint/state/status=in-trouble
        /listen/endpoints/endpoint/state/problem=the key has gone
        /listen/endpoints/endpoint/name=out
        /listen/endpoints/endpoint/state/status=in-trouble
        /listen/endpoints/endpoint/state/problem=192.0.2.1:830: no such address
        /call-home/netconf-client/name=noc
        /call-home/netconf-client/state/status=waiting
        /call-home/netconf-client/state/endpoint=west
        /call-home/netconf-client/state/since=2023-11-14T22:13:21Z
        /call-home/netconf-client/state/next-call=2023-11-14T22:14:20Z
        /call-home/netconf-client/state/failed-calls=1
        /call-home/netconf-client/state/last-problem=nobody is there
        ");
        calls.enter(Phase::Connected { endpoint: "west".to_owned() }, 1_700_000_060);
        board.calls("noc", &calls);
        board.listening("out", address, None);
        board.plan(&plan(), BTreeMap::from([(Way::Client("gone".to_owned()), "never seen".to_owned())]));
        insta::assert_snapshot!(told(&board), @r"
        /listen/endpoints/endpoint/name=in
        /listen/endpoints/endpoint/state/status=serving
        /listen/endpoints/endpoint/name=out
        /listen/endpoints/endpoint/state/status=serving
        /call-home/netconf-client/name=noc
        /call-home/netconf-client/state/status=connected
        /call-home/netconf-client/state/endpoint=west
        /call-home/netconf-client/state/since=2023-11-14T22:14:20Z
        /call-home/netconf-client/state/failed-calls=0
        /call-home/netconf-client/state/last-connected=2023-11-14T22:14:20Z
        /call-home/netconf-client/state/last-problem=nobody is there
        ");
    }
}
