//! Locks on datastores (RFC 6241 sections 7.5, 7.6, 8.3.5.2).
//!
//! ```text
//!  free --lock--> held by a session --unlock, session end--> free
//! ```
//! Must not know: what is in the datastores.

use std::collections::BTreeMap;

use crate::northbound::{Datastore, Kind, Refusal, SessionId};

/// What stands in the way of a lock besides another lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// The candidate has edits that nobody committed or discarded.
    pub candidate_is_dirty: bool,
    /// A confirmed commit waits, and whose it is (0: of a session that has ended): nobody else may lock running.
    pub confirmed_commit_of: Option<SessionId>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockRefused {
    #[error("{} is locked by session {by}", name(*.target))]
    Held { target: Datastore, by: SessionId },
    #[error("{} is locked by this very session", name(*.target))]
    HeldByYourself { target: Datastore, by: SessionId },
    #[error("the candidate has changes that are neither committed nor discarded")]
    CandidateDirty,
    #[error("a confirmed commit of {} is pending", issuer(*.by))]
    ConfirmedCommitPending { by: SessionId },
    #[error("{} is not locked", name(*.target))]
    NotHeld { target: Datastore },
}

impl From<LockRefused> for Refusal {
    fn from(refused: LockRefused) -> Self {
        let message = refused.to_string();
        match refused {
            LockRefused::Held { by, .. } => {
                Refusal::new(Kind::LockDenied { holder: by }, message).mend("wait for it, or kill that session")
            }
            LockRefused::HeldByYourself { by, .. } => Refusal::new(Kind::LockDenied { holder: by }, message),
            // RFC 6241 section 7.5: the holder is then no session.
            LockRefused::CandidateDirty => {
                Refusal::new(Kind::LockDenied { holder: SessionId(0) }, message).mend("discard-changes, or commit them")
            }
            LockRefused::ConfirmedCommitPending { by } => {
                Refusal::new(Kind::LockDenied { holder: by }, message).mend("wait until it is confirmed or reverted")
            }
            LockRefused::NotHeld { .. } => Refusal::new(Kind::OperationFailed, message),
        }
    }
}

#[derive(Debug, Default)]
pub struct Locks {
    held: BTreeMap<Datastore, SessionId>,
}

impl Locks {
    pub fn lock(
        &mut self,
        target: Datastore,
        session: SessionId,
        circumstances: Circumstances,
    ) -> Result<(), LockRefused> {
        match self.held.get(&target) {
            Some(by) if *by == session => return Err(LockRefused::HeldByYourself { target, by: *by }),
            Some(by) => return Err(LockRefused::Held { target, by: *by }),
            None => {}
        }
        match target {
            Datastore::Candidate if circumstances.candidate_is_dirty => return Err(LockRefused::CandidateDirty),
            Datastore::Running => {
                if let Some(by) = circumstances.confirmed_commit_of.filter(|by| *by != session) {
                    return Err(LockRefused::ConfirmedCommitPending { by });
                }
            }
            Datastore::Candidate | Datastore::Startup => {}
        }
        self.held.insert(target, session);
        Ok(())
    }

    pub fn unlock(&mut self, target: Datastore, session: SessionId) -> Result<(), LockRefused> {
        match self.held.get(&target) {
            Some(by) if *by == session => {
                self.held.remove(&target);
                Ok(())
            }
            // RFC 6241 section 7.6 asks for an error; appendix A has no tag of its own for it.
            Some(by) => Err(LockRefused::Held { target, by: *by }),
            None => Err(LockRefused::NotHeld { target }),
        }
    }

    /// The session is over; what it had locked. As after an unlock, a candidate that was locked is to be discarded.
    pub fn release(&mut self, session: SessionId) -> Vec<Datastore> {
        let gone: Vec<Datastore> =
            self.held.iter().filter(|(_, by)| **by == session).map(|(target, _)| *target).collect();
        self.held.retain(|_, by| *by != session);
        gone
    }

