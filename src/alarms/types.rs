//! What alarms there can be: the identities of `procyon-alarms`.

/// RFC 8632 severities, from least to most; `indeterminate` is not used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Warning,
    Minor,
    Major,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Warning, Self::Minor, Self::Major, Self::Critical];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmType {
    ProcessRestarted,
    ProcessFailed,
    ProcessConfigtestFailed,
    ProcessResourceRequired,
    ProcessConfigMismatch,
}

impl AlarmType {
    pub const ALL: [Self; 5] = [
        Self::ProcessRestarted,
        Self::ProcessFailed,
        Self::ProcessConfigtestFailed,
        Self::ProcessResourceRequired,
        Self::ProcessConfigMismatch,
    ];

    /// The identity, with its module.
    pub fn identity(self) -> &'static str {
        match self {
            Self::ProcessRestarted => "procyon-alarms:PROCESS_RESTARTED",
            Self::ProcessFailed => "procyon-alarms:PROCESS_FAILED",
            Self::ProcessConfigtestFailed => "procyon-alarms:PROCESS_CONFIGTEST_FAILED",
            Self::ProcessResourceRequired => "procyon-alarms:PROCESS_RESOURCE_REQUIRED",
            Self::ProcessConfigMismatch => "procyon-alarms:PROCESS_CONFIG_MISMATCH",
        }
    }

    pub fn parse(identity: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.identity() == identity)
    }

    pub fn severity(self) -> Severity {
        match self {
            Self::ProcessRestarted | Self::ProcessResourceRequired | Self::ProcessConfigMismatch => Severity::Warning,
            Self::ProcessFailed | Self::ProcessConfigtestFailed => Severity::Critical,
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::ProcessRestarted => "A process stopped unexpectedly and is started again.",
            Self::ProcessFailed => "A process stopped unexpectedly, and several starts in a row have failed.",
            Self::ProcessConfigtestFailed => "The configuration test of a process failed: it is not started.",
            Self::ProcessResourceRequired => "A process waits for resources that it requires.",
            Self::ProcessConfigMismatch => "The configuration of a process is of another version than its software.",
        }
    }
}
