//! What of a configuration an edit must see: the entries that it names, and all of what it may take away.

use super::{BASE_NAMESPACE, Edit};
use crate::northbound::DefaultOperation;
use crate::yang::analysis::data_nodes;
use crate::yang::change::{canonical_keys, config_child};
use crate::yang::fragment::{Cover, Tops};
use crate::yang::schema::{NodeKind, Schema, SchemaNode};
use crate::yang::xml::XmlElement;

impl Edit {
    /// The part of a configuration in which the edit finds all that it would find in the whole.
    pub fn cover(&self, schema: &Schema, default_operation: DefaultOperation) -> Cover {
        if default_operation == DefaultOperation::Replace {
            return Cover::everything();
        }
        let mut cover = Cover::default();
        siblings(schema, None, &self.elements, &mut cover);
        let edited = self.elements.iter().filter_map(|element| config_child(schema, None, element));
        cover.with_tops(Tops::around(schema.analysis(), edited))
    }
}

/// What is wrong in an edit needs no cover: it is refused when the edit is carried out.
fn siblings(schema: &Schema, parent: Option<SchemaNode>, elements: &[XmlElement], cover: &mut Cover) {
    for element in elements {
        let Some(node) = config_child(schema, parent, element) else { continue };
        rivals(node, cover);
        // Deleting and replacing look at everything below: each node is asked for, and is in the record.
        let takes_away =
            matches!(element.attribute(BASE_NAMESPACE, "operation"), Some("delete" | "remove" | "replace"));
        match node.kind() {
            NodeKind::Container { .. } => {
                let inner = cover.container(node);
                if takes_away {
                    inner.cover_all();
                }
                siblings(schema, Some(node), &element.children, inner);
            }
            NodeKind::List => {
                if node.is_user_ordered() {
                    cover.all_entries(node);
                }
                let Some(keys) = canonical_keys(schema, node, element) else { continue };
                let entry = cover.entry(node, keys);
                if takes_away {
                    entry.cover_all();
                }
                siblings(schema, Some(node), &element.children, entry);
            }
            _ => {}
        }
    }
}

/// A node of one case takes away those of all other cases.
fn rivals(node: SchemaNode, cover: &mut Cover) {
    let mut inner = node;
    while let Some((choice, case)) = inner.case() {
        let others = choice.children().into_iter().filter(|other| *other != case);
        for rival in data_nodes(others.collect()) {
            match rival.kind() {
                NodeKind::Container { .. } => cover.container(rival).cover_all(),
                NodeKind::List => cover.whole_list(rival),
                _ => {}
            }
        }
        inner = choice;
    }
}
