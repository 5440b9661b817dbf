//! State of triggers, actions and policy maps: `/Cisco-IOS-XR-ha-eem-policy-oper:eem`.

use std::collections::BTreeMap;

use super::config::{Config, Policy};
use super::correlator::Correlator;
use crate::yang::value::Element;

pub(super) const ROOT: &str = "/Cisco-IOS-XR-ha-eem-policy-oper:eem";
const FRAME: &str = "Cisco-IOS-XR-ha-eem-policy-oper";
const OURS: &str = "Cisco-IOS-XR-event-manager-policy-map-oper";

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
) -> Element {
    let config = correlator.config();
    let children = vec![
        Element::node("action-names", actions(config, runs)).in_module(OURS),
        Element::node("event-trigger-names", triggers(correlator, unwatched)).in_module(OURS),
        Element::node("policy-map-names", policies(correlator)).in_module(OURS),
    ];
    Element::node("eem", children).in_module(FRAME)
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
            Element::leaf("checksum-enabled", "SHA256"),
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
        let status = match unwatched.get(name) {
            Some(why) => format!("inactive: {why}"),
            None => "active".to_owned(),
        };
        let leaves = [
            Some(Element::leaf("event-name", name)),
            Some(Element::leaf("event-status", status)),
            Some(Element::leaf("event-type", trigger.watches.kind())),
            Some(Element::leaf("event-occurrence", trigger.occurrence)),
            Element::leaf_if("event-period", trigger.period.map(|period| period.as_secs())),
            Element::leaf_if("rate-limit", trigger.rate_limit.map(|limit| limit.as_millis())),
            Some(Element::leaf("event-triggered-count", correlator.trigger_counts(name).counted)),
            Some(Element::leaf("event-policy-reg-count", policies.len())),
        ];
        let mut children: Vec<Element> = leaves.into_iter().flatten().collect();
        children.extend(named("event-policy-map", "policy-name", policies));
        Element::node("event-trigger-name", children)
    };
    config.triggers.iter().map(one).collect()
}

fn policies(correlator: &Correlator) -> Vec<Element> {
    let config = correlator.config();
    let one = |(name, policy): (&String, &Policy)| {
        let events: Vec<String> = policy.when.iter().flat_map(|when| when.events()).map(str::to_owned).collect();
        let leaves = [
            Some(Element::leaf("policy-name", name)),
            Some(Element::leaf("policy-status", status(config, policy, &events))),
            Some(Element::leaf("policy-occurrence", policy.occurrence)),
            Element::leaf_if("policy-period", policy.period.map(|period| period.as_secs())),
            Some(Element::leaf("policy-triggered-count", correlator.policy_counts(name).counted)),
            Some(Element::leaf("event-count", events.len())),
            Some(Element::leaf("action-count", policy.actions.len())),
            Some(Element::leaf("multi-event-policy", policy.joined.is_some())),
            Element::leaf_if("multi-event-string", policy.joined.as_ref()),
        ];
        let mut children: Vec<Element> = leaves.into_iter().flatten().collect();
        children.extend(named("policy-event-map", "event-name", &events));
        children.extend(named("policy-action-map", "action-name", &policy.actions));
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
}
