//! Data of the device as a tree whose nodes are known to the grammar: read from XML, written as XML and JSON, compared.
//!
//! Values are held as RFC 7951 writes them: prefixes are module names. Knows no session and no wire.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::grammar::{Grammar, Kind, NodeId, names_modules};
use super::names;
use crate::yang::xml::{self, XmlElement};

/// A data node: a leaf with its value, or what has children. The keys of a list entry are its first children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub node: NodeId,
    /// Of leaves, leaf-lists and anydata (there XML).
    pub value: String,
    pub children: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    NotXml(String),
    #[error("`{name}` of namespace `{namespace}` is not in this shell's grammar; start the shell again")]
    Unknown { name: String, namespace: String },
}

impl Item {
    pub fn leaf(node: NodeId, value: impl Into<String>) -> Self {
        Self { node, value: value.into(), children: Vec::new() }
    }

    pub fn child(&self, grammar: &Grammar, name: &str) -> Option<&Item> {
        self.children.iter().find(|child| grammar.node(child.node).name == name)
    }

    /// The value of the leaf `name` below.
    pub fn text(&self, grammar: &Grammar, name: &str) -> Option<&str> {
        self.child(grammar, name).map(|child| child.value.as_str())
    }

    /// The values of the keys of a list entry, in order.
    pub fn keys<'a>(&'a self, grammar: &Grammar) -> Vec<&'a str> {
        let value = |key: &NodeId| self.children.iter().find(|child| child.node == *key).map(|key| key.value.as_str());
        grammar.keys(self.node).iter().filter_map(value).collect()
    }

    /// Whether two items are the same instance: the same node, and the same entry where there can be several.
    pub fn is_same(&self, other: &Item, grammar: &Grammar) -> bool {
        self.node == other.node
            && match &grammar.node(self.node).kind {
                Kind::List { .. } => self.keys(grammar) == other.keys(grammar),
                Kind::LeafList => self.value == other.value,
                Kind::Container { .. } | Kind::Leaf | Kind::Any => true,
            }
    }
}

/// Reads sibling elements: the children of `<data>` or `<config>`.
pub fn read(grammar: &Grammar, bytes: &[u8]) -> Result<Vec<Item>, ReadError> {
    let elements = xml::parse(bytes).map_err(|refusal| ReadError::NotXml(refusal.message))?;
    read_elements(grammar, None, &elements)
}

pub fn read_elements(grammar: &Grammar, at: Option<NodeId>, elements: &[XmlElement]) -> Result<Vec<Item>, ReadError> {
    elements.iter().map(|element| read_element(grammar, at, element)).collect()
}

fn read_element(grammar: &Grammar, at: Option<NodeId>, element: &XmlElement) -> Result<Item, ReadError> {
    let node = grammar.child(at, element.namespace.as_deref(), &element.name).ok_or_else(|| ReadError::Unknown {
        name: element.name.to_string(),
        namespace: element.namespace.as_deref().unwrap_or("").to_owned(),
    })?;
    let known = grammar.node(node);
    if known.kind == Kind::Any {
        return Ok(Item::leaf(node, element.inner_xml()));
    }
    let value = match &known.value {
        Some(of) if names_modules(of) => names::from_xml(&element.text, of, |prefix| {
            let namespace = element.scope.lookup(prefix)?;
            grammar.modules.iter().find(|module| *module.namespace == **namespace).map(|module| module.name.as_str())
        }),
        Some(_) => element.text.clone(),
        None => String::new(),
    };
    let mut children = read_elements(grammar, Some(node), &element.children)?;
    let keys = grammar.keys(node);
    children.sort_by_key(|child| keys.iter().position(|key| *key == child.node).unwrap_or(keys.len()));
    Ok(Item { node, value, children })
}

/// A path as a tree of one branch.
pub fn branch(path: Vec<Item>) -> Vec<Item> {
    let branch = path.into_iter().rev().reduce(|inner, mut outer| {
        outer.children.push(inner);
        outer
    });
    branch.into_iter().collect()
}

