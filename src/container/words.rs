//! A line of arguments as the words that a program gets. Pure; runs no shell.

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
pub fn split_arguments(text: &str) -> Result<Vec<String>, OpenQuote> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_split_as_in_a_shell() {
        let split = |text| split_arguments(text).map_err(|error| error.to_string());
        assert_eq!(
            split("--host router-1  --log script"),
            Ok(["--host", "router-1", "--log", "script"].map(String::from).to_vec())
        );
        assert_eq!(
            split(r#"'a b' "c \"d\" $x" e\ f '' "#),
            Ok(["a b", r#"c "d" $x"#, "e f", ""].map(String::from).to_vec())
        );
        assert_eq!(split("'open"), Err("the quote ' is never closed".to_owned()));
        assert_eq!(split("end\\"), Err("a backslash at the end escapes nothing".to_owned()));
        assert_eq!(split("   "), Ok(vec![]));
    }
}
