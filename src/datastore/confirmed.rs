//! The confirmed commit (RFC 6241 section 8.4): a commit that is undone unless somebody confirms it in time.
//!
//! ```text
//!  Idle --commit confirmed--> Pending --commit--------------------------> Idle
//!                              |  ^--commit confirmed (follow-up)
//!                              '--deadline, cancel-commit, its session's end, a restart--> undone, Idle
//! ```
//! With `persist` it belongs to whoever knows the token: it outlives its session and a restart of the agent, and its
//! deadline goes on; the clock is the one that counts from the host's boot. A reboot undoes both kinds.
//!
//! Pure. Asking changes nothing: a [`Step`] is taken with [`Confirmed::take`] when it is durable. Must not know: trees,
//! how commits are undone, where the record is kept.

use std::time::Duration;

use crate::northbound::{Kind, Refusal, SessionId};

/// RFC 6241 section 8.4.1.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// When undoing failed (a full disk, say), it is tried again after so long.
pub const RETRY: Duration = Duration::from_secs(5);
/// A token is a word, not a document; it is kept on disk.
pub const TOKEN_BYTES_MAX: usize = 1024;

/// How long the host has been up, suspended time included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(pub Duration);

/// The parameters of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    pub confirmed: Option<Confirmation>,
    pub persist_id: Option<String>,
}

/// A commit that asks to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub timeout: Duration,
    pub persist: Option<String>,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self { timeout: TIMEOUT_DEFAULT, persist: None }
    }
}

/// What waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The newest commit before it: all later ones are undone.
    pub rollback_to: u64,
    pub deadline: BootTime,
    /// The token, when it is persistent.
    pub persist: Option<String>,
    /// The session it was issued in, as long as that is open.
    pub holder: Option<SessionId>,
    pub user: String,
}

/// What a commit means to the one that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing waits, nothing will.
    Plain,
    /// From now on this waits: the first one or a follow-up.
    Wait(Pending),
    /// What waited stays.
    Confirm,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmRefused {
    #[error("a confirmed commit of user `{user}` in session {by} is pending")]
    HeldBySession { by: SessionId, user: String },
    #[error("a persistent confirmed commit of user `{user}` is pending{}", in_session(*.by))]
    NeedsToken { by: Option<SessionId>, user: String },
    #[error("no persistent confirmed commit with this persist-id is pending")]
    NoSuchToken,
    #[error("no confirmed commit is pending")]
    NothingPending,
}

impl From<ConfirmRefused> for Refusal {
    fn from(refused: ConfirmRefused) -> Self {
        let message = refused.to_string();
        match refused {
            ConfirmRefused::HeldBySession { .. } => {
                Refusal::new(Kind::InUse, message).mend("wait until it is confirmed, cancelled or undone")
            }
            ConfirmRefused::NeedsToken { .. } => Refusal::new(Kind::InUse, message)
                .mend("give its persist-id, or wait until it is confirmed, cancelled or undone"),
            ConfirmRefused::NoSuchToken => Refusal::new(Kind::InvalidValue, message)
                .mend("give the token that the commit's <persist> had; it may also be confirmed or undone by now"),
            ConfirmRefused::NothingPending => Refusal::new(Kind::OperationFailed, message)
                .mend("it was confirmed or undone already; see the history of commits"),
        }
    }
}

#[derive(Debug, Default)]
pub struct Confirmed {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Pending(Pending),
}

impl Confirmed {
    /// What an agent that starts finds on disk. `None`: it is to be undone before anything is served.
    pub fn after_restart(recorded: Pending, same_boot: bool, now: BootTime) -> Option<Self> {
        let goes_on = same_boot && recorded.persist.is_some() && recorded.deadline > now;
        goes_on.then_some(Self { state: State::Pending(Pending { holder: None, ..recorded }) })
    }

