//! What the app manager refuses, in the words an operator reads.

use super::observed::{Observed, Phase};
use super::registration::AppName;
use crate::northbound::{Kind, Refusal};

pub fn keeper_away() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the keeper is not connected").mend("it is being restarted: try again")
}

pub fn not_registered(name: &AppName) -> Refusal {
    Refusal::new(Kind::DataMissing, format!("app `{name}` is not registered"))
        .mend(format!("configure `appmgr process-script {name} executable FILE.py` and commit"))
}

pub fn not_activated(name: &AppName) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("app `{name}` is not activated"))
        .mend(format!("`appmgr process-script activate name {name}`"))
}

pub fn already_activated(name: &AppName, observed: &Observed) -> Refusal {
    let how = match observed.phase {
        Phase::Running { pid } => format!(" and runs as pid {pid}"),
        _ => String::new(),
    };
    Refusal::new(Kind::DataExists, format!("app `{name}` is already activated{how}"))
        .mend(format!("to take over changes, `appmgr process-script deactivate name {name}` first"))
}

pub fn busy(name: &AppName, doing: &str) -> Refusal {
    Refusal::new(Kind::InUse, format!("app `{name}` is {doing}")).mend("try again when that is done")
}

pub fn already_running(name: &AppName, pid: i32) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("app `{name}` already runs as pid {pid}"))
        .mend(format!("`appmgr process-script restart name {name}` starts it anew"))
}

pub fn not_running(name: &AppName) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("app `{name}` is not running"))
        .mend(format!("`appmgr process-script start name {name}` starts it"))
}

pub fn no_executable(name: &AppName) -> Refusal {
    Refusal::new(Kind::DataMissing, format!("app `{name}` has no executable"))
        .mend(format!("configure `appmgr process-script {name} executable FILE.py` and commit"))
}

pub fn executable_in_folder(name: &AppName, executable: &str) -> Refusal {
    Refusal::new(
        Kind::OperationFailed,
        format!(
            "executable `{executable}` of app `{name}` lies in a folder, and checksums are kept for file names only"
        ),
    )
    .mend("put the script on the process shelf itself and name the file")
}

pub fn no_checksum(executable: &str) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("no checksum is configured for script `{executable}`"))
        .mend(format!("configure `script process {executable} checksum SHA256 SUM` and commit"))
        .tagged("config-checksum")
}

/// The keeper could not even be asked.
pub fn unusable(name: &AppName, why: &str) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("app `{name}`: {why}"))
}

/// RFC-wise an operation-failed; the app-tag tells a program which.
pub fn mismatch(name: &AppName, script: &str, expected: &str, found: &str) -> Refusal {
    Refusal::new(
        Kind::OperationFailed,
        format!("Checksum Mismatch: app `{name}` was not started: {script} has sha256 {found}, the configuration says {expected}"),
    )
    .mend(format!("put the right file back, or configure `script process {script} checksum SHA256 {found}` and commit"))
    .tagged("checksum-mismatch")
}
