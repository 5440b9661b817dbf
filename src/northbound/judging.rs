//! Commits that somebody looks at before anybody prepares for them: a judge refuses them, or amends them.
//!
//! ```text
//!  carry_out --somebody wants to see it--> suspended ; the judge looks, elsewhere, through a View
//!      ^                                                  |
//!      +---- the same request again, with the ruling <----+  then what was held meanwhile
//! ```
//! While a case is heard everything that reads goes on. What would change running, or the candidate that the case is made
//! of, waits for its end; a judge that commits itself is refused (`in-use`), for it would wait for itself. Must not know:
//! scripts.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};

use super::driver::Northbound;
use super::handle::{Continuation, Input};
use super::provider::Change;
use super::{Answer, Caller, Client, Datastore, DefaultOperation, ErrorOption, Fragment, Kind, Refusal, Request};
use crate::datastore::Proposal;
use crate::datastore::edit::Edit;
use crate::yang::diff::Diff;
use crate::yang::schema::{NacmDefault, NodeKind, SchemaNode};
use crate::yang::tree::{Node, Tree};
use crate::yang::value::Element;

/// Looks at a candidate.
pub(super) const VALIDATE: &str = "/procyon-history:validate-config-scripts";
/// The error-app-tag of what scripts refuse.
pub const COMMIT_SCRIPT: &str = "commit-script";

pub type Ruling = Pin<Box<dyn Future<Output = Result<(), Vec<Refusal>>> + Send>>;

/// Who looks at commits; given by the composition root.
pub trait Judge: Send {
    /// Whether anybody may want to see a commit with these changes. Asked for each commit, so it answers at once.
    fn may_want(&self, changes: &[Change]) -> bool;

    /// Looks at the commit. Ends in any case: until then nobody else commits.
    fn hear(&self, case: Case) -> Ruling;
}

/// One commit before its judge.
#[derive(Debug)]
pub struct Case {
    /// Who commits.
    pub caller: Caller,
    pub changes: Vec<Change>,
    pub view: View,
    /// It is not committed, whatever comes of this.
    pub is_trial: bool,
}

/// The configuration as it would be, seen from elsewhere. What is amended is seen at once.
#[derive(Debug, Clone)]
pub struct View {
    case: u64,
    inputs: mpsc::Sender<Input>,
}

/// One node as a judge sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    /// Of a leaf, and of an entry of a leaf-list.
    pub value: Option<String>,
}

/// What amendments have made of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// What was amended since the case was looked at last; empty when nothing was.
    pub amended: Vec<Change>,
    /// All that the commit would change now.
    pub changes: Vec<Change>,
}

/// What is under way.
pub(super) struct Judging {
    judge: Option<Box<dyn Judge>>,
    /// A commit that was stopped on its way, for whoever carries out its request.
    raised: Option<Raised>,
    hearing: Option<Hearing>,
    ruling: Option<Ruled>,
    /// What waits for the end of the hearing: one thing of each session at most, so as many as there are sessions.
    held: VecDeque<Held>,
    last_case: u64,
}

struct Raised {
    caller: Caller,
    proposal: Proposal,
    is_trial: bool,
}

/// What came of a case, for the request that it was made of.
struct Ruled {
    /// Where it would have changed something. Not what to: a password is hashed anew each time.
    paths: Vec<String>,
    outcome: Result<Proposal, Vec<Refusal>>,
}

type Held = Box<dyn FnOnce(&mut Northbound) + Send>;

struct Hearing {
    case: u64,
    /// As it was asked for, or as it was amended.
    proposal: Proposal,
    /// Of what was asked for.
    paths: Vec<String>,
    /// Amended further, and not yet found valid.
    draft: Option<Tree>,
    resume: Held,
}

impl Judging {
    pub(super) fn new(judge: Option<Box<dyn Judge>>) -> Self {
        Self { judge, raised: None, hearing: None, ruling: None, held: VecDeque::new(), last_case: 0 }
    }

