//! What is configured below `/Cisco-IOS-XR-um-event-manager-cfg:event`, read once into values.
//!
//! A reference to what is not configured is no error: it may come with the next commit, and the state tells of it.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use croner::Cron;
use regex::Regex;

use super::expression::Expression;
use crate::checksum::Sha256;
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

pub(super) const ROOT: &str = "/Cisco-IOS-XR-um-event-manager-cfg:event";
const MODULE: &str = "Cisco-IOS-XR-um-event-manager-policy-map-cfg";
/// `maxrun` of an action that does not say (router default).
const RUN_SECONDS_DEFAULT: u32 = 20;
/// Policy maps that one trigger, or one action, may stand in (as on a router).
const POLICIES_OF_ONE_MAX: usize = 64;
/// A compiled pattern takes at most this.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

pub(super) const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    pub triggers: BTreeMap<String, Trigger>,
    pub actions: BTreeMap<String, ScriptAction>,
    pub policies: BTreeMap<String, Policy>,
    /// Tracked objects: each is up while this app runs.
    pub tracks: BTreeMap<String, String>,
    pub environment: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub(super) struct Trigger {
    /// The text it was read from: the same text is the same trigger.
    pub source: Element,
    pub occurrence: u32,
    pub period: Option<Duration>,
    pub rate_limit: Option<Duration>,
    pub watches: Watches,
}

#[derive(Debug, Clone)]
pub(super) enum Watches {
    /// `severities` has a bit for each that counts.
    Log {
        pattern: Regex,
        severities: u8,
    },
    Watchdog {
        every: Duration,
    },
    Cron {
        entry: Box<Cron>,
    },
    /// When the host has booted.
    Reboot,
    Track {
        name: String,
        up: bool,
        down: bool,
    },
    App {
        name: Option<String>,
        status: Option<String>,
    },
    Notification {
        name: String,
        pattern: Option<Regex>,
    },
    Alarm {
        alarm_type: Option<String>,
        resource: Option<String>,
        /// `cleared` too, or nothing for any.
        severity: Option<String>,
    },
    File {
        path: String,
    },
}

