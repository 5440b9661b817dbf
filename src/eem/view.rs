//! State of triggers, actions and policy maps: `/Cisco-IOS-XR-ha-eem-policy-oper:eem`.

use std::collections::BTreeMap;

use super::config::{Config, Policy, SEVERITIES, Trigger, Watches};
use super::correlator::Correlator;
use crate::clock::Moment;
use crate::yang::value::Element;

pub(super) const ROOT: &str = "/Cisco-IOS-XR-ha-eem-policy-oper:eem";
const FRAME: &str = "Cisco-IOS-XR-ha-eem-policy-oper";
const OURS: &str = "Cisco-IOS-XR-event-manager-policy-map-oper";

/// Scripts of actions run with one kind of checksum only.
const CHECKSUM: &str = "SHA256";

/// What became of an action.
#[derive(Debug, Clone, Default)]
pub(super) struct LastRun {
    pub count: u32,
    pub status: String,
}

pub(super) fn eem(
    correlator: &Correlator,
    runs: &BTreeMap<String, LastRun>,
    unwatched: &BTreeMap<String, String>,
    moment: Moment,
) -> Element {
    let config = correlator.config();
    let children = vec![
        Element::node("script-action-names", scripts(config)).in_module(OURS),
        Element::node("action-names", actions(config, runs)).in_module(OURS),
        Element::node("event-trigger-names", triggers(correlator, unwatched)).in_module(OURS),
        Element::node("policy-map-names", policies(correlator, unwatched, moment)).in_module(OURS),
    ];
    Element::node("eem", children).in_module(FRAME)
}

fn scripts(config: &Config) -> Vec<Element> {
    let mut by_script: BTreeMap<&str, Vec<Element>> = BTreeMap::new();
    for (name, action) in &config.actions {
        by_script.entry(&action.script).or_default().push(named_action(name, config));
    }
    let one = |(script, actions): (&str, Vec<Element>)| {
        let mut children = vec![Element::leaf("script-name", script)];
        children.extend(actions);
        Element::node("script-action-name", children)
    };
    by_script.into_iter().map(one).collect()
}

/// An action where something else names it; one that is not configured has no checksum.
fn named_action(name: &str, config: &Config) -> Element {
    let mut leaves = vec![Element::leaf("action-name", name)];
    leaves.extend(config.actions.contains_key(name).then(|| Element::leaf("checksum-enabled", CHECKSUM)));
    Element::node("policy-action-map", leaves)
}

fn actions(config: &Config, runs: &BTreeMap<String, LastRun>) -> Vec<Element> {
    let one = |(name, action): (&String, &super::config::ScriptAction)| {
        let policies: Vec<&String> = config
            .policies
            .iter()
            .filter(|(_, policy)| policy.actions.contains(name))
            .map(|(policy, _)| policy)
            .collect();
        let run = runs.get(name).cloned().unwrap_or_default();
        let mut children = vec![
            Element::leaf("action-name", name),
            Element::leaf("script-name", &action.script),
            Element::leaf("action-type", "script"),
            Element::leaf("triggered-count", run.count),
            Element::leaf("policy-count", policies.len()),
            Element::leaf("max-run", action.max_run_seconds),
            Element::leaf("checksum-enabled", CHECKSUM),
        ];
        if !run.status.is_empty() {
            children.push(Element::leaf("last-run-status", run.status));
        }
        children.push(Element::leaf("user-name", &action.username));
        children.push(Element::leaf("checksum-string", action.sha256));
        children.extend(named("action-policy-map", "policy-name", policies));
        Element::node("action-name", children)
    };
    config.actions.iter().map(one).collect()
}

fn triggers(correlator: &Correlator, unwatched: &BTreeMap<String, String>) -> Vec<Element> {
    let config = correlator.config();
    let one = |(name, trigger): (&String, &super::config::Trigger)| {
        let waits = |policy: &Policy| policy.when.as_ref().is_some_and(|when| when.events().contains(name.as_str()));
        let policies: Vec<&String> =
            config.policies.iter().filter(|(_, policy)| waits(policy)).map(|(policy, _)| policy).collect();
        let standing = correlator.trigger(name);
        let leaves = [
            Some(Element::leaf("event-name", name)),
            particulars(trigger),
            Some(Element::leaf("event-status", event_status(name, unwatched))),
            Some(Element::leaf("event-type", trigger.watches.kind())),
            Some(Element::leaf("eventesid", standing.number)),
            Some(Element::leaf("event-occurrence", trigger.occurrence)),
            Element::leaf_if("event-period", trigger.period.map(|period| period.as_secs())),
            Element::leaf_if("rate-limit", trigger.rate_limit.map(|limit| limit.as_millis())),
            Some(Element::leaf("event-triggered-count", standing.counted)),
            Some(Element::leaf("event-policy-reg-count", policies.len())),
        ];
        let mut children: Vec<Element> = leaves.into_iter().flatten().collect();
        children.extend(named("event-policy-map", "policy-name", policies));
        Element::node("event-trigger-name", children)
    };
    config.triggers.iter().map(one).collect()
}

