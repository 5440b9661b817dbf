//! A machine as data, so that a keeper that died is followed by one that goes on where it was.
//!
//! Instants mean nothing in another process: they are kept as distances from the moment the checkpoint was taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::machine::{After, ExitStatus, Machine, Rest, RunId, State};
use super::pace::Pace;
use super::rules::{Delays, Rules, Starts};
use super::spec::RestartPolicy;
use crate::checksum::Sha256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    policy: RestartPolicy,
    holdoff: Duration,
    life: Life,
    attempt: u64,
    restarts: u32,
    started_ago: Option<Duration>,
    restarted_ago: Vec<Duration>,
    slowed: Option<Duration>,
    rules: Rules,
    delays: Delays,
    begun_ago: Vec<Duration>,
    kill_in: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Life {
    NotStarted,
    Starting,
    Running { pid: i32, run: RunId, ago: Duration },
    StopRequested { pid: i32, run: RunId, ago: Duration, then: Then },
    KillRequested { process: Option<(i32, RunId)>, tree_gone: bool, then: Then },
    Backoff { remaining: Duration },
    Stopped,
    Killed,
    Exited { status: ExitStatus, rest: Rest },
    Mismatch { expected: Option<Sha256>, found: Sha256 },
    Released,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Then {
    Hold,
    Stopped,
    Start,
    Cleared,
    StartIn { remaining: Duration },
    Release { remaining: Option<Duration> },
}

impl Machine {
    pub fn checkpoint(&self, now: Instant) -> Checkpoint {
        let ago = |at: Instant| now.saturating_duration_since(at);
        let then = |after: &After| match after {
            After::Hold => Then::Hold,
            After::Stopped => Then::Stopped,
            After::Start => Then::Start,
            After::Cleared => Then::Cleared,
            After::StartAt { at } => Then::StartIn { remaining: at.saturating_duration_since(now) },
            After::Release { kill_at } => {
                Then::Release { remaining: kill_at.map(|at| at.saturating_duration_since(now)) }
            }
        };
        let life = match &self.state {
            State::NotStarted => Life::NotStarted,
            State::Starting => Life::Starting,
            State::Running { pid, run, since } => Life::Running { pid: *pid, run: *run, ago: ago(*since) },
            State::StopRequested { pid, run, since, after } => {
                Life::StopRequested { pid: *pid, run: *run, ago: ago(*since), then: then(after) }
            }
            State::KillRequested { process, tree_gone, after } => {
                Life::KillRequested { process: *process, tree_gone: *tree_gone, then: then(after) }
            }
            State::Backoff { until } => Life::Backoff { remaining: until.saturating_duration_since(now) },
            State::Stopped => Life::Stopped,
            State::Killed => Life::Killed,
            State::Exited { status, rest } => Life::Exited { status: *status, rest: *rest },
            State::Mismatch { expected, found } => Life::Mismatch { expected: *expected, found: *found },
            State::Released => Life::Released,
        };
        Checkpoint {
            policy: self.policy,
            holdoff: self.holdoff,
            life,
            attempt: self.attempt,
            restarts: self.restarts,
            started_ago: self.last_start.map(ago),
            restarted_ago: self.pace.at_once.iter().map(|at| ago(*at)).collect(),
            slowed: self.pace.slowed,
            rules: self.rules.clone(),
            delays: self.delays,
            begun_ago: self.starts.0.iter().map(|at| ago(*at)).collect(),
            kill_in: self.kill_at.map(|at| at.saturating_duration_since(now)),
        }
    }

    /// The machine that took the checkpoint `elapsed` ago.
    pub fn restore(checkpoint: Checkpoint, elapsed: Duration, now: Instant) -> Self {
        let back = |ago: Duration| now.checked_sub(ago.saturating_add(elapsed)).unwrap_or(now);
        let ahead = |remaining: Duration| now.checked_add(remaining.saturating_sub(elapsed)).unwrap_or(now);
        let after = |then: Then| match then {
            Then::Hold => After::Hold,
            Then::Stopped => After::Stopped,
            Then::Start => After::Start,
            Then::Cleared => After::Cleared,
            Then::StartIn { remaining } => After::StartAt { at: ahead(remaining) },
            Then::Release { remaining } => After::Release { kill_at: remaining.map(ahead) },
        };
        let state = match checkpoint.life {
            Life::NotStarted => State::NotStarted,
            Life::Starting => State::Starting,
            Life::Running { pid, run, ago } => State::Running { pid, run, since: back(ago) },
            Life::StopRequested { pid, run, ago, then } => {
                State::StopRequested { pid, run, since: back(ago), after: after(then) }
            }
            Life::KillRequested { process, tree_gone, then } => {
                State::KillRequested { process, tree_gone, after: after(then) }
            }
            Life::Backoff { remaining } => State::Backoff { until: ahead(remaining) },
            Life::Stopped => State::Stopped,
            Life::Killed => State::Killed,
            Life::Exited { status, rest } => State::Exited { status, rest },
            Life::Mismatch { expected, found } => State::Mismatch { expected, found },
            Life::Released => State::Released,
        };
        let at_once: VecDeque<Instant> = checkpoint.restarted_ago.into_iter().map(back).collect();
        Self {
            policy: checkpoint.policy,
            holdoff: checkpoint.holdoff,
            state,
            attempt: checkpoint.attempt,
            restarts: checkpoint.restarts,
            last_start: checkpoint.started_ago.map(back),
            pace: Pace { at_once, slowed: checkpoint.slowed, ..Pace::default() },
            rules: checkpoint.rules,
            delays: checkpoint.delays,
            starts: Starts(checkpoint.begun_ago.into_iter().map(back).collect()),
            kill_at: checkpoint.kill_in.map(ahead),
        }
    }
}
