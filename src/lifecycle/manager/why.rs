//! Why a process stands where it stands, and the one thing to do about it.

use super::{Clock, Manager, Order, Pending, Process, Verb};
use crate::lifecycle::definition::{Definition, ProcessName};
use crate::lifecycle::machine::{State, Step};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    pub text: String,
    /// What to type, where an operator can help.
    pub remedy: Option<String>,
}

impl Manager {
    pub fn why(&self, process: &Process, clock: Clock) -> Why {
        let name = &process.definition.name;
        let next = Self::next_definition(process);
        let said = |text: String, remedy: Option<String>| Why { text, remedy };
        let left = process.machine.deadline().map(|at| at.saturating_duration_since(clock.now).as_secs());
        let then = |what: &str| left.map(|seconds| format!("; in {seconds} s {what}")).unwrap_or_default();
        if !self.has_begun {
            return said("the keeper has not been met yet".to_owned(), None);
        }
        match process.machine.state() {
            State::Disabled => {
                let text = match process.ordered.as_ref().filter(|order| order.verb == Verb::Stop) {
                    Some(Order { by, at, .. }) => format!("it was stopped by {by} at {at}"),
                    None => "it was never started".to_owned(),
                };
                said(text, Some(format!("process start {name}")))
            }
            State::ShutDown => said("the system is shut down".to_owned(), None),
            State::ConfigurationMismatch => {
                let config = self.version(name).map_or_else(|| "none".to_owned(), |version| format!("`{version}`"));
                said(
                    format!("its software is of version `{}`, its configuration of {config}", next.version),
                    Some(format!("process set-version {name} {}", next.version)),
                )
            }
            State::ResourceRequired => {
                let missing = self.missing(process, clock);
                let all: Vec<String> = missing.iter().map(|it| format!("{} ({})", it.what, it.why)).collect();
                said(format!("it waits for {}", all.join(", ")), self.remedy_of_wait(next))
            }
            State::Testing { .. } => {
                said(format!("its configuration is being tested{}", then("the test is killed")), None)
            }
            State::ConfigurationTestFailed => {
                let lines: Vec<&str> = process.test_output.iter().map(|line| line.text.as_str()).collect();
                let what = if lines.is_empty() { "it printed nothing".to_owned() } else { lines.join(" | ") };
                let remedy = format!(
                    "mend its configuration: a change of a declared file is noticed, of another one not: process resync {name}"
                );
                said(format!("its configuration test failed: {what}"), Some(remedy))
            }
            State::Starting { .. } => match (&process.definition.status.pid, &process.last_failure) {
                (_, Some(trouble)) => said(trouble.clone(), None),
                (Some(path), None) => said(
                    format!(
                        "it was started; {} is to name its process{}",
                        path.display(),
                        then("nobody waits any more")
                    ),
                    None,
                ),
                (None, None) => said(format!("it is being started{}", then("that has failed")), None),
            },
            State::Running { .. } => match process.pending {
                Some(Pending::Replaced { .. }) => {
                    let (now, next) = (&process.definition.version, &next.version);
                    let text =
                        format!("it runs by a definition that has been replaced: version `{now}`, next is `{next}`");
                    said(text, Some(format!("process restart {name}")))
                }
                Some(Pending::Removed) => {
                    said("it runs though its definition is gone".to_owned(), Some(format!("process stop {name}")))
                }
                None => said("it runs".to_owned(), None),
            },
            State::Failed { retry_at } => {
                let seconds = retry_at.saturating_duration_since(clock.now).as_secs();
                let failure = process.last_failure.clone().unwrap_or_else(|| "it failed".to_owned());
                said(
                    format!("{failure}; failure {} in a row, next start in {seconds} s", process.machine.failures()),
                    Some(format!("process start {name}")),
                )
            }
            State::StoppingTest(_) => said("its configuration test is being ended for a restart".to_owned(), None),
            State::Stopping(ending) | State::ShuttingDown(ending) => {
                let alive = process.machine.alive();
                let what = match (alive.stop, alive.main) {
                    (true, true) => "the stop command and the process are",
                    (true, false) => "the stop command is",
                    (false, _) => "the process is",
                };
                let then = match ending.step {
                    Step::Command => then("SIGTERM follows"),
                    Step::Terminate => then("what is left is killed"),
                    Step::Kill => "; what is left is being killed".to_owned(),
                };
                said(format!("{what} yet to end{then}"), None)
            }
        }
    }

    /// The order that would bring something that is missing, where one would.
    fn remedy_of_wait(&self, definition: &Definition) -> Option<String> {
        let stopped: Vec<&str> = definition
            .needs()
            .filter(|name| self.processes.get(*name).is_some_and(|it| *it.machine.state() == State::Disabled))
            .map(ProcessName::as_str)
            .collect();
        (!stopped.is_empty()).then(|| format!("process start {}", stopped.join(" ")))
    }

    /// When a failed process is started again.
    pub fn next_retry(process: &Process, clock: Clock) -> Option<jiff::Timestamp> {
        let State::Failed { retry_at } = process.machine.state() else { return None };
        let ahead = retry_at.saturating_duration_since(clock.now);
        clock.at.checked_add(jiff::SignedDuration::try_from(ahead).ok()?).ok()
    }
}
