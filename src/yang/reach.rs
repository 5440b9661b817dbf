//! What an XPath expression of a client can reach, and how much work it may be: told from its text, before it is used.
//!
//! An expression runs to its end once it is begun, and nobody else is answered meanwhile. What looks at all nodes once, for
//! each union and comparison, is always done; what looks at all of them for each of them only where they are few.

use super::expression::{Token, tokens};
use super::ffi::{Node, Tree};

/// Nodes that an expression may look at, counted with repetition; about a second.
pub const STEPS_MAX: usize = 20_000_000;

/// A longer expression is not looked at.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// The axes that look at each node's surroundings.
const WIDE_AXES: &[&str] =
    &["ancestor", "ancestor-or-self", "following", "following-sibling", "parent", "preceding", "preceding-sibling"];

/// How the work grows with the tree: as `paths` times its nodes to the power of `power`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    paths: usize,
    power: u32,
}

/// Why an expression is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("the XPath expression is longer than {EXPRESSION_BYTES_MAX} bytes")]
    Long,
    #[error("the XPath expression may have to look at the {nodes} nodes and more again for each of them")]
    Work { nodes: usize },
}

/// An expression, cut into tokens for whatever is asked about it.
pub(super) struct Expression<'t> {
    /// With module names as prefixes.
    text: &'t str,
    /// `None` for what cannot be read, and is refused when it is used.
    tokens: Option<Vec<Token>>,
}

impl<'t> Expression<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, TooMuch> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(TooMuch::Long);
        }
        Ok(Self { text, tokens: tokens(text) })
    }

    /// Whether it may be used on this tree.
    pub(super) fn is_bearable(&self, tree: &Tree) -> Result<(), TooMuch> {
        self.tokens.as_ref().map_or(Ok(()), |tokens| is_bearable(&work(tokens), tree))
    }

    /// Whether all identities that it asks about are named with their modules, as literals. For one without, libyang (5.4.9)
    /// looks into a module that a reader's expression does not have, and reads through a null pointer.
    pub(super) fn names_identities_whole(&self) -> bool {
        self.tokens
            .as_ref()
            .map_or_else(|| !self.text.contains("derived-from"), |tokens| names_identities_whole(tokens))
    }

    /// Whether what functions that look inside are given is named. The root of all has no schema: given that, libyang (5.4.9)
    /// reads through a null pointer.
    pub(super) fn looks_into_named_nodes(&self) -> bool {
        let is_free = || !LOOK_INSIDE.iter().any(|function| self.text.contains(function));
        self.tokens.as_ref().map_or_else(is_free, |tokens| looks_into_named_nodes(tokens))
    }
}

fn is_bearable(work: &Work, tree: &Tree) -> Result<(), TooMuch> {
    if work.power <= 1 && work.paths <= 16 {
        return Ok(());
    }
    let mut room = STEPS_MAX / work.paths.max(1);
    let mut bound = 1;
    while usize::checked_pow(bound + 1, work.power).is_some_and(|steps| steps <= room) {
        bound += 1;
    }
    room = bound;
    match tree.roots().all(|root| counts(root, &mut room)) {
        true => Ok(()),
        false => Err(TooMuch::Work { nodes: bound }),
    }
}

fn names_identities_whole(tokens: &[Token]) -> bool {
    tokens.iter().enumerate().all(|(at, token)| {
        let is_call = matches!(token, Token::Name(name) if name.starts_with("derived-from"))
            && tokens.get(at + 1) == Some(&Token::Symbol("("));
        !is_call || has_whole_identity(&tokens[at + 2..])
    })
}

/// Of a call: whether its second argument is a literal with a prefix.
fn has_whole_identity(arguments: &[Token]) -> bool {
    let mut depth = 0_usize;
    for (at, token) in arguments.iter().enumerate() {
        match token {
            Token::Symbol("(" | "[") => depth += 1,
            Token::Symbol(")" | "]") if depth == 0 => return false,
            Token::Symbol(")" | "]") => depth -= 1,
            Token::Symbol(",") if depth == 0 => {
                let identity = match arguments.get(at + 1) {
                    Some(Token::Literal(identity)) => identity.as_str(),
                    _ => return false,
                };
                let is_whole = identity.split_once(':').is_some_and(|(module, _)| !module.is_empty());
                return is_whole && arguments.get(at + 2) == Some(&Token::Symbol(")"));
            }
            Token::Number | Token::Literal(_) | Token::Name(_) | Token::Symbol(_) => {}
        }
    }
    false
}

/// Functions that look into the first node of their argument without asking whether there is one.
const LOOK_INSIDE: &[&str] = &["bit-is-set", "deref", "derived-from", "derived-from-or-self", "enum-value"];

