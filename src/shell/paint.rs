//! Colours, for terminals whose users want them. Pure; lines stay lines, and their text stays as it is.

use std::borrow::Cow;

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Prompt,
    Error,
    /// Lines that came begin with `+`, those that went with `-`.
    Difference,
}

/// Whether a user's environment asks for colours, by the customs of terminals.
pub fn is_wanted(terminal: &str, no_color: &str) -> bool {
    no_color.is_empty() && !matches!(terminal, "" | "dumb")
}

pub fn painted(ink: Ink, text: &str) -> Cow<'_, str> {
    let whole = |colour: &'static str| {
        let lines = text.split_inclusive('\n').map(|line| in_colour(colour, line));
        Cow::Owned(lines.collect::<String>())
    };
    match ink {
        Ink::Plain => Cow::Borrowed(text),
        Ink::Prompt => whole(BOLD),
        Ink::Error => whole(RED),
        Ink::Difference => {
            let lines = text.split_inclusive('\n').map(|line| match line.as_bytes().first() {
                Some(b'+') => in_colour(GREEN, line),
                Some(b'-') => in_colour(RED, line),
                _ => line.to_owned(),
            });
            Cow::Owned(lines.collect())
        }
    }
}

/// A pager may end behind any line: none leaves its colour to the next.
fn in_colour(colour: &str, line: &str) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    if text.is_empty() { end.to_owned() } else { format!("{colour}{text}{PLAIN}{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_begins_and_ends_its_own_colour() {
        let shown = |ink, text: &str| painted(ink, text).replace('\x1b', "E");
        assert_eq!(shown(Ink::Plain, "+ a\n"), "+ a\n");
        assert_eq!(shown(Ink::Prompt, "r1#"), "E[1mr1#E[0m");
        assert_eq!(shown(Ink::Error, "  ^\n\n% wrong\n"), "E[31m  ^E[0m\n\nE[31m% wrongE[0m\n");
        assert_eq!(shown(Ink::Difference, "# a\n+ b\n- c\nend\n"), "# a\nE[32m+ bE[0m\nE[31m- cE[0m\nend\n");
    }

    #[test]
    fn colours_are_wanted_by_custom() {
        assert!(is_wanted("xterm-256color", ""));
        assert!(!is_wanted("dumb", "") && !is_wanted("", "") && !is_wanted("xterm", "1"));
    }
}
