//! A forest of data nodes with one owner, and every change that can be made to it.
//!
//! [`At`] names a position in a tree that is being changed. Whoever holds one must drop it when that node is removed;
//! only `edit.rs`, `build.rs` and `select.rs` hold them, each for one walk down the tree.
#![expect(unsafe_code, reason = "libyang is a C library")]

mod any;
mod completing;

use std::ffi::c_char;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use bytes::Bytes;
use libyang5_sys as sys;

pub(in crate::yang) use self::any::Any;
use super::context::Fault;
use super::nested_when::Watch;
use super::node::{Children, Node, find, print_node};
use super::schema::{NodeKind, SchemaNode, c_text};
use super::stamp::AreGiven;
use super::tail::{self, Tail};
use crate::yang::schema::Schema;

/// All top-level siblings; may be empty.
pub struct Tree {
    pub(in crate::yang) schema: &'static Schema,
    first: *mut sys::lyd_node,
    pub(super) stamps: AreGiven,
}

/// A position in a tree that is being changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct At(pub(super) NonNull<sys::lyd_node>);

// SAFETY: a tree owns its nodes and no thread of its own; the dictionary of the schema, which its values come from, has a lock.
unsafe impl Send for Tree {}
// SAFETY: what takes `&Tree` only reads its nodes; libyang keeps no cursor in them.
unsafe impl Sync for Tree {}
// SAFETY: a place is used only by whoever owns the tree it is in.
unsafe impl Send for At {}

impl Drop for Tree {
    fn drop(&mut self) {
        // SAFETY: the siblings and all below them are ours; null is accepted.
        unsafe { sys::lyd_free_siblings(self.first) };
    }
}

impl Tree {
    pub fn new(schema: &'static Schema) -> Self {
        Self { schema, first: ptr::null_mut(), stamps: AreGiven::default() }
    }

