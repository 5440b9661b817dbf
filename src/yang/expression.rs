//! How far an XPath expression of the schema can see: the nodes it asks for, and whether it looks into lists.
//!
//! Only what is read plainly is judged: child steps, by name or `*`, `.` and `..`, absolute paths, predicates, functions that look at what
//! they are given. Anything else (other axes, `//`, deref, position...) is not, and counts as seeing everything.

use std::collections::BTreeSet;

use super::schema::SchemaNode;

/// What one expression sees from its context node.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) nodes: Vec<SchemaNode>,
    /// It goes down into a list, so it sees entries beside its own.
    pub(super) into_lists: bool,
    /// Nodes whose whole content it reads as text.
    pub(super) contents: Vec<SchemaNode>,
}

/// Functions whose answer depends on nothing but their arguments.
const PLAIN_FUNCTIONS: &[&str] = &[
    "bit-is-set",
    "boolean",
    "ceiling",
    "concat",
    "contains",
    "count",
    "current",
    "derived-from",
    "derived-from-or-self",
    "enum-value",
    "false",
    "floor",
    "local-name",
    "name",
    "namespace-uri",
    "normalize-space",
    "not",
    "number",
    "re-match",
    "round",
    "starts-with",
    "string",
    "string-length",
    "substring",
    "substring-after",
    "substring-before",
    "sum",
    "translate",
    "true",
];

/// `None` when it cannot be told. `children` gives the data nodes below a node, or those on top.
pub(super) fn sight(
    expression: &str,
    context: Option<SchemaNode>,
    children: &dyn Fn(Option<SchemaNode>) -> Vec<SchemaNode>,
) -> Option<Sight> {
    let tokens = tokens(expression)?;
    let mut reader = Reader { tokens: &tokens, at: 0, start: vec![context], children, sight: Sight::default() };
    let start = reader.start.clone();
    reader.expression(&start, false)?;
    (reader.at == tokens.len()).then_some(reader.sight)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Number,
    Literal(String),
    Name(String),
    Symbol(&'static str),
}

/// `None` stands for the root.
type Place = Option<SchemaNode>;

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    start: Vec<Place>,
    children: &'a dyn Fn(Option<SchemaNode>) -> Vec<SchemaNode>,
    sight: Sight,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, offset: usize, symbol: &str) -> bool {
        matches!(self.tokens.get(self.at + offset), Some(Token::Symbol(found)) if *found == symbol)
    }

    /// Up to the end, or to the bracket that closes a predicate.
    fn expression(&mut self, context: &[Place], in_predicate: bool) -> Option<()> {
        let mut depth = 0usize;
        // Whether an operand has just ended: then a name is an operator.
        let mut after_operand = false;
        while let Some(token) = self.peek().cloned() {
            match token {
                Token::Symbol("]") => return (in_predicate && depth == 0).then_some(()),
                Token::Number | Token::Literal(_) => {
                    self.at += 1;
                    after_operand = true;
                }
                Token::Symbol("(") => {
                    self.at += 1;
                    depth += 1;
                    after_operand = false;
                }
                Token::Symbol(")") => {
                    self.at += 1;
                    depth = depth.checked_sub(1)?;
                    if self.is(0, "/") || self.is(0, "[") || self.is(0, "//") {
                        return None;
                    }
                    after_operand = true;
                }
                Token::Symbol("=" | "!=" | "<" | "<=" | ">" | ">=" | "+" | "-" | "|" | ",") => {
                    self.at += 1;
                    after_operand = false;
                }
                // A product; where an operand is due it is a wildcard.
                Token::Symbol("*") if after_operand => {
                    self.at += 1;
                    after_operand = false;
                }
                Token::Name(name) if after_operand => {
                    if !matches!(name.as_str(), "and" | "or" | "div" | "mod") {
                        return None;
                    }
                    self.at += 1;
                    after_operand = false;
                }
                Token::Name(name) if self.is(1, "(") => {
                    if !PLAIN_FUNCTIONS.contains(&name.as_str()) {
                        return None;
                    }
                    if name == "current" {
                        let begun = self.at;
                        self.at += 2;
                        if !self.is(0, ")") {
                            return None;
                        }
                        self.at += 1;
                        let start = self.start.clone();
                        self.path(&start, begun)?;
                        after_operand = true;
                    } else {
                        self.at += 1;
                    }
                }
                Token::Name(_) | Token::Symbol("." | ".." | "/" | "*") => {
                    if after_operand {
                        return None;
                    }
                    self.path(context, self.at)?;
                    after_operand = true;
                }
                Token::Symbol(_) => return None,
            }
        }
        (!in_predicate && depth == 0).then_some(())
    }

    /// One location path. After `current()` the place is given and a slash, if any, goes on from it.
    fn path(&mut self, context: &[Place], begun: usize) -> Option<()> {
        let mut places = context.to_vec();
        let goes_on = begun != self.at;
        let mut expects_step = !goes_on;
        if self.is(0, "/") {
            if !goes_on {
                places = vec![None];
            }
            self.at += 1;
            expects_step = true;
        }
        while expects_step {
            match self.peek()?.clone() {
                Token::Symbol(".") => self.at += 1,
                Token::Symbol("..") => {
                    self.at += 1;
                    // Above the root there is nothing.
                    places = places.into_iter().flatten().map(SchemaNode::data_parent).collect();
                }
                Token::Name(name) if !self.is(1, "(") && !self.is(1, "::") => {
                    self.at += 1;
                    let name = name.rsplit(':').next().unwrap_or(&name).to_owned();
                    places = self.down(&places, |child| child.name() == name)?;
                }
                // All that is on top would be everything.
                Token::Symbol("*") if !places.contains(&None) => {
                    self.at += 1;
                    places = self.down(&places, |_| true)?;
                }
                Token::Name(_) | Token::Number | Token::Literal(_) | Token::Symbol(_) => return None,
            }
            while self.is(0, "[") {
                self.at += 1;
                self.expression(&places.clone(), true)?;
                self.at += 1;
            }
            expects_step = self.is(0, "/");
            if expects_step {
                self.at += 1;
            }
        }
        let is_tested = self.is_existence_test(begun);
        for node in places.iter().flatten() {
            self.sight.nodes.push(*node);
            if !node.is_leaf_like() && !is_tested {
                self.sight.contents.push(*node);
            }
        }
        if places.contains(&None) && !is_tested {
            return None;
        }
        Some(())
    }

    fn down(&mut self, places: &[Place], is_meant: impl Fn(&SchemaNode) -> bool) -> Option<Vec<Place>> {
        let mut found = Vec::new();
        for place in places {
            for child in (self.children)(*place).into_iter().filter(&is_meant) {
                self.sight.nodes.push(child);
                self.sight.into_lists |= child.kind() == super::schema::NodeKind::List;
                found.push(Some(child));
            }
        }
        // A name that no configuration has: state perhaps, which is not looked at here.
        (!found.is_empty()).then_some(found)
    }

    /// Whether the path that begins at `begun` and has just ended is only asked for being there.
    fn is_existence_test(&self, begun: usize) -> bool {
        let is_boolean =
            |token: Option<&Token>| matches!(token, Some(Token::Name(name)) if name == "and" || name == "or");
        let before = begun.checked_sub(1).map(|at| &self.tokens[at]);
        let after = self.peek();
        if is_boolean(before) || is_boolean(after) {
            let opens = matches!(before, None | Some(Token::Symbol("(" | "["))) || is_boolean(before);
            let closes = matches!(after, None | Some(Token::Symbol(")" | "]"))) || is_boolean(after);
            return opens && closes;
        }
        match (before, after) {
            (None, None) | (Some(Token::Symbol("[")), Some(Token::Symbol("]"))) => true,
            (Some(Token::Symbol("(")), Some(Token::Symbol(")"))) => {
                let function = begun.checked_sub(2).map(|at| &self.tokens[at]);
                matches!(function, Some(Token::Name(name)) if matches!(name.as_str(), "not" | "boolean" | "count"))
            }
            _ => false,
        }
    }
}

