//! How often a configuration names a key, and has the values of a `unique` statement: what a commit would otherwise have to
//! look for in all that is stored.
//!
//! Made from the whole when it is first needed, then kept up by what each change takes out and puts in. What is counted is
//! known by a number made of it; where two things have the same number there seem to be more of each, and the whole is asked
//! without need.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::ffi::Tree;
use super::schema::SchemaNode;

type Mark = u64;

/// How many there are of each.
#[derive(Debug, Default)]
struct Counts(HashMap<Mark, usize>);

/// What is known of one configuration.
#[derive(Debug, Default)]
pub struct Index {
    references: Option<Counts>,
    uniques: Option<Counts>,
}

/// What a change does to what is counted.
pub(super) struct Change<'t> {
    pub(super) running: &'t Tree,
    /// A part of running, and what it is to be.
    pub(super) old: &'t Tree,
    pub(super) new: &'t Tree,
}

impl Index {
    /// What stood in `old` stands as in `new` now.
    pub fn moved(&mut self, old: &Tree, new: &Tree) {
        if let Some(counts) = &mut self.references {
            references(old, &mut |mark| counts.remove(mark));
            references(new, &mut |mark| counts.add(mark));
        }
        if let Some(counts) = &mut self.uniques {
            uniques(old, &mut |mark| counts.remove(mark));
            uniques(new, &mut |mark| counts.add(mark));
        }
    }

    /// Another configuration has taken the place of this one.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether a leafref would still name one of these keys, which go.
    pub(super) fn are_named(&mut self, lost: &[Mark], change: &Change<'_>) -> bool {
        if lost.is_empty() {
            return false;
        }
        let known = self.references.get_or_insert_with(|| Counts::of(change.running, references));
        let (old, new) = (Counts::of(change.old, references), Counts::of(change.new, references));
        lost.iter().any(|mark| known.count(*mark) + new.count(*mark) > old.count(*mark))
    }

    /// Whether an entry of `change.new` would have the same values as another one, which may stand outside of it.
    pub(super) fn has_twins(&mut self, change: &Change<'_>) -> bool {
        let known = self.uniques.get_or_insert_with(|| Counts::of(change.running, uniques));
        let (old, new) = (Counts::of(change.old, uniques), Counts::of(change.new, uniques));
        new.0.iter().any(|(mark, count)| known.count(*mark) + count > old.count(*mark) + 1)
    }
}

impl Counts {
    fn of(tree: &Tree, each: fn(&Tree, &mut dyn FnMut(Mark))) -> Self {
        let mut counts = Self::default();
        each(tree, &mut |mark| counts.add(mark));
        counts
    }

    fn count(&self, mark: Mark) -> usize {
        self.0.get(&mark).copied().unwrap_or_default()
    }

    fn add(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }

    fn remove(&mut self, mark: Mark) {
        match self.0.get_mut(&mark) {
            Some(1) | None => drop(self.0.remove(&mark)),
            Some(count) => *count -= 1,
        }
    }
}

fn references(tree: &Tree, tell: &mut dyn FnMut(Mark)) {
    tree.schema().analysis().references().each(tree, |key, value| tell(key_mark(key, value)));
}

fn uniques(tree: &Tree, tell: &mut dyn FnMut(Mark)) {
    tree.schema().analysis().uniques().each(tree, &mut |statement| tell(mark_of(&statement)));
}

/// The number of a key of that value.
pub(super) fn key_mark(key: SchemaNode, value: &str) -> Mark {
    mark_of(&(key, value))
}

fn mark_of(what: &impl Hash) -> Mark {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
