//! Confirmed commits carried out: the pure machine says what a commit means, this makes it durable and undoes it.
//!
//! ```text
//!  note on disk -> commit recorded -> reply          a crash between: nothing to undo, the note is taken away
//!  undoing is a commit of its own -> note cleared    a crash between: undoing again changes nothing
//! ```
//! While a commit waits nobody else commits, so everything after the noted commit is its own, and undoing it is undoing
//! those.

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::committing::CommitNote;
use super::driver::{Committed, Northbound, now, now_since_boot};
use super::notifications::base::{self, ConfirmEvent};
use super::{Answer, Caller, Client, CommitOptions, Kind, Refusal, Response, SessionId};
use crate::datastore::confirmed::{BootTime, Confirmed, Pending, Step};
use crate::datastore::{CandidateId, Proposal, history};
use crate::store::StoreError;
use crate::store::note::Note;

/// The client word of commits that undo others.
pub(super) const ROLLBACK: &str = "Rollback";

/// The machine and its memory.
#[derive(Debug)]
pub(super) struct Confirming {
    pub(super) machine: Confirmed,
    note: Note,
    boot_id: String,
    /// The disk may say something else than the machine: nothing is committed before that is mended.
    is_stale: bool,
}

/// What the note says, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    boot_id: String,
    rollback_to: u64,
    /// Seconds and nanoseconds of the clock that begins with the boot.
    deadline: (u64, u32),
    persist: Option<String>,
    user: String,
}

impl Confirming {
    /// `boot_id` tells one boot of the host from another.
    pub(super) fn new(note: Note, boot_id: String) -> Self {
        Self { machine: Confirmed::default(), note, boot_id, is_stale: false }
    }

    fn remember(&mut self, pending: &Pending) -> Result<(), Refusal> {
        let noted = Noted {
            boot_id: self.boot_id.clone(),
            rollback_to: pending.rollback_to,
            deadline: (pending.deadline.0.as_secs(), pending.deadline.0.subsec_nanos()),
            persist: pending.persist.clone(),
            user: pending.user.clone(),
        };
        let text = serde_json::to_string(&noted).expect("numbers and strings have a JSON form");
        self.is_stale = true;
        self.note.write(&text).map_err(not_durable)?;
        self.is_stale = false;
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Refusal> {
        self.is_stale = true;
        self.note.clear().map_err(not_durable)?;
        self.is_stale = false;
        Ok(())
    }

    /// Makes the disk say what the machine says.
    fn tidy(&mut self) -> Result<(), Refusal> {
        if !self.is_stale {
            return Ok(());
        }
        match self.machine.pending().cloned() {
            Some(pending) => self.remember(&pending),
            None => self.forget(),
        }
    }

    /// What an earlier agent left. A note that cannot be read is kept, but cannot be followed.
    fn recall(&self) -> Result<Option<(Pending, bool)>, StoreError> {
        let text = match self.note.read() {
            Ok(text) => text,
            Err(damaged @ StoreError::Damaged { .. }) => {
                let there = self.note.set_aside()?;
                error!(
                    trouble = %damaged, file = %there.display(),
                    "a commit waited for its confirmation, but which is not known: it stays in force"
                );
                return Ok(None);
            }
            Err(trouble) => return Err(trouble),
        };
        let Some(text) = text else { return Ok(None) };
        let Ok(noted) = serde_json::from_str::<Noted>(&text) else {
            let there = self.note.set_aside()?;
            error!(file = %there.display(), "the note of a confirmed commit is of another version: the commit stays in force");
            return Ok(None);
        };
        let Noted { boot_id, rollback_to, deadline: (seconds, nanoseconds), persist, user } = noted;
        let deadline = BootTime(std::time::Duration::new(seconds, nanoseconds));
        let pending = Pending { rollback_to, deadline, persist, holder: None, user };
        Ok(Some((pending, boot_id == self.boot_id)))
    }
}

impl Northbound {
    pub(super) fn commit(&mut self, caller: &Caller, options: CommitOptions) -> Answer {
        if options.best_effort {
            return self.commit_what_can_be(caller, &options);
        }
        let refuse = |refusal| vec![refusal];
        let CommitOptions { confirm, label, comment, .. } = options;
        let last = self.commits.last_id();
        let step = self
            .confirming
            .machine
            .commit(&confirm, caller.session, &caller.user, last, now_since_boot())
            .map_err(|refused| vec![refused.into()])?;
        let id = self.candidate_of(caller);
        let proposal = self.proposal_of(caller, label.as_deref(), comment.as_deref())?;
        if let Step::Wait(pending) = &step {
            self.confirming.remember(pending).map_err(refuse)?;
        }
        if proposal.is_empty() {
            // Nothing to record. What differed in form only (an explicit default, say) is no difference.
            self.datastores.discard(id);
        } else if let Err(refusals) = self.carry_out(caller, proposal, CommitNote { client: None, label, comment }) {
            if matches!(step, Step::Wait(_)) {
                self.confirming.is_stale = true;
                self.mend_the_note();
            }
            return Err(refusals);
        }
        if step == Step::Confirm {
            // Until this is durable a power cut would undo what the reply calls confirmed.
            self.confirming.forget().map_err(refuse)?;
            info!(user = %caller.user, "confirmed");
        }
        let event = self.event_of(&step, confirm.confirmed.map(|wish| wish.timeout));
        self.confirming.machine.take(step);
        if let Some(event) = event {
            self.publish(&base::confirmed_commit(caller, event), now());
        }
        Ok(Response::Ok)
    }

