//! Character data: what XML can hold, how it is escaped, how much of a client's words is said back to it.

use std::borrow::Cow;

/// Names quoted in refusals are cut to this many characters.
const QUOTED_CHARS_MAX: usize = 64;

/// XML 1.0 production 2.
pub(super) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What a client named, short enough to be said back to it.
pub(super) fn quote(name: &str) -> Cow<'_, str> {
    clip(name, QUOTED_CHARS_MAX)
}

/// Text that may hold a client's words, cut to `chars_max`, without control characters: it may end in a log.
pub(super) fn clip(text: &str, chars_max: usize) -> Cow<'_, str> {
    let cut = text.char_indices().nth(chars_max).map(|(at, _)| at);
    let kept = &text[..cut.unwrap_or(text.len())];
    if cut.is_none() && !kept.contains(char::is_control) {
        return Cow::Borrowed(kept);
    }
    let mut clean: String = kept.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if cut.is_some() {
        clean.push('…');
    }
    Cow::Owned(clean)
}

/// Appends text as XML character data or attribute value; what XML cannot hold becomes U+FFFD.
pub(super) fn escape_into(out: &mut String, text: &str) {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '<' => "&lt;",
            '>' => "&gt;",
            '&' => "&amp;",
            '"' => "&quot;",
            '\r' => "&#13;",
            c if is_xml_char(c) => continue,
            _ => "\u{fffd}",
        };
        out.push_str(&text[from..at]);
        out.push_str(escaped);
        from = at + c.len_utf8();
    }
    out.push_str(&text[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_what_xml_cannot_hold_is_replaced() {
        let mut out = String::new();
        escape_into(&mut out, "a<b>&\"c\"\r\n\0é\u{ffff}");
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;c&quot;&#13;\n\u{fffd}é\u{fffd}");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(quote("short"), "short");
        let cut = quote(&"é".repeat(100)).into_owned();
        assert_eq!(cut.chars().count(), QUOTED_CHARS_MAX + 1);
        assert_eq!(quote("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
