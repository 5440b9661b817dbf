//! Cutting a piece of XML out of a message so that it can be parsed alone: the namespace declarations in scope around
//! it are added to each of its top elements, and nothing is copied where nothing is to be added.
//!
//! Knows offsets; the walk that finds them is `xml.rs`.

use bytes::{Bytes, BytesMut};

use super::xml::{Parsed, attributes, declared_prefix, too_big};
use crate::northbound::Fragment;

/// What declarations added to the top elements of a fragment may add to it beyond the size of the message.
const INJECTED_BYTES_MAX: usize = 1024 * 1024;

/// A fragment, and what its taker may want to know of it.
pub(super) struct Cut {
    pub(super) fragment: Fragment,
    pub(super) elements: usize,
    /// Whether text other than white space stands between the top elements.
    pub(super) has_text: bool,
}

pub(super) struct Cutter<'c, 'm> {
    message: &'c Bytes,
    text: &'m str,
    declarations: &'c [(&'m str, &'m str)],
    /// Where what has not been copied begins.
    from: usize,
    copied: BytesMut,
    elements: usize,
    pub(super) has_text: bool,
}

impl<'c, 'm> Cutter<'c, 'm> {
    pub(super) fn new(message: &'c Bytes, text: &'m str, from: usize, declarations: &'c [(&'m str, &'m str)]) -> Self {
        Self { message, text, declarations, from, copied: BytesMut::new(), elements: 0, has_text: false }
    }

    pub(super) fn top(&mut self, start: usize, inside: &'m str, qualified_bytes: usize) -> Parsed<()> {
        self.elements += 1;
        let own = if inside.len() > qualified_bytes { attributes(inside, qualified_bytes)? } else { Vec::new() };
        let after_name = start + 1 + qualified_bytes;
        for &(prefix, raw) in self.declarations {
            if own.iter().any(|(key, _)| declared_prefix(key) == Some(prefix)) {
                continue;
            }
            self.copied.extend_from_slice(&self.text.as_bytes()[self.from..after_name]);
            self.from = after_name;
            let quote: &[u8] = if raw.contains('"') { b"'" } else { b"\"" };
            let colon: &[u8] = if prefix.is_empty() { b"" } else { b":" };
            for piece in [b" xmlns", colon, prefix.as_bytes(), b"=", quote, raw.as_bytes(), quote] {
                self.copied.extend_from_slice(piece);
            }
            if self.copied.len() > self.text.len() + INJECTED_BYTES_MAX {
                return Err(too_big("namespace declarations outside of the content are too many for its elements"));
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, end: usize) -> Parsed<Cut> {
        let fragment = if self.copied.is_empty() {
            self.message.slice_ref(&self.text.as_bytes()[self.from..end])
        } else {
            self.copied.extend_from_slice(&self.text.as_bytes()[self.from..end]);
            self.copied.freeze()
        };
        Ok(Cut { fragment: Fragment(fragment), elements: self.elements, has_text: self.has_text })
    }
}
