//! Configuration as the lines that make it: nested as a router shows it, one line each (`| formal`), and differences.
//!
//! What is printed here `load.rs` reads back.

use super::data::{Difference, Index, Item};
use super::grammar::{Grammar, Kind};
use super::token::{quote, quote_rest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One space a level, `!` where a mode ends.
    Nested,
    /// Each line alone says everything.
    Formal,
}

/// The lines that make `items`, each with its line feed.
pub fn print(grammar: &Grammar, items: &[Item], style: Style) -> String {
    let mut printer = Printer { grammar, style, out: String::new() };
    printer.level(items, "", 0);
    printer.out
}

/// The lines that carry out a difference, deletions first.
pub fn print_difference(grammar: &Grammar, difference: &Difference) -> String {
    let mut printer = Printer { grammar, style: Style::Nested, out: String::new() };
    printer.deletions(&difference.deleted, "", 0);
    printer.level(&difference.set, "", 0);
    printer.out
}

/// Both sides as one text: what is in both and leads to a change begins with `#`, what came with `+`, what went with `-`.
pub fn print_side_by_side(grammar: &Grammar, before: &[Item], after: &[Item]) -> String {
    let mut printer = Printer { grammar, style: Style::Nested, out: String::new() };
    printer.both(before, after, "", 0);
    printer.out
}

struct Printer<'a> {
    grammar: &'a Grammar,
    style: Style,
    out: String,
}

impl Printer<'_> {
    /// `before` is what the line begins with: words of nodes that have no mode.
    fn level(&mut self, items: &[Item], before: &str, depth: usize) {
        for item in items {
            let node = self.grammar.node(item.node);
            if !node.is_config || self.grammar.is_key(item.node) {
                continue;
            }
            if node.typed.joined_to.is_some_and(|leaf| items.iter().any(|other| other.node == leaf)) {
                continue;
            }
            if node.typed.is_hidden {
                self.level(&item.children, before, depth);
            } else if self.grammar.is_leaf_like(item.node) {
                let line = format!("{before}{}", self.with_joined(item, items));
                self.line(depth, &line);
            } else {
                self.branch(item, before, depth);
            }
        }
    }

    fn branch(&mut self, item: &Item, before: &str, depth: usize) {
        let head = format!("{before}{}", self.head(item));
        let is_plain_container = self.grammar.node(item.node).kind == (Kind::Container { presence: false });
        let has_mode = self.grammar.has_mode(item.node) && self.style == Style::Nested;
        let start = self.out.len();
        if has_mode {
            self.line(depth, &head);
            let opened = self.out.len();
            self.level(&item.children, "", depth + 1);
            if is_plain_container && self.out.len() == opened {
                self.out.truncate(start);
            } else {
                self.line(depth, "!");
            }
            return;
        }
        if self.grammar.node(item.node).typed.is_chain {
            let mut inside = Printer { grammar: self.grammar, style: Style::Formal, out: String::new() };
            inside.level(&item.children, "", 0);
            let words: Vec<&str> = std::iter::once(head.as_str()).chain(inside.out.lines()).collect();
            if words.len() > 1 || !is_plain_container {
                self.line(depth, &words.join(" "));
            }
            return;
        }
        self.level(&item.children, &format!("{head} "), depth);
        // What is inside says as much of it.
        if self.out.len() == start && !is_plain_container {
            self.line(depth, &head);
        }
    }

    fn both(&mut self, before: &[Item], after: &[Item], head: &str, depth: usize) {
        let (was, is) = (Index::of(self.grammar, before), Index::of(self.grammar, after));
        for old in before {
            let Some(new) = is.find(old, self.grammar).map(|at| &after[at]) else {
                self.signed('-', old, before, head, depth);
                continue;
            };
            if old == new {
                continue;
            }
            if self.grammar.is_leaf_like(old.node) {
                self.signed('-', old, before, head, depth);
                self.signed('+', new, after, head, depth);
            } else if self.grammar.node(old.node).typed.is_hidden {
                self.both(&old.children, &new.children, head, depth);
            } else if self.grammar.has_mode(old.node) {
                let line = format!("{head}{}", self.head(old));
                self.out.push('#');
                self.line(depth, &line);
                self.both(&old.children, &new.children, "", depth + 1);
                self.out.push('#');
                self.line(depth, "!");
            } else {
                let head = format!("{head}{} ", self.head(old));
                self.both(&old.children, &new.children, &head, depth);
            }
        }
        for new in after.iter().filter(|new| was.find(new, self.grammar).is_none()) {
            self.signed('+', new, after, head, depth);
        }
    }

    /// An item with all below it, each line behind a sign.
    fn signed(&mut self, sign: char, item: &Item, among: &[Item], head: &str, depth: usize) {
        let mut alone = Printer { grammar: self.grammar, style: Style::Nested, out: String::new() };
        let joined = |other: &&Item| self.grammar.node(item.node).typed.joined.contains(&other.node);
        let group: Vec<Item> = std::iter::once(item).chain(among.iter().filter(joined)).cloned().collect();
        alone.level(&group[..1.max(group.len())], head, depth);
        for line in alone.out.lines() {
            self.out.push(sign);
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn deletions(&mut self, items: &[Item], before: &str, depth: usize) {
        for item in items {
            let node = self.grammar.node(item.node);
            if !node.is_config || self.grammar.is_key(item.node) {
                continue;
            }
            if node.typed.joined_to.is_some_and(|leaf| items.iter().any(|other| other.node == leaf)) {
                continue;
            }
            let goes_on = item.children.iter().any(|child| !self.grammar.is_key(child.node));
            if node.typed.is_hidden {
                // A hidden container that goes as a whole has nothing left to name it by.
                self.deletions(&item.children, before, depth);
            } else if goes_on && self.grammar.has_mode(item.node) {
                let head = format!("{before}{}", self.head(item));
                self.line(depth, &head);
                self.deletions(&item.children, "", depth + 1);
                self.line(depth, "!");
            } else if goes_on {
                let head = format!("{before}{} ", self.head(item));
                self.deletions(&item.children, &head, depth);
            } else {
                let what =
                    if self.grammar.is_leaf_like(item.node) { self.with_joined(item, items) } else { self.head(item) };
                self.line(depth, &format!("no {before}{what}"));
            }
        }
    }

    /// Word and keys.
    fn head(&self, item: &Item) -> String {
        let mut head = self.grammar.node(item.node).typed.word.clone();
        for key in item.keys(self.grammar) {
            head.push(' ');
            head.push_str(&quote(key));
        }
        head
    }

    /// A leaf and those that are typed behind it.
    fn with_joined(&self, item: &Item, among: &[Item]) -> String {
        let mut line = self.leaf(item);
        for joined in &self.grammar.node(item.node).typed.joined {
            if let Some(joined) = among.iter().find(|other| other.node == *joined) {
                line.push(' ');
                line.push_str(&self.leaf(joined));
            }
        }
        line
    }

    fn leaf(&self, item: &Item) -> String {
        let node = self.grammar.node(item.node);
        let word = &node.typed.word;
        if node.is_flag() {
            return word.clone();
        }
        let value = if node.typed.takes_rest {
            quote_rest(&item.value)
        } else if node.typed.keeps_quotes {
            format!("\"{}\"", item.value.trim_matches('"'))
        } else {
            quote(&item.value)
        };
        format!("{word} {value}")
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.out.extend(std::iter::repeat_n(' ', depth));
        self.out.push_str(text);
        self.out.push('\n');
    }
}
