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

/// Says whether somebody may ask for an operation, of which node of the data it is an action where it is one. Asked before
/// anything else is told of the input, or of what is there.
pub type Permit<'a> = &'a dyn Fn(SchemaNode, Option<&str>) -> Result<(), Refusal>;

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
    pub fn parse_rpc(
        schema: &'static Schema,
        fragment: &Fragment,
        state: Option<&Tree>,
        permit: Permit<'_>,
    ) -> Result<Self, Vec<Refusal>> {
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
        permit(node, None).map_err(|refusal| vec![refusal])?;
        let mut tree = Tree::new(schema);
        let at = tree.add_inner(None, node).map_err(|faults| vec![not_made(&faults)])?;
        Self::finish(schema, node, None, tree, at, element, state)
    }

    /// The content of an `<action>`: the way down to the node, then the action itself.
    pub fn parse_action(
        schema: &'static Schema,
        fragment: &Fragment,
        state: Option<&Tree>,
        permit: Permit<'_>,
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
                permit(action, Some(&here)).map_err(|refusal| vec![refusal])?;
                // What is no configuration is its provider's to know.
                if let Some(data) = state
                    && holder.is_config()
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
        operation_path(self.node, self.parent.as_deref())
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
        self.output_in(output, None)
    }

    /// The same where the output names nodes of `state`.
    pub fn output_in(&self, output: &[Element], state: Option<&Tree>) -> Result<Bytes, Vec<Refusal>> {
        let mut tree = Tree::new(self.schema);
        let mut parent = None;
        if let Some(path) = &self.parent {
            parent = Some(tree.add_path(path).map_err(|faults| vec![not_made(&faults)])?);
        }
        let at = tree.add_inner(parent, self.node).map_err(|faults| vec![not_made(&faults)])?;
        build::add_all(&mut tree, Some(at), output, Accept::Output)?;
        tree.validate_operation(at, state, true).map_err(|faults| errors::from_validation(self.schema, faults))?;
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

/// The schema path of an rpc; for an action the data path of its node, and its name.
pub fn operation_path(node: SchemaNode, parent: Option<&str>) -> String {
    match parent {
        Some(parent) => path::extend(parent, node.data_parent(), node, ""),
        None => format!("/{}:{}", node.module().name(), node.name()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yang::schema::ModuleSpec;

    /// libyang puts what such axes give in order, and looks behind the last top node, which is empty here.
    #[test]
    fn a_constraint_of_an_operation_may_look_back_and_to_all_sides() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "module back { yang-version 1.1; namespace urn:back; prefix b; container z { leaf l { type string; } }
            grouping given { list e { key k; leaf k { type string; }
                leaf v { type string; must \"not(../preceding-sibling::b:e[b:v = current()])\"; }
                leaf w { type string; must \"not(//*/*[. = current()]/preceding::b:w[. = current()])\"; } } }
            rpc go { input { uses given; } output { uses given; } }
            container a { presence there; action go { input { uses given; } output { uses given; } } } }";
        std::fs::write(dir.path().join("back.yang"), text).unwrap();
        let module = ModuleSpec { name: "back".to_owned(), revision: None, features: Vec::new() };
        let schema = Schema::load(&[dir.path().to_owned()], &[module]).unwrap();
        let stored = |text: &str| Tree::parse_config(schema, text.as_bytes()).unwrap();
        let before = [
            stored(""),
            stored("<a xmlns='urn:back'/>"),
            stored("<a xmlns='urn:back'/><z xmlns='urn:back'><l>x</l></z>"),
        ];
        let everybody: Permit<'_> = &|_, _| Ok(());
        let judged = |leaf: &str, values: &[&str], is_action: bool, state: Option<&Tree>| {
            let entry = |(key, value): (usize, &&str)| format!("<e><k>{key}</k><{leaf}>{value}</{leaf}></e>");
            let inside: String = values.iter().enumerate().map(entry).collect();
            if is_action {
                let text = format!("<a xmlns='urn:back'><go>{inside}</go></a>");
                Operation::parse_action(schema, &Fragment(text.into()), state, everybody)
            } else {
                let text = format!("<go xmlns='urn:back'>{inside}</go>");
                Operation::parse_rpc(schema, &Fragment(text.into()), state, everybody)
            }
        };
        for leaf in ["v", "w"] {
            for state in before.iter().map(Some).chain([None]) {
                for is_action in [false, true] {
                    let is_there = state.is_none_or(|state| !state.is_empty());
                    // libyang knows no text of a whole action, which the second asks for.
                    if is_action && (!is_there || leaf == "w") {
                        continue;
                    }
                    let told = state.map(|state| state.print_xml(crate::northbound::WithDefaults::Explicit));
                    let said = (leaf, is_action, &told);
                    let right = judged(leaf, &["1", "2", "3"], is_action, state).unwrap();
                    judged(leaf, &["1", "2", "1"], is_action, state).expect_err(&format!("{said:?}"));
                    let entry = |key: &str, value| {
                        Element::node("e", vec![Element::leaf("k", key), Element::leaf(leaf, value)])
                    };
                    right.output_in(&[entry("1", "x"), entry("2", "y")], state).unwrap();
                    right.output_in(&[entry("1", "x"), entry("2", "x")], state).expect_err(&format!("{said:?}"));
                    let after = state.map(|state| state.print_xml(crate::northbound::WithDefaults::Explicit));
                    assert_eq!(after, told, "nothing is left in the data");
                }
            }
        }
    }
}
