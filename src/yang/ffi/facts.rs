//! What is asked of each schema node for each data node again and again, found out once and kept with the schema node.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::schema::{ModuleRef, NodeKind, SchemaNode};

/// Never freed, like the schema it speaks of.
#[derive(Debug)]
pub(in crate::yang) struct Facts {
    pub(in crate::yang) name: &'static str,
    pub(in crate::yang) module: ModuleRef,
    pub(in crate::yang) kind: NodeKind,
    pub(in crate::yang) is_key: bool,
    /// The keys of a list, in the order of its key statement.
    pub(in crate::yang) keys: Vec<SchemaNode>,
    /// See [`SchemaNode::has_prefixed_values`].
    pub(in crate::yang) has_prefixed_values: bool,
    /// Data nodes and operations directly below; choices and cases are looked through. Of an operation its input.
    pub(in crate::yang) children: Vec<SchemaNode>,
}

impl SchemaNode {
    pub(in crate::yang) fn facts(self) -> &'static Facts {
        // SAFETY: the node is valid for ever. libyang keeps this field for its user, which is this function alone; it is
        // only ever read and written as an atomic.
        let kept = unsafe { AtomicPtr::from_ptr((&raw mut (*self.raw().cast_mut()).priv_).cast::<*mut Facts>()) };
        let known = kept.load(Ordering::Acquire);
        if !known.is_null() {
            // SAFETY: put there below, and never freed.
            return unsafe { &*known };
        }
        let made = Box::into_raw(Box::new(self.find_facts()));
        match kept.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: ours, and given away for ever.
            Ok(_) => unsafe { &*made },
            Err(theirs) => {
                // SAFETY: another thread was faster; what we made was seen by nobody.
                unsafe { drop(Box::from_raw(made)) };
                // SAFETY: as above.
                unsafe { &*theirs }
            }
        }
    }

    fn find_facts(self) -> Facts {
        let mut children = Vec::new();
        let mut waiting = self.children();
        waiting.extend(self.operations());
        waiting.reverse();
        while let Some(node) = waiting.pop() {
            match node.kind() {
                NodeKind::Choice | NodeKind::Case | NodeKind::Input => {
                    waiting.extend(node.children().into_iter().rev())
                }
                NodeKind::Output => {}
                _ => children.push(node),
            }
        }
        Facts {
            name: self.name(),
            module: self.module(),
            kind: self.kind(),
            is_key: self.is_key(),
            keys: self.find_keys(),
            has_prefixed_values: self.finds_prefixed_values(),
            children,
        }
    }
}
