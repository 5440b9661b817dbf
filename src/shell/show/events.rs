//! `show event manager`: triggers, actions and policy maps, as tables, or one after the other with all that is known.

use std::fmt::Write as _;

use super::super::command::Matched;
use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table};

pub(super) const EVENTS: &str = r#"<eem xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-ha-eem-policy-oper"/>"#;

/// One kind of entries: where they stand, and what is shown of each.
struct Kind {
    container: &'static str,
    list: &'static str,
    /// Column and leaf; the first one is the name.
    columns: &'static [(&'static str, &'static str)],
    /// The same for the long form, before what the entry is joined with; a leaf may stand further down.
    facts: &'static [(&'static str, &'static str)],
    /// What it is joined with: title, list, leaf.
    joined: &'static [(&'static str, &'static str, &'static str)],
}

const POLICIES: Kind = Kind {
    container: "policy-map-names",
    list: "policy-map-name",
    columns: &[
        ("Policy Map", "policy-name"),
        ("Status", "policy-status"),
        ("Triggered", "policy-triggered-count"),
        ("Events", "event-count"),
        ("Actions", "action-count"),
    ],
    facts: &[
        ("Policy map name", "policy-name"),
        ("Status", "policy-status"),
        ("Occurrence", "policy-occurrence"),
        ("Period (seconds)", "policy-period"),
        ("Triggered count", "policy-triggered-count"),
        ("Multi-event", "multi-event-string"),
    ],
    joined: &[("Event", "policy-event-map", "event-name"), ("Action", "policy-action-map", "action-name")],
};

const ACTIONS: Kind = Kind {
    container: "action-names",
    list: "action-name",
    columns: &[
        ("Action", "action-name"),
        ("Script", "script-name"),
        ("User", "user-name"),
        ("Triggered", "triggered-count"),
        ("Last Run", "last-run-status"),
    ],
    facts: &[
        ("Action name", "action-name"),
        ("Action type", "action-type"),
        ("Script name", "script-name"),
        ("Checksum", "checksum-string"),
        ("Username", "user-name"),
        ("Maxrun (seconds)", "max-run"),
        ("Triggered count", "triggered-count"),
        ("Last run status", "last-run-status"),
    ],
    joined: &[("Policy map", "action-policy-map", "policy-name")],
};

const TRIGGERS: Kind = Kind {
    container: "event-trigger-names",
    list: "event-trigger-name",
    columns: &[
        ("Event", "event-name"),
        ("Type", "event-type"),
        ("Status", "event-status"),
        ("Triggered", "event-triggered-count"),
        ("Policy Maps", "event-policy-reg-count"),
    ],
    facts: &[
        ("Event name", "event-name"),
        ("Event type", "event-type"),
        ("Pattern", "event-syslog-info/pattern"),
        ("Severity", "event-syslog-info/severity"),
        ("Timer type", "event-timer-info/timer-type"),
        ("Cron entry", "event-timer-info/cron-info/cron-entry"),
        ("Timer value (seconds)", "event-timer-info/wd-info/timer-value"),
        ("Track name", "event-track-info/track-name"),
        ("Track status", "event-track-info/track-state"),
        ("Status", "event-status"),
        ("Occurrence", "event-occurrence"),
        ("Period (seconds)", "event-period"),
        ("Rate limit (milliseconds)", "rate-limit"),
        ("Triggered count", "event-triggered-count"),
    ],
    joined: &[("Policy map", "event-policy-map", "policy-name")],
};

pub(super) fn render(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let kind = if matched.has("action") {
        &ACTIONS
    } else if matched.has("event-trigger") {
        &TRIGGERS
    } else {
        &POLICIES
    };
    let mut entries = all(grammar, descend(grammar, items, &["eem", kind.container]), kind.list);
    let named = matched.get("EVENT-NAME");
    if let Some(name) = named {
        entries.retain(|entry| entry.text(grammar, kind.columns[0].1) == Some(name));
        if entries.is_empty() {
            return format!("% There is no {} of the name {name}\n", kind.columns[0].0.to_lowercase());
        }
    }
    if matched.has("detail") || named.is_some() {
        return entries.iter().map(|entry| details(entry, kind, grammar)).collect::<Vec<_>>().join("\n");
    }
    let text = |entry: &Item, leaf: &str| entry.text(grammar, leaf).unwrap_or("-").to_owned();
    let rows: Vec<Vec<String>> =
        entries.iter().map(|entry| kind.columns.iter().map(|(_, leaf)| text(entry, leaf)).collect()).collect();
    let headers: Vec<(&str, usize)> = kind.columns.iter().map(|(header, _)| (*header, 0)).collect();
    table(&headers, &rows, true)
}

fn details(entry: &Item, kind: &Kind, grammar: &Grammar) -> String {
    let mut out = String::new();
    for (title, leaf) in kind.facts {
        let (folder, leaf) = leaf.rsplit_once('/').unwrap_or(("", leaf));
        let mut steps = folder.split('/').filter(|step| !step.is_empty());
        let holder = steps.try_fold(entry, |at, step| at.child(grammar, step));
        if let Some(fact) = holder.and_then(|holder| holder.text(grammar, leaf)) {
            let _ = writeln!(out, "{:<26}: {fact}", title);
        }
    }
    for (title, list, leaf) in kind.joined {
        for other in all(grammar, Some(entry), list) {
            let _ = writeln!(out, "{:<26}: {}", title, other.text(grammar, leaf).unwrap_or_default());
        }
    }
    out
}
