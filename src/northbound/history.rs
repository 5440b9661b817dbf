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
use super::{Caller, Kind, Refusal};
use crate::datastore::history::{self, Difference, Entry, History, Limits};
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
        self.roll_back(caller, input, next, format!("undoes the last {}", ids.len()))
    }

    fn roll_back_to(&mut self, caller: &Caller, input: &Element, inclusive: bool) -> Result<(), Vec<Refusal>> {
        let id = self.commit_named(input, "commit-id")?;
        let ids = self.history.after(if inclusive { id - 1 } else { id });
        let next = self.running_before(&ids).map_err(|refusal| vec![refusal])?;
        let what = if inclusive { "to" } else { "to, but without," };
        self.roll_back(caller, input, next, format!("undoes all {what} {id}"))
    }

    fn roll_back_one(&mut self, caller: &Caller, input: &Element) -> Result<(), Vec<Refusal>> {
        let id = self.commit_named(input, "commit-id")?;
        let (before, after) = self.around(id).map_err(|refusal| vec![refusal])?;
        let next = history::without(before, after, self.datastores.running())?;
        self.roll_back(caller, input, next, format!("undoes {id}"))
    }

    fn roll_back(&mut self, caller: &Caller, input: &Element, next: Tree, what: String) -> Result<(), Vec<Refusal>> {
        let refuse = |refusal| vec![refusal];
        not_served(input).map_err(refuse)?;
        self.confirming.machine.may_change().map_err(|refused| vec![refused.into()])?;
        self.locks.may_commit(caller.session, false).map_err(refuse)?;
        let text = |name| input.text_of(name).map(str::to_owned);
        let note = CommitNote { client: Some(ROLLBACK), label: text("label"), comment: text("comment").or(Some(what)) };
        self.history
            .may_be_noted(note.label.as_deref(), note.comment.as_deref())
            .map_err(|refused| vec![refused.into()])?;
        let proposal = self.datastores.propose_tree(next, None)?;
        self.authorise_commit(caller, &proposal)?;
        self.mend_before_commit().map_err(refuse)?;
        if proposal.is_empty() { Ok(()) } else { self.carry_out(caller, proposal, note) }
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
            |reader: &Reader<'_>, tree: &Tree, path: &str| tree.find(path).is_some_and(|node| reader.may_read(node));
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

/// What a router would do and this agent does not.
fn not_served(input: &Element) -> Result<(), Refusal> {
    let wants = |name: &str| input.text_of(name) == Some("true");
    if wants("force") {
        let message = "`force` does not override locks or confirmed commits here";
        return Err(Refusal::new(Kind::OperationNotSupported, message)
            .mend("leave it out; a lock is ended by its holder or by kill-session"));
    }
    if wants("best-effort") {
        let message = "a rollback is done whole or not at all: `best-effort` is not served";
        return Err(Refusal::new(Kind::OperationNotSupported, message).mend("leave it out"));
    }
    Ok(())
}

/// A number that the schema has checked.
fn number(input: &Element, leaf: &str) -> usize {
    input.text_of(leaf).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_refused_and_said() {
        let input = |name: &'static str, value| Element::node("rpc", vec![Element::leaf(name, value)]);
        assert!(not_served(&input("force", "false")).is_ok());
        for name in ["force", "best-effort"] {
            let refusal = not_served(&input(name, "true")).unwrap_err();
            assert!(refusal.kind == Kind::OperationNotSupported && refusal.message.contains(name));
        }
    }
}
