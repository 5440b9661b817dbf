//! What a caller may read: the access rules, brought onto the schema once for all who are in the same groups.
//!
//! ```text
//!  rules + place in the schema -> the same for all entries: nothing, itself, itself with all below
//!                              -> by entry: a rule names some (predicates), so each is asked for
//! ```
//! So a read goes down only where something is hidden, and asks for single entries only where rules do.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::deny_of;
use super::nacm::{Access, DataPath, Decision, Nacm, Step, Subject};
use crate::yang::schema::{NodeKind, SchemaNode};
use crate::yang::select::Seen;
use crate::yang::tree::Node;

/// Masks that are kept; people with other groups have theirs made anew.
const MASKS_MAX: usize = 16;

/// What is decided of each place of the schema that somebody has looked at.
type Mask = Mutex<HashMap<SchemaNode, Place>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The same in all entries.
    Everywhere(Seen),
    ByEntry,
}

/// The masks of one set of rules, by the rule lists that concern a caller.
#[derive(Debug, Default)]
pub(super) struct Masks(RefCell<BTreeMap<Vec<usize>, Arc<Mask>>>);

impl Masks {
    fn of(&self, lists: &[usize]) -> Arc<Mask> {
        let mut masks = self.0.borrow_mut();
        if let Some(mask) = masks.get(lists) {
            return Arc::clone(mask);
        }
        if masks.len() >= MASKS_MAX {
            masks.clear();
        }
        Arc::clone(masks.entry(lists.to_vec()).or_default())
    }
}

/// Sees for one caller which nodes are readable.
pub(super) struct Reader<'a> {
    nacm: &'a Nacm,
    subject: Subject,
    mask: Arc<Mask>,
}

impl<'a> Reader<'a> {
    /// `None` when nothing is hidden from the subject.
    pub(super) fn new(nacm: &'a Nacm, subject: Subject, masks: &Masks) -> Option<Self> {
        if nacm.permits_all_reads(&subject) {
            return None;
        }
        let mask = masks.of(subject.lists());
        Some(Self { nacm, subject, mask })
    }

    /// The node by itself; whether those above it are readable is another question.
    pub(super) fn may_read(&self, node: Node<'_>) -> bool {
        self.sees(node) != Seen::Nothing
    }

    pub(super) fn sees(&self, node: Node<'_>) -> Seen {
        match self.place(node.schema()) {
            Place::Everywhere(seen) => seen,
            Place::ByEntry => {
                let deny = deny_of(node.schema());
                let decision = self.nacm.data(&self.subject, Access::Read, &path_of(node), deny);
                if decision.is_permit() { Seen::Itself } else { Seen::Nothing }
            }
        }
    }

    /// Readers go on one after the other: nobody waits here.
    fn known(&self) -> MutexGuard<'_, HashMap<SchemaNode, Place>> {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, schema: SchemaNode) -> Place {
        let known = self.known().get(&schema).copied();
        known.unwrap_or_else(|| {
            let mut path = DataPath::default();
            let above = std::iter::successors(schema.data_parent(), |node| node.data_parent());
            let above: Vec<SchemaNode> = above.collect();
            above.into_iter().rev().for_each(|node| path.push(step_of(node)));
            self.decide(schema, &mut path)
        })
    }

    /// `path` is that of the node above.
    fn decide(&self, schema: SchemaNode, path: &mut DataPath) -> Place {
        path.push(step_of(schema));
        let place = match self.nacm.read_everywhere(&self.subject, path, deny_of(schema)) {
            None => Place::ByEntry,
            Some(Decision::Deny) => Place::Everywhere(Seen::Nothing),
            Some(Decision::Permit) if self.sees_all_below(schema, path) => Place::Everywhere(Seen::Whole),
            Some(Decision::Permit) => Place::Everywhere(Seen::Itself),
        };
        path.pop();
        self.known().insert(schema, place);
        place
    }

    fn sees_all_below(&self, schema: SchemaNode, path: &mut DataPath) -> bool {
        schema.children().into_iter().all(|child| match child.kind() {
            NodeKind::Choice | NodeKind::Case => self.sees_all_below(child, path),
            _ => self.decide(child, path) == Place::Everywhere(Seen::Whole),
        })
    }
}

fn step_of(schema: SchemaNode) -> Step {
    Step::new(schema.module().name(), schema.name())
}

fn path_of(node: Node<'_>) -> DataPath {
    let nodes = std::iter::successors(Some(node), |node| node.parent());
    let mut steps: Vec<Step> = nodes
        .map(|node| {
            let mut step = step_of(node.schema());
            let value = |node: Node<'_>| node.value().unwrap_or_default().to_owned();
            match node.schema().kind() {
                NodeKind::LeafList => step.keys.push((".".to_owned(), value(node))),
                NodeKind::List => {
                    let keys = node.children().take_while(|child| child.schema().is_key());
                    step.keys.extend(keys.map(|key| (key.name().to_owned(), value(key))));
                }
                _ => {}
            }
            step
        })
        .collect();
    steps.reverse();
    DataPath { steps }
}

#[cfg(test)]
mod tests;
