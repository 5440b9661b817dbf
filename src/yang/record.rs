//! The record of a commit, printed from where the changes stand: the touched nodes with `yang:operation` on them, as libyang
//! reads them.
//!
//! What is simple is written here: nodes that came or went, with all below them, and leaves that have another value. Entries
//! that their users order and that came, went or moved by themselves, and values with prefixes of their own, make libyang write
//! the record.

use bytes::Bytes;
use libyang5_sys as sys;

use super::ffi::{ModuleRef, Node};
use super::print::Printer;

/// What becomes of a node and of all below it that does not say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation<'v> {
    Create,
    Delete,
    Replace { old: &'v str },
}

pub(super) struct Recorder<'t> {
    printer: Printer<'static>,
    /// The nodes around the one that is looked at.
    around: Vec<Node<'t>>,
    /// So many of them have been written.
    written: usize,
}

impl<'t> Recorder<'t> {
    pub(super) fn new() -> Self {
        Self { printer: Printer::new(sys::LYD_PRINT_WD_EXPLICIT), around: Vec::new(), written: 0 }
    }

    pub(super) fn finish(self) -> Bytes {
        self.printer.finish()
    }

    pub(super) fn enter(&mut self, node: Node<'t>) {
        self.around.push(node);
    }

    pub(super) fn leave(&mut self) {
        let Some(node) = self.around.pop() else { return };
        if self.written > self.around.len() {
            self.written = self.around.len();
            self.printer.end_around(node, self.written == 0);
        }
    }

    /// `None` where this is not for us.
    pub(super) fn note(&mut self, node: Node<'_>, operation: Operation<'_>) -> Option<()> {
        if node.schema().is_user_ordered() {
            return None;
        }
        for at in self.written..self.around.len() {
            self.printer.begin_around(self.around[at], self.module_around(at), at == 0);
        }
        self.written = self.around.len();
        let around = self.module_around(self.written);
        match operation {
            Operation::Create => self.printer.marked(node, around, &[("operation", "create")], true),
            Operation::Delete => self.printer.marked(node, around, &[("operation", "delete")], false),
            Operation::Replace { old } => {
                let marks = [("operation", "replace"), ("orig-default", "false"), ("orig-value", old)];
                self.printer.marked(node, around, &marks, false)
            }
        }
    }

    fn module_around(&self, depth: usize) -> Option<ModuleRef> {
        depth.checked_sub(1).map(|above| self.around[above].schema().module())
    }
}
