//! `show alarms`.

use std::fmt::Write as _;

use super::super::command::Matched;
use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table};

pub(super) const ALARMS: &str = r#"<alarms xmlns="urn:ietf:params:xml:ns:yang:ietf-alarms"><alarm-list/></alarms>"#;

const RULE: usize = 84;

pub(super) fn render(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let mut alarms = all(grammar, descend(grammar, items, &["alarms", "alarm-list"]), "alarm");
    let is_history = matched.has("history");
    alarms.retain(|alarm| (alarm.text(grammar, "is-cleared") == Some("true")) == is_history);
    if matched.has("detail") {
        return details(&alarms, grammar);
    }
    let rule = "-".repeat(RULE);
    let title = if is_history { "Cleared Alarms" } else { "Active Alarms" };
    let rows: Vec<Vec<String>> = alarms
        .iter()
        .map(|alarm| {
            let text = |leaf: &str| alarm.text(grammar, leaf).unwrap_or("").to_owned();
            vec![
                text("resource"),
                capital(&text("perceived-severity")),
                name(&text("alarm-type-id"), &text("alarm-type-qualifier")),
                text("last-raised"),
                text("alarm-text"),
            ]
        })
        .collect();
    let headers = [("Location", 15), ("Severity", 12), ("Group", 16), ("Set Time", 24), ("Description", 0)];
    format!("{rule}\n{title}\n{rule}\n{}", table(&headers, &rows, true))
}

fn details(alarms: &[&Item], grammar: &Grammar) -> String {
    let mut out = String::new();
    for alarm in alarms {
        let text = |leaf: &str| alarm.text(grammar, leaf).unwrap_or("").to_owned();
        let is_cleared = text("is-cleared") == "true";
        let facts = [
            ("Description", text("alarm-text")),
            ("Location", text("resource")),
            ("Alarm Name", name(&text("alarm-type-id"), &text("alarm-type-qualifier"))),
            ("Severity", capital(&text("perceived-severity"))),
            ("State", if is_cleared { "Clear" } else { "Set" }.to_owned()),
            ("Created", text("time-created")),
            ("Set Time", text("last-raised")),
            ("Last Change", text("last-changed")),
        ];
        for (title, fact) in facts {
            let _ = writeln!(out, "{:<20} {fact}", format!("{title}:"));
        }
        out.push_str("Changes:\n");
        for change in all(grammar, Some(alarm), "status-change") {
            let of = |leaf: &str| change.text(grammar, leaf).unwrap_or("");
            let _ = writeln!(out, "  {:<28} {:<9} {}", of("time"), capital(of("perceived-severity")), of("alarm-text"));
        }
        let _ = writeln!(out, "{}", "-".repeat(RULE));
    }
    out
}

/// An identity without its module, and what another program calls its alarm.
fn name(identity: &str, qualifier: &str) -> String {
    let plain = identity.rsplit(':').next().unwrap_or(identity);
    if qualifier.is_empty() { plain.to_owned() } else { format!("{plain} {qualifier}") }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
