//! The datastores: running, candidates, startup; how they are edited, and how a candidate becomes running.
//!
//! ```text
//!  candidate clean --edit--> dirty --propose--> Proposal --accept--> running moves, candidate clean
//!                              |  ^-- discard --> clean      (dropped: nothing happened)
//!                              '-- running moved --> rebased, or in conflict until discarded
//! ```
//! Pure: no disk, no clock. Trees are shared by reference count, so a reader keeps the one it began with.
//!
//! Must not know: NETCONF, NACM, providers, files.

pub mod commit;
pub mod confirmed;
pub mod edit;
pub mod history;
pub mod lock;

mod candidate;

use std::collections::BTreeMap;
use std::rc::Rc;

use self::candidate::Candidate;
use self::edit::{Access, Edit, Permit};
use crate::northbound::provider::Change;
use crate::northbound::{DefaultOperation, ErrorOption, Kind, Refusal, SessionId};
use crate::yang::diff::{self, Diff};
use crate::yang::schema::Schema;
use crate::yang::tree::Tree;

/// Whose candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateId {
    /// RFC 6241's, which all NETCONF sessions share.
    Shared,
    /// One session's own, dropped at its end.
    Private(SessionId),
}

/// A valid next configuration that is not yet running.
#[derive(Debug)]
pub struct Proposal {
    pub next: Rc<Tree>,
    /// The commit record: written nodes.
    pub diff: Diff,
    /// What providers hear: effective values.
    pub changes: Vec<Change>,
    base: Rc<Tree>,
    from: Option<CandidateId>,
}

impl Proposal {
    /// Nothing that anybody wrote has changed; such a commit is not recorded.
    pub fn is_empty(&self) -> bool {
        self.diff.is_empty()
    }
}

/// One node that an edit would touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub path: String,
    pub access: Access,
}

#[derive(Debug)]
pub struct Datastores {
    schema: &'static Schema,
    running: Rc<Tree>,
    candidates: BTreeMap<CandidateId, Candidate>,
    /// `None` when the server has no startup datastore, or it was deleted.
    startup: Option<Rc<Tree>>,
}

/// Running as it was when the agent went: the snapshot, the commits after it, oldest first, and the defaults.
pub fn recover<'r>(
    schema: &'static Schema,
    snapshot: Option<&[u8]>,
    records: impl IntoIterator<Item = &'r [u8]>,
) -> Result<Tree, Vec<Refusal>> {
    let mut tree = match snapshot {
        Some(bytes) => Tree::parse_stored(schema, bytes).map_err(|refusal| vec![refusal])?,
        None => Tree::new(schema),
    };
    for record in records {
        let diff = Diff::parse(schema, record).map_err(|refusal| vec![refusal])?;
        diff.apply_to_written(&mut tree).map_err(|refusal| vec![refusal])?;
    }
    tree.validate_config()?;
    Ok(tree)
}

impl Datastores {
    /// `running` has been validated.
    pub fn new(schema: &'static Schema, running: Tree) -> Self {
        Self { schema, running: Rc::new(running), candidates: BTreeMap::new(), startup: None }
    }

    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    pub fn running(&self) -> &Rc<Tree> {
        &self.running
    }

    pub fn startup(&self) -> Option<&Rc<Tree>> {
        self.startup.as_ref()
    }

    pub fn set_startup(&mut self, startup: Option<Rc<Tree>>) {
        self.startup = startup;
    }

    /// The candidate as it is now: running where nobody edited it.
    pub fn candidate(&mut self, id: CandidateId) -> Rc<Tree> {
        match self.rebased(id) {
            Some(candidate) => Rc::clone(candidate.tree()),
            None => Rc::clone(&self.running),
        }
    }

    pub fn is_dirty(&self, id: CandidateId) -> bool {
        self.candidates.contains_key(&id)
    }

    /// Paths on which the candidate and a later running disagree; empty when it can be committed.
    pub fn conflicts(&mut self, id: CandidateId) -> Vec<String> {
        self.rebased(id).map(|candidate| candidate.conflicts().to_vec()).unwrap_or_default()
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
        let mut next = self.candidate(id).duplicate();
        let result = edit.apply(&mut next, default_operation, error_option, permit);
        if result.is_ok() || error_option == ErrorOption::ContinueOnError {
            self.replace_candidate(id, next);
        }
        result
    }

