//! Containers that only hold others: they come with the first thing in them and go with the last.
//!
//! Whoever takes the last thing out of one has not said that nobody may put another into it. So, to compare what two sides
//! did, such a container stands on both as an empty shell; one that holds nothing in the end goes.

use std::collections::BTreeSet;

use crate::yang::schema::NodeKind;
use crate::yang::tree::{At, Node, Tree};

/// A container that only holds others is there by what it holds.
pub(super) fn is_mere_container(node: Node<'_>) -> bool {
    node.schema().kind() == NodeKind::Container { presence: false }
}

/// Puts an empty container into `tree` wherever `of` has a mere one and `tree` has lost it. Adds their paths to `kept`.
pub(super) fn keep(of: &Tree, tree: &mut Tree, kept: &mut BTreeSet<String>) {
    let roots: Vec<Node<'_>> = of.roots().collect();
    level(roots, tree, None, kept);
}

fn level<'t>(
    nodes: impl IntoIterator<Item = Node<'t>>,
    tree: &mut Tree,
    parent: Option<At>,
    kept: &mut BTreeSet<String>,
) {
    for node in nodes {
        let is_holder = matches!(node.schema().kind(), NodeKind::Container { .. } | NodeKind::List);
        if node.is_default() || !is_holder {
            continue;
        }
        let at = match tree.counterpart(parent, node) {
            Some(at) if !is_mere_container(node) || !tree.node(at).is_default() => at,
            Some(at) => {
                tree.write_down(at);
                kept.insert(node.path());
                at
            }
            None if is_mere_container(node) => {
                let at = tree.copy(parent, node, false);
                tree.write_down(at);
                kept.insert(node.path());
                at
            }
            // An entry or a presence container that went: that is a change by itself, and all below went with it.
            None => continue,
        };
        level(node.children(), tree, Some(at), kept);
    }
}

/// Takes the shells out again that hold nothing, inner ones first.
pub(super) fn clear(tree: &mut Tree, kept: &BTreeSet<String>) {
    for shell in kept.iter().rev() {
        let emptied = tree.find(shell).filter(|node| node.children().all(Node::is_default)).map(|node| tree.at(node));
        if let Some(emptied) = emptied {
            tree.delete(emptied);
        }
    }
}