/// Sibling elements as XML; with `indent`, one element a line.
pub fn write_xml(grammar: &Grammar, items: &[Item], indent: Option<usize>) -> String {
    let mut out = String::new();
    for item in items {
        write_element(grammar, item, None, indent, &mut out);
    }
    out
}

fn write_element(grammar: &Grammar, item: &Item, around: Option<u32>, indent: Option<usize>, out: &mut String) {
    let node = grammar.node(item.node);
    let pad = |out: &mut String| out.extend(std::iter::repeat_n(' ', indent.unwrap_or(0)));
    let end = if indent.is_some() { "\n" } else { "" };
    pad(out);
    let _ = write!(out, "<{}", node.name);
    if around != Some(node.module) {
        let _ = write!(out, " xmlns=\"{}\"", escape(grammar.module(item.node).namespace.as_str()));
    }
    if node.kind == Kind::Any {
        let _ = write!(out, ">{}</{}>{end}", item.value, node.name);
        return;
    }
    if grammar.is_leaf_like(item.node) {
        let value = xml_value(grammar, item.node, &item.value, out);
        if value.is_empty() {
            let _ = write!(out, "/>{end}");
        } else {
            let _ = write!(out, ">{}</{}>{end}", escaped(&value), node.name);
        }
        return;
    }
    if item.children.is_empty() {
        let _ = write!(out, "/>{end}");
        return;
    }
    let _ = write!(out, ">{end}");
    for child in &item.children {
        write_element(grammar, child, Some(node.module), indent.map(|indent| indent + 1), out);
    }
    pad(out);
    let _ = write!(out, "</{}>{end}", node.name);
}

/// Text of an element; a carriage return would be taken for a line's end.
pub(super) fn escaped(text: &str) -> String {
    escape(text).replace('\r', "&#13;")
}

/// A value with the prefixes of XML; what they mean is declared on the element that is being written.
pub(super) fn xml_value(grammar: &Grammar, node: NodeId, value: &str, out: &mut String) -> String {
    let Some(of) = grammar.node(node).value.as_ref().filter(|of| names_modules(of)) else { return value.to_owned() };
    let (text, used) = names::to_xml(value, of, |module| grammar.module_named(module).is_some());
    for module in used {
        if let Some(known) = grammar.module_named(&module) {
            let _ = write!(out, " xmlns:{module}=\"{}\"", escape(known.namespace.as_str()));
        }
    }
    text
}

/// What turns `from` into `to`: what is to be deleted (keys only, in the order of `from`), and what is to be set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    pub deleted: Vec<Item>,
    pub set: Vec<Item>,
}

/// Compares two trees. Each side holds the nodes that lead to its changes; of an entry that goes, its keys alone. An
/// entry that changed its place among others that its user orders is deleted and set again, and so is a leaf that is
/// typed behind one that goes: `no` before that one takes both.
pub fn difference(grammar: &Grammar, from: &[Item], to: &[Item]) -> Difference {
    let mut found = Difference::default();
    let mut is_new = vec![true; to.len()];
    let index = Index::of(grammar, to);
    let has = |items: &[Item], node: NodeId| items.iter().any(|item| item.node == node);
    let goes_along =
        |old: &Item| grammar.node(old.node).typed.joined_to.is_some_and(|first| has(from, first) && !has(to, first));
    let mut moved: Vec<NodeId> = Vec::new();
    for ordered in from.iter().filter(|item| grammar.node(item.node).is_user_ordered).map(|item| item.node) {
        if !moved.contains(&ordered) && order_changed(grammar, ordered, from, to) {
            moved.push(ordered);
        }
    }
    for old in from {
        match index.find(old, grammar) {
            // A hidden container cannot be named: what is in it goes.
            None if grammar.node(old.node).typed.is_hidden => {
                compare(grammar, old, &Item { node: old.node, value: String::new(), children: Vec::new() }, &mut found);
            }
            None => found.deleted.push(stub(grammar, old)),
            Some(at) => {
                let same = &to[at];
                if goes_along(old) {
                    continue;
                }
                if moved.contains(&old.node) {
                    found.deleted.push(stub(grammar, old));
                    continue;
                }
                is_new[at] = false;
                compare(grammar, old, same, &mut found);
            }
        }
    }
    found.set.extend(to.iter().zip(is_new).filter(|(_, is_new)| *is_new).map(|(item, _)| item.clone()));
    found
}