    pub(super) fn may_want(&self, changes: &[Change]) -> bool {
        self.judge.as_ref().is_some_and(|judge| judge.may_want(changes))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.hearing.is_some()
    }

    pub(super) fn has_stopped_a_commit(&self) -> bool {
        self.raised.is_some()
    }
}

impl Northbound {
    /// The proposal as it is to be carried out. One that is to be looked at first is stopped here: the refusal is nobody's
    /// answer, whoever carries out the request begins the hearing instead.
    pub(super) fn judged(&mut self, caller: &Caller, proposal: Proposal) -> Result<Proposal, Vec<Refusal>> {
        self.judged_so(caller, proposal, false)
    }

    fn judged_so(&mut self, caller: &Caller, proposal: Proposal, is_trial: bool) -> Result<Proposal, Vec<Refusal>> {
        if let Some(ruling) = self.judging.ruling.take() {
            // Nothing has moved since; if it had, the ruling would be about something else.
            let is_the_same = ruling.paths == paths_of(&proposal) && self.datastores.is_current(&proposal);
            return if is_the_same { ruling.outcome } else { Err(vec![in_use("the commit has changed meanwhile")]) };
        }
        if !self.judging.may_want(&proposal.changes) {
            return Ok(proposal);
        }
        self.judging.raised = Some(Raised { caller: caller.clone(), proposal, is_trial });
        Err(vec![in_use("the commit is being looked at")])
    }

    /// Begins the hearing of the commit that was stopped; `resume` carries out its request again.
    pub(super) fn begin_hearing(&mut self, resume: impl FnOnce(&mut Northbound) + Send + 'static) {
        let Some(Raised { caller, proposal, is_trial }) = self.judging.raised.take() else { return };
        self.judging.last_case += 1;
        let case = self.judging.last_case;
        let view = View { case, inputs: self.inputs.clone() };
        let changes = proposal.changes.clone();
        self.judging.hearing =
            Some(Hearing { case, paths: paths_of(&proposal), proposal, draft: None, resume: Box::new(resume) });
        let Some(judge) = self.judging.judge.as_ref() else { return };
        let ruling = judge.hear(Case { caller, changes, view, is_trial });
        self.elsewhere(Box::pin(async move { Ok(ruling.await) }), move |northbound, outcome: Result<_, Refusal>| {
            northbound.end_hearing(outcome.unwrap_or_else(|refusal| Err(vec![refusal])));
        });
    }

    fn end_hearing(&mut self, outcome: Result<(), Vec<Refusal>>) {
        let Some(Hearing { proposal, paths, resume, .. }) = self.judging.hearing.take() else { return };
        self.judging.ruling = Some(Ruled { paths, outcome: outcome.map(|()| proposal) });
        resume(self);
        // A request that meanwhile comes to nothing has no use for it.
        self.judging.ruling = None;
        while !self.judging.is_busy()
            && let Some(next) = self.judging.held.pop_front()
        {
            next(self);
        }
    }

    /// Has the candidate looked at as a commit of it would be, and commits nothing: what would be amended, or is where that is
    /// asked for.
    pub(super) fn validate_scripts(&mut self, caller: &Caller, input: &Element) -> Result<Vec<Element>, Vec<Refusal>> {
        let is_applied = input.child("apply-policy-modifications").is_some();
        let id = if is_applied { self.editable(caller, Datastore::Candidate)? } else { self.candidate_of(caller) };
        let proposal = self.datastores.propose(id)?;
        self.ask_providers_to_validate(&proposal)?;
        let asked = proposal.changes.clone();
        let judged = self.judged_so(caller, proposal, true)?;
        let is_other = |of: &[Change], change: &Change| !of.contains(change);
        let set = judged.changes.iter().filter(|change| is_other(&asked, change));
        let left = asked.iter().filter(|change| is_other(&judged.changes, change));
        let modified: BTreeSet<&str> = set.chain(left).map(|change| change.path.as_str()).collect();
        let modified = modified.into_iter().map(|path| Element::leaf("modified", path)).collect();
        if is_applied {
            let next = self.datastores.looked_at(&judged, Tree::duplicate);
            self.datastores.replace_candidate(id, next);
        }
        Ok(modified)
    }