const SYMBOLS: &[&str] = &[
    "//", "..", "::", "!=", "<=", ">=", "/", ".", "(", ")", "[", "]", "@", ",", "|", "+", "-", "=", "<", ">", "*", "$",
];

pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let starts_number =
            first.is_ascii_digit() || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        let taken = if first == '"' || first == '\'' {
            let end = rest[1..].find(first)? + 1;
            tokens.push(Token::Literal(rest[1..end].to_owned()));
            end + 1
        } else if starts_number {
            tokens.push(Token::Number);
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())
        } else if first.is_alphabetic() || first == '_' {
            let end = name_end(rest);
            tokens.push(Token::Name(rest[..end].to_owned()));
            end
        } else {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol))?;
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        };
        rest = rest[taken..].trim_start();
    }
    Some(tokens)
}

/// Where a name ends; one colon joins prefix and name, two end an axis.
fn name_end(text: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let after = &text[end..];
    if after.starts_with("::") || !after.starts_with(':') {
        return end;
    }
    match after[1..].find(|c: char| !is_part(c)) {
        Some(0) => end,
        Some(more) => end + 1 + more,
        None => text.len(),
    }
}

/// All nodes of a set and below it.
pub(super) fn with_all_below(
    nodes: &[SchemaNode],
    children: &dyn Fn(Option<SchemaNode>) -> Vec<SchemaNode>,
) -> Vec<SchemaNode> {
    let mut seen = BTreeSet::new();
    let mut waiting = nodes.to_vec();
    let mut all = Vec::new();
    while let Some(node) = waiting.pop() {
        if seen.insert(node.path()) {
            all.push(node);
            waiting.extend(children(Some(node)));
        }
    }
    all
}
