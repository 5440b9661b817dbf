//! A dirty candidate: running plus what was edited, kept as two fragments of it (before and after) and what they cover.
//!
//! Its size is that of the edits, not of running. When running moves, the fragment of the new running takes the place
//! of the old one and the edits are made on it again, unless something stands against that.

use std::collections::{BTreeMap, BTreeSet};

use super::{cases, shells};
use crate::northbound::provider::{Change, Edit};
use crate::yang::diff::Diff;
use crate::yang::fragment::{self, Cover, Tops};
use crate::yang::leafref;
use crate::yang::tree::Tree;

/// How often running has moved.
pub(super) type Version = u64;

/// Who wins where both sides changed a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Candidate,
    Running,
}

#[derive(Debug)]
pub(super) struct Candidate {
    cover: Cover,
    /// Running as it was when this was last based on it, as far as it is covered.
    old: Tree,
    new: Tree,
    base: Version,
    /// What both sides changed differently. While there are any, the candidate stays on its old base.
    conflicts: Vec<String>,
    /// The running that the conflicts are with, so that they are looked for once.
    compared_with: Option<Version>,
}

impl Candidate {
    /// Nothing is edited yet.
    pub(super) fn clean(running: &Tree, base: Version) -> Self {
        let schema = running.schema();
        let (old, new) = (Tree::new(schema), Tree::new(schema));
        Self { cover: Cover::default(), old, new, base, conflicts: Vec::new(), compared_with: None }
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            cover: self.cover.clone(),
            old: self.old.duplicate(),
            new: self.new.duplicate(),
            base: self.base,
            conflicts: self.conflicts.clone(),
            compared_with: self.compared_with,
        }
    }

    /// The part of running that `cover` names, to be edited in place with [`Candidate::content`].
    pub(super) fn begun(running: &Tree, base: Version, cover: &Cover) -> Self {
        let mut candidate = Self::clean(running, base);
        candidate.extend(running, cover);
        candidate
    }

    pub(super) fn content(&mut self) -> &mut Tree {
        &mut self.new
    }

    /// Whether nothing was done since it was begun.
    pub(super) fn is_as_begun(&self) -> bool {
        self.old.is_written_like(&self.new) && self.is_clean()
    }

    /// `new` in the place of everything.
    pub(super) fn replace(&mut self, running: &Tree, new: Tree) {
        if !self.cover.is_everything() {
            if self.conflicts.is_empty() {
                self.old = running.duplicate();
            } else {
                // What was edited stays compared with the running that it was edited on.
                let mut whole = running.duplicate();
                whole.transplant(&fragment::extract_covered(running, &self.cover), &self.old);
                self.old = whole;
            }
            self.cover = Cover::everything();
        }
        self.new = new;
    }

    pub(super) fn conflicts(&self) -> &[String] {
        &self.conflicts
    }

    /// The fragment of running and what the edits made of it.
    pub(super) fn fragments(&self) -> (&Tree, &Tree) {
        (&self.old, &self.new)
    }

    /// Whose top nodes are in the fragments.
    pub(super) fn tops(&self) -> &Tops {
        self.cover.tops()
    }

    /// The whole tree.
    pub(super) fn materialised(&self, running: &Tree) -> Tree {
        if self.cover.is_everything() {
            return self.new.duplicate();
        }
        let mut tree = running.duplicate();
        if self.conflicts.is_empty() {
            tree.transplant(&self.old, &self.new);
        } else {
            // The running it stands on is gone: what it covers stands for itself.
            let covered = |of| fragment::extract_covered(of, &self.cover);
            tree.transplant(&covered(running), &covered(&self.new));
        }
        tree
    }

    /// The part of the candidate that `cover` names, to be edited; give it back with [`Candidate::edited`].
    pub(super) fn part(&mut self, running: &Tree, cover: &Cover) -> Tree {
        self.extend(running, cover);
        fragment::extract(&self.new, cover)
    }

    fn extend(&mut self, running: &Tree, cover: &Cover) {
        if !self.cover.is_everything() {
            self.cover.add(cover.clone());
            fragment::extend(&mut self.old, &mut self.new, running, cover, &mut self.cover);
        }
    }

    /// Brings in what its leafrefs name, so that it can be judged without the rest.
    pub(super) fn complete(&mut self, running: &Tree) {
        if self.cover.is_everything() {
            return;
        }
        let mut search = leafref::Search::default();
        for _ in 0..leafref::STEPS_MAX {
            let Some(cover) = search.missing_in(&self.new) else { return };
            self.extend(running, &cover);
        }
    }

    pub(super) fn edited(&mut self, before: &Tree, after: &Tree) {
        self.new.transplant(before, after);
    }

    /// Whether nothing differs from running, after an edit of `cover` that left `after`.
    pub(super) fn is_clean_after(&self, cover: &Cover, after: &Tree) -> bool {
        fragment::extract(&self.old, cover).is_written_like(after) && self.is_clean()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.conflicts.is_empty() && Diff::between(&self.old, &self.new).is_empty()
    }

    /// Brings the edits onto `running` also where there are conflicts, which one side wins. Some may be left: how both
    /// sides order a list cannot be put together.
    pub(super) fn resolve(&mut self, running: &Tree, version: Version, winner: Side) {
        if self.rebase(running, version) || self.conflicts.is_empty() {
            return;
        }
        let conflicts = std::mem::take(&mut self.conflicts);
        match winner {
            Side::Running => {
                let mut new = self.new.duplicate();
                conflicts.iter().for_each(|path| take_over(&mut new, &self.old, path));
                let mine = std::mem::replace(&mut self.new, new);
                self.compared_with = None;
                if !self.rebase(running, version) {
                    self.new = mine;
                    self.conflicts = conflicts;
                }
            }
            Side::Candidate => {
                let now = fragment::extract(running, &self.cover);
                let mut shells = BTreeSet::new();
                let (mut edited, mut next) = (self.new.duplicate(), now.duplicate());
                shells::keep(&self.old, &mut edited, &mut shells);
                shells::keep(&self.old, &mut next, &mut shells);
                next.transplant(&self.old, &edited);
                conflicts.iter().for_each(|path| take_over(&mut next, &edited, path));
                self.stand_on(now, next, &shells, version);
            }
        }
    }

    fn stand_on(&mut self, now: Tree, mut next: Tree, shells: &BTreeSet<String>, version: Version) {
        shells::clear(&mut next, shells);
        next.add_defaults_of(self.cover.tops());
        self.cover.forget_witnesses();
        self.old = now;
        self.new = next;
        self.base = version;
        self.compared_with = None;
    }

    /// The same edits, where `running` has taken over a part of them.
    pub(super) fn standing_on(mut self, running: &Tree, version: Version) -> Self {
        let now = fragment::extract(running, &self.cover);
        let new = self.new.duplicate();
        self.stand_on(now, new, &BTreeSet::new(), version);
        self
    }

    /// Brings the edits onto `running`, when it has moved and nothing stands against it; whether that was done now.
    pub(super) fn rebase(&mut self, running: &Tree, version: Version) -> bool {
        if self.base == version || self.compared_with == Some(version) {
            return false;
        }
        let now = fragment::extract(running, &self.cover);
        let mut shells = BTreeSet::new();
        let (mut edited, mut next) = (self.new.duplicate(), now.duplicate());
        shells::keep(&self.old, &mut edited, &mut shells);
        shells::keep(&self.old, &mut next, &mut shells);
        let ours = Diff::between(&self.old, &edited).into_changes();
        let theirs = Diff::between(&self.old, &next).into_changes();
        self.compared_with = Some(version);
        self.conflicts = disagreements(&ours, &theirs);
        self.conflicts.extend(cases::conflicts(&ours, &edited, &theirs, &next));
        if !self.conflicts.is_empty() {
            return false;
        }
        // What both did alike is there already, and comes out the same.
        next.transplant(&self.old, &edited);
        self.stand_on(now, next, &shells, version);
        true
    }
}

