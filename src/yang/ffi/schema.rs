//! Modules and schema nodes: read-only, valid for ever because the context is leaked.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::ffi::CString;
use std::fmt;
use std::ptr::{self, NonNull};

use libyang5_sys as sys;

use super::context::{PrintFormat, borrowed, owned, printed};

/// A module of the context, implemented or only imported.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModuleRef(pub(super) NonNull<sys::lys_module>);

/// A node of the compiled schema.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaNode(pub(super) NonNull<sys::lysc_node>);

// SAFETY: the compiled schema is never changed after loading and never freed.
unsafe impl Send for ModuleRef {}
// SAFETY: as above.
unsafe impl Sync for ModuleRef {}
// SAFETY: as above.
unsafe impl Send for SchemaNode {}
// SAFETY: as above.
unsafe impl Sync for SchemaNode {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Container { presence: bool },
    Leaf,
    LeafList,
    List,
    Choice,
    Case,
    AnyData,
    Rpc,
    Action,
    Notification,
    Input,
    Output,
}

impl ModuleRef {
    fn get(self) -> &'static sys::lys_module {
        // SAFETY: modules of the leaked context are never freed.
        unsafe { self.0.as_ref() }
    }

    pub fn name(self) -> &'static str {
        borrowed(self.get().name).unwrap_or("")
    }

    pub fn revision(self) -> Option<&'static str> {
        borrowed(self.get().revision)
    }

    pub fn namespace(self) -> &'static str {
        borrowed(self.get().ns).unwrap_or("")
    }

    pub fn prefix(self) -> &'static str {
        borrowed(self.get().prefix).unwrap_or("")
    }

    /// The file it was read from; `None` for the few that libyang brings itself.
    pub fn file(self) -> Option<&'static str> {
        borrowed(self.get().filepath)
    }

    pub fn is_implemented(self) -> bool {
        self.get().implemented != 0
    }

    /// Names of the features that are on.
    pub fn features(self) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut index = 0;
        let mut last = ptr::null();
        // SAFETY: parsed modules stay in the context; libyang walks its own list.
        unsafe {
            loop {
                last = sys::lysp_feature_next(last, self.get().parsed, &raw mut index);
                let Some(feature) = last.as_ref() else { break };
                if u32::from(feature.flags) & sys::LYS_FENABLED != 0 {
                    names.extend(borrowed(feature.name));
                }
            }
        }
        names
    }

    /// Name and revision of each submodule.
    pub fn submodules(self) -> Vec<(&'static str, Option<&'static str>)> {
        array(self.get().submodules)
            .iter()
            .map(|sub| (borrowed(sub.name).unwrap_or(""), borrowed(sub.revision)))
            .collect()
    }

    pub fn deviated_by(self) -> Vec<ModuleRef> {
        array(self.get().deviated_by).iter().filter_map(|module| NonNull::new(*module)).map(ModuleRef).collect()
    }

    pub fn augmented_by(self) -> Vec<ModuleRef> {
        array(self.get().augmented_by).iter().filter_map(|module| NonNull::new(*module)).map(ModuleRef).collect()
    }

    pub(in crate::yang) fn text(self, format: PrintFormat) -> Option<String> {
        // SAFETY: the module is valid for ever.
        printed(|out| unsafe { sys::lys_print_module(out, self.0.as_ptr(), format.raw(), 0, 0) })
    }

    /// Top data nodes, rpcs and notifications.
    pub fn top_nodes(self) -> Vec<SchemaNode> {
        let mut nodes = Vec::new();
        // SAFETY: the compiled module is there when the module is implemented, and is never freed.
        if let Some(compiled) = unsafe { self.get().compiled.as_ref() } {
            nodes.extend(siblings(compiled.data));
            nodes.extend(siblings(compiled.rpcs.cast()));
            nodes.extend(siblings(compiled.notifs.cast()));
        }
        nodes
    }

    pub fn child(self, name: &str) -> Option<SchemaNode> {
        find(ptr::null(), self, name, 0)
    }

    pub(super) fn raw(self) -> *const sys::lys_module {
        self.0.as_ptr()
    }
}

