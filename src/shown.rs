//! Texts from outside in our own messages: short, and without anything that a terminal would obey.

/// How much of a wrong text a message repeats.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// A text from outside, fit for a message: short, and without control characters.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARACTERS_MAX).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_clipped_and_control_characters_are_spelt() {
        assert_eq!(shown("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(shown(&"x".repeat(1000)), format!("{}...", "x".repeat(SHOWN_CHARACTERS_MAX)));
    }
}
