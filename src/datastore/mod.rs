//! The datastores: running, candidates, startup; how they are edited, and how a candidate becomes running.
//!
//! ```text
//!  candidate clean --edit--> dirty --propose--> Proposal --accept--> running moves, candidate clean
//!                              |  ^-- discard --> clean      (dropped: nothing happened)
//!                              '-- running moved --> rebased, or in conflict until discarded
//! ```
//! An edit and a commit cost what they change: a candidate holds fragments of running, is validated by them where the
//! schema allows that (`yang/judge.rs`), and running is changed in place. Where it does not, the whole is validated.
//!
//! Pure: no disk, no clock. Trees are shared by reference count: a reader that holds one keeps what it began with.
//!
//! Must not know: NETCONF, NACM, providers, files.

pub mod commit;
pub mod confirmed;
pub mod edit;
pub mod history;
pub mod lock;
pub mod partial_lock;
pub mod recovery;

mod candidate;
mod cases;
mod part;
mod shells;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use self::candidate::Side;
use self::candidate::{Candidate, Version};
use self::edit::{Edit, Permit};
use crate::northbound::provider::Change;
use crate::northbound::{DefaultOperation, ErrorOption, Kind, Refusal, SessionId};
use crate::yang::diff::{self, Diff, Record};
use crate::yang::index::Index;
use crate::yang::judge::{self, Judged};
use crate::yang::schema::Schema;
use crate::yang::tree::{Moved, Tree};

/// Whose candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateId {
    /// RFC 6241's, which all NETCONF sessions share.
    Shared,
    /// One session's own, dropped at its end.
    Private(SessionId),
    /// What a rollback would make of running, while it is tried how much of that can be. Gone when that is known.
    Rollback,
}

/// A valid next configuration that is not yet running.
#[derive(Debug)]
pub struct Proposal {
    /// The commit record: written nodes.
    pub diff: Record,
    /// What providers hear: effective values.
    pub changes: Vec<Change>,
    next: Next,
    base: Version,
    from: Option<CandidateId>,
}

#[derive(Debug)]
enum Next {
    Whole(Arc<Tree>),
    /// What `old` becomes, and all else stays.
    Part {
        old: Tree,
        /// Lends to running what is new in it while the proposal is staged; an accepted one never gets it back.
        new: RefCell<Tree>,
    },
}

impl Proposal {
    /// Nothing that anybody wrote has changed; such a commit is not recorded.
    pub fn is_empty(&self) -> bool {
        self.diff.is_empty()
    }

    /// The candidate that it is made of.
    pub fn candidate(&self) -> Option<CandidateId> {
        self.from
    }

    /// Whether it was judged by what it touches alone.
    pub fn is_partial(&self) -> bool {
        matches!(self.next, Next::Part { .. })
    }
}

#[derive(Debug)]
pub struct Datastores {
    schema: &'static Schema,
    running: Arc<Tree>,
    version: Version,
    /// The newest number that a running was given; one that was taken back is not given again.
    last_version: Version,
    /// While proposals are staged, `running` is what they would make of it; the first of them stands on what is accepted.
    staged: VecDeque<Staged>,
    candidates: BTreeMap<CandidateId, Candidate>,
    /// Of `running`, staged proposals included.
    index: Index,
    /// `None` when the server has no startup datastore, or it was deleted.
    startup: Option<Arc<Tree>>,
}

/// What takes a staged proposal back.
#[derive(Debug)]
struct Staged {
    change: Way,
    version: Version,
    /// The candidate that it is made of: committed when it is accepted.
    candidate: Option<(CandidateId, Candidate)>,
}

/// How a staged proposal came into running.
#[derive(Debug)]
enum Way {
    /// In its place: this was there before.
    Whole(Arc<Tree>),
    /// What is new was moved there; of use only while nothing else changes running.
    Moved(Moved),
    /// What is new was copied.
    Copied,
}

/// What an accepted proposal leaves. To throw it away takes as long as it is large, and nobody need wait for that.
#[derive(Debug)]
pub struct Spent {
    _staged: Option<Staged>,
}

