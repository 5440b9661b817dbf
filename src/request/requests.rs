//! All runs on request: who may begin, how each goes on, and how it ends.
//!
//! ```text
//!  Run --> Defining --> Starting --> Running --exit--------------------> over: Executed, Exception, Killed
//!            |             |           |--stop, deadline--> Ending --gone--> over: Stopped, Timed-out
//!            +--refused----+--------------------------------------------> over: Exception
//! ```
//! After its end a run's container is released; its logs stay until the history lets go of it. Pure: what happens and
//! the time come in, actions go out. Must not know: sockets, files, the repository.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::refusals;
use super::run::{Order, Request, RequestId, Status, return_value};
use crate::clock::Moment;
use crate::container::machine::ExitStatus;
use crate::northbound::Refusal;

/// Runs at once; a router allows as many.
pub const RUNNING_MAX: usize = 10;
/// Runs that the history keeps, with their logs.
pub const KEPT_MAX: usize = 500;
/// Between SIGTERM and SIGKILL of a run that is stopped or has had its time.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// With this the library's command line begins what it leaves in the error log of a command that has failed.
const FAILED_COMMAND: &str = "xrcli: ";

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the keeper says of a run's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub phase: Phase,
    pub started_unix_ms: Option<u64>,
    pub ended_unix_ms: Option<u64>,
    pub error_lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// There, and not started.
    Waiting,
    Running {
        pid: Option<i32>,
    },
    Ended {
        exit: ExitStatus,
    },
    /// It was not run, and this is why.
    Refused {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Run {
        order: Box<Order>,
        ticket: Ticket,
    },
    Stop {
        id: RequestId,
        /// In the words of whoever stops it.
        why: Option<String>,
        ticket: Ticket,
    },
    KeeperConnected {
        held: Vec<(RequestId, Observed)>,
    },
    KeeperLost,
    Observed {
        id: RequestId,
        observed: Observed,
    },
    /// Its process has ended, for a run that is being ended: one that ends by itself is seen to have.
    Exited {
        id: RequestId,
        exit: ExitStatus,
    },
    /// The keeper has answered.
    Ordered {
        id: RequestId,
        what: Command,
        outcome: Result<(), Refusal>,
    },
    /// The time of [`Requests::deadline`] has come.
    Due,
}

/// What the keeper is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Define,
    Start,
    Release { grace: Duration },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Command {
        id: RequestId,
        what: Command,
    },
    Answer {
        ticket: Ticket,
        answer: Result<RequestId, Refusal>,
    },
    /// The run as it stands now goes to the journal.
    Record {
        id: RequestId,
    },
    Told {
        id: RequestId,
    },
    /// The history lets go of it.
    Forget {
        request: Box<Request>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Defining {
        ticket: Ticket,
    },
    Starting {
        ticket: Option<Ticket>,
    },
    /// `deadline` is not known while the keeper has not told when it began.
    Running {
        deadline: Option<Instant>,
    },
    Ending {
        status: Status,
        why: Option<String>,
        tickets: Vec<Ticket>,
    },
}

#[derive(Debug)]
pub struct Requests {
    runs: BTreeMap<RequestId, Request>,
    alive: BTreeMap<RequestId, Life>,
    next: RequestId,
    is_connected: bool,
}

