//! `show configuration commit ...`: the history of commits, and what they changed.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::command::Matched;
use super::super::data::{Item, difference};
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
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for change in output {
        let leaf =
            |name: &str| change.children.iter().find(|child| &*child.name == name).map(|child| child.text.as_str());
        let Some(path) = leaf("path").and_then(|path| path_of(grammar, path)) else { continue };
        let new = leaf("value");
        match leaf("operation") {
            Some("create") => insert(grammar, &mut after, &path, new),
            Some("delete") => insert(grammar, &mut before, &path, leaf("old-value")),
            Some("modify") => {
                insert(grammar, &mut before, &path, leaf("old-value"));
                insert(grammar, &mut after, &path, new);
            }
            // Told by its new place alone.
            _ => insert(grammar, &mut after, &path, new),
        }
    }
    let lines = if is_diff {
        text::print_side_by_side(grammar, &before, &after)
    } else {
        text::print_difference(grammar, &difference(grammar, &before, &after))
    };
    format!("Building configuration...\n{HEAD}\n{lines}end\n\n")
}

/// The instances of a path such as `/module:top/list[key='v']/leaf[.='x']`.
pub fn path_of(grammar: &Grammar, path: &str) -> Option<Vec<Item>> {
    let mut found: Vec<Item> = Vec::new();
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
        let above = found.last().map(|item| item.node);
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
        found.push(item);
        match rest.strip_prefix('/') {
            Some(more) => rest = more,
            None => return Some(found),
        }
    }
}

fn key_named(grammar: &Grammar, list: NodeId, name: &str) -> Option<NodeId> {
    grammar.keys(list).iter().copied().find(|key| grammar.node(*key).name == name)
}

fn insert(grammar: &Grammar, items: &mut Vec<Item>, path: &[Item], value: Option<&str>) {
    let Some((first, rest)) = path.split_first() else { return };
    let mut item = first.clone();
    if let Some(value) = value.filter(|_| rest.is_empty() && grammar.node(item.node).kind == Kind::Leaf) {
        value.clone_into(&mut item.value);
    }
    if let Some(known) = items.iter_mut().find(|known| known.is_same(&item, grammar)) {
        if rest.is_empty() {
            known.value = item.value;
        } else {
            insert(grammar, &mut known.children, rest, value);
        }
        return;
    }
    insert(grammar, &mut item.children, rest, value);
    items.push(item);
}
