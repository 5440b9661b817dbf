//! `show script execution`.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::command::Matched;
use super::super::data::Item;
use super::super::grammar::Grammar;
use super::scripts::{RULE, cells, facts};
use super::{all, descend};

const NAMESPACE: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-oper";
const WIDTHS: [usize; 6] = [11, 34, 28, 11, 8, 11];

fn view(matched: &Matched) -> &'static str {
    match (matched.has("output"), matched.has("error"), matched.has("detail")) {
        (true, true, _) => "output-error",
        (true, false, _) => "output",
        (false, true, _) => "error",
        (false, false, true) => "detail",
        (false, false, false) => "summary",
    }
}

pub(super) fn filter(matched: &Matched) -> String {
    let view = view(matched);
    // One of them narrows what is made; all of them narrow what is shown.
    let keyed = [
        ("REQUEST", "requests", "request", "request-id"),
        ("FILE", "names", "name", "name-str"),
        ("STATUS", "execution-statuses", "execution-status", "status-str"),
    ];
    let narrowed = keyed.into_iter().find_map(|(argument, container, list, key)| {
        let value = escape(matched.get(argument)?);
        Some(format!("<{container}><{list}><{key}>{value}</{key}><{view}/></{list}></{container}>"))
    });
    one(&narrowed.unwrap_or_else(|| format!("<{view}/>")))
}

/// A run by its number, with what it wrote.
pub fn of_request(request: &str) -> String {
    let request = escape(request);
    one(&format!("<requests><request><request-id>{request}</request-id><output-error/></request></requests>"))
}

fn one(inner: &str) -> String {
    format!(r#"<script xmlns="{NAMESPACE}"><execution>{inner}</execution></script>"#)
}

/// The parts of one run, whichever view it is from.
struct Run<'a> {
    summary: &'a Item,
    detail: Option<&'a Item>,
    events: Vec<&'a Item>,
    log: Option<&'a Item>,
}

fn runs<'a>(grammar: &'a Grammar, items: &'a [Item]) -> Vec<Run<'a>> {
    let mut found = Vec::new();
    let Some(execution) = descend(grammar, items, &["script", "execution"]) else { return found };
    collect(grammar, execution, &mut found);
    found
}

/// Rows stand in views, and views in entries of lists by key.
fn collect<'a>(grammar: &'a Grammar, item: &'a Item, found: &mut Vec<Run<'a>>) {
    for child in &item.children {
        match grammar.node(child.node).name.as_str() {
            "execution-summary" => {
                found.push(Run { summary: child, detail: None, events: Vec::new(), log: None });
            }
            "execution-detail" => found.extend(run(grammar, child, None)),
            "execution-log-detail" => {
                let details = child.child(grammar, "execution-details");
                let log = child.child(grammar, "execution-log");
                found.extend(details.and_then(|details| run(grammar, details, log)));
            }
            _ => collect(grammar, child, found),
        }
    }
}

fn run<'a>(grammar: &'a Grammar, item: &'a Item, log: Option<&'a Item>) -> Option<Run<'a>> {
    let summary = item.child(grammar, "execution-summary")?;
    let detail = item.child(grammar, "execution-detail");
    Some(Run { summary, detail, events: all(grammar, Some(item), "execution-event"), log })
}

pub(super) fn render(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let mut runs = runs(grammar, items);
    let is = |run: &Run<'_>, leaf: &str, wanted: Option<&str>| {
        let value = run.summary.text(grammar, leaf).unwrap_or("");
        wanted.is_none_or(|wanted| value.eq_ignore_ascii_case(wanted))
    };
    runs.retain(|run| {
        is(run, "request-id", matched.get("REQUEST"))
            && is(run, "script-name", matched.get("FILE"))
            && is(run, "status", matched.get("STATUS"))
    });
    if let Some(count) = matched.number("COUNT") {
        runs.truncate(count as usize);
    }
    if matched.has("reverse") {
        runs.reverse();
    }
    let mut out = format!("{}\n", "=".repeat(RULE));
    cells(&mut out, &["Req. ID", "Name (type)", "Start", "Duration", "Return", "Status"], &WIDTHS);
    let _ = writeln!(out, "{}", "-".repeat(RULE));
    for (index, run) in runs.iter().enumerate() {
        let text = |leaf: &str| run.summary.text(grammar, leaf).unwrap_or("");
        let name = format!("{} ({})", text("script-name"), text("script-type"));
        let row = [text("request-id"), &name, text("event-time"), text("duration"), text("return-val"), text("status")];
        cells(&mut out, &row, &WIDTHS);
        if run.detail.is_some() {
            let _ = writeln!(out, "{}", "-".repeat(RULE));
            details(&mut out, grammar, run, matched.has("detail"));
            if index + 1 < runs.len() {
                let _ = writeln!(out, "{}", "-".repeat(RULE));
            }
        }
    }
    let _ = writeln!(out, "{}", "=".repeat(RULE));
    out
}

