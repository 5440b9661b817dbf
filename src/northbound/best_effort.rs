//! A commit, or a rollback, of what can be committed: the rest is named. Of a commit it stays in the candidate.
//!
//! ```text
//!  candidate --refused--> without what was named --refused--> ... --accepted--> with what merely stood near --> commit
//! ```
//! What concerns the commit as a whole (a lock, a conflict, a full disk) refuses it as a whole.

use std::collections::BTreeSet;

use super::committing::CommitNote;
use super::driver::Northbound;
use super::judging::COMMIT_SCRIPT;
use super::{Answer, Caller, CommitOptions, Kind, Refusal, Response};
use crate::datastore::{CandidateId, Kept};

/// So often the candidate is made smaller before all of it is given up: each time it is judged anew.
const ROUNDS_MAX: usize = 100;
/// So many changes that were given up for what stands near them are tried once more.
const SECOND_TRIES_MAX: usize = 64;
/// The error-app-tag of the last error of a commit that was done in part.
const PARTLY: &str = "partly-committed";

/// What is to be committed, as far as it can be.
#[derive(Clone, Copy)]
pub(super) enum Attempt<'a> {
    /// The caller's candidate.
    Commit(&'a CommitOptions),
    /// The candidate that was made for it, and that nobody edits.
    Rollback(&'a CommitNote),
}

impl Attempt<'_> {
    fn label_and_comment(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Commit(CommitOptions { label, comment, .. }) | Self::Rollback(CommitNote { label, comment, .. }) => {
                (label.as_deref(), comment.as_deref())
            }
        }
    }
}

/// What a search for the part that can be committed has found out.
#[derive(Default)]
struct Search {
    given_up: BTreeSet<String>,
    /// Those of them that no refusal names.
    nearby: BTreeSet<String>,
    refusals: Vec<Refusal>,
    /// Where and what they say.
    told: BTreeSet<(Option<String>, String)>,
}

impl Northbound {
    pub(super) fn commit_what_can_be(&mut self, caller: &Caller, options: &CommitOptions) -> Answer {
        self.do_what_can_be(caller, self.candidate_of(caller), Attempt::Commit(options), Vec::new())
    }

    /// The same for a rollback, of which `left` is given up already.
    pub(super) fn roll_back_what_can_be(&mut self, caller: &Caller, note: &CommitNote, left: Vec<Refusal>) -> Answer {
        self.do_what_can_be(caller, CandidateId::Rollback, Attempt::Rollback(note), left)
    }

    fn do_what_can_be(
        &mut self,
        caller: &Caller,
        id: CandidateId,
        attempt: Attempt<'_>,
        refusals: Vec<Refusal>,
    ) -> Answer {
        let whole = self.datastores.keep(id);
        let mut search = Search { refusals, ..Search::default() };
        let mut has_tried_again = false;
        for _ in 0..ROUNDS_MAX {
            let outcome = match self.try_to_commit(caller, id, attempt) {
                Ok(()) if !has_tried_again && !search.nearby.is_empty() => {
                    has_tried_again = true;
                    self.try_again(caller, id, attempt, &whole, &mut search);
                    continue;
                }
                Ok(()) if !search.given_up.is_empty() && !self.datastores.is_dirty(id) => break,
                Ok(()) => self.carry_out_attempt(caller, id, attempt),
                Err(refusals) => Err(refusals),
            };
            let Err(refusals) = outcome else {
                if search.refusals.is_empty() {
                    return Ok(Response::Ok);
                }
                self.datastores.leave_the_rest(whole);
                search.refusals.push(done_in_part(self.commits.last_id(), attempt));
                return Err(search.refusals);
            };
            if !self.give_up(id, &refusals, &mut search) {
                self.datastores.put_back(whole);
                return Err(refusals);
            }
            self.datastores.put_back_without(&whole, &search.given_up);
        }
        self.datastores.put_back(whole);
        Err(search.refusals)
    }

