//! What the keeper reports of an app's container, in the app manager's words.

/// Where the container's life is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Frozen and ready; nothing was started yet.
    Defined,
    /// The start was ordered; the process is not there yet.
    Starting,
    Running {
        pid: i32,
    },
    StopRequested {
        pid: i32,
    },
    KillRequested {
        pid: i32,
    },
    /// It ended and is started again at this time (Unix milliseconds).
    Backoff {
        next_restart_unix_ms: u64,
    },
    Stopped,
    Killed,
    /// It ended and stays so by policy.
    Ended {
        success: bool,
    },
    /// The script on disk is not the one whose checksum is configured, or none is: it was not run.
    Mismatch {
        expected: Option<String>,
        found: String,
    },
}

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastExit {
    Code(i32),
    Signal(i32),
    /// The exit status was lost: nobody was there to collect it. Policies count it as a failure.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub phase: Phase,
    pub run_id: Option<u32>,
    /// Automatic restarts since activation.
    pub restarts: u32,
    pub last_started_unix_ms: Option<u64>,
    pub last_exit: Option<LastExit>,
    /// The last lines the script wrote to its error stream before it ended.
    pub last_error_lines: Vec<String>,
    /// The file on disk is a committed version other than the frozen one.
    pub disk_differs: bool,
    /// What the keeper says of the state, where a state needs words.
    pub why: Option<String>,
}

impl Observed {
    /// A container that was just defined.
    pub fn defined() -> Self {
        Self {
            phase: Phase::Defined,
            run_id: None,
            restarts: 0,
            last_started_unix_ms: None,
            last_exit: None,
            last_error_lines: Vec::new(),
            disk_differs: false,
            why: None,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }
}
