//! The grammar of the device's data, as plain values: every data node of the schema, and how configuration is typed.
//!
//! The agent makes it once (`compile.rs`) and keeps it; a shell that is a process of its own maps the bytes. Knows no
//! libyang, no session and no file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::yang::schema::{Named, ValueType};

/// A node of the grammar: its place in [`Grammar`]'s table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub(super) u32);

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grammar {
    pub(super) modules: Vec<Module>,
    pub(super) nodes: Vec<Node>,
    pub(super) roots: Vec<NodeId>,
    /// What can be typed first in a configuration line.
    pub(super) visible_roots: Vec<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    pub name: String,
    pub namespace: String,
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub module: u32,
    pub parent: Option<NodeId>,
    /// Data nodes below, choices and cases looked through.
    pub children: Vec<NodeId>,
    pub kind: Kind,
    pub is_config: bool,
    pub is_user_ordered: bool,
    pub description: String,
    /// Of a leaf or leaf-list.
    pub value: Option<ValueType>,
    pub typed: Typed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Container {
        presence: bool,
    },
    List {
        keys: Vec<NodeId>,
    },
    Leaf,
    LeafList,
    /// anydata and anyxml: typed as quoted XML.
    Any,
}

/// How a configuration node is typed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Typed {
    pub word: String,
    /// A container that is not typed at all.
    pub is_hidden: bool,
    /// Its content is typed on the same line and has no mode of its own.
    pub is_inline: bool,
    /// What is in it may follow each other on one line, and is printed so.
    pub is_chain: bool,
    /// A value that takes what is left of the line.
    pub takes_rest: bool,
    /// The quotes that it is typed in belong to the value.
    pub keeps_quotes: bool,
    /// A checksum: its word may be left out, and the name of its file may follow.
    pub is_sum: bool,
    /// What the prompt of its mode says.
    pub prompt: String,
    /// The leaf whose values are likely ones.
    pub values_of: Option<NodeId>,
    /// Leaves that may follow its value on the same line.
    pub joined: Vec<NodeId>,
    /// It is printed behind this leaf.
    pub joined_to: Option<NodeId>,
    /// What can be typed in its mode, hidden containers looked through.
    pub visible: Vec<NodeId>,
}

impl Grammar {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn module(&self, id: NodeId) -> &Module {
        &self.modules[self.node(id).module as usize]
    }

    pub fn module_named(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }

    pub fn roots(&self) -> &[NodeId] {
        &self.roots
    }

    /// What can be typed below `at`; at the top for `None`.
    pub fn visible(&self, at: Option<NodeId>) -> &[NodeId] {
        at.map_or(&self.visible_roots, |at| &self.node(at).typed.visible)
    }

    /// Keys of a list, in order.
    pub fn keys(&self, id: NodeId) -> &[NodeId] {
        match &self.node(id).kind {
            Kind::List { keys } => keys,
            Kind::Container { .. } | Kind::Leaf | Kind::LeafList | Kind::Any => &[],
        }
    }

    pub fn is_key(&self, id: NodeId) -> bool {
        self.node(id).parent.is_some_and(|parent| self.keys(parent).contains(&id))
    }

    pub fn is_leaf_like(&self, id: NodeId) -> bool {
        matches!(self.node(id).kind, Kind::Leaf | Kind::LeafList | Kind::Any)
    }

    /// Whether typing it opens a mode.
    pub fn has_mode(&self, id: NodeId) -> bool {
        let node = self.node(id);
        !self.is_leaf_like(id) && !node.typed.is_inline && !node.typed.visible.is_empty()
    }

    /// Whether what is in it can follow each other on one line: where each of them ends must be plain to see.
    pub(super) fn can_chain(&self, id: NodeId) -> bool {
        let fits = |child: &NodeId| {
            let node = self.node(*child);
            match node.kind {
                Kind::Leaf | Kind::LeafList | Kind::Any => !node.typed.takes_rest,
                Kind::Container { presence: true } => node.typed.is_inline && node.children.is_empty(),
                Kind::Container { presence: false } => {
                    node.typed.is_inline && !node.typed.is_hidden && !node.typed.is_chain && self.can_chain(*child)
                }
                Kind::List { .. } => false,
            }
        };
        !self.is_leaf_like(id) && self.node(id).typed.is_inline && self.node(id).children.iter().all(fits)
    }

