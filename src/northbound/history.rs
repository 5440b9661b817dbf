//! The history of commits at the front door: listed, told apart, undone.
//!
//! A rollback is a commit like any other: its changes are authorised, validated, prepared and recorded. Must not know:
//! how records are stored.

use tracing::warn;

use super::candidates;
use super::committing::CommitNote;
use super::confirming::ROLLBACK;
use super::driver::Northbound;
use super::judging;
use super::provider::Edit;
use super::sight::Reader;
use super::{Caller, Refusal};
use crate::datastore::history::{self, Difference, Entry, History, Limits, Undone};
use crate::datastore::{CandidateId, Side};
use crate::store::commits::{CommitMeta, CommitStore};
use crate::yang::rpc::Operation;
use crate::yang::tree::Tree;
use crate::yang::value::Element;

/// The root of what is told here.
pub(super) const ROOT: &str = "/Cisco-IOS-XR-config-cfgmgr-exec-oper:config-manager";

/// What a commit leaves in the index.
pub(super) fn entry(id: u64, meta: CommitMeta, bytes: usize) -> Entry {
    Entry { id, bytes: bytes as u64, meta }
}

/// The commits that are still on disk. One that is damaged ends the history, but not the agent: recovery has not needed it.
pub(super) fn load(commits: &CommitStore, limits: Limits) -> History {
    let ids = commits.ids().unwrap_or_else(|trouble| {
        warn!(%trouble, "the history of commits cannot be listed");
        Vec::new()
    });
    let found = ids.into_iter().rev().map_while(|id| match commits.read(id) {
        Ok(record) => Some(entry(id, record.meta, record.diff.len())),
        Err(trouble) => {
            warn!(%trouble, "the history of commits begins after this one");
            None
        }
    });
    History::new(limits, found)
}

impl Northbound {
    /// rpcs that the northbound carries out itself; `None` for all others.
    pub(super) fn own_call(
        &mut self,
        caller: &Caller,
        operation: &Operation,
    ) -> Option<Result<Vec<Element>, Vec<Refusal>>> {
        let input = operation.input();
        let done = |outcome: Result<(), Vec<Refusal>>| outcome.map(|()| Vec::new());
        Some(match operation.path().as_str() {
            "/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration-last" => {
                done(self.roll_back_last(caller, input))
            }
            "/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration-to" => {
                done(self.roll_back_to(caller, input, true))
            }
            "/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration-to-exclude" => {
                done(self.roll_back_to(caller, input, false))
            }
            "/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration" => done(self.roll_back_one(caller, input)),
            "/procyon-history:get-commit-changes" => self.changes_asked_for(caller, input),
            candidates::CHANGES => Ok(self.candidate_changes(caller)),
            candidates::UPDATE => self.update_candidate(caller, input),
            judging::VALIDATE => self.validate_scripts(caller, input),
            _ => return None,
        })
    }

    fn roll_back_last(&mut self, caller: &Caller, input: &Element) -> Result<(), Vec<Refusal>> {
        let ids = self.history.last(number(input, "count")).map_err(|refused| vec![refused.into()])?;
        let next = self.running_before(&ids).map_err(|refusal| vec![refusal])?;
        let undone = Undone { next, left: Vec::new() };
        self.roll_back(caller, input, undone, format!("undoes the last {}", ids.len()))
    }

    fn roll_back_to(&mut self, caller: &Caller, input: &Element, inclusive: bool) -> Result<(), Vec<Refusal>> {
        let id = self.commit_named(input, "commit-id")?;
        let ids = self.history.after(if inclusive { id - 1 } else { id });
        let next = self.running_before(&ids).map_err(|refusal| vec![refusal])?;
        let what = if inclusive { "to" } else { "to, but without," };
        self.roll_back(caller, input, Undone { next, left: Vec::new() }, format!("undoes all {what} {id}"))
    }

    fn roll_back_one(&mut self, caller: &Caller, input: &Element) -> Result<(), Vec<Refusal>> {
        let id = self.commit_named(input, "commit-id")?;
        let (before, after) = self.around(id).map_err(|refusal| vec![refusal])?;
        let winner = match Effort::wanted(input) {
            Effort::Whole => None,
            Effort::Force => Some(Side::Candidate),
            Effort::Best => Some(Side::Running),
        };
        let undone = history::without(before, after, self.datastores.running(), winner)?;
        self.roll_back(caller, input, undone, format!("undoes {id}"))
    }

    fn roll_back(
        &mut self,
        caller: &Caller,
        input: &Element,
        undone: Undone,
        what: String,
    ) -> Result<(), Vec<Refusal>> {
        let refuse = |refusal| vec![refusal];
        self.confirming.machine.may_change().map_err(|refused| vec![refused.into()])?;
        self.locks.may_commit(caller.session, false).map_err(refuse)?;
        let text = |name| input.text_of(name).map(str::to_owned);
        let note = CommitNote { client: Some(ROLLBACK), label: text("label"), comment: text("comment").or(Some(what)) };
        self.history
            .may_be_noted(note.label.as_deref(), note.comment.as_deref())
            .map_err(|refused| vec![refused.into()])?;
        let Undone { next, left } = undone;
        if Effort::wanted(input) == Effort::Best {
            return self.roll_back_in_part(caller, next, left, &note);
        }
        let proposal = self.datastores.propose_tree(next, None)?;
        self.authorise_commit(caller, &proposal)?;
        self.mend_before_commit().map_err(refuse)?;
        if proposal.is_empty() { Ok(()) } else { self.carry_out(caller, proposal, note) }
    }

