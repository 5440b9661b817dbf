//! Edits as the XML of edit-config: as few messages as their order allows.

use std::collections::HashSet;
use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::data::{Item, escaped, xml_value};
use super::grammar::{Grammar, Kind};
use super::line::{Edit, Operation};

/// A message is not made larger than this by edits that could go in the next.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The contents of `<config>` that carry out the edits, one after the other. Each comes with how many edits it holds.
pub fn messages(grammar: &Grammar, edits: &[Edit]) -> Vec<(String, usize)> {
    let mut done = Vec::new();
    let mut writer = Writer::new(grammar);
    for edit in edits {
        if !writer.add(edit) {
            done.push(std::mem::replace(&mut writer, Writer::new(grammar)).finish());
            writer.add(edit);
        }
    }
    if writer.count > 0 {
        done.push(writer.finish());
    }
    done
}

struct Writer<'a> {
    grammar: &'a Grammar,
    out: String,
    open: Vec<Item>,
    /// What was begun in this message, by name: nothing is begun twice.
    begun: HashSet<String>,
    count: usize,
}

impl<'a> Writer<'a> {
    fn new(grammar: &'a Grammar) -> Self {
        Self { grammar, out: String::new(), open: Vec::new(), begun: HashSet::new(), count: 0 }
    }

    /// False when the edit needs a message of its own.
    fn add(&mut self, edit: &Edit) -> bool {
        let shared = self.open.iter().zip(&edit.path).take_while(|(open, step)| open == step).count();
        // An entry that is open already is there; a leaf never stays open.
        let new = &edit.path[shared..];
        let is_there = new.is_empty() && edit.operation == Operation::Set;
        if is_there {
            self.count += 1;
            return true;
        }
        let names: Vec<String> =
            (shared..edit.path.len()).map(|depth| name_of(self.grammar, &edit.path[..=depth])).collect();
        let is_full = self.out.len() >= MESSAGE_BYTES_MAX;
        if self.count > 0 && (is_full || new.is_empty() || names.iter().any(|name| self.begun.contains(name))) {
            return false;
        }
        self.close_to(shared);
        self.begun.extend(names);
        for (index, step) in new.iter().enumerate() {
            let is_last = index + 1 == new.len();
            self.begin(step, is_last.then_some(edit.operation));
        }
        self.count += 1;
        true
    }

    fn begin(&mut self, step: &Item, operation: Option<Operation>) {
        let node = self.grammar.node(step.node);
        let around = self.open.last().map(|item| self.grammar.node(item.node).module);
        let _ = write!(self.out, "<{}", node.name);
        if around != Some(node.module) {
            let _ = write!(self.out, " xmlns=\"{}\"", escape(self.grammar.module(step.node).namespace.as_str()));
        }
        let is_delete = operation == Some(Operation::Delete);
        if is_delete {
            self.out.push_str(" xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\" nc:operation=\"remove\"");
        }
        if self.grammar.is_leaf_like(step.node) {
            if node.kind == Kind::Any {
                let _ = write!(self.out, ">{}</{}>", step.value, node.name);
            } else if is_delete && node.kind != Kind::LeafList {
                self.out.push_str("/>");
            } else {
                let value = xml_value(self.grammar, step.node, &step.value, &mut self.out);
                let _ = write!(self.out, ">{}</{}>", escaped(&value), node.name);
            }
            return;
        }
        self.out.push('>');
        self.open.push(step.clone());
        for key in &step.children {
            let name = &self.grammar.node(key.node).name;
            let _ = write!(self.out, "<{name}");
            let value = xml_value(self.grammar, key.node, &key.value, &mut self.out);
            let _ = write!(self.out, ">{}</{name}>", escaped(&value));
        }
        if is_delete {
            self.close_to(self.open.len() - 1);
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some(item) = self.open.pop() {
                let _ = write!(self.out, "</{}>", self.grammar.node(item.node).name);
            }
        }
    }

    fn finish(mut self) -> (String, usize) {
        self.close_to(0);
        (self.out, self.count)
    }
}

/// A text that only this instance has.
fn name_of(grammar: &Grammar, path: &[Item]) -> String {
    let mut name = String::new();
    for step in path {
        let _ = write!(name, "/{}", step.node.0);
        match &grammar.node(step.node).kind {
            Kind::List { .. } => {
                for key in &step.children {
                    let _ = write!(name, "\0{}", key.value);
                }
            }
            Kind::LeafList => {
                let _ = write!(name, "\0{}", step.value);
            }
            Kind::Container { .. } | Kind::Leaf | Kind::Any => {}
        }
    }
    name
}
