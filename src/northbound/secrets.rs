//! Passwords that arrive in clear text (RFC 7317: values of `crypt-hash` that begin with `$0$`): in a candidate they stand
//! for no longer than the edit that brings them. What anybody reads, commits or records is their hash.
//!
//! Must not know: how a hash is made.

use std::collections::BTreeSet;

use crate::yang::schema::{NodeKind, Schema, SchemaNode};
use crate::yang::tree::{At, Node, Tree};

/// The type of `iana-crypt-hash`.
const TYPE: &str = "crypt-hash";

/// The hash of a value in clear text; `None` where it is a hash already.
pub type HashClearText = Box<dyn Fn(&str) -> Option<String> + Send>;

/// The leaves of the schema that hold passwords.
pub(super) struct Secrets {
    /// Module and name of the top nodes above them: nothing else is searched.
    tops: BTreeSet<(&'static str, &'static str)>,
    names: BTreeSet<&'static str>,
    hash: HashClearText,
}

impl Secrets {
    pub(super) fn of(schema: &Schema, hash: HashClearText) -> Self {
        let mut secrets = Self { tops: BTreeSet::new(), names: BTreeSet::new(), hash };
        for top in schema.top_nodes().into_iter().filter(|top| top.is_config()) {
            let mut found = BTreeSet::new();
            collect(top, &mut found);
            if !found.is_empty() {
                secrets.names.extend(found);
                secrets.tops.insert((top.module().name(), top.name()));
            }
        }
        secrets
    }

    /// Whether XML from outside may hold such a leaf. The text of a value can be disguised by references, the name of an
    /// element cannot.
    pub(super) fn may_be_in(&self, xml: &[u8]) -> bool {
        self.names.iter().any(|name| xml.windows(name.len()).any(|window| window == name.as_bytes()))
    }

    pub(super) fn hash_in(&self, tree: &mut Tree) {
        let mut hashed: Vec<(At, String)> = Vec::new();
        for root in tree.roots() {
            let schema = root.schema();
            if self.tops.contains(&(schema.module().name(), schema.name())) {
                self.look(tree, root, &mut hashed);
            }
        }
        for (at, hash) in hashed {
            tree.set_leaf(at, &hash).expect("a hash is a value of its type");
        }
    }

    fn look(&self, tree: &Tree, node: Node<'_>, hashed: &mut Vec<(At, String)>) {
        let schema = node.schema();
        if schema.kind() == NodeKind::Leaf && schema.type_name() == Some(TYPE) && !schema.is_key() {
            hashed.extend(node.value().and_then(|value| (self.hash)(value)).map(|hash| (tree.at(node), hash)));
        }
        for child in node.children() {
            self.look(tree, child, hashed);
        }
    }
}

fn collect(node: SchemaNode, found: &mut BTreeSet<&'static str>) {
    if node.type_name() == Some(TYPE) {
        found.insert(node.name());
    }
    for child in node.children() {
        collect(child, found);
    }
}