fn event_status(event: &str, unwatched: &BTreeMap<String, String>) -> String {
    unwatched.get(event).map_or_else(|| "active".to_owned(), |why| format!("inactive: {why}"))
}

/// What a trigger watches for, in the terms of its type; those of our own are told by their configuration.
fn particulars(trigger: &Trigger) -> Option<Element> {
    let configured = |path: &[&str], leaf: &'static str, as_name: &'static str| {
        let from = trigger.source.child("type").and_then(|kinds| kinds.descend(path))?;
        from.text_of(leaf).map(|text| Element::leaf(as_name, text))
    };
    let (name, leaves) = match &trigger.watches {
        Watches::Log { severities, .. } => {
            let counts = |bit: usize| severities & (1 << bit) != 0;
            let named: Vec<&str> =
                SEVERITIES.iter().enumerate().filter(|(bit, _)| counts(*bit)).map(|(_, name)| *name).collect();
            let text = if *severities == u8::MAX { "all".to_owned() } else { named.join(" ") };
            let pattern = configured(&["syslog"], "pattern", "pattern");
            ("event-syslog-info", vec![pattern, Some(Element::leaf("severity", text))])
        }
        Watches::Watchdog { every } => {
            let inner = Element::node("wd-info", vec![Element::leaf("timer-value", every.as_secs())]);
            ("event-timer-info", vec![Some(inner), Some(Element::leaf("timer-type", "watchdog"))])
        }
        Watches::Cron { .. } | Watches::Reboot => {
            let entry = configured(&["timer", "cron"], "cron-entry", "cron-entry");
            let inner = Element::node("cron-info", entry.into_iter().collect());
            ("event-timer-info", vec![Some(inner), Some(Element::leaf("timer-type", "cron"))])
        }
        Watches::Track { name, up, down } => {
            let state = match (up, down) {
                (true, true) => "any",
                (true, false) => "up",
                (false, _) => "down",
            };
            let leaves = vec![Some(Element::leaf("track-name", name)), Some(Element::leaf("track-state", state))];
            ("event-track-info", leaves)
        }
        Watches::App { .. } | Watches::Notification { .. } | Watches::Alarm { .. } | Watches::File { .. } => {
            return None;
        }
    };
    Some(Element::node(name, leaves.into_iter().flatten().collect()))
}

fn policies(correlator: &Correlator, unwatched: &BTreeMap<String, String>, moment: Moment) -> Vec<Element> {
    let config = correlator.config();
    let one = |(name, policy): (&String, &Policy)| {
        let events: Vec<String> = policy.when.iter().flat_map(|when| when.events()).map(str::to_owned).collect();
        let standing = correlator.policy(name, moment);
        let leaves = [
            Some(Element::leaf("policy-name", name)),
            Some(Element::leaf("policy-status", status(config, policy, &events))),
            Some(Element::leaf("policy-occurrence", policy.occurrence)),
            Element::leaf_if("policy-period", policy.period.map(|period| period.as_secs())),
            Some(Element::leaf("policy-triggered-count", standing.acted)),
            Some(Element::leaf("event-count", events.len())),
            Some(Element::leaf("action-count", policy.actions.len())),
            Some(Element::leaf("multi-event-policy", policy.joined.is_some())),
            Element::leaf_if("multi-event-string", policy.joined.as_ref()),
            Some(Element::leaf("event-occurrence-count", standing.together)),
            Element::leaf_if("event-occurrence-reset-time", standing.forgets_in.map(|left| left.as_secs())),
        ];
        let mut children: Vec<Element> = leaves.into_iter().flatten().collect();
        let event = |event: &String| {
            let is_known = config.triggers.contains_key(event);
            let status = is_known.then(|| event_status(event, unwatched));
            let reset = standing.heard.get(event).copied().flatten();
            let leaves = [
                Some(Element::leaf("event-name", event)),
                Some(Element::leaf("event-status", status.unwrap_or_else(|| "inactive: not configured".to_owned()))),
                Some(Element::leaf("corr-status", standing.heard.contains_key(event))),
                Element::leaf_if("reset-time", reset.map(|left| left.as_secs())),
            ];
            Element::node("policy-event-map", leaves.into_iter().flatten().collect())
        };
        children.extend(events.iter().map(event));
        children.extend(policy.actions.iter().map(|action| named_action(action, config)));
        Element::node("policy-map-name", children)
    };
    config.policies.iter().map(one).collect()
}

