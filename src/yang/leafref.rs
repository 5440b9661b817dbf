//! Leafrefs that name an entry of a list by its key: which entries a fragment has to hold so that they find what they name.
//!
//! Such a path goes up to a node around the leaf, or to the root, then down through containers to a list of one key and to that
//! key. What it names is found by the key, whatever the size of the list. All other paths are for `analysis.rs`.

use std::collections::{HashMap, HashSet};

use super::change::key_texts;
use super::ffi::{Node, Tree};
use super::fragment::{Cover, Tops};
use super::schema::{NodeKind, SchemaNode};

/// An entry that is named may name others: so many steps are followed before the whole is looked at.
pub const STEPS_MAX: usize = 8;

/// The leafrefs of the configuration that can be followed by a key.
#[derive(Debug, Default)]
pub(super) struct References {
    leaves: HashMap<SchemaNode, Way>,
    /// Inner nodes with one of them somewhere below.
    around: HashSet<SchemaNode>,
    /// The keys that they name.
    named: HashSet<SchemaNode>,
}

/// From a leaf to what it names.
#[derive(Debug)]
struct Way {
    /// So many nodes up; `None` begins at the root.
    up: Option<usize>,
    containers: Vec<SchemaNode>,
    list: SchemaNode,
    key: SchemaNode,
}

impl References {
    /// Takes over the leafref `leaf` of that path; the key that it names, if it is one that can be followed.
    pub(super) fn take(
        &mut self,
        leaf: SchemaNode,
        path: &str,
        children: &dyn Fn(Option<SchemaNode>) -> Vec<SchemaNode>,
    ) -> Option<SchemaNode> {
        let way = way(leaf, path, children)?;
        let key = way.key;
        self.named.insert(key);
        self.leaves.insert(leaf, way);
        let mut above = leaf.data_parent();
        while let Some(node) = above.filter(|node| self.around.insert(*node)) {
            above = node.data_parent();
        }
        Some(key)
    }

    pub(super) fn is_named(&self, key: SchemaNode) -> bool {
        self.named.contains(&key)
    }

    /// The key that each leafref of `tree` names, and the value it names it by.
    pub(super) fn each<'t>(&self, tree: &'t Tree, mut tell: impl FnMut(SchemaNode, &'t str)) {
        self.each_leaf(tree, &mut |leaf, way| tell(way.key, leaf.value().unwrap_or_default()));
    }

    fn each_leaf<'t>(&self, tree: &'t Tree, tell: &mut dyn FnMut(Node<'t>, &Way)) {
        if self.leaves.is_empty() {
            return;
        }
        let mut waiting: Vec<Node<'t>> = tree.roots().collect();
        while let Some(node) = waiting.pop() {
            let schema = node.schema();
            if let Some(way) = self.leaves.get(&schema) {
                tell(node, way);
            } else if self.around.contains(&schema) {
                waiting.extend(node.children());
            }
        }
    }
}

/// A search for what the leafrefs of a fragment name: one that leads nowhere is followed once.
#[derive(Debug, Default)]
pub struct Search {
    asked: HashSet<String>,
}

impl Search {
    /// What of the whole has to be in the fragment as well, so that its leafrefs find what they name; `None` when nothing
    /// is to be found any more.
    pub fn missing_in(&mut self, fragment: &Tree) -> Option<Cover> {
        let mut missing: Option<Cover> = None;
        let mut tops = Vec::new();
        fragment.schema().analysis().references().each_leaf(fragment, &mut |leaf, way| {
            let value = leaf.value().unwrap_or_default();
            if way.is_there(fragment, leaf, value) {
                return;
            }
            let Some(place) = way.above(leaf) else { return };
            if self.asked.insert(leaf.path()) {
                let mut cover = cover_of(missing.get_or_insert_default(), place);
                for container in &way.containers {
                    cover = cover.container(*container);
                }
                cover.entry(way.list, vec![value.to_owned()]);
                tops.extend(std::iter::successors(Some(way.list), |node| node.data_parent()).last());
            }
        });
        missing.map(|cover| cover.with_tops(Tops::of(tops)))
    }
}

