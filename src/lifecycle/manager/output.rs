//! What commands have printed, as lines and as the status messages that management clients know.

use std::fmt;

use jiff::Timestamp;

/// Stands in messages for what a test returned that was killed, or could not be run.
const NO_RETURN_CODE: i32 = -1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A line that a command has printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub stream: Stream,
    /// In its stream, from 1 on.
    pub number: usize,
    pub text: String,
}

impl Said {
    /// Error lines of which nobody knows how many there were before.
    pub fn errors(lines: impl IntoIterator<Item = String>) -> Vec<Self> {
        let numbered = lines.into_iter().enumerate();
        numbered.map(|(at, text)| Self { stream: Stream::Stderr, number: at + 1, text }).collect()
    }
}

/// As a status message.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        write!(f, "{stream}.msg-{}: {}", self.number, self.text)
    }
}

/// A configuration test that was run alone, and is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    pub at: Timestamp,
    /// What it returned, if it came to that.
    pub code: Option<i32>,
    pub output: Vec<Said>,
}

impl Trial {
    pub fn has_passed(&self) -> bool {
        self.code == Some(0)
    }

    /// As status messages. Who has asked for the test looks for the last of them.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let code = self.code.unwrap_or(NO_RETURN_CODE);
        self.output.iter().map(Said::to_string).chain([format!("return.code: {code}")])
    }
}
