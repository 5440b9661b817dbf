//! A definition as it is configured: every part may be absent, and then comes from the template, or from the house.

use std::collections::BTreeMap;
use std::time::Duration;

use super::console::{Connect, Console};
use crate::container::provision::{Readiness, WhenMissing};
use crate::container::rules::StartLimit;
use crate::container::spec::Survivors;
use crate::yang::value::Element;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    #[default]
    Always,
    OnFailure,
    UnlessErrored,
    UnlessStopped,
    Never,
    Oneshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    #[default]
    Restart,
    NextStart,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    pub owner: Option<String>,
    pub group: Option<String>,
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terminal {
    pub rows: Option<u16>,
    pub columns: Option<u16>,
}

/// What is said of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    pub file: Option<String>,
    pub stamp: Option<String>,
    pub bytes_max: Option<u64>,
    pub age_max: Option<Duration>,
    pub files_max: Option<u8>,
    pub compress: Option<bool>,
    pub forward: Option<Forward>,
}

/// Who gets the lines too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    Syslog { address: Option<String>, facility: Option<String> },
    Journal { socket: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definition {
    pub description: Option<String>,
    pub documentation: Vec<String>,
    pub groups: Vec<String>,
    pub command: Option<String>,
    pub connect: Option<Connect>,
    pub working_directory: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub primary_group: Option<String>,
    pub supplementary_groups: Vec<String>,
    pub umask: Option<u32>,
    pub nice: Option<i32>,
    pub new_privileges: Option<bool>,
    /// By the leaf's name.
    pub limits: BTreeMap<String, u64>,
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub directories: BTreeMap<String, Directory>,
    pub required_paths: BTreeMap<String, Option<WhenMissing>>,
    pub stop_signal: Option<i32>,
    pub stop_timeout: Option<Duration>,
    pub policy: Option<Policy>,
    pub max_retries: Option<u32>,
    pub holdoff: Option<Duration>,
    pub delays: Vec<Duration>,
    pub start_limit: Option<StartLimit>,
    pub readiness: Option<Readiness>,
    pub ready_timeout: Option<Duration>,
    pub watchdog: Option<Duration>,
    pub terminal: Option<Terminal>,
    pub log: Log,
    pub console: Console,
    pub after: Vec<String>,
    pub before: Vec<String>,
    pub start_at_boot: Option<bool>,
    pub on_change: Option<OnChange>,
    pub survivors: Option<Survivors>,
}

/// One entry of the list of containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    pub name: String,
    pub template: Option<String>,
    pub instance: Option<String>,
    pub definition: Definition,
}

impl Entry {
    pub fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            name: element.text_of("name")?.to_owned(),
            template: element.text_of("template").map(str::to_owned),
            instance: element.text_of("instance").map(str::to_owned),
            definition: Definition::from_element(element),
        })
    }
}

