//! File patterns of a directory resource: `*` stands for any run of characters without `/` that does not begin a name
//! with a dot; everything else stands for itself.

use std::fmt;

use thiserror::Error;

pub const PATTERN_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPattern {
    #[error("a file pattern is empty: write `*` for every file that is not hidden")]
    Empty,
    #[error("file pattern `{0}` holds a `/`: it names files of its directory, not of folders below")]
    Slash(String),
    #[error("a file pattern has more than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        match text {
            "" => Err(InvalidPattern::Empty),
            _ if text.len() > PATTERN_BYTES_MAX => Err(InvalidPattern::TooLong),
            _ if text.contains('/') => Err(InvalidPattern::Slash(text.to_owned())),
            _ => Ok(Self(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, name: &str) -> bool {
        if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
            return false;
        }
        // A hidden file is named by its dot, never by a wildcard.
        if name.starts_with('.') && self.0.starts_with('*') {
            return false;
        }
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_match(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_star_stands_for_characters_of_one_visible_name() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.xml", "a.xml"),
            ("*.xml", "a.b.xml"),
            ("a*b*c", "abc"),
            ("a*b*c", "axbxbxc"),
            ("a", "a"),
            ("a.*", "a."),
            (".*", ".hidden"),
            ("**", "x"),
            ("[a]?", "[a]?"),
        ] {
            assert!(is_match(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".hidden"),
            ("*.xml", ".xml"),
            ("*", "a/b"),
            ("*", ""),
            ("*", ".."),
            ("a*", "b"),
            ("a*bc", "abcx"),
            ("*aa", "a"),
            ("ab*ba", "aba"),
            ("[a]?", "ab"),
            ("A", "a"),
        ] {
            assert!(!is_match(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_names_files_and_not_folders() {
        assert_eq!(Pattern::parse(""), Err(InvalidPattern::Empty));
        assert_eq!(Pattern::parse("a/b"), Err(InvalidPattern::Slash("a/b".into())));
        assert_eq!(Pattern::parse(&"x".repeat(256)), Err(InvalidPattern::TooLong));
    }

    /// The slow and obvious way.
    fn plainly(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|taken| plainly(rest, &name[taken..])),
            Some((letter, rest)) => name.first() == Some(letter) && plainly(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_it_says(pattern in "[ab*]{1,6}", name in "[ab]{1,8}") {
            let (letters, of_name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(is_match(&pattern, &name), plainly(&letters, &of_name));
        }
    }
}
