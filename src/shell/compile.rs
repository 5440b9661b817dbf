//! From the schema and its sidecars to the grammar.
//!
//! Must not know: where the files are; the agent says it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::grammar::{Grammar, Kind, Module, Node, NodeId, Typed};
use crate::yang::schema::{NodeKind, Schema, SchemaNode};

/// A file of `yang/cli/`: how the nodes of a module are typed where that is not what the tree says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    #[serde(default)]
    node: Vec<Annotation>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotation {
    /// The schema path, with the module where it changes.
    path: String,
    /// Cannot be typed at all, nor is it shown.
    #[serde(default)]
    absent: bool,
    /// A container that is not typed.
    #[serde(default)]
    hide: bool,
    /// The word to type in place of the node's name.
    name: Option<String>,
    /// No mode of its own: what is below stands on the same line.
    #[serde(default)]
    inline: bool,
    /// A leaf that is typed behind another one, named by its path.
    join: Option<String>,
    /// The word in the prompt.
    prompt: Option<String>,
    /// What is in it may follow each other on one line.
    #[serde(default)]
    chain: bool,
    /// The value takes the rest of the line.
    #[serde(default)]
    rest: bool,
    /// A checksum as people paste it: its word may be left out, the name of the file may follow it, letters are of either case.
    #[serde(default)]
    sum: bool,
    /// The quotes around the value belong to it.
    #[serde(default)]
    quoted: bool,
    /// The leaf, by its path, whose values TAB offers.
    values: Option<String>,
    /// In place of the module's own description.
    help: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("there is no configuration node {path}, which the sidecar {file} speaks of; correct the path")]
    NoSuchNode { file: String, path: String },
    #[error(
        "the sidecar {file} chains {path}; what is in such a node is leaves, and containers that are inline and, where \
         they are presence containers, empty"
    )]
    CannotChain { file: String, path: String },
    #[error("the sidecar {file} hides {path}, which is no plain container; only those can be hidden")]
    CannotHide { file: String, path: String },
}

/// Nodes that libyang adds to modules for its own use.
const INTERNAL: [(&str, &str); 2] = [("yang", "date-and-time"), ("ietf-netconf", "rpc-error")];

/// The grammar of all implemented modules. `sidecars` are named for their errors.
///
/// # Errors
/// A sidecar that does not fit the schema.
pub fn compile(schema: &Schema, sidecars: &[(String, Sidecar)]) -> Result<Grammar, CompileError> {
    let mut builder = Builder::default();
    for node in schema.top_nodes() {
        let is_internal = INTERNAL.contains(&(node.module().name(), node.name()));
        if !is_internal && !matches!(node.kind(), NodeKind::Rpc | NodeKind::Notification) {
            let roots = builder.add(node, None);
            builder.grammar.roots.extend(roots);
        }
    }
    // Modules of identities alone have no nodes, but values name them.
    for module in schema.modules() {
        if !builder.modules.contains_key(module.name) {
            builder.grammar.modules.push(Module {
                name: module.name.to_owned(),
                namespace: module.namespace.to_owned(),
                prefix: module.prefix.to_owned(),
            });
        }
    }
    let mut grammar = builder.grammar;
    for (file, sidecar) in sidecars {
        for annotation in &sidecar.node {
            annotate(&mut grammar, file, annotation)?;
        }
    }
    for (file, sidecar) in sidecars {
        let mut chained = sidecar.node.iter().filter(|annotation| annotation.chain);
        let is_wrong = |one: &&Annotation| grammar.find(&one.path).is_none_or(|id| !grammar.can_chain(id));
        if let Some(wrong) = chained.find(is_wrong) {
            return Err(CompileError::CannotChain { file: file.clone(), path: wrong.path.clone() });
        }
    }
    grammar.settle();
    Ok(grammar)
}

/// The sidecars in a folder: those of modules that the schema implements, the others are of no use here.
///
/// # Errors
/// A file that cannot be read as one.
pub fn sidecars_in(folder: &Path, schema: &Schema) -> Result<Vec<(String, Sidecar)>, SidecarError> {
    let mut found = Vec::new();
    for module in schema.modules().into_iter().filter(|module| module.is_implemented) {
        let file = folder.join(format!("{}.toml", module.name));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(SidecarError::Unreadable { file, error }),
        };
        let sidecar = toml::from_str(&text).map_err(|error| SidecarError::Broken { file: file.clone(), error })?;
        found.push((file.display().to_string(), sidecar));
    }
    Ok(found)
}

