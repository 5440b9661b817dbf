//! Between the app manager's words and the keeper's: orders one way, container states and refusals the other.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use super::manager::{Activation, Order};
use super::observed::{LastExit, Observed, Phase};
use super::refusals;
use super::registration::AppName;
use super::view;
use crate::checksum::Sha256;
use crate::container::machine::ExitStatus;
use crate::container::scripts::{LOGS, Launch, Places};
use crate::container::spec::{ContainerName, ContainerSpec};
use crate::keeper::client::Keeper;
use crate::keeper::protocol::{self, ContainerState, Reason};
use crate::keeper::refusal::KeeperRefusal;
use crate::northbound::{Kind, Refusal};

/// The shelf of process scripts.
const SHELF: &str = "process";
/// How long a deactivation waits between SIGTERM and SIGKILL.
const RELEASE_GRACE: Duration = Duration::from_secs(10);

type Pending = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// The order as a future of the keeper's answer.
///
/// # Errors
/// What cannot even be asked: a name or a checksum that the keeper could not hold.
pub(super) fn carry_out(keeper: &Keeper, places: &Places, app: &AppName, order: &Order) -> Result<Pending, Refusal> {
    let name = container(app)?;
    let keeper = keeper.clone();
    Ok(match order {
        Order::Define { activation } => {
            let spec = spec(places, name, activation)?;
            Box::pin(async move { keeper.define(spec).await.map(drop).map_err(refusal) })
        }
        Order::Start { .. } => Box::pin(async move { keeper.start(name).await.map(drop).map_err(refusal) }),
        Order::Stop { .. } => Box::pin(async move { keeper.stop(name).await.map(drop).map_err(refusal) }),
        Order::Kill { .. } => Box::pin(async move { keeper.kill(name).await.map(drop).map_err(refusal) }),
        Order::Restart { .. } => Box::pin(async move { keeper.restart(name).await.map(drop).map_err(refusal) }),
        Order::Release => {
            Box::pin(async move {
                match keeper.release(name, RELEASE_GRACE).await {
                    // What is not there any more is released.
                    Ok(_) | Err(KeeperRefusal::NotDefined { .. }) => Ok(()),
                    Err(trouble) => Err(refusal(trouble)),
                }
            })
        }
        Order::SetExpected { sha256 } => {
            let sha256 = sha256.as_deref().map(|text| sum(app, text)).transpose()?;
            Box::pin(async move { keeper.set_expected(name, sha256).await.map(drop).map_err(refusal) })
        }
    })
}

pub(super) async fn tell_checksums(
    keeper: &Keeper,
    app: &AppName,
    sums: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let name = container(app)?;
    let sums: Vec<(String, Sha256)> = sums
        .iter()
        .filter_map(|(file, text)| Some((file.clone(), Sha256::parse(text).ok()?)))
        .take(protocol::CHECKSUMS_MAX)
        .collect();
    keeper.set_checksums(name, sums).await.map(drop).map_err(refusal)
}

fn container(app: &AppName) -> Result<ContainerName, Refusal> {
    ContainerName::parse(app.as_str()).map_err(|invalid| refusals::unusable(app, &invalid.to_string()))
}

fn sum(app: &AppName, text: &str) -> Result<Sha256, Refusal> {
    Sha256::parse(text).map_err(|invalid| refusals::unusable(app, &invalid.to_string()))
}

fn spec(places: &Places, name: ContainerName, activation: &Activation) -> Result<ContainerSpec, Refusal> {
    let registration = &activation.registration;
    let executable = registration.executable.as_deref().unwrap_or_default();
    let mut spec = places.spec(Launch {
        name,
        shelf: SHELF,
        script: executable,
        sha256: sum(&registration.name, &activation.sha256)?,
        args: registration.arguments(),
        log_folder: format!("{LOGS}/{}", view::log_folder(executable, &registration.name)),
        work: registration.name.as_str().to_owned(),
    });
    // What runs for good is limited by what is configured for it, and by nothing else.
    spec.rlimits.address_space_bytes = None;
    spec.provision.resources = registration.resources;
    spec.restart = registration.restart;
    spec.after = registration.after.iter().filter_map(|other| ContainerName::parse(other.as_str()).ok()).collect();
    Ok(spec)
}

/// The keeper's refusal in the app manager's terms.
fn refusal(trouble: KeeperRefusal) -> Refusal {
    let text = trouble.to_string();
    match trouble {
        KeeperRefusal::ChecksumDiffers { .. } => {
            Refusal::new(Kind::OperationFailed, format!("Checksum Mismatch: {text}")).tagged("checksum-mismatch")
        }
        _ => Refusal::new(Kind::OperationFailed, text),
    }
}

/// What the keeper tells of a container, as the app manager sees it.
pub(super) fn observed(state: &ContainerState) -> Observed {
    let pid = state.pid.unwrap_or_default();
    let phase = match state.phase {
        protocol::Phase::NotStarted => Phase::Defined,
        protocol::Phase::Starting => Phase::Starting,
        protocol::Phase::Running => Phase::Running { pid },
        protocol::Phase::StopRequested => Phase::StopRequested { pid },
        protocol::Phase::KillRequested => Phase::KillRequested { pid },
        protocol::Phase::Backoff => {
            Phase::Backoff { next_restart_unix_ms: state.next_restart_unix_ms.unwrap_or_default() }
        }
        protocol::Phase::Stopped => Phase::Stopped,
        protocol::Phase::Killed => Phase::Killed,
        protocol::Phase::ExitSuccess => Phase::Ended { success: true },
        protocol::Phase::ExitFailure => Phase::Ended { success: false },
        protocol::Phase::Mismatch => match &state.reason {
            Reason::ChecksumMismatch { expected, found } => {
                Phase::Mismatch { expected: expected.map(|sum| sum.to_string()), found: found.to_string() }
            }
            Reason::None
            | Reason::PolicyHolds
            | Reason::RetriesSpent { .. }
            | Reason::StartLimit { .. }
            | Reason::StartFailed { .. } => {
                Phase::Mismatch { expected: Some("another checksum".to_owned()), found: "one".to_owned() }
            }
        },
    };
    Observed {
        phase,
        run_id: state.run.map(|run| run.0),
        restarts: state.restarts,
        last_started_unix_ms: state.started_unix_ms,
        last_exit: state.last_exit.and_then(|exit| match exit {
            ExitStatus::Code(code) => Some(LastExit::Code(code)),
            ExitStatus::Signal { number, .. } => Some(LastExit::Signal(number)),
            ExitStatus::Unknown => Some(LastExit::Unknown),
            ExitStatus::NotSpawned => None,
        }),
        last_error_lines: state.error_lines.clone(),
        disk_differs: state.config_pending,
        why: match &state.reason {
            Reason::StartFailed { why } => Some(why.to_string()),
            Reason::None
            | Reason::PolicyHolds
            | Reason::RetriesSpent { .. }
            | Reason::StartLimit { .. }
            | Reason::ChecksumMismatch { .. } => None,
        },
    }
}
