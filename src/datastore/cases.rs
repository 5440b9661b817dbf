//! A choice that two sides decide differently: neither touches a node of the other's, and yet both cannot be.

use std::collections::HashMap;

use crate::northbound::provider::{Change, Edit};
use crate::yang::schema::{NodeKind, SchemaNode};
use crate::yang::tree::{Node, Tree};

/// Where a choice is: below which node of the data (none: on top), and which one.
type Place = (Option<String>, SchemaNode);

/// The nodes, of both sides, that came into different cases of one choice.
pub(super) fn conflicts(ours: &[Change], our_tree: &Tree, theirs: &[Change], their_tree: &Tree) -> Vec<String> {
    let taken = decisions(theirs, their_tree);
    if taken.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (place, (case, path)) in decisions(ours, our_tree) {
        if let Some((other, their_path)) = taken.get(&place)
            && *other != case
        {
            found.extend([path, their_path.clone()]);
        }
    }
    found
}

/// What came in `tree` and decides a choice: the case, and the node that is in it.
fn decisions(changes: &[Change], tree: &Tree) -> HashMap<Place, (SchemaNode, String)> {
    let came = changes.iter().filter(|change| matches!(change.edit, Edit::Create { .. }));
    let nodes = came.filter_map(|change| Some((tree.find(&change.path)?, &change.path)));
    nodes
        .flat_map(|(node, path)| {
            let above = node.parent().map(Node::path);
            cases(node.schema()).map(move |(choice, case)| ((above.clone(), choice), (case, path.clone())))
        })
        .collect()
}

/// The choices around a node that data does not show, each with the case that the node is in.
fn cases(node: SchemaNode) -> impl Iterator<Item = (SchemaNode, SchemaNode)> {
    let is_hidden = |node: &SchemaNode| matches!(node.kind(), NodeKind::Choice | NodeKind::Case);
    std::iter::successors(Some(node), move |node| node.parent().filter(is_hidden)).filter_map(SchemaNode::case)
}
