//! One data node, borrowed from its tree.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use bytes::Bytes;
use libyang5_sys as sys;

use super::At;
use super::context::{borrowed, copied, owned};
use super::schema::{ModuleRef, NodeKind, SchemaNode};

/// A node of a [`super::Tree`] that is not being changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node<'t> {
    pub(super) raw: NonNull<sys::lyd_node>,
    pub(super) tree: PhantomData<&'t ()>,
}

/// Siblings in document order.
#[derive(Debug, Clone)]
pub struct Children<'t> {
    next: Option<Node<'t>>,
}

impl<'t> Iterator for Children<'t> {
    type Item = Node<'t>;

    fn next(&mut self) -> Option<Node<'t>> {
        let node = self.next?;
        self.next = node.next_sibling();
        Some(node)
    }
}

impl<'t> Children<'t> {
    pub(in crate::yang) fn none() -> Self {
        Self { next: None }
    }

    /// The sibling they start with.
    pub fn first(&self) -> Option<Node<'t>> {
        self.next
    }
}

impl<'t> Node<'t> {
    pub(super) fn from_raw(raw: *const sys::lyd_node) -> Option<Self> {
        NonNull::new(raw.cast_mut()).map(|raw| Self { raw, tree: PhantomData })
    }

    fn get(self) -> &'t sys::lyd_node {
        // SAFETY: the tree is borrowed for 't, so the node is alive and unchanged.
        unsafe { self.raw.as_ref() }
    }

    pub fn schema(self) -> SchemaNode {
        SchemaNode(NonNull::new(self.get().schema.cast_mut()).expect("our trees hold no opaque nodes"))
    }

    pub fn name(self) -> &'static str {
        self.schema().facts().name
    }

    /// The canonical value of a leaf or leaf-list entry.
    pub fn value(self) -> Option<&'t str> {
        if !self.schema().is_leaf_like() {
            return None;
        }
        // SAFETY: the schema says that this is a term node. Canonical text lives in the dictionary with the node.
        unsafe {
            let term = self.raw.as_ptr().cast::<sys::lyd_node_term>();
            let known = (*term).value._canonical;
            if !known.is_null() {
                return borrowed(known);
            }
            let context = self.schema().module().0.as_ref().ctx;
            borrowed(sys::lyd_value_get_canonical(context, &raw const (*term).value))
        }
    }

    /// XML or JSON text of an anydata node, as it was given.
    pub fn any_text(self) -> Option<String> {
        let mut text = ptr::null_mut();
        // SAFETY: `text` is a place for the new string; libyang refuses nodes of other kinds.
        let code = unsafe { sys::lyd_any_value_str(self.raw.as_ptr(), sys::LYD_FORMAT::LYD_XML, &raw mut text) };
        let text = owned(text);
        if code == 0 { text } else { None }
    }

    /// There because the schema says so, not because somebody wrote it.
    pub fn is_default(self) -> bool {
        self.get().flags & sys::LYD_DEFAULT != 0
    }

    pub fn parent(self) -> Option<Node<'t>> {
        Node::from_raw(self.get().parent)
    }

    pub fn children(self) -> Children<'t> {
        let inner = self.get().schema;
        // SAFETY: only inner nodes have the larger struct; the schema tells them.
        let child = unsafe {
            if u32::from((*inner).nodetype) & sys::LYD_NODE_INNER != 0 {
                (*self.raw.as_ptr().cast::<sys::lyd_node_inner>()).child
            } else {
                ptr::null_mut()
            }
        };
        Children { next: Node::from_raw(child) }
    }

    /// Of top nodes; where there is only one, that.
    pub(super) fn last_sibling(self) -> Node<'t> {
        let mut first = self;
        while let Some(before) = first.previous_sibling() {
            first = before;
        }
        // The first of siblings has the last one before it.
        Node::from_raw(first.get().prev).unwrap_or(first)
    }

    pub fn next_sibling(self) -> Option<Node<'t>> {
        Node::from_raw(self.get().next)
    }

    /// The sibling before this one.
    pub fn previous_sibling(self) -> Option<Node<'t>> {
        let previous = Node::from_raw(self.get().prev)?;
        // The first sibling's `prev` is the last one.
        previous.next_sibling().is_some().then_some(previous)
    }

    /// This node and those after it.
    pub fn and_following(self) -> Children<'t> {
        Children { next: Some(self) }
    }

    /// `/module:container/list[key='v']/leaf`.
    pub fn path(self) -> String {
        // SAFETY: the node is alive; a null buffer makes libyang allocate.
        owned(unsafe { sys::lyd_path(self.raw.as_ptr(), sys::LYD_PATH_TYPE::LYD_PATH_STD, ptr::null_mut(), 0) })
            .unwrap_or_default()
    }

    /// The first child of `schema`, found by hash.
    pub fn child(self, schema: SchemaNode) -> Option<Node<'t>> {
        find(self.children().next, schema, None).ok().flatten()
    }

    /// The same instance among `siblings`: the entry of the same keys or value, or the only instance.
    pub(in crate::yang) fn among<'o>(self, siblings: Children<'o>) -> Option<Node<'o>> {
        let first = siblings.next?;
        let schema = self.schema();
        if !matches!(schema.kind(), NodeKind::List | NodeKind::LeafList) {
            return find(Some(first), schema, None).ok().flatten();
        }
        let mut found = ptr::null_mut();
        // SAFETY: both nodes are alive and only read; found by hash where there is one.
        let code = unsafe { sys::lyd_find_sibling_first(first.raw.as_ptr(), self.raw.as_ptr(), &raw mut found) };
        if code == 0 { Node::from_raw(found) } else { None }
    }

    /// Whether libyang would print the node with these options.
    pub(in crate::yang) fn is_printed(self, options: u32) -> bool {
        // Written nodes are, whatever is to become of defaults.
        if !self.is_default() && options & sys::LYD_PRINT_WD_TRIM == 0 {
            return true;
        }
        // SAFETY: the node is alive and only read.
        unsafe { sys::lyd_node_should_print(self.raw.as_ptr(), options) != 0 }
    }

    /// The metadata that others may see: module, name and value of each.
    pub(in crate::yang) fn metadata(self) -> impl Iterator<Item = (ModuleRef, &'static str, &'t str)> {
        let mut next = self.get().meta.cast_const();
        std::iter::from_fn(move || {
            loop {
                // SAFETY: metadata lives with its node; annotation definitions with the context.
                unsafe {
                    let meta = next.as_ref()?;
                    next = meta.next;
                    if sys::lyd_metadata_should_print(meta) == 0 {
                        continue;
                    }
                    let module = ModuleRef(NonNull::new((*meta.annotation).module)?);
                    let value = sys::lyd_value_get_canonical(module.0.as_ref().ctx, &raw const meta.value);
                    return Some((module, borrowed(meta.name)?, borrowed(value).unwrap_or("")));
                }
            }
        })
    }

    /// Its place, for when its tree is changed.
    pub(in crate::yang) fn position(self) -> At {
        At(self.raw)
    }

    /// As XML by libyang, as if nothing stood around it.
    pub(in crate::yang) fn print_alone(self, options: u32) -> Bytes {
        print_node(self.raw.as_ptr(), sys::LYD_FORMAT::LYD_XML, options | sys::LYD_PRINT_SHRINK)
    }

    pub(in crate::yang) fn flags(self) -> u32 {
        self.get().flags
    }

    /// The flags with libyang's mark of a `when` that was true, or without.
    pub(in crate::yang) fn flags_with_when(self, was_true: bool) -> u32 {
        let flags = self.flags() & !sys::LYD_WHEN_TRUE;
        if was_true { flags | sys::LYD_WHEN_TRUE } else { flags }
    }

    /// The same value, origin and state of validation: a node that was made anew is not like the one before it.
    pub(in crate::yang) fn is_like(self, other: Node<'_>) -> bool {
        self.flags() == other.flags()
            && self.value() == other.value()
            && (self.schema().kind() != NodeKind::AnyData || self.any_text() == other.any_text())
    }

    /// A metadata value, like `yang:operation` in a diff.
    pub fn meta(self, module: &str, name: &str) -> Option<String> {
        let mut meta = self.get().meta;
        // SAFETY: metadata lives with its node; annotation definitions with the context.
        unsafe {
            while let Some(item) = meta.as_ref() {
                let owner = (*item.annotation).module;
                if borrowed(item.name) == Some(name) && borrowed((*owner).name) == Some(module) {
                    return copied(sys::lyd_value_get_canonical((*owner).ctx, &raw const item.value));
                }
                meta = item.next;
            }
        }
        None
    }
}

