//! What a script says of itself in its module docstring, read from the source text without running it.
//!
//! Reads conservatively: what is not plainly a docstring at the top is none. Does not know Python beyond that.

/// A docstring begins near the top; what is further down is not looked for.
pub const SOURCE_BYTES_READ: usize = 64 * 1024;

const DESCRIPTION_CHARACTERS_MAX: usize = 256;
const ARGUMENT_LINES_MAX: usize = 32;
const ARGUMENTS_CHARACTERS_MAX: usize = 2048;

/// `Script Description` and `Script Arguments` of the status views.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Docstring {
    /// Its first line.
    pub description: Option<String>,
    /// The lines under `Arguments:`.
    pub arguments: Option<String>,
}

/// Reads the beginning of a source text.
pub fn read(source: &[u8]) -> Docstring {
    let source = &source[..source.len().min(SOURCE_BYTES_READ)];
    let text = String::from_utf8_lossy(source);
    let Some(literal) = literal(&text) else {
        return Docstring::default();
    };
    Docstring { description: description(&literal), arguments: arguments(&literal) }
}

/// The content of the string literal that is the first statement.
fn literal(text: &str) -> Option<String> {
    let mut rest = text.trim_start_matches('\u{feff}');
    loop {
        rest = rest.trim_start();
        match rest.strip_prefix('#') {
            Some(comment) => rest = comment.split_once('\n')?.1,
            None => break,
        }
    }
    let (raw, rest) = match rest.chars().next()? {
        'r' | 'R' => (true, &rest[1..]),
        'u' | 'U' => (false, &rest[1..]),
        _ => (false, rest),
    };
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote))?;
    let mut content = String::new();
    let mut rest = &rest[quote.len()..];
    while !rest.starts_with(quote) {
        let mut characters = rest.chars();
        match characters.next()? {
            '\n' if quote.len() == 1 => return None,
            '\\' => {
                let escaped = characters.next()?;
                match escaped {
                    _ if raw => content.extend(['\\', escaped]),
                    '\n' => {}
                    'n' => content.push('\n'),
                    't' => content.push('\t'),
                    '\\' | '\'' | '"' => content.push(escaped),
                    _ => content.extend(['\\', escaped]),
                }
            }
            character => content.push(character),
        }
        rest = characters.as_str();
    }
    Some(content)
}

fn description(literal: &str) -> Option<String> {
    let first = literal.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(clean(first).chars().take(DESCRIPTION_CHARACTERS_MAX).collect())
}

fn arguments(literal: &str) -> Option<String> {
    let mut lines = literal.lines().skip_while(|line| !line.trim().eq_ignore_ascii_case("arguments:"));
    let header = lines.next()?;
    let found: Vec<String> = lines
        .skip_while(|line| line.trim().is_empty())
        .take_while(|line| !line.trim().is_empty() && indent(line) > indent(header))
        .take(ARGUMENT_LINES_MAX)
        .map(|line| clean(line.trim()))
        .collect();
    if found.is_empty() {
        return None;
    }
    Some(found.join("\n").chars().take(ARGUMENTS_CHARACTERS_MAX).collect())
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|character| character.is_whitespace()).count()
}

/// YANG strings (RFC 7950 section 9.4) hold no control characters and no non-characters.
fn clean(line: &str) -> String {
    line.chars()
        .map(|character| match character {
            '\t' => ' ',
            character if character.is_control() || matches!(character, '\u{fdd0}'..='\u{fdef}') => '\u{fffd}',
            character if u32::from(character) & 0xfffe == 0xfffe => '\u{fffd}',
            character => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docstring_gives_description_and_arguments() {
        let source =
            b"#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n\n\"\"\"\nWatch the storm counters.\n\nMore text.\n\n\
            Arguments:\n  --host NAME   whom to ask\n  --runtime N   how long\n\nReturns: nothing\n\"\"\"\nimport os\n";
        let found = read(source);
        assert_eq!(found.description.as_deref(), Some("Watch the storm counters."));
        assert_eq!(found.arguments.as_deref(), Some("--host NAME   whom to ask\n--runtime N   how long"));
    }

    #[test]
    fn every_form_of_literal_is_read() {
        let cases: [(&str, Option<&str>); 12] = [
            ("'''one'''", Some("one")),
            ("\"one\"", Some("one")),
            ("r'''a\\d'''", Some("a\\d")),
            ("u'one'", Some("one")),
            ("'it\\'s'", Some("it's")),
            ("\u{feff}\"\"\"bom\"\"\"", Some("bom")),
            ("\"\"\"never closed", None),
            ("'broken\n'", None),
            ("b'bytes'", None),
            ("import os\n'''late'''", None),
            ("", None),
            ("# only a comment", None),
        ];
        for (source, expected) in cases {
            assert_eq!(read(source.as_bytes()).description.as_deref(), expected, "{source:?}");
        }
    }

    #[test]
    fn what_comes_out_is_fit_for_a_yang_string() {
        let found = read(b"'''a\x01b\xff\xfec\\x'''");
        assert!(found.description.unwrap().chars().all(|character| !character.is_control()));
        let long = format!("'''{}'''", "x".repeat(5000));
        assert_eq!(read(long.as_bytes()).description.map(|text| text.len()), Some(DESCRIPTION_CHARACTERS_MAX));
    }
}
