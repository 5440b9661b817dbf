//! `show configuration commit ...`: the history of commits, and what they changed.

use std::collections::HashMap;
use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::command::Matched;
use super::super::data::{Item, branch, difference};
use super::super::grammar::{Grammar, Kind, NodeId};
use super::super::text;
use super::{all, descend};
use crate::yang::xml::XmlElement;

/// What parsers of these texts look for.
pub const HEAD: &str = "!! IOS XR Configuration 7.5.1";

pub(super) fn filter() -> String {
    r#"<config-manager xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper"><global><config-commit><commits/></config-commit></global></config-manager>"#.to_owned()
}

pub(super) fn list(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let commits = descend(grammar, items, &["config-manager", "global", "config-commit", "commits"]);
    let mut commits = all(grammar, commits, "commit");
    if let Some(count) = matched.number("COUNT") {
        commits.truncate(count as usize);
    }
    let mut out = String::new();
    if matched.has("detail") {
        for (index, commit) in commits.iter().enumerate() {
            let text = |leaf: &str| commit.text(grammar, leaf).unwrap_or("NONE");
            let pair = |left: &str, right: &str| format!("   {left:<39}{right}");
            let first = format!("{}) CommitId: {}", index + 1, text("commit-id"));
            let _ = writeln!(out, "{first:<42}Label: {}", text("label"));
            let user = format!("UserId:   {}", text("user-id"));
            let _ = writeln!(out, "{}", pair(&user, &format!("Line:  {}", text("line"))));
            let client = format!("Client:   {}", text("client-name"));
            let _ = writeln!(out, "{}", pair(&client, &format!("Time:  {}", text("timestamp"))));
            let _ = writeln!(out, "   Comment:  {}\n", text("comment"));
        }
        return out;
    }
    out.push_str("SNo. Label/ID    User      Line                Client      Time Stamp\n");
    out.push_str("~~~~ ~~~~~~~~    ~~~~      ~~~~                ~~~~~~      ~~~~~~~~~~\n");
    for (index, commit) in commits.iter().enumerate() {
        let text = |leaf: &str| commit.text(grammar, leaf).unwrap_or("");
        let name = commit.text(grammar, "label").unwrap_or_else(|| text("commit-id"));
        let line: String = text("line").chars().take(18).collect();
        let _ = writeln!(
            out,
            "{:<4} {name:<11} {:<9} {line:<19} {:<11} {}",
            index + 1,
            text("user-id"),
            text("client-name"),
            text("timestamp")
        );
    }
    out
}

/// What happened to the configuration, newest first: it is commits alone that we keep.
pub(super) fn history(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let commits = descend(grammar, items, &["config-manager", "global", "config-commit", "commits"]);
    let mut commits = all(grammar, commits, "commit");
    commits.truncate(matched.number("COUNT").map_or(usize::MAX, |count| count as usize));
    let mut out = String::new();
    if !matched.has("detail") {
        out.push_str("Sno.  Event      Info                           Time Stamp\n");
        out.push_str("~~~~  ~~~~~      ~~~~                           ~~~~~~~~~~\n");
    }
    for (index, commit) in commits.into_iter().enumerate() {
        let text = |leaf: &str| commit.text(grammar, leaf).unwrap_or("");
        let (number, id, time) = (index + 1, text("commit-id"), text("timestamp"));
        if !matched.has("detail") {
            let _ = writeln!(out, "{number:<5} {:<10} {:<30} {time}", "commit", format!("id {id}"));
            continue;
        }
        let rows = [
            (format!("{:<4}Event: commit", format!("{number})")), format!("Time: {time}")),
            (format!("    Commit ID: {id}"), format!("Label: {}", text("label"))),
            (format!("    User: {}", text("user-id")), format!("Line: {}", text("line"))),
            (format!("    Client: {}", text("client-name")), format!("Comment: {}", text("comment"))),
        ];
        for (left, right) in rows {
            let _ = writeln!(out, "{left:<42} {right}");
        }
        out.push('\n');
    }
    out
}

/// Id, user, client and time of the newest commit.
pub fn newest(grammar: &Grammar, items: &[Item]) -> Option<(String, String, String, String)> {
    let commits = descend(grammar, items, &["config-manager", "global", "config-commit", "commits"]);
    let first = all(grammar, commits, "commit").into_iter().next()?;
    let text = |leaf: &str| first.text(grammar, leaf).unwrap_or("").to_owned();
    Some((text("commit-id"), text("user-id"), text("client-name"), text("timestamp")))
}

