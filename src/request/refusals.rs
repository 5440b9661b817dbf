//! What is refused of a run, in the words an operator reads.

use super::run::{RequestId, Status};
use crate::northbound::{Kind, Refusal};

pub(super) fn keeper_away() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the keeper is not connected").mend("it is being restarted: try again")
}

pub(super) fn too_many(running_max: usize) -> Refusal {
    Refusal::new(Kind::ResourceDenied, format!("{running_max} scripts run on request, and no more may run at once"))
        .mend("wait for one, or `script stop REQUEST-ID`; `show script execution` lists them")
}

pub(super) fn unknown(id: RequestId) -> Refusal {
    Refusal::new(Kind::DataMissing, format!("there is no request {id}"))
        .mend("`show script execution` lists the requests")
}

pub(super) fn over(id: RequestId, status: Status) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("request {id} is over: {}", status.as_str()))
}

pub(super) fn stopped(id: RequestId) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("request {id} was stopped before it ran"))
}

pub(super) fn not_run(script: &str, why: &str) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("{script} was not run: {why}"))
}

pub(super) fn no_such_script(script: &str) -> Refusal {
    Refusal::new(Kind::DataMissing, format!("there is no exec script `{script}`"))
        .mend(format!("`script add exec SOURCE {script}`; `show script status` lists what is there"))
}

pub(super) fn no_checksum(script: &str, found: &str) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("no checksum is configured for exec script `{script}`"))
        .mend(format!("configure `script exec {script} checksum SHA256 {found}` and commit"))
        .tagged("config-checksum")
}

pub(super) fn mismatch(script: &str, expected: &str, found: &str) -> Refusal {
    Refusal::new(
        Kind::OperationFailed,
        format!("Checksum Mismatch: {script} has sha256 {found}, the configuration says {expected}"),
    )
    .mend(format!("put the right file back, or configure `script exec {script} checksum SHA256 {found}` and commit"))
    .tagged("checksum-mismatch")
}

pub(super) fn invalid(message: impl std::fmt::Display) -> Refusal {
    Refusal::new(Kind::InvalidValue, message.to_string())
}

pub(super) fn gone() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the agent is shutting down")
}