    /// What a commit of `caller`'s candidate would do, when nothing is in its way.
    pub(super) fn proposal_of(
        &mut self,
        caller: &Caller,
        label: Option<&str>,
        comment: Option<&str>,
    ) -> Result<Proposal, Vec<Refusal>> {
        self.proposal_from(caller, self.candidate_of(caller), label, comment)
    }

    pub(super) fn proposal_from(
        &mut self,
        caller: &Caller,
        id: CandidateId,
        label: Option<&str>,
        comment: Option<&str>,
    ) -> Result<Proposal, Vec<Refusal>> {
        let refuse = |refusal| vec![refusal];
        self.locks.may_commit(caller.session, id == CandidateId::Shared).map_err(refuse)?;
        self.history.may_be_noted(label, comment).map_err(|refused| vec![refused.into()])?;
        let proposal = self.datastores.propose(id)?;
        self.authorise_commit(caller, &proposal)?;
        self.confirming.tidy().map_err(refuse)?;
        Ok(proposal)
    }

    /// What a step means to those who listen (RFC 6470 section 2.2); asked before it is taken.
    fn event_of(&self, step: &Step, timeout: Option<std::time::Duration>) -> Option<ConfirmEvent> {
        let seconds = timeout.map_or(0, |timeout| timeout.as_secs());
        match (step, self.confirming.machine.pending()) {
            (Step::Plain, _) => None,
            (Step::Wait(_), None) => Some(ConfirmEvent::Start { seconds }),
            (Step::Wait(_), Some(_)) => Some(ConfirmEvent::Extend { seconds }),
            (Step::Confirm, _) => Some(ConfirmEvent::Complete),
        }
    }

    pub(super) fn cancel_commit(&mut self, caller: &Caller, persist_id: Option<&str>) -> Answer {
        self.confirming.machine.cancel(persist_id, caller.session).map_err(|refused| vec![refused.into()])?;
        self.undo_pending(caller, "the confirmed commit was cancelled")?;
        self.publish(&base::confirmed_commit(caller, ConfirmEvent::Cancel), now());
        Ok(Response::Ok)
    }

    /// Undoes what nobody confirmed in time.
    pub(super) fn undo_if_due(&mut self) {
        if !self.judging.is_busy()
            && self.confirming.machine.time_left(now_since_boot()).is_some_and(|left| left.is_zero())
        {
            self.undo_unconfirmed("the commit was not confirmed in time", SessionId(0), ConfirmEvent::Timeout);
        }
    }

    /// A session is over: what it did not confirm goes with it.
    pub(super) fn end_of_committer(&mut self, session: SessionId) {
        if self.confirming.machine.session_ended(session) {
            let why = "the session ended before it confirmed its commit";
            self.undo_unconfirmed(why, session, ConfirmEvent::Cancel);
        }
    }

    fn undo_unconfirmed(&mut self, why: &str, session: SessionId, event: ConfirmEvent) {
        let Some(user) = self.confirming.machine.pending().map(|pending| pending.user.clone()) else { return };
        warn!(%user, "{why}: it is undone");
        let caller = on_behalf_of(user);
        match self.undo_pending(&caller, why) {
            Ok(()) => {
                let caller = Caller { session, ..caller };
                self.publish(&base::confirmed_commit(&caller, event), now());
            }
            Err(refusals) => {
                let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                error!(
                    trouble = said.join("; "),
                    "a commit that was not confirmed cannot be undone now; tried again soon"
                );
                self.confirming.machine.put_off(now_since_boot());
            }
        }
    }

