//! Passwords that arrive in clear text: in a candidate they stand for no longer than the edit that brings them. What anybody
//! reads, commits or records is the hash of those that are compared (RFC 7317: values of `crypt-hash` that begin with
//! `$0$`), and sealed text of those that are said to others again.
//!
//! Must not know: how a hash or a seal is made.

use std::collections::BTreeSet;

use crate::yang::schema::{NodeKind, Schema, SchemaNode};
use crate::yang::tree::{At, Node, Tree};

/// What a password is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// To be compared with what somebody types.
    Compared,
    /// To be shown to a server.
    Shown,
}

impl Secret {
    fn of(node: SchemaNode) -> Option<Self> {
        match node.type_name()? {
            "crypt-hash" => Some(Self::Compared),
            "Proprietary-password" => Some(Self::Shown),
            _ => None,
        }
    }
}

/// What is kept in place of a value in clear text; `None` where it is kept so already.
pub type Conceal = Box<dyn Fn(Secret, &str) -> Option<String> + Send>;

/// The leaves of the schema that hold passwords.
pub(super) struct Secrets {
    /// Module and name of the top nodes above them: nothing else is searched.
    tops: BTreeSet<(&'static str, &'static str)>,
    names: BTreeSet<&'static str>,
    conceal: Conceal,
}

impl Secrets {
    pub(super) fn of(schema: &Schema, conceal: Conceal) -> Self {
        let mut secrets = Self { tops: BTreeSet::new(), names: BTreeSet::new(), conceal };
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

    pub(super) fn conceal_in(&self, tree: &mut Tree) {
        let mut concealed: Vec<(At, String)> = Vec::new();
        for root in tree.roots() {
            let schema = root.schema();
            if self.tops.contains(&(schema.module().name(), schema.name())) {
                self.look(tree, root, &mut concealed);
            }
        }
        for (at, text) in concealed {
            tree.set_leaf(at, &text).expect("a hash and a sealed text are values of their types");
        }
    }

    fn look(&self, tree: &Tree, node: Node<'_>, concealed: &mut Vec<(At, String)>) {
        let schema = node.schema();
        if schema.kind() == NodeKind::Leaf
            && !schema.is_key()
            && let Some(secret) = Secret::of(schema)
        {
            let text = node.value().and_then(|value| (self.conceal)(secret, value));
            concealed.extend(text.map(|text| (tree.at(node), text)));
        }
        for child in node.children() {
            self.look(tree, child, concealed);
        }
    }
}

fn collect(node: SchemaNode, found: &mut BTreeSet<&'static str>) {
    if Secret::of(node).is_some() {
        found.insert(node.name());
    }
    for child in node.children() {
        collect(child, found);
    }
}
