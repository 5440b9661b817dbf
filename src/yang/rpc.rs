//! rpcs and actions of YANG modules: input in, output out, both checked by the schema.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::build::{self, Accept, Given};
use super::ffi::{At, Tree};
use super::schema::{ModuleRef, NodeKind, Schema, SchemaNode};
use super::value::Element;
use super::xml::XmlElement;
use super::{errors, path, tree, xml};
use crate::northbound::refusal::Layer;
use crate::northbound::{Fragment, Kind, Refusal};

/// An rpc or action that somebody asks for. Plain values: it may cross threads.
#[derive(Debug, Clone)]
pub struct Operation {
    schema: &'static Schema,
    node: SchemaNode,
    /// The data path of the node that an action is asked of.
    parent: Option<Arc<str>>,
    input: Element,
}

impl Operation {
    /// The operation element of an `<rpc>`. Data that its constraints look at is taken from `state`.
    pub fn parse_rpc(schema: &'static Schema, fragment: &Fragment, state: Option<&Tree>) -> Result<Self, Vec<Refusal>> {
        let elements = xml::parse(&fragment.0).map_err(|refusal| vec![refusal.at_layer(Layer::Rpc)])?;
        let [element] = elements.as_slice() else {
            let message = format!("an rpc holds one operation, not {}", elements.len());
            return Err(vec![Refusal::new(Kind::MalformedMessage, message).at_layer(Layer::Rpc)]);
        };
        let module = module_of(schema, element)?;
        let node = module.child(&element.name).filter(|node| node.kind() == NodeKind::Rpc).ok_or_else(|| {
            let message = format!("module {} has no operation {}", module.name(), element.name);
            vec![Refusal::new(Kind::OperationNotSupported, message).at_layer(Layer::Protocol)]
        })?;
        let mut tree = Tree::new(schema);
        let at = tree.add_inner(None, node).map_err(|faults| vec![not_made(&faults)])?;
        Self::finish(schema, node, None, tree, at, element, state)
    }

    /// The content of an `<action>`: the way down to the node, then the action itself.
    pub fn parse_action(
        schema: &'static Schema,
        fragment: &Fragment,
        state: Option<&Tree>,
    ) -> Result<Self, Vec<Refusal>> {
        let elements = xml::parse(&fragment.0).map_err(|refusal| vec![refusal.at_layer(Layer::Rpc)])?;
        let [top] = elements.as_slice() else {
            let message = format!("an action names one node, not {}", elements.len());
            return Err(vec![Refusal::new(Kind::MalformedMessage, message).at_layer(Layer::Rpc)]);
        };
        let mut tree = Tree::new(schema);
        let mut parent: Option<At> = None;
        let mut element = top;
        loop {
            let above = parent.map(|at| tree.node(at));
            let here = above.map(|node| node.path()).unwrap_or_default();
            if let Some(holder) = above.map(|node| node.schema())
                && let Some(action) = holder.action(&element.name)
                && module_of(schema, element)? == action.module()
            {
                if let Some(data) = state
                    && data.find(&here).is_none()
                {
                    let message = format!("there is no {here} to ask {} of", element.name);
                    return Err(vec![Refusal::new(Kind::DataMissing, message).at(here)]);
                }
                let at = tree.add_inner(parent, action).map_err(|faults| vec![not_made(&faults)])?;
                return Self::finish(schema, action, Some(here.into()), tree, at, element, state);
            }
            let node = element
                .find(schema, above.map(|node| node.schema()), Accept::Everything, &here)
                .map_err(|refusal| vec![refusal])?;
            let added = if node.kind() == NodeKind::List {
                let keys = build::key_values(schema, node, element).map_err(|refusal| vec![refusal.at(&here)])?;
                let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
                tree.add_list(parent, node, &keys)
            } else {
                tree.add_inner(parent, node)
            };
            let at = added.map_err(|faults| vec![errors::from_value(&format!("{here}/{}", node.name()), &faults)])?;
            let keys = node.keys();
            let mut inner = element.children.iter().filter(|child| !keys.iter().any(|key| key.name() == &*child.name));
            let (Some(next), None) = (inner.next(), inner.next()) else {
                let path = tree.node(at).path();
                let message = format!("below {path} one action is expected");
                return Err(vec![
                    Refusal::new(Kind::MissingElement { element: "action".to_owned() }, message).at(path),
                ]);
            };
            parent = Some(at);
            element = next;
        }
    }

    fn finish(
        schema: &'static Schema,
        node: SchemaNode,
        parent: Option<Arc<str>>,
        mut tree: Tree,
        at: At,
        element: &XmlElement,
        state: Option<&Tree>,
    ) -> Result<Self, Vec<Refusal>> {
        build::add_all(&mut tree, Some(at), &element.children, Accept::Everything)?;
        tree.validate_operation(at, state, false).map_err(|faults| errors::from_input(schema, faults))?;
        let input = tree::element(tree.node(at), true);
        Ok(Self { schema, node, parent, input })
    }

    pub fn schema_node(&self) -> SchemaNode {
        self.node
    }

    /// The schema path of an rpc; for an action the data path of its node, and its name.
    pub fn path(&self) -> String {
        match &self.parent {
            Some(parent) => path::extend(parent, self.node.data_parent(), self.node, ""),
            None => format!("/{}:{}", self.node.module().name(), self.node.name()),
        }
    }

    /// The node that an action is asked of.
    pub fn data_path(&self) -> Option<&str> {
        self.parent.as_deref()
    }

    pub fn input(&self) -> &Element {
        &self.input
    }

    /// The children of the rpc-reply, checked: what a provider returns must be what the schema promises.
    pub fn output(&self, output: &[Element]) -> Result<Bytes, Vec<Refusal>> {
        let mut tree = Tree::new(self.schema);
        let mut parent = None;
        if let Some(path) = &self.parent {
            parent = Some(tree.add_path(path).map_err(|faults| vec![not_made(&faults)])?);
        }
        let at = tree.add_inner(parent, self.node).map_err(|faults| vec![not_made(&faults)])?;
        build::add_all(&mut tree, Some(at), output, Accept::Output)?;
        tree.validate_operation(at, None, true).map_err(|faults| errors::from_validation(self.schema, faults))?;
        let mut bytes = BytesMut::new();
        let children: Vec<At> = tree.node(at).children().map(|child| tree.at(child)).collect();
        for child in children {
            bytes.extend_from_slice(
                &tree.print_at(child, tree::defaults_option(crate::northbound::WithDefaults::Explicit)),
            );
        }
        Ok(bytes.freeze())
    }
}

fn module_of(schema: &Schema, element: &XmlElement) -> Result<ModuleRef, Vec<Refusal>> {
    let namespace = element.namespace.as_deref().unwrap_or("");
    schema.module_of_namespace(namespace).ok_or_else(|| {
        let kind = Kind::UnknownNamespace { element: element.name.to_string(), namespace: namespace.to_owned() };
        let message = format!("element {} is in a namespace that no module has: {namespace}", element.name);
        vec![Refusal::new(kind, message).at_layer(Layer::Protocol)]
    })
}

fn not_made(faults: &[super::ffi::Fault]) -> Refusal {
    errors::from_other(Kind::OperationFailed, "the operation cannot be put together", faults)
}