impl SchemaNode {
    fn get(self) -> &'static sys::lysc_node {
        // SAFETY: the compiled schema of the leaked context is never freed.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn raw(self) -> *const sys::lysc_node {
        self.0.as_ptr()
    }

    pub(super) fn raw_name(self) -> *const std::ffi::c_char {
        self.get().name
    }

    pub fn name(self) -> &'static str {
        borrowed(self.get().name).unwrap_or("")
    }

    /// What the module says of it; empty where it says nothing.
    pub fn description(self) -> &'static str {
        borrowed(self.get().dsc).unwrap_or("")
    }

    pub fn module(self) -> ModuleRef {
        ModuleRef(NonNull::new(self.get().module).expect("every schema node has a module"))
    }

    pub fn kind(self) -> NodeKind {
        let node = self.get();
        match u32::from(node.nodetype) {
            sys::LYS_CONTAINER => NodeKind::Container { presence: u32::from(node.flags) & sys::LYS_PRESENCE != 0 },
            sys::LYS_LEAF => NodeKind::Leaf,
            sys::LYS_LEAFLIST => NodeKind::LeafList,
            sys::LYS_LIST => NodeKind::List,
            sys::LYS_CHOICE => NodeKind::Choice,
            sys::LYS_CASE => NodeKind::Case,
            sys::LYS_RPC => NodeKind::Rpc,
            sys::LYS_ACTION => NodeKind::Action,
            sys::LYS_NOTIF => NodeKind::Notification,
            sys::LYS_INPUT => NodeKind::Input,
            sys::LYS_OUTPUT => NodeKind::Output,
            _ => NodeKind::AnyData,
        }
    }

    pub fn is_leaf_like(self) -> bool {
        matches!(self.kind(), NodeKind::Leaf | NodeKind::LeafList)
    }

    pub fn has_no_children(self) -> bool {
        matches!(self.kind(), NodeKind::Leaf | NodeKind::LeafList | NodeKind::AnyData)
    }

    /// A list without keys and other nodes that can be written; state and operations are not.
    pub fn is_config(self) -> bool {
        u32::from(self.get().flags) & sys::LYS_CONFIG_W != 0
    }

    pub fn is_mandatory(self) -> bool {
        u32::from(self.get().flags) & sys::LYS_MAND_TRUE != 0
    }

    pub fn is_key(self) -> bool {
        self.kind() == NodeKind::Leaf && u32::from(self.get().flags) & sys::LYS_KEY != 0
    }

    /// Lists and leaf-lists in the order that the user chose.
    pub fn is_user_ordered(self) -> bool {
        matches!(self.kind(), NodeKind::List | NodeKind::LeafList)
            && u32::from(self.get().flags) & sys::LYS_ORDBY_USER != 0
    }

    pub fn parent(self) -> Option<SchemaNode> {
        NonNull::new(self.get().parent).map(SchemaNode)
    }

    /// The nearest ancestor that appears in data: choices and cases skipped.
    pub fn data_parent(self) -> Option<SchemaNode> {
        let mut parent = self.parent()?;
        while matches!(parent.kind(), NodeKind::Choice | NodeKind::Case | NodeKind::Input | NodeKind::Output) {
            parent = parent.parent()?;
        }
        Some(parent)
    }

    /// Children as the schema has them (choices and cases included), without actions and notifications.
    pub fn children(self) -> Vec<SchemaNode> {
        // SAFETY: the node is valid for ever.
        siblings(unsafe { sys::lysc_node_child(self.raw()) })
    }

    /// Actions and notifications of this node.
    pub fn operations(self) -> Vec<SchemaNode> {
        // SAFETY: the node is valid for ever; both functions answer null for nodes that can have none.
        unsafe {
            let mut found = siblings(sys::lysc_node_actions(self.raw()).cast());
            found.extend(siblings(sys::lysc_node_notifs(self.raw()).cast()));
            found
        }
    }

    /// The data child of that module and name; choices and cases are looked through.
    pub fn child(self, module: ModuleRef, name: &str) -> Option<SchemaNode> {
        let is_meant = |child: &&SchemaNode| {
            let facts = child.facts();
            facts.name == name && facts.module == module
        };
        self.facts().children.iter().find(is_meant).copied()
    }

    /// The same below the output of an rpc or action.
    pub fn output_child(self, module: ModuleRef, name: &str) -> Option<SchemaNode> {
        find(self.raw(), module, name, sys::LYS_GETNEXT_OUTPUT)
    }

    pub fn action(self, name: &str) -> Option<SchemaNode> {
        self.operations().into_iter().find(|node| node.kind() == NodeKind::Action && node.name() == name)
    }

    /// The keys of a list, in the order of its key statement.
    pub fn keys(self) -> &'static [SchemaNode] {
        &self.facts().keys
    }

    pub(super) fn find_keys(self) -> Vec<SchemaNode> {
        if self.kind() != NodeKind::List {
            return Vec::new();
        }
        // SAFETY: the node is valid for ever; keys come first among the children of a list.
        let mut child = unsafe { sys::lysc_node_child(self.raw()) }.cast_mut();
        let mut keys = Vec::new();
        while let Some(node) = NonNull::new(child).map(SchemaNode).filter(|node| node.is_key()) {
            keys.push(node);
            child = node.get().next;
        }
        keys
    }

    /// Whether an extension of `module` called `name` stands on this very node.
    pub fn has_extension(self, module: &str, name: &str) -> bool {
        array(self.get().exts).iter().any(|instance| {
            // SAFETY: extension definitions live as long as the context.
            unsafe { instance.def.as_ref() }.is_some_and(|definition| {
                borrowed(definition.name) == Some(name)
                    && NonNull::new(definition.module).is_some_and(|owner| ModuleRef(owner).name() == module)
            })
        })
    }

    /// Name of the case when this data node is (directly) in one: choice and case.
    pub fn case(self) -> Option<(SchemaNode, SchemaNode)> {
        let case = self.parent().filter(|parent| parent.kind() == NodeKind::Case)?;
        Some((case.parent()?, case))
    }

    /// Whether the node's values carry prefixes in XML: identityref, instance-identifier, xpath.
    pub fn has_prefixed_values(self) -> bool {
        self.facts().has_prefixed_values
    }

    pub(super) fn finds_prefixed_values(self) -> bool {
        self.leaf_type().is_some_and(|leaf_type| is_prefixed(leaf_type, 0))
    }

    /// The typedef that a leaf names as its type, without its module; `None` for built-in types.
    pub fn type_name(self) -> Option<&'static str> {
        // SAFETY: types live as long as the context.
        self.leaf_type().and_then(|leaf_type| borrowed(unsafe { (*leaf_type).name }))
    }

    pub fn is_empty_type(self) -> bool {
        self.has_base(sys::LY_DATA_TYPE::LY_TYPE_EMPTY)
    }

    pub fn is_leafref(self) -> bool {
        self.has_base(sys::LY_DATA_TYPE::LY_TYPE_LEAFREF)
    }

    pub fn is_identity(self) -> bool {
        self.has_base(sys::LY_DATA_TYPE::LY_TYPE_IDENT)
    }

    /// Whether the node's values are instance-identifiers, or the node-instance-identifiers of NACM rules.
    pub fn is_instance_identifier(self) -> bool {
        // SAFETY: types live as long as the context.
        let name = self.leaf_type().and_then(|leaf_type| borrowed(unsafe { (*leaf_type).name }));
        self.has_base(sys::LY_DATA_TYPE::LY_TYPE_INST) || name == Some(NODE_INSTANCE_IDENTIFIER)
    }

    fn has_base(self, base: sys::LY_DATA_TYPE::Type) -> bool {
        // SAFETY: types live as long as the context.
        self.leaf_type().is_some_and(|leaf_type| unsafe { (*leaf_type).basetype } == base)
    }

    /// The error-message of each must statement.
    pub fn must_messages(self) -> Vec<&'static str> {
        // SAFETY: the node is valid for ever; the answer is null or a sized array.
        array(unsafe { sys::lysc_node_musts(self.raw()) }).iter().filter_map(|must| borrowed(must.emsg)).collect()
    }

    /// The default of a leaf, as the schema writes it.
    pub fn default_text(self) -> Option<&'static str> {
        if self.kind() != NodeKind::Leaf {
            return None;
        }
        // SAFETY: the node type was checked, so the larger struct is what the pointer leads to.
        borrowed(unsafe { (*self.raw().cast::<sys::lysc_node_leaf>()).dflt.str_ })
    }

    /// The schema path with choices and cases left out: `/module:top/list/leaf`.
    pub fn path(self) -> String {
        // SAFETY: the node is valid; a null buffer makes libyang allocate.
        owned(unsafe { sys::lysc_path(self.raw(), sys::LYSC_PATH_TYPE::LYSC_PATH_DATA, ptr::null_mut(), 0) })
            .unwrap_or_default()
    }

    /// The canonical form of `value` for this leaf, if it is one of its values.
    pub(in crate::yang) fn canonical(self, value: &str) -> Option<String> {
        let length = u32::try_from(value.len()).ok()?;
        let mut canonical = ptr::null();
        // SAFETY: the length says where the value ends; the canonical text is put into the dictionary.
        let code = unsafe {
            sys::lyd_value_validate(
                self.raw(),
                value.as_ptr().cast(),
                length,
                ptr::null(),
                ptr::null_mut(),
                &raw mut canonical,
            )
        };
        let text = borrowed(canonical).map(str::to_owned);
        if !canonical.is_null() {
            // SAFETY: the reference we got by the call above is given back.
            unsafe { sys::lydict_remove(self.module().get().ctx, canonical) };
        }
        // LY_EINCOMPLETE: fine but for a reference that needs a tree to be checked.
        if code == 0 || code == sys::LY_ERR::LY_EINCOMPLETE { text } else { None }
    }

    pub(super) fn leaf_type(self) -> Option<*const sys::lysc_type> {
        // SAFETY: leaf and leaf-list both keep their type where the struct of a leaf has it.
        self.is_leaf_like().then(|| unsafe { (*self.raw().cast::<sys::lysc_node_leaf>()).type_.cast_const() })
    }
}

