//! Several triggers joined: `"link OR (cpu AND memory)"`. AND binds tighter; words in either case.

use std::collections::BTreeSet;

/// Parentheses within parentheses; the text itself is bounded by the module.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Event(String),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadExpression {
    #[error("an event is missing at its end")]
    Ends,
    #[error("`{0}` stands where an event is expected")]
    NotAnEvent(String),
    #[error("`{0}` stands where AND or OR is expected")]
    NotAnOperator(String),
    #[error("a parenthesis is not closed")]
    Open,
    #[error("it has more than {DEPTH_MAX} parentheses within each other")]
    TooDeep,
}

impl Expression {
    /// With or without the quotes that the router's command line wants.
    pub(super) fn parse(text: &str) -> Result<Self, BadExpression> {
        let text = text.trim();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut parser = Parser { words: &words, at: 0 };
        let expression = parser.alternatives(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(word) => Err(BadExpression::NotAnOperator(word.to_owned())),
        }
    }

    pub(super) fn events(&self) -> BTreeSet<&str> {
        match self {
            Self::Event(name) => BTreeSet::from([name.as_str()]),
            Self::And(one, other) | Self::Or(one, other) => {
                let mut events = one.events();
                events.extend(other.events());
                events
            }
        }
    }

    pub(super) fn holds(&self, has_happened: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Event(name) => has_happened(name),
            Self::And(one, other) => one.holds(has_happened) && other.holds(has_happened),
            Self::Or(one, other) => one.holds(has_happened) || other.holds(has_happened),
        }
    }
}

struct Parser<'a> {
    words: &'a [&'a str],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_it = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_it);
        is_it
    }

    fn alternatives(&mut self, depth: usize) -> Result<Expression, BadExpression> {
        let mut left = self.together(depth)?;
        while self.takes("or") {
            left = Expression::Or(Box::new(left), Box::new(self.together(depth)?));
        }
        Ok(left)
    }

    fn together(&mut self, depth: usize) -> Result<Expression, BadExpression> {
        let mut left = self.one(depth)?;
        while self.takes("and") {
            left = Expression::And(Box::new(left), Box::new(self.one(depth)?));
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Expression, BadExpression> {
        if depth > DEPTH_MAX {
            return Err(BadExpression::TooDeep);
        }
        if self.takes("(") {
            let inner = self.alternatives(depth + 1)?;
            return if self.takes(")") { Ok(inner) } else { Err(BadExpression::Open) };
        }
        let word = self.peek().ok_or(BadExpression::Ends)?;
        if word == ")" || word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or") {
            return Err(BadExpression::NotAnEvent(word.to_owned()));
        }
        self.at += 1;
        Ok(Expression::Event(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, happened: &[&str]) -> bool {
        Expression::parse(text).unwrap().holds(&|name| happened.contains(&name))
    }

    #[test]
    fn and_binds_tighter_than_or() {
        for (happened, expected) in [(&["a"][..], true), (&["b"], false), (&["b", "c"], true), (&["c"], false)] {
            assert_eq!(holds("\"a OR b AND c\"", happened), expected, "{happened:?}");
        }
        assert!(!holds("(a or b) and c", &["a"]));
        assert!(holds("(a or b) and c", &["a", "c"]));
    }

    #[test]
    fn what_is_no_expression_is_said() {
        let said = |text| Expression::parse(text).unwrap_err().to_string();
        assert_eq!(said("\"\""), "an event is missing at its end");
        assert_eq!(said("a AND"), "an event is missing at its end");
        assert_eq!(said("AND a"), "`AND` stands where an event is expected");
        assert_eq!(said("a b"), "`b` stands where AND or OR is expected");
        assert_eq!(said("(a OR b"), "a parenthesis is not closed");
        assert_eq!(said(&"(".repeat(60)), "it has more than 16 parentheses within each other");
    }

    #[test]
    fn the_events_are_named_once() {
        let parsed = Expression::parse("a OR (b AND a)").unwrap();
        assert_eq!(parsed.events().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
