//! Words of a line: where they stand, quoting, and which word an abbreviation means.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Where it begins and ends in the line, in bytes.
    pub start: usize,
    pub end: usize,
    pub is_quoted: bool,
    /// Its quote is not closed: it is no word, but may be part of a value that takes the rest of the line.
    pub is_open: bool,
}

/// What is wrong with a line, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The byte of the line at which the wrong word begins.
    pub at: usize,
    pub kind: FaultKind,
    /// What could stand there.
    pub expected: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    Unrecognised,
    Ambiguous { means: Vec<String> },
    Incomplete,
    BadValue { reason: String },
    OpenQuote,
}

impl Fault {
    pub fn new(at: usize, kind: FaultKind) -> Self {
        Self { at, kind, expected: Vec::new() }
    }

    #[must_use]
    pub fn expecting(mut self, expected: Vec<String>) -> Self {
        self.expected = expected;
        self
    }
}

/// How many words of what was expected are said.
const EXPECTED_MAX: usize = 12;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |words: &[String]| {
            let more = if words.len() > EXPECTED_MAX { ", ..." } else { "" };
            format!("{}{more}", words.iter().take(EXPECTED_MAX).cloned().collect::<Vec<_>>().join(", "))
        };
        match &self.kind {
            FaultKind::Unrecognised => f.write_str("% Invalid input detected at '^' marker.")?,
            FaultKind::Ambiguous { means } => write!(f, "% Ambiguous command: it may mean {}", said(means))?,
            FaultKind::Incomplete => f.write_str("% Incomplete command.")?,
            FaultKind::BadValue { reason } => write!(f, "% Invalid input detected at '^' marker: {reason}.")?,
            FaultKind::OpenQuote => f.write_str("% A quote is opened at '^' and not closed.")?,
        }
        if !self.expected.is_empty() && !matches!(self.kind, FaultKind::Ambiguous { .. }) {
            write!(f, "\n% Expected: {}", said(&self.expected))?;
        }
        Ok(())
    }
}

/// Splits a line at spaces and tabs. `"a \"b\"\n"` and `'a b'` are one word each.
pub fn split(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += line[at..].len() - line[at..].trim_start_matches([' ', '\t', '\r', '\n']).len();
        let Some(first) = line[at..].chars().next() else { return tokens };
        let start = at;
        if matches!(first, '"' | '\'') {
            let closed = quoted(&line[at..], first);
            let is_open = closed.is_none();
            let (text, length) = closed.unwrap_or_else(|| (line[at..].to_owned(), line.len() - at));
            at += length;
            tokens.push(Token { text, start, end: at, is_quoted: true, is_open });
        } else {
            let length = line[at..].find([' ', '\t', '\r', '\n']).unwrap_or(line.len() - at);
            at += length;
            tokens.push(Token { text: line[start..at].to_owned(), start, end: at, is_quoted: false, is_open: false });
        }
    }
}

/// The text between quotes at the start of `rest`, and how many bytes it took.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Some((text, at + 1)),
            '\\' if quote == '"' => match letters.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

/// A value as it has to be typed to be one word.
pub fn quote(value: &str) -> String {
    let is_plain = !value.is_empty()
        && !value.starts_with('!')
        && !value.contains(|letter: char| {
            letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '\'' | '?')
        });
    if is_plain { value.to_owned() } else { in_quotes(value) }
}

/// A value as it has to be typed to be the rest of a line.
pub fn quote_rest(value: &str) -> String {
    let is_plain = !value.is_empty()
        && value.trim() == value
        && !value.starts_with(['"', '!'])
        && !value.contains(|letter: char| letter.is_control() || letter == '?');
    if is_plain { value.to_owned() } else { in_quotes(value) }
}

fn in_quotes(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for letter in value.chars() {
        match letter {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Which of some words a typed one means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant<T> {
    One(T),
    Several(Vec<String>),
    Nothing,
}

/// A word means what it spells; else what it begins, if that is one only. Capitals do not matter.
pub fn meant<'w, T: Copy>(typed: &str, words: impl Iterator<Item = (T, &'w str)> + Clone) -> Meant<T> {
    if let Some((found, _)) = words.clone().find(|(_, word)| *word == typed) {
        return Meant::One(found);
    }
    if let Some((found, _)) = words.clone().find(|(_, word)| word.eq_ignore_ascii_case(typed)) {
        return Meant::One(found);
    }
    let mut begun: Vec<(T, &str)> = Vec::new();
    for (item, word) in words.filter(|(_, word)| begins(word, typed)) {
        if !begun.iter().any(|(_, known)| *known == word) {
            begun.push((item, word));
        }
    }
    match begun.as_slice() {
        [] => Meant::Nothing,
        [(found, _)] => Meant::One(*found),
        several => Meant::Several(several.iter().map(|(_, word)| (*word).to_owned()).collect()),
    }
}

/// Whether `typed` begins `word`, whatever the capitals.
pub fn begins(word: &str, typed: &str) -> bool {
    !typed.is_empty() && word.get(..typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(typed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_split_at_blanks_and_quotes_keep_them_together() {
        let texts = |line: &str| split(line).into_iter().map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(texts("  show\tscript  status "), ["show", "script", "status"]);
        assert_eq!(texts(r#"a "b \"c\" \\" 'd e' f"g"#), ["a", r#"b "c" \"#, "d e", "f\"g"]);
        assert_eq!(texts("\"\""), [""]);
        assert!(split("x \"y").last().unwrap().is_open);
    }

    #[test]
    fn an_abbreviation_means_the_one_word_it_begins() {
        let words = ["activate", "active", "stop", "SHA256"];
        let meaning = |typed| meant(typed, words.iter().map(|word| (*word, *word)));
        assert_eq!(meaning("st"), Meant::One("stop"));
        assert_eq!(meaning("sha256"), Meant::One("SHA256"));
        assert_eq!(meaning("active"), Meant::One("active"));
        assert_eq!(meaning("acti"), Meant::Several(vec!["activate".into(), "active".into()]));
        assert_eq!(meaning("x"), Meant::Nothing);
        assert_eq!(meaning("é"), Meant::Nothing);
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(value in "\\PC*[\n\t \"'\\\\]?\\PC*") {
            let line = format!("word {} more", quote(&value));
            let tokens = split(&line);
            prop_assert_eq!(tokens.len(), 3);
            prop_assert_eq!(&tokens[1].text, &value);
        }
    }
}