/// A candidate as it was at some moment, to be put back; see [`Datastores::keep`].
#[derive(Debug)]
pub struct Kept(CandidateId, Option<Candidate>);

impl Datastores {
    /// `running` has been validated.
    pub fn new(schema: &'static Schema, running: Tree) -> Self {
        Self {
            schema,
            running: Arc::new(running),
            version: 0,
            last_version: 0,
            staged: VecDeque::new(),
            candidates: BTreeMap::new(),
            index: Index::default(),
            startup: None,
        }
    }

    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    pub fn running(&self) -> &Arc<Tree> {
        &self.running
    }

    pub fn startup(&self) -> Option<&Arc<Tree>> {
        self.startup.as_ref()
    }

    pub fn set_startup(&mut self, startup: Option<Arc<Tree>>) {
        self.startup = startup;
    }

    /// The candidate as it is now: running where nobody edited it. Costs as much as running is large.
    pub fn candidate(&mut self, id: CandidateId) -> Arc<Tree> {
        let running = Arc::clone(&self.running);
        match self.rebased(id) {
            Some(candidate) => Arc::new(candidate.materialised(&running)),
            None => running,
        }
    }

    pub fn is_dirty(&self, id: CandidateId) -> bool {
        self.candidates.contains_key(&id)
    }

    /// Paths on which the candidate and a later running disagree; empty when it can be committed.
    pub fn conflicts(&mut self, id: CandidateId) -> Vec<String> {
        self.rebased(id).map(|candidate| candidate.conflicts().to_vec()).unwrap_or_default()
    }

    /// Brings the candidate onto today's running. Where both changed a node, `winner` wins; without one, and where that is
    /// not enough, the conflicts are refused and the candidate is as it was.
    pub fn update(&mut self, id: CandidateId, winner: Option<Side>) -> Result<(), Vec<Refusal>> {
        if let (Some(winner), Some(candidate)) = (winner, self.candidates.get_mut(&id)) {
            candidate.resolve(&self.running, self.version, winner);
            if candidate.is_clean() {
                self.candidates.remove(&id);
            }
        }
        match self.conflicts(id).as_slice() {
            [] => Ok(()),
            conflicts => Err(told(conflicts)),
        }
    }

    /// The edited part of the candidate: before, on today's running unless there are conflicts, and after.
    pub fn edited_part(&mut self, id: CandidateId) -> Option<(&Tree, &Tree)> {
        self.rebased(id).map(Candidate::fragments)
    }

    /// edit-config on a candidate. Unless it is told to continue on errors, an edit is done whole or not at all.
    pub fn edit_candidate(
        &mut self,
        id: CandidateId,
        edit: &Edit,
        default_operation: DefaultOperation,
        error_option: ErrorOption,
        permit: Option<Permit<'_>>,
    ) -> Result<(), Vec<Refusal>> {
        let cover = edit.cover(self.schema, default_operation);
        let _ = self.rebased(id);
        let is_done = |result: &Result<_, _>| result.is_ok() || error_option == ErrorOption::ContinueOnError;
        let Some(mut candidate) = self.candidates.remove(&id) else {
            // Nothing of it need be kept if this is refused, so there is no copy to fall back to.
            let mut candidate = Candidate::begun(&self.running, self.version, &cover);
            let result = edit.apply(candidate.content(), default_operation, error_option, permit);
            if is_done(&result) && !candidate.is_as_begun() {
                self.candidates.insert(id, candidate);
            }
            return result;
        };
        let before = candidate.part(&self.running, &cover);
        let mut after = before.duplicate();
        let result = edit.apply(&mut after, default_operation, error_option, permit);
        if is_done(&result) {
            candidate.edited(&before, &after);
        }
        if !is_done(&result) || !candidate.is_clean_after(&cover, &after) {
            self.candidates.insert(id, candidate);
        }
        result
    }

    /// copy-config to a candidate. A candidate that equals running again is clean.
    pub fn replace_candidate(&mut self, id: CandidateId, next: Tree) {
        let _ = self.rebased(id);
        let known = self.candidates.remove(&id);
        let mut candidate = known.unwrap_or_else(|| Candidate::clean(&self.running, self.version));
        candidate.replace(&self.running, next);
        if !candidate.is_clean() {
            self.candidates.insert(id, candidate);
        }
    }

