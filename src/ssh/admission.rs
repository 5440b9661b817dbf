//! Who may connect: bounds for connections that have not proven a user yet, fair between source addresses.
//!
//! When the room is taken, a newcomer does not wait behind a flood: it takes the place of the oldest, most silent
//! connection of the source that holds the most. A source that fills its own share only displaces itself.
//!
//! Must not know: sockets, users.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Limits;

/// How far a connection has come. The least progress gives way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not a byte received.
    Silent,
    /// Bytes received, no user named.
    Talking,
    /// A user named; only a slow person or a guesser stays here.
    Asking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Admit(ConnectionId),
    /// Admitted in the place of another, which must be ended.
    AdmitInsteadOf {
        admitted: ConnectionId,
        ended: ConnectionId,
    },
    TurnAway(Full),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("all {0} connections are in use")]
    Connections(usize),
    #[error("all {0} places for logins are taken by clients that are logging in")]
    Logins(usize),
}

/// The connections there are. The caller says when one is proven or gone.
#[derive(Debug)]
pub struct Admission {
    connections: usize,
    unauthenticated: usize,
    per_source: usize,
    open: usize,
    next: u64,
    waiting: BTreeMap<ConnectionId, IpAddr>,
}

impl Admission {
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            unauthenticated: limits.unauthenticated,
            per_source: limits.unauthenticated_per_source,
            open: 0,
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Decides about a new connection from `source`; `stage` says how far a waiting one has come.
    pub fn arrive(&mut self, source: IpAddr, stage: impl Fn(ConnectionId) -> Stage) -> Verdict {
        let source = neighbourhood(source);
        let mut held: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for waiting in self.waiting.values() {
            *held.entry(*waiting).or_default() += 1;
        }
        let mine = held.get(&source).copied().unwrap_or(0);
        let crowded = if mine >= self.per_source {
            Some(source)
        } else if self.waiting.len() >= self.unauthenticated {
            held.iter().max_by_key(|(_, count)| **count).map(|(source, _)| *source)
        } else {
            None
        };
        let Some(crowded) = crowded else {
            return if self.open >= self.connections {
                Verdict::TurnAway(Full::Connections(self.connections))
            } else {
                Verdict::Admit(self.enter(source))
            };
        };
        let victim = self
            .waiting
            .iter()
            .filter(|(_, waiting)| **waiting == crowded)
            .map(|(id, _)| (stage(*id), *id))
            .min()
            .filter(|(stage, _)| *stage < Stage::Asking || crowded != source);
        let Some((_, ended)) = victim else {
            return Verdict::TurnAway(Full::Logins(self.unauthenticated.min(self.per_source)));
        };
        self.waiting.remove(&ended);
        Verdict::AdmitInsteadOf { admitted: self.enter(source), ended }
    }

    /// The connection has proven its user and no longer counts as waiting. False when it had to give way before.
    pub fn prove(&mut self, id: ConnectionId) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// The connection is gone.
    pub fn leave(&mut self, id: ConnectionId) {
        self.waiting.remove(&id);
        self.open -= 1;
    }

    fn enter(&mut self, source: IpAddr) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next += 1;
        self.open += 1;
        self.waiting.insert(id, source);
        id
    }
}

/// Who counts as one source. An IPv4 client is the same whichever kind of socket it came in by; an IPv6 host may take
/// any address of its /64.
pub(super) fn neighbourhood(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        let limits = Limits { connections: 8, unauthenticated: 4, unauthenticated_per_source: 3, ..Limits::default() };
        Admission::new(&limits)
    }

    fn host(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn admitted(verdict: Verdict) -> ConnectionId {
        match verdict {
            Verdict::Admit(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flood_from_one_source_displaces_itself_oldest_first() {
        let mut admission = admission();
        let first: Vec<_> = (0..3).map(|_| admitted(admission.arrive(host(1), |_| Stage::Silent))).collect();
        let verdict = admission.arrive(host(1), |_| Stage::Silent);
        assert_eq!(verdict, Verdict::AdmitInsteadOf { admitted: ConnectionId(3), ended: first[0] });
        admission.leave(first[0]);
        admitted(admission.arrive(host(2), |_| Stage::Silent));
    }

    #[test]
    fn the_most_silent_gives_way_before_one_that_is_logging_in() {
        let mut admission = admission();
        let ids: Vec<_> = (0..3).map(|_| admitted(admission.arrive(host(1), |_| Stage::Silent))).collect();
        let stage = |id| if id == ids[0] { Stage::Asking } else { Stage::Silent };
        let verdict = admission.arrive(host(1), stage);
        assert_eq!(verdict, Verdict::AdmitInsteadOf { admitted: ConnectionId(3), ended: ids[1] });
    }

    #[test]
    fn a_source_whose_share_is_logging_in_is_turned_away() {
        let mut admission = admission();
        for _ in 0..3 {
            admitted(admission.arrive(host(1), |_| Stage::Asking));
        }
        assert_eq!(admission.arrive(host(1), |_| Stage::Asking), Verdict::TurnAway(Full::Logins(3)));
    }

    #[test]
    fn another_source_gets_in_even_when_every_place_is_logging_in() {
        let mut admission = admission();
        let ids: Vec<_> = (0..3).map(|_| admitted(admission.arrive(host(1), |_| Stage::Asking))).collect();
        admitted(admission.arrive(host(2), |_| Stage::Asking));
        let verdict = admission.arrive(host(3), |_| Stage::Asking);
        assert_eq!(verdict, Verdict::AdmitInsteadOf { admitted: ConnectionId(4), ended: ids[0] });
    }

    #[test]
    fn a_source_is_a_host_whatever_address_it_takes() {
        let source = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn proven_connections_leave_their_place_but_count_in_the_whole() {
        let mut admission = admission();
        for n in 0..8 {
            let id = admitted(admission.arrive(host(n), |_| Stage::Silent));
            assert!(admission.prove(id));
        }
        assert_eq!(admission.arrive(host(9), |_| Stage::Silent), Verdict::TurnAway(Full::Connections(8)));
        admission.leave(ConnectionId(0));
        admitted(admission.arrive(host(9), |_| Stage::Silent));
    }
}
