//! Notifications of YANG modules as trees, so that they can be filtered and printed.
//!
//! Names and values are checked. Whether the nodes that instance-identifiers name are there is not: a notification tells
//! of what was. Must not know: streams, subscribers.

use super::build::{self, Accept, Given};
use super::ffi::At;
use super::schema::{NodeKind, Schema, SchemaNode};
use super::tree::Tree;
use super::value::Element;
use super::xml;
use crate::northbound::{Kind, Refusal};

/// A notification and its node in the schema.
pub struct Notification {
    pub tree: Tree,
    pub node: SchemaNode,
    /// The data node that it belongs to, where it belongs to one (RFC 7950 section 7.16).
    pub owner: Option<String>,
}

/// From plain values; the module of `element` is set. A notification of a data node comes as the way down to it.
pub fn from_element(schema: &'static Schema, element: &Element) -> Result<Notification, Vec<Refusal>> {
    from_given(schema, element)
}

/// From the XML that [`Tree::print_xml`] wrote of one.
pub fn from_xml(schema: &'static Schema, bytes: &[u8]) -> Result<Notification, Vec<Refusal>> {
    let elements = xml::parse(bytes).map_err(|refusal| vec![refusal])?;
    let [element] = elements.as_slice() else {
        let message = format!("a notification is one element, not {}", elements.len());
        return Err(vec![Refusal::new(Kind::MalformedMessage, message)]);
    };
    from_given(schema, element)
}

fn from_given<G: Given>(schema: &'static Schema, top: &G) -> Result<Notification, Vec<Refusal>> {
    let mut tree = Tree::new(schema);
    let mut parent: Option<At> = None;
    let mut given = top;
    loop {
        let above = parent.map(|at| tree.node(at).schema());
        if let Some(node) = given.notification(schema, above) {
            let owner = parent.map(|at| tree.node(at).path());
            let at = tree.add_inner(parent, node).map_err(|faults| vec![not_made(&faults)])?;
            build::add_all(&mut tree, Some(at), given.children(), Accept::Everything)?;
            return Ok(Notification { tree, node, owner });
        }
        let unknown = || {
            let kind = Kind::UnknownElement { element: given.name().to_owned() };
            vec![Refusal::new(kind, format!("no module has a notification {}", given.name()))]
        };
        let node = given.find(schema, above, Accept::Everything, "").map_err(|_| unknown())?;
        let added = match node.kind() {
            NodeKind::Container { .. } => tree.add_inner(parent, node),
            NodeKind::List => {
                let keys = build::key_values(schema, node, given).map_err(|refusal| vec![refusal])?;
                let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
                tree.add_list(parent, node, &keys)
            }
            _ => return Err(unknown()),
        };
        let at = added.map_err(|faults| vec![not_made(&faults)])?;
        let keys = node.keys();
        let mut inner = given.children().iter().filter(|child| !keys.iter().any(|key| key.name() == child.name()));
        let (Some(next), None) = (inner.next(), inner.next()) else { return Err(unknown()) };
        parent = Some(at);
        given = next;
    }
}

fn not_made(faults: &[super::ffi::Fault]) -> Refusal {
    super::errors::from_other(Kind::OperationFailed, "the notification cannot be put together", faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::WithDefaults;
    use crate::yang::testing;

    #[test]
    fn a_notification_of_a_data_node_comes_with_the_way_to_it() {
        let told = Element::node("stopped", vec![Element::leaf("why", "heat")]);
        let machine = Element::node("machine", vec![Element::leaf("id", "m1"), told]);
        let top = Element::node("machines", vec![machine]).in_module("sample");
        let found = from_element(testing::schema(), &top).unwrap();
        assert_eq!((found.node.name(), found.owner.as_deref()), ("stopped", Some("/sample:machines/machine[id='m1']")));
        let xml = found.tree.print_xml(WithDefaults::Explicit);
        assert_eq!(
            String::from_utf8_lossy(&xml),
            "<machines xmlns=\"urn:sample\"><machine><id>m1</id><stopped><why>heat</why></stopped></machine></machines>"
        );
        let again = from_xml(testing::schema(), &xml).unwrap();
        assert_eq!(again.owner, found.owner);
    }

    #[test]
    fn data_that_is_no_notification_is_refused() {
        let machine = |inside| Element::node("machine", inside);
        let top = |inside| Element::node("machines", inside).in_module("sample");
        for told in [
            top(vec![]),
            top(vec![machine(vec![Element::leaf("id", "m1")])]),
            top(vec![machine(vec![Element::node("stopped", vec![])])]),
            Element::leaf("top-leaf", "x").in_module("sample"),
            Element::node("stopped", vec![]).in_module("sample"),
        ] {
            assert!(from_element(testing::schema(), &told).is_err(), "{told:?}");
        }
    }
}