/// Whether it can act; a name that nothing is configured for keeps it from it.
fn status(config: &Config, policy: &Policy, events: &[String]) -> String {
    let missing: Vec<String> = events
        .iter()
        .filter(|event| !config.triggers.contains_key(*event))
        .map(|event| format!("event-trigger {event}"))
        .chain(
            policy
                .actions
                .iter()
                .filter(|action| !config.actions.contains_key(*action))
                .map(|action| format!("action {action}")),
        )
        .collect();
    match (missing.is_empty(), policy.when.is_some(), policy.actions.is_empty()) {
        (false, _, _) => format!("inactive: {} not configured", missing.join(", ")),
        (true, false, _) => "inactive: it has no trigger".to_owned(),
        (true, true, true) => "inactive: it has no action".to_owned(),
        (true, true, false) => "active".to_owned(),
    }
}

fn named<'a>(list: &'static str, leaf: &'static str, names: impl IntoIterator<Item = &'a String>) -> Vec<Element> {
    names.into_iter().map(|name| Element::node(list, vec![Element::leaf(leaf, name)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eem::config::read;
    use crate::eem::config::tests::{log, policy, tree, trigger};

    #[test]
    fn what_is_missing_is_named() {
        let triggers = vec![trigger("cpu", log("x"), vec![])];
        let policies = vec![
            policy("good", Element::leaf("event", "cpu"), vec![]),
            policy("lost", Element::leaf("multi-event", "\"cpu AND link\""), vec![]),
        ];
        let (mut config, _) = read(Some(&tree(triggers, policies)));
        let said = |config: &Config, name: &str| {
            let policy = &config.policies[name];
            let events: Vec<String> = policy.when.iter().flat_map(|when| when.events()).map(str::to_owned).collect();
            status(config, policy, &events)
        };
        assert_eq!(said(&config, "good"), "active");
        assert_eq!(said(&config, "lost"), "inactive: event-trigger link not configured");
        config.actions.clear();
        assert_eq!(said(&config, "lost"), "inactive: event-trigger link, action act not configured");
    }

    fn node(name: &'static str, children: Vec<Element>) -> Element {
        Element::node(name, children)
    }

    fn leaf(name: &'static str, value: &str) -> Element {
        Element::leaf(name, value)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do to count from")]
    fn triggers_are_told_in_the_terms_of_their_type() {
        let mut severe = log("CPU .*high");
        severe.children.push(node("severity", vec![node("alert", vec![]), node("error", vec![])]));
        let timer = |kind: &'static str, value: Element| node("timer", vec![node(kind, vec![value])]);
        let status = node("status", vec![node("down", vec![])]);
        let triggers = vec![
            trigger("cpu", severe, vec![]),
            trigger("any", log("x"), vec![]),
            trigger("dog", timer("watchdog", leaf("value", "90")), vec![]),
            trigger("night", timer("cron", leaf("cron-entry", "0 3 * * *")), vec![]),
            trigger("boot", timer("cron", leaf("cron-entry", "@reboot")), vec![]),
            trigger("link", node("track", vec![leaf("name", "1"), status]), vec![]),
            trigger("ours", node("file", vec![leaf("path", "/x")]), vec![]),
        ];
        let moment = Moment { now: std::time::Instant::now(), unix_ms: 0 };
        let mut correlator = Correlator::default();
        correlator.configure(read(Some(&tree(triggers, vec![]))).0, moment);
        let all = eem(&correlator, &BTreeMap::new(), &BTreeMap::new(), moment);
        let told = |name: &str| {
            let mut entries = all.child("event-trigger-names").unwrap().children_named("event-trigger-name");
            let entry = entries.find(|entry| entry.text_of("event-name") == Some(name)).unwrap();
            let info = entry.children.iter().find(|child| child.name.ends_with("-info")).cloned();
            let mut texts = Vec::new();
            let mut waiting: Vec<&Element> = info.iter().collect();
            while let Some(element) = waiting.pop() {
                texts.extend(element.text.clone());
                waiting.extend(element.children.iter().rev());
            }
            texts.join("; ")
        };
        let told = ["cpu", "any", "dog", "night", "boot", "link", "ours"].map(told);
        assert_eq!(
            told,
            ["CPU .*high; alert error", "x; all", "90; watchdog", "0 3 * * *; cron", "@reboot; cron", "1; down", ""]
        );
        let script = all.descend(&["script-action-names", "script-action-name"]).unwrap();
        assert_eq!(script.text_of("script-name"), Some("a.py"));
        assert_eq!(script.descend(&["policy-action-map"]).unwrap().text_of("action-name"), Some("act"));
    }
}
