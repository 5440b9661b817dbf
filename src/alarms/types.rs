//! What alarms there can be: the identities of `procyon-alarms`.

use serde::{Deserialize, Serialize};

/// RFC 8632 severities, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Indeterminate,
    Warning,
    Minor,
    Major,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 5] = [Self::Indeterminate, Self::Warning, Self::Minor, Self::Major, Self::Critical];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Indeterminate => "indeterminate",
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmType {
    ProcessRestarted,
    ProcessFailed,
    ProcessConfigtestFailed,
    ProcessResourceRequired,
    ProcessConfigMismatch,
    ScriptChecksumMismatch,
    KeeperLost,
    CustodianLost,
    ConserverListenerClosed,
    /// By another program.
    Reported,
}

impl AlarmType {
    pub const ALL: [Self; 10] = [
        Self::ProcessRestarted,
        Self::ProcessFailed,
        Self::ProcessConfigtestFailed,
        Self::ProcessResourceRequired,
        Self::ProcessConfigMismatch,
        Self::ScriptChecksumMismatch,
        Self::KeeperLost,
        Self::CustodianLost,
        Self::ConserverListenerClosed,
        Self::Reported,
    ];

    /// The identity, with its module.
    pub fn identity(self) -> &'static str {
        match self {
            Self::ProcessRestarted => "procyon-alarms:PROCESS_RESTARTED",
            Self::ProcessFailed => "procyon-alarms:PROCESS_FAILED",
            Self::ProcessConfigtestFailed => "procyon-alarms:PROCESS_CONFIGTEST_FAILED",
            Self::ProcessResourceRequired => "procyon-alarms:PROCESS_RESOURCE_REQUIRED",
            Self::ProcessConfigMismatch => "procyon-alarms:PROCESS_CONFIG_MISMATCH",
            Self::ScriptChecksumMismatch => "procyon-alarms:SCRIPT_CHECKSUM_MISMATCH",
            Self::KeeperLost => "procyon-alarms:KEEPER_LOST",
            Self::CustodianLost => "procyon-alarms:CUSTODIAN_LOST",
            Self::ConserverListenerClosed => "procyon-alarms:CONSERVER_LISTENER_CLOSED",
            Self::Reported => "procyon-alarms:REPORTED",
        }
    }

    pub fn parse(identity: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.identity() == identity)
    }

    pub fn severity(self) -> Severity {
        match self {
            Self::ProcessRestarted | Self::ProcessResourceRequired | Self::ProcessConfigMismatch | Self::Reported => {
                Severity::Warning
            }
            Self::ScriptChecksumMismatch | Self::CustodianLost | Self::ConserverListenerClosed => Severity::Major,
            Self::ProcessFailed | Self::ProcessConfigtestFailed | Self::KeeperLost => Severity::Critical,
        }
    }

    /// What it can be about, as a regular expression.
    pub fn resources(self) -> &'static str {
        match self {
            Self::ProcessRestarted
            | Self::ProcessFailed
            | Self::ProcessConfigtestFailed
            | Self::ProcessResourceRequired
            | Self::ProcessConfigMismatch => "process .*",
            Self::ScriptChecksumMismatch => "script .*",
            Self::KeeperLost => "keeper",
            Self::CustodianLost => "custodian",
            Self::ConserverListenerClosed => "conserver-listener",
            Self::Reported => ".*",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::ProcessRestarted => "A process stopped unexpectedly and is started again.",
            Self::ProcessFailed => "A process stopped unexpectedly, and several starts in a row have failed.",
            Self::ProcessConfigtestFailed => "The configuration test of a process failed: it is not started.",
            Self::ProcessResourceRequired => "A process waits for resources that it requires.",
            Self::ProcessConfigMismatch => "The configuration of a process is of another version than its software.",
            Self::ScriptChecksumMismatch => "A script is not what was approved: it does not run.",
            Self::KeeperLost => "The keeper does not answer: what runs goes on, and nothing is started or restarted.",
            Self::CustodianLost => "The custodian is gone: nothing restarts agent and keeper when they die.",
            Self::ConserverListenerClosed => "The port for conserver's clients cannot be opened: they are refused.",
            Self::Reported => "Another program has reported something, which it calls by the qualifier.",
        }
    }
}
