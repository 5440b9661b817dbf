//! The parts of a schema that somebody has to stand behind: what is configured, what is told, what is called.
//!
//! A part is a node that begins something: a top node, a node that another module puts below one, state below
//! configuration, an rpc, an action. All below it that begins nothing itself belongs to it.

use super::schema::{ModuleRef, NodeKind, Schema, SchemaNode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    Configuration,
    State,
    /// An rpc or an action, or what another module puts into its input.
    Call,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub kind: PartKind,
    /// Schema path, as data paths are written: choices and cases are left out.
    pub path: String,
    /// The path of the top node around it; of a call, the call.
    pub root: String,
    pub module: &'static str,
}

impl Schema {
    /// All parts of the implemented modules, in the order of the schema.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for top in self.top_nodes() {
            match top.kind() {
                // Sent by those who own the data it speaks of.
                NodeKind::Notification => {}
                NodeKind::Rpc => call(top, &mut parts),
                _ => {
                    let kind = kind_of(top);
                    parts.push(part(kind, top, top));
                    below(top, top, kind, &mut parts);
                }
            }
        }
        parts
    }
}

fn kind_of(node: SchemaNode) -> PartKind {
    if node.is_config() { PartKind::Configuration } else { PartKind::State }
}

fn part(kind: PartKind, node: SchemaNode, root: SchemaNode) -> Part {
    Part { kind, path: node.path(), root: root.path(), module: node.module().name() }
}

fn below(node: SchemaNode, root: SchemaNode, root_kind: PartKind, parts: &mut Vec<Part>) {
    let around = (node.module(), kind_of(node));
    for child in &node.facts().children {
        match child.kind() {
            NodeKind::Notification => {}
            NodeKind::Action => call(*child, parts),
            _ => {
                let own = (child.module(), kind_of(*child));
                if own != around && own != (root.module(), root_kind) {
                    parts.push(part(own.1, *child, root));
                }
                below(*child, root, root_kind, parts);
            }
        }
    }
}

fn call(operation: SchemaNode, parts: &mut Vec<Part>) {
    parts.push(part(PartKind::Call, operation, operation));
    input(operation, operation, operation.module(), parts);
}

fn input(node: SchemaNode, operation: SchemaNode, around: ModuleRef, parts: &mut Vec<Part>) {
    for child in &node.facts().children {
        let module = child.module();
        if module != around && module != operation.module() {
            parts.push(part(PartKind::Call, *child, operation));
        }
        input(*child, operation, module, parts);
    }
}

#[cfg(test)]
mod tests {
    use crate::yang::schema::{ModuleSpec, Schema};

    #[test]
    fn a_part_begins_where_module_or_kind_change() {
        let dir = tempfile::tempdir().unwrap();
        let base = "module base { yang-version 1.1; namespace urn:base; prefix b;
            container top { leaf plain { type string; }
              list entry { key k; leaf k { type string; } leaf seen { config false; type string; }
                action reset { input { leaf hard { type boolean; } } } } }
            container told { config false; leaf count { type uint32; } }
            rpc go { input { leaf where { type string; } } output { leaf there { type string; } } }
            notification gone { leaf why { type string; } } }";
        let more = "module more { yang-version 1.1; namespace urn:more; prefix m; import base { prefix b; }
            augment /b:top/b:entry { container box { leaf lid { type string; } leaf open { config false; type string; } } }
            augment /b:told { leaf size { type uint32; } }
            augment /b:go/b:input { leaf pace { type string; } }
            augment /b:top/b:entry/b:reset/b:input { leaf soft { type string; } } }";
        for (name, text) in [("base", base), ("more", more)] {
            std::fs::write(dir.path().join(format!("{name}.yang")), text).unwrap();
        }
        let module = |name: &str| ModuleSpec { name: name.to_owned(), revision: None, features: Vec::new() };
        let schema = Schema::load(&[dir.path().to_owned()], &[module("base"), module("more")]).unwrap();
        let ours = schema.parts().into_iter().filter(|part| ["base", "more"].contains(&part.module));
        let lines: Vec<String> = ours.map(|part| format!("{:?} {} of {}", part.kind, part.path, part.module)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        Configuration /base:top of base
        State /base:top/entry/seen of base
        Configuration /base:top/entry/more:box of more
        State /base:top/entry/more:box/open of more
        Call /base:top/entry/reset of base
        Call /base:top/entry/reset/more:soft of more
        State /base:told of base
        State /base:told/more:size of more
        Call /base:go of base
        Call /base:go/more:pace of more
        ");
    }
}
