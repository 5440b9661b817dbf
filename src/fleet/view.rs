//! The operational view of containers: `/procyon-container:containers-state`, and the notification of a change.

use std::path::PathBuf;

use super::effect::Effect;
use super::manager::{Manager, Member};
use crate::container::machine::{ExitStatus, signal_in_words};
use crate::container::spec::ForwardTo;
use crate::keeper::exits::ExitRecord;
use crate::keeper::keeping::Keeping;
use crate::keeper::protocol::{self, Abilities, ContainerState, Phase, Reason};
use crate::yang::value::Element;

const MODULE: &str = "procyon-container";

/// How times are written; given from outside because a time zone is the host's.
pub struct Clock<'a> {
    pub time_of: &'a dyn Fn(u64) -> String,
}

/// What is asked of the keeper for one answer, beside what the manager knows.
#[derive(Debug, Default)]
pub struct Details {
    pub processes: Option<Vec<protocol::Member>>,
    pub exits: Vec<ExitRecord>,
    /// Only for one container at a time: they are long.
    pub with_lines: bool,
}

/// The word of `procyon-container` for where a container stands.
pub fn state(manager: &Manager, name: &str, member: &Member) -> &'static str {
    if !manager.is_connected() {
        return "unknown";
    }
    let Some(observed) = &member.observed else { return "not-started" };
    match observed.phase {
        Phase::NotStarted if !manager.waits_for(name).is_empty() => "waiting",
        Phase::NotStarted => "not-started",
        Phase::Starting if observed.waiting_for.is_some() => "waiting",
        Phase::Starting => "starting",
        Phase::Running if observed.ready => "running",
        Phase::Running => "starting",
        Phase::StopRequested | Phase::KillRequested => "stopping",
        Phase::Backoff => "restart-pending",
        Phase::Stopped => "stopped",
        Phase::Killed => "killed",
        Phase::ExitSuccess => "succeeded",
        Phase::ExitFailure | Phase::Mismatch => "failed",
    }
}

/// One sentence that says why, and what would change it; nothing when all is as wanted.
pub fn why(manager: &Manager, name: &str, member: &Member, clock: &Clock<'_>) -> Option<String> {
    if !manager.is_connected() {
        return Some("the keeper does not answer; what runs goes on".to_owned());
    }
    if let Some(trouble) = &member.trouble {
        return Some(trouble.clone());
    }
    let observed = member.observed.as_ref()?;
    let waiting = manager.waits_for(name);
    if !waiting.is_empty() {
        return Some(format!("starts when these are ready: {}", waiting.join(", ")));
    }
    let failed = match &observed.reason {
        Reason::StartFailed { why } => Some(why.to_string()),
        _ => None,
    };
    let last = observed.last_exit.map(|exit| exit.to_string()).unwrap_or_else(|| "ended".to_owned());
    match observed.phase {
        Phase::Starting => {
            observed.waiting_for.as_ref().map(|path| format!("starts when {} is there", path.display())).or(failed)
        }
        Phase::Running if !observed.ready => Some("runs, and has not said yet that it is ready".to_owned()),
        Phase::Running if observed.console_lost => {
            Some(format!("running, console lost: it has outlived its keeper; restart {name} makes it heard again"))
        }
        Phase::Running if observed.outdated => {
            Some(format!("runs as it was begun; its definition has changed since: restart {name} takes it up"))
        }
        Phase::Backoff => {
            let at = observed.next_restart_unix_ms.map(clock.time_of).unwrap_or_default();
            Some(format!("{}; starts again at {at}", failed.unwrap_or(last)))
        }
        Phase::StopRequested => Some("was asked to stop, and has not ended yet".to_owned()),
        Phase::ExitFailure => {
            let held = match &observed.reason {
                Reason::RetriesSpent { retries } => format!("all {retries} restarts are used"),
                Reason::StartLimit { starts, within } => {
                    format!("it was started {starts} times within {} s, which is its limit", within.as_secs())
                }
                _ => "its policy does not start it again".to_owned(),
            };
            Some(format!("{}; {held}: start {name} tries again", failed.unwrap_or(last)))
        }
        Phase::NotStarted
        | Phase::Running
        | Phase::KillRequested
        | Phase::Stopped
        | Phase::Killed
        | Phase::ExitSuccess
        | Phase::Mismatch => None,
    }
}