pub(super) fn print_node(node: *const sys::lyd_node, format: sys::LYD_FORMAT::Type, options: u32) -> Bytes {
    let mut text: *mut std::ffi::c_char = ptr::null_mut();
    // SAFETY: the node is alive; `text` is a place for the new string.
    let code = unsafe { sys::lyd_print_mem(&raw mut text, node, format, options) };
    if code != 0 || text.is_null() {
        return Bytes::new();
    }
    // SAFETY: a terminated string that is ours; copied before it is freed.
    unsafe {
        let bytes = Bytes::copy_from_slice(std::ffi::CStr::from_ptr(text).to_bytes());
        libc::free(text.cast());
        bytes
    }
}

/// Finds, among the siblings that start at `first`, the instance of `schema`: any when `which` is `None`, else the
/// leaf-list entry of that value or the list entry of that key predicate. By hash.
pub(super) fn find<'t>(
    first: Option<Node<'t>>,
    schema: SchemaNode,
    which: Option<&str>,
) -> Result<Option<Node<'t>>, sys::LY_ERR::Type> {
    let Some(first) = first else {
        return Ok(None);
    };
    let mut found = ptr::null_mut();
    let (text, length) = match which {
        // A length of zero makes libyang look for the end of the string itself.
        Some("") => (c"".as_ptr(), 0),
        Some(text) => (text.as_ptr().cast(), u32::try_from(text.len()).unwrap_or(u32::MAX)),
        None => (ptr::null(), 0),
    };
    // SAFETY: siblings and schema are of one context; the length says where the text ends.
    let code = unsafe { sys::lyd_find_sibling_val(first.raw.as_ptr(), schema.raw(), text, length, &raw mut found) };
    match code {
        0 => Ok(Node::from_raw(found)),
        sys::LY_ERR::LY_ENOTFOUND => Ok(None),
        other => Err(other),
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.path())
    }
}
