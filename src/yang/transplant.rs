//! Makes in one tree the change that leads from one fragment to another: nodes go, come, move and change in place, with
//! their defaults and with what libyang knows about their validation. What is in neither fragment is not touched.

use super::ffi::{At, Children, Node, Tree};
use super::fragment;
use super::schema::{NodeKind, SchemaNode};

impl Tree {
    /// `self` holds what `old` holds, or at least what differs between `old` and `new` fits it.
    pub fn transplant(&mut self, old: &Tree, new: &Tree) {
        level(self, None, old.roots(), new.roots(), &mut None);
    }

    /// The same, with what came new moved over instead of copied: `new` lacks it until [`Tree::give_back`].
    pub fn transplant_from(&mut self, old: &Tree, new: &mut Tree) -> Moved {
        let mut arrivals = Some(Arrivals::default());
        level(self, None, old.roots(), new.roots(), &mut arrivals);
        let Arrivals { nodes, flags } = arrivals.unwrap_or_default();
        let mut moved = Vec::with_capacity(nodes.len());
        for Arrival { at, left, to } in nodes {
            let known = new.flags_around(left);
            self.take_over(to, new, at);
            new.put_flags(&known);
            moved.push((at, left));
        }
        self.put_flags(&flags);
        Moved(moved)
    }

    /// Moves back to `new` what came from there.
    pub fn give_back(&mut self, moved: Moved, new: &mut Tree) {
        for (at, left) in moved.0.into_iter().rev() {
            // On both sides libyang guesses anew what is a default; here the last thing in a container may go.
            let here = self.flags_around(self.node(at).parent().map(Node::position));
            let known = new.flags_around(left);
            new.take_over(left, self, at);
            new.put_flags(&known);
            self.put_flags(&here);
        }
    }
}

/// What was moved from one tree to another, and from where. Of use only while neither has changed since.
#[derive(Debug)]
pub struct Moved(Vec<(At, Option<At>)>);

/// What is to be done when all else is.
#[derive(Default)]
struct Arrivals {
    nodes: Vec<Arrival>,
    /// Of nodes of which more is known than libyang would guess.
    flags: Vec<(At, u32)>,
}

/// A node that is to be moved: whose child it is now, and whose it is to be.
struct Arrival {
    at: At,
    left: Option<At>,
    to: Option<At>,
}

impl Tree {
    /// Whether the same is written in both, in the same order where that counts. Ends at the first difference.
    pub fn is_written_like(&self, other: &Tree) -> bool {
        written_alike(self.roots(), other.roots())
    }
}

fn written_alike(one: Children<'_>, other: Children<'_>) -> bool {
    let written = |siblings: &Children<'_>| siblings.clone().filter(|node| !node.is_default()).count();
    if written(&one) != written(&other) {
        return false;
    }
    // libyang keeps all but user-ordered entries in an order of its own, and the latter in the one that counts.
    let mut last: Option<(Node<'_>, Node<'_>)> = None;
    one.filter(|node| !node.is_default()).all(|node| {
        let Some(same) = node.among(other.clone()).filter(|same| !same.is_default()) else { return false };
        let schema = node.schema();
        let follows = !schema.is_user_ordered()
            || last.is_none_or(|(before, there)| {
                before.schema() != schema || same.previous_sibling().is_some_and(|previous| previous == there)
            });
        last = Some((node, same));
        let is_same =
            node.value() == same.value() && (schema.kind() != NodeKind::AnyData || node.any_text() == same.any_text());
        follows && is_same && written_alike(node.children(), same.children())
    })
}

/// What comes new is copied at once, or where there are `arrivals` put down there; the order of a user's is kept at once.
fn level(tree: &mut Tree, parent: Option<At>, old: Children<'_>, new: Children<'_>, arrivals: &mut Option<Arrivals>) {
    for gone in old.clone().filter(|node| !is_key(*node) && node.among(new.clone()).is_none()) {
        if let Some(at) = tree.counterpart(parent, gone) {
            tree.remove(at);
        }
    }
    let mut list: Option<Ordered> = None;
    for node in new.clone().filter(|node| !is_key(*node)) {
        let before = node.among(old.clone());
        let here = tree.counterpart(parent, node);
        let at = match (before, here) {
            (None, None) => match arrivals {
                Some(arrivals) if !node.schema().is_user_ordered() => {
                    let left = node.parent().map(Node::position);
                    arrivals.nodes.push(Arrival { at: node.position(), left, to: parent });
                    None
                }
                Some(_) | None => Some(tree.copy(parent, node, true)),
            },
            // It went on the other side, where nothing stands against that.
            (Some(_), None) => None,
            (before, Some(at)) => Some(change(tree, parent, at, before, node, arrivals)),
        };
        let schema = node.schema();
        if schema.is_user_ordered() {
            if list.as_ref().is_none_or(|list| list.schema != schema) {
                list = Some(Ordered { schema, is_moved: is_moved(schema, &old, &new), previous: None });
            }
            if let (Some(list), Some(at)) = (&mut list, at) {
                if list.is_moved || before.is_none() {
                    fragment::order(tree, parent, at, list.previous, schema);
                }
                list.previous = Some(at);
            }
        }
    }
}

struct Ordered {
    schema: SchemaNode,
    is_moved: bool,
    previous: Option<At>,
}

fn change(
    tree: &mut Tree,
    parent: Option<At>,
    at: At,
    before: Option<Node<'_>>,
    node: Node<'_>,
    arrivals: &mut Option<Arrivals>,
) -> At {
    let schema = node.schema();
    match schema.kind() {
        NodeKind::Leaf | NodeKind::LeafList => {
            let is_written_alike =
                |other: Node<'_>| other.value() == node.value() && other.is_default() == node.is_default();
            if !before.is_some_and(is_written_alike) {
                if schema.kind() == NodeKind::Leaf {
                    // The value stands in a tree of the same schema: it is one.
                    let set = tree.change_term(at, node.value().unwrap_or_default());
                    debug_assert!(set.is_ok(), "a value of the same leaf");
                }
                tree.make_explicit(at);
                tree.copy_flags(at, node);
            } else if before.is_some_and(|before| !before.is_like(node)) && is_written_alike(tree.node(at)) {
                // What differs is what libyang knows of it; a value that somebody else has changed since stays his.
                tree.copy_flags(at, node);
            }
            at
        }
        NodeKind::AnyData => {
            if before.is_some_and(|before| before.any_text() == node.any_text()) {
                return at;
            }
            tree.remove(at);
            tree.copy(parent, node, true)
        }
        _ => {
            let old = before.map_or_else(Children::none, Node::children);
            let known = tree.node(at).flags();
            level(tree, Some(at), old, node.children(), arrivals);
            // Where nothing is said about it, it is what it was: libyang guesses anew when the last in it goes.
            let flags = if before.is_none_or(|before| !before.is_like(node)) { node.flags() } else { known };
            tree.put_flags(&[(at, flags)]);
            if let Some(arrivals) = arrivals {
                arrivals.flags.push((at, flags));
            }
            at
        }
    }
}

fn is_key(node: Node<'_>) -> bool {
    node.schema().is_key()
}

/// Whether the entries that both have stand in another order.
fn is_moved(schema: SchemaNode, old: &Children<'_>, new: &Children<'_>) -> bool {
    let entries = |siblings: &Children<'_>, others: &Children<'_>| -> Vec<String> {
        let others = others.clone();
        siblings
            .clone()
            .filter(|node| node.schema() == schema && node.among(others.clone()).is_some())
            .map(Node::path)
            .collect()
    };
    entries(old, new) != entries(new, old)
}