    /// The child of that namespace and name.
    pub fn child(&self, at: Option<NodeId>, namespace: Option<&str>, name: &str) -> Option<NodeId> {
        let among = at.map_or(&self.roots, |at| &self.node(at).children);
        among.iter().copied().find(|id| {
            self.node(*id).name == name && namespace.is_none_or(|namespace| self.module(*id).namespace == namespace)
        })
    }

    /// From the root to the node, itself included.
    pub fn ancestry(&self, id: NodeId) -> Vec<NodeId> {
        let mut found = vec![id];
        let mut at = id;
        while let Some(parent) = self.node(at).parent {
            found.push(parent);
            at = parent;
        }
        found.reverse();
        found
    }

    /// The node of a schema path such as `/module:top/list/leaf`; a module that is not named is that of the node above.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        let mut at: Option<NodeId> = None;
        for step in path.split('/').filter(|step| !step.is_empty()) {
            let (module, name) = match step.split_once(':') {
                Some((module, name)) => (Some(self.module_named(module)?.namespace.as_str()), name),
                None => (at.map(|at| self.module(at).namespace.as_str()), step),
            };
            at = Some(self.child(at, module, name)?);
        }
        at
    }
}

impl Node {
    /// The first sentence of its description, on one line.
    pub fn help(&self) -> String {
        first_sentence(&self.description)
    }

    pub fn is_flag(&self) -> bool {
        matches!(self.value, Some(ValueType::Empty))
    }
}

/// The first sentence of a description, on one line.
pub fn first_sentence(description: &str) -> String {
    let line = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.find(". ").map_or(line.len(), |end| end);
    line[..end].trim_end_matches('.').to_owned()
}

/// Words of the configuration mode itself: a node of that name is typed with its module's prefix.
pub const RESERVED: [&str; 16] = [
    "abort", "clear", "commit", "describe", "do", "end", "exit", "load", "no", "pwd", "quit", "rollback", "root",
    "show", "validate", "help",
];

impl Grammar {
    /// Computes what can be typed where, after nodes, hiding and joining are known. A hidden container whose content
    /// would clash with its neighbours in the same module is shown after all.
    pub(super) fn settle(&mut self) {
        loop {
            let mut shown = Vec::new();
            self.visible_roots = self.seen_through(&self.roots.clone(), &mut shown);
            for index in 0..self.nodes.len() {
                let children = self.nodes[index].children.clone();
                self.nodes[index].typed.visible = self.seen_through(&children, &mut shown);
            }
            if shown.is_empty() {
                break;
            }
            for id in shown {
                self.nodes[id.0 as usize].typed.is_hidden = false;
            }
        }
        self.qualify(self.visible_roots.clone());
        for index in 0..self.nodes.len() {
            self.qualify(self.nodes[index].typed.visible.clone());
        }
        for index in 0..self.nodes.len() {
            let typed = &self.nodes[index].typed;
            if typed.is_chain && self.is_unclear(&typed.visible, &typed.visible) {
                self.nodes[index].typed.is_chain = false;
            }
        }
    }

    /// Whether a leaf among `nodes` or below takes a word behind it that is also one of the chain they are in.
    fn is_unclear(&self, chain: &[NodeId], nodes: &[NodeId]) -> bool {
        let is_taken = |joined: &NodeId| {
            chain.iter().any(|id| id != joined && self.node(*id).typed.word == self.node(*joined).typed.word)
        };
        nodes
            .iter()
            .map(|id| &self.node(*id).typed)
            .any(|typed| typed.joined.iter().any(is_taken) || self.is_unclear(chain, &typed.visible))
    }

