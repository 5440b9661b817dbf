//! What differs between two trees, told while walking both: no tree of differences is made.
//!
//! In effective values defaults count like written nodes; in written ones they are not there. The order is that of the document, as far as both trees have one. A test holds it equal to
//! what libyang finds.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::ffi::{Children, Node, Tree};
use super::path;
use super::record::{Operation, Recorder};
use super::schema::{NodeKind, SchemaNode};
use crate::northbound::provider::{Change, Edit};

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Came,
    Went,
    Changed,
    Moved,
}

/// All changes in `new`; `None` when one is met that `stops` the walk. It hears of each node that came or went, also of those
/// that did with the one above.
pub(super) fn changes_unless(old: &Tree, new: &Tree, stops: &dyn Fn(Node<'_>, Fate) -> bool) -> Option<Vec<Change>> {
    let changes = Some(Vec::new());
    let mut comparison = Comparison { stops, way: Way::default(), changes, recorder: None, counts_defaults: true };
    match comparison.level(old.roots(), new.roots()) {
        ControlFlow::Continue(()) => comparison.changes,
        ControlFlow::Break(()) => None,
    }
}

/// Whether `is` holds of a node that `new` lacks.
pub(super) fn has_lost(old: &Tree, new: &Tree, is: &dyn Fn(Node<'_>) -> bool) -> bool {
    let stops = |node: Node<'_>, fate: Fate| fate == Fate::Went && is(node);
    let way = Way::default();
    let mut comparison = Comparison { stops: &stops, way, changes: None, recorder: None, counts_defaults: true };
    comparison.level(old.roots(), new.roots()).is_break()
}

/// The record of what was written differently, and all changes of it; `None` where [`Recorder`] leaves it to libyang.
pub(super) fn written(old: &Tree, new: &Tree) -> Option<(Bytes, Vec<Change>)> {
    let (changes, recorder) = (Some(Vec::new()), Some(Recorder::new()));
    let way = Way::default();
    let mut comparison = Comparison { stops: &|_, _| false, way, changes, recorder, counts_defaults: false };
    match comparison.level(old.roots(), new.roots()) {
        ControlFlow::Continue(()) => Some((comparison.recorder?.finish(), comparison.changes?)),
        ControlFlow::Break(()) => None,
    }
}

struct Comparison<'t, 'f> {
    stops: &'f dyn Fn(Node<'_>, Fate) -> bool,
    way: Way<'t>,
    /// `None` where nobody asks for them.
    changes: Option<Vec<Change>>,
    recorder: Option<Recorder<'t>>,
    counts_defaults: bool,
}

impl<'t> Comparison<'t, '_> {
    fn level(&mut self, old: Children<'t>, new: Children<'t>) -> ControlFlow<()> {
        let counts_defaults = self.counts_defaults;
        let counts = |node: &Node<'t>| counts_defaults || !node.is_default();
        let mut among_new = Siblings::of(new.clone());
        let mut has_gone = |node: Node<'t>| among_new.find(node).filter(counts).is_none();
        let mut waiting = old.clone().filter(|node| !node.schema().is_key() && counts(node)).peekable();
        let mut among_old = Siblings::of(old.clone());
        let mut order: Option<Order<'t>> = None;
        for node in new.clone() {
            let schema = node.schema();
            if schema.is_key() || !counts(&node) {
                continue;
            }
            let before = among_old.find(node).filter(counts);
            let has_moved = schema.is_user_ordered() && {
                if order.as_ref().is_none_or(|order| order.schema != schema) {
                    order = Some(Order::of(schema, old.clone().filter(counts), new.clone(), &counts));
                }
                order.as_mut().is_some_and(|order| order.place(before, node))
            };
            match before {
                None => {
                    while let Some(gone) = waiting.next_if(|node| has_gone(*node)) {
                        self.went(gone)?;
                    }
                }
                Some(_) if has_moved => {}
                Some(_) => self.went_until(before, &mut waiting, &mut has_gone)?,
            }
            self.way.enter(node);
            match before {
                None => {
                    self.note(node, Operation::Create)?;
                    self.came(node)?;
                }
                Some(before) => self.both(before, node, has_moved)?,
            }
            self.way.leave();
        }
        self.went_until(None, &mut waiting, &mut has_gone)
    }

    /// Tells of those that went and stood in front of `stays`, or of all that are left.
    fn went_until(
        &mut self,
        stays: Option<Node<'t>>,
        waiting: &mut impl Iterator<Item = Node<'t>>,
        has_gone: &mut impl FnMut(Node<'t>) -> bool,
    ) -> ControlFlow<()> {
        for node in waiting.take_while(|node| Some(*node) != stays) {
            if has_gone(node) {
                self.went(node)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn both(&mut self, before: Node<'t>, node: Node<'t>, has_moved: bool) -> ControlFlow<()> {
        if has_moved {
            self.not_recorded()?;
            self.meet(node, Fate::Moved)?;
            self.tell(|| Edit::Move);
        }
        let is_same = match node.schema().kind() {
            NodeKind::Leaf | NodeKind::LeafList => before.value() == node.value(),
            NodeKind::AnyData => before.any_text() == node.any_text(),
            _ => {
                self.recorder.iter_mut().for_each(|recorder| recorder.enter(node));
                self.level(before.children(), node.children())?;
                self.recorder.iter_mut().for_each(Recorder::leave);
                return ControlFlow::Continue(());
            }
        };
        if !is_same {
            self.note(node, Operation::Replace { old: before.value().unwrap_or_default() })?;
            self.meet(node, Fate::Changed)?;
            self.tell(|| Edit::Modify { value: value_of(node).unwrap_or_default() });
        }
        ControlFlow::Continue(())
    }

    fn came(&mut self, node: Node<'t>) -> ControlFlow<()> {
        self.meet(node, Fate::Came)?;
        self.tell(|| Edit::Create { value: value_of(node) });
        let counts_defaults = self.counts_defaults;
        for child in node.children().filter(|child| counts_defaults || !child.is_default()) {
            self.way.enter(child);
            self.came(child)?;
            self.way.leave();
        }
        ControlFlow::Continue(())
    }

    fn went(&mut self, node: Node<'t>) -> ControlFlow<()> {
        self.note(node, Operation::Delete)?;
        self.meet_all(node)?;
        self.way.enter(node);
        self.tell(|| Edit::Delete);
        self.way.leave();
        ControlFlow::Continue(())
    }

    fn meet_all(&self, gone: Node<'t>) -> ControlFlow<()> {
        self.meet(gone, Fate::Went)?;
        gone.children().try_for_each(|child| self.meet_all(child))
    }

    fn meet(&self, node: Node<'t>, fate: Fate) -> ControlFlow<()> {
        if (self.stops)(node, fate) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn note(&mut self, node: Node<'t>, operation: Operation<'_>) -> ControlFlow<()> {
        let is_left = self.recorder.as_mut().is_some_and(|recorder| recorder.note(node, operation).is_none());
        if is_left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What users order is recorded by libyang.
    fn not_recorded(&self) -> ControlFlow<()> {
        if self.recorder.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn tell(&mut self, edit: impl FnOnce() -> Edit) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change { path: self.way.path().to_owned(), edit: edit() });
        }
    }
}

fn value_of(node: Node<'_>) -> Option<String> {
    match node.schema().kind() {
        NodeKind::AnyData => node.any_text(),
        _ => node.value().map(str::to_owned),
    }
}

/// The nodes down to the one that is looked at. Their path is written only when it is asked for.
#[derive(Default)]
struct Way<'t> {
    nodes: Vec<Node<'t>>,
    text: String,
    /// Where in the text the steps end that are written.
    ends: Vec<usize>,
}

impl<'t> Way<'t> {
    fn enter(&mut self, node: Node<'t>) {
        self.nodes.push(node);
    }

    fn leave(&mut self) {
        self.nodes.pop();
        if self.ends.len() > self.nodes.len() {
            self.ends.pop();
            self.text.truncate(self.ends.last().copied().unwrap_or_default());
        }
    }

    fn path(&mut self) -> &str {
        for depth in self.ends.len()..self.nodes.len() {
            let around = depth.checked_sub(1).map(|above| self.nodes[above].schema().module());
            path::push_step(&mut self.text, self.nodes[depth], around);
            self.ends.push(self.text.len());
        }
        &self.text
    }
}

/// Siblings in which the counterparts of others are looked for, mostly in the same order.
struct Siblings<'t> {
    all: Children<'t>,
    /// Behind the last one that was found.
    next: Option<Node<'t>>,
}

impl<'t> Siblings<'t> {
    fn of(all: Children<'t>) -> Self {
        Self { next: all.first(), all }
    }

    fn find(&mut self, node: Node<'t>) -> Option<Node<'t>> {
        let found = match self.next.filter(|next| is_plainly_the_same(*next, node)) {
            Some(next) => next,
            None => node.among(self.all.clone())?,
        };
        self.next = found.next_sibling();
        Some(found)
    }
}

/// The same instance, as far as that is seen without a search.
fn is_plainly_the_same(one: Node<'_>, other: Node<'_>) -> bool {
    let schema = one.schema();
    if schema != other.schema() {
        return false;
    }
    let mut keys = one.children().zip(other.children()).take_while(|(key, _)| key.schema().is_key()).peekable();
    match schema.kind() {
        NodeKind::List => keys.peek().is_some() && keys.all(|(key, same)| key.value() == same.value()),
        NodeKind::LeafList => one.value() == other.value(),
        _ => true,
    }
}

/// The entries of a list that its user orders, on the way from the old order to the new one.
struct Order<'t> {
    schema: SchemaNode,
    entries: Vec<Node<'t>>,
    placed: usize,
}

impl<'t> Order<'t> {
    fn of(
        schema: SchemaNode,
        old: impl Iterator<Item = Node<'t>>,
        new: Children<'t>,
        counts: &impl Fn(&Node<'t>) -> bool,
    ) -> Self {
        let mut among_new = Siblings::of(new);
        let stays = |node: &Node<'t>| node.schema() == schema && among_new.find(*node).filter(counts).is_some();
        Self { schema, entries: old.filter(stays).collect(), placed: 0 }
    }

    /// Puts the next entry of the new order in its place; whether it stood in another one.
    fn place(&mut self, before: Option<Node<'t>>, node: Node<'t>) -> bool {
        let at = self.placed;
        self.placed += 1;
        let Some(before) = before else {
            self.entries.insert(at, node);
            return false;
        };
        match self.entries[at..].iter().position(|entry| *entry == before) {
            Some(0) | None => false,
            Some(ahead) => {
                self.entries[at..=at + ahead].rotate_right(1);
                true
            }
        }
    }
}