    /// What an edit would touch, node by node, without doing it.
    pub fn plan(
        &self,
        on: &Tree,
        edit: &Edit,
        default_operation: DefaultOperation,
    ) -> Result<Vec<Touched>, Vec<Refusal>> {
        let mut next = on.duplicate();
        let mut touched = Vec::new();
        let mut note = |touch: edit::Touch<'_>| {
            touched.push(Touched { path: touch.node.path(), access: touch.access });
            Ok(())
        };
        edit.apply(&mut next, default_operation, ErrorOption::RollbackOnError, Some(&mut note))?;
        Ok(touched)
    }

    /// copy-config to a candidate. A candidate that equals running again is clean.
    pub fn replace_candidate(&mut self, id: CandidateId, next: Tree) {
        let base = self.candidates.get(&id).map_or_else(|| Rc::clone(&self.running), Candidate::base);
        if Rc::ptr_eq(&base, &self.running) && Diff::between(&self.running, &next).is_empty() {
            self.candidates.remove(&id);
        } else {
            let conflicts = self.candidates.remove(&id).map(Candidate::into_conflicts).unwrap_or_default();
            self.candidates.insert(id, Candidate::new(base, next, conflicts));
        }
    }

    pub fn discard(&mut self, id: CandidateId) {
        self.candidates.remove(&id);
    }

    /// A validated copy: what would run.
    pub fn validated(&self, tree: &Tree) -> Result<Tree, Vec<Refusal>> {
        let mut next = tree.duplicate();
        next.validate_config()?;
        Ok(next)
    }

    /// What committing the candidate would make of running.
    pub fn propose(&mut self, id: CandidateId) -> Result<Proposal, Vec<Refusal>> {
        let running = Rc::clone(&self.running);
        let Some(candidate) = self.rebased(id) else {
            return Ok(unchanged(&running, Some(id)));
        };
        if let [first, ..] = candidate.conflicts() {
            return Err(candidate.conflicts().iter().map(|path| conflict(path, first)).collect());
        }
        let next = candidate.tree().duplicate();
        self.propose_tree(next, Some(id))
    }

    /// What putting `next` in the place of running would mean: copy-config to running, rollback, an edit of running.
    pub fn propose_tree(&self, mut next: Tree, from: Option<CandidateId>) -> Result<Proposal, Vec<Refusal>> {
        next.validate_config()?;
        let diff = Diff::between(&self.running, &next);
        let changes = diff::changes(&self.running, &next);
        Ok(Proposal { next: Rc::new(next), diff, changes, base: Rc::clone(&self.running), from })
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

    /// The proposal is recorded: it is running now. Other dirty candidates are rebased when they are next used.
    ///
    /// One commit at a time: the caller lets none begin between a proposal and its acceptance.
    pub fn accept(&mut self, proposal: &Proposal) {
        assert!(
            Rc::ptr_eq(&proposal.base, &self.running),
            "running does not move between a proposal and its acceptance"
        );
        self.running = Rc::clone(&proposal.next);
        if let Some(id) = proposal.from {
            self.candidates.remove(&id);
        }
    }

    /// The dirty candidate, brought onto today's running.
    fn rebased(&mut self, id: CandidateId) -> Option<&Candidate> {
        let running = &self.running;
        let candidate = self.candidates.get_mut(&id)?;
        candidate.rebase(running);
        if candidate.conflicts().is_empty() && Diff::between(running, candidate.tree()).is_empty() {
            // Somebody else has committed the very same.
            self.candidates.remove(&id);
            return None;
        }
        self.candidates.get(&id)
    }
}

fn unchanged(running: &Rc<Tree>, from: Option<CandidateId>) -> Proposal {
    Proposal {
        next: Rc::clone(running),
        diff: Diff::between(running, running),
        changes: Vec::new(),
        base: Rc::clone(running),
        from,
    }
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
mod tests;
