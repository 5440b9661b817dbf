//! The state that the northbound itself has to tell: sessions, locks, schemas, denials.
//!
//! The northbound knows the facts; a [`Monitoring`] given by the composition root lays them out in the standard modules.

use super::driver::Northbound;
use super::filter::Filter;
use super::{Caller, Datastore, SessionId};
use crate::datastore::partial_lock::PartialLock;
use crate::yang::schema::Schema;
use crate::yang::value::Element;

/// Modules whose data and rpcs the northbound or a front end serves without a provider.
pub const OWN_MODULES: &[&str] = &[
    "ietf-netconf",
    "ietf-netconf-monitoring",
    "ietf-netconf-nmda",
    "ietf-netconf-partial-lock",
    "ietf-netconf-acm",
    "ietf-netconf-with-defaults",
    "ietf-netconf-notifications",
    "ietf-yang-library",
    "Cisco-IOS-XR-cfgmgr-rollback-act",
    "Cisco-IOS-XR-config-cfgmgr-exec-oper",
    "procyon-history",
    "procyon-shell",
    "Cisco-IOS-XR-cli-cfg",
    "Cisco-IOS-XR-cli-diff-act",
    "ietf-netconf-private-candidate",
    "ietf-yang-metadata",
    "ietf-yang-schema-mount",
    "ietf-datastores",
    "ietf-origin",
    "yang",
    "notifications",
    "nc-notifications",
    "ietf-subscribed-notifications",
    "ietf-yang-push",
];

/// What is true now.
pub struct Facts<'a> {
    pub schema: &'static Schema,
    pub capabilities: &'a [String],
    pub sessions: Vec<(&'a Caller, i64)>,
    /// Each datastore and who holds its lock, since when (Unix seconds).
    pub locks: Vec<(Datastore, Option<(SessionId, i64)>)>,
    /// Locks on parts of running, by their numbers.
    pub partial_locks: Vec<(u32, &'a PartialLock)>,
    pub started_unix: i64,
}

/// Lays the facts out as ietf-netconf-monitoring and ietf-yang-library, and says the capabilities.
pub trait Monitoring: Send + Sync {
    fn capabilities(&self, schema: &'static Schema) -> Vec<String>;

    /// `/module:node` of each top node it lays out.
    fn roots(&self) -> &'static [&'static str];

    /// The top elements of one of `roots`: what is true now, to be laid out wherever there is time.
    fn state(&self, root: &str, facts: &Facts<'_>) -> State;
}

/// State of one top.
pub enum State {
    Made(Vec<Element>),
    ToMake(Box<dyn FnOnce() -> Vec<Element> + Send>),
}

impl State {
    pub fn to_make(make: impl FnOnce() -> Vec<Element> + Send + 'static) -> Self {
        Self::ToMake(Box::new(make))
    }

    pub fn elements(self) -> Vec<Element> {
        match self {
            Self::Made(elements) => elements,
            Self::ToMake(make) => make(),
        }
    }
}

/// The tops of all that is the northbound's own.
pub(super) fn roots(northbound: &Northbound) -> Vec<&'static str> {
    let fixed = [
        super::history::ROOT,
        super::access::NACM_ROOT,
        super::notifications::STREAMS_ROOT,
        super::subscriptions::STREAMS_ROOT,
        super::subscriptions::SUBSCRIPTIONS_ROOT,
    ];
    northbound.monitoring.roots().iter().copied().chain(fixed).collect()
}

/// What there is of one of [`roots`].
pub(super) fn state(northbound: &Northbound, filter: Option<&Filter>, root: &'static str) -> State {
    State::Made(match root {
        super::history::ROOT => vec![northbound.history_state(filter)],
        super::access::NACM_ROOT => vec![northbound.access.state()],
        super::notifications::STREAMS_ROOT => vec![northbound.stream.state()],
        super::subscriptions::STREAMS_ROOT => vec![northbound.stream.streams()],
        super::subscriptions::SUBSCRIPTIONS_ROOT => northbound.numbered_state().into_iter().collect(),
        _ => return northbound.monitoring.state(root, &facts(northbound)),
    })
}

fn facts(northbound: &Northbound) -> Facts<'_> {
    Facts {
        schema: northbound.schema,
        capabilities: &northbound.capabilities,
        sessions: northbound.sessions.iter().map(|session| (&session.caller, session.opened_unix)).collect(),
        locks: [Datastore::Running, Datastore::Candidate, Datastore::Startup]
            .into_iter()
            .filter(|datastore| *datastore != Datastore::Startup || northbound.abilities.startup)
            .map(|datastore| {
                let since = northbound.lock_times.get(&datastore).copied().unwrap_or_default();
                (datastore, northbound.locks.holder(datastore).map(|holder| (holder, since)))
            })
            .collect(),
        partial_locks: northbound.partial_locks.iter().collect(),
        started_unix: northbound.started_unix,
    }
}