impl fmt::Debug for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleRef({})", self.name())
    }
}

impl fmt::Debug for SchemaNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchemaNode({})", self.path())
    }
}

/// Unions nest; the schema compiler has checked that they end. Deeper than this is nothing we look into.
const UNION_DEPTH_MAX: u8 = 16;
pub(super) const NODE_INSTANCE_IDENTIFIER: &str = "node-instance-identifier";

fn is_prefixed(leaf_type: *const sys::lysc_type, depth: u8) -> bool {
    // SAFETY: types live as long as the context, and `basetype` says which struct it is.
    unsafe {
        match (*leaf_type).basetype {
            sys::LY_DATA_TYPE::LY_TYPE_IDENT | sys::LY_DATA_TYPE::LY_TYPE_INST => true,
            // The string types whose values libyang reads as paths (RFC 6991 section 4, RFC 8341 section 3.5.2).
            sys::LY_DATA_TYPE::LY_TYPE_STRING => {
                matches!(borrowed((*leaf_type).name), Some("xpath1.0" | NODE_INSTANCE_IDENTIFIER))
            }
            sys::LY_DATA_TYPE::LY_TYPE_LEAFREF if depth < UNION_DEPTH_MAX => {
                is_prefixed((*leaf_type.cast::<sys::lysc_type_leafref>()).realtype, depth + 1)
            }
            sys::LY_DATA_TYPE::LY_TYPE_UNION if depth < UNION_DEPTH_MAX => {
                array((*leaf_type.cast::<sys::lysc_type_union>()).types)
                    .iter()
                    .any(|member| is_prefixed(*member, depth + 1))
            }
            _ => false,
        }
    }
}