fn compare(grammar: &Grammar, old: &Item, new: &Item, found: &mut Difference) {
    if grammar.is_leaf_like(old.node) {
        if old.value != new.value {
            found.set.push(new.clone());
        }
        return;
    }
    let keys = |item: &Item| -> Vec<Item> {
        item.children.iter().filter(|child| grammar.is_key(child.node)).cloned().collect()
    };
    let below = difference(grammar, &old.children, &new.children);
    for (into, mut children) in [(&mut found.deleted, below.deleted), (&mut found.set, below.set)] {
        if !children.is_empty() {
            let mut all = keys(old);
            all.append(&mut children);
            into.push(Item { node: old.node, value: String::new(), children: all });
        }
    }
}

/// The item itself for a leaf; for others what names it.
fn stub(grammar: &Grammar, item: &Item) -> Item {
    let children = item.children.iter().filter(|child| grammar.is_key(child.node)).cloned().collect();
    Item { node: item.node, value: item.value.clone(), children }
}

fn order_changed(grammar: &Grammar, node: NodeId, from: &[Item], to: &[Item]) -> bool {
    let of = |items: &[Item]| -> Vec<Item> {
        items.iter().filter(|item| item.node == node).map(|item| stub(grammar, item)).collect()
    };
    let (before, after) = (of(from), of(to));
    // New entries at the end leave the others where they are.
    let index = Index::of(grammar, &after);
    let common: Vec<&Item> = before.iter().filter(|item| index.find(item, grammar).is_some()).collect();
    after.iter().take(common.len()).ne(common)
}

/// Finds the same instance among many siblings without looking at each.
pub(super) struct Index(std::collections::HashMap<(NodeId, String), usize>);

impl Index {
    pub(super) fn of(grammar: &Grammar, items: &[Item]) -> Self {
        Self(items.iter().enumerate().map(|(at, item)| (Self::name(grammar, item), at)).collect())
    }

    fn name(grammar: &Grammar, item: &Item) -> (NodeId, String) {
        let name = match &grammar.node(item.node).kind {
            Kind::List { .. } => item.keys(grammar).join("\0"),
            Kind::LeafList => item.value.clone(),
            Kind::Container { .. } | Kind::Leaf | Kind::Any => String::new(),
        };
        (item.node, name)
    }

    pub(super) fn find(&self, item: &Item, grammar: &Grammar) -> Option<usize> {
        self.0.get(&Self::name(grammar, item)).copied()
    }
}

/// Keeps what lies at or below a path of instances, with what leads there.
pub fn narrowed(grammar: &Grammar, items: &[Item], path: &[Item]) -> Vec<Item> {
    let Some((first, rest)) = path.split_first() else { return items.to_vec() };
    let matches = |item: &&Item| {
        item.node == first.node && (first.children.is_empty() && first.value.is_empty() || item.is_same(first, grammar))
    };
    items
        .iter()
        .filter(matches)
        .filter_map(|item| {
            if rest.is_empty() {
                return Some(item.clone());
            }
            let mut children: Vec<Item> =
                item.children.iter().filter(|child| grammar.is_key(child.node)).cloned().collect();
            let below = narrowed(grammar, &item.children, rest);
            if below.is_empty() {
                return None;
            }
            children.extend(below);
            Some(Item { node: item.node, value: item.value.clone(), children })
        })
        .collect()
}
