//! Trees from XML and from plain values: every name is looked up in the schema, every value checked by its type.
//!
//! All mistakes are told, each with its path. Whether the data is complete is for validation to say.

use std::borrow::Cow;

use super::ffi::{At, Node};
use super::schema::{NodeKind, Schema, SchemaNode};
use super::tree::Tree;
use super::value::Element;
use super::xml::XmlElement;
use super::{errors, path, prefix};
use crate::northbound::{Kind, Refusal};
use crate::sys::weight;

/// RFC 6243: marks what a server had only reported as a default.
pub const DEFAULTS_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:default:1.0";

/// More mistakes than this are not worth a reply.
pub const REFUSALS_MAX: usize = 64;

/// Which nodes are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    Config,
    Everything,
    /// The output of an rpc or action.
    Output,
}

/// Adds the elements below `parent`.
pub(super) fn add_all<G: Given>(
    tree: &mut Tree,
    parent: Option<At>,
    items: &[G],
    accept: Accept,
) -> Result<(), Vec<Refusal>> {
    let mut builder = Builder { accept, refusals: Vec::new() };
    builder.siblings(tree, parent, items);
    if builder.refusals.is_empty() { Ok(()) } else { Err(builder.refusals) }
}

/// Something to build from: an XML element or a plain value.
pub(super) trait Given: Sized {
    fn name(&self) -> &str;
    fn find(
        &self,
        schema: &Schema,
        parent: Option<SchemaNode>,
        accept: Accept,
        above: &str,
    ) -> Result<SchemaNode, Refusal>;
    /// The notification of that name, on top or of a data node.
    fn notification(&self, schema: &Schema, parent: Option<SchemaNode>) -> Option<SchemaNode>;
    fn value(&self, schema: &Schema, leaf: SchemaNode) -> Cow<'_, str>;
    fn any_content(&self) -> Cow<'_, str>;
    fn children(&self) -> &[Self];
    /// Text where only elements may be.
    fn stray_text(&self) -> bool;
    /// Was it marked as a mere default?
    fn is_default(&self) -> bool;
    fn check_attributes(&self, _path: &str) -> Result<(), Refusal> {
        Ok(())
    }
}

struct Builder {
    accept: Accept,
    refusals: Vec<Refusal>,
}

impl Builder {
    fn siblings<G: Given>(&mut self, tree: &mut Tree, parent: Option<At>, items: &[G]) {
        for item in items {
            weight::yield_if_light();
            if self.refusals.len() >= REFUSALS_MAX {
                return;
            }
            if let Err(refusal) = self.one(tree, parent, item) {
                self.refusals.push(refusal);
            }
        }
    }

    fn one<G: Given>(&mut self, tree: &mut Tree, parent: Option<At>, item: &G) -> Result<(), Refusal> {
        let schema = tree.schema();
        let above = parent.map(|parent| tree.node(parent));
        let node = item.find(schema, above.map(Node::schema), self.accept, "").map_err(|mut refusal| {
            // The path is made only when it is needed: most elements are right.
            let place = above.map(Node::path).unwrap_or_default();
            refusal.path = Some(format!("{place}{}", refusal.path.unwrap_or_default()));
            refusal
        })?;
        let here = || path::child_path(above, node, "");
        if self.accept == Accept::Config && !node.is_config() {
            let path = here();
            return Err(Refusal::new(
                Kind::UnknownElement { element: node.name().to_owned() },
                format!("{path} is state, not configuration"),
            )
            .at(path));
        }
        item.check_attributes("").map_err(|refusal| refusal.at(here()))?;
        match node.kind() {
            NodeKind::Leaf | NodeKind::LeafList => self.term(tree, parent, node, item),
            NodeKind::List => self.entry(tree, parent, node, item),
            NodeKind::AnyData => {
                let added = tree.add_any(parent, node, &item.any_content());
                added.map(|_| ()).map_err(|faults| {
                    errors::from_value(&path::child_path(parent.map(|parent| tree.node(parent)), node, ""), &faults)
                })
            }
            _ => {
                no_text(item, here)?;
                let existing = tree.instance(parent, node, None).ok().flatten();
                let at = match existing {
                    Some(at) => at,
                    None => tree.add_inner(parent, node).map_err(|faults| {
                        errors::from_other(Kind::OperationFailed, "the node cannot be made", &faults)
                    })?,
                };
                if matches!(node.kind(), NodeKind::Container { presence: true }) {
                    tree.make_explicit(at);
                }
                self.siblings(tree, Some(at), item.children());
                Ok(())
            }
        }
    }

