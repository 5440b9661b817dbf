//! What a caller may read: the access rules, brought onto the schema once for all who are in the same groups.
//!
//! ```text
//!  rules + place in the schema -> the same for all entries: nothing, itself, itself with all below
//!                              -> by entry: a rule names some (predicates), so each is asked for
//! ```
//! So a read goes down only where something is hidden, and asks for single entries only where rules do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::deny_of;
use super::nacm::{Access, DataPath, Decision, Nacm, Step, Subject};
use crate::yang::schema::{NodeKind, SchemaNode};
use crate::yang::segments::SightId;
use crate::yang::select::{Entries, Seen, Sight};
use crate::yang::tree::Node;

/// Masks that are kept; people with other groups have theirs made anew.
const MASKS_MAX: usize = 16;

/// What is decided of each place of the schema that somebody has looked at.
#[derive(Debug)]
struct Mask {
    id: SightId,
    places: Mutex<HashMap<SchemaNode, Place>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The same in all entries.
    Everywhere(Seen),
    ByEntry,
}

/// The masks of one set of rules, by the rule lists that concern a caller.
#[derive(Debug, Default)]
pub(super) struct Masks {
    known: RefCell<BTreeMap<Vec<usize>, Arc<Mask>>>,
    /// So many there were, those of earlier rules included: no two have the same number.
    made: Cell<u64>,
}

impl Masks {
    fn of(&self, lists: &[usize]) -> Arc<Mask> {
        let mut masks = self.known.borrow_mut();
        if let Some(mask) = masks.get(lists) {
            return Arc::clone(mask);
        }
        if masks.len() >= MASKS_MAX {
            masks.clear();
        }
        self.made.set(self.made.get() + 1);
        let mask = Arc::new(Mask { id: SightId(self.made.get()), places: Mutex::default() });
        masks.insert(lists.to_vec(), Arc::clone(&mask));
        mask
    }

    /// There are other rules.
    pub(super) fn forget(&mut self) {
        self.known.get_mut().clear();
    }
}

/// Sees for one caller which nodes are readable, by the rules as they were when he asked.
#[derive(Clone)]
pub(super) struct Reader {
    nacm: Arc<Nacm>,
    subject: Subject,
    mask: Arc<Mask>,
}

impl Reader {
    /// `None` when nothing is hidden from the subject.
    pub(super) fn new(nacm: &Arc<Nacm>, subject: Subject, masks: &Masks) -> Option<Self> {
        if nacm.permits_all_reads(&subject) {
            return None;
        }
        let mask = masks.of(subject.lists());
        Some(Self { nacm: Arc::clone(nacm), subject, mask })
    }

    /// The node by itself; whether those above it are readable is another question.
    pub(super) fn may_read(&self, node: Node<'_>) -> bool {
        self.sees(node) != Seen::Nothing
    }

    /// Readers go on one after the other: nobody waits here.
    fn known(&self) -> MutexGuard<'_, HashMap<SchemaNode, Place>> {
        self.mask.places.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether no rule looks at what stands below.
    fn is_alike_below(&self, schema: SchemaNode) -> bool {
        schema.children().into_iter().all(|child| match child.kind() {
            NodeKind::Choice | NodeKind::Case => self.is_alike_below(child),
            _ => match self.place(child) {
                Place::Everywhere(Seen::Itself) => self.is_alike_below(child),
                Place::Everywhere(Seen::Whole | Seen::Nothing) => true,
                Place::ByEntry => false,
            },
        })
    }

    fn sees_all_below(&self, schema: SchemaNode, path: &mut DataPath) -> bool {
        schema.children().into_iter().all(|child| match child.kind() {
            NodeKind::Choice | NodeKind::Case => self.sees_all_below(child, path),
            _ => self.decide(child, path) == Place::Everywhere(Seen::Whole),
        })
    }
}

impl Sight for Reader {
    fn sees(&self, node: Node<'_>) -> Seen {
        match self.place(node.schema()) {
            Place::Everywhere(seen) => seen,
            Place::ByEntry => {
                let deny = deny_of(node.schema());
                let decision = self.nacm.data(&self.subject, Access::Read, &path_of(node), deny);
                if decision.is_permit() { Seen::Itself } else { Seen::Nothing }
            }
        }
    }

    fn entries(&self, list: SchemaNode) -> Entries {
        match self.place(list) {
            Place::Everywhere(Seen::Whole) => Entries::Whole,
            Place::Everywhere(Seen::Itself) if self.is_alike_below(list) => Entries::Alike(self.mask.id),
            Place::Everywhere(_) | Place::ByEntry => Entries::Differ,
        }
    }
}

/// What a reader sees below some of the tops, as if there were no others.
pub(super) struct Below<F> {
    /// `None` when nothing is hidden.
    pub(super) reader: Option<Reader>,
    pub(super) has: F,
}

impl<F: Fn(SchemaNode) -> bool> Sight for Below<F> {
    fn sees(&self, node: Node<'_>) -> Seen {
        if node.parent().is_none() && !(self.has)(node.schema()) {
            return Seen::Nothing;
        }
        self.reader.as_ref().map_or(Seen::Whole, |reader| reader.sees(node))
    }

    fn entries(&self, list: SchemaNode) -> Entries {
        // Those of other tops are not there.
        if list.data_parent().is_none() && !(self.has)(list) {
            return Entries::Differ;
        }
        self.reader.as_ref().map_or(Entries::Whole, |reader| reader.entries(list))
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
