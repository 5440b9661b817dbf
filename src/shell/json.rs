//! RFC 7951: data as JSON.

use std::fmt::Write as _;

use super::data::Item;
use super::grammar::{Grammar, Kind, NodeId};
use crate::yang::schema::ValueType;

/// One object that holds the items, indented by two spaces a level.
pub fn write(grammar: &Grammar, items: &[Item]) -> String {
    let mut out = String::new();
    members(grammar, items, None, 0, &mut out);
    out.push('\n');
    out
}

fn members(grammar: &Grammar, items: &[Item], around: Option<u32>, depth: usize, out: &mut String) {
    if items.is_empty() {
        return out.push_str("{}");
    }
    out.push('{');
    let mut written: Vec<NodeId> = Vec::new();
    for item in items {
        if written.contains(&item.node) {
            continue;
        }
        if !written.is_empty() {
            out.push(',');
        }
        written.push(item.node);
        new_line(depth + 1, out);
        let node = grammar.node(item.node);
        // RFC 7951 section 4: a name is qualified at the top and where the module changes.
        if around == Some(node.module) {
            string(&node.name, out);
        } else {
            string(&format!("{}:{}", grammar.module(item.node).name, node.name), out);
        }
        out.push_str(": ");
        match node.kind {
            Kind::List { .. } | Kind::LeafList => {
                out.push('[');
                for (index, entry) in items.iter().filter(|entry| entry.node == item.node).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    new_line(depth + 2, out);
                    value(grammar, entry, depth + 2, out);
                }
                new_line(depth + 1, out);
                out.push(']');
            }
            Kind::Container { .. } | Kind::Leaf | Kind::Any => value(grammar, item, depth + 1, out),
        }
    }
    new_line(depth, out);
    out.push('}');
}

fn value(grammar: &Grammar, item: &Item, depth: usize, out: &mut String) {
    let node = grammar.node(item.node);
    match (&node.kind, &node.value) {
        (Kind::Leaf | Kind::LeafList, Some(of)) => leaf(of, &item.value, out),
        (Kind::Any, _) => string(&item.value, out),
        _ => members(grammar, &item.children, Some(node.module), depth, out),
    }
}

fn leaf(of: &ValueType, text: &str, out: &mut String) {
    match of {
        ValueType::Integer { is_wide: false, .. } if is_json_number(text) => out.push_str(text),
        ValueType::Boolean if matches!(text, "true" | "false") => out.push_str(text),
        ValueType::Empty => out.push_str("[null]"),
        ValueType::Leafref { of, .. } => leaf(of, text, out),
        // RFC 7951 section 6.10: a value of a union is written as its type is; the first that takes it.
        ValueType::Union(members) => {
            match members.iter().find(|member| super::grammar::mistake(member, text).is_none()) {
                Some(member) => leaf(member, text, out),
                None => string(text, out),
            }
        }
        _ => string(text, out),
    }
}

fn is_json_number(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn new_line(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}