/// The rpc that tells what commits changed.
pub fn changes_request(matched: &Matched) -> String {
    let which = if matched.has("since") {
        format!("<since>{}</since>", escape(matched.get("COMMIT").unwrap_or("")))
    } else if matched.has("all") {
        // More than are kept means all that are kept.
        "<last>4294967295</last>".to_owned()
    } else if let Some(count) = matched.get("COUNT") {
        format!("<last>{count}</last>")
    } else {
        format!("<commit-id>{}</commit-id>", escape(matched.get("COMMIT").unwrap_or("")))
    };
    format!(r#"<get-commit-changes xmlns="urn:procyon:history">{which}</get-commit-changes>"#)
}

/// The lines that commits changed, from the rpc's output.
pub fn changes(is_diff: bool, grammar: &Grammar, output: &[XmlElement]) -> String {
    let (mut before, mut after) = (Side::default(), Side::default());
    for change in output {
        let leaf =
            |name: &str| change.children.iter().find(|child| &*child.name == name).map(|child| child.text.as_str());
        let Some(steps) = leaf("path").and_then(|path| steps_of(grammar, path)) else { continue };
        let new = leaf("value");
        match leaf("operation") {
            Some("create") => after.insert(grammar, &steps, new),
            Some("delete") => before.insert(grammar, &steps, leaf("old-value")),
            Some("modify") => {
                before.insert(grammar, &steps, leaf("old-value"));
                after.insert(grammar, &steps, new);
            }
            // Told by its new place alone.
            _ => after.insert(grammar, &steps, new),
        }
    }
    let (before, after) = (before.items, after.items);
    let lines = if is_diff {
        text::print_side_by_side(grammar, &before, &after)
    } else {
        text::print_difference(grammar, &difference(grammar, &before, &after))
    };
    format!("Building configuration...\n{HEAD}\n{lines}end\n\n")
}

/// The lines that a commit could not make true, each with the reason.
pub fn failed(grammar: &Grammar, errors: &[(Option<&str>, String)]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "!! SEMANTIC ERRORS: This configuration was rejected by \n!! the system due to semantic errors. The individual \n!! errors with each failed configuration command can be \n!! found below.\n\n\n",
    );
    for (path, reason) in errors {
        let path = path.and_then(|path| path_of(grammar, path)).unwrap_or_default();
        let lines = text::print(grammar, &branch(path), text::Style::Nested);
        // The reason stands behind the line that it is about, before the modes are closed.
        let mut is_told = false;
        for line in lines.lines() {
            if line.trim() == "!" && !std::mem::replace(&mut is_told, true) {
                let _ = writeln!(text, "!!% {reason}");
            }
            let _ = writeln!(text, "{line}");
        }
        if !is_told {
            let _ = writeln!(text, "!!% {reason}");
        }
    }
    text.push_str("end\n");
    text
}

/// What scripts that look at configuration have amended, or would.
pub fn modified(grammar: &Grammar, paths: &[&str], is_applied: bool) -> String {
    if paths.is_empty() {
        return "The scripts have nothing to modify\n".to_owned();
    }
    let mut text = match is_applied {
        true => "Modified by the scripts; `show configuration` tells the result:\n",
        false => "The scripts would modify, `validate config-scripts apply-policy-modifications` does it:\n",
    }
    .to_owned();
    for path in paths {
        let lines = path_of(grammar, path).map(|path| text::print(grammar, &branch(path), text::Style::Formal));
        match lines {
            // What a leaf is set to is not told.
            Some(lines) if !lines.is_empty() => lines.lines().for_each(|line| {
                let _ = writeln!(text, " {}", line.strip_suffix(" \"\"").unwrap_or(line));
            }),
            _ => {
                let _ = writeln!(text, " {path}");
            }
        }
    }
    text
}

/// The instances of a path such as `/module:top/list[key='v']/leaf[.='x']`.
pub fn path_of(grammar: &Grammar, path: &str) -> Option<Vec<Item>> {
    Some(steps_of(grammar, path)?.into_iter().map(|(_, item)| item).collect())
}

/// The same, each with the text of the path up to there.
fn steps_of<'p>(grammar: &Grammar, path: &'p str) -> Option<Vec<(&'p str, Item)>> {
    let mut found: Vec<(&str, Item)> = Vec::new();
    let mut module: Option<String> = None;
    let mut rest = path.strip_prefix('/')?;
    loop {
        let end = rest.find(['[', '/']).unwrap_or(rest.len());
        let step = &rest[..end];
        let name = match step.split_once(':') {
            Some((named, name)) => {
                // What stands before the colon is a module, or its prefix in an error-path.
                let known = |known: &&super::super::grammar::Module| known.name == named || known.prefix == named;
                module = Some(grammar.modules.iter().find(known)?.namespace.clone());
                name
            }
            None => step,
        };
        let above = found.last().map(|(_, item)| item.node);
        let node = grammar.child(above, module.as_deref(), name).or_else(|| grammar.child(above, None, name))?;
        let mut item = Item { node, value: String::new(), children: Vec::new() };
        rest = &rest[end..];
        while let Some(inside) = rest.strip_prefix('[') {
            let (name, value) = inside.split_once('=')?;
            let quote = value.chars().next()?;
            let close = value[1..].find(quote)? + 1;
            let text = value[1..close].to_owned();
            rest = value[close + 1..].strip_prefix(']')?;
            let name = name.rsplit(':').next().unwrap_or(name);
            match (name, key_named(grammar, node, name)) {
                (".", _) => item.value = text,
                (_, Some(key)) => item.children.push(Item::leaf(key, text)),
                (_, None) => return None,
            }
        }
        found.push((&path[..path.len() - rest.len()], item));
        match rest.strip_prefix('/') {
            Some(more) => rest = more,
            None => return Some(found),
        }
    }
}

fn key_named(grammar: &Grammar, list: NodeId, name: &str) -> Option<NodeId> {
    grammar.keys(list).iter().copied().find(|key| grammar.node(*key).name == name)
}

/// One side of a difference, put together change by change. Where an instance stands is known by its path, so that none
/// is looked for among its siblings.
#[derive(Default)]
struct Side<'p> {
    items: Vec<Item>,
    places: HashMap<&'p str, usize>,
}

impl<'p> Side<'p> {
    fn insert(&mut self, grammar: &Grammar, steps: &[(&'p str, Item)], value: Option<&str>) {
        let mut siblings = &mut self.items;
        for (at, (path, item)) in steps.iter().enumerate() {
            let place = *self.places.entry(path).or_insert_with(|| {
                siblings.push(item.clone());
                siblings.len() - 1
            });
            let item = &mut siblings[place];
            if let Some(value) = value.filter(|_| at + 1 == steps.len() && grammar.node(item.node).kind == Kind::Leaf) {
                value.clone_into(&mut item.value);
            }
            siblings = &mut item.children;
        }
    }
}
