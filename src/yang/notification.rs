//! Notifications of YANG modules as trees, so that they can be filtered and printed.
//!
//! Names and values are checked. Whether the nodes that instance-identifiers name are there is not: a notification tells
//! of what was. Must not know: streams, subscribers.

use super::build::{self, Accept, Given};
use super::schema::{NodeKind, Schema, SchemaNode};
use super::tree::Tree;
use super::value::Element;
use super::xml;
use crate::northbound::{Kind, Refusal};

/// A notification and its node in the schema.
pub struct Notification {
    pub tree: Tree,
    pub node: SchemaNode,
}

/// From plain values; the module of `element` is set.
pub fn from_element(schema: &'static Schema, element: &Element) -> Result<Notification, Vec<Refusal>> {
    let module = element.module.as_deref().unwrap_or_default();
    from_given(schema, schema.top(module, &element.name), element)
}

/// From the XML that [`Tree::print_xml`] wrote of one.
pub fn from_xml(schema: &'static Schema, bytes: &[u8]) -> Result<Notification, Vec<Refusal>> {
    let elements = xml::parse(bytes).map_err(|refusal| vec![refusal])?;
    let [element] = elements.as_slice() else {
        let message = format!("a notification is one element, not {}", elements.len());
        return Err(vec![Refusal::new(Kind::MalformedMessage, message)]);
    };
    let module = element.namespace.as_deref().and_then(|namespace| schema.module_of_namespace(namespace));
    from_given(schema, module.and_then(|module| module.child(&element.name)), element)
}

fn from_given<G: Given>(
    schema: &'static Schema,
    node: Option<SchemaNode>,
    given: &G,
) -> Result<Notification, Vec<Refusal>> {
    let node = node.filter(|node| node.kind() == NodeKind::Notification).ok_or_else(|| {
        let kind = Kind::UnknownElement { element: given.name().to_owned() };
        vec![Refusal::new(kind, format!("no module has a notification {}", given.name()))]
    })?;
    let mut tree = Tree::new(schema);
    let at = tree.add_inner(None, node).map_err(|faults| {
        vec![super::errors::from_other(Kind::OperationFailed, "the notification cannot be put together", &faults)]
    })?;
    build::add_all(&mut tree, Some(at), given.children(), Accept::Everything)?;
    Ok(Notification { tree, node })
}