impl Watches {
    /// The word for it in the state, and in what a script learns.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Log { .. } => "syslog",
            Self::Watchdog { .. } | Self::Cron { .. } | Self::Reboot => "timer",
            Self::Track { .. } => "track",
            Self::App { .. } => "app",
            Self::Notification { .. } => "notification",
            Self::Alarm { .. } => "alarm",
            Self::File { .. } => "file",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScriptAction {
    pub script: String,
    pub max_run_seconds: u32,
    pub sha256: Sha256,
    pub username: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub occurrence: u32,
    pub period: Option<Duration>,
    /// Absent while none is configured.
    pub when: Option<Expression>,
    /// As it was written, for one that joins several.
    pub joined: Option<String>,
    pub actions: Vec<String>,
}

/// Reads everything; what cannot be read is left out and named.
pub(super) fn read(root: Option<&Element>) -> (Config, Vec<Refusal>) {
    let (mut config, mut refusals) = (Config::default(), Vec::new());
    let Some(manager) = root.and_then(|root| root.child("manager")) else { return (config, refusals) };
    let entries =
        |path: [&'static str; 2]| manager.child(path[0]).into_iter().flat_map(move |list| list.children_named(path[1]));
    for entry in entries(["event-trigger", "event"]) {
        take(entry, "event-name", "event-trigger/event", read_trigger(entry), &mut config.triggers, &mut refusals);
    }
    for entry in entries(["actions", "action"]) {
        if let Some(action) = read_action(entry).transpose() {
            take(entry, "action-name", "actions/action", action, &mut config.actions, &mut refusals);
        }
    }
    for entry in entries(["policy-maps", "policy-map"]) {
        take(
            entry,
            "policy-map-name",
            "policy-maps/policy-map",
            read_policy(entry),
            &mut config.policies,
            &mut refusals,
        );
    }
    for entry in entries(["tracks", "track"]) {
        if let (Some(name), Some(app)) = (entry.text_of("name"), entry.text_of("app")) {
            config.tracks.insert(name.to_owned(), app.to_owned());
        }
    }
    refusals.extend(overused(&config));
    let variables = manager.descend(&["environment", "global-variables"]);
    for entry in variables.into_iter().flat_map(|list| list.children_named("global-variable")) {
        if let (Some(name), Some(value)) = (entry.text_of("global-variable-name"), entry.text_of("value")) {
            match variable(name) {
                Ok(()) => config.environment.push((name.to_owned(), value.to_owned())),
                Err(why) => {
                    refusals.push(Refusal::new(Kind::InvalidValue, why).at(format!("{ROOT}/manager/environment")))
                }
            }
        }
    }
    (config, refusals)
}

/// One happening makes so many scripts run at most.
fn overused(config: &Config) -> Vec<Refusal> {
    let mut count: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for policy in config.policies.values() {
        let events = policy.when.iter().flat_map(Expression::events).map(|event| ("event-trigger", event));
        let actions = policy.actions.iter().map(|action| ("action", action.as_str()));
        for named in events.chain(actions) {
            *count.entry(named).or_default() += 1;
        }
    }
    let too_many = count.into_iter().filter(|(_, count)| *count > POLICIES_OF_ONE_MAX);
    let refusal = |((kind, name), count): ((&str, &str), usize)| {
        let why =
            format!("{kind} {name} stands in {count} policy maps; at most {POLICIES_OF_ONE_MAX} may name the same one");
        Refusal::new(Kind::InvalidValue, why).at(format!("{ROOT}/manager/{MODULE}:policy-maps"))
    };
    too_many.map(refusal).collect()
}

fn take<T>(
    entry: &Element,
    key: &str,
    list: &str,
    read: Result<T, (&'static str, String)>,
    into: &mut BTreeMap<String, T>,
    refusals: &mut Vec<Refusal>,
) {
    let name = entry.text_of(key).unwrap_or_default();
    match read {
        Ok(value) => drop(into.insert(name.to_owned(), value)),
        Err((leaf, why)) => {
            let quote = if name.contains('\'') { '"' } else { '\'' };
            let path = format!("{ROOT}/manager/{MODULE}:{list}[{key}={quote}{name}{quote}]/{leaf}");
            refusals.push(Refusal::new(Kind::InvalidValue, why).at(path));
        }
    }
}

fn variable(name: &str) -> Result<(), String> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    // What the loader, the C library and the interpreter take for orders would make a script run what nobody approved.
    let is_an_order = ["LD_", "PYTHON", "GCONV_", "GLIBC_"].iter().any(|prefix| name.starts_with(prefix));
    let is_ours = name.starts_with("PROCYON_") || matches!(name, "PATH" | "HOME" | "USER" | "LOGNAME" | "SHELL");
    if is_an_order {
        return Err(format!("`{name}` would change what the script runs, not what it reads; use another name"));
    }
    if !name.chars().all(is_word) || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!("`{name}` cannot be an environment variable: use letters, digits and `_`"));
    }
    if is_ours { Err(format!("`{name}` is set by the device itself; use another name")) } else { Ok(()) }
}

fn number(element: &Element, leaf: &str) -> Option<u64> {
    element.text_of(leaf)?.parse().ok()
}

fn read_trigger(entry: &Element) -> Result<Trigger, (&'static str, String)> {
    let seconds = |container: &str| entry.child(container).and_then(|inner| number(inner, "seconds"));
    let milliseconds = entry.child("rate-limit").and_then(|inner| number(inner, "milli-seconds"));
    let rate_limit = seconds("rate-limit").map(Duration::from_secs).or(milliseconds.map(Duration::from_millis));
    let kinds = entry.child("type").ok_or(("type", "an event trigger has a type".to_owned()))?;
    Ok(Trigger {
        source: entry.clone(),
        occurrence: number(entry, "occurrence").and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        period: seconds("period").map(Duration::from_secs),
        rate_limit,
        watches: read_watches(kinds)?,
    })
}

