//! The machine of one command's life. It decides; whoever drives it checks, spawns, signals and reports back.
//!
//! A start is two steps: `Check` asks the driver to look at the program (checksum, account, folders), which may take a
//! while; its answer carries the attempt's number, so an answer that a stop has overtaken is recognised and ignored.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use super::ending::{ExitStatus, signal_in_words};
use super::pace::Pace;
use super::rules::{Delays, Rules, Starts};
use super::spec::RestartPolicy;
use crate::checksum::Sha256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u32);

/// What happens once a requested end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Hold,
    /// As `Hold`, but what is killed on the way counts as stopped.
    Stopped,
    Start,
    /// At rest, once nothing is left.
    Cleared,
    /// Once nothing is left, but not before this.
    StartAt {
        at: Instant,
    },
    /// Forget the container; kill it at the time given, if it still runs.
    Release {
        kill_at: Option<Instant>,
    },
}

/// Why what has ended stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    ByPolicy,
    RetriesSpent,
    /// It was started too often in too short a time.
    StartLimit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    NotStarted,
    Starting,
    Running {
        pid: i32,
        run: RunId,
        since: Instant,
    },
    StopRequested {
        pid: i32,
        run: RunId,
        since: Instant,
        after: After,
    },
    /// Until the main process has ended *and* nothing of its tree is left.
    KillRequested {
        process: Option<(i32, RunId)>,
        tree_gone: bool,
        after: After,
    },
    Backoff {
        until: Instant,
    },
    Stopped,
    Killed,
    /// Ended, and the policy does not bring it back.
    Exited {
        status: ExitStatus,
        rest: Rest,
    },
    /// The bytes on disk are not those that were committed, or no checksum is (`expected` is `None`): never runs so.
    Mismatch {
        expected: Option<Sha256>,
        found: Sha256,
    },
    Released,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Start,
    Stop,
    Kill,
    /// Stop, then start.
    Restart,
    /// It has ended after so long, and nobody is there to decide: what it has left goes, and it is started again after the
    /// next of its delays.
    ComeBack {
        ran: Duration,
    },
    /// Before anything else: something of it runs already, from a time that nobody remembers. It is watched from here on,
    /// or it is ended within the grace.
    Survived {
        process: Option<(i32, RunId)>,
        since: Instant,
        end_within: Option<Duration>,
    },
    /// Somebody is there again: what [`Input::ComeBack`] has set under way, and is no process yet, is called off.
    CallOff,
    /// Stop, kill after the grace, then forget.
    Release {
        grace: Duration,
    },
    /// The program may be spawned.
    Checked {
        attempt: u64,
    },
    CheckMismatch {
        attempt: u64,
        expected: Option<Sha256>,
        found: Sha256,
    },
    CheckFailed {
        attempt: u64,
    },
    Spawned {
        attempt: u64,
        pid: i32,
        run: RunId,
    },
    SpawnFailed {
        attempt: u64,
    },
    Exited {
        run: RunId,
        status: ExitStatus,
    },
    /// Nothing of the tree is left.
    TreeGone,
    ExpectedChanged,
    /// Another policy from now on: a restart that waits is called off if the policy would not make it, and what is at
    /// rest comes back, after the holdoff, if it would.
    Policy {
        policy: RestartPolicy,
    },
    /// Other rules from now on; what is under way keeps its deadline.
    Rules {
        policy: RestartPolicy,
        rules: Rules,
        holdoff: Duration,
    },
    /// The [`Machine::deadline`] has come.
    Deadline,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Check {
        attempt: u64,
    },
    Spawn {
        attempt: u64,
    },
    SignalStop {
        pid: i32,
    },
    KillTree {
        leader: Option<i32>,
    },
    /// Let everything go and forget the container.
    Forget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub(super) policy: RestartPolicy,
    pub(super) holdoff: Duration,
    pub(super) state: State,
    pub(super) attempt: u64,
    /// Automatic restarts since activation.
    pub(super) restarts: u32,
    pub(super) last_start: Option<Instant>,
    pub(super) pace: Pace,
    pub(super) rules: Rules,
    pub(super) delays: Delays,
    pub(super) starts: Starts,
    /// When a stop under way becomes a kill.
    pub(super) kill_at: Option<Instant>,
}

