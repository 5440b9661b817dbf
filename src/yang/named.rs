//! What an XPath expression names, as selections: for those who make state only as far as it is asked for.
//!
//! Only expressions whose paths all go down from the root by names are told, with predicates that look at what is below
//! their own step and nothing else. Never the last word: the expression itself selects from what was made.

use super::expression::{Token, tokens};
use crate::northbound::filter::{Content, Selection};

/// The tops, `/module:node`, with what is asked of them; `text` has module names as prefixes. `None` where that cannot be
/// told.
pub fn selections(text: &str) -> Option<Vec<(String, Selection)>> {
    let tokens = tokens(text)?;
    let mut reader = Reader { tokens: &tokens, at: 0 };
    let mut named = Vec::new();
    loop {
        reader.symbol("/")?;
        let top = format!("/{}", reader.name()?);
        named.push((top, reader.steps_from(reader.at - 1)?));
        if reader.at == tokens.len() {
            return Some(named);
        }
        reader.symbol("|")?;
    }
}

struct Reader<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl Reader<'_> {
    fn symbol(&mut self, wanted: &str) -> Option<()> {
        self.is(wanted).then(|| self.at += 1)
    }

    fn is(&self, wanted: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Symbol(symbol)) if *symbol == wanted)
    }

    fn name(&mut self) -> Option<String> {
        let Some(Token::Name(name)) = self.tokens.get(self.at) else { return None };
        self.at += 1;
        Some(name.clone())
    }

    /// The steps that begin with the name at `start`.
    fn steps_from(&mut self, start: usize) -> Option<Selection> {
        self.at = start;
        let name = self.name()?;
        // An axis or a function.
        if self.is("::") || self.is("(") {
            return None;
        }
        let name = name.rsplit(':').next().unwrap_or(&name).to_owned();
        let mut within = Vec::new();
        while self.is("[") {
            self.at += 1;
            self.predicate(&mut within)?;
            self.symbol("]")?;
        }
        let goes_on = self.is("/");
        if goes_on {
            self.at += 1;
            within.push(self.steps_from(self.at)?);
        }
        let is_narrowed = goes_on || within.iter().all(|inner| matches!(inner.content, Content::Match(_)));
        let content = match within.is_empty() || !is_narrowed {
            // With all below it, what predicates look at included.
            true => Content::Selected,
            false => Content::Within(within),
        };
        Some(Selection { namespace: None, name, attributes: Vec::new(), content })
    }

    /// Up to the bracket that closes it: comparisons of what is below the step with values, and nothing else.
    fn predicate(&mut self, within: &mut Vec<Selection>) -> Option<()> {
        let begun = within.len();
        let mut is_choice = false;
        loop {
            within.push(self.comparison()?);
            match self.tokens.get(self.at)? {
                Token::Name(name) if name == "and" => {}
                Token::Name(name) if name == "or" => is_choice = true,
                Token::Symbol("]") => break,
                _ => return None,
            }
            self.at += 1;
        }
        if is_choice {
            for looked_at in &mut within[begun..] {
                forget_values(looked_at);
            }
        }
        Some(())
    }

    /// A place among entries is none: who makes fewer of them would shift it.
    fn comparison(&mut self) -> Option<Selection> {
        let mut looked_at = self.steps_from(self.at)?;
        match self.tokens.get(self.at) {
            Some(Token::Symbol("=")) => {
                self.at += 1;
                match self.tokens.get(self.at)? {
                    Token::Literal(value) => set_value(&mut looked_at, value),
                    Token::Number => {}
                    _ => return None,
                }
                self.at += 1;
            }
            Some(Token::Symbol("!=" | "<" | "<=" | ">" | ">=")) => {
                if !matches!(self.tokens.get(self.at + 1)?, Token::Literal(_) | Token::Number) {
                    return None;
                }
                self.at += 2;
            }
            _ => {}
        }
        Some(looked_at)
    }
}

fn set_value(selection: &mut Selection, value: &str) {
    match &mut selection.content {
        Content::Within(within) => within.iter_mut().for_each(|inner| set_value(inner, value)),
        content @ (Content::Selected | Content::Match(_)) => *content = Content::Match(value.to_owned()),
    }
}

/// One of several values will do: none of them chooses.
fn forget_values(selection: &mut Selection) {
    match &mut selection.content {
        Content::Within(within) => within.iter_mut().for_each(forget_values),
        content @ (Content::Selected | Content::Match(_)) => *content = Content::Selected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(selection: &Selection) -> String {
        let inside = match &selection.content {
            Content::Selected => String::new(),
            Content::Match(value) => format!("={value}"),
            Content::Within(within) => format!("({})", within.iter().map(told).collect::<Vec<_>>().join(" ")),
        };
        format!("{}{inside}", selection.name)
    }

    #[test]
    fn paths_by_names_are_told_with_what_their_predicates_look_at() {
        for (expression, expected) in [
            ("/m:a", Some("/m:a a")),
            ("/m:a/b/n:c", Some("/m:a a(b(c))")),
            ("/m:a/b[k='x']", Some("/m:a a(b(k=x))")),
            ("/m:a/b[k='x'][v]/c", Some("/m:a a(b(k=x v c))")),
            ("/m:a/b[k='x'][2]/c", None),
            ("/m:a/b[k='x' and v > 3]/c", Some("/m:a a(b(k=x v c))")),
            ("/m:a/b[k='x' and v > 3]", Some("/m:a a(b)")),
            ("/m:a/b[k='x' or k='y']/c", Some("/m:a a(b(k k c))")),
            ("/m:a/b[d/e='x']/c", Some("/m:a a(b(d(e=x) c))")),
            ("/m:a/b | /n:c/d", Some("/m:a a(b), /n:c c(d)")),
            ("/m:a//b", None),
            ("/m:a/*", None),
            ("/m:a/b[../c='x']", None),
            ("/m:a/b[count(c) > 1]", None),
            ("/m:a/b[c = d]", None),
            ("/m:a/child::b", None),
            ("count(/m:a)", None),
            ("/m:a/b[", None),
            ("/", None),
        ] {
            let found = selections(expression).map(|all| {
                let all: Vec<String> =
                    all.iter().map(|(top, selection)| format!("{top} {}", told(selection))).collect();
                all.join(", ")
            });
            assert_eq!(found.as_deref(), expected, "{expression}");
        }
    }
}