fn read_watches(kinds: &Element) -> Result<Watches, (&'static str, String)> {
    if let Some(syslog) = kinds.child("syslog") {
        let named = |name: &str| syslog.descend(&["severity", name]).is_some();
        let bits = SEVERITIES.iter().enumerate().filter(|(_, name)| named(name)).map(|(bit, _)| 1 << bit).sum::<u8>();
        let pattern =
            pattern(syslog.text_of("pattern").unwrap_or_default()).map_err(|why| ("type/syslog/pattern", why))?;
        return Ok(Watches::Log { pattern, severities: if bits == 0 { u8::MAX } else { bits } });
    }
    if let Some(watchdog) = kinds.descend(&["timer", "watchdog"]) {
        return Ok(Watches::Watchdog { every: Duration::from_secs(number(watchdog, "value").unwrap_or(10)) });
    }
    if let Some(text) = kinds.descend(&["timer", "cron"]).and_then(|cron| cron.text_of("cron-entry")) {
        let text = text.trim_matches('"').trim();
        if text == "@reboot" {
            return Ok(Watches::Reboot);
        }
        let entry = Cron::from_str(text).map_err(|error| {
            (
                "type/timer/cron/cron-entry",
                format!("`{text}` is no cron entry ({error}); write five fields, such as `*/5 * * * *`"),
            )
        })?;
        return Ok(Watches::Cron { entry: Box::new(entry) });
    }
    if let Some(track) = kinds.child("track") {
        let is = |edge: &str| track.descend(&["status", edge]).is_some();
        let name = track.text_of("name").unwrap_or_default().to_owned();
        return Ok(Watches::Track { name, up: is("up") || is("any"), down: is("down") || is("any") });
    }
    let owned = |element: &Element, leaf: &str| element.text_of(leaf).map(str::to_owned);
    if let Some(app) = kinds.child("app") {
        return Ok(Watches::App { name: owned(app, "name"), status: owned(app, "status") });
    }
    if let Some(notification) = kinds.child("notification") {
        let matching = notification.text_of("pattern").map(pattern).transpose();
        return Ok(Watches::Notification {
            name: owned(notification, "name").unwrap_or_default(),
            pattern: matching.map_err(|why| ("type/procyon-eem:notification/pattern", why))?,
        });
    }
    if let Some(alarm) = kinds.child("alarm") {
        let (alarm_type, resource) = (owned(alarm, "alarm-type"), owned(alarm, "resource"));
        return Ok(Watches::Alarm { alarm_type, resource, severity: owned(alarm, "severity") });
    }
    if let Some(file) = kinds.child("file") {
        return Ok(Watches::File { path: owned(file, "path").unwrap_or_default() });
    }
    Err(("type", "an event trigger has exactly one type".to_owned()))
}

fn pattern(text: &str) -> Result<Regex, String> {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    regex::RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| format!("`{text}` is no regular expression: {}", last_line(&error.to_string())))
}

