//! `show script status`, `show script python`.

use std::fmt::Write as _;

use super::super::command::Matched;
use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table};
use crate::yang::xml::XmlElement;

pub(super) const RULE: usize = 102;
const WIDTHS: [usize; 5] = [33, 8, 18, 13, 27];

/// The request for `show script python`.
pub const PYTHON: &str = r#"<show-python xmlns="urn:procyon:agent"/>"#;

pub fn python(answer: &[XmlElement]) -> String {
    let all = |name: &'static str| answer.iter().filter(move |element| &*element.name == name);
    let of = |name: &'static str| all(name).next().map_or("", |element| element.text.as_str());
    let modules: Vec<&str> = all("library-module").map(|module| module.text.as_str()).collect();
    let account = if of("account").is_empty() { "the agent's own" } else { of("account") };
    let facts = [
        ("Python", format!("{} ({})", of("version"), of("implementation"))),
        ("Interpreter", of("interpreter").to_owned()),
        ("Account", account.to_owned()),
        ("On-box library", of("library").to_owned()),
        ("Modules in it", modules.join(", ")),
    ];
    let mut out = String::new();
    for (title, fact) in facts {
        let _ = writeln!(out, "{title:<18}: {fact}");
    }
    let rows: Vec<Vec<String>> = all("package")
        .map(|package| {
            let leaf = |name: &str| package.children.iter().find(|leaf| &*leaf.name == name);
            ["name", "version"].map(|name| leaf(name).map_or_else(String::new, |leaf| leaf.text.clone())).to_vec()
        })
        .collect();
    let _ = write!(out, "\n{}", table(&[("Package", 32), ("Version", 12)], &rows, true));
    out
}

pub(super) fn filter(matched: &Matched) -> String {
    let view = match (matched.has("show-deleted"), matched.has("detail")) {
        (true, _) => "<show-del><summary/></show-del>",
        (false, true) => "<detail/>",
        (false, false) => "<summary/>",
    };
    format!(
        r#"<script xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-oper"><status>{view}</status></script>"#
    )
}

pub(super) fn render(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let with_deleted = matched.has("show-deleted");
    // Of what is gone nothing but the row is told.
    let is_detail = matched.has("detail") && !with_deleted;
    let (path, row): (&[&str], _) = match (with_deleted, is_detail) {
        (true, _) => (&["script", "status", "show-del", "summary"], "status-summary"),
        (false, true) => (&["script", "status", "detail"], "status-detail"),
        (false, false) => (&["script", "status", "summary"], "status-summary"),
    };
    let mut rows = all(grammar, descend(grammar, items, path), row);
    let summary =
        |row: &Item| if is_detail { row.child(grammar, "status-summary").cloned() } else { Some(row.clone()) };
    let is = |row: &Item, leaf: &str, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| summary(row).is_some_and(|row| row.text(grammar, leaf) == Some(wanted)))
    };
    rows.retain(|row| {
        is(row, "script-name", matched.get("FILE")) && is(row, "script-type", matched.get("SCRIPT-TYPE"))
    });
    if matched.has("reverse") {
        rows.reverse();
    }
    if let Some(count) = matched.number("COUNT") {
        rows.drain(..rows.len().saturating_sub(count as usize));
    }
    let mut out = String::new();
    let rule = |out: &mut String, sign: &str| {
        let _ = writeln!(out, "{}", sign.repeat(RULE));
    };
    rule(&mut out, "=");
    cells(&mut out, &["Name", "Type", "Status", "Last Action", "Action Time"], &WIDTHS);
    rule(&mut out, "-");
    for (index, row) in rows.iter().enumerate() {
        let Some(summary) = summary(row) else { continue };
        let text = |leaf: &str| summary.text(grammar, leaf).unwrap_or("").to_owned();
        if is_detail && index > 0 {
            rule(&mut out, "-");
        }
        let row_cells = ["script-name", "script-type", "status", "last-action", "last-action-time"].map(text);
        cells(&mut out, &row_cells.each_ref().map(String::as_str), &WIDTHS);
        if is_detail {
            rule(&mut out, "-");
            details(&mut out, grammar, row, &row_cells[0]);
        }
    }
    rule(&mut out, "=");
    out
}

/// One row: bars between the cells.
pub(super) fn cells(out: &mut String, cells: &[&str], widths: &[usize]) {
    let cells: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{:<width$}", format!(" {cell}"))).collect();
    let _ = writeln!(out, "{}", cells.join("|").trim_end());
}

fn details(out: &mut String, grammar: &Grammar, row: &Item, name: &str) {
    let _ = writeln!(out, "Script Name       : {name}");
    for (title, leaf) in [("Checksum          ", "checksum"), ("Script Description", "script-description")] {
        if let Some(text) = row.text(grammar, leaf) {
            let _ = writeln!(out, "{title}: {text}");
        }
    }
    if let Some(text) = row.text(grammar, "script-arguments").filter(|text| !text.is_empty()) {
        let _ = writeln!(out, "Script Arguments  :");
        for line in text.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    let _ = writeln!(out, "History:\n--------");
    for (index, entry) in all(grammar, Some(row), "status-history").iter().enumerate() {
        let titles =
            [("Action", "action"), ("Time", "time-stamp"), ("Checksum", "checksum"), ("Description", "description")];
        facts(out, grammar, entry, index + 1, &titles);
    }
}

/// One entry of a numbered list of facts.
pub(super) fn facts(out: &mut String, grammar: &Grammar, entry: &Item, number: usize, titles: &[(&str, &str)]) {
    let mut number = format!("{number}.");
    for (title, leaf) in titles {
        let Some(text) = entry.text(grammar, leaf) else { continue };
        let _ = writeln!(out, "{number:<4} {title:<13}: {text}");
        number.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::python;

    #[test]
    fn what_scripts_can_import_is_listed() {
        let answer = "<interpreter>/usr/bin/python3</interpreter><version>3.11.2</version><implementation>CPython</implementation>
<account>nobody</account><library>/usr/share/procyon/python</library><library-module>cisco</library-module>
<library-module>iosxr</library-module><package><name>xmltodict</name><version>1.0.4</version></package>";
        insta::assert_snapshot!(python(&crate::yang::xml::parse(answer.as_bytes()).unwrap()), @r"
        Python            : 3.11.2 (CPython)
        Interpreter       : /usr/bin/python3
        Account           : nobody
        On-box library    : /usr/share/procyon/python
        Modules in it     : cisco, iosxr

        Package                          Version
        -------------------------------- ------------
        xmltodict                        1.0.4
        ");
    }
}
