//! What turns one tree into another: the commit record, and the changes that providers hear.
//!
//! A record speaks of written nodes only; defaults follow from the schema when the result is validated. Providers hear
//! effective values: when a leaf goes back to its default, that is a change to the default's value.

use std::borrow::Cow;

use bytes::Bytes;
use libyang5_sys as sys;

use super::ffi::{ModuleRef, Node, Tree};
use super::schema::{NodeKind, Schema};
use super::{anydata, compare, errors, path};
use crate::northbound::provider::{Change, Edit};
use crate::northbound::{Kind, Refusal};

/// The difference between two configurations, in written nodes, as libyang makes, reads and applies it.
#[derive(Debug)]
pub struct Diff {
    tree: Tree,
}

/// What a commit writes down: the difference as it was found.
#[derive(Debug)]
pub enum Record {
    /// Told while the two were compared.
    Told { xml: Bytes, changes: Vec<Change> },
    /// Made by libyang, where it was not simple.
    Made(Diff),
}

impl Record {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Told { changes, .. } => changes.is_empty(),
            Self::Made(diff) => diff.tree.is_empty(),
        }
    }

    /// XML that [`Diff::parse`] reads again: the touched nodes with `yang:operation` on them.
    pub fn print_xml(&self) -> Bytes {
        match self {
            Self::Told { xml, .. } => xml.clone(),
            Self::Made(diff) => diff.tree.print_plainly(sys::LYD_PRINT_WD_ALL),
        }
    }

    /// The written nodes that it changes, in document order.
    pub fn changes(&self) -> Cow<'_, [Change]> {
        match self {
            Self::Told { changes, .. } => Cow::Borrowed(changes),
            Self::Made(diff) => Cow::Owned(collect(&diff.tree, Defaults::Skipped)),
        }
    }

    pub fn into_changes(self) -> Vec<Change> {
        match self {
            Self::Told { changes, .. } => changes,
            Self::Made(diff) => collect(&diff.tree, Defaults::Skipped),
        }
    }

    /// The same without what came with a node that came.
    pub fn topmost_changes(&self) -> Vec<Change> {
        let changes = self.changes();
        let mut came: Option<&str> = None;
        let mut topmost = Vec::new();
        for change in changes.iter() {
            let is_below = |above: &str| change.path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
            if !came.is_some_and(is_below) {
                came = matches!(change.edit, Edit::Create { .. }).then_some(change.path.as_str());
                topmost.push(change.clone());
            }
        }
        topmost
    }
}

impl Diff {
    pub fn between(old: &Tree, new: &Tree) -> Record {
        match compare::written(old, new) {
            Some((xml, changes)) => Record::Told { xml, changes },
            None => Record::Made(Diff::by_libyang(old, new)),
        }
    }

    fn by_libyang(old: &Tree, new: &Tree) -> Diff {
        let mut tree = anydata::difference(old, new).expect("trees of one schema can be compared");
        // libyang copies what is created with the defaults in it.
        tree.strip_default_leaves();
        Diff { tree }
    }

    #[cfg(test)]
    pub(super) fn print_by_libyang(&self) -> Bytes {
        self.tree.print(false, sys::LYD_PRINT_WD_ALL)
    }

    pub fn parse(schema: &'static Schema, bytes: &[u8]) -> Result<Diff, Refusal> {
        let tree = anydata::parse(schema, bytes).map_err(|faults| {
            errors::from_other(Kind::OperationFailed, "the commit record does not fit the YANG modules", &faults)
        })?;
        Ok(Diff { tree })
    }

    /// Makes the change in a tree without defaults (see [`Tree::strip_defaults`]). On refusal the tree is half changed.
    pub fn apply_to_written(&self, tree: &mut Tree) -> Result<(), Refusal> {
        tree.apply(&self.tree).map_err(|faults| {
            errors::from_other(Kind::OperationFailed, "the change does not fit the configuration", &faults)
        })
    }

    /// Makes the change in a copy; defaults are those of the schema again.
    pub fn applied_to(&self, tree: &Tree) -> Result<Tree, Refusal> {
        let mut next = tree.duplicate();
        next.strip_defaults();
        self.apply_to_written(&mut next)?;
        next.add_defaults();
        Ok(next)
    }

    /// What undoes it.
    pub fn reverse(&self) -> Diff {
        Diff { tree: anydata::reversed(&self.tree).expect("a diff that libyang made or read can be turned round") }
    }
}

/// What providers hear: all nodes that changed their effective value. Defaults count like written nodes.
pub fn changes(old: &Tree, new: &Tree) -> Vec<Change> {
    compare::changes_unless(old, new, &|_, _| false).expect("nothing stops the comparison")
}

/// The same by libyang.
#[cfg(test)]
pub(crate) fn changes_by_libyang(old: &Tree, new: &Tree) -> Vec<Change> {
    let flag = u16::try_from(sys::LYD_DIFF_DEFAULTS).expect("a flag of two bytes");
    collect(&old.difference(new, flag).expect("trees of one schema can be compared"), Defaults::Told)
}

/// What [`Diff::between`] would be if libyang made it always.
#[cfg(test)]
pub(crate) fn record_by_libyang(old: &Tree, new: &Tree) -> Record {
    Record::Made(Diff::by_libyang(old, new))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    None,
    Create,
    Delete,
    Replace,
}

/// What comes with a node that came because the schema says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defaults {
    #[cfg(test)]
    Told,
    Skipped,
}

fn collect(diff: &Tree, defaults: Defaults) -> Vec<Change> {
    let mut collector = Collector { defaults, path: String::new(), changes: Vec::new() };
    for root in diff.roots() {
        collector.walk(root, Operation::None, None);
    }
    collector.changes
}

fn operation_of(node: Node<'_>) -> Option<Operation> {
    match node.meta("yang", "operation").as_deref() {
        Some("create") => Some(Operation::Create),
        Some("delete") => Some(Operation::Delete),
        Some("replace") => Some(Operation::Replace),
        Some("none") => Some(Operation::None),
        _ => None,
    }
}

struct Collector {
    defaults: Defaults,
    /// Of the node that is walked.
    path: String,
    changes: Vec<Change>,
}

impl Collector {
    fn walk(&mut self, node: Node<'_>, inherited: Operation, around: Option<ModuleRef>) {
        let above = self.path.len();
        path::push_step(&mut self.path, node, around);
        self.node(node, operation_of(node).unwrap_or(inherited));
        self.path.truncate(above);
    }

    fn node(&mut self, node: Node<'_>, operation: Operation) {
        if operation == Operation::Create && self.defaults == Defaults::Skipped && node.is_default() {
            return;
        }
        let schema = node.schema();
        let value = || node.value().map(str::to_owned).or_else(|| node.any_text());
        match operation {
            Operation::Create => self.tell(Edit::Create { value: value() }),
            Operation::Delete => return self.tell(Edit::Delete),
            Operation::Replace => self.tell(match schema.kind() {
                NodeKind::List | NodeKind::LeafList => Edit::Move,
                _ => Edit::Modify { value: value().unwrap_or_default() },
            }),
            Operation::None => {}
        }
        // What stands below a moved entry has not changed unless it says so itself.
        let below = if operation == Operation::Replace { Operation::None } else { operation };
        for child in node.children() {
            // A key of an entry that only leads to a change is not a change.
            if child.schema().is_key() && operation != Operation::Create {
                continue;
            }
            self.walk(child, below, Some(schema.module()));
        }
    }

    fn tell(&mut self, edit: Edit) {
        self.changes.push(Change { path: self.path.clone(), edit });
    }
}
