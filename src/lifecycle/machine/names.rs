//! The names of states and of what leads from one to the next.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    Disabled,
    ShutDown,
    ConfigurationMismatch,
    ResourceRequired,
    Testing,
    ConfigurationTestFailed,
    Starting,
    Running,
    StoppingConfigtestToRestart,
    Stopping,
    ShuttingDown,
    Failed,
}

impl StateName {
    /// As programs know it.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::ShutDown => "ShutDown",
            Self::ConfigurationMismatch => "ConfigurationMismatch",
            Self::ResourceRequired => "ResourceRequired",
            Self::Testing => "Testing",
            Self::ConfigurationTestFailed => "ConfigurationTestFailed",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::StoppingConfigtestToRestart => "StoppingConfigtestToRestart",
            Self::Stopping => "Stopping",
            Self::ShuttingDown => "ShuttingDown",
            Self::Failed => "Failed",
        }
    }

    /// As people know it.
    pub fn display(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::ShutDown => "Enabled / Shut Down",
            Self::ConfigurationMismatch => "Configuration Mismatch",
            Self::ResourceRequired => "Resource Required",
            Self::Testing => "Testing",
            Self::ConfigurationTestFailed => "Invalid Configuration",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::StoppingConfigtestToRestart => "Stopping Configuration Test",
            Self::Stopping => "Stopping",
            Self::ShuttingDown => "Shutting Down",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.display())
    }
}

/// What leads from one state to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    StartCommand,
    StopCommand,
    RestartCommand,
    ShutdownCommand,
    SystemStart,
    VersionsMatched,
    VersionsDiffer,
    ResourcesReady,
    ResourceMissing,
    ConfigurationChange,
    Passed,
    Failed,
    TimeLimit,
    Started,
    Stopped,
    RetryTimeout,
    /// It ran already when the agent came.
    Adopted,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartCommand => "start command",
            Self::StopCommand => "stop command",
            Self::RestartCommand => "restart command",
            Self::ShutdownCommand => "shutdown command",
            Self::SystemStart => "system start",
            Self::VersionsMatched => "versions matched",
            Self::VersionsDiffer => "versions differ",
            Self::ResourcesReady => "resources ready",
            Self::ResourceMissing => "resource missing",
            Self::ConfigurationChange => "configuration change",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimeLimit => "time limit",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::RetryTimeout => "retry timeout",
            Self::Adopted => "adopted",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