fn find(parent: *const sys::lysc_node, module: ModuleRef, name: &str, options: u32) -> Option<SchemaNode> {
    let length = u32::try_from(name.len()).ok()?;
    // SAFETY: the length says where the name ends; parent and module are of the same leaked context.
    let node = unsafe {
        sys::lys_find_child(
            module.get().ctx,
            parent,
            module.raw(),
            ptr::null(),
            0,
            name.as_ptr().cast(),
            length,
            options,
        )
    };
    NonNull::new(node.cast_mut()).map(SchemaNode)
}

fn siblings(first: *const sys::lysc_node) -> Vec<SchemaNode> {
    let mut nodes = Vec::new();
    let mut at = first.cast_mut();
    while let Some(node) = NonNull::new(at).map(SchemaNode) {
        nodes.push(node);
        at = node.get().next;
    }
    nodes
}

/// libyang's sized arrays: the count stands in the eight bytes before the first item.
pub(super) fn array<T>(items: *mut T) -> &'static [T] {
    if items.is_null() {
        return &[];
    }
    // SAFETY: a sized array of the leaked context; its header is a u64 count.
    unsafe {
        let count = *items.cast::<u64>().sub(1);
        std::slice::from_raw_parts(items, usize::try_from(count).unwrap_or(0))
    }
}

/// A C string for a call; text with a zero byte inside is nothing that YANG knows.
pub(super) fn c_text(text: &str) -> Option<CString> {
    CString::new(text).ok()
}
