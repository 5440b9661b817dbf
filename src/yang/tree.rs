//! Trees as the rest of the house uses them: in and out as XML, JSON and plain values, and validated.

use bytes::Bytes;
use libyang5_sys as sys;

use super::build::{self, Accept};
pub(crate) use super::ffi::{At, release_memory};
pub use super::ffi::{Children, Node, Tree};
use super::print::Printer;
use super::schema::{NodeKind, Schema};
pub use super::transplant::Moved;
use super::value::Element;
use super::{anydata, errors, xml};
use crate::northbound::provider::Configuration;
use crate::northbound::{Kind, Refusal, WithDefaults};

impl Tree {
    /// Configuration from outside: unknown names, state and bad values are refused, each with its path.
    pub fn parse_config(schema: &'static Schema, bytes: &[u8]) -> Result<Tree, Vec<Refusal>> {
        Self::from_xml(schema, bytes, Accept::Config)
    }

    /// Configuration and state.
    pub fn parse_state(schema: &'static Schema, bytes: &[u8]) -> Result<Tree, Vec<Refusal>> {
        Self::from_xml(schema, bytes, Accept::Everything)
    }

    fn from_xml(schema: &'static Schema, bytes: &[u8], accept: Accept) -> Result<Tree, Vec<Refusal>> {
        let elements = xml::parse(bytes).map_err(|refusal| vec![refusal])?;
        let mut tree = Tree::new(schema);
        build::add_all(&mut tree, None, &elements, accept)?;
        Ok(tree)
    }

    /// What [`Tree::print_xml`] wrote: a snapshot. Not validated.
    pub fn parse_stored(schema: &'static Schema, bytes: &[u8]) -> Result<Tree, Refusal> {
        anydata::parse(schema, bytes).map_err(|faults| {
            errors::from_other(Kind::OperationFailed, "the stored configuration does not fit the YANG modules", &faults)
        })
    }

    /// State as providers tell it.
    pub fn from_elements(schema: &'static Schema, elements: &[Element]) -> Result<Tree, Vec<Refusal>> {
        let mut tree = Tree::new(schema);
        build::add_all(&mut tree, None, elements, Accept::Everything)?;
        Ok(tree)
    }

    /// Compact XML of all top nodes, with default namespaces.
    pub fn print_xml(&self, with_defaults: WithDefaults) -> Bytes {
        if with_defaults == WithDefaults::ReportAllTagged {
            // The tag is an attribute with a namespace of its own.
            return self.print(false, defaults_option(with_defaults));
        }
        self.print_plainly(defaults_option(with_defaults))
    }

    #[cfg(test)]
    pub(crate) fn print_by_libyang(&self, with_defaults: WithDefaults) -> Bytes {
        self.print(false, defaults_option(with_defaults))
    }

    pub(super) fn print_plainly(&self, options: u32) -> Bytes {
        let mut printer = Printer::new(options);
        for root in self.roots() {
            printer.node(root, None);
        }
        self.forget_faults_of_printing(options);
        printer.finish()
    }

    /// The same with containers that nothing is in: their content was cut off, and they are meant to be seen.
    pub fn print_xml_with_empty(&self, with_defaults: WithDefaults) -> Bytes {
        self.print(false, defaults_option(with_defaults) | sys::LYD_PRINT_EMPTY_CONT)
    }

    pub fn print_json(&self, with_defaults: WithDefaults) -> Bytes {
        self.print(true, defaults_option(with_defaults))
    }

    /// The node at `path` with everything below it, defaults included.
    pub fn to_element(&self, path: &str) -> Option<Element> {
        self.find(path).map(|node| element(node, true))
    }

    /// RFC 7950 section 8 in full: every mistake is told. Defaults come, data whose `when` became false goes.
    pub fn validate_config(&mut self) -> Result<(), Vec<Refusal>> {
        let schema = self.schema;
        self.validate_all().map_err(|faults| errors::from_validation(schema, faults))
    }

    /// Whether it has more nodes than that; looks at no more.
    pub fn has_more_than(&self, nodes: usize) -> bool {
        let mut waiting = vec![self.roots()];
        let mut seen = 0;
        while let Some(siblings) = waiting.last_mut() {
            match siblings.next() {
                Some(_) if seen == nodes => return true,
                Some(node) => {
                    seen += 1;
                    waiting.push(node.children());
                }
                None => drop(waiting.pop()),
            }
        }
        false
    }

    /// Without what is there by default only.
    pub fn strip_defaults(&mut self) {
        let tops: Vec<At> = self.roots().map(|node| self.at(node)).collect();
        for top in tops {
            self.strip(top);
        }
    }

    pub(super) fn strip_default_leaves(&mut self) {
        let mut waiting: Vec<At> = self.roots().map(|node| self.at(node)).collect();
        while let Some(at) = waiting.pop() {
            let node = self.node(at);
            if node.is_default() && node.schema().is_leaf_like() {
                self.remove(at);
            } else {
                waiting.extend(node.children().map(|child| self.at(child)));
            }
        }
    }

    fn strip(&mut self, at: At) {
        let node = self.node(at);
        if node.is_default() {
            self.remove(at);
            return;
        }
        let children: Vec<At> = node.children().map(|child| self.at(child)).collect();
        for child in children {
            self.strip(child);
        }
    }
}

/// The node at `path` alone, with all below it, as XML.
pub fn print_node(tree: &Tree, path: &str) -> Option<Bytes> {
    let at = tree.at(tree.find(path)?);
    Some(tree.print_at(at, defaults_option(WithDefaults::Explicit)))
}

impl Configuration for Tree {
    fn subtree(&self, path: &str) -> Option<Element> {
        self.to_element(path)
    }
}

/// A node as a plain value. `on_top` names the module even where a parent has the same.
pub fn element(node: Node<'_>, on_top: bool) -> Element {
    let schema = node.schema();
    let module = schema.module();
    let differs = on_top || node.parent().is_none_or(|parent| parent.schema().module() != module);
    let text = match schema.kind() {
        NodeKind::Leaf | NodeKind::LeafList if schema.is_empty_type() => None,
        NodeKind::Leaf | NodeKind::LeafList => node.value().map(str::to_owned),
        NodeKind::AnyData => node.any_text(),
        _ => None,
    };
    Element {
        module: differs.then(|| module.name().into()),
        name: node.name().into(),
        text,
        children: node.children().map(|child| element(child, false)).collect(),
    }
}

pub(super) fn defaults_option(with_defaults: WithDefaults) -> u32 {
    match with_defaults {
        WithDefaults::Explicit => sys::LYD_PRINT_WD_EXPLICIT,
        WithDefaults::ReportAll => sys::LYD_PRINT_WD_ALL,
        // What somebody wrote is no default in our basic mode, even where it equals it (RFC 6243 section 2.3.1).
        WithDefaults::ReportAllTagged => sys::LYD_PRINT_WD_IMPL_TAG,
        WithDefaults::Trim => sys::LYD_PRINT_WD_TRIM,
    }
}