    pub fn holder(&self, target: Datastore) -> Option<SessionId> {
        self.held.get(&target).copied()
    }

    /// May this session write to `target`? RFC 6241: in-use when somebody else has locked it.
    pub fn may_edit(&self, target: Datastore, session: SessionId) -> Result<(), Refusal> {
        match self.holder(target).filter(|by| *by != session) {
            None => Ok(()),
            Some(by) => Err(in_use(target, by)),
        }
    }

    /// A commit writes to running and, when it comes from the shared candidate, empties that.
    pub fn may_commit(&self, session: SessionId, from_shared_candidate: bool) -> Result<(), Refusal> {
        self.may_edit(Datastore::Running, session)?;
        if from_shared_candidate { self.may_edit(Datastore::Candidate, session) } else { Ok(()) }
    }
}

/// A persistent confirmed commit outlives its session.
fn issuer(by: SessionId) -> String {
    if by.0 == 0 { "a session that has ended".to_owned() } else { format!("session {by}") }
}

fn in_use(target: Datastore, by: SessionId) -> Refusal {
    Refusal::new(Kind::InUse, format!("{} is locked by session {by}", name(target)))
        .mend("wait until it unlocks, or kill that session")
}

pub(super) fn name(target: Datastore) -> &'static str {
    match target {
        Datastore::Running => "running",
        Datastore::Candidate => "candidate",
        Datastore::Startup => "startup",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);

    #[test]
    fn a_lock_keeps_others_out_until_it_goes() {
        let mut locks = Locks::default();
        locks.lock(Datastore::Running, ONE, Circumstances::default()).unwrap();
        let refused = locks.lock(Datastore::Running, TWO, Circumstances::default()).unwrap_err();
        assert_eq!(Refusal::from(refused).kind, Kind::LockDenied { holder: ONE });
        assert_eq!(locks.may_commit(TWO, false).unwrap_err().kind, Kind::InUse);
        assert!(locks.may_edit(Datastore::Candidate, TWO).is_ok());
        assert!(locks.unlock(Datastore::Running, TWO).is_err());
        locks.unlock(Datastore::Running, ONE).unwrap();
        locks.may_commit(TWO, true).unwrap();
    }

    #[test]
    fn a_session_cannot_lock_twice_or_unlock_what_is_free() {
        let mut locks = Locks::default();
        locks.lock(Datastore::Candidate, ONE, Circumstances::default()).unwrap();
        let refused = locks.lock(Datastore::Candidate, ONE, Circumstances::default()).unwrap_err();
        assert_eq!(Refusal::from(refused).kind, Kind::LockDenied { holder: ONE });
        assert_eq!(
            locks.unlock(Datastore::Running, ONE).unwrap_err(),
            LockRefused::NotHeld { target: Datastore::Running }
        );
    }

    #[test]
    fn a_dirty_candidate_is_not_locked_and_a_confirmed_commit_guards_running() {
        let mut locks = Locks::default();
        let dirty = Circumstances { candidate_is_dirty: true, ..Circumstances::default() };
        let refused = locks.lock(Datastore::Candidate, ONE, dirty).unwrap_err();
        assert_eq!(Refusal::from(refused).kind, Kind::LockDenied { holder: SessionId(0) });
        locks.lock(Datastore::Running, ONE, dirty).unwrap();
        locks.release(ONE);
        let pending = Circumstances { confirmed_commit_of: Some(TWO), ..Circumstances::default() };
        assert!(locks.lock(Datastore::Running, ONE, pending).is_err());
        assert!(locks.lock(Datastore::Running, TWO, pending).is_ok());
    }

    #[test]
    fn the_end_of_a_session_frees_its_locks_only() {
        let mut locks = Locks::default();
        locks.lock(Datastore::Running, ONE, Circumstances::default()).unwrap();
        locks.lock(Datastore::Candidate, TWO, Circumstances::default()).unwrap();
        assert_eq!(locks.release(ONE), vec![Datastore::Running]);
        assert_eq!(locks.holder(Datastore::Candidate), Some(TWO));
    }
}
