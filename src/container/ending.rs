//! How a process ended, and the words for it.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Code(i32),
    Signal {
        number: i32,
        core: bool,
    },
    /// Nobody could say; counts as a failure.
    Unknown,
    /// It never became a process; counts as a failure.
    NotSpawned,
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal { number, core } => {
                write!(f, "ended by {}{}", signal_in_words(*number), if *core { ", with a core" } else { "" })
            }
            Self::Unknown => f.write_str("ended, nobody knows how"),
            Self::NotSpawned => f.write_str("could not be started"),
        }
    }
}

/// `SIGKILL`, or `signal 64` for one without a name.
pub fn signal_in_words(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.to_string(),
        Err(_) => format!("signal {number}"),
    }
}

impl ExitStatus {
    /// `exit 1`, `SIGKILL`.
    pub fn in_words(self) -> String {
        match self {
            Self::Code(code) => format!("exit {code}"),
            Self::Signal { number, .. } => signal_in_words(number),
            Self::Unknown => "nobody knows how it ended".to_owned(),
            Self::NotSpawned => "it could not be started".to_owned(),
        }
    }

    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// From what `wait(2)` gives.
    pub fn from_raw(raw: i32) -> Self {
        match raw & 0x7f {
            0 => Self::Code((raw >> 8) & 0xff),
            number => Self::Signal { number, core: raw & 0x80 != 0 },
        }
    }
}
