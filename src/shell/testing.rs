//! Random grammars and random data for them; grammars of real modules.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::compile::compile;
use super::data::Item;
use super::grammar::{Grammar, Kind, Module, Node, NodeId, Typed};
use super::line::{Edit, Operation};
use crate::yang::schema::{ModuleSpec, Named, Schema, ValueType};

/// Names that begin each other, and words that the mode itself uses.
const NAMES: [&str; 10] = ["a", "ab", "abc", "no", "show", "exit", "b", "SHA", "x-y", "commit"];

/// A source of choices that shrinks with the test.
pub(super) struct Dice {
    numbers: Vec<u32>,
    at: usize,
}

impl Dice {
    pub(super) fn new(numbers: Vec<u32>) -> Self {
        Self { numbers, at: 0 }
    }

    /// A number below `sides`; 0 when the source has run dry.
    fn roll(&mut self, sides: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        number as usize % sides
    }
}

pub(super) fn dice() -> impl Strategy<Value = Numbers> {
    (proptest::collection::vec(any::<u32>(), 0..120), proptest::collection::vec(any::<u32>(), 0..200))
        .prop_map(|(grammar, data)| Numbers { grammar, data })
}

/// What a grammar and its data are made from.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub(super) grammar: Vec<u32>,
    pub(super) data: Vec<u32>,
}

pub(super) fn grammar(dice: &mut Dice) -> Grammar {
    let module = |name: &str| Module { name: name.into(), namespace: format!("urn:{name}"), prefix: name[..1].into() };
    let mut grammar = Grammar { modules: vec![module("mod-one"), module("two-mod")], ..Grammar::default() };
    let roots = siblings(&mut grammar, None, dice, 0);
    grammar.roots = roots;
    for index in 0..grammar.nodes.len() {
        join_one(&mut grammar, NodeId(u32::try_from(index).unwrap()), dice);
    }
    grammar.settle();
    grammar
}

fn siblings(grammar: &mut Grammar, parent: Option<NodeId>, dice: &mut Dice, depth: usize) -> Vec<NodeId> {
    let mut taken = BTreeSet::new();
    let mut ids = Vec::new();
    for _ in 0..=dice.roll(5) {
        let (name, module) = (NAMES[dice.roll(NAMES.len())], u32::try_from(dice.roll(2)).unwrap());
        if taken.insert((name, module)) {
            ids.push(node(grammar, parent, name, module, dice, depth));
        }
    }
    ids
}

fn node(
    grammar: &mut Grammar,
    parent: Option<NodeId>,
    name: &str,
    module: u32,
    dice: &mut Dice,
    depth: usize,
) -> NodeId {
    let id = NodeId(u32::try_from(grammar.nodes.len()).unwrap());
    let kind = match dice.roll(if depth < 3 { 6 } else { 3 }) {
        0 | 1 => Kind::Leaf,
        2 => Kind::LeafList,
        3 => Kind::Container { presence: dice.roll(2) == 1 },
        _ => Kind::List { keys: Vec::new() },
    };
    let is_leaf = matches!(kind, Kind::Leaf | Kind::LeafList);
    let value = is_leaf.then(|| value_type(dice, kind == Kind::Leaf));
    let typed = Typed {
        word: name.to_owned(),
        prompt: name.to_owned(),
        is_hidden: kind == (Kind::Container { presence: false }) && dice.roll(3) == 0,
        is_inline: !is_leaf && dice.roll(3) == 0,
        takes_rest: kind == Kind::Leaf && matches!(value, Some(ValueType::Text { .. })) && dice.roll(3) == 0,
        ..Typed::default()
    };
    grammar.nodes.push(Node {
        name: name.to_owned(),
        module,
        parent,
        children: Vec::new(),
        kind: kind.clone(),
        is_config: true,
        is_user_ordered: matches!(kind, Kind::List { .. } | Kind::LeafList) && dice.roll(2) == 0,
        description: String::new(),
        value,
        typed,
    });
    if is_leaf {
        return id;
    }
    let mut children = Vec::new();
    if kind == (Kind::List { keys: Vec::new() }) {
        for key in 0..=dice.roll(2) {
            let key_id = NodeId(u32::try_from(grammar.nodes.len()).unwrap());
            grammar.nodes.push(Node {
                name: format!("key{key}"),
                module,
                parent: Some(id),
                children: Vec::new(),
                kind: Kind::Leaf,
                is_config: true,
                is_user_ordered: false,
                description: String::new(),
                value: Some(ValueType::Text { lengths: Vec::new() }),
                typed: Typed { word: format!("key{key}"), ..Typed::default() },
            });
            children.push(key_id);
        }
        grammar.nodes[id.0 as usize].kind = Kind::List { keys: children.clone() };
    }
    children.extend(siblings(grammar, Some(id), dice, depth + 1));
    grammar.nodes[id.0 as usize].children = children;
    let is_inline = grammar.nodes[id.0 as usize].typed.is_inline;
    let is_chain = is_inline && grammar.can_chain(id) && dice.roll(2) == 0;
    grammar.nodes[id.0 as usize].typed.is_chain = is_chain;
    id
}