pub fn host(abilities: &Abilities) -> Element {
    let mut children = vec![Element::leaf("control-groups", abilities.no_groups.is_none())];
    children.extend(Element::leaf_if("why-not", abilities.no_groups.as_ref()));
    children.push(Element::leaf("limits-memory", abilities.can_limit_memory));
    children.push(Element::leaf("limits-processes", abilities.can_limit_processes));
    children.push(Element::leaf("limits-processor", abilities.can_limit_cpu));
    children.push(Element::leaf("confines-scripts", abilities.can_confine));
    let by = match abilities.kept.by {
        Keeping::Custodian => "custodian",
        Keeping::Systemd => "systemd",
        Keeping::Nobody => "nobody",
    };
    children.push(Element::leaf("kept-by", by));
    children.push(Element::leaf("not-kept", abilities.kept.refused));
    Element::node("host", children)
}

/// Who holds the containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub pid: i32,
    pub started_unix_ms: Option<u64>,
    pub folder: PathBuf,
}

pub fn server(server: &Server, clock: &Clock<'_>) -> Element {
    let mut children = vec![Element::leaf("pid", server.pid)];
    children.extend(Element::leaf_if("started", server.started_unix_ms.map(clock.time_of)));
    children.push(Element::leaf("directory", server.folder.display()));
    Element::node("server", children)
}

/// One entry of the list; `fresh` is what the keeper says this moment.
pub fn container(
    manager: &Manager,
    name: &str,
    member: &Member,
    fresh: Option<&ContainerState>,
    details: &Details,
    clock: &Clock<'_>,
) -> Element {
    let mut children = vec![Element::leaf("name", name)];
    if let Some(resolved) = &member.resolved {
        children.extend(Element::leaf_if("description", resolved.description.as_ref()));
        children.extend(resolved.documentation.iter().map(|text| Element::leaf("documentation", text)));
        children.push(Element::leaf("working-directory", resolved.spec.cwd.display()));
    }
    children.push(Element::leaf("state", state(manager, name, member)));
    children.extend(Element::leaf_if("why", why(manager, name, member, clock)));
    let observed = fresh.or(member.observed.as_ref());
    children.extend(Element::leaf_if("status-text", observed.and_then(|state| state.status_text.as_ref())));
    children.extend(manager.waits_for(name).into_iter().map(|other| Element::leaf("waiting-for", other)));
    if let Some(observed) = observed {
        children.extend(run(observed, clock));
    }
    let processes = details.processes.iter().flatten();
    children.extend(processes.map(|process| {
        Element::node(
            "process",
            vec![Element::leaf("pid", process.pid), Element::leaf("command", printable(&process.command))],
        )
    }));
    children.extend(details.exits.iter().map(|record| exit(record, details.with_lines, clock)));
    Element::node("container", children)
}

fn run(observed: &ContainerState, clock: &Clock<'_>) -> Vec<Element> {
    let mut children = Vec::new();
    children.extend(Element::leaf_if("waiting-for", observed.waiting_for.as_ref().map(|path| path.display())));
    children.extend(Element::leaf_if("pid", observed.pid));
    children.extend(Element::leaf_if("run-id", observed.run.map(|run| run.0)));
    children.extend(Element::leaf_if("started", observed.started_unix_ms.map(clock.time_of)));
    children.extend(Element::leaf_if("next-restart", observed.next_restart_unix_ms.map(clock.time_of)));
    children.push(Element::leaf("restarts", observed.restarts));
    children.push(Element::leaf("outdated", observed.outdated));
    children.push(Element::leaf("console-lost", observed.console_lost));
    children.push(Element::leaf("viewers", observed.viewers));
    children.push(Element::leaf("users", observed.viewers.saturating_sub(observed.loggers)));
    children.push(Element::leaf("loggers", observed.loggers));
    children.push(Element::leaf("input-bytes", observed.input_bytes));
    children.push(Element::leaf("output-bytes", observed.output_bytes));
    children.push(Element::leaf("log-bytes-lost", observed.log_bytes_dropped));
    if let Some(forward) = &observed.logs.forward {
        let leaf = match forward.to {
            ForwardTo::Host | ForwardTo::Udp(_) => "syslog-lines-lost",
            ForwardTo::Journal(_) => "journal-lines-lost",
        };
        children.push(Element::leaf(leaf, observed.forward_lost));
    }
    children.push(Element::leaf("log-directory", observed.logs.dir.display()));
    children.push(Element::leaf("log-file", observed.logs.output().display()));
    children
}

