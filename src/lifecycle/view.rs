//! Processes as operational data, and their steps as notifications.

use std::collections::BTreeSet;

use super::drawing;
use super::machine::StateName;
use super::manager::{Change, Clock, Line, Manager, Pending, Process};
use super::tree::{self, MODULE};
use crate::northbound::filter::{Content, Selection};
use crate::northbound::wanted::Wanted;
use crate::yang::value::Element;

/// `processes-state`, without what the filter does not ask for.
pub fn state(manager: &Manager, selection: Option<&Selection>, clock: Clock) -> Element {
    let wanted = Wanted::new(selection);
    let mut children = Vec::new();
    if let Some(of_process) = wanted.within("process") {
        // Two selections of processes may ask for different leaves of each.
        let is_plain = selection.is_none_or(|it| within(it).iter().filter(|it| it.name == "process").count() < 2);
        let of_process = if is_plain { of_process } else { Wanted::ALL };
        let names = only_names(selection);
        let is_meant = |name: &str| names.as_ref().is_none_or(|names| names.contains(&name));
        let processes = manager.processes().iter().filter(|(name, _)| is_meant(name.as_str()));
        let entry = |process| Element::node("process", entry(manager, process, clock, &of_process));
        children.extend(processes.map(|(_, process)| entry(process)));
    }
    if wanted.has("definition-problem") {
        children.extend(manager.problems().iter().map(|(source, problem)| {
            let mut leaves = vec![Element::leaf("source", source)];
            leaves.extend(Element::leaf_if("line", problem.line));
            leaves.push(Element::leaf("reason", &problem.reason));
            Element::node("definition-problem", leaves)
        }));
    }
    if wanted.has("registered-table") {
        children.extend(manager.imdb().iter().map(|table| Element::leaf("registered-table", table)));
    }
    Element::node("processes-state", children).in_module(MODULE)
}

/// The processes that a filter asks for, if it asks for all of them by name.
fn only_names(selection: Option<&Selection>) -> Option<Vec<&str>> {
    let processes = within(selection?).iter().filter(|child| child.name == "process");
    let names = processes.map(|process| {
        within(process).iter().find_map(|leaf| match &leaf.content {
            Content::Match(name) if leaf.name == "name" => Some(name.as_str()),
            _ => None,
        })
    });
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

fn within(selection: &Selection) -> &[Selection] {
    match &selection.content {
        Content::Within(children) => children,
        Content::Selected | Content::Match(_) => &[],
    }
}

fn entry(manager: &Manager, process: &Process, clock: Clock, wanted: &Wanted<'_>) -> Vec<Element> {
    let state = process.machine.state().name();
    let why = manager.why(process, clock);
    let mut children = vec![
        Element::leaf("name", &process.definition.name),
        Element::leaf("state", state.wire()),
        Element::leaf("display-state", state.display()),
        Element::leaf("enabled", process.machine.is_enabled()),
        Element::leaf("since", process.since.at),
        Element::leaf("why", why.text),
    ];
    children.extend(Element::leaf_if("remedy", why.remedy));
    children.extend(Element::leaf_if("pid", process.pid()));
    children.push(Element::leaf("failures", process.machine.failures()));
    children.extend(Element::leaf_if("next-retry", Manager::next_retry(process, clock)));
    children.extend(Element::leaf_if("config-version", manager.version(&process.definition.name)));
    children.push(Element::leaf("source", &process.source));
    children.push(Element::leaf("definition-pending", process.pending.is_some()));
    if let Some(Pending::Replaced { definition, .. }) = &process.pending {
        children.push(Element::leaf("pending-version", &definition.version));
    }
    if state == StateName::ResourceRequired && wanted.has("missing") {
        let mut seen = BTreeSet::new();
        let missing = manager.missing(process, clock).into_iter().filter(|it| seen.insert(it.what.clone()));
        children.extend(missing.map(|it| {
            Element::node("missing", vec![Element::leaf("resource", it.what), Element::leaf("why", it.why)])
        }));
    }
    children.extend(process.messages.iter().map(|line| Element::leaf("message", line)));
    children.extend(process.test_output.iter().map(|line| Element::leaf("test-output", &line.text)));
    if let Some(trial) = &process.trial {
        children.push(Element::leaf("trial-time", trial.at));
        children.push(Element::leaf("trial-passed", trial.has_passed()));
        children.extend(trial.output.iter().map(|line| Element::leaf("trial-output", &line.text)));
        children.extend(trial.messages().map(|line| Element::leaf("trial-message", line)));
    }
    if wanted.has("definition") {
        children.push(Element::node("definition", tree::definition(&process.definition)));
    }
    if wanted.has("transition") {
        children.extend(process.history.iter().map(|line| Element::node("transition", transition(line))));
    }
    children
}

/// The output of process-why.
pub fn why(manager: &Manager, process: &Process, clock: Clock) -> Vec<Element> {
    let state = process.machine.state().name();
    let why = manager.why(process, clock);
    let mut leaves = vec![Element::leaf("state", state.wire()), Element::leaf("why", why.text)];
    leaves.extend(Element::leaf_if("remedy", why.remedy));
    if state == StateName::ResourceRequired {
        let missing = manager.missing(process, clock).into_iter();
        leaves.extend(missing.map(|it| Element::leaf("missing", format!("{}: {}", it.what, it.why))));
    }
    if state == StateName::ConfigurationTestFailed {
        leaves.extend(process.test_output.iter().map(|line| Element::leaf("test-output", &line.text)));
    }
    leaves.push(Element::leaf("failures", process.machine.failures()));
    leaves.extend(Element::leaf_if("last-failure", process.last_failure.as_ref()));
    leaves.extend(Element::leaf_if("next-retry", Manager::next_retry(process, clock)));
    leaves.extend(Element::leaf_if("last-order", process.ordered.as_ref()));
    let ways = drawing::ways_out(state, clock.now);
    leaves.extend(ways.map(|(cause, to)| Element::leaf("way-out", format!("{cause} -> {}", to.display()))));
    leaves
}

fn transition(line: &Line) -> Vec<Element> {
    let mut leaves = vec![
        Element::leaf("time", line.at),
        Element::leaf("from", line.from.wire()),
        Element::leaf("to", line.to.wire()),
        Element::leaf("cause", line.cause),
    ];
    leaves.extend(Element::leaf_if("why", line.why.as_ref()));
    leaves
}

/// process-state-change.
pub fn change(change: &Change) -> Element {
    let Change { name, at, from, to, cause, why } = change.clone();
    let mut children = vec![Element::leaf("name", name)];
    children.extend(transition(&Line { at, from, to, cause, why }));
    Element::node("process-state-change", children).in_module(MODULE)
}
