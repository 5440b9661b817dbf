//! How a reply is laid out: compact, or one line an element for scripts that do string work on it.
//!
//! ```text
//! <rpc-reply ...>
//!  <data>
//!   <top xmlns="...">
//!    <leaf>text</leaf>
//! ```
//! One leading space per level; a leaf stays on one line and text is never touched.
//!
//! Must not know: what the elements mean.

use quick_xml::events::Event;
use quick_xml::reader::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    #[default]
    Compact,
    Indented,
}

/// What was written last, and so what a line break may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Open,
    Close,
    Text,
}

/// Lays out one compact, well-formed element. What is not well-formed comes back as it was.
pub fn indent(compact: &str) -> String {
    laid_out(compact).unwrap_or_else(|| compact.to_owned())
}

fn laid_out(compact: &str) -> Option<String> {
    let mut out = String::with_capacity(compact.len() + compact.len() / 2);
    let mut reader = Reader::from_str(compact);
    let mut depth = 0_usize;
    let mut last = Last::Close;
    // In mixed content, white space would be content: elements that follow text stay where they are.
    let mut mixed = Vec::new();
    loop {
        let start = usize::try_from(reader.buffer_position()).ok()?;
        let event = reader.read_event().ok()?;
        let raw = &compact[start..usize::try_from(reader.buffer_position()).ok()?];
        let inside_text = mixed.last().copied().unwrap_or(false);
        match event {
            Event::Start(_) => {
                break_line(&mut out, depth, inside_text);
                out.push_str(raw);
                depth += 1;
                mixed.push(inside_text);
                last = Last::Open;
            }
            Event::Empty(_) => {
                break_line(&mut out, depth, inside_text);
                out.push_str(raw);
                last = Last::Close;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1)?;
                mixed.pop();
                if last == Last::Close {
                    break_line(&mut out, depth, inside_text);
                }
                out.push_str(raw);
                last = Last::Close;
            }
            Event::Eof => return (depth == 0).then_some(out),
            _ => {
                if let Some(mixed) = mixed.last_mut() {
                    *mixed = true;
                }
                out.push_str(raw);
                last = Last::Text;
            }
        }
    }
}

fn break_line(out: &mut String, depth: usize, mixed: bool) {
    if mixed || out.is_empty() {
        return;
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_space_a_level_and_leaves_on_one_line() {
        let compact = "<rpc-reply xmlns=\"urn:b\"><data><top xmlns=\"urn:t\"><a>x &amp; y</a><b/><c><d> </d></c></top></data></rpc-reply>";
        assert_eq!(
            indent(compact),
            "<rpc-reply xmlns=\"urn:b\">\n <data>\n  <top xmlns=\"urn:t\">\n   <a>x &amp; y</a>\n   <b/>\n   <c>\n    <d> </d>\n   </c>\n  </top>\n </data>\n</rpc-reply>"
        );
    }

    #[test]
    fn mixed_content_is_left_alone() {
        assert_eq!(
            indent("<a><b>text<c/>more<d><e/></d></b><f/></a>"),
            "<a>\n <b>text<c/>more<d><e/></d></b>\n <f/>\n</a>"
        );
    }

    #[test]
    fn what_is_not_well_formed_comes_back_as_it_was() {
        assert_eq!(indent("<a><b></a>"), "<a><b></a>");
        assert_eq!(indent("<a>"), "<a>");
    }

    fn tree() -> impl Strategy<Value = String> {
        let leaf = "[a-z]{1,4}".prop_flat_map(|name| {
            "[ a-z\n]{0,6}".prop_map(move |text| {
                if text.is_empty() { format!("<{name}/>") } else { format!("<{name}>{text}</{name}>") }
            })
        });
        leaf.prop_recursive(4, 32, 5, |inner| {
            ("[a-z]{1,4}", prop::collection::vec(inner, 1..5))
                .prop_map(|(name, children)| format!("<{name}>{}</{name}>", children.concat()))
        })
    }

    /// The events of a text, white space between elements left out.
    fn events(text: &str) -> Vec<String> {
        let mut reader = Reader::from_str(text);
        let mut found: Vec<String> = Vec::new();
        let mut pending: Option<String> = None;
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => return found,
                Event::Text(text) => pending = Some(text.into_inner().into_owned()),
                event => {
                    let opened = found.last().is_some_and(|last| last.starts_with("Start"));
                    if let Some(text) = pending.take()
                        && opened
                        && matches!(event, Event::End(_))
                    {
                        found.push(text);
                    }
                    found.push(format!("{event:?}"));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_layout_changes_no_content(compact in tree()) {
            prop_assert_eq!(events(&indent(&compact)), events(&compact));
        }
    }
}