impl Way {
    /// The node that the way down begins at; `Some(None)` is the root.
    fn above<'t>(&self, leaf: Node<'t>) -> Option<Option<Node<'t>>> {
        let Some(up) = self.up else { return Some(None) };
        let mut at = Some(leaf);
        for _ in 0..up {
            at = at?.parent();
        }
        Some(at)
    }

    fn is_there(&self, tree: &Tree, leaf: Node<'_>, value: &str) -> bool {
        let Some(above) = self.above(leaf) else { return false };
        let mut parent = above.map(|node| tree.at(node));
        for container in &self.containers {
            let Ok(Some(at)) = tree.instance(parent, *container, None) else { return false };
            parent = Some(at);
        }
        matches!(tree.list_entry(parent, self.list, &[value]), Ok(Some(_)))
    }
}

/// The place of `node` in a cover; of nothing, the top.
fn cover_of<'c>(cover: &'c mut Cover, node: Option<Node<'_>>) -> &'c mut Cover {
    let Some(node) = node else { return cover };
    let above = cover_of(cover, node.parent());
    match node.schema().kind() {
        NodeKind::List => above.entry(node.schema(), key_texts(node)),
        _ => above.container(node.schema()),
    }
}

fn way(leaf: SchemaNode, path: &str, children: &dyn Fn(Option<SchemaNode>) -> Vec<SchemaNode>) -> Option<Way> {
    let (mut at, mut up, steps) = match path.strip_prefix('/') {
        Some(rest) => (None, None, rest),
        None => (Some(leaf), Some(0), path),
    };
    let mut down: Vec<SchemaNode> = Vec::new();
    for step in steps.split('/').map(str::trim) {
        if step == ".." {
            if !down.is_empty() {
                return None;
            }
            up = Some(up? + 1);
            at = at?.data_parent();
            continue;
        }
        let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':');
        if step.is_empty() || !step.chars().all(is_name) {
            return None;
        }
        let name = step.rsplit(':').next()?;
        let mut found = children(at).into_iter().filter(|child| child.name() == name);
        let (child, None) = (found.next()?, found.next()) else { return None };
        down.push(child);
        at = Some(child);
    }
    let key = down.pop()?;
    let list = down.pop()?;
    let is_container = |node: &SchemaNode| matches!(node.kind(), NodeKind::Container { .. });
    let fits = list.kind() == NodeKind::List && list.keys() == [key] && down.iter().all(is_container);
    fits.then_some(Way { up, containers: down, list, key })
}

#[cfg(test)]
mod tests {
    use crate::yang::schema::{ModuleSpec, Schema};

    #[test]
    fn a_path_to_a_single_key_can_be_followed_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let text = "module m { yang-version 1.1; namespace urn:m; prefix m; container top {
            container box { list item { key k; leaf k { type string; } leaf v { type string; }
              list part { key k; leaf k { type string; }
                leaf sibling { type leafref { path '../../part/k'; } } } } }
            list pair { key 'a b'; leaf a { type string; } leaf b { type string; } }
            leaf plain { type leafref { path '/m:top/m:box/m:item/m:k'; } }
            leaf near { type leafref { path '../box/item/k'; } }
            leaf value { type leafref { path '../box/item/v'; } }
            leaf inner { type leafref { path '../box/item/part/k'; } }
            leaf half { type leafref { path '../pair/a'; } }
            leaf chosen { type leafref { path \"../box/item[k = current()/../near]/k\"; } } } }";
        std::fs::write(dir.path().join("m.yang"), text).unwrap();
        let module = ModuleSpec { name: "m".to_owned(), revision: None, features: Vec::new() };
        let schema = Schema::load(&[dir.path().to_owned()], &[module]).unwrap();
        let references = schema.analysis().references();
        let mut found: Vec<String> = references.leaves.keys().map(|leaf| leaf.path()).collect();
        found.sort();
        assert_eq!(found, ["/m:top/box/item/part/sibling", "/m:top/near", "/m:top/plain"]);
    }
}
