//! What stands behind the last top node while XPath is used.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

use libyang5_sys as sys;

use super::context::Fault;
use super::tree::Tree;
use crate::yang::schema::Schema;

/// Of no module.
const NAMESPACE: &CStr = c"urn:procyon:nothing";
const NAMESPACE_TEXT: &str = "urn:procyon:nothing";

/// Something with content at the end of a tree, while an expression is used on it. When libyang (5.4.9) puts nodes into
/// the order of the document and finds one out of turn, it begins again from the first one; but where the last top node
/// has no content it goes on from a null pointer. No name matches what stands here: it has no schema.
pub(super) struct Tail<'t> {
    node: *mut sys::lyd_node,
    tree: PhantomData<&'t Tree>,
}

impl<'t> Tail<'t> {
    pub(super) fn behind(tree: &'t Tree) -> Option<Self> {
        let first = tree.roots().next()?;
        if first.last_sibling().children().first().is_some() { None } else { Self::put(tree) }
    }

    /// Whatever stands there now. `None` for a tree without nodes.
    pub(super) fn put(tree: &'t Tree) -> Option<Self> {
        let first = tree.roots().next()?;
        let node = made(tree.schema);
        // SAFETY: the tree is not empty and is used by this thread alone; behind its last node nobody holds one.
        unsafe {
            let code = sys::lyd_insert_sibling(first.raw.as_ptr(), node, ptr::null_mut());
            assert_eq!(code, 0, "a node without schema can stand behind all others");
        }
        Some(Self { node, tree: PhantomData })
    }
}

/// A tail of nothing, of which the caller is to be the owner.
pub(super) fn made(schema: &Schema) -> *mut sys::lyd_node {
    let mut node = ptr::null_mut();
    // SAFETY: all texts are constants; the context lives as long as the process.
    unsafe {
        let (name, none, space) = (c"tail".as_ptr(), ptr::null(), NAMESPACE.as_ptr());
        sys::lyd_new_opaq2(ptr::null_mut(), schema.context().raw(), name, none, none, space, &raw mut node);
        sys::lyd_new_opaq2(node, ptr::null(), name, none, none, space, ptr::null_mut());
    }
    node
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        // SAFETY: made above and referred to by nobody else; freeing unlinks it first.
        unsafe { sys::lyd_free_tree(self.node) };
    }
}

/// Something at the end of a tree while it is validated: nodes that come meanwhile are put before it. libyang finds fault
/// with it, which [`is_of_tail`] tells apart.
pub(super) struct Guard(*mut sys::lyd_node);

impl Guard {
    /// Whatever stands there now: an empty container may come behind it. `None` for a tree without nodes.
    pub(super) fn behind(tree: &Tree) -> Option<Self> {
        Tail::put(tree).map(|tail| Self(ManuallyDrop::new(tail).node))
    }

    /// Takes it away; `first` is the first top node, which is none if all others have gone meanwhile.
    pub(super) fn remove(self, first: &mut *mut sys::lyd_node) {
        if *first == self.0 {
            *first = ptr::null_mut();
        }
        // SAFETY: made above, still the last of its siblings, and referred to by nobody else.
        unsafe { sys::lyd_free_tree(self.0) };
    }
}

pub(super) fn is_of_tail(fault: &Fault) -> bool {
    fault.data_path.is_none() && fault.message.contains(NAMESPACE_TEXT)
}