impl Machine {
    /// A new machine is a new activation: its counters begin at zero.
    pub fn new(policy: RestartPolicy, holdoff: Duration) -> Self {
        Self {
            policy,
            holdoff,
            state: State::NotStarted,
            attempt: 0,
            restarts: 0,
            last_start: None,
            pace: Pace::default(),
            rules: Rules::default(),
            delays: Delays::default(),
            starts: Starts::default(),
            kill_at: None,
        }
    }

    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Restarts that come in a row are delayed by at most so much, beside the holdoff, and not after a run of that length.
    pub fn with_pace(mut self, delay_max: Duration, steady_run: Duration) -> Self {
        self.pace = Pace::up_to(delay_max, steady_run);
        self
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number of the latest start.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The process that is alive as far as the machine knows.
    pub fn process(&self) -> Option<(i32, RunId)> {
        match &self.state {
            State::Running { pid, run, .. } | State::StopRequested { pid, run, .. } => Some((*pid, *run)),
            State::KillRequested { process, .. } => *process,
            _ => None,
        }
    }

    /// Whether nothing of it runs or is about to run by itself.
    pub fn is_at_rest(&self) -> bool {
        matches!(
            self.state,
            State::NotStarted | State::Stopped | State::Killed | State::Exited { .. } | State::Mismatch { .. }
        )
    }

    /// Whether it will be forgotten once it has ended.
    pub fn is_being_released(&self) -> bool {
        match &self.state {
            State::StopRequested { after, .. } | State::KillRequested { after, .. } => {
                matches!(after, After::Release { .. })
            }
            State::Released => true,
            _ => false,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Backoff { until } => Some(*until),
            State::StopRequested { after: After::Release { kill_at }, .. } => *kill_at,
            State::StopRequested { .. } => self.kill_at,
            _ => None,
        }
    }

    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.stop(After::Hold, now),
            Input::Restart => self.restart(now),
            Input::Kill => self.kill(),
            Input::ComeBack { ran } => self.come_back(ran, now),
            Input::CallOff => self.call_off(),
            Input::Survived { process, since, end_within } => self.survived(process, since, end_within, now),
            Input::Release { grace } => self.release(grace, now),
            Input::Checked { attempt } if self.is_attempt(attempt) => vec![Action::Spawn { attempt }],
            Input::CheckMismatch { attempt, expected, found } if self.is_attempt(attempt) => {
                self.state = State::Mismatch { expected, found };
                vec![]
            }
            Input::CheckFailed { attempt } | Input::SpawnFailed { attempt } if self.is_attempt(attempt) => {
                self.last_start = Some(now);
                self.starts.note(now, self.rules.start_limit);
                self.by_policy(ExitStatus::NotSpawned, Duration::ZERO, now)
            }
            Input::Spawned { attempt, pid, run } if self.is_attempt(attempt) => {
                self.last_start = Some(now);
                self.starts.note(now, self.rules.start_limit);
                self.state = State::Running { pid, run, since: now };
                vec![]
            }
            // A stop has overtaken these.
            Input::Checked { .. }
            | Input::CheckMismatch { .. }
            | Input::CheckFailed { .. }
            | Input::SpawnFailed { .. }
            | Input::Spawned { .. } => vec![],
            Input::Exited { run, status } => self.exited(run, status, now),
            Input::TreeGone => self.tree_gone(now),
            Input::ExpectedChanged => match self.state {
                State::Mismatch { .. } => self.attempt_start(),
                _ => vec![],
            },
            Input::Policy { policy } => self.policy_changed(policy, now),
            Input::Rules { policy, rules, holdoff } => {
                self.rules = rules;
                self.holdoff = holdoff;
                self.policy = policy;
                if policy == RestartPolicy::Never && matches!(self.state, State::Backoff { .. }) {
                    self.state = State::Stopped;
                }
                vec![]
            }
            Input::Deadline => self.deadline_came(now),
        }
    }

    fn is_attempt(&self, attempt: u64) -> bool {
        self.state == State::Starting && self.attempt == attempt
    }

    fn start(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::NotStarted
            | State::Backoff { .. }
            | State::Stopped
            | State::Killed
            | State::Exited { .. }
            | State::Mismatch { .. } => {
                self.pace.reset();
                self.delays.reset();
                self.starts.reset();
                self.attempt_start()
            }
            // It ends first, then it is started; a release is not called off.
            State::StopRequested { after: after @ (After::Hold | After::Stopped), .. }
            | State::KillRequested {
                after: after @ (After::Hold | After::Stopped | After::Cleared | After::StartAt { .. }),
                ..
            } => {
                *after = After::Start;
                vec![]
            }
            State::StopRequested { after: after @ After::Cleared, .. } => {
                *after = After::StartAt { at: now };
                vec![]
            }
            State::Starting
            | State::Running { .. }
            | State::StopRequested { .. }
            | State::KillRequested { .. }
            | State::Released => vec![],
        }
    }

    fn restart(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Running { .. } | State::StopRequested { .. } | State::KillRequested { .. } => {
                self.stop(After::Start, now)
            }
            _ => self.start(now),
        }
    }

    fn stop(&mut self, wanted: After, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Running { pid, run, since } => {
                let pid = *pid;
                self.kill_at = self.rules.stop_timeout.and_then(|timeout| now.checked_add(timeout));
                self.state = State::StopRequested { pid, run: *run, since: *since, after: wanted };
                vec![Action::SignalStop { pid }]
            }
            State::StopRequested { pid, after, .. } => {
                if !matches!(after, After::Release { .. }) {
                    *after = wanted;
                }
                vec![Action::SignalStop { pid: *pid }]
            }
            State::KillRequested { after, .. } => {
                if !matches!(after, After::Release { .. }) {
                    *after = wanted;
                }
                vec![]
            }
            State::Starting | State::Backoff { .. } | State::Exited { .. } | State::Mismatch { .. } => {
                self.state = State::Stopped;
                vec![]
            }
            State::NotStarted | State::Stopped | State::Killed | State::Released => vec![],
        }
    }

    fn kill(&mut self) -> Vec<Action> {
        let (process, after) = match &self.state {
            State::Running { pid, run, .. } => (Some((*pid, *run)), After::Hold),
            State::StopRequested { pid, run, after: After::Release { .. }, .. } => {
                (Some((*pid, *run)), After::Release { kill_at: None })
            }
            State::StopRequested { pid, run, .. } => (Some((*pid, *run)), After::Hold),
            State::KillRequested { process, after: After::Release { .. }, .. } => {
                (*process, After::Release { kill_at: None })
            }
            State::KillRequested { process, .. } => (*process, After::Hold),
            // No main process, yet something that it has left behind may still run.
            State::Starting
            | State::Backoff { .. }
            | State::Stopped
            | State::Killed
            | State::Exited { .. }
            | State::Mismatch { .. } => (None, After::Hold),
            State::NotStarted | State::Released => return vec![],
        };
        self.kill_tree(process, after)
    }

    fn kill_tree(&mut self, process: Option<(i32, RunId)>, after: After) -> Vec<Action> {
        self.state = State::KillRequested { process, tree_gone: false, after };
        vec![Action::KillTree { leader: process.map(|(pid, _)| pid) }]
    }

    fn release(&mut self, grace: Duration, now: Instant) -> Vec<Action> {
        let kill_at = now.checked_add(grace);
        match &mut self.state {
            State::Running { .. } | State::StopRequested { .. } => self.stop_for_release(kill_at, now),
            State::KillRequested { after, .. } => {
                *after = After::Release { kill_at: None };
                vec![]
            }
            State::NotStarted => {
                self.state = State::Released;
                vec![Action::Forget]
            }
            State::Released => vec![],
            State::Starting
            | State::Backoff { .. }
            | State::Stopped
            | State::Killed
            | State::Exited { .. }
            | State::Mismatch { .. } => self.kill_tree(None, After::Release { kill_at: None }),
        }
    }

    fn stop_for_release(&mut self, kill_at: Option<Instant>, now: Instant) -> Vec<Action> {
        let actions = self.stop(After::Hold, now);
        if let State::StopRequested { after, .. } = &mut self.state {
            // A second release may shorten the grace, never lengthen it.
            let earlier = match after {
                After::Release { kill_at: Some(before) } => Some(kill_at.map_or(*before, |at| at.min(*before))),
                _ => kill_at,
            };
            *after = After::Release { kill_at: earlier };
        }
        actions
    }

    fn exited(&mut self, run: RunId, status: ExitStatus, now: Instant) -> Vec<Action> {
        if self.process().is_none_or(|(_, current)| current != run) {
            return vec![];
        }
        match &mut self.state {
            State::Running { since, .. } => {
                let ran = now.saturating_duration_since(*since);
                self.by_policy(status, ran, now)
            }
            State::StopRequested { after, .. } => match *after {
                // What it has left behind goes with it.
                After::Hold | After::Stopped if self.rules.whole_tree => self.kill_tree(None, After::Stopped),
                After::Start if self.rules.whole_tree => self.kill_tree(None, After::Start),
                After::Hold | After::Stopped => {
                    self.state = State::Stopped;
                    vec![]
                }
                After::Start => self.attempt_start(),
                after @ (After::Cleared | After::StartAt { .. } | After::Release { .. }) => self.kill_tree(None, after),
            },
            State::KillRequested { process, tree_gone, .. } => {
                *process = None;
                if *tree_gone { self.killed(now) } else { vec![] }
            }
            _ => vec![],
        }
    }

    fn tree_gone(&mut self, now: Instant) -> Vec<Action> {
        let State::KillRequested { process, tree_gone, .. } = &mut self.state else { return vec![] };
        *tree_gone = true;
        if process.is_none() { self.killed(now) } else { vec![] }
    }

    fn killed(&mut self, now: Instant) -> Vec<Action> {
        let State::KillRequested { after, .. } = self.state else { return vec![] };
        match after {
            After::Hold => {
                self.state = State::Killed;
                vec![]
            }
            After::Stopped | After::Cleared => {
                self.state = State::Stopped;
                vec![]
            }
            After::Start => self.attempt_start(),
            After::StartAt { at } if at <= now => self.attempt_start(),
            After::StartAt { at } => {
                self.state = State::Backoff { until: at };
                vec![]
            }
            After::Release { .. } => {
                self.state = State::Released;
                vec![Action::Forget]
            }
        }
    }

    fn by_policy(&mut self, status: ExitStatus, ran: Duration, now: Instant) -> Vec<Action> {
        let spent = |max: Option<u32>| max.is_some_and(|max| self.restarts >= max);
        let (again, retries_spent) = match self.policy {
            RestartPolicy::Always | RestartPolicy::UnlessStopped => (true, false),
            RestartPolicy::Never => (false, false),
            RestartPolicy::UnlessErrored => (status.is_success(), false),
            RestartPolicy::OnFailure { .. } if status.is_success() => (false, false),
            RestartPolicy::OnFailure { max_retries } => (!spent(max_retries), spent(max_retries)),
        };
        let limited = again && self.starts.is_spent(now, self.rules.start_limit);
        if !again || limited {
            let rest = match (limited, retries_spent) {
                (true, _) => Rest::StartLimit,
                (false, true) => Rest::RetriesSpent,
                (false, false) => Rest::ByPolicy,
            };
            self.state = State::Exited { status, rest };
            return vec![];
        }
        let paced = self.next_delay(ran, now);
        self.start_after(paced, now)
    }

    fn next_delay(&mut self, ran: Duration, now: Instant) -> Duration {
        self.restarts = self.restarts.saturating_add(1);
        match self.delays.next(&self.rules.delays, ran) {
            Some(listed) => listed,
            None => self.pace.next_delay(ran, now),
        }
    }

    fn come_back(&mut self, ran: Duration, now: Instant) -> Vec<Action> {
        let State::Exited { rest, .. } = &mut self.state else { return vec![] };
        if self.starts.is_spent(now, self.rules.start_limit) {
            *rest = Rest::StartLimit;
            return vec![];
        }
        let delay = self.next_delay(ran, now).max(self.held_off(now));
        let after = now.checked_add(delay).map_or(After::Hold, |at| After::StartAt { at });
        self.kill_tree(None, after)
    }

    fn survived(
        &mut self,
        process: Option<(i32, RunId)>,
        since: Instant,
        end_within: Option<Duration>,
        now: Instant,
    ) -> Vec<Action> {
        if self.state != State::NotStarted {
            return vec![];
        }
        match (process, end_within) {
            (Some((pid, run)), None) => {
                self.state = State::Running { pid, run, since };
                vec![]
            }
            (Some((pid, run)), Some(grace)) => {
                self.kill_at = now.checked_add(grace);
                self.state = State::StopRequested { pid, run, since, after: After::Cleared };
                vec![Action::SignalStop { pid }]
            }
            (None, _) => self.kill_tree(None, After::Cleared),
        }
    }

    fn call_off(&mut self) -> Vec<Action> {
        match &mut self.state {
            State::Starting | State::Backoff { .. } => self.state = State::Stopped,
            State::KillRequested { after: after @ After::StartAt { .. }, .. } => *after = After::Stopped,
            _ => {}
        }
        vec![]
    }

    fn held_off(&self, now: Instant) -> Duration {
        let since_start = self.last_start.map_or(Duration::MAX, |start| now.saturating_duration_since(start));
        self.holdoff.saturating_sub(since_start)
    }

    /// Starts when the delay and the holdoff are over.
    fn start_after(&mut self, paced: Duration, now: Instant) -> Vec<Action> {
        let delay = paced.max(self.held_off(now));
        match now.checked_add(delay) {
            Some(until) if !delay.is_zero() => {
                self.state = State::Backoff { until };
                vec![]
            }
            _ => self.attempt_start(),
        }
    }

    fn policy_changed(&mut self, policy: RestartPolicy, now: Instant) -> Vec<Action> {
        self.policy = policy;
        let restarts = !matches!(policy, RestartPolicy::Never);
        match self.state {
            State::Backoff { .. } if !restarts => {
                self.state = State::Stopped;
                vec![]
            }
            State::Stopped | State::Killed | State::Exited { .. } if restarts => self.start_after(Duration::ZERO, now),
            _ => vec![],
        }
    }

    fn attempt_start(&mut self) -> Vec<Action> {
        self.attempt += 1;
        self.state = State::Starting;
        vec![Action::Check { attempt: self.attempt }]
    }

    fn deadline_came(&mut self, now: Instant) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return vec![];
        }
        match &self.state {
            State::Backoff { .. } => self.attempt_start(),
            State::StopRequested { pid, run, after, .. } => {
                let after = match after {
                    After::Hold | After::Stopped | After::Cleared => After::Stopped,
                    after @ (After::Start | After::StartAt { .. }) => *after,
                    After::Release { .. } => After::Release { kill_at: None },
                };
                self.kill_tree(Some((*pid, *run)), after)
            }
            _ => vec![],
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
