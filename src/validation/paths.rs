//! Paths as config scripts write them, and what they mean in the schema.
//!
//! ```text
//!  /ifmgr-cfg:interface-configurations/interface-configuration[active='act',interface-name='Loopback0']/mtus
//!  /Cisco-IOS-XR-ifmgr-cfg:interface-configurations/interface-configuration[active='act'][interface-name='Loopback0']/mtus
//! ```
//! A module is known by its name, its prefix, or its name without the maker's; a step without one is of its parent's.
//! Keys may share a bracket, and integers need no quotes.

use std::collections::HashMap;
use std::fmt::Write as _;

use quick_xml::escape::escape as escaped;
use serde_json::Value;

use crate::northbound::provider::{Change, Edit};
use crate::yang::path::{self, Step};
use crate::yang::schema::{ModuleRef, NodeKind, Schema, SchemaNode, ValueType};

const MAKER: &str = "Cisco-IOS-XR-";
const NETCONF: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// Named as the exceptions of the scripts' library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{path}` is no path: write /module:container/list[key='value']/leaf")]
    InvalidPath { path: String },
    #[error("`{step}` of `{path}` is not in the configuration's schema{hint}")]
    UnknownNode { path: String, step: String, hint: &'static str },
    #[error("`{path}`: the list `{list}` has the keys {keys}")]
    ErrListKey { path: String, list: String, keys: String },
    #[error("`{path}` is {what}")]
    InvalidNodeKind { path: String, what: &'static str },
    #[error("`{value}` is no value for `{path}`")]
    BadDatatype { path: String, value: String },
}

impl PathError {
    /// The name of the exception.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidPath { .. } | Self::UnknownNode { .. } => "InvalidPath",
            Self::ErrListKey { .. } => "ErrListKey",
            Self::InvalidNodeKind { .. } => "InvalidNodeKind",
            Self::BadDatatype { .. } => "BadDatatype",
        }
    }
}

/// What a script calls modules.
#[derive(Debug)]
pub struct Names {
    schema: &'static Schema,
    modules: HashMap<String, &'static str>,
}

/// A node of the schema with the keys of the entries above it.
#[derive(Debug, Clone)]
pub struct Target {
    steps: Vec<(SchemaNode, Vec<String>)>,
}

impl Names {
    pub fn of(schema: &'static Schema) -> Self {
        let implemented: Vec<_> = schema.modules().into_iter().filter(|module| module.is_implemented).collect();
        let mut modules = HashMap::new();
        // A full name is never taken for another module's prefix.
        for module in &implemented {
            modules.insert(module.name.to_owned(), module.name);
        }
        for module in &implemented {
            let short = module.name.strip_prefix(MAKER).unwrap_or(module.name);
            modules.entry(short.to_owned()).or_insert(module.name);
            modules.entry(module.prefix.to_owned()).or_insert(module.name);
        }
        Self { schema, modules }
    }

    /// What `text` means, seen from `base` (a data path) where it is not a path from the top.
    pub fn resolve(&self, base: Option<&str>, text: &str) -> Result<Target, PathError> {
        let invalid = || PathError::InvalidPath { path: text.to_owned() };
        let base = base.filter(|base| !base.is_empty() && *base != "/");
        let whole = match base {
            Some(base) => format!("{base}/{}", text.trim_start_matches('/')),
            None => format!("/{}", text.trim_start_matches('/')),
        };
        let steps = path::steps(whole.trim_end_matches('/')).ok_or_else(invalid)?;
        self.walk(&steps, text, true)
    }

    /// A schema path to register for: without keys, perhaps ending in `/*`.
    pub fn registered(&self, text: &str) -> Result<Vec<(String, String)>, PathError> {
        let plain = text.trim_end_matches("/*").trim_end_matches('/');
        if plain.is_empty() {
            // Everything.
            return Ok(Vec::new());
        }
        let invalid = || PathError::InvalidPath { path: text.to_owned() };
        let whole = format!("/{}", plain.trim_start_matches('/'));
        let steps = path::steps(&whole).ok_or_else(invalid)?;
        Ok(self.walk(&steps, text, false)?.names())
    }

