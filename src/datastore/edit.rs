//! edit-config on a tree (RFC 6241 section 7.2, RFC 7950 sections 7.5.8 to 7.9): one walk down the edit and the tree.
//!
//! ```text
//!  operation of an element: its own `nc:operation`, else its parent's, on top the default-operation
//!            merge    create            replace           delete         remove   none
//!  absent    make     make              make              data-missing   -        data-missing
//!  present   go in    data-exists       empty, go in      take away      take     go in
//! ```
//! A node that is there by default only counts as absent. An edit checks names, values, existence and operation; what
//! is complete or consistent is for validation.

mod cover;
mod place;

use crate::northbound::{DefaultOperation, ErrorOption, Fragment, Kind, Refusal};
use crate::yang::build::{DEFAULTS_NAMESPACE, REFUSALS_MAX, unknown_attribute};
use crate::yang::fragment::Tops;
use crate::yang::schema::{NodeKind, SchemaNode};
use crate::yang::tree::{At, Node, Tree};
use crate::yang::xml::{self, XmlElement};

const BASE_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
const YANG_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:1";

/// The content of an edit-config, read but not yet looked up in the schema.
#[derive(Debug)]
pub struct Edit {
    elements: Vec<XmlElement>,
}

/// What an edit did to one node, told while it is done: the place for access control.
#[derive(Debug, Clone, Copy)]
pub struct Touch<'t> {
    /// As it is after creating or updating, and before deleting.
    pub node: Node<'t>,
    pub access: Access,
}

/// RFC 8341 section 3.2.2, as an edit needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Create,
    Update,
    Delete,
}

/// Says of each touched node whether the caller may touch it.
pub type Permit<'a> = &'a mut dyn FnMut(Touch<'_>) -> Result<(), Refusal>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Merge,
    Create,
    Replace,
    Delete,
    Remove,
    None,
}

impl Edit {
    pub fn parse(fragment: &Fragment) -> Result<Self, Refusal> {
        Ok(Self { elements: xml::parse(&fragment.0)? })
    }

    /// Configuration that was read already.
    pub(super) fn of(elements: Vec<XmlElement>) -> Self {
        Self { elements }
    }

    /// Merges into `tree` what fits the schema; answers what does not, node by node.
    pub(super) fn merge_what_fits(&self, tree: &mut Tree) -> Vec<Refusal> {
        let mut editor = Editor { tree, permit: None, refusals: Vec::new(), refusals_max: usize::MAX };
        let mut seen = Vec::new();
        for element in &self.elements {
            if let Err(refusal) = editor.one(None, element, Operation::Merge, &mut seen) {
                let is_placed = refusal.path.as_deref().is_some_and(|path| !path.is_empty());
                let path = format!("/{}", element.name);
                editor.refusals.push(if is_placed { refusal } else { refusal.at(path) });
            }
        }
        editor.refusals
    }

