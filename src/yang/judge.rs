//! Validation of what an edit touches, in the place of everything (`docs/decisions.md` says why).
//!
//! Only an acceptance is believed. Whenever the fragment might not show what the whole would, or anything is found
//! wrong in it, there is no verdict, and the caller validates the whole: so errors are always those of the whole.

use super::analysis::Analysis;
use super::compare;
use super::diff::Diff;
use super::ffi::{Node, Tree};
use super::fragment::Tops;
use crate::northbound::provider::Change;

/// A fragment that is valid, so that the whole is, too.
#[derive(Debug)]
pub struct Judged {
    /// As validation leaves it: defaults come, what a `when` forbids goes.
    pub new: Tree,
    pub diff: Diff,
    pub changes: Vec<Change>,
}

/// Judges an edit by a fragment that has these top nodes: `old` of the valid running, `edited` as the edit left it.
/// `None`: ask the whole.
pub fn judge(old: &Tree, edited: &Tree, tops: &Tops) -> Option<Judged> {
    let analysis = edited.schema().analysis();
    if analysis.sees_everything().is_some() || edited.roots().any(|node| is_under_far_when(analysis, node)) {
        return None;
    }
    let mut new = edited.duplicate();
    new.validate_change_of(tops, old).ok()?;
    let is_around_lists = |node| analysis.is_around_lists(node);
    // What validation takes away by itself may be there in part only: the record would lack the rest.
    if analysis.may_lose_lists() && compare::has_lost(edited, &new, &is_around_lists) {
        return None;
    }
    let changes = compare::changes_unless(old, &new, &|node, _| analysis.is_far(node))?;
    Some(Judged { diff: Diff::between(old, &new), changes, new })
}

fn is_under_far_when(analysis: &Analysis, node: Node<'_>) -> bool {
    analysis.has_far_whens()
        && (analysis.is_under_far_when(node.schema())
            || node.children().any(|child| is_under_far_when(analysis, child)))
}
