//! What outlives the agent: a journal of what has become of alarms, one JSON value a line.

use serde::{Deserialize, Serialize};

use super::list::{Alarm, Change, Key, Operated};
use super::types::Severity;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// All of an alarm: what stands at the beginning of a journal that was written anew.
    Whole {
        key: Key,
        alarm: Alarm,
    },
    Changed {
        key: Key,
        change: Change,
        /// Where it lies from the beginning, if it is new.
        shelf: Option<String>,
        /// The severity that it was reported with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reported: Option<Severity>,
    },
    Operated {
        key: Key,
        operated: Operated,
        shelf: Option<String>,
    },
    Gone {
        keys: Vec<Key>,
    },
    Compressed {
        keys: Vec<Key>,
    },
}

impl Record {
    pub fn line(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}