    fn walk(&self, steps: &[Step<'_>], text: &str, with_keys: bool) -> Result<Target, PathError> {
        let mut found: Vec<(SchemaNode, Vec<String>)> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let unknown = |hint| PathError::UnknownNode { path: text.to_owned(), step: step.name.to_owned(), hint };
            let parent = found.last().map(|(node, _)| *node);
            let module: Option<ModuleRef> = match (step.module, parent) {
                (Some(word), _) => {
                    let known = self.modules.get(word).and_then(|name| self.schema.module(name));
                    Some(known.ok_or_else(|| unknown(": no module has that name or prefix"))?)
                }
                (None, Some(parent)) => Some(parent.module()),
                (None, None) => None,
            };
            let Some(module) = module else { return Err(unknown(": the first step names its module")) };
            let node = match parent {
                Some(parent) => parent.child(module, step.name),
                None => module.child(step.name),
            };
            let node = node.filter(|node| node.is_config()).ok_or_else(|| unknown(""))?;
            let is_last = at + 1 == steps.len();
            let keys = if step.predicates.is_empty() && (is_last || !with_keys) {
                Vec::new()
            } else {
                keys_of(node, step.predicates, text)?
            };
            found.push((node, keys));
        }
        Ok(Target { steps: found })
    }
}

impl Target {
    pub fn node(&self) -> SchemaNode {
        self.last().0
    }

    fn last(&self) -> &(SchemaNode, Vec<String>) {
        self.steps.last().expect("a path has a step")
    }

    /// Whether it is one node, not all entries of a list.
    pub fn is_one(&self) -> bool {
        let (node, keys) = self.last();
        match node.kind() {
            NodeKind::List => !keys.is_empty() || node.keys().is_empty(),
            NodeKind::LeafList => !keys.is_empty(),
            _ => true,
        }
    }

    /// The data path as libyang writes it; of a list without keys, the path that its entries have in common.
    pub fn path(&self) -> String {
        write(&self.steps)
    }

    /// The data path of the node above; `None` at the top.
    pub fn parent(&self) -> Option<String> {
        let (_, above) = self.steps.split_last()?;
        (!above.is_empty()).then(|| write(above))
    }

    pub fn names(&self) -> Vec<(String, String)> {
        self.steps.iter().map(|(node, _)| (node.module().name().to_owned(), node.name().to_owned())).collect()
    }

    /// The edit that gives the node this value, or makes it (`None`).
    pub fn setting(&self, value: Option<&str>) -> String {
        self.edit(value, false)
    }

    /// The edit that takes the node away, if it is there.
    pub fn removal(&self) -> String {
        self.edit(None, true)
    }

    fn edit(&self, value: Option<&str>, is_removal: bool) -> String {
        let (mut open, mut close) = (String::new(), String::new());
        let mut module = None;
        let count = self.steps.len();
        for (at, (node, keys)) in self.steps.iter().enumerate() {
            if node.is_key() {
                // Its entry has it already.
                break;
            }
            let _ = write!(open, "<{}", node.name());
            if module != Some(node.module()) {
                let _ = write!(open, " xmlns=\"{}\"", node.module().namespace());
                module = Some(node.module());
            }
            let is_last = at + 1 == count;
            if is_last && is_removal {
                let _ = write!(open, " xmlns:nc=\"{NETCONF}\" nc:operation=\"remove\"");
            }
            open.push('>');
            match node.kind() {
                NodeKind::LeafList => open.push_str(&escaped(keys.first().map(String::as_str).or(value).unwrap_or(""))),
                _ => {
                    for (key, value) in node.keys().iter().zip(keys) {
                        let _ = write!(open, "<{0}>{1}</{0}>", key.name(), escaped(value));
                    }
                    if let Some(value) = value.filter(|_| is_last && node.is_leaf_like()) {
                        open.push_str(&escaped(value));
                    }
                }
            }
            close.insert_str(0, &format!("</{}>", node.name()));
        }
        open + &close
    }

    /// The text of a value that a script gives.
    pub fn text_of(&self, value: &Value) -> Result<Option<String>, PathError> {
        let bad = || PathError::BadDatatype { path: self.path(), value: value.to_string() };
        let node = self.node();
        if !node.is_leaf_like() {
            let is_presence = matches!(node.kind(), NodeKind::Container { .. } | NodeKind::List);
            let what = "no leaf: give no value";
            return match value {
                Value::Null if is_presence => Ok(None),
                _ => Err(PathError::InvalidNodeKind { path: self.path(), what }),
            };
        }
        match value {
            Value::Null | Value::Bool(true) if node.is_empty_type() => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            Value::Bool(flag) => Ok(Some(flag.to_string())),
            Value::Number(number) => Ok(Some(number.to_string())),
            _ => Err(bad()),
        }
    }
}

