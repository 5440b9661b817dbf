//! Commits that wait together share one force of the disk.
//!
//! ```text
//!  heard:  c1 c2 c3 --each validated and prepared on top of the one before--> one file, one fsync
//!            on disk:      swap, apply and reply, the first one first
//!            not on disk:  abort and take out, the last one first; all are refused, every candidate is as it was
//! ```
//! Nothing is answered before the disk is: not even who was refused by what another one of the group would have made of
//! running. Only candidates of one's own wait; the shared one would take in what arrived later.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use tracing::debug;

use super::access::NACM_ROOT;
use super::committing::{CommitNote, Prepared};
use super::driver::Northbound;
use super::router::ProviderIndex;
use super::{Answer, Caller, CommitOptions, Request, Response};
use crate::datastore::confirmed::Asked;
use crate::datastore::{CandidateId, Kept, Proposal};

/// So many commits share a file; nobody waits for more than these.
pub(super) const GROUP_COMMITS_MAX: usize = 64;
/// Changes in a group: what is large is worth a force of its own.
const GROUP_CHANGES_MAX: usize = 10_000;

/// A commit that was heard and not begun.
pub(super) struct Waiting {
    pub(super) caller: Caller,
    pub(super) options: CommitOptions,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Commits that stand on each other, before their record.
#[derive(Default)]
struct Group {
    members: Vec<(Prepared, oneshot::Sender<Answer>)>,
    /// What is answered when it is known whether the ground under it holds.
    answers: Vec<(Answer, oneshot::Sender<Answer>)>,
    /// The candidates of those that came to others, as they were before.
    kept: Vec<Kept>,
    providers: BTreeSet<ProviderIndex>,
    labels: BTreeSet<String>,
    changes: usize,
    is_closed: bool,
    /// Nobody else waits: nothing will be put on top of the only member.
    is_alone: bool,
}

impl Northbound {
    /// Whether a commit may wait for others: it neither confirms anything nor asks to be confirmed, is done as a whole,
    /// and its candidate is the caller's own.
    pub(super) fn may_wait(&self, caller: &Caller, options: &CommitOptions) -> bool {
        !self.judging.is_busy()
            && options.confirm == Asked::default()
            && !options.best_effort
            && self.confirming.machine.pending().is_none()
            && self.candidate_of(caller) != CandidateId::Shared
    }

    pub(super) fn commit_together(&mut self, waiting: Vec<Waiting>) {
        let mut group = Group { is_alone: waiting.len() == 1, ..Group::default() };
        for commit in waiting {
            if self.judging.is_busy() {
                self.ask_alone(commit);
            } else {
                self.join(&mut group, commit);
            }
        }
        self.finish(&mut group);
    }

    fn join(&mut self, group: &mut Group, waiting: Waiting) {
        let Waiting { caller, options: CommitOptions { label, comment, .. }, reply } = waiting;
        if group.is_full() || label.as_ref().is_some_and(|label| group.labels.contains(label)) {
            self.finish(group);
        }
        let (proposal, kept) = loop {
            let kept = (!group.is_empty()).then(|| self.datastores.keep(self.candidate_of(&caller)));
            let proposal = match self.proposal_of(&caller, label.as_deref(), comment.as_deref()) {
                Ok(proposal) if proposal.is_empty() => {
                    self.datastores.discard(self.candidate_of(&caller));
                    return group.answer(kept, Ok(Response::Ok), reply);
                }
                Ok(proposal) => proposal,
                Err(refusals) => return group.answer(kept, Err(refusals), reply),
            };
            if !self.clashes(group, &proposal) {
                break (proposal, kept);
            }
            if self.finish(group) {
                // It stands on running now, which is what it was proposed for.
                break (proposal, None);
            }
            kept.into_iter().for_each(|kept| self.datastores.put_back(kept));
        };
        if self.judging.may_want(&proposal.changes) {
            // It is looked at alone, on what is durable.
            if !self.finish(group) {
                kept.into_iter().for_each(|kept| self.datastores.put_back(kept));
            }
            let options = CommitOptions { label, comment, ..CommitOptions::default() };
            return self.ask_alone(Waiting { caller, options, reply });
        }
        let touched: Vec<ProviderIndex> = self.router.shares(&proposal.changes).into_keys().collect();
        let changes = proposal.changes.len();
        // Who commits next is judged by the rules that this one makes.
        let changes_rules = proposal.changes.iter().any(|change| change.path.starts_with(NACM_ROOT));
        let note = CommitNote { client: None, label: label.clone(), comment };
        let prepared = if group.is_alone {
            self.prepare(&caller, proposal, note)
        } else {
            self.prepare_below_others(&caller, proposal, note)
        };
        match prepared {
            Ok(prepared) => {
                group.providers.extend(touched);
                group.labels.extend(label);
                group.changes += changes;
                group.is_closed |= changes_rules;
                group.kept.extend(kept);
                group.members.push((prepared, reply));
            }
            Err(refusals) => group.answer(kept, Err(refusals), reply),
        }
    }

    fn ask_alone(&mut self, waiting: Waiting) {
        let Waiting { caller, options, reply } = waiting;
        self.ask(&caller, Request::Commit(options), reply);
    }

    /// Whether somebody has prepared for a commit of the group and must hear its outcome before he prepares for this one.
    fn clashes(&self, group: &Group, proposal: &Proposal) -> bool {
        let shares = self.router.shares(&proposal.changes);
        shares
            .keys()
            .any(|index| group.providers.contains(index) && !self.providers[index.0].takes_each_proposal_alone())
    }

    /// Makes the group durable and applies it, or takes it back; whether it is durable. The group is empty then.
    fn finish(&mut self, group: &mut Group) -> bool {
        let Group { members, answers, kept, .. } = std::mem::take(group);
        let (commits, replies): (Vec<Prepared>, Vec<_>) = members.into_iter().unzip();
        let recorded = if commits.is_empty() { Ok(0..0) } else { self.record_together(&commits) };
        match recorded {
            Ok(ids) => {
                if commits.len() > 1 {
                    debug!(count = commits.len(), "commits made durable together");
                }
                for ((commit, reply), id) in commits.into_iter().zip(replies).zip(ids) {
                    let outcome = self.settle(commit, Ok(id));
                    // A front end that is gone needs no answer.
                    drop(reply.send(outcome.map(|()| Response::Ok)));
                }
                for (answer, reply) in answers {
                    drop(reply.send(answer));
                }
                true
            }
            Err(refusal) => {
                for (commit, reply) in commits.into_iter().zip(replies).rev() {
                    let outcome = self.settle(commit, Err(refusal.clone()));
                    drop(reply.send(outcome.map(|()| Response::Ok)));
                }
                kept.into_iter().for_each(|kept| self.datastores.put_back(kept));
                for (_, reply) in answers {
                    drop(reply.send(Err(vec![refusal.clone()])));
                }
                false
            }
        }
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn is_full(&self) -> bool {
        self.is_closed || self.members.len() >= GROUP_COMMITS_MAX || self.changes >= GROUP_CHANGES_MAX
    }

    /// Answers at once where the commit stood on what is durable (nothing was kept then).
    fn answer(&mut self, kept: Option<Kept>, answer: Answer, reply: oneshot::Sender<Answer>) {
        match kept {
            None => drop(reply.send(answer)),
            Some(kept) => {
                self.kept.push(kept);
                self.answers.push((answer, reply));
            }
        }
    }
}

#[cfg(test)]
#[path = "grouping_tests.rs"]
mod tests;
