//! A candidate of which some changes are given up, so that the others can be committed.
//!
//! A refusal names a node. What is given up for it are the changes at that node or below it; where there are none, those
//! around it, as near as there are any. What is given up is as in running, and the rest as in the candidate.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::{Candidate, ancestors, take_over};
use super::{CandidateId, Datastores, Kept};
use crate::yang::diff::Diff;
use crate::yang::fragment;
use crate::yang::tree::{Node, Tree};

/// What has to be given up because of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blamed {
    /// Of changes, the topmost ones.
    pub paths: Vec<String>,
    /// The refusal names them, or what they are a part of. Otherwise they merely stand near.
    pub is_named: bool,
}

impl Datastores {
    /// The changes of a candidate that refusals at `paths` are about.
    pub fn blamed<'p>(&mut self, id: CandidateId, paths: impl IntoIterator<Item = &'p str>) -> Vec<Blamed> {
        let Some((old, new)) = self.edited_part(id) else { return Vec::new() };
        let changed: BTreeSet<String> =
            Diff::between(old, new).into_changes().into_iter().map(|change| change.path).collect();
        // Many refusals may stand below one node.
        let mut known: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut within = |scope: &'p str| -> Vec<String> {
            let paths = known.entry(scope).or_insert_with(|| {
                topmost_within(&changed, scope).iter().map(|path| without_key(new, old, path)).collect()
            });
            paths.clone()
        };
        let blamed = |path: &'p str| {
            let mut scopes: Vec<&str> = ["/"].into_iter().chain(ancestors(path)).chain([path]).collect();
            scopes.dedup();
            let found = scopes.into_iter().rev().enumerate().find_map(|(distance, scope)| {
                let paths = within(scope);
                (!paths.is_empty()).then_some(Blamed { paths, is_named: distance == 0 })
            });
            found.unwrap_or_default()
        };
        paths.into_iter().map(blamed).collect()
    }

    /// Makes the candidate what `whole` was, but for what is given up.
    pub fn put_back_without(&mut self, whole: &Kept, given_up: &BTreeSet<String>) {
        let Kept(id, Some(candidate)) = whole else { return };
        let mut candidate = candidate.duplicate();
        candidate.give_up(given_up);
        if candidate.is_clean() {
            self.candidates.remove(id);
        } else {
            self.candidates.insert(*id, candidate);
        }
    }

    /// A part of `whole` was committed: what is left of it stands on the running that came of that.
    pub fn leave_the_rest(&mut self, whole: Kept) {
        let Kept(id, Some(candidate)) = whole else { return };
        let rest = candidate.standing_on(&self.running, self.version);
        if !rest.is_clean() {
            self.candidates.insert(id, rest);
        }
    }
}

impl Candidate {
    fn give_up(&mut self, paths: &BTreeSet<String>) {
        let mut new = self.fragments().1.duplicate();
        let old = self.fragments().0;
        for path in paths {
            take_over(&mut new, old, path);
            restore_order(&mut new, old, path);
        }
        *self.content() = new;
    }
}

/// Puts an entry that its user orders behind the one that it stood behind.
fn restore_order(tree: &mut Tree, as_in: &Tree, path: &str) {
    let (Some(wanted), Some(here)) = (as_in.find(path), tree.find(path)) else { return };
    let schema = wanted.schema();
    if !schema.is_user_ordered() {
        return;
    }
    let (at, parent) = (tree.at(here), here.parent().map(|parent| tree.at(parent)));
    let mut before = std::iter::successors(wanted.previous_sibling(), |node| node.previous_sibling());
    let previous = before.find_map(|node| (node.schema() == schema).then(|| tree.counterpart(parent, node)).flatten());
    fragment::order(tree, parent, at, previous, schema);
}

/// The paths at or below `scope` that have none of them above.
fn topmost_within(changed: &BTreeSet<String>, scope: &str) -> Vec<String> {
    let is_within = |path: &str| scope == "/" || path == scope || ancestors(path).any(|above| above == scope);
    let from = if scope == "/" { "" } else { scope };
    changed
        .range(from.to_owned()..)
        .take_while(|path| path.starts_with(from))
        .filter(|path| is_within(path))
        .filter(|path| !ancestors(path).any(|above| is_within(above) && changed.contains(above)))
        .cloned()
        .collect()
}

/// A key does not come or go without its entry.
fn without_key(new: &Tree, old: &Tree, path: &str) -> String {
    let is_key = |node: Node<'_>| node.schema().is_key();
    match new.find(path).or_else(|| old.find(path)) {
        Some(node) if is_key(node) => node.parent().map_or_else(|| path.to_owned(), Node::path),
        Some(_) | None => path.to_owned(),
    }
}