fn looks_into_named_nodes(tokens: &[Token]) -> bool {
    // Of each bracket that is open, and of the one that was closed last: whether it stands behind a name.
    let (mut open, mut closed) = (vec![false], false);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol("[") => {
                let before = at.checked_sub(1).map(|before| &tokens[before]);
                open.push(before.is_some_and(is_name_test) || before == Some(&Token::Symbol("]")) && closed);
            }
            Token::Symbol("]") => closed = open.pop().unwrap_or(false),
            Token::Name(name) if LOOK_INSIDE.contains(&name.as_str()) => {
                let is_call = tokens.get(at + 1) == Some(&Token::Symbol("("));
                if is_call && !is_named(&tokens[at + 2..], open.last() == Some(&true)) {
                    return false;
                }
            }
            Token::Number | Token::Literal(_) | Token::Name(_) | Token::Symbol(_) => {}
        }
    }
    true
}

/// Of the first argument of a call: whether its last step names what it selects. `context`: whether `.` is named.
fn is_named(arguments: &[Token], context: bool) -> bool {
    let mut depth = 0_usize;
    let mut end = 0;
    for token in arguments {
        match token {
            Token::Symbol("(" | "[") => depth += 1,
            Token::Symbol(")" | ",") if depth == 0 => break,
            Token::Symbol(")" | "]") => depth = depth.saturating_sub(1),
            Token::Symbol("|") if depth == 0 => return false,
            Token::Number | Token::Literal(_) | Token::Name(_) | Token::Symbol(_) => {}
        }
        end += 1;
    }
    let mut argument = &arguments[..end];
    // Predicates only take some away.
    while let [.., Token::Symbol("]")] = argument {
        let mut depth = 0_usize;
        let opens = argument.iter().rposition(|token| {
            match token {
                Token::Symbol("]") => depth += 1,
                Token::Symbol("[") => depth -= 1,
                Token::Number | Token::Literal(_) | Token::Name(_) | Token::Symbol(_) => {}
            }
            depth == 0
        });
        argument = &argument[..opens.unwrap_or(0)];
    }
    match argument {
        [Token::Symbol(".")] => context,
        [.., last] => is_name_test(last),
        [] => false,
    }
}

fn is_name_test(token: &Token) -> bool {
    matches!(token, Token::Name(_) | Token::Symbol("*"))
}

/// Takes the nodes of a subtree out of `room`; false when there are more.
fn counts(node: Node<'_>, room: &mut usize) -> bool {
    *room = match room.checked_sub(1) {
        Some(room) => room,
        None => return false,
    };
    node.children().all(|child| counts(child, room))
}

/// The tops, `/module:node`, below which everything is that the expression can select or look at; `None` when that cannot
/// be told.
pub fn roots(text: &str) -> Option<Vec<String>> {
    let tokens = tokens(text)?;
    let mut roots = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let goes_on = at.checked_sub(1).is_some_and(|before| ends_operand(&tokens, before));
        match token {
            Token::Symbol("[") => depth += 1,
            Token::Symbol("]") => depth = depth.checked_sub(1)?,
            Token::Symbol("/") if goes_on => {}
            Token::Symbol("/") => match (tokens.get(at + 1), tokens.get(at + 2)) {
                (Some(Token::Name(_)), Some(Token::Symbol("::" | "("))) => return None,
                (Some(Token::Name(name)), _) if name.contains(':') => roots.push(format!("/{name}")),
                _ => return None,
            },
            Token::Symbol("//" | ".." | "::" | "$") => return None,
            Token::Symbol("*") if !goes_on => return None,
            Token::Name(name) if name == "deref" || name == "current" => return None,
            // Outside of predicates, what is relative begins at the root.
            Token::Name(_) if depth == 0 && !goes_on && !follows_slash(&tokens, at) => return None,
            Token::Symbol(".") if depth == 0 && !follows_slash(&tokens, at) => return None,
            Token::Number | Token::Literal(_) | Token::Name(_) | Token::Symbol(_) => {}
        }
    }
    (!roots.is_empty()).then_some(roots)
}

fn follows_slash(tokens: &[Token], at: usize) -> bool {
    at > 0 && tokens[at - 1] == Token::Symbol("/")
}

fn follows_step(tokens: &[Token], at: usize) -> bool {
    at > 0 && matches!(tokens[at - 1], Token::Symbol("/" | "//" | "::"))
}

