//! What anydata and anyxml nodes hold: any elements at all, or text.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use libyang5_sys as sys;

use super::super::At;
use super::super::context::{Context, Fault};
use super::super::schema::{SchemaNode, c_text};
use super::{Tree, output_option};
use crate::yang::schema::Schema;
use crate::yang::xml;

/// Elements, or else text.
pub(in crate::yang) struct Any {
    inside: Tree,
    text: Option<CString>,
}

impl Any {
    pub(in crate::yang) fn parse(schema: &'static Schema, content: &str) -> Result<Self, Vec<Fault>> {
        if content.trim_start().starts_with('<') {
            return Ok(Self { inside: parse_any(schema, content)?, text: None });
        }
        let text = c_text(content).ok_or_else(|| vec![Fault::plain("the value contains a zero byte")])?;
        Ok(Self { inside: Tree::new(schema), text: Some(text).filter(|text| !text.is_empty()) })
    }

    fn value(&self) -> *const c_char {
        self.text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
    }
}

impl Tree {
    /// An anydata or anyxml node with the XML `content`, which may be text or elements.
    pub(in crate::yang) fn add_any(
        &mut self,
        parent: Option<At>,
        schema: SchemaNode,
        content: &str,
    ) -> Result<At, Vec<Fault>> {
        let any = Any::parse(self.schema, content)?;
        let output = output_option(schema);
        self.add(parent, schema, |parent, module, name, node| {
            // SAFETY: see `add`; content is copied, and at most one of child and value is given.
            unsafe {
                sys::lyd_new_any(parent, module, name, any.inside.first, any.value(), sys::LYD_HINT_DATA, output, node)
            }
        })
    }

    /// What an anydata or anyxml node holds.
    pub(in crate::yang) fn any(&self, at: At) -> Any {
        let mut inside = ptr::null_mut();
        // SAFETY: the node is a live one of ours and of this kind, so that it has the larger struct. What it holds is copied.
        let (code, text) = unsafe {
            let any = at.0.as_ptr().cast::<sys::lyd_node_any>();
            let code = match (*any).child.is_null() {
                true => 0,
                false => sys::lyd_dup_siblings(
                    (*any).child,
                    ptr::null_mut(),
                    sys::LYD_DUP_RECURSIVE | sys::LYD_DUP_WITH_FLAGS,
                    &raw mut inside,
                ),
            };
            (code, (!(*any).value.is_null()).then(|| CStr::from_ptr((*any).value).to_owned()))
        };
        assert_eq!(code, 0, "copying nodes fails only without memory");
        Any { inside: Tree::adopt(self.schema, inside), text }
    }

    /// Puts other content into an anydata or anyxml node.
    pub(in crate::yang) fn put_any(&mut self, at: At, any: &Any) {
        self.touch(Some(at));
        // SAFETY: the node is one of ours; libyang refuses nodes of other kinds. What it is given is copied.
        let code = unsafe { sys::lyd_any_copy_value(at.0.as_ptr(), any.inside.first, any.value(), sys::LYD_HINT_DATA) };
        assert_eq!(code, 0, "content of the same context can be copied");
    }

    /// Says of a node what a metadata annotation (RFC 7952) of that name is to say from now on.
    pub(in crate::yang) fn put_meta(
        &mut self,
        at: At,
        module: &str,
        name: &CStr,
        value: &str,
    ) -> Result<(), Vec<Fault>> {
        let Some(value) = c_text(value) else {
            return Err(vec![Fault::plain("the value contains a zero byte")]);
        };
        let Some(module) = self.schema.module(module) else { return Ok(()) };
        self.touch(Some(at));
        let context = self.context();
        // SAFETY: the node is ours; what it had of that name is freed and not looked at again. Names and value are terminated.
        let code = unsafe {
            let node = at.0.as_ptr();
            let known = sys::lyd_find_meta((*node).meta, module.raw(), name.as_ptr());
            sys::lyd_free_meta_single(known);
            sys::lyd_new_meta(context, node, module.raw(), name.as_ptr(), value.as_ptr(), 0, ptr::null_mut())
        };
        self.checked(code)
    }
}

/// What stands inside an anydata node: any elements at all. They are nodes of their modules where nothing is lost by that;
/// what is no data (a filter with empty containers, or with notifications) is kept as it was written.
fn parse_any(schema: &'static Schema, content: &str) -> Result<Tree, Vec<Fault>> {
    let given = xml::parse(content.as_bytes()).ok();
    let parsed = parse_any_in(schema, schema.context(), content);
    let is_whole = parsed.as_ref().is_ok_and(|tree| {
        let printed = xml::parse(&tree.print(false, sys::LYD_PRINT_WD_EXPLICIT)).ok();
        given.zip(printed).is_some_and(|(given, printed)| xml::alike(&given, &printed))
    });
    match Context::without_modules() {
        Some(bare) if !is_whole => parse_any_in(schema, bare, content),
        Some(_) | None => parsed,
    }
}

fn parse_any_in(schema: &'static Schema, context: &Context, content: &str) -> Result<Tree, Vec<Fault>> {
    let Some(text) = c_text(content) else {
        return Err(vec![Fault::plain("the value contains a zero byte")]);
    };
    let mut first = ptr::null_mut();
    let options = sys::LYD_PARSE_ONLY | sys::LYD_PARSE_OPAQ;
    // SAFETY: the text is terminated and outlives the call; both contexts live for ever.
    let code = unsafe {
        sys::lyd_parse_data_mem(context.raw(), text.as_ptr(), sys::LYD_FORMAT::LYD_XML, options, 0, &raw mut first)
    };
    let tree = Tree::adopt(schema, first);
    tree.checked(code)?;
    Ok(tree)
}
