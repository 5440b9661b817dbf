//! One line of configuration: what it edits, which mode it opens, what could stand in it.
//!
//! The grammar decides everything; there is no word of any module here. Pure.

use super::data::Item;
use super::grammar::{Grammar, Kind, NodeId, mistake, values};
use super::token::{Fault, FaultKind, Meant, Token, begins, meant};

/// From the root to a node: each step is an instance. The keys of an entry are its children; a leaf has its value.
pub type Path = Vec<Item>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Set,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub path: Path,
    pub operation: Operation,
}

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meaning {
    pub edits: Vec<Edit>,
    /// The mode that it opens.
    pub enters: Option<Path>,
}

/// What can stand at one place of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    pub words: Vec<Word>,
    /// A value of this node belongs here; live ones can be asked for.
    pub value_of: Option<(Path, NodeId)>,
    /// The line may end here.
    pub may_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub help: String,
    /// It stands for a value (`<1-10>`, `WORD`) and is not itself typed.
    pub is_placeholder: bool,
}

/// Reads a line in the mode `context`. `line` is what `tokens` were split from.
pub fn read(grammar: &Grammar, context: &[Item], line: &str, tokens: &[Token], is_no: bool) -> Result<Meaning, Fault> {
    let mut walk = Walk { grammar, line, tokens, at: 0, path: context.to_vec(), stop_at: usize::MAX, expected: None };
    walk.line(is_no, line.len())
}

/// What could stand as the token after `tokens` (which are complete words).
pub fn expected(grammar: &Grammar, context: &[Item], tokens: &[Token], is_no: bool) -> Result<Expected, Fault> {
    let end = tokens.last().map_or(0, |token| token.end);
    let mut walk =
        Walk { grammar, line: "", tokens, at: 0, path: context.to_vec(), stop_at: tokens.len(), expected: None };
    match walk.line(is_no, end) {
        Ok(_) => Ok(walk.expected.unwrap_or_default()),
        Err(fault) => walk.expected.ok_or(fault),
    }
}

/// The instances that a path of words names, for `show running-config PATH`: entries may be left without keys.
pub fn path(grammar: &Grammar, context: &[Item], tokens: &[Token]) -> Result<Path, Fault> {
    let mut walk =
        Walk { grammar, line: "", tokens, at: 0, path: context.to_vec(), stop_at: usize::MAX, expected: None };
    walk.only_path()?;
    Ok(walk.path)
}

pub fn path_expected(grammar: &Grammar, context: &[Item], tokens: &[Token]) -> Result<Expected, Fault> {
    let mut walk =
        Walk { grammar, line: "", tokens, at: 0, path: context.to_vec(), stop_at: tokens.len(), expected: None };
    match walk.only_path() {
        Ok(()) => Ok(walk.expected.unwrap_or_default()),
        Err(fault) => walk.expected.ok_or(fault),
    }
}

struct Walk<'a> {
    grammar: &'a Grammar,
    line: &'a str,
    tokens: &'a [Token],
    at: usize,
    path: Path,
    /// The token at which it is asked what could stand there.
    stop_at: usize,
    expected: Option<Expected>,
}

