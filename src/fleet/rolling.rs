//! Restarts some containers at a time: the next when those before are ready and have stayed so for a while, none more
//! once one has failed.
//!
//! ```text
//!  queued --- room --> restarting --- ready in a new run --> done
//!     |                     `-- ended, or too slow --> failed: what is queued is left alone
//!     `--> left alone
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::container::machine::RunId;
use crate::keeper::protocol::{ContainerState, Phase, Reason};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed(String),
    LeftAlone,
}

#[derive(Debug)]
pub struct Rolling {
    queued: VecDeque<String>,
    restarting: BTreeMap<String, Restarting>,
    outcomes: BTreeMap<String, Outcome>,
    at_once: usize,
    timeout: Duration,
    settle: Duration,
    has_failed: bool,
}

#[derive(Debug)]
struct Restarting {
    before: Option<RunId>,
    deadline: Instant,
    /// When it has been ready for long enough.
    settled: Option<Instant>,
}

impl Rolling {
    pub fn new(names: impl IntoIterator<Item = String>, at_once: usize, timeout: Duration, settle: Duration) -> Self {
        Self {
            queued: names.into_iter().collect(),
            restarting: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            at_once: at_once.max(1),
            timeout,
            settle,
            has_failed: false,
        }
    }

    /// The next to be restarted now, each with the run that it has by `run_of`.
    pub fn next(&mut self, run_of: impl Fn(&str) -> Option<RunId>, now: Instant) -> Vec<String> {
        let mut next = Vec::new();
        while !self.has_failed && self.restarting.len() < self.at_once {
            let Some(name) = self.queued.pop_front() else { break };
            let deadline = now.checked_add(self.timeout).unwrap_or(now);
            self.restarting.insert(name.clone(), Restarting { before: run_of(&name), deadline, settled: None });
            next.push(name);
        }
        next
    }

    pub fn observed(&mut self, name: &str, state: &ContainerState, now: Instant) {
        let settle = self.settle;
        let Some(restarting) = self.restarting.get_mut(name) else { return };
        let is_new = state.run.is_some() && state.run != restarting.before;
        match state.phase {
            Phase::Running if is_new && state.ready => {
                restarting.settled = restarting.settled.or(now.checked_add(settle));
                self.time_is(now);
            }
            Phase::ExitSuccess if is_new => self.ended(name, Outcome::Done),
            Phase::ExitFailure | Phase::Backoff if is_new || matches!(state.reason, Reason::StartFailed { .. }) => {
                let why = match &state.reason {
                    Reason::StartFailed { why } => why.to_string(),
                    _ => match state.error_lines.last() {
                        Some(line) => format!("it has ended: {line}"),
                        None => "it has ended".to_owned(),
                    },
                };
                self.ended(name, Outcome::Failed(why));
            }
            _ => {}
        }
    }

    pub fn refused(&mut self, name: &str, why: String) {
        self.ended(name, Outcome::Failed(why));
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.restarting.values().map(|one| one.settled.map_or(one.deadline, |settled| settled.min(one.deadline))).min()
    }

    pub fn time_is(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (name, restarting) in &self.restarting {
            if restarting.settled.is_some_and(|at| at <= now) {
                over.push((name.clone(), Outcome::Done));
            } else if restarting.deadline <= now {
                over.push((
                    name.clone(),
                    Outcome::Failed(format!("not ready within {} s", self.timeout.as_secs_f64())),
                ));
            }
        }
        for (name, outcome) in over {
            self.ended(&name, outcome);
        }
    }

    /// Everything that became of them, once nothing is under way any more.
    pub fn finished(&mut self) -> Option<BTreeMap<String, Outcome>> {
        if !self.restarting.is_empty() || (!self.queued.is_empty() && !self.has_failed) {
            return None;
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        outcomes.extend(self.queued.drain(..).map(|name| (name, Outcome::LeftAlone)));
        Some(outcomes)
    }

    fn ended(&mut self, name: &str, outcome: Outcome) {
        if self.restarting.remove(name).is_some() {
            self.has_failed |= outcome != Outcome::Done;
            self.outcomes.insert(name.to_owned(), outcome);
        }
    }
}