impl Definition {
    /// The schema has judged the values; one that cannot be read counts as absent.
    pub fn from_element(element: &Element) -> Self {
        let limits = element.child("limits").map(|limits| limits.children.as_slice()).unwrap_or_default();
        let within = |container: &str, leaf: &str| element.descend(&[container, leaf])?.text.clone();
        Self {
            description: text(element, "description"),
            documentation: texts(element, "documentation"),
            groups: texts(element, "group"),
            command: text(element, "command"),
            connect: element.child("connect").map(Connect::from_element),
            working_directory: text(element, "working-directory"),
            environment: element
                .children_named("environment")
                .filter_map(|entry| Some((text(entry, "name")?, text(entry, "value")?)))
                .collect(),
            user: text(element, "user"),
            primary_group: text(element, "primary-group"),
            supplementary_groups: texts(element, "supplementary-group"),
            umask: text(element, "umask").and_then(|mode| octal(&mode)),
            nice: number(element.text_of("nice")),
            new_privileges: number(element.text_of("new-privileges")),
            limits: limits
                .iter()
                .filter_map(|limit| Some((limit.name.clone().into_owned(), limit.text.as_ref()?.parse().ok()?)))
                .collect(),
            memory: number(within("resources", "memory").as_deref()),
            processes: number(within("resources", "processes").as_deref()),
            directories: element
                .children_named("directory")
                .filter_map(|entry| Some((text(entry, "path")?, directory(entry))))
                .collect(),
            required_paths: element
                .children_named("required-path")
                .filter_map(|entry| Some((text(entry, "path")?, when_missing(entry))))
                .collect(),
            stop_signal: within("stop", "signal").as_deref().and_then(signal_number),
            stop_timeout: within("stop", "timeout").as_deref().and_then(seconds),
            policy: within("restart", "policy").as_deref().and_then(policy),
            max_retries: number(within("restart", "max-retries").as_deref()),
            holdoff: within("restart", "holdoff").as_deref().and_then(seconds),
            delays: element
                .child("restart")
                .map(|restart| texts(restart, "delay"))
                .unwrap_or_default()
                .iter()
                .filter_map(|text| seconds(text))
                .collect(),
            start_limit: element.descend(&["restart", "start-limit"]).and_then(|limit| {
                Some(StartLimit {
                    starts: number(limit.text_of("starts"))?,
                    within: seconds(limit.text_of("within")?)?,
                })
            }),
            readiness: element.child("readiness").and_then(readiness),
            ready_timeout: within("readiness", "timeout").as_deref().and_then(seconds),
            watchdog: within("readiness", "watchdog").as_deref().and_then(seconds).filter(|every| !every.is_zero()),
            terminal: element.child("terminal").map(|terminal| Terminal {
                rows: number(terminal.text_of("rows")),
                columns: number(terminal.text_of("columns")),
            }),
            log: element.child("log").map(log).unwrap_or_default(),
            console: element.child("console").map(Console::from_element).unwrap_or_default(),
            after: texts(element, "after"),
            before: texts(element, "before"),
            start_at_boot: number(element.text_of("start-at-boot")),
            on_change: element.text_of("on-change").map(|text| match text {
                "next-start" => OnChange::NextStart,
                _ => OnChange::Restart,
            }),
            survivors: element.text_of("survivors").map(|text| match text {
                "adopt" => Survivors::Adopt,
                _ => Survivors::End,
            }),
        }
    }

    /// What is said here, and for the rest what `below` says.
    #[must_use]
    pub fn over(&self, below: &Definition) -> Definition {
        let own = self.clone();
        let list = |own: Vec<String>, below: &[String]| if own.is_empty() { below.to_vec() } else { own };
        Definition {
            description: own.description.or_else(|| below.description.clone()),
            documentation: list(own.documentation, &below.documentation),
            groups: list(own.groups, &below.groups),
            // What runs is said in one place: a container's own word, whichever it is, takes that of its template away.
            command: own.command.clone().or_else(|| below.command.clone().filter(|_| own.connect.is_none())),
            connect: own.connect.or_else(|| below.connect.clone().filter(|_| own.command.is_none())),
            working_directory: own.working_directory.or_else(|| below.working_directory.clone()),
            environment: merged(&below.environment, own.environment),
            user: own.user.or_else(|| below.user.clone()),
            primary_group: own.primary_group.or_else(|| below.primary_group.clone()),
            supplementary_groups: list(own.supplementary_groups, &below.supplementary_groups),
            umask: own.umask.or(below.umask),
            nice: own.nice.or(below.nice),
            new_privileges: own.new_privileges.or(below.new_privileges),
            limits: merged(&below.limits, own.limits),
            memory: own.memory.or(below.memory),
            processes: own.processes.or(below.processes),
            directories: merged(&below.directories, own.directories),
            required_paths: merged(&below.required_paths, own.required_paths),
            stop_signal: own.stop_signal.or(below.stop_signal),
            stop_timeout: own.stop_timeout.or(below.stop_timeout),
            policy: own.policy.or(below.policy),
            max_retries: own.max_retries.or(below.max_retries),
            holdoff: own.holdoff.or(below.holdoff),
            delays: if own.delays.is_empty() { below.delays.clone() } else { own.delays },
            start_limit: own.start_limit.or(below.start_limit),
            readiness: own.readiness.or(below.readiness),
            ready_timeout: own.ready_timeout.or(below.ready_timeout),
            watchdog: own.watchdog.or(below.watchdog),
            terminal: own.terminal.or(below.terminal),
            log: own.log.over(&below.log),
            console: own.console.over(&below.console),
            after: list(own.after, &below.after),
            before: list(own.before, &below.before),
            start_at_boot: own.start_at_boot.or(below.start_at_boot),
            on_change: own.on_change.or(below.on_change),
            survivors: own.survivors.or(below.survivors),
        }
    }
}