    /// Everything that a commit asks for but what providers reserve.
    fn try_to_commit(&mut self, caller: &Caller, id: CandidateId, attempt: Attempt<'_>) -> Result<(), Vec<Refusal>> {
        let (label, comment) = attempt.label_and_comment();
        let proposal = self.proposal_from(caller, id, label, comment)?;
        self.ask_providers_to_validate(&proposal)
    }

    fn carry_out_attempt(
        &mut self,
        caller: &Caller,
        id: CandidateId,
        attempt: Attempt<'_>,
    ) -> Result<(), Vec<Refusal>> {
        match attempt {
            Attempt::Commit(options) => {
                self.commit(caller, CommitOptions { best_effort: false, ..options.clone() }).map(drop)
            }
            Attempt::Rollback(note) => {
                let proposal = self.proposal_from(caller, id, note.label.as_deref(), note.comment.as_deref())?;
                self.carry_out(caller, proposal, note.clone())
            }
        }
    }

    /// Whether there is anything to give up for these.
    fn give_up(&mut self, id: CandidateId, refusals: &[Refusal], search: &mut Search) -> bool {
        // What a script objects to may be about more than the node that it names.
        let is_whole = |refusal: &Refusal| refusal.path.is_none() || refusal.app_tag.as_deref() == Some(COMMIT_SCRIPT);
        if refusals.iter().any(is_whole) || !self.datastores.conflicts(id).is_empty() {
            return false;
        }
        let before = search.given_up.len();
        let paths = refusals.iter().filter_map(|refusal| refusal.path.as_deref());
        for (refusal, blamed) in refusals.iter().zip(self.datastores.blamed(id, paths)) {
            if !blamed.is_named {
                search.nearby.extend(blamed.paths.iter().cloned());
            }
            search.given_up.extend(blamed.paths);
            if search.told.insert((refusal.path.clone(), refusal.message.clone())) {
                search.refusals.push(refusal.clone());
            }
        }
        search.given_up.len() > before
    }

    /// Of what was given up for standing near, takes back what is not to blame.
    fn try_again(&mut self, caller: &Caller, id: CandidateId, attempt: Attempt<'_>, whole: &Kept, search: &mut Search) {
        for path in search.nearby.iter().take(SECOND_TRIES_MAX) {
            search.given_up.remove(path);
            self.datastores.put_back_without(whole, &search.given_up);
            if self.try_to_commit(caller, id, attempt).is_err() {
                search.given_up.insert(path.clone());
            }
        }
        self.datastores.put_back_without(whole, &search.given_up);
        let named: BTreeSet<&str> = search.refusals.iter().filter_map(|refusal| refusal.path.as_deref()).collect();
        let untold: Vec<Refusal> = search
            .nearby
            .intersection(&search.given_up)
            .filter(|path| !has_at_or_below(&named, path))
            .map(|path| left_with_the_others(path))
            .collect();
        search.refusals.extend(untold);
    }
}

fn has_at_or_below(paths: &BTreeSet<&str>, above: &str) -> bool {
    let below = format!("{above}/");
    paths.contains(above) || paths.range(below.as_str()..).next().is_some_and(|path| path.starts_with(&below))
}

fn left_with_the_others(path: &str) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("{path} cannot be changed while what depends on it is not valid"))
        .at(path)
}

fn done_in_part(id: u64, attempt: Attempt<'_>) -> Refusal {
    let (rest, remedy) = match attempt {
        Attempt::Commit(_) => ("the rest stays in the candidate", "mend it and commit again, or discard-changes"),
        Attempt::Rollback(_) => ("the rest is as it was", "edit the rest by hand, or roll back to an earlier commit"),
    };
    Refusal::new(Kind::OperationFailed, format!("what was not refused is committed as {id}; {rest}"))
        .tagged(PARTLY)
        .mend(remedy)
}

#[cfg(test)]
#[path = "best_effort_tests.rs"]
mod tests;
