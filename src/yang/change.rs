//! The steps that an edit is made of, on a tree: find, make, set, move, remove. What they mean is for `datastore/edit`.

use std::borrow::Cow;

use super::build::{self, Accept, Given};
use super::ffi::{At, Node, Tree};
use super::schema::{Schema, SchemaNode};
use super::xml::XmlElement;
use super::{errors, path, prefix};
use crate::northbound::{Kind, Refusal};

/// The configuration node that an element of an edit means below `parent`, if there is one.
pub(crate) fn config_child(schema: &Schema, parent: Option<SchemaNode>, element: &XmlElement) -> Option<SchemaNode> {
    element.find(schema, parent, Accept::Config, "").ok().filter(|node| node.is_config())
}

/// The canonical values of the keys of a list element; `None` when one is missing or wrong.
pub(crate) fn canonical_keys(schema: &Schema, list: SchemaNode, element: &XmlElement) -> Option<Vec<String>> {
    let values = build::key_values(schema, list, element).ok()?;
    list.keys().iter().zip(&values).map(|(key, value)| key.canonical(value)).collect()
}

/// The values of the keys of an entry, which stand first in it.
pub(super) fn key_texts(entry: Node<'_>) -> Vec<String> {
    let keys = entry.children().take_while(|child| child.schema().is_key());
    keys.map(|key| key.value().unwrap_or_default().to_owned()).collect()
}

impl Tree {
    /// The configuration node that an element of an edit means.
    pub(crate) fn node_meant(&self, parent: Option<At>, element: &XmlElement) -> Result<SchemaNode, Refusal> {
        let above = parent.map(|parent| self.node(parent));
        let node = element.find(self.schema(), above.map(|node| node.schema()), Accept::Config, "").map_err(
            |mut refusal| {
                let place = above.map(|node| node.path()).unwrap_or_default();
                refusal.path = Some(format!("{place}{}", refusal.path.unwrap_or_default()));
                refusal
            },
        )?;
        if !node.is_config() {
            let path = path::child_path(above, node, "");
            let message = format!("{path} is state, not configuration");
            return Err(Refusal::new(Kind::UnknownElement { element: node.name().to_owned() }, message).at(path));
        }
        Ok(node)
    }

    /// The text of a leaf element, prefixes resolved.
    pub(crate) fn value_meant<'e>(&self, leaf: SchemaNode, element: &'e XmlElement) -> Cow<'e, str> {
        prefix::module_names(self.schema(), leaf, &element.text, &element.scope)
    }

    /// The values of the keys of a list element.
    pub(crate) fn keys_meant<'e>(
        &self,
        parent: Option<At>,
        list: SchemaNode,
        element: &'e XmlElement,
    ) -> Result<Vec<Cow<'e, str>>, Refusal> {
        build::key_values(self.schema(), list, element).map_err(|refusal| refusal.at(self.path_of(parent, list)))
    }

    /// The path of a child that need not be there.
    pub(crate) fn path_of(&self, parent: Option<At>, child: SchemaNode) -> String {
        path::child_path(parent.map(|parent| self.node(parent)), child, "")
    }

    /// The only instance of a container, leaf or anydata.
    pub(crate) fn single(&self, parent: Option<At>, schema: SchemaNode) -> Option<At> {
        self.instance(parent, schema, None).ok().flatten()
    }

    /// The leaf-list entry of that value.
    pub(crate) fn leaf_list_entry(
        &self,
        parent: Option<At>,
        schema: SchemaNode,
        value: &str,
    ) -> Result<Option<At>, Refusal> {
        // Without siblings libyang has nothing to look at and would let any value pass.
        self.instance(parent, schema, Some(value))
            .map_err(|faults| errors::from_value(&self.path_of(parent, schema), &faults))
    }

    /// The list entry of those keys.
    pub(crate) fn list_entry(
        &self,
        parent: Option<At>,
        schema: SchemaNode,
        keys: &[&str],
    ) -> Result<Option<At>, Refusal> {
        let names = schema.keys();
        let Some(predicate) = path::key_predicate(names, keys) else {
            // A value with both kinds of quotes cannot be written as a predicate: look at each entry.
            let Some(first) = self.single(parent, schema) else { return Ok(None) };
            let found = self.node(first).and_following().take_while(|node| node.schema() == schema).find(|node| {
                names
                    .iter()
                    .zip(keys)
                    .all(|(name, value)| node.child(*name).and_then(|key| key.value()).is_some_and(|is| is == *value))
            });
            return Ok(found.map(|node| self.at(node)));
        };
        self.instance(parent, schema, Some(&predicate))
            .map_err(|faults| errors::from_value(&self.path_of(parent, schema), &faults))
    }

    pub(crate) fn make_inner(&mut self, parent: Option<At>, schema: SchemaNode) -> Result<At, Refusal> {
        self.add_inner(parent, schema).map_err(|faults| {
            errors::from_other(Kind::OperationFailed, &format!("{} cannot be made", schema.path()), &faults)
        })
    }

    pub(crate) fn make_entry(&mut self, parent: Option<At>, schema: SchemaNode, keys: &[&str]) -> Result<At, Refusal> {
        self.add_list(parent, schema, keys).map_err(|faults| errors::from_value(&self.path_of(parent, schema), &faults))
    }

    pub(crate) fn make_leaf(&mut self, parent: Option<At>, schema: SchemaNode, value: &str) -> Result<At, Refusal> {
        let at = self
            .add_term(parent, schema, value)
            .map_err(|faults| errors::from_value(&self.path_of(parent, schema), &faults))?;
        self.make_explicit(at);
        Ok(at)
    }

    /// Whether the leaf has another value now, or is written where it was a default.
    pub(crate) fn set_leaf(&mut self, at: At, value: &str) -> Result<bool, Refusal> {
        let was_default = self.node(at).is_default();
        let changed =
            self.change_term(at, value).map_err(|faults| errors::from_value(&self.node(at).path(), &faults))?;
        self.make_explicit(at);
        Ok(changed || was_default)
    }

    pub(crate) fn make_any(&mut self, parent: Option<At>, schema: SchemaNode, inside: &str) -> Result<At, Refusal> {
        let at = self
            .add_any(parent, schema, inside)
            .map_err(|faults| errors::from_value(&self.path_of(parent, schema), &faults))?;
        self.make_explicit(at);
        Ok(at)
    }

    pub(crate) fn write_down(&mut self, at: At) {
        self.make_explicit(at);
    }

    pub(crate) fn delete(&mut self, at: At) {
        self.remove(at);
    }

    /// Puts an entry of a user-ordered list before or after another one of the same list.
    pub(crate) fn put_beside(&mut self, at: At, anchor: At, before: bool) -> Result<(), Refusal> {
        let moved = if before { self.move_before(anchor, at) } else { self.move_after(anchor, at) };
        moved.map_err(|faults| errors::from_other(Kind::OperationFailed, "the entry cannot be moved", &faults))
    }

    /// The entry that a `yang:key` attribute names (RFC 7950 section 7.8.6).
    pub(crate) fn entry_of_predicate(
        &self,
        parent: Option<At>,
        list: SchemaNode,
        predicate: &str,
        element: &XmlElement,
    ) -> Option<At> {
        let text = prefix::key_predicate(self.schema(), list, predicate, &element.scope);
        self.instance(parent, list, Some(&text)).ok().flatten()
    }
}
