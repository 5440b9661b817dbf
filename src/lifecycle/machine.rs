//! The life of one process: when it may be tested, started, and what happens then. `docs/lifecycle.md` has the drawing,
//! which is made from this code.
//!
//! It decides; whoever drives it runs commands and reports what became of them. A report carries the attempt that it is
//! about, so one that an order has overtaken is recognised. Nothing is run twice at a time: before the way begins again,
//! everything of the last time is gone.

mod names;
mod turn;

use std::time::{Duration, Instant};

pub use self::names::{Cause, StateName};
use self::turn::Turn;
use super::retry::Retry;

/// How long each command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub configtest: Duration,
    /// From the start command to a process that runs.
    pub start: Duration,
    /// For the stop command and the end of the process, together.
    pub stop: Duration,
    /// Between SIGTERM and SIGKILL.
    pub kill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            configtest: Duration::from_secs(60),
            start: Duration::from_secs(60),
            stop: Duration::from_secs(120),
            kill: Duration::from_secs(10),
        }
    }
}

/// The commands of a process, each a thing that runs or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    Test,
    /// The start command and all that comes of it.
    Main,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alive {
    pub test: bool,
    pub main: bool,
    pub stop: bool,
}

impl Alive {
    pub fn any(self) -> bool {
        self.test || self.main || self.stop
    }

    fn slot(&mut self, job: Job) -> &mut bool {
        match job {
            Job::Test => &mut self.test,
            Job::Main => &mut self.main,
            Job::Stop => &mut self.stop,
        }
    }
}

/// What follows when everything has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Disabled,
    Check(Cause),
    ShutDown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The stop command was run: it and the process are to end.
    Command,
    Terminate,
    /// What is left is being killed, which always comes to an end.
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub then: Then,
    pub step: Step,
    pub until: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Disabled,
    /// Enabled, and not to run before the next start of the system.
    ShutDown,
    ConfigurationMismatch,
    ResourceRequired,
    Testing {
        /// `None`: the limit has passed and the test is being killed.
        until: Option<Instant>,
        /// Something was changed under the test: its verdict is not about what is there now.
        changed: bool,
        /// It was begun because of that, and is not begun so again.
        is_repeated: bool,
    },
    ConfigurationTestFailed,
    Starting {
        until: Instant,
    },
    Running {
        pid: i32,
        since: Instant,
    },
    Failed {
        retry_at: Instant,
    },
    StoppingTest(Ending),
    Stopping(Ending),
    ShuttingDown(Ending),
}

impl State {
    pub fn name(&self) -> StateName {
        match self {
            Self::Disabled => StateName::Disabled,
            Self::ShutDown => StateName::ShutDown,
            Self::ConfigurationMismatch => StateName::ConfigurationMismatch,
            Self::ResourceRequired => StateName::ResourceRequired,
            Self::Testing { .. } => StateName::Testing,
            Self::ConfigurationTestFailed => StateName::ConfigurationTestFailed,
            Self::Starting { .. } => StateName::Starting,
            Self::Running { .. } => StateName::Running,
            Self::Failed { .. } => StateName::Failed,
            Self::StoppingTest(_) => StateName::StoppingConfigtestToRestart,
            Self::Stopping(_) => StateName::Stopping,
            Self::ShuttingDown(_) => StateName::ShuttingDown,
        }
    }
}

/// What must hold before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    pub versions_match: bool,
    /// All required resources are there.
    pub is_ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Start,
    Stop,
    Restart,
    Shutdown,
    SystemStart,
    /// A declared resource was replaced, a version set, or the definition.
    ConfigurationChanged,
    /// Something that is waited for may be there now.
    ResourcesChanged,
    TestEnded {
        attempt: u64,
        passed: bool,
    },
    Started {
        attempt: u64,
        pid: i32,
    },
    StartFailed {
        attempt: u64,
    },
    /// The process has ended; what it left behind may not have.
    Exited {
        attempt: u64,
    },
    StopCommandEnded {
        succeeded: bool,
    },
    /// Nothing of the job is left.
    Gone(Job),
    /// What is there already when the agent comes.
    Found(Found),
    /// The [`Machine::deadline`] has come.
    Deadline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub test: bool,
    pub stop: bool,
    pub main: Option<FoundMain>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundMain {
    Running { pid: i32 },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    RunTest {
        attempt: u64,
    },
    RunStart {
        attempt: u64,
    },
    RunStop,
    /// SIGTERM to the process.
    Terminate,
    /// Kill whatever is left of the job; answered by [`Input::Gone`].
    Clear(Job),
    /// What the operator wants outlives us.
    Remember {
        enabled: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub from: StateName,
    pub to: StateName,
    pub cause: Cause,
}

/// What one input came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    pub path: Vec<Transition>,
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    enabled: bool,
    state: State,
    alive: Alive,
    attempt: u64,
    retry: Retry,
    limits: Limits,
}

impl Machine {
    pub fn new(enabled: bool, limits: Limits, retry: Retry) -> Self {
        let state = if enabled { State::ShutDown } else { State::Disabled };
        Self { enabled, state, alive: Alive::default(), attempt: 0, retry, limits }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the operator wants, whatever is the case.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub fn alive(&self) -> Alive {
        self.alive
    }

    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// In a row.
    pub fn failures(&self) -> u32 {
        self.retry.failures()
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    pub fn set_limits(&mut self, limits: Limits, delays: Vec<Duration>) {
        self.limits = limits;
        self.retry.set_delays(delays);
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Testing { until, .. } => *until,
            State::Starting { until } => Some(*until),
            State::Running { .. } => self.retry.steady_at(),
            // Not before what failed is gone.
            State::Failed { retry_at } => (!self.alive.any()).then_some(*retry_at),
            State::StoppingTest(ending) | State::Stopping(ending) | State::ShuttingDown(ending) => ending.until,
            State::Disabled
            | State::ShutDown
            | State::ConfigurationMismatch
            | State::ResourceRequired
            | State::ConfigurationTestFailed => None,
        }
    }

    pub fn handle(&mut self, input: Input, conditions: Conditions, now: Instant) -> Outcome {
        let mut turn = Turn { machine: self, conditions, now, outcome: Outcome::default() };
        turn.take(input);
        turn.outcome
    }
}
