//! Locks on parts of running (RFC 5717): the nodes that were selected when the lock was taken, with all below them.
//!
//! Locks of one session may overlap; those of two may not. What is created later beside a locked node is free. Must not
//! know: how nodes are selected, what is in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::northbound::provider::{Change, Edit};
use crate::northbound::{Kind, Refusal, SessionId};

/// Locks that one session may hold.
pub const LOCKS_OF_SESSION_MAX: usize = 100;
/// Nodes that one lock may hold.
pub const NODES_OF_LOCK_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialLock {
    pub session: SessionId,
    /// The expressions that chose the nodes, as they were given.
    pub selects: Vec<String>,
    /// Data paths.
    pub nodes: BTreeSet<String>,
    pub since_unix: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartialRefused {
    #[error("{path} is locked by session {by}")]
    Held { path: String, by: SessionId },
    #[error("nothing in running is selected")]
    NothingSelected,
    #[error("a session holds at most {LOCKS_OF_SESSION_MAX} partial locks")]
    TooManyLocks,
    #[error("a partial lock holds at most {NODES_OF_LOCK_MAX} nodes, not {nodes}")]
    TooManyNodes { nodes: usize },
    #[error("this session holds no partial lock {id}")]
    NotHeld { id: u32 },
}

impl From<PartialRefused> for Refusal {
    fn from(refused: PartialRefused) -> Self {
        let message = refused.to_string();
        match refused {
            PartialRefused::Held { path, by } => Refusal::new(Kind::LockDenied { holder: by }, message)
                .at(path)
                .mend("wait for it, or kill that session"),
            // RFC 5717 section 2.4.1.
            PartialRefused::NothingSelected => Refusal::new(Kind::OperationFailed, message).tagged("no-matches"),
            PartialRefused::TooManyLocks => Refusal::new(Kind::ResourceDenied, message).mend("release some"),
            PartialRefused::TooManyNodes { .. } => {
                Refusal::new(Kind::ResourceDenied, message).mend("select a node above them")
            }
            PartialRefused::NotHeld { .. } => Refusal::new(Kind::InvalidValue, message),
        }
    }
}

#[derive(Debug, Default)]
pub struct PartialLocks {
    held: BTreeMap<u32, PartialLock>,
    last: u32,
}

impl PartialLocks {
    pub fn lock(&mut self, lock: PartialLock) -> Result<u32, PartialRefused> {
        if lock.nodes.is_empty() {
            return Err(PartialRefused::NothingSelected);
        }
        if lock.nodes.len() > NODES_OF_LOCK_MAX {
            return Err(PartialRefused::TooManyNodes { nodes: lock.nodes.len() });
        }
        if self.held.values().filter(|held| held.session == lock.session).count() >= LOCKS_OF_SESSION_MAX {
            return Err(PartialRefused::TooManyLocks);
        }
        for held in self.of_others(lock.session) {
            if let Some(path) = lock.nodes.iter().find(|path| held.holds(path) || held.holds_below(path)) {
                return Err(PartialRefused::Held { path: path.clone(), by: held.session });
            }
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.held.contains_key(&self.last) {
                break;
            }
        }
        self.held.insert(self.last, lock);
        Ok(self.last)
    }

    pub fn unlock(&mut self, id: u32, session: SessionId) -> Result<(), PartialRefused> {
        match self.held.get(&id) {
            Some(held) if held.session == session => {
                self.held.remove(&id);
                Ok(())
            }
            Some(_) | None => Err(PartialRefused::NotHeld { id }),
        }
    }

    /// The session is over.
    pub fn release(&mut self, session: SessionId) {
        self.held.retain(|_, held| held.session != session);
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &PartialLock)> {
        self.held.iter().map(|(id, held)| (*id, held))
    }

    /// Somebody who holds a part: then nobody gets the whole (RFC 5717 section 2.5).
    pub fn any_holder(&self) -> Option<SessionId> {
        self.held.values().next().map(|held| held.session)
    }

    /// May `session` make these changes to running?
    pub fn may_change(&self, session: SessionId, changes: &[Change]) -> Result<(), Vec<Refusal>> {
        let refusals: Vec<Refusal> = self
            .of_others(session)
            .flat_map(|held| {
                let touched = changes.iter().filter(|change| {
                    let takes_away = matches!(change.edit, Edit::Delete | Edit::Move);
                    held.holds(&change.path) || takes_away && held.holds_below(&change.path)
                });
                touched.map(|change| {
                    let message = format!("{} is locked by session {}", change.path, held.session);
                    // RFC 5717 section 2.5.
                    Refusal::new(Kind::InUse, message)
                        .at(change.path.clone())
                        .tagged("locked")
                        .mend("wait until it unlocks, or kill that session")
                })
            })
            .take(crate::yang::build::REFUSALS_MAX)
            .collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn of_others(&self, session: SessionId) -> impl Iterator<Item = &PartialLock> {
        self.held.values().filter(move |held| held.session != session)
    }
}

impl PartialLock {
    /// The node at `path`, or one above it, is locked.
    fn holds(&self, path: &str) -> bool {
        self.nodes.contains(path) || ancestors(path).any(|above| self.nodes.contains(above))
    }

    /// A node below `path` is locked.
    fn holds_below(&self, path: &str) -> bool {
        let from = format!("{path}/");
        let mut following = self.nodes.range::<String, _>((Bound::Included(&from), Bound::Unbounded));
        following.next().is_some_and(|node| node.starts_with(&from))
    }
}

/// The paths of the nodes above; slashes inside of predicates separate nothing.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    path.bytes().enumerate().skip(1).filter_map(move |(index, byte)| {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'/') => return Some(&path[..index]),
            (Some(_) | None, _) => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);

    fn lock(session: SessionId, nodes: &[&str]) -> PartialLock {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        PartialLock { session, selects: Vec::new(), nodes, since_unix: 0 }
    }

    fn change(path: &str, edit: Edit) -> Change {
        Change { path: path.to_owned(), edit }
    }

    #[test]
    fn locks_of_two_sessions_do_not_overlap_and_those_of_one_may() {
        let mut locks = PartialLocks::default();
        let first = locks.lock(lock(ONE, &["/m:a/l[k='x/y']", "/m:b"])).unwrap();
        for (session, node, free) in [
            (TWO, "/m:a/l[k='x/y']", false),
            (TWO, "/m:a/l[k='x/y']/leaf", false),
            (TWO, "/m:a", false),
            (ONE, "/m:a", true),
            (TWO, "/m:a/l[k='x']", false),
            (TWO, "/m:c", true),
            (TWO, "/m:b2", true),
        ] {
            assert_eq!(locks.lock(lock(session, &[node])).is_ok(), free, "{node}");
        }
        assert_eq!(locks.unlock(first, TWO), Err(PartialRefused::NotHeld { id: first }));
        locks.unlock(first, ONE).unwrap();
        assert!(locks.lock(lock(TWO, &["/m:b"])).is_ok());
        locks.release(ONE);
        assert!(locks.lock(lock(TWO, &["/m:a"])).is_ok());
    }

    #[test]
    fn others_change_nothing_that_is_locked_and_delete_nothing_around_it() {
        let mut locks = PartialLocks::default();
        locks.lock(lock(ONE, &["/m:a/l[k='1']"])).unwrap();
        let created = || Edit::Create { value: None };
        for (path, edit, free) in [
            ("/m:a/l[k='1']", Edit::Delete, false),
            ("/m:a/l[k='1']/x", Edit::Modify { value: "1".to_owned() }, false),
            ("/m:a/l[k='1']/x", created(), false),
            ("/m:a", Edit::Delete, false),
            ("/m:a/l[k='10']", created(), true),
            ("/m:a/l[k='2']", Edit::Delete, true),
            ("/m:a/l[k='1']", Edit::Move, false),
        ] {
            let changes = [change(path, edit)];
            assert!(locks.may_change(ONE, &changes).is_ok());
            let refused = locks.may_change(TWO, &changes);
            assert_eq!(refused.is_ok(), free, "{path}");
            if let Err(refusals) = refused {
                assert_eq!((&refusals[0].kind, refusals[0].app_tag.as_deref()), (&Kind::InUse, Some("locked")));
            }
        }
    }

    #[test]
    fn locks_are_counted() {
        let mut locks = PartialLocks::default();
        assert_eq!(locks.lock(lock(ONE, &[])), Err(PartialRefused::NothingSelected));
        for _ in 0..LOCKS_OF_SESSION_MAX {
            locks.lock(lock(ONE, &["/m:a"])).unwrap();
        }
        assert_eq!(locks.lock(lock(ONE, &["/m:a"])), Err(PartialRefused::TooManyLocks));
        assert!(locks.lock(lock(TWO, &["/m:b"])).is_ok());
    }
}
