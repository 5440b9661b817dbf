//! A dirty candidate: the tree that was edited, and the running that it was begun on.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::northbound::provider::{Change, Edit};
use crate::yang::diff::Diff;
use crate::yang::tree::Tree;

#[derive(Debug)]
pub(super) struct Candidate {
    base: Rc<Tree>,
    tree: Rc<Tree>,
    /// What both sides changed differently. While there are any, the candidate stays on its old base.
    conflicts: Vec<String>,
    /// The running that the conflicts are with, so that they are looked for once.
    compared_with: Option<Rc<Tree>>,
}

impl Candidate {
    pub(super) fn new(base: Rc<Tree>, tree: Tree, conflicts: Vec<String>) -> Self {
        Self { base, tree: Rc::new(tree), conflicts, compared_with: None }
    }

    pub(super) fn base(&self) -> Rc<Tree> {
        Rc::clone(&self.base)
    }

    pub(super) fn tree(&self) -> &Rc<Tree> {
        &self.tree
    }

    pub(super) fn conflicts(&self) -> &[String] {
        &self.conflicts
    }

    pub(super) fn into_conflicts(self) -> Vec<String> {
        self.conflicts
    }

    /// Brings the edits onto `running`, when it has moved and nothing stands against it.
    pub(super) fn rebase(&mut self, running: &Rc<Tree>) {
        let is_done = Rc::ptr_eq(&self.base, running)
            || self.compared_with.as_ref().is_some_and(|compared| Rc::ptr_eq(compared, running));
        if is_done {
            return;
        }
        let ours = Diff::between(&self.base, &self.tree);
        let theirs = Diff::between(&self.base, running);
        self.compared_with = Some(Rc::clone(running));
        self.conflicts = disagreements(&ours.changes(), &theirs.changes());
        if !self.conflicts.is_empty() {
            return;
        }
        // What both did alike is done already: only the rest is to be brought over.
        match remaining(&self.base, &self.tree, running, &ours) {
            Some(tree) => {
                self.tree = Rc::new(tree);
                self.base = Rc::clone(running);
                self.compared_with = None;
            }
            None => self.conflicts = ours.changes().into_iter().map(|change| change.path).collect(),
        }
    }
}

/// The candidate on top of the new running. `None` when the edits do not fit it.
fn remaining(base: &Tree, tree: &Tree, running: &Tree, ours: &Diff) -> Option<Tree> {
    if let Ok(tree) = ours.applied_to(running) {
        // libyang makes a node that is there already a second time; then the edits overlapped.
        let overlaps = {
            let theirs = Diff::between(base, running).changes();
            let mine: BTreeSet<String> = ours.changes().into_iter().map(|change| change.path).collect();
            theirs.iter().any(|change| mine.contains(&change.path))
        };
        if !overlaps {
            return Some(tree);
        }
    }
    // Where both made the same, merge what the candidate has over what runs, then take away what it took away.
    let mut next = running.duplicate();
    next.merge(tree);
    for change in ours.changes() {
        if change.edit == Edit::Delete
            && let Some(node) = next.find(&change.path)
        {
            let at = next.at(node);
            next.delete(at);
        }
    }
    // What they took away or changed and we did not touch came back by the merge.
    let mine: BTreeSet<String> = ours.changes().into_iter().map(|change| change.path).collect();
    for change in Diff::between(base, running).changes() {
        let Some(at) = next.find(&change.path).map(|node| next.at(node)) else { continue };
        match change.edit {
            Edit::Delete => next.delete(at),
            // A value that runs is one that its type takes.
            Edit::Modify { value } if !mine.contains(&change.path) => drop(next.set_leaf(at, &value).ok()?),
            Edit::Modify { .. } | Edit::Create { .. } | Edit::Move => {}
        }
    }
    next.add_defaults();
    Some(next)
}

/// Paths that both sides changed, unless both came to the same; and what one side deleted around the other's change.
fn disagreements(ours: &[Change], theirs: &[Change]) -> Vec<String> {
    let their_edits: BTreeMap<&str, &Edit> = theirs.iter().map(|change| (change.path.as_str(), &change.edit)).collect();
    let our_edits: BTreeMap<&str, &Edit> = ours.iter().map(|change| (change.path.as_str(), &change.edit)).collect();
    let mut found = BTreeSet::new();
    for change in ours {
        match their_edits.get(change.path.as_str()) {
            Some(edit) if **edit != change.edit => {
                found.insert(change.path.clone());
            }
            Some(Edit::Move) => {
                found.insert(change.path.clone());
            }
            _ => {}
        }
    }
    found.extend(deleted_around(&their_edits, ours));
    found.extend(deleted_around(&our_edits, theirs));
    found.into_iter().collect()
}

/// Changes that stand below something that the other side deleted.
fn deleted_around(deleting: &BTreeMap<&str, &Edit>, changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .filter(|change| ancestors(&change.path).any(|above| deleting.get(above) == Some(&&Edit::Delete)))
        .map(|change| change.path.clone())
        .collect()
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    let mut inside = false;
    path.bytes().enumerate().skip(1).filter_map(move |(index, byte)| {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') if inside => quote = Some(byte),
            (None, b'[') => inside = true,
            (None, b']') => inside = false,
            (None, b'/') if !inside => return Some(&path[..index]),
            (None, _) => {}
        }
        None
    })
}