impl Log {
    fn over(self, below: &Self) -> Self {
        Self {
            file: self.file.or_else(|| below.file.clone()),
            stamp: self.stamp.or_else(|| below.stamp.clone()),
            bytes_max: self.bytes_max.or(below.bytes_max),
            age_max: self.age_max.or(below.age_max),
            files_max: self.files_max.or(below.files_max),
            compress: self.compress.or(below.compress),
            forward: self.forward.or_else(|| below.forward.clone()),
        }
    }
}

fn merged<V: Clone>(below: &BTreeMap<String, V>, own: BTreeMap<String, V>) -> BTreeMap<String, V> {
    let mut all = below.clone();
    all.extend(own);
    all
}

pub(super) fn text(element: &Element, leaf: &str) -> Option<String> {
    element.text_of(leaf).map(str::to_owned)
}

pub(super) fn texts(element: &Element, leaf: &str) -> Vec<String> {
    element.children_named(leaf).filter_map(|entry| entry.text.clone()).collect()
}

pub(super) fn number<N: std::str::FromStr>(text: Option<&str>) -> Option<N> {
    text?.parse().ok()
}

pub(super) fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok()
}

/// `1.5` as a time span; the schema has bounded it.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn policy(text: &str) -> Option<Policy> {
    Some(match text {
        "always" => Policy::Always,
        "on-failure" => Policy::OnFailure,
        "unless-errored" => Policy::UnlessErrored,
        "unless-stopped" => Policy::UnlessStopped,
        "never" => Policy::Never,
        "oneshot" => Policy::Oneshot,
        _ => return None,
    })
}

/// `TERM` as a number.
pub fn signal_number(name: &str) -> Option<i32> {
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

fn readiness(element: &Element) -> Option<Readiness> {
    const FIRST: i32 = 3;
    Some(match element.text_of("by")? {
        "notify" => Readiness::Notify,
        "newline" => Readiness::Newline { number: number(element.text_of("descriptor")).unwrap_or(FIRST) },
        _ => Readiness::WhenRunning,
    })
}

fn log(element: &Element) -> Log {
    Log {
        file: text(element, "file"),
        stamp: text(element, "stamp"),
        bytes_max: number(element.text_of("max-size")),
        age_max: number(element.text_of("max-age")).map(Duration::from_secs),
        files_max: number(element.text_of("keep")),
        compress: number(element.text_of("compress")),
        forward: forward(element),
    }
}

/// The schema allows one of them.
fn forward(element: &Element) -> Option<Forward> {
    let syslog = element.child("syslog");
    let syslog = syslog.map(|log| Forward::Syslog { address: text(log, "address"), facility: text(log, "facility") });
    let journal = || element.child("journal").map(|journal| Forward::Journal { socket: text(journal, "socket") });
    syslog.or_else(journal)
}

fn directory(element: &Element) -> Directory {
    Directory {
        owner: text(element, "owner"),
        group: text(element, "group"),
        mode: element.text_of("mode").and_then(octal),
    }
}

fn when_missing(element: &Element) -> Option<WhenMissing> {
    element.text_of("when-missing").map(|text| match text {
        "refuse" => WhenMissing::Refuse,
        _ => WhenMissing::Await,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_says_what_its_template_does_not() {
        let template = Definition::from_element(&Element::node(
            "template",
            vec![
                Element::leaf("command", "/bin/ioc %i"),
                Element::leaf("user", "iocuser"),
                Element::node("environment", vec![Element::leaf("name", "A"), Element::leaf("value", "1")]),
                Element::node("environment", vec![Element::leaf("name", "B"), Element::leaf("value", "2")]),
                Element::node("restart", vec![Element::leaf("holdoff", "15.0"), Element::leaf("policy", "on-failure")]),
            ],
        ));
        let own = Definition::from_element(&Element::node(
            "container",
            vec![
                Element::leaf("user", "other"),
                Element::node("environment", vec![Element::leaf("name", "B"), Element::leaf("value", "3")]),
                Element::node("restart", vec![Element::leaf("policy", "never")]),
            ],
        ));
        let both = own.over(&template);
        assert_eq!(both.command.as_deref(), Some("/bin/ioc %i"));
        assert_eq!(both.user.as_deref(), Some("other"));
        let environment: Vec<String> = both.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(environment, ["A=1", "B=3"]);
        assert_eq!((both.policy, both.holdoff), (Some(Policy::Never), Some(Duration::from_secs(15))));
    }

    #[test]
    fn signals_are_known_by_name() {
        assert_eq!((signal_number("TERM"), signal_number("WINCH")), (Some(15), Some(28)));
        assert_eq!(signal_number("NO"), None);
    }
}