    fn roll_back_in_part(
        &mut self,
        caller: &Caller,
        next: Tree,
        left: Vec<Refusal>,
        note: &CommitNote,
    ) -> Result<(), Vec<Refusal>> {
        self.datastores.replace_candidate(CandidateId::Rollback, next);
        if !self.datastores.is_dirty(CandidateId::Rollback) {
            return if left.is_empty() { Ok(()) } else { Err(left) };
        }
        let outcome = self.roll_back_what_can_be(caller, note, left);
        self.datastores.discard(CandidateId::Rollback);
        outcome.map(drop)
    }

    fn changes_asked_for(&self, caller: &Caller, input: &Element) -> Result<Vec<Element>, Vec<Refusal>> {
        let refuse = |refusal| vec![refusal];
        let (before, after) = if input.child("commit-id").is_some() {
            self.around(self.commit_named(input, "commit-id")?).map_err(refuse)?
        } else if input.child("from").is_some() {
            let (from, to) = (self.commit_named(input, "from")?, self.commit_named(input, "to")?);
            (self.running_after(from).map_err(refuse)?, self.running_after(to).map_err(refuse)?)
        } else {
            let ids = if input.child("since").is_some() {
                self.history.after(self.commit_named(input, "since")? - 1)
            } else {
                self.history.last(number(input, "last")).map_err(|refused| vec![refused.into()])?
            };
            (self.running_before(&ids).map_err(refuse)?, self.datastores.running().duplicate())
        };
        let reader = self.access.reader(caller);
        let may_read =
            |reader: &Reader, tree: &Tree, path: &str| tree.find(path).is_some_and(|node| reader.may_read(node));
        let differences = history::differences(&before, &after, |path, is_after| {
            reader.as_ref().is_none_or(|reader| may_read(reader, if is_after { &after } else { &before }, path))
        });
        Ok(differences.iter().map(change).collect())
    }

    /// Running before and after a commit.
    fn around(&self, id: u64) -> Result<(Tree, Tree), Refusal> {
        let after = self.running_after(id)?;
        let before = history::undone(&after, [self.recorded(id)])?;
        Ok((before, after))
    }

    fn running_after(&self, id: u64) -> Result<Tree, Refusal> {
        self.running_before(&self.history.after(id))
    }

    fn commit_named(&self, input: &Element, leaf: &str) -> Result<u64, Vec<Refusal>> {
        self.history.find(input.text_of(leaf).unwrap_or_default().trim()).map_err(|refused| vec![refused.into()])
    }

    /// Lets go of commits that are too many. What this costs does not depend on how many are kept.
    pub(super) fn trim_history(&mut self) {
        if !self.history.has_surplus() {
            return;
        }
        let needed = match self.commits.needed_after() {
            Ok(needed) => needed,
            Err(trouble) => return warn!(%trouble, "no commit is dropped from the history"),
        };
        // A confirmed commit that waits may have to be undone.
        let pending = self.confirming.machine.pending().map_or(needed, |pending| pending.rollback_to);
        for id in self.history.drop_surplus(needed.min(pending)) {
            if let Err(trouble) = self.commits.forget(id) {
                warn!(%trouble, "an old commit could not be removed");
            }
        }
    }
}

pub(super) fn change(difference: &Difference) -> Element {
    let (operation, value) = match &difference.change.edit {
        Edit::Create { value } => ("create", value.as_deref()),
        Edit::Delete => ("delete", None),
        Edit::Modify { value } => ("modify", Some(value.as_str())),
        Edit::Move => ("move", None),
    };
    let mut leaves = vec![Element::leaf("path", &difference.change.path), Element::leaf("operation", operation)];
    leaves.extend(Element::leaf_if("old-value", difference.old_value.as_ref()));
    leaves.extend(Element::leaf_if("value", value));
    Element::node("change", leaves)
}

/// How much of a rollback there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// All of it, or none.
    Whole,
    /// The same, whatever later commits did to the same nodes.
    Force,
    /// What can be undone; what cannot is named.
    Best,
}

impl Effort {
    /// The schema sees to it that not both are asked for.
    fn wanted(input: &Element) -> Self {
        let wants = |name: &str| input.text_of(name) == Some("true");
        match (wants("force"), wants("best-effort")) {
            (true, _) => Self::Force,
            (false, true) => Self::Best,
            (false, false) => Self::Whole,
        }
    }
}

/// A number that the schema has checked.
fn number(input: &Element, leaf: &str) -> usize {
    input.text_of(leaf).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