fn exit(record: &ExitRecord, with_lines: bool, clock: &Clock<'_>) -> Element {
    let mut children = vec![Element::leaf("run-id", record.run)];
    children.extend(u32::try_from(record.pid).ok().map(|pid| Element::leaf("pid", pid)));
    children.push(Element::leaf("started", (clock.time_of)(record.started_unix_ms)));
    children.push(Element::leaf("ended", (clock.time_of)(record.ended_unix_ms)));
    match record.status {
        ExitStatus::Code(code) => children.push(Element::leaf("code", code)),
        ExitStatus::Signal { number, .. } => children.push(Element::leaf("signal", signal_in_words(number))),
        ExitStatus::Unknown | ExitStatus::NotSpawned => {}
    }
    children.extend(Element::leaf_if("core", record.core.as_ref()));
    if let Some(usage) = record.usage {
        children.push(Element::leaf("user-time", usage.user_micros));
        children.push(Element::leaf("system-time", usage.system_micros));
        children.push(Element::leaf("resident-max", usage.resident_kib_max));
    }
    children.extend(Element::leaf_if("asked-by", record.asked.as_ref().map(|by| &by.who)));
    children.extend(Element::leaf_if("asked-from", record.asked.as_ref().map(|by| &by.from)));
    if with_lines {
        children.push(Element::leaf("last-lines", printable(&record.lines.join("\n"))));
    }
    Element::node("exit", children)
}

/// Without the characters that XML cannot carry: programs print what they like.
fn printable(text: &str) -> String {
    text.chars().filter(|next| !next.is_control() || matches!(next, '\n' | '\t')).collect()
}

/// What the configuration that was looked at last does.
#[derive(Debug, Clone, Default)]
pub struct LastCheck {
    pub touched: Vec<(String, Effect, Vec<&'static str>)>,
    pub untouched: usize,
}

pub fn last_check(check: &LastCheck) -> Element {
    let entry = |(name, effect, because): &(String, Effect, Vec<&'static str>)| {
        let mut children = vec![Element::leaf("name", name), Element::leaf("effect", effect.yang())];
        children.extend(because.iter().map(|part| Element::leaf("because", part)));
        Element::node("container", children)
    };
    let mut children: Vec<Element> = check.touched.iter().map(entry).collect();
    children.push(Element::leaf("untouched", check.untouched));
    Element::node("last-check", children)
}

pub fn top(children: Vec<Element>) -> Element {
    Element::node("containers-state", children).in_module(MODULE)
}

/// container-state-change.
pub fn change(
    manager: &Manager,
    name: &str,
    member: &Member,
    previous: Option<&'static str>,
    clock: &Clock<'_>,
) -> Element {
    let mut children = vec![Element::leaf("name", name)];
    children.extend(Element::leaf_if("previous-state", previous));
    children.push(Element::leaf("state", state(manager, name, member)));
    children.extend(Element::leaf_if("why", why(manager, name, member, clock).map(|why| printable(&why))));
    if let Some(observed) = &member.observed {
        children.extend(Element::leaf_if("pid", observed.pid));
        children.extend(Element::leaf_if("run-id", observed.run.map(|run| run.0)));
    }
    Element::node("container-state-change", children).in_module(MODULE)
}