    fn seen_through(&self, among: &[NodeId], shown: &mut Vec<NodeId>) -> Vec<NodeId> {
        let mut found: Vec<(NodeId, Option<NodeId>)> = Vec::new();
        for id in among.iter().copied().filter(|id| self.node(*id).is_config && !self.is_key(*id)) {
            if self.node(id).typed.is_hidden {
                let below = self.seen_through(&self.node(id).children, shown);
                found.extend(below.into_iter().map(|below| (below, Some(id))));
            } else {
                found.push((id, None));
            }
        }
        for (id, hidden) in &found {
            let clashes = found.iter().any(|(other, _)| {
                other != id
                    && self.node(*other).typed.word == self.node(*id).typed.word
                    && self.node(*other).module == self.node(*id).module
            });
            shown.extend(hidden.filter(|_| clashes));
        }
        found.into_iter().map(|(id, _)| id).collect()
    }

    /// Words that two siblings share, or that the mode itself uses, take the prefix of their module.
    fn qualify(&mut self, siblings: Vec<NodeId>) {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for id in &siblings {
            *count.entry(self.node(*id).typed.word.clone()).or_default() += 1;
        }
        for id in siblings {
            let word = &self.node(id).typed.word;
            let is_taken = count.get(word).is_some_and(|count| *count > 1) || RESERVED.contains(&word.as_str());
            if is_taken {
                let word = format!("{}:{word}", self.module(id).prefix);
                self.nodes[id.0 as usize].typed.word = word;
            }
        }
    }
}

/// The values that can be listed for a type, and a word for all others: `<1-10>`, `WORD`.
pub fn values(of: &ValueType) -> (Vec<Named>, Option<String>) {
    let plain = |name: &str, description: &str| Named { name: name.to_owned(), description: description.to_owned() };
    match of {
        ValueType::Boolean => (vec![plain("false", "No"), plain("true", "Yes")], None),
        ValueType::Enumeration(named) | ValueType::Identity(named) => (named.clone(), None),
        ValueType::Bits(named) => (named.clone(), Some("WORD".to_owned())),
        ValueType::Integer { ranges, .. } => {
            let parts: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
            (Vec::new(), Some(format!("<{}>", parts.join(" "))))
        }
        ValueType::Decimal => (Vec::new(), Some("<number>".to_owned())),
        ValueType::Leafref { of, .. } => values(of),
        ValueType::Union(members) => {
            let mut all = (Vec::new(), None);
            for (named, other) in members.iter().map(values) {
                all.0.extend(named);
                all.1 = all.1.or(other);
            }
            all
        }
        ValueType::Empty => (Vec::new(), None),
        ValueType::Binary | ValueType::Path | ValueType::Text { .. } => (Vec::new(), Some("WORD".to_owned())),
    }
}

/// Why `text` cannot be a value of the type, as far as can be told without libyang.
pub fn mistake(of: &ValueType, text: &str) -> Option<String> {
    match of {
        ValueType::Boolean if text != "true" && text != "false" => Some("true or false is expected".to_owned()),
        ValueType::Enumeration(named) if !named.iter().any(|value| value.name == text) => {
            Some("is no value".to_owned())
        }
        ValueType::Integer { ranges, .. } => {
            let number: Option<i128> = text.parse().ok().filter(|_| !text.starts_with('+'));
            let is_within = number.is_some_and(|number| {
                ranges.iter().any(|(from, to)| {
                    from.parse::<i128>().is_ok_and(|from| from <= number)
                        && to.parse::<i128>().is_ok_and(|to| number <= to)
                })
            });
            // Hexadecimal and octal numbers are for libyang to judge (RFC 7950 section 9.2.1).
            let is_other_base = text.trim_start_matches('-').starts_with('0') && text.len() > 1;
            (!is_within && !is_other_base).then(|| "is not in the range".to_owned())
        }
        ValueType::Leafref { of, .. } => mistake(of, text),
        ValueType::Union(members) => {
            let mistakes: Vec<Option<String>> = members.iter().map(|member| mistake(member, text)).collect();
            if mistakes.iter().any(Option::is_none) { None } else { mistakes.into_iter().flatten().next() }
        }
        _ => None,
    }
}

/// Whether values of the type name modules (RFC 7951 sections 6.8 and 6.11).
pub fn names_modules(of: &ValueType) -> bool {
    match of {
        ValueType::Identity(_) | ValueType::Path => true,
        ValueType::Leafref { of, .. } => names_modules(of),
        ValueType::Union(members) => members.iter().any(names_modules),
        _ => false,
    }
}