    pub fn discard(&mut self, id: CandidateId) {
        self.candidates.remove(&id);
    }

    /// A validated copy: what would run.
    pub fn validated(&self, tree: &Tree) -> Result<Tree, Vec<Refusal>> {
        let mut next = tree.duplicate();
        next.validate_change(&self.running)?;
        Ok(next)
    }

    /// What committing the candidate would make of running.
    pub fn propose(&mut self, id: CandidateId) -> Result<Proposal, Vec<Refusal>> {
        let running = Arc::clone(&self.running);
        let base = self.version;
        if self.rebased(id).is_none() {
            return Ok(unchanged(&running, base, Some(id)));
        }
        let Some(candidate) = self.candidates.get_mut(&id) else {
            return Ok(unchanged(&running, base, Some(id)));
        };
        if !candidate.conflicts().is_empty() {
            return Err(told(candidate.conflicts()));
        }
        candidate.complete(&running);
        let (old, new) = candidate.fragments();
        let tops = candidate.tops();
        if let Some(Judged { new, diff, changes }) = judge::judge(&running, old, new, tops, &mut self.index) {
            let next = Next::Part { old: old.duplicate(), new: RefCell::new(new) };
            return Ok(Proposal { diff, changes, next, base, from: Some(id) });
        }
        let next = candidate.materialised(&running);
        self.propose_tree(next, Some(id))
    }

    /// What putting `next` in the place of running would mean: copy-config to running, rollback, an edit of running.
    pub fn propose_tree(&self, mut next: Tree, from: Option<CandidateId>) -> Result<Proposal, Vec<Refusal>> {
        next.validate_change(&self.running)?;
        let diff = Diff::between(&self.running, &next);
        let changes = diff::changes(&self.running, &next);
        Ok(Proposal { diff, changes, next: Next::Whole(Arc::new(next)), base: self.version, from })
    }

    /// edit-config with running as its target.
    pub fn propose_edit(
        &self,
        edit: &Edit,
        default_operation: DefaultOperation,
        error_option: ErrorOption,
        permit: Option<Permit<'_>>,
    ) -> Result<Proposal, Vec<Refusal>> {
        let mut next = self.running.duplicate();
        edit.apply(&mut next, default_operation, error_option, permit)?;
        self.propose_tree(next, None)
    }

    /// Makes [`Datastores::running`] what the proposal would make of it, for providers to look at. Until it is accepted or
    /// unstaged nothing else is asked of the datastores.
    pub fn stage(&mut self, proposal: &Proposal) {
        self.stage_so(proposal, true);
    }

    /// The same, and others may be proposed and staged on top. Each is accepted, the first one first, or all are unstaged, the
    /// last one first.
    pub fn stage_below_others(&mut self, proposal: &Proposal) {
        self.stage_so(proposal, false);
    }

    fn stage_so(&mut self, proposal: &Proposal, is_last: bool) {
        assert_eq!(proposal.base, self.version, "running does not move between a proposal and its acceptance");
        match &proposal.next {
            Next::Whole(_) => self.index.forget(),
            Next::Part { old, new } => self.index.moved(old, &new.borrow()),
        }
        let change = match &proposal.next {
            Next::Whole(next) => Way::Whole(std::mem::replace(&mut self.running, Arc::clone(next))),
            Next::Part { old, new } if is_last => {
                Way::Moved(self.own_running().transplant_from(old, &mut new.borrow_mut()))
            }
            Next::Part { old, new } => {
                self.own_running().transplant(old, &new.borrow());
                Way::Copied
            }
        };
        let candidate = proposal.from.and_then(|id| Some((id, self.candidates.remove(&id)?)));
        self.staged.push_back(Staged { change, version: self.version, candidate });
        self.last_version += 1;
        self.version = self.last_version;
    }

