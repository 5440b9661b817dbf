//! Validation of what an edit touches, in the place of everything (`docs/decisions.md` says why).
//!
//! Only an acceptance is believed. Whenever the fragment might not show what the whole would, or anything is found
//! wrong in it, there is no verdict, and the caller validates the whole: so errors are always those of the whole.

use std::cell::{Cell, RefCell};

use super::analysis::Analysis;
use super::compare::{self, Fate};
use super::diff::{Diff, Record};
use super::ffi::{Node, Tree};
use super::fragment::Tops;
use super::index::{self, Index};
use crate::northbound::provider::Change;

/// A fragment that is valid, so that the whole is, too.
#[derive(Debug)]
pub struct Judged {
    /// As validation leaves it: defaults come, what a `when` forbids goes.
    pub new: Tree,
    pub diff: Record,
    pub changes: Vec<Change>,
}

/// Judges an edit by a fragment that has these top nodes: `old` of the valid `running`, `edited` as the edit left it.
/// `None`: ask the whole.
pub fn judge(running: &Tree, old: &Tree, edited: &Tree, tops: &Tops, index: &mut Index) -> Option<Judged> {
    let analysis = edited.schema().analysis();
    if analysis.sees_everything().is_some() || edited.roots().any(|node| is_under_far_when(analysis, node)) {
        return None;
    }
    let mut new = edited.duplicate();
    new.validate_change_of(tops, old).ok()?;
    let is_around_lists = |node: Node<'_>| analysis.is_around_lists(node.schema());
    // What validation takes away by itself may be there in part only: the record would lack the rest.
    if analysis.may_lose_lists() && compare::has_lost(edited, &new, &is_around_lists) {
        return None;
    }
    let (lost, is_unique_touched) = (RefCell::new(Vec::new()), Cell::new(false));
    let is_far = |node: Node<'_>, fate: Fate| {
        let schema = node.schema();
        if fate == Fate::Went && analysis.references().is_named(schema) {
            lost.borrow_mut().push(index::key_mark(schema, node.value().unwrap_or_default()));
        }
        if fate != Fate::Went && analysis.uniques().has(schema) {
            is_unique_touched.set(true);
        }
        analysis.is_far(schema)
    };
    let changes = compare::changes_unless(old, &new, &is_far)?;
    let change = index::Change { running, old, new: &new };
    if index.are_named(&lost.into_inner(), &change) || is_unique_touched.get() && index.has_twins(&change) {
        return None;
    }
    Some(Judged { diff: Diff::between(old, &new), changes, new })
}

fn is_under_far_when(analysis: &Analysis, node: Node<'_>) -> bool {
    analysis.has_far_whens()
        && (analysis.is_under_far_when(node.schema())
            || node.children().any(|child| is_under_far_when(analysis, child)))
}
