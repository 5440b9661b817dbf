//! A command line as people write one: split into words as a shell does, and put together so that it splits the same way.
//! Nothing is expanded.

/// A quote that is never closed, or a backslash with nothing behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenQuote {
    #[error("the quote {0} is never closed")]
    Quote(char),
    #[error("a backslash at the end escapes nothing")]
    Backslash,
}

/// Splits arguments at blanks as a POSIX shell does: single quotes keep all, double quotes keep blanks, a backslash
/// keeps the next character. Nothing is expanded.
///
/// # Errors
/// [`OpenQuote`] when the text ends inside a quote.
pub fn split(text: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(inside) => word.push(inside),
                        None => return Err(OpenQuote::Quote('\'')),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => return Err(OpenQuote::Quote('"')),
                        },
                        Some(inside) => word.push(inside),
                        None => return Err(OpenQuote::Quote('"')),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next().ok_or(OpenQuote::Backslash)?),
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The words as one line, quoted only where they must be.
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
    quoted.join(" ")
}

fn quote(word: &str) -> String {
    let is_plain = |next: char| next.is_alphanumeric() || "_-./=:,@%+^~".contains(next);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arguments_split_as_in_a_shell() {
        let said = |text| split(text).map_err(|error| error.to_string());
        assert_eq!(
            said("--host router-1  --log script"),
            Ok(["--host", "router-1", "--log", "script"].map(String::from).to_vec())
        );
        assert_eq!(
            said(r#"'a b' "c \"d\" $x" e\ f '' "#),
            Ok(["a b", r#"c "d" $x"#, "e f", ""].map(String::from).to_vec())
        );
        assert_eq!(said("'open"), Err("the quote ' is never closed".to_owned()));
        assert_eq!(said("end\\"), Err("a backslash at the end escapes nothing".to_owned()));
        assert_eq!(said("   "), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn what_is_joined_splits_the_same(words in proptest::collection::vec(any::<String>(), 0..6)) {
            prop_assert_eq!(split(&join(&words)).unwrap(), words);
        }
    }
}