    fn adopt(schema: &'static Schema, node: *mut sys::lyd_node) -> Self {
        let first = if node.is_null() {
            node
        } else {
            // SAFETY: a fresh node of which we are told to be the owner.
            unsafe { sys::lyd_first_sibling(node) }
        };
        Self { schema, first, stamps: AreGiven::default() }
    }

    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    fn first(&self) -> Option<Node<'_>> {
        Node::from_raw(self.first)
    }

    pub fn roots(&self) -> Children<'_> {
        self.first().map_or_else(Children::none, Node::and_following)
    }

    fn context(&self) -> *mut sys::ly_ctx {
        self.schema.context().raw()
    }

    fn faults(&self) -> Vec<Fault> {
        self.schema.context().take_faults()
    }

    fn checked(&self, code: sys::LY_ERR::Type) -> Result<(), Vec<Fault>> {
        if code == 0 { Ok(()) } else { Err(self.faults()) }
    }

    // ---- whole trees

    #[must_use]
    pub fn duplicate(&self) -> Tree {
        self.duplicate_so(0)
    }

    pub(super) fn duplicate_so(&self, options: u32) -> Tree {
        let mut copy = ptr::null_mut();
        if !self.first.is_null() {
            let options = options | sys::LYD_DUP_RECURSIVE | sys::LYD_DUP_WITH_FLAGS;
            // SAFETY: our own siblings are copied into the same context.
            let code = unsafe { sys::lyd_dup_siblings(self.first, ptr::null_mut(), options, &raw mut copy) };
            assert_eq!(code, 0, "copying a tree fails only without memory");
        }
        Tree::adopt(self.schema, copy)
    }

    /// libyang's own parser, for what we printed ourselves. Nothing is validated.
    pub(in crate::yang) fn parse(schema: &'static Schema, xml: &[u8], options: u32) -> Result<Tree, Vec<Fault>> {
        let text = std::ffi::CString::new(xml).map_err(|_| vec![Fault::plain("the data contains a zero byte")])?;
        let mut first = ptr::null_mut();
        let options = options | sys::LYD_PARSE_ONLY | sys::LYD_PARSE_STRICT;
        // SAFETY: the text is terminated and outlives the call.
        let code = unsafe {
            sys::lyd_parse_data_mem(
                schema.context().raw(),
                text.as_ptr(),
                sys::LYD_FORMAT::LYD_XML,
                options,
                0,
                &raw mut first,
            )
        };
        let tree = Tree::adopt(schema, first);
        tree.checked(code)?;
        Ok(tree)
    }

    pub(in crate::yang) fn print(&self, json: bool, options: u32) -> Bytes {
        if self.first.is_null() {
            return Bytes::from_static(if json { b"{}" } else { b"" });
        }
        let format = if json { sys::LYD_FORMAT::LYD_JSON } else { sys::LYD_FORMAT::LYD_XML };
        let printed = print_node(self.first, format, options | sys::LYD_PRINT_SIBLINGS | sys::LYD_PRINT_SHRINK);
        self.forget_faults_of_printing(options);
        printed
    }

    /// To see whether a value is the default libyang reads the latter anew, and where it refers to a node that is not
    /// there keeps that as an error, which nobody asked for and the next one to fail would tell as its own.
    pub(in crate::yang) fn forget_faults_of_printing(&self, options: u32) {
        if options & (sys::LYD_PRINT_WD_TRIM | sys::LYD_PRINT_WD_ALL_TAG) != 0 {
            self.faults();
        }
    }

    pub fn merge(&mut self, other: &Tree) {
        if other.first.is_null() {
            return;
        }
        self.touch_all();
        // SAFETY: both are of one context; `other` is copied.
        let code = unsafe { sys::lyd_merge_siblings(&raw mut self.first, other.first, 0) };
        assert_eq!(code, 0, "merging trees of one context fails only without memory");
    }

    pub(in crate::yang) fn difference(&self, new: &Tree, options: u16) -> Result<Tree, Vec<Fault>> {
        let mut diff = ptr::null_mut();
        // SAFETY: both are of one context and only read.
        let code = unsafe { sys::lyd_diff_siblings(self.first, new.first, options, &raw mut diff) };
        self.checked(code)?;
        Ok(Tree::adopt(self.schema, diff))
    }

    pub(in crate::yang) fn apply(&mut self, diff: &Tree) -> Result<(), Vec<Fault>> {
        self.touch_all();
        // SAFETY: both are of one context; the diff is only read.
        let code = unsafe { sys::lyd_diff_apply_all(&raw mut self.first, diff.first) };
        if !self.first.is_null() {
            // SAFETY: the siblings are ours; an entry may have been put before the old first one.
            self.first = unsafe { sys::lyd_first_sibling(self.first) };
        }
        self.checked(code)
    }

    pub(in crate::yang) fn reversed(&self) -> Result<Tree, Vec<Fault>> {
        let ordered = self.with_original_places()?;
        let mut reverse = ptr::null_mut();
        // SAFETY: the diff is only read.
        let code = unsafe { sys::lyd_diff_reverse_all(ordered.first, &raw mut reverse) };
        self.checked(code)?;
        Ok(Tree::adopt(self.schema, reverse))
    }

    /// libyang does not say where the user-ordered entries of a subtree were that a diff deletes as a whole, yet wants to
    /// know it before it turns the diff round. As they go one after the other, each is the first when its turn comes.
    fn with_original_places(&self) -> Result<Tree, Vec<Fault>> {
        let copy = self.duplicate();
        let mut unplaced = Vec::new();
        for root in copy.roots() {
            collect_unplaced(root, false, &mut unplaced);
        }
        let module = self.schema.module("yang").ok_or_else(|| vec![Fault::plain("there is no module yang")])?;
        for (node, name) in unplaced {
            // SAFETY: the node is one of the copy's own; name and value are terminated.
            let code = unsafe {
                let (raw, context) = (node.raw.as_ptr(), copy.context());
                sys::lyd_new_meta(context, raw, module.raw(), name.as_ptr(), c"".as_ptr(), 0, ptr::null_mut())
            };
            self.checked(code)?;
        }
        Ok(copy)
    }

    pub fn is_same(&self, other: &Tree) -> bool {
        let options = sys::LYD_COMPARE_FULL_RECURSION | sys::LYD_COMPARE_DEFAULTS;
        // SAFETY: both are of one context and only read.
        unsafe { sys::lyd_compare_siblings(self.first, other.first, options) == 0 }
    }

    /// Nodes in the order of the document.
    pub(in crate::yang) fn find_xpath(&self, expression: &str) -> Result<Vec<Node<'_>>, Vec<Fault>> {
        let Some(expression) = c_text(expression) else {
            return Err(vec![Fault::plain("the expression contains a zero byte")]);
        };
        if self.first.is_null() {
            return Ok(Vec::new());
        }
        let mut set = ptr::null_mut();
        let tail = Tail::behind(self);
        // SAFETY: the tree is only read; unprefixed and prefixed names mean modules (JSON style).
        let code = unsafe {
            sys::lyd_find_xpath3(
                ptr::null(),
                self.first,
                expression.as_ptr(),
                sys::LY_VALUE_FORMAT::LY_VALUE_JSON,
                ptr::null_mut(),
                ptr::null(),
                &raw mut set,
            )
        };
        let mut nodes = Vec::new();
        // SAFETY: on success the set holds nodes of our tree; it is ours to free.
        unsafe {
            if let Some(found) = set.as_ref() {
                for index in 0..found.count as usize {
                    let node = Node::from_raw(*found.__bindgen_anon_1.dnodes.add(index));
                    // The tail and what is in it have no schema.
                    nodes.extend(node.filter(|node| !node.raw.as_ref().schema.is_null()));
                }
                sys::ly_set_free(set, None);
            }
        }
        drop(tail);
        self.checked(code)?;
        Ok(nodes)
    }

    /// The node at a canonical path.
    pub fn find(&self, path: &str) -> Option<Node<'_>> {
        let path = c_text(path)?;
        if self.first.is_null() {
            return None;
        }
        let mut found = ptr::null_mut();
        // SAFETY: the tree is only read.
        let code = unsafe { sys::lyd_find_path(self.first, path.as_ptr(), 0, &raw mut found) };
        if code != 0 {
            // LY_EINCOMPLETE leaves the deepest ancestor in `found`; that is not what was asked for.
            self.faults();
            return None;
        }
        Node::from_raw(found)
    }

    // ---- positions

    /// The node at `at`, while the tree stays as it is.
    pub(crate) fn node(&self, at: At) -> Node<'_> {
        Node { raw: at.0, tree: PhantomData }
    }

    /// The position of a node of this tree.
    pub(crate) fn at(&self, node: Node<'_>) -> At {
        At(node.raw)
    }

    pub(crate) fn children_of(&self, parent: Option<At>) -> Children<'_> {
        match parent {
            Some(parent) => self.node(parent).children(),
            None => self.roots(),
        }
    }

    /// The instance of `schema` among the children of `parent`; see [`find`] for `which`.
    pub(in crate::yang) fn instance(
        &self,
        parent: Option<At>,
        schema: SchemaNode,
        which: Option<&str>,
    ) -> Result<Option<At>, Vec<Fault>> {
        let found = find(self.children_of(parent).first(), schema, which);
        match found {
            Ok(node) => Ok(node.map(|node| At(node.raw))),
            Err(_) => Err(self.faults()),
        }
    }

    /// The node among the children of `parent` that is the same instance as `node`, which may be of another tree.
    pub(crate) fn counterpart(&self, parent: Option<At>, node: Node<'_>) -> Option<At> {
        node.among(self.children_of(parent)).map(|node| At(node.raw))
    }

    /// Takes over what libyang knows of `node`: whether it is a default, and whether it was validated.
    pub(in crate::yang) fn copy_flags(&mut self, at: At, node: Node<'_>) {
        self.put_flags(&[(at, node.flags())]);
    }

    pub(in crate::yang) fn add_inner(&mut self, parent: Option<At>, schema: SchemaNode) -> Result<At, Vec<Fault>> {
        let output = u8::from(output_option(schema) != 0);
        self.add(parent, schema, |parent, module, name, node| {
            // SAFETY: see `add`.
            unsafe { sys::lyd_new_inner(parent, module, name, output, node) }
        })
    }

    pub(in crate::yang) fn add_list(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        keys: &[&str],
    ) -> Result<At, Vec<Fault>> {
        debug_assert_eq!(keys.len(), schema.keys().len(), "the caller has counted the keys");
        let mut values: Vec<_> =
            keys.iter().map(|key| if key.is_empty() { c"".as_ptr().cast() } else { key.as_ptr().cast() }).collect();
        let mut bits = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(length) = u32::try_from(key.len()).ok().and_then(|length| length.checked_mul(8)) else {
                return Err(vec![Fault::plain("a key is too long")]);
            };
            bits.push(length);
        }
        let output = output_option(schema);
        self.add(parent, schema, |parent, module, name, node| {
            // SAFETY: see `add`; there is one value with its size in bits for each key.
            unsafe { sys::lyd_new_list3(parent, module, name, values.as_mut_ptr(), bits.as_mut_ptr(), output, node) }
        })
    }

    pub(in crate::yang) fn add_term(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        value: &str,
    ) -> Result<At, Vec<Fault>> {
        let Some(value) = c_text(value) else {
            return Err(vec![Fault::plain("the value contains a zero byte")]);
        };
        let output = output_option(schema);
        self.add(parent, schema, |parent, module, name, node| {
            // SAFETY: see `add`; the value is terminated.
            unsafe { sys::lyd_new_term(parent, module, name, value.as_ptr(), output, node) }
        })
    }

    /// Makes a node under `parent` (or on top) by one of libyang's constructors.
    fn add(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        make: impl FnOnce(
            *mut sys::lyd_node,
            *const sys::lys_module,
            *const c_char,
            *mut *mut sys::lyd_node,
        ) -> sys::LY_ERR::Type,
    ) -> Result<At, Vec<Fault>> {
        let mut node = ptr::null_mut();
        self.touch(parent);
        let raw_parent = parent.map_or(ptr::null_mut(), |parent| parent.0.as_ptr());
        let name = schema.raw_name();
        // Parent and schema node are of our context, the name is the schema's own.
        let code = make(raw_parent, schema.module().raw(), name, &raw mut node);
        let Some(node) = NonNull::new(node).filter(|_| code == 0) else {
            let mut faults = self.faults();
            if faults.is_empty() {
                faults.push(Fault::plain("the node cannot be made"));
            }
            return Err(faults);
        };
        if parent.is_none() {
            // SAFETY: the node is new and has no siblings; the list is ours.
            let code = unsafe { sys::lyd_insert_sibling(self.first, node.as_ptr(), &raw mut self.first) };
            if code != 0 {
                // SAFETY: the node was not inserted, so it is still ours alone.
                unsafe { sys::lyd_free_tree(node.as_ptr()) };
                return Err(self.faults());
            }
        }
        Ok(At(node))
    }

    /// Makes the node at a data path, and those that lead to it.
    pub(in crate::yang) fn add_path(&mut self, path: &str) -> Result<At, Vec<Fault>> {
        let Some(text) = c_text(path) else {
            return Err(vec![Fault::plain("the path contains a zero byte")]);
        };
        let mut made = ptr::null_mut();
        // SAFETY: without a parent, libyang makes all nodes of the path anew and returns the topmost.
        let code =
            unsafe { sys::lyd_new_path(ptr::null_mut(), self.context(), text.as_ptr(), ptr::null(), 0, &raw mut made) };
        if code != 0 || made.is_null() {
            return Err(self.faults());
        }
        // SAFETY: the node is new and has no siblings; the list is ours.
        let code = unsafe { sys::lyd_insert_sibling(self.first, made, &raw mut self.first) };
        self.checked(code)?;
        let found = self.find(path).map(|node| At(node.raw));
        found.ok_or_else(|| vec![Fault::plain("the path leads nowhere")])
    }

    /// Whether something changed: a new value, or a default that was now written.
    pub(in crate::yang) fn change_term(&mut self, at: At, value: &str) -> Result<bool, Vec<Fault>> {
        let Some(value) = c_text(value) else {
            return Err(vec![Fault::plain("the value contains a zero byte")]);
        };
        self.touch(Some(at));
        // SAFETY: the node is a leaf of ours; the value is terminated.
        match unsafe { sys::lyd_change_term(at.0.as_ptr(), value.as_ptr()) } {
            0 | sys::LY_ERR::LY_EEXIST => Ok(true),
            sys::LY_ERR::LY_ENOT => Ok(false),
            _ => Err(self.faults()),
        }
    }

    /// Puts a metadata annotation (RFC 7952) on a node.
    pub(in crate::yang) fn annotate(&mut self, at: At, module: &str, name: &std::ffi::CStr, value: &std::ffi::CStr) {
        let Some(module) = self.schema.module(module) else { return };
        self.touch(Some(at));
        // SAFETY: the node is ours; name and value are terminated.
        let code = unsafe {
            let (node, context) = (at.0.as_ptr(), self.context());
            sys::lyd_new_meta(context, node, module.raw(), name.as_ptr(), value.as_ptr(), 0, ptr::null_mut())
        };
        if code != 0 {
            // A module that has no such annotation has nothing to tell by it.
            self.faults();
        }
    }

    /// Marks a node, and those around it, as written by somebody.
    pub(in crate::yang) fn make_explicit(&mut self, at: At) {
        self.touch(Some(at));
        let mut node = at.0.as_ptr();
        // SAFETY: nodes of our tree, which is borrowed mutably; parents outlive children.
        unsafe {
            while !node.is_null() && (*node).flags & sys::LYD_DEFAULT != 0 {
                (*node).flags &= !sys::LYD_DEFAULT;
                node = (*node).parent;
            }
        }
    }

    /// Removes a node and all below it. Keys go with their entry only.
    pub(in crate::yang) fn remove(&mut self, at: At) {
        self.touch(Some(at));
        let raw = at.0.as_ptr();
        if raw == self.first {
            // SAFETY: the first node is alive.
            self.first = unsafe { (*raw).next };
        }
        // SAFETY: the node is ours; freeing unlinks it first.
        unsafe { sys::lyd_free_tree(raw) };
    }

    /// Moves an entry of a user-ordered list or leaf-list before another one.
    pub(in crate::yang) fn move_before(&mut self, anchor: At, at: At) -> Result<(), Vec<Fault>> {
        if anchor == at {
            return Ok(());
        }
        self.touch(Some(at));
        // SAFETY: both are nodes of ours; libyang checks that they are entries of one user-ordered list.
        let code = unsafe { sys::lyd_insert_before(anchor.0.as_ptr(), at.0.as_ptr()) };
        self.find_first(anchor);
        self.checked(code)
    }

    pub(in crate::yang) fn move_after(&mut self, anchor: At, at: At) -> Result<(), Vec<Fault>> {
        if anchor == at {
            return Ok(());
        }
        self.touch(Some(at));
        // SAFETY: as in `move_before`.
        let code = unsafe { sys::lyd_insert_after(anchor.0.as_ptr(), at.0.as_ptr()) };
        self.find_first(anchor);
        self.checked(code)
    }

    fn find_first(&mut self, any: At) {
        // SAFETY: a live node of ours; only top-level siblings concern `first`.
        unsafe {
            if (*any.0.as_ptr()).parent.is_null() {
                self.first = sys::lyd_first_sibling(any.0.as_ptr());
            }
        }
    }

    /// Copies `node` under `parent`: alone (a list entry takes its keys along), or with everything below.
    pub(crate) fn copy(&mut self, parent: Option<At>, node: Node<'_>, whole: bool) -> At {
        self.touch(parent);
        let depth = if whole { sys::LYD_DUP_RECURSIVE } else { 0 };
        let raw_parent = parent.map_or(ptr::null_mut(), |parent| parent.0.as_ptr());
        let mut copy = ptr::null_mut();
        let options = depth | sys::LYD_DUP_WITH_FLAGS;
        // SAFETY: the source is only read; the parent is ours and of the same context.
        let code = unsafe { sys::lyd_dup_single(node.raw.as_ptr(), raw_parent, options, &raw mut copy) };
        assert_eq!(code, 0, "copying a node fails only without memory");
        if parent.is_none() {
            // SAFETY: the copy is new and has no siblings.
            let code = unsafe { sys::lyd_insert_sibling(self.first, copy, &raw mut self.first) };
            assert_eq!(code, 0, "a top node of the same context can be inserted");
        }
        At(NonNull::new(copy).expect("a copied node is there"))
    }

    /// Moves a node with all below it from `other` to below `parent`.
    pub(crate) fn take_over(&mut self, parent: Option<At>, other: &mut Tree, at: At) {
        self.touch(parent);
        other.touch(Some(at));
        other.touch_inside(at);
        let raw = at.0.as_ptr();
        if raw == other.first {
            // SAFETY: the node is alive and `other` owns it.
            other.first = unsafe { (*raw).next };
        }
        // SAFETY: the node is unlinked from its tree, whose first node was seen to, and put into another of one context.
        let code = unsafe {
            let unlinked = sys::lyd_unlink_tree(raw);
            assert_eq!(unlinked, 0, "a node of a tree can be unlinked");
            match parent {
                Some(parent) => sys::lyd_insert_child(parent.0.as_ptr(), raw),
                None => sys::lyd_insert_sibling(self.first, raw, &raw mut self.first),
            }
        };
        assert_eq!(code, 0, "a node can be where another tree of the same schema has it");
    }

    /// What libyang knows of a node and of those around it, to be put back with [`Tree::put_flags`]: it guesses anew when
    /// something comes or goes below them.
    pub(in crate::yang) fn flags_around(&self, at: Option<At>) -> Vec<(At, u32)> {
        let mut known = Vec::new();
        let mut at = at.map(|at| self.node(at));
        while let Some(node) = at {
            known.push((node.position(), node.flags()));
            at = node.parent();
        }
        known
    }

    pub(in crate::yang) fn put_flags(&mut self, known: &[(At, u32)]) {
        for (at, flags) in known {
            if self.node(*at).flags() != *flags {
                self.touch(Some(*at));
                // SAFETY: a live node of ours.
                unsafe { (*at.0.as_ptr()).flags = *flags };
            }
        }
    }

    /// Validates the rpc or action at `at`: its input with defaults, or its output.
    pub(in crate::yang) fn validate_operation(
        &mut self,
        at: At,
        dependencies: Option<&Tree>,
        reply: bool,
    ) -> Result<(), Vec<Fault>> {
        let kind = if reply { sys::lyd_type::LYD_TYPE_REPLY_YANG } else { sys::lyd_type::LYD_TYPE_RPC_YANG };
        // Constraints of operations may put nodes in order too: there has to be something behind all others.
        let nothing = Tree { schema: self.schema, first: tail::made(self.schema), stamps: AreGiven::default() };
        let tail = dependencies.and_then(Tail::put);
        let state = if tail.is_some() { dependencies } else { None }.unwrap_or(&nothing).first;
        self.touch_all();
        let _watch = Watch::over_validation();
        // SAFETY: libyang puts the operation into the other tree while it looks, and takes it out again.
        let code = unsafe { sys::lyd_validate_op(at.0.as_ptr(), state, kind, ptr::null_mut()) };
        self.checked(code)
    }

    /// One node with all below it, as XML.
    pub(in crate::yang) fn print_at(&self, at: At, options: u32) -> Bytes {
        print_node(at.0.as_ptr(), sys::LYD_FORMAT::LYD_XML, options | sys::LYD_PRINT_SHRINK)
    }
}

/// Gives memory that large trees have left back to the system.
pub(crate) fn release_memory() {
    // SAFETY: takes no pointers; may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

fn output_option(schema: SchemaNode) -> u32 {
    let mut at = Some(schema);
    while let Some(node) = at {
        if node.kind() == NodeKind::Output {
            return sys::LYD_NEW_VAL_OUTPUT;
        }
        at = node.parent();
    }
    0
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({})", String::from_utf8_lossy(&self.print(false, 0)))
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("At")
    }
}

/// The user-ordered entries below `node` that a diff deletes without a word of their place.
fn collect_unplaced<'t>(node: Node<'t>, deleted_above: bool, unplaced: &mut Vec<(Node<'t>, &'static std::ffi::CStr)>) {
    let is_deleted = match node.meta("yang", "operation").as_deref() {
        Some(operation) => operation == "delete",
        None => deleted_above,
    };
    if is_deleted && node.schema().is_user_ordered() {
        let name = if node.schema().kind() == NodeKind::List { c"orig-key" } else { c"orig-value" };
        if name.to_str().is_ok_and(|name| node.meta("yang", name).is_none()) {
            unplaced.push((node, name));
        }
    }
    for child in node.children() {
        collect_unplaced(child, is_deleted, unplaced);
    }
}
