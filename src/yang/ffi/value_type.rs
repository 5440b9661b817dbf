//! What values a leaf may have, as plain values: for those who help people to type them.
//!
//! libyang alone decides whether a value is one; this is what it can be told of beforehand.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::ptr::NonNull;

use libyang5_sys as sys;
use serde::{Deserialize, Serialize};

use super::context::borrowed;
use super::schema::{ModuleRef, NODE_INSTANCE_IDENTIFIER, SchemaNode, array};

/// Unions and leafrefs nest; the schema compiler has checked that they end. Deeper is nothing we look into.
const DEPTH_MAX: u8 = 16;

/// The type of a leaf or leaf-list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueType {
    Binary,
    Bits(Vec<Named>),
    Boolean,
    Decimal,
    Empty,
    Enumeration(Vec<Named>),
    /// `module:name` of each identity that is derived from all bases.
    Identity(Vec<Named>),
    /// An instance-identifier, or another text in which prefixes mean modules.
    Path,
    Integer {
        /// 64 bits: RFC 7951 writes those as strings.
        is_wide: bool,
        /// First and last of each part, as text.
        ranges: Vec<(String, String)>,
    },
    Leafref {
        /// The schema path of the leaf that is referred to, where there is one.
        target: Option<String>,
        of: Box<ValueType>,
    },
    Text {
        lengths: Vec<(u64, u64)>,
    },
    Union(Vec<ValueType>),
}

/// One of the values that can be listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    pub description: String,
}

impl SchemaNode {
    /// The type of a leaf or leaf-list; `None` for other nodes.
    pub fn value_type(self) -> Option<ValueType> {
        self.leaf_type().map(|leaf_type| value_type(self, leaf_type, 0))
    }
}

fn value_type(node: SchemaNode, leaf_type: *const sys::lysc_type, depth: u8) -> ValueType {
    use sys::LY_DATA_TYPE as base;
    let anything = || ValueType::Text { lengths: Vec::new() };
    if depth > DEPTH_MAX || leaf_type.is_null() {
        return anything();
    }
    // SAFETY: types live as long as the leaked context, and `basetype` says which struct each is.
    unsafe {
        match (*leaf_type).basetype {
            base::LY_TYPE_BINARY => ValueType::Binary,
            base::LY_TYPE_BITS => ValueType::Bits(named((*leaf_type.cast::<sys::lysc_type_bits>()).bits)),
            base::LY_TYPE_BOOL => ValueType::Boolean,
            base::LY_TYPE_DEC64 => ValueType::Decimal,
            base::LY_TYPE_EMPTY => ValueType::Empty,
            base::LY_TYPE_ENUM => ValueType::Enumeration(named((*leaf_type.cast::<sys::lysc_type_enum>()).enums)),
            base::LY_TYPE_IDENT => {
                ValueType::Identity(identities((*leaf_type.cast::<sys::lysc_type_identityref>()).bases))
            }
            base::LY_TYPE_INST => ValueType::Path,
            base::LY_TYPE_LEAFREF => {
                let target = NonNull::new(sys::lysc_node_lref_target(node.raw()).cast_mut()).map(SchemaNode);
                let of = value_type(node, (*leaf_type.cast::<sys::lysc_type_leafref>()).realtype, depth + 1);
                ValueType::Leafref { target: target.map(SchemaNode::path), of: Box::new(of) }
            }
            base::LY_TYPE_UNION => {
                let members = array((*leaf_type.cast::<sys::lysc_type_union>()).types);
                ValueType::Union(members.iter().map(|member| value_type(node, *member, depth + 1)).collect())
            }
            base::LY_TYPE_STRING => match borrowed((*leaf_type).name) {
                Some("xpath1.0" | NODE_INSTANCE_IDENTIFIER) => ValueType::Path,
                _ => ValueType::Text { lengths: unsigned((*leaf_type.cast::<sys::lysc_type_str>()).length) },
            },
            number => integer(number, (*leaf_type.cast::<sys::lysc_type_num>()).range),
        }
    }
}

fn integer(base: sys::LY_DATA_TYPE::Type, range: *const sys::lysc_range) -> ValueType {
    use sys::LY_DATA_TYPE as known;
    let (lowest, highest, is_wide): (i128, i128, bool) = match base {
        known::LY_TYPE_INT8 => (i8::MIN.into(), i8::MAX.into(), false),
        known::LY_TYPE_INT16 => (i16::MIN.into(), i16::MAX.into(), false),
        known::LY_TYPE_INT32 => (i32::MIN.into(), i32::MAX.into(), false),
        known::LY_TYPE_INT64 => (i64::MIN.into(), i64::MAX.into(), true),
        known::LY_TYPE_UINT8 => (0, u8::MAX.into(), false),
        known::LY_TYPE_UINT16 => (0, u16::MAX.into(), false),
        known::LY_TYPE_UINT32 => (0, u32::MAX.into(), false),
        _ => (0, u64::MAX.into(), true),
    };
    let ranges = if range.is_null() {
        vec![(lowest.to_string(), highest.to_string())]
    } else if lowest < 0 {
        signed(range)
    } else {
        unsigned(range).into_iter().map(|(from, to)| (from.to_string(), to.to_string())).collect()
    };
    ValueType::Integer { is_wide, ranges }
}

fn signed(range: *const sys::lysc_range) -> Vec<(String, String)> {
    // SAFETY: ranges live as long as the context; those of signed types hold signed bounds.
    unsafe {
        array((*range).parts)
            .iter()
            .map(|part| (part.__bindgen_anon_1.min_64.to_string(), part.__bindgen_anon_2.max_64.to_string()))
            .collect()
    }
}

fn unsigned(range: *const sys::lysc_range) -> Vec<(u64, u64)> {
    if range.is_null() {
        return Vec::new();
    }
    // SAFETY: as above, for unsigned types and lengths.
    unsafe {
        array((*range).parts)
            .iter()
            .map(|part| (part.__bindgen_anon_1.min_u64, part.__bindgen_anon_2.max_u64))
            .collect()
    }
}

fn named(items: *mut sys::lysc_type_bitenum_item) -> Vec<Named> {
    let text = |text| borrowed(text).unwrap_or("").to_owned();
    array(items).iter().map(|item| Named { name: text(item.name), description: text(item.dsc) }).collect()
}

fn identities(bases: *mut *mut sys::lysc_ident) -> Vec<Named> {
    let mut common: Option<Vec<Named>> = None;
    for base in array(bases) {
        let mut derived = Vec::new();
        below(*base, &mut derived, 0);
        common = Some(match common {
            None => derived,
            Some(before) => before.into_iter().filter(|identity| derived.contains(identity)).collect(),
        });
    }
    common.unwrap_or_default()
}

fn below(base: *const sys::lysc_ident, found: &mut Vec<Named>, depth: u8) {
    if depth > DEPTH_MAX || base.is_null() {
        return;
    }
    // SAFETY: identities live as long as the context.
    for identity in array(unsafe { (*base).derived }) {
        // SAFETY: as above.
        let (name, description, module) = unsafe { ((**identity).name, (**identity).dsc, (**identity).module) };
        let module = NonNull::new(module).map(ModuleRef);
        // An identity of a module that is only imported is no value.
        if let Some(module) = module.filter(|module| module.is_implemented()) {
            let name = format!("{}:{}", module.name(), borrowed(name).unwrap_or(""));
            if !found.iter().any(|known| known.name == name) {
                found.push(Named { name, description: borrowed(description).unwrap_or("").to_owned() });
            }
        }
        below(*identity, found, depth + 1);
    }
}