    /// Carries the edit out on `tree`. When something is refused the tree is left half edited: keep the one before,
    /// unless `error_option` is to continue.
    pub fn apply(
        &self,
        tree: &mut Tree,
        default_operation: DefaultOperation,
        error_option: ErrorOption,
        permit: Option<Permit<'_>>,
    ) -> Result<(), Vec<Refusal>> {
        let operation = match default_operation {
            DefaultOperation::Merge => Operation::Merge,
            DefaultOperation::Replace => Operation::Replace,
            DefaultOperation::None => Operation::None,
        };
        let refusals_max = if error_option == ErrorOption::StopOnError { 1 } else { REFUSALS_MAX };
        let mut editor = Editor { tree, permit, refusals: Vec::new(), refusals_max };
        if editor.clear_for(operation, &self.elements) {
            editor.siblings(None, &self.elements, operation);
        }
        let refusals = editor.refusals;
        // What depends on them elsewhere comes with validation.
        match operation {
            Operation::Replace => tree.add_defaults(),
            _ => {
                let edited = self.elements.iter().filter_map(|element| tree.node_meant(None, element).ok());
                let edited = Tops::of(edited);
                tree.add_defaults_of(&edited);
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }
}

struct Editor<'t, 'p> {
    tree: &'t mut Tree,
    permit: Option<Permit<'p>>,
    refusals: Vec<Refusal>,
    refusals_max: usize,
}

impl Editor<'_, '_> {
    /// RFC 6241 section 7.2: default-operation replace puts the edit in the place of the whole datastore.
    fn clear_for(&mut self, operation: Operation, elements: &[XmlElement]) -> bool {
        if operation != Operation::Replace {
            return true;
        }
        let named: Vec<SchemaNode> =
            elements.iter().filter_map(|element| self.tree.node_meant(None, element).ok()).collect();
        let others: Vec<At> = self
            .tree
            .roots()
            .filter(|node| !named.contains(&node.schema()) && !node.is_default())
            .map(|node| self.tree.at(node))
            .collect();
        for at in others {
            if let Err(refusal) = self.take_away(at) {
                self.refusals.push(refusal);
                return false;
            }
        }
        // Entries of named lists that the edit does not mention go as well.
        let lists: Vec<SchemaNode> =
            named.into_iter().filter(|node| matches!(node.kind(), NodeKind::List | NodeKind::LeafList)).collect();
        let entries: Vec<At> = self
            .tree
            .roots()
            .filter(|node| lists.contains(&node.schema()) && !node.is_default())
            .map(|node| self.tree.at(node))
            .collect();
        for at in entries {
            if let Err(refusal) = self.take_away(at) {
                self.refusals.push(refusal);
                return false;
            }
        }
        true
    }

    fn siblings(&mut self, parent: Option<At>, elements: &[XmlElement], inherited: Operation) {
        let mut seen = Vec::new();
        for element in elements {
            if self.refusals.len() >= self.refusals_max {
                return;
            }
            if let Err(refusal) = self.one(parent, element, inherited, &mut seen) {
                self.refusals.push(refusal);
            }
        }
    }

    /// A leaf that is given twice has no value. Containers may be: what is in them adds up.
    fn only_once(&self, parent: Option<At>, schema: SchemaNode, seen: &mut Vec<SchemaNode>) -> Result<(), Refusal> {
        if !matches!(schema.kind(), NodeKind::Leaf | NodeKind::AnyData) {
            return Ok(());
        }
        if seen.contains(&schema) {
            let path = self.tree.path_of(parent, schema);
            let kind = Kind::BadElement { element: schema.name().to_owned() };
            return Err(Refusal::new(kind, format!("{path} is given twice")).at(path));
        }
        seen.push(schema);
        Ok(())
    }

    /// `seen` are the leaves among the siblings before it.
    fn one(
        &mut self,
        parent: Option<At>,
        element: &XmlElement,
        inherited: Operation,
        seen: &mut Vec<SchemaNode>,
    ) -> Result<(), Refusal> {
        let schema = self.tree.node_meant(parent, element)?;
        self.only_once(parent, schema, seen)?;
        let operation = self.operation(parent, schema, element, inherited)?;
        match schema.kind() {
            NodeKind::Leaf => self.leaf(parent, schema, element, operation),
            NodeKind::LeafList => self.leaf_list(parent, schema, element, operation),
            NodeKind::List => self.list(parent, schema, element, operation),
            NodeKind::AnyData => self.any(parent, schema, element, operation),
            _ => self.container(parent, schema, element, operation),
        }
    }

    fn operation(
        &self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        inherited: Operation,
    ) -> Result<Operation, Refusal> {
        let mut operation = inherited;
        for attribute in &element.attributes {
            let path = || self.tree.path_of(parent, schema);
            match (attribute.namespace.as_deref(), &*attribute.name) {
                (Some(BASE_NAMESPACE), "operation") => {
                    operation = match attribute.value.as_str() {
                        "merge" => Operation::Merge,
                        "create" => Operation::Create,
                        "replace" => Operation::Replace,
                        "delete" => Operation::Delete,
                        "remove" => Operation::Remove,
                        other => {
                            let message = format!("{other} is not an operation of edit-config");
                            return Err(bad_attribute(element, "operation", message).at(path()));
                        }
                    };
                }
                (Some(YANG_NAMESPACE), "insert" | "key" | "value") if schema.is_user_ordered() => {}
                (Some(DEFAULTS_NAMESPACE), "default") if schema.is_leaf_like() => {}
                (Some("http://www.w3.org/XML/1998/namespace"), _) => {}
                (_, name) => return Err(unknown_attribute(&element.name, name).at(path())),
            }
        }
        Ok(operation)
    }

    fn container(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        operation: Operation,
    ) -> Result<(), Refusal> {
        self.no_text(parent, schema, element)?;
        let instance = self.tree.single(parent, schema);
        let written = instance.filter(|at| !self.tree.node(*at).is_default());
        let is_presence = matches!(schema.kind(), NodeKind::Container { presence: true });
        match (operation, written) {
            (Operation::Delete, None) => return Err(self.missing(parent, schema)),
            (Operation::Remove, None) => return Ok(()),
            (Operation::Delete | Operation::Remove, Some(at)) => return self.take_away(at),
            (Operation::Create, Some(at)) => return Err(self.exists(at)),
            (Operation::Replace, Some(at)) => self.empty(at)?,
            // A container without presence stands for nothing: it is there as soon as something is in it.
            (Operation::None, None) if is_presence => return Err(self.missing(parent, schema)),
            (Operation::Merge | Operation::None, _) | (Operation::Create | Operation::Replace, None) => {}
        }
        let at = match instance {
            Some(at) => at,
            None => self.tree.make_inner(parent, schema)?,
        };
        if written.is_none() && operation != Operation::None {
            self.choose_case(parent, schema)?;
            if is_presence {
                self.tree.write_down(at);
                self.touch(at, Access::Create)?;
            }
        }
        self.siblings(Some(at), &element.children, operation);
        Ok(())
    }

    fn list(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        operation: Operation,
    ) -> Result<(), Refusal> {
        self.no_text(parent, schema, element)?;
        let values = self.tree.keys_meant(parent, schema, element)?;
        let keys: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        let found = self.tree.list_entry(parent, schema, &keys)?;
        match (operation, found) {
            (Operation::Delete | Operation::None, None) => {
                return Err(missing_entry(&self.tree.path_of(parent, schema), &keys));
            }
            (Operation::Remove, None) => return Ok(()),
            (Operation::Delete | Operation::Remove, Some(at)) => return self.take_away(at),
            (Operation::Create, Some(at)) => return Err(self.exists(at)),
            (Operation::Replace, Some(at)) => self.empty(at)?,
            (Operation::Merge | Operation::None, Some(_))
            | (Operation::Merge | Operation::Create | Operation::Replace, None) => {}
        }
        let at = match found {
            Some(at) => at,
            None => {
                let at = self.tree.make_entry(parent, schema, &keys)?;
                self.tree.write_down(at);
                self.choose_case(parent, schema)?;
                self.touch_all(at, Access::Create)?;
                at
            }
        };
        self.place(parent, schema, element, at, found.is_some())?;
        let names = schema.keys();
        let mut seen = Vec::new();
        for child in &element.children {
            if self.refusals.len() >= self.refusals_max {
                return Ok(());
            }
            let key = names
                .iter()
                .find(|key| key.name() == &*child.name)
                .filter(|_| child.namespace.as_deref() == Some(schema.module().namespace()));
            let result = match key {
                Some(key) => self.only_once(Some(at), *key, &mut seen).and_then(|()| self.key(at, schema, child)),
                None => self.one(Some(at), child, operation, &mut seen),
            };
            if let Err(refusal) = result {
                self.refusals.push(refusal);
            }
        }
        Ok(())
    }

    /// A key says which entry is meant. It may carry no operation that would change it.
    fn key(&self, entry: At, list: SchemaNode, element: &XmlElement) -> Result<(), Refusal> {
        let operation = element.attribute(BASE_NAMESPACE, "operation");
        if matches!(operation, Some("delete" | "remove")) {
            let message =
                format!("key {} of list {} cannot be taken away: delete the entry", element.name, list.name());
            return Err(bad_attribute(element, "operation", message).at(self.tree.node(entry).path()));
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        operation: Operation,
    ) -> Result<(), Refusal> {
        self.no_children(parent, schema, element)?;
        let instance = self.tree.single(parent, schema);
        let written = instance.filter(|at| !self.tree.node(*at).is_default());
        match (operation, written) {
            (Operation::Delete, None) => return Err(self.missing(parent, schema)),
            (Operation::Remove, None) => return Ok(()),
            (Operation::Delete | Operation::Remove, Some(at)) => return self.take_away(at),
            (Operation::None, Some(_)) => return Ok(()),
            // The value of a leaf in an edit that does nothing is only there to name it; a default is in use too.
            (Operation::None, None) => {
                return if instance.is_some() { Ok(()) } else { Err(self.missing(parent, schema)) };
            }
            (Operation::Create, Some(at)) => return Err(self.exists(at)),
            (Operation::Merge | Operation::Replace, _) | (Operation::Create, None) => {}
        }
        let value = self.tree.value_meant(schema, element);
        if matches!(element.attribute(DEFAULTS_NAMESPACE, "default"), Some("true" | "1")) {
            return self.back_to_default(parent, schema, written, &value);
        }
        match instance {
            Some(at) => {
                if self.tree.set_leaf(at, &value)? {
                    self.touch(at, if written.is_some() { Access::Update } else { Access::Create })?;
                }
            }
            None => {
                let at = self.tree.make_leaf(parent, schema, &value)?;
                self.choose_case(parent, schema)?;
                self.touch(at, Access::Create)?;
            }
        }
        Ok(())
    }

    /// RFC 6243 section 4.5.2: a leaf marked as default is to be unset, if its value is the default.
    fn back_to_default(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        written: Option<At>,
        value: &str,
    ) -> Result<(), Refusal> {
        if schema.default_text() != Some(value) {
            let path = self.tree.path_of(parent, schema);
            return Err(
                Refusal::new(Kind::InvalidValue, format!("{path} is marked as a default but is not it")).at(path)
            );
        }
        written.map_or(Ok(()), |at| self.take_away(at))
    }

    fn leaf_list(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        operation: Operation,
    ) -> Result<(), Refusal> {
        self.no_children(parent, schema, element)?;
        let value = self.tree.value_meant(schema, element).into_owned();
        let instance = self.tree.leaf_list_entry(parent, schema, &value)?;
        let written = instance.filter(|at| !self.tree.node(*at).is_default());
        match (operation, written) {
            (Operation::Delete | Operation::None, None) => {
                return Err(missing_entry(&self.tree.path_of(parent, schema), &[&value]));
            }
            (Operation::Remove, None) | (Operation::None, Some(_)) => return Ok(()),
            (Operation::Delete | Operation::Remove, Some(at)) => return self.take_away(at),
            (Operation::Create, Some(at)) => return Err(self.exists(at)),
            (Operation::Merge | Operation::Replace, Some(at)) => return self.place(parent, schema, element, at, true),
            (Operation::Merge | Operation::Create | Operation::Replace, None) => {}
        }
        // Written entries take the place of the default ones.
        let defaults: Vec<At> = self
            .tree
            .children_of(parent)
            .filter(|node| node.schema() == schema && node.is_default())
            .map(|node| self.tree.at(node))
            .collect();
        for default in defaults {
            self.tree.delete(default);
        }
        let at = self.tree.make_leaf(parent, schema, &value)?;
        self.choose_case(parent, schema)?;
        self.touch(at, Access::Create)?;
        self.place(parent, schema, element, at, false)
    }

    fn any(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        operation: Operation,
    ) -> Result<(), Refusal> {
        let written = self.tree.single(parent, schema);
        match (operation, written) {
            (Operation::Delete | Operation::None, None) => return Err(self.missing(parent, schema)),
            (Operation::Remove, None) | (Operation::None, Some(_)) => return Ok(()),
            (Operation::Delete | Operation::Remove, Some(at)) => return self.take_away(at),
            (Operation::Create, Some(at)) => return Err(self.exists(at)),
            (Operation::Merge | Operation::Replace, Some(at)) => self.tree.delete(at),
            (Operation::Merge | Operation::Create | Operation::Replace, None) => {}
        }
        let at = self.tree.make_any(parent, schema, &element.inner_xml())?;
        self.choose_case(parent, schema)?;
        self.touch(at, if written.is_some() { Access::Update } else { Access::Create })
    }

    /// Everything in a node but its keys, for `replace`; so an entry keeps its place.
    fn empty(&mut self, at: At) -> Result<(), Refusal> {
        let children: Vec<At> = self
            .tree
            .node(at)
            .children()
            .filter(|child| !child.schema().is_key())
            .map(|child| self.tree.at(child))
            .collect();
        children.into_iter().try_for_each(|child| self.take_away(child))
    }

    fn take_away(&mut self, at: At) -> Result<(), Refusal> {
        self.touch_all(at, Access::Delete)?;
        self.tree.delete(at);
        Ok(())
    }

    fn touch(&mut self, at: At, access: Access) -> Result<(), Refusal> {
        match &mut self.permit {
            Some(permit) => permit(Touch { node: self.tree.node(at), access }),
            None => Ok(()),
        }
    }

    fn touch_all(&mut self, at: At, access: Access) -> Result<(), Refusal> {
        let Some(permit) = &mut self.permit else { return Ok(()) };
        fn down(
            node: Node<'_>,
            access: Access,
            permit: &mut dyn FnMut(Touch<'_>) -> Result<(), Refusal>,
        ) -> Result<(), Refusal> {
            if node.is_default() {
                return Ok(());
            }
            permit(Touch { node, access })?;
            node.children().try_for_each(|child| down(child, access, permit))
        }
        down(self.tree.node(at), access, permit)
    }

    fn missing(&self, parent: Option<At>, schema: SchemaNode) -> Refusal {
        let path = self.tree.path_of(parent, schema);
        Refusal::new(Kind::DataMissing, format!("{path} does not exist")).at(path)
    }

    fn exists(&self, at: At) -> Refusal {
        let path = self.tree.node(at).path();
        Refusal::new(Kind::DataExists, format!("{path} exists already")).at(path)
    }

    fn no_text(&self, parent: Option<At>, schema: SchemaNode, element: &XmlElement) -> Result<(), Refusal> {
        if element.text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Ok(());
        }
        let path = self.tree.path_of(parent, schema);
        let kind = Kind::BadElement { element: element.name.to_string() };
        Err(Refusal::new(kind, format!("{path} holds elements, not text")).at(path))
    }

    fn no_children(&self, parent: Option<At>, schema: SchemaNode, element: &XmlElement) -> Result<(), Refusal> {
        let Some(child) = element.children.first() else {
            return Ok(());
        };
        let path = self.tree.path_of(parent, schema);
        let kind = Kind::UnknownElement { element: child.name.to_string() };
        Err(Refusal::new(kind, format!("{path} is a leaf: it holds no elements")).at(path))
    }
}

fn missing_entry(path: &str, keys: &[&str]) -> Refusal {
    Refusal::new(Kind::DataMissing, format!("{path} has no entry {}", keys.join(" "))).at(path)
}

fn bad_attribute(element: &XmlElement, attribute: &str, message: String) -> Refusal {
    let kind = Kind::BadAttribute { element: element.name.to_string(), attribute: attribute.to_owned() };
    Refusal::new(kind, message)
}
