//! Between the runs' words and the keeper's: a run as a container, a container's state as what became of the run.

use super::requests::{Observed, Phase};
use super::run::{Request, RequestId};
use crate::container::machine::ExitStatus;
use crate::container::scripts::{Launch, Places};
use crate::container::spec::{ContainerName, ContainerSpec, Floor, InvalidName, RestartPolicy};
use crate::keeper::protocol::{self, ContainerState, Reason};

/// The processor's seconds may exceed those of the clock by a little where a script has several threads.
const CPU_SECONDS_OVER: u64 = 30;

pub(super) fn container(id: RequestId) -> Result<ContainerName, InvalidName> {
    ContainerName::on(Floor::Request, &id.to_string())
}

pub(super) fn request_id(name: &ContainerName) -> Option<RequestId> {
    name.local().parse().ok().map(RequestId)
}

pub(super) fn spec(places: &Places, name: ContainerName, run: &Request) -> ContainerSpec {
    let order = &run.order;
    let mut spec = places.spec(Launch {
        name,
        shelf: &order.script_type,
        script: &order.script,
        sha256: order.sha256,
        args: order.words.clone(),
        log_folder: run.log_folder(),
        // Runs of one script share a folder, so that what one leaves the next finds.
        work: format!("{}_{}", order.script, order.script_type),
    });
    spec.env.push(("PROCYON_LOG_LEVEL".to_owned(), order.log_level.as_str().to_owned()));
    spec.env.extend(order.environment.iter().cloned());
    spec.restart = RestartPolicy::Never;
    // The clock is watched by us; this holds while we are away.
    spec.rlimits.cpu_seconds = Some(u64::from(order.max_runtime_seconds) + CPU_SECONDS_OVER);
    spec
}

pub(super) fn observed(state: &ContainerState) -> Observed {
    let phase = match (&state.reason, state.phase) {
        (Reason::StartFailed { why }, _) => Phase::Refused { why: why.to_string() },
        (Reason::ChecksumMismatch { expected, found }, _) => Phase::Refused {
            why: match expected {
                Some(expected) => {
                    format!("Checksum Mismatch: it has sha256 {found}, the configuration says {expected}")
                }
                None => "no checksum is configured for it".to_owned(),
            },
        },
        (_, protocol::Phase::NotStarted | protocol::Phase::Starting | protocol::Phase::Backoff) => Phase::Waiting,
        (_, protocol::Phase::Running | protocol::Phase::StopRequested | protocol::Phase::KillRequested) => {
            Phase::Running { pid: state.pid }
        }
        (
            _,
            protocol::Phase::Stopped
            | protocol::Phase::Killed
            | protocol::Phase::ExitSuccess
            | protocol::Phase::ExitFailure
            | protocol::Phase::Mismatch,
        ) => Phase::Ended { exit: state.last_exit.unwrap_or(ExitStatus::Unknown) },
    };
    Observed {
        phase,
        started_unix_ms: state.started_unix_ms,
        ended_unix_ms: state.ended_unix_ms,
        error_lines: state.error_lines.clone(),
    }
}