    /// Whether a request must wait for the end of the hearing that is under way.
    pub(super) fn must_wait(&self, caller: &Caller, request: &Request) -> bool {
        let Some(hearing) = &self.judging.hearing else { return false };
        let is_of_the_case = || hearing.proposal.candidate() == Some(self.candidate_of(caller));
        match request {
            Request::EditConfig { target: Datastore::Candidate, .. }
            | Request::EditData { target: Datastore::Candidate, .. }
            | Request::CopyConfig { target: Datastore::Candidate, .. }
            | Request::DiscardChanges => is_of_the_case(),
            Request::EditConfig { .. }
            | Request::EditData { .. }
            | Request::CopyConfig { .. }
            | Request::DeleteConfig { .. }
            | Request::Lock { .. }
            | Request::Unlock { .. }
            | Request::PartialLock { .. }
            | Request::PartialUnlock { .. }
            | Request::Commit(_)
            | Request::CancelCommit { .. }
            | Request::KillSession { .. } => true,
            // What an rpc does is looked at when it is known which one it is; what a URL holds, when it has been read.
            Request::Get { .. }
            | Request::GetConfig { .. }
            | Request::GetData(_)
            | Request::GetSchema { .. }
            | Request::Validate { .. }
            | Request::UsePrivateCandidate
            | Request::WithUrl { .. }
            | Request::CopyToUrl { .. }
            | Request::DeleteUrl { .. }
            | Request::CreateSubscription(_)
            | Request::Invoke { .. }
            | Request::Action { .. } => false,
        }
    }

    /// Puts it off until the hearing is over; what a judge asks for itself is refused.
    pub(super) fn hold(
        &mut self,
        caller: &Caller,
        reply: oneshot::Sender<Answer>,
        again: impl FnOnce(&mut Northbound, oneshot::Sender<Answer>) + Send + 'static,
    ) {
        if matches!(caller.client, Client::Judge { .. }) {
            let refusal = in_use("a commit is being looked at, by this very script among others");
            return drop(reply.send(Err(vec![refusal.mend("a script that judges commits does not commit itself")])));
        }
        self.hold_back(move |northbound| again(northbound, reply));
    }

    pub(super) fn hold_back(&mut self, again: impl FnOnce(&mut Northbound) + Send + 'static) {
        self.judging.held.push_back(Box::new(again));
    }

    /// The configuration of the case, as amended.
    fn look_at_case<T>(&mut self, case: u64, look: impl FnOnce(&Tree) -> T) -> Option<T> {
        let hearing = self.judging.hearing.as_ref().filter(|hearing| hearing.case == case)?;
        Some(match &hearing.draft {
            Some(draft) => look(draft),
            None => self.datastores.looked_at(&hearing.proposal, look),
        })
    }

    fn amend_case(&mut self, case: u64, fragment: &Fragment) -> Option<Result<(), Vec<Refusal>>> {
        let drafted = match self.judging.hearing.as_mut().filter(|hearing| hearing.case == case)?.draft.take() {
            Some(draft) => draft,
            None => self.look_at_case(case, Tree::duplicate)?,
        };
        let mut next = drafted.duplicate();
        let outcome = Edit::parse(fragment)
            .map_err(|refusal| vec![refusal])
            .and_then(|edit| edit.apply(&mut next, DefaultOperation::Merge, ErrorOption::RollbackOnError, None));
        let hearing = self.judging.hearing.as_mut()?;
        hearing.draft = Some(if outcome.is_ok() { next } else { drafted });
        Some(outcome)
    }

