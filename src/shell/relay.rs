//! What `procyon shell` and the agent tell each other over the local socket: a line that asks, then frames.
//!
//! ```text
//!  kind (one byte)  length (four bytes, big end first)  content
//! ```
//! The shell itself runs in the agent; the command on this side has a terminal and no decisions. Pure.

use serde::{Deserialize, Serialize};

/// A longer frame is none of ours.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// The line that asks is no longer than this.
pub const ASKING_BYTES_MAX: u64 = 4 << 20;
const HEAD_BYTES: usize = 5;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// Lines to carry out; without them, input is read.
    pub commands: Option<String>,
    pub terminal: Option<Window>,
    /// What marks in the output begin with, if they are wanted (`shell/marks.rs`).
    #[serde(default)]
    pub marks: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    pub kind: String,
    pub columns: u32,
    pub rows: u32,
    /// Its user wants colours.
    #[serde(default)]
    pub has_colours: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Input(Vec<u8>),
    EndOfInput,
    Resized { columns: u32, rows: u32 },
    Output(Vec<u8>),
    Errors(Vec<u8>),
    Exit(u32),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("a frame is longer than {FRAME_BYTES_MAX} bytes")]
    TooLong,
    #[error("a frame of kind {0:#04x} with {1} bytes is none")]
    Unknown(u8, usize),
}

impl Frame {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, content): (u8, Vec<u8>) = match self {
            Frame::Input(bytes) => (b'i', bytes.clone()),
            Frame::EndOfInput => (b'.', Vec::new()),
            Frame::Resized { columns, rows } => (b'w', [columns.to_be_bytes(), rows.to_be_bytes()].concat()),
            Frame::Output(bytes) => (b'o', bytes.clone()),
            Frame::Errors(bytes) => (b'e', bytes.clone()),
            Frame::Exit(status) => (b'x', status.to_be_bytes().to_vec()),
        };
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        [&[kind][..], &length.to_be_bytes(), &content].concat()
    }

    /// The first frame of `bytes`, and how many of them it took; `None` where more have to come.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameFault> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(FrameFault::TooLong);
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let number = |at: usize| content.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_be_bytes);
        let frame = match (head[0], length) {
            (b'i', _) => Frame::Input(content.to_vec()),
            (b'.', 0) => Frame::EndOfInput,
            (b'o', _) => Frame::Output(content.to_vec()),
            (b'e', _) => Frame::Errors(content.to_vec()),
            (b'w', 8) => Frame::Resized { columns: number(0).unwrap_or(0), rows: number(4).unwrap_or(0) },
            (b'x', 4) => Frame::Exit(number(0).unwrap_or(1)),
            (kind, _) => return Err(FrameFault::Unknown(kind, length)),
        };
        Ok(Some((frame, HEAD_BYTES + length)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_arrives_as_it_was_sent(bytes in proptest::collection::vec(any::<u8>(), 0..200), number in any::<u32>()) {
            let frames = [
                Frame::Input(bytes.clone()),
                Frame::EndOfInput,
                Frame::Resized { columns: number, rows: 24 },
                Frame::Output(bytes.clone()),
                Frame::Errors(bytes),
                Frame::Exit(number),
            ];
            for frame in frames {
                let encoded = frame.encode();
                prop_assert_eq!(Frame::decode(&encoded[..encoded.len() - 1]).unwrap(), None);
                prop_assert_eq!(Frame::decode(&encoded).unwrap(), Some((frame, encoded.len())));
            }
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Frame::decode(&bytes);
        }
    }
}