    fn term<G: Given>(
        &mut self,
        tree: &mut Tree,
        parent: Option<At>,
        node: SchemaNode,
        item: &G,
    ) -> Result<(), Refusal> {
        let above = |tree: &Tree| path::child_path(parent.map(|parent| tree.node(parent)), node, "");
        if let Some(child) = item.children().first() {
            let path = above(tree);
            let element = child.name().to_owned();
            return Err(Refusal::new(
                Kind::UnknownElement { element },
                format!("{path} is a leaf: it holds no elements"),
            )
            .at(path));
        }
        if node.is_key() && parent.is_some_and(|at| tree.node(at).schema().kind() == NodeKind::List) {
            // Keys were set when the entry was made.
            return Ok(());
        }
        let value = item.value(tree.schema(), node);
        if item.is_default() {
            // RFC 6243 section 4.5.2: only the default itself may be so marked; it then counts as not set.
            return if node.default_text().is_some_and(|default| default == value) {
                Ok(())
            } else {
                let path = above(tree);
                Err(Refusal::new(Kind::InvalidValue, format!("{path} is marked as a default but is not it")).at(path))
            };
        }
        if node.kind() == NodeKind::Leaf && tree.instance(parent, node, None).ok().flatten().is_some() {
            let path = above(tree);
            let element = node.name().to_owned();
            return Err(Refusal::new(Kind::BadElement { element }, format!("{path} is given twice")).at(path));
        }
        match tree.add_term(parent, node, &value) {
            Ok(at) => {
                tree.make_explicit(at);
                Ok(())
            }
            Err(faults) => Err(errors::from_value(&above(tree), &faults)),
        }
    }

    fn entry<G: Given>(
        &mut self,
        tree: &mut Tree,
        parent: Option<At>,
        node: SchemaNode,
        item: &G,
    ) -> Result<(), Refusal> {
        let above = |tree: &Tree| path::child_path(parent.map(|parent| tree.node(parent)), node, "");
        no_text(item, || above(tree))?;
        let keys = key_values(tree.schema(), node, item).map_err(|refusal| refusal.at(above(tree)))?;
        let texts: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        let at = tree.add_list(parent, node, &texts).map_err(|faults| errors::from_value(&above(tree), &faults))?;
        self.siblings(tree, Some(at), item.children());
        Ok(())
    }
}

/// The values of an entry's keys, in the order of the schema.
pub(super) fn key_values<'a, G: Given>(
    schema: &Schema,
    list: SchemaNode,
    item: &'a G,
) -> Result<Vec<Cow<'a, str>>, Refusal> {
    let mut values = Vec::new();
    for &key in list.keys() {
        let given = item.children().iter().find(|child| {
            child.name() == key.name()
                && child.find(schema, Some(list), Accept::Everything, "").is_ok_and(|node| node == key)
        });
        let Some(given) = given else {
            let element = key.name().to_owned();
            return Err(Refusal::new(
                Kind::MissingElement { element },
                format!("an entry of list {} lacks its key {}", list.name(), key.name()),
            ));
        };
        values.push(given.value(schema, key));
    }
    Ok(values)
}

fn no_text<G: Given>(item: &G, path: impl Fn() -> String) -> Result<(), Refusal> {
    if item.stray_text() {
        let path = path();
        let element = item.name().to_owned();
        return Err(Refusal::new(Kind::BadElement { element }, format!("{path} holds elements, not text")).at(path));
    }
    Ok(())
}

impl Given for XmlElement {
    fn name(&self) -> &str {
        &self.name
    }

    fn find(
        &self,
        schema: &Schema,
        parent: Option<SchemaNode>,
        accept: Accept,
        above: &str,
    ) -> Result<SchemaNode, Refusal> {
        let element = || self.name.to_string();
        let namespace = self.namespace.as_deref().unwrap_or("");
        let module = schema.module_of_namespace(namespace).ok_or_else(|| {
            let message = if namespace.is_empty() {
                format!("element {} is in no namespace", self.name)
            } else {
                format!("element {} is in a namespace that no module has: {namespace}", self.name)
            };
            Refusal::new(Kind::UnknownNamespace { element: element(), namespace: namespace.to_owned() }, message)
                .at(above)
        })?;
        lookup(parent, module, &self.name, accept).ok_or_else(|| {
            let place = parent.map_or_else(|| format!("module {}", module.name()), |parent| parent.name().to_owned());
            let message = format!("there is no element {} of module {} in {place}", self.name, module.name());
            Refusal::new(Kind::UnknownElement { element: element() }, message).at(format!(
                "{above}/{}:{}",
                module.name(),
                self.name
            ))
        })
    }

    fn notification(&self, schema: &Schema, parent: Option<SchemaNode>) -> Option<SchemaNode> {
        notification(parent, schema.module_of_namespace(self.namespace.as_deref()?)?, &self.name)
    }