    fn settle_case(&mut self, case: u64) -> Option<Result<Settled, Vec<Refusal>>> {
        let Some(draft) = self.judging.hearing.as_mut().filter(|hearing| hearing.case == case)?.draft.take() else {
            return Some(Ok(Settled::default()));
        };
        let amended = self.look_at_case(case, |before| Diff::between(before, &draft).into_changes())?;
        if amended.is_empty() {
            return Some(Ok(Settled::default()));
        }
        let hearing = self.judging.hearing.as_mut()?;
        Some(self.datastores.amended(&hearing.proposal, draft).map(|proposal| {
            let changes = proposal.changes.clone();
            hearing.proposal = proposal;
            Settled { amended, changes }
        }))
    }
}

impl View {
    /// The node at a data path with all that is below it.
    pub async fn subtree(&self, path: &'static str) -> Result<Option<Element>, Refusal> {
        self.ask(move |northbound, case| northbound.look_at_case(case, |tree| tree.to_element(path))).await
    }

    pub async fn node(&self, path: String) -> Result<Option<Seen>, Refusal> {
        self.ask(move |northbound, case| {
            northbound.look_at_case(case, |tree| tree.find(&path).filter(|node| is_open(*node)).map(seen))
        })
        .await
    }

    /// The entries of a list or leaf-list below `parent`, or at the top, in their order.
    pub async fn entries(&self, parent: Option<String>, of: SchemaPath) -> Result<Vec<Seen>, Refusal> {
        self.ask(move |northbound, case| {
            northbound.look_at_case(case, |tree| {
                let is_meant = |node: &Node<'_>| {
                    node.name() == of.name && node.schema().module().name() == of.module && is_open(*node)
                };
                match &parent {
                    Some(parent) => match tree.find(parent) {
                        Some(parent) => parent.children().filter(is_meant).map(seen).collect(),
                        None => Vec::new(),
                    },
                    None => tree.roots().filter(is_meant).map(seen).collect(),
                }
            })
        })
        .await
    }

    /// An edit on top of the commit.
    ///
    /// # Errors
    /// What is wrong with the edit itself; whether the outcome is valid is asked when it is settled.
    pub async fn amend(&self, fragment: Fragment) -> Result<(), Vec<Refusal>> {
        let outcome = self.ask(move |northbound, case| northbound.amend_case(case, &fragment)).await;
        outcome.unwrap_or_else(|refusal| Err(vec![refusal]))
    }

    /// Makes the amendments a part of the commit, if what comes of it is valid.
    pub async fn settle(&self) -> Result<Settled, Vec<Refusal>> {
        let outcome = self.ask(|northbound, case| northbound.settle_case(case)).await;
        outcome.unwrap_or_else(|refusal| Err(vec![refusal]))
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Northbound, u64) -> Option<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let case = self.case;
        let resume = Continuation(Box::new(move |northbound: &mut Northbound| {
            if let Some(outcome) = work(northbound, case) {
                // A judge that has given up needs no answer.
                drop(reply.send(outcome));
            }
        }));
        let over = || in_use("this commit is not looked at any more");
        self.inputs.send(Input::Resume(resume)).await.map_err(|_| over())?;
        answer.await.map_err(|_| over())
    }
}

/// A list or leaf-list below a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaPath {
    pub module: String,
    pub name: String,
}

fn paths_of(proposal: &Proposal) -> Vec<String> {
    proposal.changes.iter().map(|change| change.path.clone()).collect()
}

fn seen(node: Node<'_>) -> Seen {
    let value = match node.schema().kind() {
        NodeKind::Leaf | NodeKind::LeafList => Some(node.value().unwrap_or_default().to_owned()),
        _ => None,
    };
    Seen { path: node.path(), value }
}

/// Secrets, which the schema closes to everybody, are not shown to scripts either.
fn is_open(node: Node<'_>) -> bool {
    std::iter::successors(Some(node.schema()), |schema: &SchemaNode| schema.parent())
        .all(|schema| schema.nacm() != NacmDefault::DenyAll)
}

fn in_use(why: &str) -> Refusal {
    Refusal::new(Kind::InUse, why)
}

#[cfg(test)]
#[path = "judging_tests.rs"]
mod tests;