/// Makes `tree` at `path`, or where it is lost above that, what it is in `from`.
pub(super) fn take_over(tree: &mut Tree, from: &Tree, path: &str) {
    let mut parent = None;
    for place in ancestors(path).chain([path]) {
        let wanted = from.find(place);
        let found = tree.find(place).map(|node| tree.at(node));
        match (wanted, found) {
            (Some(wanted), None) => {
                tree.copy(parent, wanted, true);
                return;
            }
            (None, Some(found)) => return tree.delete(found),
            (None, None) => return,
            (Some(wanted), Some(found)) if place == path && wanted.value() != tree.node(found).value() => {
                tree.delete(found);
                let at = tree.copy(parent, wanted, true);
                if !wanted.is_default() {
                    tree.write_down(at);
                }
            }
            (Some(_), Some(found)) => parent = Some(found),
        }
    }
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

/// Changes that stand below something that the other side deleted. What was deleted there, too, is gone either way.
fn deleted_around(deleting: &BTreeMap<&str, &Edit>, changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .filter(|change| change.edit != Edit::Delete)
        .filter(|change| ancestors(&change.path).any(|above| deleting.get(above) == Some(&&Edit::Delete)))
        .map(|change| change.path.clone())
        .collect()
}

/// The paths of what stands above, the top first.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
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