    /// What this commit of `session` means. `last_commit` is the newest commit so far.
    pub fn commit(
        &self,
        asked: &Asked,
        session: SessionId,
        user: &str,
        last_commit: u64,
        now: BootTime,
    ) -> Result<Step, ConfirmRefused> {
        self.may_decide(asked.persist_id.as_deref(), session)?;
        let wish = match (&self.state, &asked.confirmed) {
            (State::Idle, None) => return Ok(Step::Plain),
            (State::Pending(_), None) => return Ok(Step::Confirm),
            (State::Idle | State::Pending(_), Some(wish)) => wish,
        };
        let deadline = BootTime(now.0.saturating_add(wish.timeout));
        let persist = wish.persist.clone();
        Ok(Step::Wait(match &self.state {
            State::Idle => {
                let user = user.to_owned();
                Pending { rollback_to: last_commit, deadline, persist, holder: Some(session), user }
            }
            // The token stays unless another is given; a follow-up without one must not tie the commit to a session.
            State::Pending(first) => {
                let persist = persist.or_else(|| first.persist.clone());
                Pending { deadline, persist, holder: first.holder.or(Some(session)), ..first.clone() }
            }
        }))
    }

    /// May `session` cancel what waits?
    pub fn cancel(&self, persist_id: Option<&str>, session: SessionId) -> Result<(), ConfirmRefused> {
        if matches!(self.state, State::Idle) && persist_id.is_none() {
            return Err(ConfirmRefused::NothingPending);
        }
        self.may_decide(persist_id, session)
    }

    /// May running be changed by something that neither confirms nor follows up, such as a rollback?
    pub fn may_change(&self) -> Result<(), ConfirmRefused> {
        match &self.state {
            State::Idle => Ok(()),
            State::Pending(pending) => Err(held(pending)),
        }
    }

    fn may_decide(&self, persist_id: Option<&str>, session: SessionId) -> Result<(), ConfirmRefused> {
        match (&self.state, persist_id) {
            (State::Idle, None) => Ok(()),
            (State::Idle, Some(_)) => Err(ConfirmRefused::NoSuchToken),
            (State::Pending(pending), None) if pending.persist.is_none() && pending.holder == Some(session) => Ok(()),
            (State::Pending(pending), None) => Err(held(pending)),
            (State::Pending(pending), Some(token)) if pending.persist.as_deref() == Some(token) => Ok(()),
            (State::Pending(_), Some(_)) => Err(ConfirmRefused::NoSuchToken),
        }
    }

    /// The step is durable.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Plain => {}
            Step::Wait(pending) => self.state = State::Pending(pending),
            Step::Confirm => self.state = State::Idle,
        }
    }

    /// It is undone, and that is durable.
    pub fn undone(&mut self) {
        self.state = State::Idle;
    }

    /// A session is over. `true`: what waited is to be undone now.
    pub fn session_ended(&mut self, session: SessionId) -> bool {
        match &mut self.state {
            State::Pending(pending) if pending.holder == Some(session) => {
                pending.holder = None;
                pending.persist.is_none()
            }
            State::Idle | State::Pending(_) => false,
        }
    }

    pub fn pending(&self) -> Option<&Pending> {
        match &self.state {
            State::Idle => None,
            State::Pending(pending) => Some(pending),
        }
    }

    /// How long until something is to be done; zero when it is due.
    pub fn time_left(&self, now: BootTime) -> Option<Duration> {
        self.pending().map(|pending| pending.deadline.0.saturating_sub(now.0))
    }

    /// Undoing failed: nothing is forgotten, it is tried again.
    pub fn put_off(&mut self, now: BootTime) {
        if let State::Pending(pending) = &mut self.state {
            pending.deadline = BootTime(now.0 + RETRY);
        }
    }
}

fn held(pending: &Pending) -> ConfirmRefused {
    let user = pending.user.clone();
    match (&pending.persist, pending.holder) {
        (None, Some(by)) => ConfirmRefused::HeldBySession { by, user },
        // Without a token and without a session it is about to be undone.
        (None, None) => ConfirmRefused::HeldBySession { by: SessionId(0), user },
        (Some(_), by) => ConfirmRefused::NeedsToken { by, user },
    }
}

fn in_session(by: Option<SessionId>) -> String {
    by.map(|by| format!(", issued in session {by}")).unwrap_or_default()
}

#[cfg(test)]
#[path = "confirmed_tests.rs"]
mod tests;
