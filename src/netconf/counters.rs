//! What RFC 6022 counts, for the whole agent and for each session.
//!
//! Sessions count with atomics; who shows the numbers reads them at any time. Knows no clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::northbound::SessionId;

/// The counters that session and agent have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub in_rpcs: u64,
    pub in_bad_rpcs: u64,
    pub out_rpc_errors: u64,
    pub out_notifications: u64,
}

/// The counters of the agent as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub in_bad_hellos: u64,
    pub in_sessions: u64,
    pub dropped_sessions: u64,
    pub counts: Counts,
}

/// Shared by all sessions of the agent.
#[derive(Debug, Default)]
pub struct Counters {
    in_bad_hellos: AtomicU64,
    in_sessions: AtomicU64,
    dropped_sessions: AtomicU64,
    all: Tally,
    sessions: Mutex<BTreeMap<SessionId, Arc<Tally>>>,
}

#[derive(Debug, Default)]
struct Tally {
    in_rpcs: AtomicU64,
    in_bad_rpcs: AtomicU64,
    out_rpc_errors: AtomicU64,
    out_notifications: AtomicU64,
}

/// One session's hold on the counters; its own go when it is dropped.
#[derive(Debug)]
pub struct SessionCounters {
    session: SessionId,
    shared: Arc<Counters>,
    own: Arc<Tally>,
}

impl Counters {
    /// Begins to count for a session.
    pub fn open(self: &Arc<Self>, session: SessionId) -> SessionCounters {
        let own = Arc::new(Tally::default());
        self.sessions().insert(session, own.clone());
        SessionCounters { session, shared: self.clone(), own }
    }

    pub fn totals(&self) -> Totals {
        Totals {
            in_bad_hellos: self.in_bad_hellos.load(Relaxed),
            in_sessions: self.in_sessions.load(Relaxed),
            dropped_sessions: self.dropped_sessions.load(Relaxed),
            counts: self.all.counts(),
        }
    }

    /// What an open session has counted; `None` for one that is not a NETCONF session.
    pub fn of_session(&self, session: SessionId) -> Option<Counts> {
        self.sessions().get(&session).map(|tally| tally.counts())
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Tally>>> {
        self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SessionCounters {
    /// A session has said hello.
    pub fn session_started(&self) {
        self.shared.in_sessions.fetch_add(1, Relaxed);
    }

    pub fn bad_hello(&self) {
        self.shared.in_bad_hellos.fetch_add(1, Relaxed);
    }

    /// A session that was not closed by its client nor killed.
    pub fn dropped(&self) {
        self.shared.dropped_sessions.fetch_add(1, Relaxed);
    }

    pub fn rpc(&self) {
        self.count(|tally| &tally.in_rpcs);
    }

    /// A message that is not a good rpc by its envelope or parameters.
    pub fn bad_rpc(&self) {
        self.count(|tally| &tally.in_bad_rpcs);
    }

    /// A reply that holds an rpc-error.
    pub fn error_reply(&self) {
        self.count(|tally| &tally.out_rpc_errors);
    }

    pub fn notification(&self) {
        self.count(|tally| &tally.out_notifications);
    }

    fn count(&self, which: impl Fn(&Tally) -> &AtomicU64) {
        which(&self.own).fetch_add(1, Relaxed);
        which(&self.shared.all).fetch_add(1, Relaxed);
    }
}

impl Drop for SessionCounters {
    fn drop(&mut self) {
        self.shared.sessions().remove(&self.session);
    }
}

impl Tally {
    fn counts(&self) -> Counts {
        Counts {
            in_rpcs: self.in_rpcs.load(Relaxed),
            in_bad_rpcs: self.in_bad_rpcs.load(Relaxed),
            out_rpc_errors: self.out_rpc_errors.load(Relaxed),
            out_notifications: self.out_notifications.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_counts_go_with_it_and_stay_in_the_totals() {
        let counters = Arc::new(Counters::default());
        let session = counters.open(SessionId(4));
        session.session_started();
        session.rpc();
        session.rpc();
        session.error_reply();
        assert_eq!(
            counters.of_session(SessionId(4)).map(|counts| (counts.in_rpcs, counts.out_rpc_errors)),
            Some((2, 1))
        );
        drop(session);
        assert_eq!(counters.of_session(SessionId(4)), None);
        let totals = counters.totals();
        assert_eq!((totals.in_sessions, totals.counts.in_rpcs, totals.counts.out_rpc_errors), (1, 2, 1));
    }
}