/// What a commit takes away and what it sets, each as configuration.
pub fn taken_and_set(names: &Names, changes: &[Change]) -> (String, String) {
    let (mut taken, mut set) = (String::new(), String::new());
    for change in changes {
        let Ok(target) = names.resolve(None, &change.path) else { continue };
        match &change.edit {
            Edit::Create { value } => set.push_str(&target.setting(value.as_deref())),
            Edit::Modify { value } => set.push_str(&target.setting(Some(value))),
            Edit::Delete => taken.push_str(&target.setting(None)),
            Edit::Move => {}
        }
    }
    (taken, set)
}

/// A leaf's value as a script compares it: integers are integers.
pub fn typed(node: SchemaNode, text: &str) -> Value {
    fn as_type(of: &ValueType, text: &str) -> Option<Value> {
        match of {
            ValueType::Integer { .. } => {
                text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
            }
            ValueType::Boolean => Some(Value::from(text == "true")),
            ValueType::Decimal => text.parse::<f64>().map(Value::from).ok(),
            ValueType::Empty => Some(Value::from(true)),
            ValueType::Leafref { of, .. } => as_type(of, text),
            _ => None,
        }
    }
    node.value_type().and_then(|of| as_type(&of, text)).unwrap_or_else(|| Value::from(text))
}

/// The names of a data path without its keys.
pub fn names_of(path: &str) -> Vec<(String, String)> {
    let mut module = "";
    let mut names = Vec::new();
    for step in path::steps(path).unwrap_or_default() {
        module = step.module.unwrap_or(module);
        names.push((module.to_owned(), step.name.to_owned()));
    }
    names
}

/// Whether a change is at, below or above what was registered: what goes with all below it is told once.
pub fn concerns(registered: &[(String, String)], change: &Change) -> bool {
    registered.iter().zip(names_of(&change.path)).all(|(wanted, changed)| *wanted == changed)
}

fn write(steps: &[(SchemaNode, Vec<String>)]) -> String {
    let mut text = String::new();
    let mut module = None;
    for (node, keys) in steps {
        text.push('/');
        if module != Some(node.module()) {
            text.push_str(node.module().name());
            text.push(':');
            module = Some(node.module());
        }
        text.push_str(node.name());
        match node.kind() {
            NodeKind::LeafList => {
                for value in keys {
                    let _ = write!(text, "[.={}]", path::quoted(value).unwrap_or_default());
                }
            }
            _ => {
                let values: Vec<&str> = keys.iter().map(String::as_str).collect();
                text.push_str(&path::key_predicate(node.keys(), &values).unwrap_or_default());
            }
        }
    }
    text
}

/// The values of all keys, in the order of the schema.
fn keys_of(node: SchemaNode, predicates: &str, text: &str) -> Result<Vec<String>, PathError> {
    let wrong = || {
        let names: Vec<&str> = node.keys().iter().map(|key| key.name()).collect();
        PathError::ErrListKey { path: text.to_owned(), list: node.name().to_owned(), keys: names.join(", ") }
    };
    let given = assignments(predicates).ok_or_else(wrong)?;
    let wanted: Vec<&str> = match node.kind() {
        NodeKind::List => node.keys().iter().map(|key| key.name()).collect(),
        NodeKind::LeafList => vec!["."],
        _ if given.is_empty() => return Ok(Vec::new()),
        _ => return Err(PathError::InvalidNodeKind { path: text.to_owned(), what: "no list, and has no keys" }),
    };
    let of = |name: &&str| {
        let found = given.iter().find(|(key, _)| key.rsplit(':').next() == Some(*name));
        found.map(|(_, value)| value.clone())
    };
    let values: Option<Vec<String>> = wanted.iter().map(of).collect();
    values.filter(|values| values.len() == given.len()).ok_or_else(wrong)
}

/// `[a='x',b=3][c="y"]` as pairs.
fn assignments(predicates: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = predicates;
    while !rest.is_empty() {
        rest = rest.strip_prefix('[')?;
        loop {
            let (name, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|first| matches!(first, '\'' | '"'));
            let (value, after) = match quote {
                Some(quote) => after[1..].split_once(quote)?,
                None => after.split_at(after.find([',', ']'])?),
            };
            pairs.push((name.trim().to_owned(), value.trim_end_matches(' ').to_owned()));
            let after = after.trim_start();
            if let Some(after) = after.strip_prefix(']') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',')?;
        }
    }
    Some(pairs)
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