#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    #[error("the sidecar {} cannot be read: {error}", file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error("the sidecar {} is broken: {error}", file.display())]
    Broken { file: PathBuf, error: toml::de::Error },
}

#[derive(Default)]
struct Builder {
    grammar: Grammar,
    modules: BTreeMap<&'static str, u32>,
}

impl Builder {
    /// The data nodes that `node` stands for: itself, or what is in a choice.
    fn add(&mut self, node: SchemaNode, parent: Option<NodeId>) -> Vec<NodeId> {
        let kind = match node.kind() {
            NodeKind::Choice | NodeKind::Case => {
                return node.children().into_iter().flat_map(|child| self.add(child, parent)).collect();
            }
            NodeKind::Container { presence } => Kind::Container { presence },
            NodeKind::List => Kind::List { keys: Vec::new() },
            NodeKind::Leaf => Kind::Leaf,
            NodeKind::LeafList => Kind::LeafList,
            NodeKind::AnyData => Kind::Any,
            NodeKind::Rpc | NodeKind::Action | NodeKind::Notification | NodeKind::Input | NodeKind::Output => {
                return Vec::new();
            }
        };
        let id = NodeId(u32::try_from(self.grammar.nodes.len()).expect("a schema has fewer than 2^32 nodes"));
        let name = node.name().to_owned();
        let typed = Typed { word: name.clone(), prompt: name.clone(), ..Typed::default() };
        let module = self.module(node);
        self.grammar.nodes.push(Node {
            module,
            parent,
            children: Vec::new(),
            kind,
            is_config: node.is_config(),
            is_user_ordered: node.is_user_ordered(),
            description: node.description().to_owned(),
            value: node.value_type(),
            name,
            typed,
        });
        let children: Vec<NodeId> = node.children().into_iter().flat_map(|child| self.add(child, Some(id))).collect();
        let names: Vec<&str> = node.keys().iter().copied().map(SchemaNode::name).collect();
        let keys = names
            .iter()
            .filter_map(|name| children.iter().copied().find(|child| self.grammar.node(*child).name == **name))
            .collect();
        let added = &mut self.grammar.nodes[id.0 as usize];
        added.children = children;
        if let Kind::List { keys: known } = &mut added.kind {
            *known = keys;
        }
        vec![id]
    }

    fn module(&mut self, node: SchemaNode) -> u32 {
        let module = node.module();
        if let Some(known) = self.modules.get(module.name()) {
            return *known;
        }
        let index = u32::try_from(self.grammar.modules.len()).expect("a schema has fewer than 2^32 modules");
        self.grammar.modules.push(Module {
            name: module.name().to_owned(),
            namespace: module.namespace().to_owned(),
            prefix: module.prefix().to_owned(),
        });
        self.modules.insert(module.name(), index);
        index
    }
}

fn annotate(grammar: &mut Grammar, file: &str, annotation: &Annotation) -> Result<(), CompileError> {
    let find = |grammar: &Grammar, path: &str| {
        let found = grammar.find(path).filter(|id| grammar.node(*id).is_config);
        found.ok_or_else(|| CompileError::NoSuchNode { file: file.to_owned(), path: path.to_owned() })
    };
    let id = find(grammar, &annotation.path)?;
    let joined_to = annotation.join.as_deref().map(|path| find(grammar, path)).transpose()?;
    let values_of = annotation.values.as_deref().map(|path| find(grammar, path)).transpose()?;
    if annotation.hide && grammar.node(id).kind != (Kind::Container { presence: false }) {
        return Err(CompileError::CannotHide { file: file.to_owned(), path: annotation.path.clone() });
    }
    if annotation.absent {
        grammar.roots.retain(|root| *root != id);
    }
    let node = &mut grammar.nodes[id.0 as usize];
    let typed = &mut node.typed;
    typed.is_hidden = annotation.hide;
    typed.is_inline = annotation.inline;
    typed.is_chain = annotation.chain;
    typed.takes_rest = annotation.rest;
    typed.keeps_quotes = annotation.quoted;
    typed.is_sum = annotation.sum;
    typed.joined_to = joined_to;
    typed.values_of = values_of;
    if let Some(word) = &annotation.name {
        typed.word.clone_from(word);
        typed.prompt.clone_from(word);
    }
    if let Some(prompt) = &annotation.prompt {
        typed.prompt.clone_from(prompt);
    }
    if let Some(help) = &annotation.help {
        node.description.clone_from(help);
    }
    if let Some(leaf) = joined_to {
        grammar.nodes[leaf.0 as usize].typed.joined.push(id);
    }
    Ok(())
}