impl Requests {
    /// With what the journal holds. `first` is used where there was no run yet: the Unix time.
    pub fn new(recorded: impl IntoIterator<Item = Request>, first: u32) -> Self {
        let runs: BTreeMap<RequestId, Request> = recorded.into_iter().map(|run| (run.id, run)).collect();
        let next = runs.keys().next_back().map_or(first, |last| last.0.saturating_add(1));
        let alive = runs.values().filter(|run| !run.is_over).map(|run| (run.id, Life::Running { deadline: None }));
        Self { alive: alive.collect(), runs, next: RequestId(next), is_connected: false }
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Request> {
        self.runs.values().rev()
    }

    pub fn get(&self, id: RequestId) -> Option<&Request> {
        self.runs.get(&id)
    }

    /// When the next run has had its time.
    pub fn deadline(&self) -> Option<Instant> {
        self.alive
            .values()
            .filter_map(|life| match life {
                Life::Running { deadline } => *deadline,
                Life::Defining { .. } | Life::Starting { .. } | Life::Ending { .. } => None,
            })
            .min()
    }

    pub fn handle(&mut self, input: Input, moment: Moment) -> Vec<Action> {
        match input {
            Input::Run { order, ticket } => self.run(*order, ticket, moment),
            Input::Stop { id, why, ticket } => self.stop(id, why, ticket),
            Input::KeeperConnected { held } => self.connected(held, moment),
            Input::KeeperLost => {
                self.is_connected = false;
                Vec::new()
            }
            Input::Observed { id, observed } => self.observed(id, &observed, moment),
            Input::Exited { id, exit } => {
                if let (Some(run), Some(Life::Ending { .. })) = (self.runs.get_mut(&id), self.alive.get(&id)) {
                    run.return_value = return_value(exit);
                }
                Vec::new()
            }
            Input::Ordered { id, what, outcome } => self.ordered(id, what, outcome, moment),
            Input::Due => self.due(moment),
        }
    }

    fn run(&mut self, order: Order, ticket: Ticket, moment: Moment) -> Vec<Action> {
        if !self.is_connected {
            return vec![Action::Answer { ticket, answer: Err(refusals::keeper_away()) }];
        }
        if self.alive.len() >= RUNNING_MAX {
            return vec![Action::Answer { ticket, answer: Err(refusals::too_many(RUNNING_MAX)) }];
        }
        let id = self.next;
        self.next = RequestId(id.0.saturating_add(1));
        self.runs.insert(id, Request::new(id, order, moment.unix_ms));
        self.alive.insert(id, Life::Defining { ticket });
        // Recorded first: an id is never given twice.
        vec![Action::Record { id }, Action::Command { id, what: Command::Define }]
    }

    fn stop(&mut self, id: RequestId, why: Option<String>, ticket: Ticket) -> Vec<Action> {
        match self.alive.get_mut(&id) {
            None => {
                let refusal = match self.runs.get(&id) {
                    Some(run) => refusals::over(id, run.status()),
                    None => refusals::unknown(id),
                };
                vec![Action::Answer { ticket, answer: Err(refusal) }]
            }
            Some(Life::Ending { tickets, .. }) => {
                tickets.push(ticket);
                Vec::new()
            }
            Some(life) => {
                let waiting = life.waiting();
                *life = Life::Ending { status: Status::Stopped, why, tickets: vec![ticket] };
                let mut actions: Vec<Action> = waiting
                    .map(|ticket| Action::Answer { ticket, answer: Err(refusals::stopped(id)) })
                    .into_iter()
                    .collect();
                actions.push(Action::Command { id, what: Command::Release { grace: STOP_GRACE } });
                actions
            }
        }
    }

    fn due(&mut self, moment: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        for (id, life) in &mut self.alive {
            if matches!(life, Life::Running { deadline: Some(deadline) } if *deadline <= moment.now) {
                *life = Life::Ending { status: Status::TimedOut, why: None, tickets: Vec::new() };
                actions.push(Action::Command { id: *id, what: Command::Release { grace: STOP_GRACE } });
            }
        }
        actions
    }

    fn connected(&mut self, held: Vec<(RequestId, Observed)>, moment: Moment) -> Vec<Action> {
        self.is_connected = true;
        let held: BTreeMap<RequestId, Observed> = held.into_iter().collect();
        // What an earlier agent was about to release, or a call that was never answered.
        let strangers: Vec<RequestId> = held.keys().filter(|id| !self.alive.contains_key(id)).copied().collect();
        let mut actions = Vec::new();
        for id in self.alive.keys().copied().collect::<Vec<_>>() {
            match (self.alive.get(&id), held.get(&id)) {
                // The answer to an order is still to come, or came with the loss of the connection.
                (Some(Life::Defining { .. }), None) | (None, _) => {}
                (Some(Life::Ending { .. }), Some(_)) => {
                    actions.push(Action::Command { id, what: Command::Release { grace: Duration::ZERO } });
                }
                (Some(Life::Ending { .. }), None) => actions.extend(self.gone(id, moment)),
                (Some(_), Some(observed)) => actions.extend(self.observed(id, observed, moment)),
                (Some(_), None) => {
                    let why = "lost: the host or the keeper was restarted".to_owned();
                    actions.extend(self.over(id, Status::Killed, why, moment.unix_ms));
                }
            }
        }
        actions.extend(
            strangers.into_iter().map(|id| Action::Command { id, what: Command::Release { grace: Duration::ZERO } }),
        );
        actions
    }

    fn observed(&mut self, id: RequestId, observed: &Observed, moment: Moment) -> Vec<Action> {
        let (Some(run), Some(life)) = (self.runs.get_mut(&id), self.alive.get_mut(&id)) else { return Vec::new() };
        let mut actions = Vec::new();
        let has_begun = matches!(observed.phase, Phase::Running { .. } | Phase::Ended { .. });
        if has_begun && run.started_ms().is_none() {
            let pid = match observed.phase {
                Phase::Running { pid } => pid,
                Phase::Waiting | Phase::Ended { .. } | Phase::Refused { .. } => None,
            };
            run.started(pid, observed.started_unix_ms.unwrap_or(moment.unix_ms));
            actions.extend(life.waiting().map(|ticket| Action::Answer { ticket, answer: Ok(id) }));
            actions.extend([Action::Record { id }, Action::Told { id }]);
        }
        let left = || {
            let ran = Duration::from_millis(run.ran_ms(moment.unix_ms));
            Duration::from_secs(u64::from(run.order.max_runtime_seconds)).saturating_sub(ran)
        };
        match (&observed.phase, &mut *life) {
            (_, Life::Ending { .. }) | (Phase::Waiting, _) => {}
            (Phase::Running { .. }, Life::Running { deadline: Some(_) }) => {}
            (Phase::Running { .. }, _) => *life = Life::Running { deadline: Some(moment.now + left()) },
            (Phase::Ended { exit }, _) => {
                run.return_value = return_value(*exit);
                let (status, text) = how_it_ended(*exit, &observed.error_lines);
                let at = observed.ended_unix_ms.unwrap_or(moment.unix_ms);
                actions.extend(self.over(id, status, text, at));
                actions.push(Action::Command { id, what: Command::Release { grace: Duration::ZERO } });
            }
            (Phase::Refused { why }, _) => {
                let refusal = refusals::not_run(&run.order.script, why);
                actions.extend(self.refused(id, refusal, moment));
                actions.push(Action::Command { id, what: Command::Release { grace: Duration::ZERO } });
            }
        }
        actions
    }

    fn ordered(&mut self, id: RequestId, what: Command, outcome: Result<(), Refusal>, moment: Moment) -> Vec<Action> {
        let Some(life) = self.alive.get_mut(&id) else { return Vec::new() };
        match (what, outcome, &mut *life) {
            (Command::Define, Ok(()), Life::Defining { ticket }) => {
                *life = Life::Starting { ticket: Some(*ticket) };
                vec![Action::Command { id, what: Command::Start }]
            }
            (Command::Define | Command::Start, Err(refusal), Life::Defining { .. } | Life::Starting { .. }) => {
                let mut actions = self.refused(id, refusal, moment);
                actions.push(Action::Command { id, what: Command::Release { grace: Duration::ZERO } });
                actions
            }
            (Command::Release { .. }, Ok(()), Life::Ending { .. }) => self.gone(id, moment),
            // A lost keeper: the next meeting tells what became of it.
            (Command::Release { .. }, Err(_), _) | (Command::Define | Command::Start, _, _) => Vec::new(),
            (Command::Release { .. }, Ok(()), _) => Vec::new(),
        }
    }

    fn refused(&mut self, id: RequestId, refusal: Refusal, moment: Moment) -> Vec<Action> {
        let waiting = self.alive.get_mut(&id).and_then(Life::waiting);
        let mut actions = self.over(id, Status::Exception, refusal.to_string(), moment.unix_ms);
        actions.extend(waiting.map(|ticket| Action::Answer { ticket, answer: Err(refusal) }));
        actions
    }

    /// Everything of a run that was to end is gone.
    fn gone(&mut self, id: RequestId, moment: Moment) -> Vec<Action> {
        let Some(Life::Ending { status, why, tickets }) = self.alive.get(&id).cloned() else { return Vec::new() };
        let text = match (status, self.runs.get(&id), why) {
            (Status::TimedOut, Some(run), _) => {
                format!("Script execution ended: it ran longer than max-runtime, {} s", run.order.max_runtime_seconds)
            }
            (_, _, Some(why)) => format!("Script execution stopped on request: {why}"),
            _ => "Script execution stopped on request".to_owned(),
        };
        let mut actions = self.over(id, status, text, moment.unix_ms);
        actions.extend(tickets.into_iter().map(|ticket| Action::Answer { ticket, answer: Ok(id) }));
        actions
    }

    fn over(&mut self, id: RequestId, status: Status, text: String, unix_ms: u64) -> Vec<Action> {
        self.alive.remove(&id);
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        run.ended(status, text, unix_ms);
        let mut actions = vec![Action::Record { id }, Action::Told { id }];
        while self.runs.len() > KEPT_MAX {
            let Some(oldest) = self.runs.keys().find(|id| !self.alive.contains_key(id)).copied() else { break };
            actions.extend(self.runs.remove(&oldest).map(|run| Action::Forget { request: Box::new(run) }));
        }
        actions
    }
}

impl Life {
    /// Who still waits to hear that the run has begun; asked once.
    fn waiting(&mut self) -> Option<Ticket> {
        match self {
            Self::Defining { ticket } => Some(*ticket),
            Self::Starting { ticket } => ticket.take(),
            Self::Running { .. } | Self::Ending { .. } => None,
        }
    }
}

fn how_it_ended(exit: ExitStatus, error_lines: &[String]) -> (Status, String) {
    match exit {
        // What Python prints last of an exception that nobody caught stands at the left margin, behind its traceback.
        ExitStatus::Code(1) if error_lines.iter().any(|line| line.starts_with("  File \"")) => {
            let last = error_lines.last().map(String::as_str).unwrap_or_default();
            (Status::Exception, format!("Script execution ended by an exception: {last}"))
        }
        // What a script returns is its own; a command that it tried and that failed is told beside it.
        ExitStatus::Code(_) => match error_lines.iter().rev().find_map(|line| line.strip_prefix(FAILED_COMMAND)) {
            Some(command) => {
                (Status::Executed, format!("Script execution complete, though a command failed: {command}"))
            }
            None => (Status::Executed, "Script execution complete".to_owned()),
        },
        ExitStatus::Signal { number, .. } => (
            Status::Killed,
            format!("Script execution ended by {}", crate::container::machine::signal_in_words(number)),
        ),
        ExitStatus::Unknown => (Status::Killed, "Script execution ended; its exit status is not known".to_owned()),
        ExitStatus::NotSpawned => (Status::Exception, "The script could not be started".to_owned()),
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
