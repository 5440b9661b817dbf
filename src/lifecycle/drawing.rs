//! The state machine, drawn from the machine itself: every state it can be in is given every input, and what it does is
//! written down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::machine::{Cause, Conditions, Found, FoundMain, Input, Job, Limits, Machine, State, StateName, Transition};
use super::retry::Retry;

/// What of a machine decides where it goes next; the rest is times and counters.
type Essence = (StateName, bool, String);

/// Every transition there is.
pub fn transitions(begin: Instant) -> BTreeSet<(StateName, Cause, StateName)> {
    let mut found = BTreeSet::new();
    let mut seen: BTreeSet<Essence> = BTreeSet::new();
    let fresh = |enabled| Machine::new(enabled, Limits::default(), Retry::default());
    let mut todo: VecDeque<Machine> = [fresh(true), fresh(false)].into();
    while let Some(machine) = todo.pop_front() {
        for (input, conditions) in inputs(&machine) {
            let mut next = machine.clone();
            let now = machine.deadline().unwrap_or(begin).max(begin) + Duration::from_millis(1);
            let outcome = next.handle(input, conditions, now);
            // What is passed through at once is drawn as well: it is told and remembered like any other.
            found.extend(outcome.path.iter().map(|Transition { from, to, cause }| (*from, *cause, *to)));
            if seen.insert(essence(&next)) {
                todo.push_back(next);
            }
        }
    }
    found
}

fn essence(machine: &Machine) -> Essence {
    let within = match machine.state() {
        State::Testing { until, changed, is_repeated } => format!("{} {changed} {is_repeated}", until.is_some()),
        State::StoppingTest(ending) | State::Stopping(ending) | State::ShuttingDown(ending) => {
            format!("{:?} {:?} {}", ending.then, ending.step, ending.until.is_some())
        }
        _ => String::new(),
    };
    (machine.state().name(), machine.is_enabled(), format!("{within} {:?}", machine.alive()))
}

fn inputs(machine: &Machine) -> Vec<(Input, Conditions)> {
    let attempt = machine.attempt();
    let alive = machine.alive();
    let mut inputs = vec![
        Input::Start,
        Input::Stop,
        Input::Restart,
        Input::Shutdown,
        Input::SystemStart,
        Input::ConfigurationChanged,
        Input::ResourcesChanged,
        Input::Deadline,
    ];
    if alive.test {
        inputs.extend([true, false].map(|passed| Input::TestEnded { attempt, passed }));
        inputs.push(Input::Gone(Job::Test));
    }
    if alive.main {
        inputs.extend([
            Input::Started { attempt, pid: 1 },
            Input::StartFailed { attempt },
            Input::Exited { attempt },
            Input::Gone(Job::Main),
        ]);
    }
    if alive.stop {
        inputs.extend([true, false].map(|succeeded| Input::StopCommandEnded { succeeded }));
        inputs.push(Input::Gone(Job::Stop));
    }
    if attempt == 0 {
        for main in [None, Some(FoundMain::Running { pid: 1 }), Some(FoundMain::Ended)] {
            for (test, stop) in [(false, false), (true, false), (false, true)] {
                inputs.push(Input::Found(Found { test, stop, main }));
            }
        }
    }
    let conditions = [(true, true), (true, false), (false, true)]
        .map(|(versions_match, is_ready)| Conditions { versions_match, is_ready });
    inputs.into_iter().flat_map(|input| conditions.map(|conditions| (input, conditions))).collect()
}

/// What can happen in this state, and where it leads.
pub fn ways_out(of: StateName, begin: Instant) -> impl Iterator<Item = (Cause, StateName)> {
    static ALL: OnceLock<BTreeSet<(StateName, Cause, StateName)>> = OnceLock::new();
    let all = ALL.get_or_init(|| transitions(begin));
    all.iter().filter(move |(from, ..)| *from == of).map(|(_, cause, to)| (*cause, *to))
}

/// The drawing as a Mermaid state diagram.
pub fn diagram(begin: Instant) -> String {
    let mut arrows: BTreeMap<(StateName, StateName), BTreeSet<Cause>> = BTreeMap::new();
    for (from, cause, to) in transitions(begin) {
        arrows.entry((from, to)).or_default().insert(cause);
    }
    let mut text = String::from("stateDiagram-v2\n");
    let states: BTreeSet<StateName> = arrows.keys().flat_map(|(from, to)| [*from, *to]).collect();
    for state in states {
        let _ = writeln!(text, "    {} : {}", state.wire(), state.display());
    }
    for ((from, to), causes) in arrows {
        let causes: Vec<&str> = causes.into_iter().map(Cause::as_str).collect();
        let _ = writeln!(text, "    {} --> {} : {}", from.wire(), to.wire(), causes.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn some_instant() -> Instant {
        Instant::now()
    }

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lifecycle.md");

    #[test]
    fn the_drawing_in_the_docs_is_what_the_machine_does() {
        let drawn = diagram(some_instant());
        let page = std::fs::read_to_string(PAGE).unwrap();
        let shown = page.split("```mermaid\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
        assert_eq!(shown, drawn, "put this between the fences in {PAGE}:\n{drawn}");
    }

    #[test]
    fn every_path_of_the_simplified_drawing_is_there() {
        use StateName::*;
        let all = transitions(some_instant());
        for (from, cause, to) in [
            (Disabled, Cause::StartCommand, ConfigurationMismatch),
            (ShutDown, Cause::SystemStart, ConfigurationMismatch),
            (ConfigurationMismatch, Cause::VersionsMatched, ResourceRequired),
            (ResourceRequired, Cause::ResourcesReady, Testing),
            (Testing, Cause::Passed, Starting),
            (Starting, Cause::Started, Running),
            (Running, Cause::ShutdownCommand, ShuttingDown),
            (ShuttingDown, Cause::Stopped, ShutDown),
            (Testing, Cause::Failed, ConfigurationTestFailed),
            (Starting, Cause::Failed, Failed),
            (Running, Cause::Failed, Failed),
            (ConfigurationTestFailed, Cause::ConfigurationChange, Testing),
            (Failed, Cause::RetryTimeout, ConfigurationMismatch),
            (Running, Cause::RestartCommand, Stopping),
            (Stopping, Cause::Stopped, ConfigurationMismatch),
            (Running, Cause::StopCommand, Stopping),
            (Stopping, Cause::Stopped, Disabled),
        ] {
            assert!(all.contains(&(from, cause, to)), "{from} -- {cause} --> {to}");
        }
    }

    #[test]
    fn a_way_leads_to_every_state_and_out_of_it() {
        let all = transitions(some_instant());
        let left: BTreeSet<StateName> = all.iter().map(|(from, ..)| *from).collect();
        let reached: BTreeSet<StateName> = all.iter().map(|(.., to)| *to).collect();
        assert_eq!((left.len(), reached.len()), (12, 12));
    }
}
