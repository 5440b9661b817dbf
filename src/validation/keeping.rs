//! Between the words of scripts that look at commits and the keeper's: a script as a container, and why one does not serve.

use super::config::{Kind, Script};
use crate::checksum::Sha256;
use crate::container::scripts::{LOGS, Launch, Places};
use crate::container::spec::{ContainerName, ContainerSpec, Floor, RestartPolicy};
use crate::keeper::protocol::{ContainerState, Phase, Reason};

/// The environment entry that has the launcher keep the script for looking at commits.
const JUDGE: &str = "PROCYON_JUDGE";

/// Another version of a script is another container: both may be there while one takes the other's place.
pub(super) fn container(script: &Script) -> Option<ContainerName> {
    ContainerName::on(Floor::Judge, &format!("{}@{}@{}", script.kind.as_str(), script.sha256, script.name)).ok()
}

pub(super) fn script_of(name: &ContainerName) -> Option<Script> {
    let (kind, rest) = name.local().split_once('@')?;
    let (sum, name) = rest.split_once('@')?;
    Some(Script { kind: Kind::parse(kind)?, name: name.to_owned(), sha256: Sha256::parse(sum).ok()? })
}

pub(super) fn spec(places: &Places, script: &Script) -> Option<ContainerSpec> {
    let shelf = script.kind.as_str();
    let mut spec = places.spec(Launch {
        name: container(script)?,
        shelf,
        script: &script.name,
        sha256: script.sha256,
        args: Vec::new(),
        log_folder: format!("{LOGS}/{}_{shelf}", script.name),
        work: format!("{}_{shelf}", script.name),
    });
    spec.env.push((JUDGE.to_owned(), shelf.to_owned()));
    spec.restart = RestartPolicy::Always;
    Some(spec)
}

/// Why it does not run, where it does not.
pub(super) fn trouble(state: &ContainerState) -> Option<Trouble> {
    let last_words = || {
        let lines = state.error_lines.join("\n");
        if lines.is_empty() { String::new() } else { format!(":\n{lines}") }
    };
    match (&state.reason, state.phase) {
        (Reason::StartFailed { why }, _) => Some(Trouble::ForGood(why.to_string())),
        (Reason::ChecksumMismatch { expected, found }, _) => {
            let wanted = expected.map_or_else(|| "none is configured".to_owned(), |sum| format!("{sum} is configured"));
            Some(Trouble::ForGood(format!("Checksum Mismatch: the file has sha256 {found}, {wanted}")))
        }
        (_, Phase::Backoff) => Some(Trouble::Restarting(format!("it ended, and is started again{}", last_words()))),
        (_, Phase::Stopped | Phase::Killed | Phase::ExitSuccess | Phase::ExitFailure | Phase::Mismatch) => {
            Some(Trouble::ForGood(format!("it ended{}", last_words())))
        }
        (_, Phase::NotStarted | Phase::Starting | Phase::Running | Phase::StopRequested | Phase::KillRequested) => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    Restarting(String),
    ForGood(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_container_tells_which_script_it_is() {
        let script = Script { kind: Kind::Config, name: "a@b.py".into(), sha256: Sha256::of(b"x") };
        assert_eq!(container(&script).as_ref().and_then(script_of), Some(script));
    }
}
