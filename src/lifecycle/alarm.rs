//! The alarms of processes: ids, severities and texts as the operators of such systems know them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmId {
    Restarted,
    Failed,
    ConfigtestFailed,
    ResourceRequired,
    ConfigMismatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Critical,
}

impl AlarmId {
    pub const ALL: [Self; 5] =
        [Self::Restarted, Self::Failed, Self::ConfigtestFailed, Self::ResourceRequired, Self::ConfigMismatch];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "PROCESS_RESTARTED",
            Self::Failed => "PROCESS_FAILED",
            Self::ConfigtestFailed => "PROCESS_CONFIGTEST_FAILED",
            Self::ResourceRequired => "PROCESS_RESOURCE_REQUIRED",
            Self::ConfigMismatch => "PROCESS_CONFIG_MISMATCH",
        }
    }

    /// The short code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Restarted => "SPX00002",
            Self::Failed => "SPX00004",
            Self::ConfigtestFailed => "SPX00030",
            Self::ResourceRequired => "SPX00031",
            Self::ConfigMismatch => "SPX00032",
        }
    }

    pub fn severity(self) -> Severity {
        match self {
            Self::Restarted | Self::ResourceRequired | Self::ConfigMismatch => Severity::Warning,
            Self::Failed | Self::ConfigtestFailed => Severity::Critical,
        }
    }

    /// What it means, without a particular process.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Restarted => "A process stopped unexpectedly and is started again.",
            Self::Failed => "A process stopped unexpectedly, and several starts in a row have failed.",
            Self::ConfigtestFailed => "The configuration test of a process failed: it is not started.",
            Self::ResourceRequired => "A process waits for resources that it requires.",
            Self::ConfigMismatch => "The configuration of a process is of another version than its software.",
        }
    }
}

impl fmt::Display for AlarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