/// Whether an operand ends with this token, so that a name, a star or a slash behind it goes on with it.
fn ends_operand(tokens: &[Token], at: usize) -> bool {
    match &tokens[at] {
        Token::Number | Token::Literal(_) | Token::Symbol("." | ".." | ")" | "]") => true,
        Token::Symbol("*") => !(at > 0 && ends_operand(tokens, at - 1)),
        Token::Name(name) => {
            let is_operator = matches!(name.as_str(), "and" | "or" | "div" | "mod");
            !(is_operator && at > 0 && ends_operand(tokens, at - 1))
        }
        Token::Symbol(_) => false,
    }
}

fn work(tokens: &[Token]) -> Work {
    /// The whole expression, or a predicate.
    #[derive(Default)]
    struct Level {
        /// Paths that do not stay below the node at hand.
        wide_paths: usize,
        /// Axes that look at many nodes for each.
        axes: u32,
        compares: bool,
        /// `//*` was seen: nodes of it stand in each other, and what goes on from them has to be put in order.
        is_nested: bool,
        is_ordered_anew: bool,
        deepest_below: u32,
    }
    impl Level {
        fn power(&self, is_predicate: bool) -> u32 {
            let joins = u32::from(self.compares && self.wide_paths >= 2);
            self.axes.max(u32::from(self.is_ordered_anew))
                + joins
                + self.deepest_below
                + u32::from(is_predicate && self.wide_paths > 0)
        }
    }
    let mut levels = vec![Level::default()];
    let mut paths = 0;
    for (at, token) in tokens.iter().enumerate() {
        let goes_on = at.checked_sub(1).is_some_and(|before| ends_operand(tokens, before));
        if matches!(token, Token::Symbol("]"))
            && levels.len() > 1
            && let Some(done) = levels.pop()
            && let Some(around) = levels.last_mut()
        {
            around.deepest_below = around.deepest_below.max(done.power(true));
            continue;
        }
        let Some(level) = levels.last_mut() else { break };
        match token {
            Token::Symbol("[") => levels.push(Level::default()),
            Token::Symbol(slash @ ("/" | "//")) => {
                if goes_on {
                    level.is_ordered_anew |= level.is_nested;
                } else {
                    (level.wide_paths, paths) = (level.wide_paths + 1, paths + 1);
                }
                let is_any = match tokens.get(at + 1) {
                    Some(Token::Symbol("*")) => true,
                    Some(Token::Name(name)) => name == "node" || name.starts_with("descendant"),
                    _ => false,
                };
                level.is_nested |= is_any && (*slash == "//" || matches!(tokens.get(at + 1), Some(Token::Name(_))));
            }
            Token::Symbol("|") => level.is_nested = false,
            Token::Symbol("..") => level.wide_paths += 1,
            Token::Symbol("=" | "!=" | "<" | "<=" | ">" | ">=") => level.compares = true,
            Token::Name(name) if matches!(name.as_str(), "current" | "deref") => level.wide_paths += 1,
            Token::Name(name) if tokens.get(at + 1) == Some(&Token::Symbol("::")) => {
                if WIDE_AXES.contains(&name.as_str()) {
                    level.axes += 1;
                    level.wide_paths += 1;
                }
            }
            Token::Name(_) if tokens.get(at + 1) == Some(&Token::Symbol("(")) => {}
            Token::Name(_) if !goes_on && !follows_step(tokens, at) => paths += 1,
            Token::Number | Token::Literal(_) | Token::Name(_) | Token::Symbol(_) => {}
        }
    }
    let power = levels.iter().rev().fold(0, |below, level| level.power(false).max(level.axes + below));
    Work { paths: paths.max(1), power: 1 + power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tops_are_told_where_every_path_names_its_own() {
        let told = |tops: &[&str]| Some(tops.iter().map(|top| (*top).to_owned()).collect::<Vec<_>>());
        for (expression, expected) in [
            ("/m:a", told(&["/m:a"])),
            ("/m:a/b[c='/x:y']/d", told(&["/m:a"])),
            ("/m:a/b | /n:c[m:d > 3 * 2]", told(&["/m:a", "/n:c"])),
            ("/m:a/b[c = /n:d/e]", told(&["/m:a", "/n:d"])),
            ("/m:a[count(b) = 2 and not(c)]/div/and", told(&["/m:a"])),
            ("/m:a[. = 'x']/.", told(&["/m:a"])),
            ("/m:a/*", None),
            ("//m:a", None),
            ("/*", None),
            ("m:a/b", None),
            ("/", None),
            (".", None),
            ("/m:a/../n:b", None),
            ("/m:a/descendant::m:b", None),
            ("/m:a[current()/n:b]", None),
            ("/m:a | n:b", None),
            ("/a", None),
        ] {
            assert_eq!(roots(expression), expected, "{expression}");
        }
    }

    #[test]
    fn work_grows_with_what_is_looked_at_for_each_node() {
        for (expression, paths, power) in [
            ("/m:a/b[c='1'][d/e > 2]/f", 3, 1),
            ("//*", 1, 1),
            ("//*[.//x]", 1, 1),
            ("//*/*", 1, 2),
            ("//m:a/b", 1, 1),
            ("/m:a/descendant::*/b", 1, 2),
            ("/m:a | /m:b | /m:c", 3, 1),
            ("//*[//*]", 2, 2),
            ("//*[../x]", 1, 2),
            ("//*[count(//*[//*]) > 1]", 3, 3),
            ("//*[a[//x]]", 3, 2),
            ("//*[//x][//y]", 3, 2),
            ("//* = //*", 2, 2),
            ("/m:a/b[c = /m:a/d]", 3, 2),
            ("//*/preceding::*/following::*", 1, 3),
            ("/m:a/b[preceding-sibling::b]", 1, 3),
        ] {
            assert_eq!(work(&tokens(expression).unwrap()), Work { paths, power }, "{expression}");
        }
    }

    #[test]
    fn an_identity_is_a_literal_with_its_module() {
        for (expression, is_whole) in [
            ("/m:a[b = 'derived-from(., x)']", true),
            ("/m:a/b[derived-from(., 'm:x')]", true),
            ("/m:a[derived-from-or-self(b[1] , \"m:x\") or c]", true),
            ("/m:a/b[derived-from(., 'x')]", false),
            ("/m:a/b[derived-from(., ':x')]", false),
            ("/m:a/b[derived-from (., c)]", false),
            ("/m:a/b[derived-from(., concat('m:', 'x'))]", false),
            ("/m:a/b[derived-from(count(c), 'm:x') and derived-from(., 'm:' | c)]", false),
            ("/m:a/b[derived-from(.)]", false),
            ("/m:a/b[derived-from(., 'm:x'", false),
            ("~derived-from(., 'x')", false),
        ] {
            assert_eq!(Expression::new(expression).unwrap().names_identities_whole(), is_whole, "{expression}");
        }
    }

    #[test]
    fn what_is_looked_into_is_named() {
        for (expression, is_named) in [
            ("/m:a[b = 'deref(/)']", true),
            ("/m:a[deref]/enum-value", true),
            ("/m:a/b[derived-from(., 'm:x')]", true),
            ("/m:a/b[1][derived-from(., 'm:x')]", true),
            ("/m:a/*[deref(.)/../c = 1]", true),
            ("deref(/m:a/b)/../c", true),
            ("deref(/m:a/b[c = 1][2])/../c", true),
            ("/m:a[bit-is-set(b, 'one') and enum-value(../c) > 1]", true),
            ("deref(/)", false),
            ("deref(.)", false),
            ("deref(current())", false),
            ("/m:a[deref(current())]", false),
            ("/m:a[deref(..)]", false),
            ("/m:a/b[deref(../..)]", false),
            ("deref(/m:a/b | /)", false),
            ("deref((/m:a | /))", false),
            ("deref(/m:a/..)", false),
            ("deref(/.[/m:a])", false),
            ("deref()", false),
            ("deref(", false),
            ("/m:a/..[deref(.)]", false),
            ("/m:a/..[1][deref(.)]", false),
            ("/m:a/ancestor::node()[enum-value(.) = 1]", false),
            ("/m:a[derived-from(/, 'm:x')]", false),
            ("bit-is-set(/, 'one')", false),
            ("/m:a/b[c[1] and deref (/)]", false),
            ("~deref(a)", false),
        ] {
            assert_eq!(Expression::new(expression).unwrap().looks_into_named_nodes(), is_named, "{expression}");
        }
    }

    #[test]
    fn an_expression_is_refused_where_the_tree_is_too_large_for_it() {
        use crate::yang::testing::{top, valid};
        let entries: String = (0..1_000).map(|id| format!("<item><name>{id}</name></item>")).collect();
        let (small, large) = (valid(&top("<name>a</name>")), valid(&top(&entries)));
        for (expression, is_fit_for_large) in [
            ("/sample:top/item[../name = 'a']", true),
            ("//*[count(//*[//*]) > 1]", false),
            ("/sample:top/item[name = '7']", true),
            ("//*[//*[//*[//*[//*]]]]", false),
        ] {
            let expression = Expression::new(expression).unwrap();
            assert_eq!(expression.is_bearable(&small), Ok(()), "{}", expression.text);
            assert_eq!(expression.is_bearable(&large).is_ok(), is_fit_for_large, "{}", expression.text);
        }
        assert_eq!(Expression::new(&"|//*".repeat(5_000)).err(), Some(TooMuch::Long));
    }
}
