//! The modules under `tests/yang`, for the tests of this crate.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::schema::{ModuleSpec, Schema};
use super::tree::Tree;
use crate::northbound::WithDefaults;
use crate::northbound::filter::{Content, Selection};

pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<&'static Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let module = |name: &str, features: &[&str]| ModuleSpec {
            name: name.to_owned(),
            revision: None,
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/yang");
        Schema::load(&[dir], &[module("sample", &["*"]), module("more", &[])]).unwrap()
    })
}

/// `inside` as the content of the container `top`.
pub(crate) fn top(inside: &str) -> String {
    format!("<top xmlns=\"urn:sample\">{inside}</top>")
}

/// Of a subtree filter on the module `sample`.
pub(crate) fn selection(name: &str, content: Content) -> Selection {
    Selection { namespace: Some("urn:sample".to_owned()), name: name.to_owned(), attributes: Vec::new(), content }
}

pub(crate) fn tree(xml: &str) -> Tree {
    Tree::parse_config(schema(), xml.as_bytes()).unwrap()
}

pub(crate) fn valid(xml: &str) -> Tree {
    let mut tree = tree(xml);
    tree.validate_config().unwrap();
    tree
}

/// Written nodes as XML.
pub(crate) fn text(tree: &Tree) -> String {
    String::from_utf8(tree.print_xml(WithDefaults::Explicit).to_vec()).unwrap()
}
