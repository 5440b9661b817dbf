//! Processes as operational data, and their steps as notifications.

use std::collections::BTreeSet;

use super::manager::{Change, Clock, Line, Manager, Process};
use super::tree::{self, MODULE};
use crate::yang::value::Element;

/// `processes-state`; with `only` one process and nothing else.
pub fn state(manager: &Manager, only: Option<&str>, clock: Clock) -> Element {
    let processes = manager.processes().iter().filter(|(name, _)| only.is_none_or(|only| name.as_str() == only));
    let mut children: Vec<Element> =
        processes.map(|(_, process)| Element::node("process", entry(manager, process, clock))).collect();
    if only.is_none() {
        children.extend(manager.problems().iter().map(|(source, problem)| {
            let mut leaves = vec![Element::leaf("source", source)];
            leaves.extend(Element::leaf_if("line", problem.line));
            leaves.push(Element::leaf("reason", &problem.reason));
            Element::node("definition-problem", leaves)
        }));
        children.extend(manager.imdb().iter().map(|table| Element::leaf("registered-table", table)));
    }
    Element::node("processes-state", children).in_module(MODULE)
}

fn entry(manager: &Manager, process: &Process, clock: Clock) -> Vec<Element> {
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
    if state == super::machine::StateName::ResourceRequired {
        let mut seen = BTreeSet::new();
        let missing = manager.missing(process, clock).into_iter().filter(|it| seen.insert(it.what.clone()));
        children.extend(missing.map(|it| {
            Element::node("missing", vec![Element::leaf("resource", it.what), Element::leaf("why", it.why)])
        }));
    }
    children.extend(process.messages.iter().map(|line| Element::leaf("message", line)));
    children.extend(process.test_output.iter().map(|line| Element::leaf("test-output", line)));
    children.push(Element::node("definition", tree::definition(&process.definition)));
    children.extend(process.history.iter().map(|line| Element::node("transition", transition(line))));
    children
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