    fn value(&self, schema: &Schema, leaf: SchemaNode) -> Cow<'_, str> {
        prefix::module_names(schema, leaf, &self.text, &self.scope)
    }

    fn any_content(&self) -> Cow<'_, str> {
        Cow::Owned(self.inner_xml())
    }

    fn children(&self) -> &[Self] {
        &self.children
    }

    fn stray_text(&self) -> bool {
        !self.text.bytes().all(|byte| byte.is_ascii_whitespace())
    }

    fn is_default(&self) -> bool {
        matches!(self.attribute(DEFAULTS_NAMESPACE, "default"), Some("true" | "1"))
    }

    fn check_attributes(&self, path: &str) -> Result<(), Refusal> {
        for attribute in &self.attributes {
            let known = attribute.namespace.as_deref() == Some(DEFAULTS_NAMESPACE) && &*attribute.name == "default";
            let is_xml = attribute.namespace.as_deref() == Some("http://www.w3.org/XML/1998/namespace");
            if !known && !is_xml {
                return Err(unknown_attribute(&self.name, &attribute.name).at(path));
            }
        }
        Ok(())
    }
}

pub(crate) fn unknown_attribute(element: &str, attribute: &str) -> Refusal {
    Refusal::new(
        Kind::UnknownAttribute { element: element.to_owned(), attribute: attribute.to_owned() },
        format!("element {element} may not have an attribute {attribute} here"),
    )
}

impl Given for Element {
    fn name(&self) -> &str {
        &self.name
    }

    fn find(
        &self,
        schema: &Schema,
        parent: Option<SchemaNode>,
        accept: Accept,
        above: &str,
    ) -> Result<SchemaNode, Refusal> {
        let element = || self.name.to_string();
        let module = match (&self.module, parent) {
            (Some(name), _) => schema.module(name),
            (None, Some(parent)) => Some(parent.module()),
            (None, None) => None,
        };
        module.and_then(|module| lookup(parent, module, &self.name, accept)).ok_or_else(|| {
            let place = parent.map_or("the top", SchemaNode::name);
            let message = match &self.module {
                Some(module) => format!("there is no element {} of module {module} in {place}", self.name),
                None => format!("there is no element {} in {place}", self.name),
            };
            Refusal::new(Kind::UnknownElement { element: element() }, message).at(format!("{above}/{}", self.name))
        })
    }

    fn notification(&self, schema: &Schema, parent: Option<SchemaNode>) -> Option<SchemaNode> {
        let module = match (&self.module, parent) {
            (Some(name), _) => schema.module(name)?,
            (None, parent) => parent?.module(),
        };
        notification(parent, module, &self.name)
    }

    fn value(&self, _: &Schema, _: SchemaNode) -> Cow<'_, str> {
        legal(self.text.as_deref().unwrap_or(""))
    }

    fn any_content(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.text.as_deref().unwrap_or(""))
    }

    fn children(&self) -> &[Self] {
        &self.children
    }

    fn stray_text(&self) -> bool {
        self.text.as_deref().is_some_and(|text| !text.is_empty())
    }

    fn is_default(&self) -> bool {
        false
    }
}

/// RFC 7950 section 14: what no YANG string may hold becomes U+FFFD. What is told of the world, like the last words of a
/// program, may hold anything.
fn legal(text: &str) -> Cow<'_, str> {
    let is_legal = |c: char| {
        let is_control = c < ' ' && !matches!(c, '\t' | '\n' | '\r');
        let is_no_character = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
        !is_control && !is_no_character
    };
    if text.chars().all(is_legal) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_legal(c) { c } else { char::REPLACEMENT_CHARACTER }).collect())
}

fn notification(parent: Option<SchemaNode>, module: super::schema::ModuleRef, name: &str) -> Option<SchemaNode> {
    let is_meant =
        |node: &SchemaNode| node.kind() == NodeKind::Notification && node.name() == name && node.module() == module;
    match parent {
        None => module.child(name).filter(is_meant),
        Some(parent) => parent.operations().into_iter().find(is_meant),
    }
}

fn lookup(
    parent: Option<SchemaNode>,
    module: super::schema::ModuleRef,
    name: &str,
    accept: Accept,
) -> Option<SchemaNode> {
    match parent {
        None => module
            .child(name)
            .filter(|node| !matches!(node.kind(), NodeKind::Rpc | NodeKind::Action | NodeKind::Notification)),
        Some(parent) if accept == Accept::Output => {
            parent.output_child(module, name).or_else(|| parent.child(module, name))
        }
        Some(parent) => parent.child(module, name),
    }
}
