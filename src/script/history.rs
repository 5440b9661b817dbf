//! What happened to a script: rows in memory, lines on disk.
//!
//! The line format is this file's alone; whoever keeps lines knows them as bytes ([`HistoryLog`]).

use std::fmt;
use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::{ScriptKey, ScriptName, ScriptType};
use crate::checksum::Sha256;

/// Rows that are kept of one script.
pub const ROWS_PER_SCRIPT_MAX: usize = 100;

/// The `Last Action` vocabulary of the status tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    New,
    Modify,
    Delete,
}

impl Action {
    /// What the history says of something done to the repository's folder by hand.
    pub fn by_hand(self) -> &'static str {
        match self {
            Self::New | Self::Modify => "User action IN_CLOSE_WRITE",
            Self::Delete => "User action IN_DELETE",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "NEW",
            Self::Modify => "MODIFY",
            Self::Delete => "DELETE",
        })
    }
}

/// One line of a script's `History`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    pub action: Action,
    pub time: Timestamp,
    /// Of the file that came; none for a file that went.
    pub checksum: Option<Sha256>,
    pub description: String,
}

/// Keeps lines over restarts and power cuts. One line holds no line feed.
pub trait HistoryLog: Send {
    /// Adds lines at the end; they are on disk when this returns.
    fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;

    /// All lines, oldest first. A tail that a power cut tore off is left out.
    fn load(&mut self) -> io::Result<Vec<Vec<u8>>>;

    /// Puts `lines` in the place of all there are, wholly or not at all.
    fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;
}

/// A row as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    script_type: String,
    name: String,
    action: Action,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    checksum: Option<String>,
    description: String,
}

pub fn to_line(key: &ScriptKey, row: &HistoryRow) -> Vec<u8> {
    let line = Line {
        script_type: key.script_type.to_string(),
        name: key.name.to_string(),
        action: row.action,
        time: row.time.to_string(),
        checksum: row.checksum.map(|sum| sum.to_string()),
        description: row.description.clone(),
    };
    serde_json::to_vec(&line).expect("strings and numbers have a JSON form")
}

/// `None` for a line that is damaged or that another version wrote.
pub fn from_line(line: &[u8]) -> Option<(ScriptKey, HistoryRow)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let key = ScriptKey::new(ScriptType::parse(&line.script_type).ok()?, ScriptName::parse(&line.name).ok()?);
    let checksum = match line.checksum {
        Some(text) => Some(Sha256::parse(&text).ok()?),
        None => None,
    };
    let time = line.time.parse().ok()?;
    Some((key, HistoryRow { action: line.action, time, checksum, description: line.description }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_its_line() {
        let key = ScriptKey::new(ScriptType::Process, ScriptName::parse("x.py").unwrap());
        let row = HistoryRow {
            action: Action::New,
            time: "2021-08-20T05:03:41Z".parse().unwrap(),
            checksum: Some(Sha256::of(b"abc")),
            description: "two\nlines".to_owned(),
        };
        let line = to_line(&key, &row);
        assert!(!line.contains(&b'\n'));
        assert_eq!(from_line(&line), Some((key, row)));
    }

    #[test]
    fn a_damaged_line_is_no_row() {
        for line in ["", "{}", "{\"script_type\":\"process\"", "[1]"] {
            assert_eq!(from_line(line.as_bytes()), None, "{line}");
        }
    }
}