fn details(out: &mut String, grammar: &Grammar, run: &Run<'_>, is_asked: bool) {
    if is_asked || run.log.is_none() {
        let text = |leaf: &str| run.detail.and_then(|detail| detail.text(grammar, leaf));
        out.push_str("Execution Details:\n------------------\n");
        let lines = [
            ("Script Name ", run.summary.text(grammar, "script-name")),
            ("Log location", text("log-path")),
            ("Arguments   ", text("arguments")),
            ("Run Options ", text("run-options")),
        ];
        for (title, text) in lines {
            if let Some(text) = text {
                let _ = writeln!(out, "{title} : {text}");
            }
        }
        out.push_str("Events:\n-------\n");
        for (index, event) in run.events.iter().enumerate() {
            let titles =
                [("Event", "event"), ("Time", "time"), ("Time Elapsed", "duration"), ("Description", "description")];
            facts(out, grammar, event, index + 1, &titles);
        }
    }
    let Some(log) = run.log else { return };
    for (title, file, content) in
        [("Output", "output-file", "output-file-content"), ("Error", "error-file", "error-file-content")]
    {
        let Some(file) = log.text(grammar, file) else { continue };
        let _ = writeln!(out, "{title} File : {file}\n{title} Content:");
        for line in log.text(grammar, content).unwrap_or("").lines() {
            let _ = writeln!(out, "{line}");
        }
    }
}

/// How a run stands, for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    pub name: String,
    pub script_type: String,
    pub status: String,
    pub return_value: Option<String>,
    pub output: String,
    pub errors: String,
}

impl Standing {
    pub fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "Scheduled" | "Started")
    }
}

/// The run that [`of_request`] asks for.
pub fn standing(grammar: &Grammar, items: &[Item]) -> Option<Standing> {
    let runs = runs(grammar, items);
    let run = runs.first()?;
    let text = |leaf: &str| run.summary.text(grammar, leaf).unwrap_or("").to_owned();
    let written = |leaf: &str| run.log.and_then(|log| log.text(grammar, leaf)).unwrap_or("").to_owned();
    Some(Standing {
        name: text("script-name"),
        script_type: text("script-type"),
        status: text("status"),
        return_value: run.summary.text(grammar, "return-val").map(str::to_owned),
        output: written("output-file-content"),
        errors: without_rules(&written("error-file-content")),
    })
}

/// What a run wrote, without the line that stands between runs in a log of several.
fn without_rules(log: &str) -> String {
    let is_rule = |line: &str| line.starts_with("-----Run ID:") && line.trim_end().ends_with("-----");
    log.split_inclusive('\n').filter(|line| !is_rule(line)).collect()
}

/// What of `now` was not there `before`; both are the end of a text that grows.
pub fn grown<'n>(before: &str, now: &'n str) -> &'n str {
    const KNOWN_BY: usize = 512;
    if let Some(rest) = now.strip_prefix(before) {
        return rest;
    }
    let mut from = before.len().saturating_sub(KNOWN_BY);
    while !before.is_char_boundary(from) {
        from += 1;
    }
    let known = &before[from..];
    now.rfind(known).map_or(now, |at| &now[at + known.len()..])
}

#[cfg(test)]
mod tests {
    use super::grown;

    #[test]
    fn only_what_is_new_is_told() {
        assert_eq!(grown("", "one\n"), "one\n");
        assert_eq!(grown("one\n", "one\ntwo\n"), "two\n");
        assert_eq!(grown("one\ntwo\n", "one\ntwo\n"), "");
        // The beginning has been cut off meanwhile.
        let (before, now) = ("a".repeat(600), format!("{}b", "a".repeat(512)));
        assert_eq!(grown(&before, &now), "b");
    }
}
