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

#[cfg(test)]
mod tests {
    use super::write;
    use crate::northbound::WithDefaults;
    use crate::shell::compile::compile;
    use crate::shell::data::read;
    use crate::yang::schema::{ModuleSpec, Schema};
    use crate::yang::tree::Tree;

    const MODULE: &str = r#"module forms {
  yang-version 1.1; namespace "urn:forms"; prefix f;
  identity kind;
  container all {
    leaf small { type int32; }
    leaf large { type uint64; }
    leaf exact { type decimal64 { fraction-digits 2; } }
    leaf yes { type boolean; }
    leaf here { type empty; }
    leaf kind { type identityref { base kind; } }
    leaf flags { type bits { bit a; bit b; } }
    leaf raw { type binary; }
    leaf-list number { type uint8; }
    leaf-list either { type union { type int8; type uint64; type enumeration { enum many; } type boolean; type string; } }
    list entry { key "k"; leaf k { type string; } leaf to { type leafref { path "../../number"; } } }
    leaf where { type instance-identifier; }
  }
}"#;
    const OTHER: &str = r#"module other { namespace "urn:other"; prefix o; import forms { prefix f; } identity round { base f:kind; } }"#;

    #[test]
    fn every_type_is_written_as_the_library_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("forms.yang"), MODULE).unwrap();
        std::fs::write(folder.path().join("other.yang"), OTHER).unwrap();
        let module = |name: &str| ModuleSpec { name: name.into(), revision: None, features: Vec::new() };
        let schema = Schema::load(&[folder.path().to_owned()], &[module("forms"), module("other")]).unwrap();
        let grammar = compile(schema, &[]).unwrap();
        let leaves = "<small>-7</small><large>18446744073709551615</large><exact>3.10</exact><yes>true</yes><here/><kind xmlns:o=\"urn:other\">o:round</kind>\
            <flags>a b</flags><raw>AAE=</raw><number>4</number><number>200</number><either>5</either><either>300</either>\
            <either>many</either><either>false</either><either>a \"b\"\\ \u{e9}\n\t</either><either>-129</either>\
            <entry><k>one</k><to>4</to></entry><entry><k>t&lt;o</k></entry>\
            <where xmlns:f=\"urn:forms\">/f:all/f:entry[f:k='one']</where>";
        let xml = format!("<all xmlns=\"urn:forms\">{leaves}</all>");
        let tree = Tree::parse_config(schema, xml.as_bytes()).unwrap();
        let told = tree.print_xml(WithDefaults::Explicit);
        let ours = write(&grammar, &read(&grammar, &told).unwrap());
        let theirs = tree.print_json(WithDefaults::Explicit);
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(value(ours.as_bytes()), value(&theirs));
    }
}