impl Walk<'_> {
    fn line(&mut self, is_no: bool, end: usize) -> Result<Meaning, Fault> {
        let (mut moved, mut edits) = (false, Vec::new());
        loop {
            let here = self.path.last().map(|item| item.node);
            if self.expects(|walk| walk.words_here(here, moved)) || self.at >= self.tokens.len() {
                let arrived = self.arrived(is_no, moved, end)?;
                edits.extend(arrived.edits);
                return Ok(Meaning { edits, enters: arrived.enters });
            }
            let node = self.word(here)?;
            moved = true;
            let known = self.grammar.node(node);
            if self.grammar.is_leaf_like(node) {
                edits.extend(self.leaf(node, is_no, end)?.edits);
                if !self.goes_on(is_no) {
                    return Ok(Meaning { edits, enters: None });
                }
                continue;
            }
            let mut item = Item { node, value: String::new(), children: Vec::new() };
            if let Kind::List { keys } = &known.kind {
                for key in keys {
                    let value = self.value(*key, end)?;
                    item.children.push(Item::leaf(*key, value));
                }
            }
            self.push(item);
            if self.grammar.visible(Some(node)).is_empty() && !is_no && self.chain().is_some() {
                let words = |walk: &Self| Expected { may_end: true, ..walk.words_here(walk.chain_node(), true) };
                self.expects(words);
                if self.at < self.tokens.len() {
                    edits.push(self.edit(Operation::Set));
                    self.goes_on(is_no);
                }
            }
        }
    }

    /// The innermost node around this place whose content may follow each other on one line: where it stands in the path.
    fn chain(&self) -> Option<usize> {
        self.path.iter().rposition(|item| self.grammar.node(item.node).typed.is_chain)
    }

    fn chain_node(&self) -> Option<NodeId> {
        self.chain().map(|at| self.path[at].node)
    }

    /// Goes back to the chain that this place is in, if there is more on the line.
    fn goes_on(&mut self, is_no: bool) -> bool {
        match self.chain().filter(|_| !is_no && self.at < self.tokens.len()) {
            Some(at) => {
                self.path.truncate(at + 1);
                true
            }
            None => false,
        }
    }

    /// The line has ended at a container or an entry.
    fn arrived(&mut self, is_no: bool, moved: bool, end: usize) -> Result<Meaning, Fault> {
        let Some(last) = self.path.last().filter(|_| moved) else {
            return Err(self.fault_at_end(end, FaultKind::Incomplete));
        };
        let node = last.node;
        let is_plain_container = self.grammar.node(node).kind == (Kind::Container { presence: false });
        if is_no {
            return Ok(Meaning { edits: vec![self.edit(Operation::Delete)], enters: None });
        }
        let has_mode = self.grammar.has_mode(node);
        if is_plain_container && !has_mode {
            return Err(self.fault_at_end(end, FaultKind::Incomplete));
        }
        let edits = if is_plain_container { Vec::new() } else { vec![self.edit(Operation::Set)] };
        Ok(Meaning { edits, enters: has_mode.then(|| self.path.clone()) })
    }

    fn leaf(&mut self, node: NodeId, is_no: bool, end: usize) -> Result<Meaning, Fault> {
        let mut edits = Vec::new();
        let known = self.grammar.node(node);
        let depth = self.path.len();
        let operation = if is_no { Operation::Delete } else { Operation::Set };
        let hidden = self.hidden_between(node);
        self.path.extend(hidden);
        let needs_value = !known.is_flag() && (!is_no || known.kind == Kind::LeafList);
        let asks = self.at == self.stop_at;
        let value = if known.is_flag() {
            String::new()
        } else if needs_value || (self.at < self.tokens.len() && !asks) {
            if known.typed.takes_rest { self.rest(node, end)? } else { self.value(node, end)? }
        } else {
            // `no leaf`: its value may be left away.
            if asks {
                let mut expected = self.value_words(node);
                expected.may_end = true;
                self.expected = Some(expected);
            }
            String::new()
        };
        self.path.push(Item::leaf(node, value));
        edits.push(self.edit(operation));
        self.path.pop();
        let mut left: Vec<NodeId> = known.typed.joined.clone();
        if is_no {
            for joined in left.clone() {
                self.path.push(Item::leaf(joined, ""));
                edits.push(self.edit(Operation::Delete));
                self.path.pop();
            }
        }
        let in_chain = self.chain_node().filter(|_| !is_no);
        let chained = in_chain.map_or(&[][..], |chain| self.grammar.visible(Some(chain)));
        loop {
            // A word of the chain that is written whole is not the beginning of a joined one.
            let others = chained.iter().filter(|id| !left.contains(id));
            let among: Vec<NodeId> = left.iter().chain(others).copied().collect();
            let words = |walk: &Walk<'_>| {
                let words = among.iter().map(|id| walk.as_word(*id)).collect();
                Expected { words, value_of: None, may_end: true }
            };
            let is_joined = |token: &Token| {
                let words = among.iter().map(|id| (*id, self.grammar.node(*id).typed.word.as_str()));
                match meant(&token.text, words) {
                    Meant::One(id) => left.contains(&id),
                    Meant::Several(_) => true,
                    Meant::Nothing => false,
                }
            };
            let is_done = in_chain.is_some() && !self.tokens.get(self.at).is_some_and(is_joined);
            if self.expects(words) || self.at >= self.tokens.len() || is_done {
                break;
            }
            let joined = self.one_of(&among)?;
            left.retain(|id| *id != joined);
            let value = if self.grammar.node(joined).is_flag() { String::new() } else { self.value(joined, end)? };
            if !is_no {
                self.path.push(Item::leaf(joined, value));
                edits.push(self.edit(Operation::Set));
                self.path.pop();
            }
        }
        self.path.truncate(depth);
        Ok(Meaning { edits, enters: None })
    }

    fn only_path(&mut self) -> Result<(), Fault> {
        let end = self.tokens.last().map_or(0, |token| token.end);
        loop {
            let here = self.path.last().map(|item| item.node);
            let ends = |walk: &Walk<'_>| Expected { may_end: true, ..walk.words_here(here, true) };
            if self.expects(ends) || self.at >= self.tokens.len() {
                return Ok(());
            }
            let node = self.word(here)?;
            let mut item = Item { node, value: String::new(), children: Vec::new() };
            for key in self.grammar.keys(node) {
                if self.at == self.stop_at {
                    let mut expected = self.value_words(*key);
                    expected.may_end = true;
                    self.path.push(item.clone());
                    expected.value_of = Some((self.path.clone(), *key));
                    self.path.pop();
                    self.expected = Some(expected);
                    return Ok(());
                }
                if self.at >= self.tokens.len() {
                    break;
                }
                let value = self.value(*key, end)?;
                item.children.push(Item::leaf(*key, value));
            }
            self.push(item);
            if self.grammar.is_leaf_like(node) {
                if self.expects(|_| Expected { may_end: true, ..Expected::default() }) || self.at >= self.tokens.len() {
                    return Ok(());
                }
                return Err(self.fault_here(FaultKind::Unrecognised));
            }
        }
    }

    /// A node with the hidden containers that lead to it.
    fn push(&mut self, item: Item) {
        let hidden = self.hidden_between(item.node);
        self.path.extend(hidden);
        self.path.push(item);
    }

    fn hidden_between(&self, node: NodeId) -> Vec<Item> {
        let here = self.path.last().map(|item| item.node);
        let mut hidden = Vec::new();
        let mut at = self.grammar.node(node).parent;
        while at != here {
            let Some(parent) = at else { break };
            hidden.push(Item { node: parent, value: String::new(), children: Vec::new() });
            at = self.grammar.node(parent).parent;
        }
        hidden.reverse();
        hidden
    }

    fn edit(&self, operation: Operation) -> Edit {
        Edit { path: self.path.clone(), operation }
    }

    fn word(&mut self, here: Option<NodeId>) -> Result<NodeId, Fault> {
        let visible = self.grammar.visible(here);
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let pasted = self.tokens[self.at].text.split_whitespace().next().is_some_and(is_digest);
        // Goes on behind the word, if it is one.
        let found = self.one_of(visible);
        let implied = visible.iter().copied().find(|id| pasted && self.grammar.node(*id).typed.is_sum);
        match (found, implied) {
            (Err(fault), Some(sum)) if fault.kind == FaultKind::Unrecognised => Ok(sum),
            (found, _) => found,
        }
    }

    fn one_of(&mut self, among: &[NodeId]) -> Result<NodeId, Fault> {
        let token = &self.tokens[self.at];
        if token.is_open {
            return Err(self.fault_here(FaultKind::OpenQuote));
        }
        let words = among.iter().map(|id| (*id, self.grammar.node(*id).typed.word.as_str()));
        match meant(&token.text, words) {
            Meant::One(node) => {
                self.at += 1;
                Ok(node)
            }
            Meant::Several(means) => Err(Fault::new(token.start, FaultKind::Ambiguous { means })),
            Meant::Nothing => {
                let expected = among.iter().map(|id| self.grammar.node(*id).typed.word.clone()).collect();
                Err(self.fault_here(FaultKind::Unrecognised).expecting(expected))
            }
        }
    }

    fn value(&mut self, node: NodeId, end: usize) -> Result<String, Fault> {
        if self.at == self.stop_at {
            self.expected = Some(self.value_words(node));
        }
        let words = || self.value_words(node).words.into_iter().map(|word| word.text).collect();
        let Some(token) = self.tokens.get(self.at) else {
            return Err(self.fault_at_end(end, FaultKind::Incomplete).expecting(words()));
        };
        if token.is_open {
            return Err(self.fault_here(FaultKind::OpenQuote));
        }
        let mut value = self.canonical(node, token);
        let typed = &self.grammar.node(node).typed;
        if token.is_quoted && typed.keeps_quotes {
            value = format!("\"{value}\"");
        }
        if typed.is_sum {
            value = value.split_whitespace().next().unwrap_or_default().to_lowercase();
        }
        let of = self.grammar.node(node).value.as_ref();
        if let Some((of, reason)) = of.and_then(|of| Some((of, mistake(of, &value)?))) {
            let (listed, other) = values(of);
            let begun: Vec<String> =
                listed.into_iter().map(|value| value.name).filter(|name| begins(name, &value)).collect();
            if begun.len() > 1 && other.is_none() {
                return Err(Fault::new(token.start, FaultKind::Ambiguous { means: begun }));
            }
            let reason = format!("`{value}` {reason}");
            return Err(self.fault_here(FaultKind::BadValue { reason }).expecting(words()));
        }
        self.at += 1;
        let names_a_file = |token: &Token| token.text.ends_with(".py");
        if self.grammar.node(node).typed.is_sum
            && self.at < self.stop_at
            && self.tokens.get(self.at).is_some_and(names_a_file)
        {
            self.at += 1;
        }
        Ok(value)
    }

    /// A value that can be listed may be abbreviated; an identity may come without its module.
    fn canonical(&self, node: NodeId, token: &Token) -> String {
        let Some(of) = &self.grammar.node(node).value else { return token.text.clone() };
        if token.is_quoted {
            return token.text.clone();
        }
        let (listed, other) = values(of);
        if listed.is_empty() || other.is_some() {
            return token.text.clone();
        }
        let local = |name: &'_ str| name.rsplit_once(':').map_or(0, |(module, _)| module.len() + 1);
        let whole = listed.iter().map(|value| (value, value.name.as_str()));
        let short = listed.iter().map(|value| (value, &value.name[local(&value.name)..]));
        match (meant(&token.text, whole), meant(&token.text, short)) {
            (Meant::One(value), _) | (_, Meant::One(value)) => value.name.clone(),
            _ => token.text.clone(),
        }
    }

    /// All that is left of the line, as one value.
    fn rest(&mut self, node: NodeId, end: usize) -> Result<String, Fault> {
        if self.at == self.stop_at {
            let mut expected = self.value_words(node);
            for word in &mut expected.words {
                word.text = "LINE".to_owned();
            }
            self.expected = Some(expected);
        }
        let Some(first) = self.tokens.get(self.at) else {
            return Err(self.fault_at_end(end, FaultKind::Incomplete).expecting(vec!["LINE".to_owned()]));
        };
        let is_one = self.at + 1 == self.tokens.len() && !first.is_open;
        let begins_quoted = self.line.get(first.start..).is_some_and(|rest| rest.starts_with('"'));
        let value = match self.line.get(first.start..) {
            Some(rest) if !(is_one && begins_quoted) => rest.trim_end().to_owned(),
            _ => first.text.clone(),
        };
        // What has been typed of it is looked past when it is asked what may follow.
        self.at = if self.stop_at == usize::MAX { self.tokens.len() } else { self.stop_at };
        Ok(value)
    }

    /// Whether this is the place that was asked about; `words` tells what can stand here.
    fn expects(&mut self, words: impl FnOnce(&Self) -> Expected) -> bool {
        if self.at != self.stop_at || self.expected.is_some() {
            return false;
        }
        self.expected = Some(words(self));
        true
    }

    fn words_here(&self, here: Option<NodeId>, moved: bool) -> Expected {
        let words = self.grammar.visible(here).iter().map(|id| self.as_word(*id)).collect();
        let may_end = moved
            && here.is_some_and(|node| {
                self.grammar.has_mode(node) || self.grammar.node(node).kind != (Kind::Container { presence: false })
            });
        Expected { words, value_of: None, may_end }
    }

    fn as_word(&self, id: NodeId) -> Word {
        let node = self.grammar.node(id);
        Word { text: node.typed.word.clone(), help: node.help(), is_placeholder: false }
    }

    fn value_words(&self, node: NodeId) -> Expected {
        let known = self.grammar.node(node);
        let (listed, other) = known.value.as_ref().map(values).unwrap_or((Vec::new(), Some("XML".to_owned())));
        let mut words: Vec<Word> = listed
            .into_iter()
            .map(|value| Word {
                text: value.name,
                help: super::grammar::first_sentence(&value.description),
                is_placeholder: false,
            })
            .collect();
        words.extend(other.map(|text| Word { text, help: known.help(), is_placeholder: true }));
        Expected { words, value_of: Some((self.path.clone(), node)), may_end: false }
    }

    fn fault_here(&self, kind: FaultKind) -> Fault {
        Fault::new(self.tokens.get(self.at).map_or(0, |token| token.start), kind)
    }

    fn fault_at_end(&self, end: usize, kind: FaultKind) -> Fault {
        Fault::new(end, kind)
    }
}
