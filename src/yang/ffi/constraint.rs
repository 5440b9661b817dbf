//! What the schema demands of data beyond types: must, when, leafref, unique, the number of entries.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::ptr::{self, NonNull};

use libyang5_sys as sys;

use super::context::borrowed;
use super::schema::{NodeKind, SchemaNode, array};

/// A when statement as compiled: on a node, its choice or case, or the augment or uses that brought it.
#[derive(Debug, Clone, Copy)]
pub(in crate::yang) struct When {
    pub(in crate::yang) condition: &'static str,
    /// Where the expression starts; `None` stands for the root.
    pub(in crate::yang) context: Option<SchemaNode>,
}

impl SchemaNode {
    /// The expression of each must statement.
    pub(in crate::yang) fn musts(self) -> Vec<&'static str> {
        // SAFETY: the node is valid for ever; the answer is null or a sized array of it.
        let musts = array(unsafe { sys::lysc_node_musts(self.raw()) });
        musts.iter().map(|must| expression(must.cond)).collect()
    }

    pub(in crate::yang) fn whens(self) -> Vec<When> {
        // SAFETY: as in `musts`.
        let whens = array(unsafe { sys::lysc_node_when(self.raw()) });
        whens
            .iter()
            // SAFETY: compiled whens live as long as the context.
            .filter_map(|when| unsafe { when.as_ref() })
            .map(|when| When { condition: expression(when.cond), context: NonNull::new(when.context).map(SchemaNode) })
            .collect()
    }

    /// The path of each leafref in the type, union members included, where an instance must exist.
    pub(in crate::yang) fn leafref_paths(self) -> Vec<&'static str> {
        let mut paths = Vec::new();
        self.each_type(&mut |leaf_type| {
            // SAFETY: `basetype` says which struct it is; types live as long as the context.
            unsafe {
                if (*leaf_type).basetype == sys::LY_DATA_TYPE::LY_TYPE_LEAFREF {
                    let leafref = leaf_type.cast::<sys::lysc_type_leafref>();
                    if (*leafref).require_instance != 0 {
                        paths.push(expression((*leafref).path));
                    }
                }
            }
        });
        paths
    }

    /// Whether a value of its type must name an existing node, whichever.
    pub(in crate::yang) fn requires_any_instance(self) -> bool {
        let mut requires = false;
        self.each_type(&mut |leaf_type| {
            // SAFETY: as in `leafref_paths`.
            unsafe {
                if (*leaf_type).basetype == sys::LY_DATA_TYPE::LY_TYPE_INST {
                    requires |= (*leaf_type.cast::<sys::lysc_type_instanceid>()).require_instance != 0;
                }
            }
        });
        requires
    }

    /// The leaves of each unique statement of a list. libyang knows nothing of them from now on.
    pub(in crate::yang) fn take_uniques(self) -> Vec<Vec<SchemaNode>> {
        let uniques = self.uniques();
        if !uniques.is_empty() {
            // SAFETY: only a list has some. Its context is being loaded: nobody else looks at it, and it is never freed,
            // so that the arrays stay for those who have read them.
            unsafe { (*self.raw().cast_mut().cast::<sys::lysc_node_list>()).uniques = ptr::null_mut() };
        }
        uniques
    }

    fn uniques(self) -> Vec<Vec<SchemaNode>> {
        if self.kind() != NodeKind::List {
            return Vec::new();
        }
        // SAFETY: the kind was checked, so the larger struct is what the pointer leads to.
        let uniques = array(unsafe { (*self.raw().cast::<sys::lysc_node_list>()).uniques });
        let nodes = |leaves: &[*mut sys::lysc_node_leaf]| {
            leaves.iter().filter_map(|leaf| NonNull::new(leaf.cast::<sys::lysc_node>())).map(SchemaNode).collect()
        };
        uniques.iter().map(|leaves| nodes(array(*leaves))).collect()
    }

    /// Whether min-elements or max-elements bound the entries of a list or leaf-list.
    pub(in crate::yang) fn is_bounded(self) -> bool {
        // SAFETY: the kind says which struct it is.
        let (min, max) = unsafe {
            match self.kind() {
                NodeKind::List => {
                    let list = self.raw().cast::<sys::lysc_node_list>();
                    ((*list).min, (*list).max)
                }
                NodeKind::LeafList => {
                    let list = self.raw().cast::<sys::lysc_node_leaflist>();
                    ((*list).min, (*list).max)
                }
                _ => return false,
            }
        };
        min > 0 || (max != 0 && max != u32::MAX)
    }

    fn each_type(self, visit: &mut dyn FnMut(*const sys::lysc_type)) {
        if let Some(leaf_type) = self.leaf_type() {
            each_member(leaf_type, visit, 0);
        }
    }
}

/// As deep as unions are looked into; libyang flattens them when it compiles.
const UNION_DEPTH_MAX: u8 = 16;

fn each_member(leaf_type: *const sys::lysc_type, visit: &mut dyn FnMut(*const sys::lysc_type), depth: u8) {
    visit(leaf_type);
    // SAFETY: `basetype` says which struct it is; types live as long as the context.
    unsafe {
        match (*leaf_type).basetype {
            sys::LY_DATA_TYPE::LY_TYPE_UNION if depth < UNION_DEPTH_MAX => {
                for member in array((*leaf_type.cast::<sys::lysc_type_union>()).types) {
                    each_member(*member, visit, depth + 1);
                }
            }
            // The target's own type may be an instance-identifier: its values must then exist here as well.
            sys::LY_DATA_TYPE::LY_TYPE_LEAFREF if depth < UNION_DEPTH_MAX => {
                let real = (*leaf_type.cast::<sys::lysc_type_leafref>()).realtype;
                if !real.is_null() && (*real).basetype != sys::LY_DATA_TYPE::LY_TYPE_LEAFREF {
                    each_member(real, visit, depth + 1);
                }
            }
            _ => {}
        }
    }
}

fn expression(compiled: *const sys::lyxp_expr) -> &'static str {
    if compiled.is_null() {
        return "";
    }
    // SAFETY: compiled expressions live as long as the context, and their text with them.
    borrowed(unsafe { sys::lyxp_get_expr(compiled) }).unwrap_or("")
}