fn value_type(dice: &mut Dice, is_leaf: bool) -> ValueType {
    match dice.roll(5) {
        0 if is_leaf => ValueType::Empty,
        1 => ValueType::Boolean,
        2 => ValueType::Integer { is_wide: false, ranges: vec![("-5".into(), "99".into())] },
        3 => ValueType::Enumeration(
            NAMES.iter().map(|name| Named { name: (*name).into(), description: String::new() }).collect(),
        ),
        _ => ValueType::Text { lengths: Vec::new() },
    }
}

/// Sometimes the second leaf among siblings is typed behind the first.
fn join_one(grammar: &mut Grammar, parent: NodeId, dice: &mut Dice) {
    let leaves: Vec<NodeId> = grammar
        .node(parent)
        .children
        .iter()
        .copied()
        .filter(|id| {
            grammar.node(*id).kind == Kind::Leaf && !grammar.is_key(*id) && !grammar.node(*id).typed.takes_rest
        })
        .collect();
    if let [first, second, ..] = leaves.as_slice()
        && dice.roll(2) == 1
    {
        grammar.nodes[second.0 as usize].typed.joined_to = Some(*first);
        grammar.nodes[first.0 as usize].typed.joined.push(*second);
    }
}

/// Data of that grammar: each node at most once, entries with keys of their own.
pub(super) fn data(grammar: &Grammar, dice: &mut Dice) -> Vec<Item> {
    below(grammar, grammar.roots(), dice)
}

fn below(grammar: &Grammar, nodes: &[NodeId], dice: &mut Dice) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for id in nodes.iter().copied().filter(|id| !grammar.is_key(*id)) {
        let count = match grammar.node(id).kind {
            Kind::List { .. } | Kind::LeafList => dice.roll(4),
            _ => dice.roll(2),
        };
        for _ in 0..count {
            let node = grammar.node(id);
            let mut item = Item { node: id, value: String::new(), children: Vec::new() };
            if let Some(of) = &node.value {
                item.value = value(of, dice);
            }
            item.children.extend(grammar.keys(id).iter().map(|key| Item::leaf(*key, text(dice))));
            item.children.extend(below(grammar, &node.children, dice));
            let is_empty = node.kind == (Kind::Container { presence: false }) && item.children.is_empty();
            if !is_empty && !items.iter().any(|other| other.is_same(&item, grammar)) {
                items.push(item);
            }
        }
    }
    items
}

fn value(of: &ValueType, dice: &mut Dice) -> String {
    match of {
        ValueType::Empty => String::new(),
        ValueType::Boolean => ["true", "false"][dice.roll(2)].to_owned(),
        ValueType::Integer { .. } => dice.roll(100).to_string(),
        ValueType::Enumeration(named) => named[dice.roll(named.len())].name.clone(),
        _ => text(dice),
    }
}