    /// Locks do not count here: the way back is the committer's own.
    fn undo_pending(&mut self, caller: &Caller, why: &str) -> Result<(), Vec<Refusal>> {
        let Some(rollback_to) = self.confirming.machine.pending().map(|pending| pending.rollback_to) else {
            return Ok(());
        };
        let proposal = self.proposal_back_to(rollback_to)?;
        if !proposal.is_empty() {
            // The way back to what ran before is nobody's to refuse.
            self.carry_out_unseen(caller, proposal, undoing(why))?;
        }
        self.confirming.machine.undone();
        self.confirming.is_stale = true;
        self.mend_the_note();
        Ok(())
    }

    pub(super) fn mend_before_commit(&mut self) -> Result<(), Refusal> {
        self.confirming.tidy()
    }

    /// A note that stays is harmless until something else is committed, and then it is tried again.
    fn mend_the_note(&mut self) {
        if let Err(trouble) = self.confirming.tidy() {
            error!(%trouble, "the note of a confirmed commit is not up to date");
        }
    }

    fn proposal_back_to(&self, rollback_to: u64) -> Result<Proposal, Vec<Refusal>> {
        let ids = self.history.after(rollback_to);
        if ids.last().is_some_and(|oldest| *oldest != rollback_to + 1)
            || (ids.is_empty() && self.commits.last_id() > rollback_to)
        {
            let message = format!("the commits after {rollback_to} are not all there any more");
            return Err(vec![Refusal::new(Kind::RollbackFailed, message)]);
        }
        let back = self.running_before(&ids).map_err(|refusal| vec![refusal])?;
        self.datastores.propose_tree(back, None)
    }

    /// Running without these commits, the newest first.
    pub(super) fn running_before(&self, ids: &[u64]) -> Result<crate::yang::tree::Tree, Refusal> {
        history::undone(self.datastores.running(), ids.iter().map(|id| self.recorded(*id)))
    }

    pub(super) fn recorded(&self, id: u64) -> Result<Vec<u8>, Refusal> {
        self.commits.read(id).map(|record| record.diff).map_err(|trouble| {
            error!(%trouble, "a commit of the history cannot be read");
            Refusal::new(Kind::OperationFailed, format!("commit {id} cannot be read: {trouble}"))
        })
    }

    /// At start, before anything is applied or served: a commit that was not confirmed is undone, or waits on.
    ///
    /// # Errors
    /// It cannot be undone: such an agent must not serve.
    pub fn settle_confirmed(&mut self) -> anyhow::Result<()> {
        let Some((pending, same_boot)) = self.confirming.recall()? else { return Ok(()) };
        let user = pending.user.clone();
        if let Some(waiting) = Confirmed::after_restart(pending.clone(), same_boot, now_since_boot()) {
            info!(%user, "a persistent confirmed commit goes on waiting");
            self.confirming.machine = waiting;
            return Ok(());
        }
        warn!(%user, "a commit was not confirmed before the agent ended: it is undone");
        self.undo_before_serving(&pending).map_err(|refusals| {
            let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("a commit that was not confirmed cannot be undone: {}", said.join("; "))
        })
    }

    /// No provider has heard of running yet: what is recorded here reaches them as a part of it.
    fn undo_before_serving(&mut self, pending: &Pending) -> Result<(), Vec<Refusal>> {
        let proposal = self.proposal_back_to(pending.rollback_to)?;
        if !proposal.is_empty() {
            let note = undoing("the agent restarted before the commit was confirmed");
            let user = pending.user.clone();
            let id = self
                .record(&on_behalf_of(user.clone()), &note, &proposal.diff.print_xml())
                .map_err(|refusal| vec![refusal])?;
            (self.on_commit)(&Committed { id, user });
            self.datastores.stage(&proposal);
            self.access.refresh(self.datastores.running(), &proposal.changes);
            self.datastores.accept(&proposal);
        }
        self.confirming.forget().map_err(|refusal| vec![refusal])
    }
}

fn undoing(why: &str) -> CommitNote {
    CommitNote { client: Some(ROLLBACK), label: None, comment: Some(why.to_owned()) }
}

/// The agent itself, for the one whose commit it is.
fn on_behalf_of(user: String) -> Caller {
    Caller::without_session(user, Client::Agent, "agent")
}

fn not_durable(trouble: StoreError) -> Refusal {
    error!(%trouble, "what waits for its confirmation could not be made durable");
    let message = format!("what waits for its confirmation could not be made durable: {trouble}");
    Refusal::new(Kind::OperationFailed, message).mend("make room or mend the disk below state/, then try again")
}
