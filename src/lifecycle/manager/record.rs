//! Orders of operators, and what is remembered over everything.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lifecycle::definition::ProcessName;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Start,
    Stop,
    Restart,
    /// Look again at version, resources and configuration, as after a change of them.
    Resync,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Resync => "resync",
        }
    }
}

/// What is remembered over everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    Desired {
        process: ProcessName,
        #[serde(flatten)]
        wish: Wish,
    },
    Version {
        process: ProcessName,
        version: String,
    },
    Imdb {
        table: String,
        is_registered: bool,
    },
}

/// Whether a process is wanted, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What somebody has ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub verb: Verb,
    pub by: String,
    pub at: Timestamp,
}

impl Order {
    /// The order that a wish came of.
    pub(super) fn of(wish: &Wish) -> Option<Self> {
        let verb = if wish.enabled { Verb::Start } else { Verb::Stop };
        Some(Self { verb, by: wish.by.clone()?, at: wish.at? })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} at {}", self.verb.as_str(), self.by, self.at)
    }
}