/// Texts that are hard to type.
fn text(dice: &mut Dice) -> String {
    const TEXTS: [&str; 18] = [
        "a",
        "ab",
        "",
        "two words",
        " blank ",
        "\"",
        "'",
        "!",
        "! x",
        "a\nb",
        "back\\slash",
        "?",
        "é\u{2028}ü",
        "no",
        "\t",
        "a\"b c",
        "--host <x> 'y z'",
        "exit",
    ];
    let mut text = TEXTS[dice.roll(TEXTS.len())].to_owned();
    if dice.roll(3) == 0 {
        text.push_str(&dice.roll(1000).to_string());
    }
    text
}

/// What a device makes of edits.
pub(super) fn apply(grammar: &Grammar, items: &mut Vec<Item>, edits: &[Edit]) {
    for edit in edits {
        step(grammar, items, &edit.path, edit.operation);
    }
}

fn step(grammar: &Grammar, items: &mut Vec<Item>, path: &[Item], operation: Operation) {
    let Some((first, rest)) = path.split_first() else { return };
    let found = items.iter().position(|item| item.is_same(first, grammar));
    match (found, rest, operation) {
        (Some(at), [], Operation::Delete) => drop(items.remove(at)),
        (None, _, Operation::Delete) => {}
        (Some(at), [], Operation::Set) => {
            if grammar.is_leaf_like(first.node) {
                items[at] = first.clone();
            }
        }
        (None, [], Operation::Set) => items.push(first.clone()),
        (Some(at), rest, _) => step(grammar, &mut items[at].children, rest, operation),
        (None, rest, Operation::Set) => {
            let mut item = first.clone();
            step(grammar, &mut item.children, rest, operation);
            items.push(item);
        }
    }
    items.retain(|item| {
        grammar.node(item.node).kind != (Kind::Container { presence: false }) || !item.children.is_empty()
    });
}

/// The same data in one order: siblings by node; of one node, entries as they stand where the user orders them.
pub(super) fn sorted(grammar: &Grammar, mut items: Vec<Item>) -> Vec<Item> {
    for item in &mut items {
        item.children = sorted(grammar, std::mem::take(&mut item.children));
    }
    items.sort_by(|left, right| {
        let by_entry = || (left.keys(grammar), &left.value).cmp(&(right.keys(grammar), &right.value));
        let entries = if grammar.node(left.node).is_user_ordered { std::cmp::Ordering::Equal } else { by_entry() };
        left.node.cmp(&right.node).then(entries)
    });
    items
}

/// The grammar of the modules under `tests/yang`.
pub(super) fn sample() -> Grammar {
    compile(crate::yang::testing::schema(), &[]).unwrap()
}

/// The grammar of this device's own modules, with their sidecars.
pub(super) fn device() -> &'static Grammar {
    static GRAMMAR: std::sync::OnceLock<Grammar> = std::sync::OnceLock::new();
    GRAMMAR.get_or_init(|| {
        let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yang");
        let mut specs = Vec::new();
        let list: toml::Table = std::fs::read_to_string(folder.join("implemented.toml")).unwrap().parse().unwrap();
        for module in list["module"].as_array().unwrap() {
            let features = module.get("features").and_then(toml::Value::as_array).cloned().unwrap_or_default();
            specs.push(ModuleSpec {
                name: module["name"].as_str().unwrap().to_owned(),
                revision: module.get("revision").and_then(toml::Value::as_str).map(str::to_owned),
                features: features.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect(),
            });
        }
        let schema = Schema::load(std::slice::from_ref(&folder), &specs).unwrap();
        let sidecars = super::compile::sidecars_in(&folder.join("cli"), schema).unwrap();
        compile(schema, &sidecars).unwrap()
    })
}