/// The library draws the place in lines above; the last one says what it is.
fn last_line(text: &str) -> &str {
    let line = text.lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

fn read_action(entry: &Element) -> Result<Option<ScriptAction>, (&'static str, String)> {
    let Some(script) = entry.descend(&["type", "script"]) else { return Ok(None) };
    let text = script.child("checksum").and_then(|checksum| checksum.text_of("sha256")).unwrap_or_default();
    let sha256 = Sha256::parse(text).map_err(|error| ("type/script/checksum/sha256", error.to_string()))?;
    let seconds = script.child("maxrun").and_then(|maxrun| number(maxrun, "seconds"));
    Ok(Some(ScriptAction {
        script: script.text_of("script-name").unwrap_or_default().to_owned(),
        max_run_seconds: seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(RUN_SECONDS_DEFAULT),
        sha256,
        username: entry.text_of("username").unwrap_or_default().to_owned(),
    }))
}

fn read_policy(entry: &Element) -> Result<Policy, (&'static str, String)> {
    let trigger = entry.child("trigger");
    let joined = trigger.and_then(|trigger| trigger.text_of("multi-event"));
    let when = match (trigger.and_then(|trigger| trigger.text_of("event")), joined) {
        (Some(event), _) => Some(Expression::Event(event.to_owned())),
        (None, Some(text)) => Some(
            Expression::parse(text)
                .map_err(|bad| ("trigger/multi-event", format!("{text} is no expression: {bad}")))?,
        ),
        (None, None) => None,
    };
    let actions = entry.child("actions").into_iter().flat_map(|list| list.children_named("action"));
    Ok(Policy {
        occurrence: number(entry, "occurrence").and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        period: number(entry, "period").map(Duration::from_secs),
        when,
        joined: joined.map(|text| text.trim_matches('"').to_owned()),
        actions: actions.filter_map(|action| action.text_of("action-name").map(str::to_owned)).collect(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn leaf(name: &'static str, text: &str) -> Element {
        Element::leaf(name, text)
    }

    pub(in crate::eem) fn trigger(name: &str, kind: Element, more: Vec<Element>) -> Element {
        let mut children = vec![leaf("event-name", name), Element::node("type", vec![kind])];
        children.extend(more);
        Element::node("event", children)
    }

    pub(in crate::eem) fn log(pattern: &str) -> Element {
        Element::node("syslog", vec![leaf("pattern", pattern)])
    }

    pub(in crate::eem) fn policy(name: &str, trigger: Element, more: Vec<Element>) -> Element {
        let actions = Element::node("actions", vec![Element::node("action", vec![leaf("action-name", "act")])]);
        let mut children = vec![leaf("policy-map-name", name), Element::node("trigger", vec![trigger]), actions];
        children.extend(more);
        Element::node("policy-map", children)
    }

    pub(in crate::eem) fn tree(triggers: Vec<Element>, policies: Vec<Element>) -> Element {
        let script = Element::node(
            "script",
            vec![leaf("script-name", "a.py"), Element::node("checksum", vec![leaf("sha256", &"ab".repeat(32))])],
        );
        let action = Element::node(
            "action",
            vec![leaf("action-name", "act"), Element::node("type", vec![script]), leaf("username", "admin")],
        );
        let manager = vec![
            Element::node("event-trigger", triggers),
            Element::node("actions", vec![action]),
            Element::node("policy-maps", policies),
        ];
        Element::node("event", vec![Element::node("manager", manager)])
    }

    #[test]
    fn what_is_configured_becomes_values() {
        let severity = Element::node("severity", vec![Element::node("error", vec![]), Element::node("debug", vec![])]);
        let mut syslog = log("\"CPU .* high\"");
        syslog.children.push(severity);
        let triggers = vec![trigger("cpu", syslog, vec![leaf("occurrence", "3")])];
        let policies = vec![policy("both", leaf("multi-event", "\"cpu OR link\""), vec![leaf("period", "60")])];
        let (config, refusals) = read(Some(&tree(triggers, policies)));
        assert_eq!(refusals, []);
        let Watches::Log { pattern, severities } = &config.triggers["cpu"].watches else { panic!() };
        assert_eq!((pattern.as_str(), *severities, config.triggers["cpu"].occurrence), ("CPU .* high", 0b1000_1000, 3));
        assert_eq!(config.policies["both"].period, Some(Duration::from_secs(60)));
        assert_eq!(config.actions["act"].max_run_seconds, 20);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_path() {
        let cron = Element::node("timer", vec![Element::node("cron", vec![leaf("cron-entry", "61 * * *")])]);
        let triggers = vec![trigger("bad", log("(open"), vec![]), trigger("when", cron, vec![])];
        let policies = vec![policy("p", leaf("multi-event", "\"a AND\""), vec![])];
        let (config, refusals) = read(Some(&tree(triggers, policies)));
        assert!(config.triggers.is_empty() && config.policies.is_empty());
        let said: Vec<String> = refusals.iter().map(|refusal| refusal.message.clone()).collect();
        assert_eq!(said[0], "`(open` is no regular expression: unclosed group");
        assert!(said[1].starts_with("`61 * * *` is no cron entry"), "{}", said[1]);
        assert_eq!(said[2], "\"a AND\" is no expression: an event is missing at its end");
        assert!(
            refusals[0].path.as_deref().unwrap().ends_with("event-trigger/event[event-name='bad']/type/syslog/pattern")
        );
    }

    #[test]
    fn the_devices_own_variables_are_not_overwritten() {
        assert!(variable("SITE_NAME").is_ok());
        for bad in ["PATH", "PROCYON_NODE", "1A", "A-B", "LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "GCONV_PATH"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_trigger_does_not_stand_in_more_policy_maps_than_it_may() {
        let policies = |count: usize| {
            let all = (0..count).map(|number| policy(&format!("p{number}"), leaf("event", "cpu"), vec![]));
            read(Some(&tree(vec![trigger("cpu", log("x"), vec![])], all.collect()))).1
        };
        assert_eq!(policies(POLICIES_OF_ONE_MAX), []);
        let said: Vec<String> = policies(POLICIES_OF_ONE_MAX + 1).into_iter().map(|refusal| refusal.message).collect();
        assert_eq!(
            said,
            [
                "action act stands in 65 policy maps; at most 64 may name the same one",
                "event-trigger cpu stands in 65 policy maps; at most 64 may name the same one"
            ]
        );
    }
}