    /// The proposal that was staged last was refused: running is what it was.
    pub fn unstage(&mut self, proposal: &Proposal) {
        let Some(Staged { change, version, candidate }) = self.staged.pop_back() else { return };
        match (change, &proposal.next) {
            (Way::Whole(before), _) => self.running = before,
            (Way::Moved(moved), Next::Part { old, new }) => {
                let mut new = new.borrow_mut();
                let running =
                    Arc::get_mut(&mut self.running).expect("running is shared with nobody while it is staged");
                running.give_back(moved, &mut new);
                running.transplant(&new, old);
            }
            (Way::Copied, Next::Part { old, new }) => self.own_running().transplant(&new.borrow(), old),
            (Way::Moved(_) | Way::Copied, Next::Whole(_)) => {}
        }
        match &proposal.next {
            Next::Whole(_) => self.index.forget(),
            Next::Part { old, new } => self.index.moved(&new.borrow(), old),
        }
        self.version = version;
        self.candidates.extend(candidate);
    }

    /// The proposal that was staged first is recorded: it is running now. Other dirty candidates are rebased when they are
    /// next used.
    pub fn accept(&mut self, proposal: &Proposal) -> Spent {
        if self.staged.is_empty() {
            self.stage(proposal);
        }
        Spent { _staged: self.staged.pop_front() }
    }

    /// Whether running is still what the proposal was made for.
    pub fn is_current(&self, proposal: &Proposal) -> bool {
        proposal.base == self.version
    }

    /// Running as the proposal would make it. Nobody has prepared for it, and nothing comes of looking.
    pub fn looked_at<T>(&mut self, proposal: &Proposal, look: impl FnOnce(&Tree) -> T) -> T {
        self.stage(proposal);
        let seen = look(&self.running);
        self.unstage(proposal);
        seen
    }

    /// The proposal with another outcome.
    ///
    /// # Errors
    /// What is not valid about it.
    pub fn amended(&self, proposal: &Proposal, next: Tree) -> Result<Proposal, Vec<Refusal>> {
        self.propose_tree(next, proposal.from)
    }

    /// The candidate of a proposal that comes to nothing is as good as committed.
    pub fn drop_candidate_of(&mut self, proposal: &Proposal) {
        if let Some(id) = proposal.from {
            self.discard(id);
        }
    }

    /// The candidate as it is, before it is brought onto a running that may be taken back.
    pub fn keep(&self, id: CandidateId) -> Kept {
        Kept(id, self.candidates.get(&id).map(Candidate::duplicate))
    }

    pub fn put_back(&mut self, kept: Kept) {
        let Kept(id, candidate) = kept;
        match candidate {
            Some(candidate) => drop(self.candidates.insert(id, candidate)),
            None => drop(self.candidates.remove(&id)),
        }
    }

    /// Running, to be changed in place. Whoever still holds the old one keeps it.
    fn own_running(&mut self) -> &mut Tree {
        if Arc::get_mut(&mut self.running).is_none() {
            self.running = Arc::new(self.running.duplicate_with_stamps());
        }
        Arc::get_mut(&mut self.running).expect("a tree that was just made has one owner")
    }

    /// The dirty candidate, brought onto today's running.
    fn rebased(&mut self, id: CandidateId) -> Option<&Candidate> {
        let candidate = self.candidates.get_mut(&id)?;
        if candidate.rebase(&self.running, self.version) && candidate.is_clean() {
            // Somebody else has committed the very same.
            self.candidates.remove(&id);
            return None;
        }
        self.candidates.get(&id)
    }
}

fn unchanged(running: &Arc<Tree>, base: Version, from: Option<CandidateId>) -> Proposal {
    let nothing = Tree::new(running.schema());
    let diff = Diff::between(&nothing, &nothing);
    Proposal { diff, changes: Vec::new(), next: Next::Whole(Arc::clone(running)), base, from }
}

fn told(conflicts: &[String]) -> Vec<Refusal> {
    conflicts.iter().map(|path| conflict(path, &conflicts[0])).collect()
}

fn conflict(path: &str, first: &str) -> Refusal {
    let message = if path == first {
        format!("{path} was changed in running since this candidate was begun")
    } else {
        format!("{path} was changed in running, too")
    };
    Refusal::new(Kind::OperationFailed, message).at(path).mend("look at both, then discard-changes and edit again")
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod rebase_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;
