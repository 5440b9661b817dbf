//! One run on request, as values: what was asked, what happened to it, and how it is kept in the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::checksum::Sha256;
use crate::container::machine::ExitStatus;
use crate::container::scripts::LOGS;

/// `max-runtime` of a run that does not say (router default), and its range in the module.
pub const RUNTIME_SECONDS_DEFAULT: u32 = 300;

/// Counts on from the Unix time of the first run ever, as the router's do; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u32);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// On whose behalf a script runs: its NETCONF sessions have these rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub user: String,
    pub groups: Vec<String>,
}

/// How much the loggers of the script write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogLevel {
    Critical,
    Error,
    Warning,
    #[default]
    Info,
    Debug,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Critical, Self::Error, Self::Warning, Self::Info, Self::Debug];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(word))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// Where a run stands, in the words of the execution views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Scheduled,
    Started,
    /// It ended by itself, whatever it returned.
    Executed,
    /// It ended by an exception that it did not catch.
    Exception,
    /// Somebody asked for it.
    Stopped,
    /// It ran longer than it may.
    TimedOut,
    /// A signal ended it, or it was lost with the system.
    Killed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Started => "Started",
            Self::Executed => "Executed",
            Self::Exception => "Exception",
            Self::Stopped => "Stopped",
            Self::TimedOut => "Timed-out",
            Self::Killed => "Killed",
        }
    }
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub what: Status,
    pub unix_ms: u64,
    pub description: String,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The word of the script's type: `exec`.
    pub script_type: String,
    pub script: String,
    /// Committed when it was asked for: the bytes that run.
    pub sha256: Sha256,
    /// As typed.
    pub arguments: String,
    pub words: Vec<String>,
    pub description: Option<String>,
    pub log_level: LogLevel,
    pub max_runtime_seconds: u32,
    pub account: Account,
    /// Over the environment that every run has.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// Where its logs go if not to the folder of all logs: a folder of the harddisk, as it is named below that.
    #[serde(default)]
    pub log_path: Option<String>,
}

/// One run with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    pub order: Order,
    /// Oldest first.
    pub events: Vec<Event>,
    /// As the script returned it, or the negative number of the signal.
    pub return_value: Option<i32>,
    pub is_over: bool,
}

impl Request {
    pub fn new(id: RequestId, order: Order, now_ms: u64) -> Self {
        let description = match &order.description {
            Some(what_for) => format!("Script run scheduled: {what_for}"),
            None => "Script run scheduled".to_owned(),
        };
        let scheduled = Event { what: Status::Scheduled, unix_ms: now_ms, description };
        Self { id, order, events: vec![scheduled], return_value: None, is_over: false }
    }

    pub fn status(&self) -> Status {
        self.events.last().map_or(Status::Scheduled, |event| event.what)
    }

    pub fn asked_ms(&self) -> u64 {
        self.events.first().map_or(0, |event| event.unix_ms)
    }

    pub fn started_ms(&self) -> Option<u64> {
        self.events.iter().find(|event| event.what == Status::Started).map(|event| event.unix_ms)
    }

    /// How long it ran, or has run so far.
    pub fn ran_ms(&self, now_ms: u64) -> u64 {
        let end = if self.is_over { self.events.last().map_or(now_ms, |event| event.unix_ms) } else { now_ms };
        self.started_ms().map_or(0, |started| end.saturating_sub(started))
    }

    /// The folder of its logs, below the harddisk.
    pub fn log_folder(&self) -> String {
        let folder = self.order.log_path.as_deref().unwrap_or(LOGS);
        let own = format!("{}_{}_{}", self.order.script, self.order.script_type, self.id);
        if folder.is_empty() { own } else { format!("{folder}/{own}") }
    }

    pub(super) fn started(&mut self, pid: Option<i32>, unix_ms: u64) {
        let pid = pid.map(|pid| format!(" PID ({pid})")).unwrap_or_default();
        let description = format!("Script execution started.{pid}");
        self.events.push(Event { what: Status::Started, unix_ms, description });
    }

    pub(super) fn ended(&mut self, what: Status, description: String, unix_ms: u64) {
        self.events.push(Event { what, unix_ms, description });
        self.is_over = true;
    }
}

/// The views' number for an end: the exit code, or the signal below zero.
pub fn return_value(exit: ExitStatus) -> Option<i32> {
    match exit {
        ExitStatus::Code(code) => Some(code),
        ExitStatus::Signal { number, .. } => Some(-number),
        ExitStatus::Unknown | ExitStatus::NotSpawned => None,
    }
}
