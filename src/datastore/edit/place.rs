//! What an edit does to the neighbours of a node: the place of a user-ordered entry, and the other cases of a choice.

use super::{Access, Editor, YANG_NAMESPACE, bad_attribute};
use crate::northbound::{Kind, Refusal};
use crate::yang::schema::{NodeKind, SchemaNode};
use crate::yang::tree::At;
use crate::yang::xml::XmlElement;

impl Editor<'_, '_> {
    /// RFC 7950 sections 7.7.9 and 7.8.6: where an entry of a user-ordered list goes.
    pub(super) fn place(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        element: &XmlElement,
        at: At,
        existed: bool,
    ) -> Result<(), Refusal> {
        let Some(insert) = element.attribute(YANG_NAMESPACE, "insert") else {
            return Ok(());
        };
        let entries: Vec<At> = self
            .tree
            .children_of(parent)
            .filter(|node| node.schema() == schema)
            .map(|node| self.tree.at(node))
            .collect();
        let (anchor, before) = match insert {
            "first" => (entries.first().copied(), true),
            "last" => (entries.last().copied(), false),
            "before" | "after" => (Some(self.anchor(parent, schema, element, at)?), insert == "before"),
            other => {
                let message = format!("{other} is not a place: first, last, before and after are");
                return Err(bad_attribute(element, "insert", message).at(self.tree.node(at).path()));
            }
        };
        let Some(anchor) = anchor.filter(|anchor| *anchor != at) else {
            return Ok(());
        };
        self.tree.put_beside(at, anchor, before)?;
        if existed { self.touch(at, Access::Update) } else { Ok(()) }
    }

    fn anchor(&self, parent: Option<At>, schema: SchemaNode, element: &XmlElement, at: At) -> Result<At, Refusal> {
        let name = if schema.kind() == NodeKind::List { "key" } else { "value" };
        let path = self.tree.node(at).path();
        let Some(given) = element.attribute(YANG_NAMESPACE, name) else {
            let message = format!("insert needs the attribute {name} that says beside which entry");
            let kind = Kind::MissingAttribute { element: element.name.to_string(), attribute: name.to_owned() };
            return Err(Refusal::new(kind, message).at(path));
        };
        let found = if schema.kind() == NodeKind::List {
            self.tree.entry_of_predicate(parent, schema, given, element)
        } else {
            self.tree.leaf_list_entry(parent, schema, given).ok().flatten()
        };
        found.ok_or_else(|| {
            // RFC 7950 section 15.7.
            bad_attribute(element, name, format!("there is no entry {given} to insert beside"))
                .at(path)
                .tagged("missing-instance")
        })
    }

    /// RFC 7950 section 7.9: a node of one case takes away those of all other cases.
    pub(super) fn choose_case(&mut self, parent: Option<At>, schema: SchemaNode) -> Result<(), Refusal> {
        let mut inner = schema;
        while let Some((choice, case)) = inner.case() {
            let rivals: Vec<At> = self
                .tree
                .children_of(parent)
                .filter(|node| is_in_another_case(node.schema(), choice, case))
                .map(|node| self.tree.at(node))
                .collect();
            for rival in rivals {
                self.take_away(rival)?;
            }
            inner = choice;
        }
        Ok(())
    }
}

fn is_in_another_case(schema: SchemaNode, choice: SchemaNode, case: SchemaNode) -> bool {
    let mut at = schema;
    while let Some((outer, inner)) = at.case() {
        if outer == choice {
            return inner != case;
        }
        at = outer;
    }
    false
}
