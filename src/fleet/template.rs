//! Instances: what `%i`, `%I` and `%n` stand for, escaped as service managers escape.

use std::borrow::Cow;

/// What a definition is filled in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    name: String,
    escaped: String,
    verbatim: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`%{0}` stands for nothing; there are %i, %I, %n and %% for a percent sign")]
pub struct UnknownSpecifier(pub String);

impl Instance {
    /// Of the container `name`; `given` is the instance as it is, where it is configured. Else it is what stands behind the
    /// first `@` of the name, in which characters may be escaped, or the whole name.
    pub fn of(name: &str, given: Option<&str>) -> Self {
        let (escaped, verbatim) = match (given, name.split_once('@')) {
            (Some(given), _) => (escape(given), given.to_owned()),
            (None, Some((_, behind))) => (behind.to_owned(), unescape(behind)),
            (None, None) => (name.to_owned(), name.to_owned()),
        };
        Self { name: name.to_owned(), escaped, verbatim }
    }

    pub fn fill_in<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, UnknownSpecifier> {
        if !text.contains('%') {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(next) = characters.next() {
            match next {
                '%' => match characters.next() {
                    Some('i') => filled.push_str(&self.escaped),
                    Some('I') => filled.push_str(&self.verbatim),
                    Some('n') => filled.push_str(&self.name),
                    Some('%') => filled.push('%'),
                    other => return Err(UnknownSpecifier(other.map(String::from).unwrap_or_default())),
                },
                plain => filled.push(plain),
            }
        }
        Ok(Cow::Owned(filled))
    }
}

/// `/` becomes `-`; what does not belong into a unit's name becomes `\xNN`.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at == 0 => escaped.push_str("\\x2e"),
            plain if plain.is_ascii_alphanumeric() || b":_.".contains(&plain) => escaped.push(char::from(plain)),
            other => escaped.push_str(&format!("\\x{other:02x}")),
        }
    }
    escaped
}

pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|digits| digits.get(..2));
        let decoded = hex.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (decoded, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            (None, b'-') => {
                bytes.push(b'/');
                rest = behind;
            }
            (None, plain) => {
                bytes.push(*plain);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instance_is_what_stands_behind_the_at_sign() {
        let fill = |name: &str, given, text: &str| Instance::of(name, given).fill_in(text).map(Cow::into_owned);
        let all = "%n %i %I 100%%";
        assert_eq!(fill("ioc@test-ioc", None, all).unwrap(), "ioc@test-ioc test-ioc test/ioc 100%");
        assert_eq!(fill("ioc@a\\x2db", None, "%I").unwrap(), "a-b");
        assert_eq!(fill("plain", None, all).unwrap(), "plain plain plain 100%");
        assert_eq!(fill("seven", Some("dev/tty S7"), all).unwrap(), "seven dev-tty\\x20S7 dev/tty S7 100%");
        assert_eq!(fill("x", None, "%h"), Err(UnknownSpecifier("h".into())));
        assert_eq!(fill("x", None, "half%"), Err(UnknownSpecifier(String::new())));
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "[ -~]{0,20}") {
            prop_assert_eq!(unescape(&escape(&text)), text);
        }
    }
}
