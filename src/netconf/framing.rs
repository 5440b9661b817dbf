//! Where one message ends and the next begins (RFC 6242): end-of-message and chunked framing, a piece at a time.
//!
//! ```text
//!  chunked:  Start --"\n#"--> Size --digits "\n"--> Data --all read--> Between --"\n#"--> Size
//!                                                                         |
//!                                                     "\n##\n": message done, back to Start
//! ```
//!
//! Knows no XML. Bytes may arrive split anywhere; memory held is the message under way and nothing else.

use std::io::Write as _;

use bytes::Bytes;

/// The default for the largest message a client may send.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// RFC 6242 section 4.2: a chunk-size is at most 4294967295.
const CHUNK_BYTES_MAX: usize = 4_294_967_295;

/// Digits of [`CHUNK_BYTES_MAX`].
const CHUNK_DIGITS_MAX: usize = 10;

/// A message buffer starts no larger than this, whatever size a chunk header promises.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

const END_OF_MESSAGE: &[u8] = b"]]>]]>";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// RFC 6242 section 4.3: every message is followed by `]]>]]>`.
    EndOfMessage,
    /// RFC 6242 section 4.2.
    Chunked,
}

/// After any of these the boundaries are lost and RFC 6242 section 4.2 wants the transport closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    #[error("a message is larger than {limit} bytes")]
    MessageTooBig { limit: usize },
    #[error("byte {found:#04x} stands where a chunk header needs {expected}")]
    BadHeader { expected: &'static str, found: u8 },
    #[error("a chunk size is zero, has a leading zero or is over {CHUNK_BYTES_MAX}")]
    BadChunkSize,
    #[error("a message ends without a chunk")]
    NoChunk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    EndOfMessage,
    /// Before a message; extra line feeds are let pass.
    Start,
    /// A line feed has been seen; `first` tells whether the message still has no chunk.
    LineFeed {
        first: bool,
    },
    /// After the `#`.
    Hash {
        first: bool,
    },
    Size {
        digits: usize,
        size: usize,
    },
    Data {
        left: usize,
    },
    Between,
    /// After `##`.
    End,
}

/// Turns pieces of a stream into messages.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    message: Vec<u8>,
    message_bytes_max: usize,
}

impl Decoder {
    /// A session begins with end-of-message framing (RFC 6242 section 4.1).
    pub fn new(message_bytes_max: usize) -> Self {
        Self { state: State::EndOfMessage, message: Vec::new(), message_bytes_max }
    }

    /// Changes the framing, between two messages, and the bound of what follows.
    pub fn switch(&mut self, framing: Framing, message_bytes_max: usize) {
        debug_assert!(self.message.is_empty(), "framing changes between messages");
        self.message_bytes_max = message_bytes_max;
        self.state = match framing {
            Framing::EndOfMessage => State::EndOfMessage,
            Framing::Chunked => State::Start,
        };
    }

    /// Whether the stream stands in the middle of a message.
    pub fn is_amid_message(&self) -> bool {
        !self.message.is_empty() || !matches!(self.state, State::EndOfMessage | State::Start | State::LineFeed { .. })
    }

    /// Takes bytes off the front of `input` until a message is complete (`Some`) or the input is used up (`None`).
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, FramingFault> {
        while let Some(&byte) = input.first() {
            let state = match self.state {
                State::EndOfMessage => return self.until_marker(input),
                State::Data { left } => {
                    let take = left.min(input.len());
                    self.append(&input[..take])?;
                    *input = &input[take..];
                    self.state = if take == left { State::Between } else { State::Data { left: left - take } };
                    continue;
                }
                State::Start => match byte {
                    b'\n' => State::LineFeed { first: true },
                    found => return Err(FramingFault::BadHeader { expected: "a line feed", found }),
                },
                State::LineFeed { first } => match byte {
                    b'#' => State::Hash { first },
                    // Some clients end their hello with a line feed of its own.
                    b'\n' if first => State::LineFeed { first },
                    found => return Err(FramingFault::BadHeader { expected: "`#`", found }),
                },
                State::Hash { first } => match byte {
                    b'#' if first => return Err(FramingFault::NoChunk),
                    b'#' => State::End,
                    b'1'..=b'9' => State::Size { digits: 1, size: usize::from(byte - b'0') },
                    b'0' => return Err(FramingFault::BadChunkSize),
                    found => return Err(FramingFault::BadHeader { expected: "a chunk size", found }),
                },
                State::Size { digits, size } => match byte {
                    b'0'..=b'9' if digits < CHUNK_DIGITS_MAX => {
                        State::Size { digits: digits + 1, size: size * 10 + usize::from(byte - b'0') }
                    }
                    b'0'..=b'9' => return Err(FramingFault::BadChunkSize),
                    b'\n' => self.data(size)?,
                    found => return Err(FramingFault::BadHeader { expected: "a digit or a line feed", found }),
                },
                State::Between => match byte {
                    b'\n' => State::LineFeed { first: false },
                    found => return Err(FramingFault::BadHeader { expected: "a line feed", found }),
                },
                State::End => match byte {
                    b'\n' => {
                        *input = &input[1..];
                        self.state = State::Start;
                        return Ok(Some(std::mem::take(&mut self.message).into()));
                    }
                    found => return Err(FramingFault::BadHeader { expected: "a line feed", found }),
                },
            };
            self.state = state;
            *input = &input[1..];
        }
        Ok(None)
    }

    fn data(&mut self, size: usize) -> Result<State, FramingFault> {
        if size > CHUNK_BYTES_MAX {
            return Err(FramingFault::BadChunkSize);
        }
        // Refused by the header already: nobody sends 4 GB to learn that it is too much.
        if size > self.message_bytes_max - self.message.len() {
            return Err(FramingFault::MessageTooBig { limit: self.message_bytes_max });
        }
        if self.message.is_empty() {
            self.message.reserve_exact(size.min(RESERVE_BYTES_MAX));
        }
        Ok(State::Data { left: size })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FramingFault> {
        if bytes.len() > self.message_bytes_max.saturating_sub(self.message.len()) {
            return Err(FramingFault::MessageTooBig { limit: self.message_bytes_max });
        }
        self.message.extend_from_slice(bytes);
        Ok(())
    }

    fn until_marker(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, FramingFault> {
        // The marker may have begun in an earlier piece: finish it first, a byte at a time.
        while !self.message.is_empty() && marker_begun(&self.message) > 0 {
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            // The last byte of the marker is dropped with it, so it needs no room.
            if byte == b'>' && marker_begun(&self.message) == END_OF_MESSAGE.len() - 1 {
                *input = rest;
                return Ok(Some(self.finish(END_OF_MESSAGE.len() - 1)?));
            }
            self.append_marked(&[byte])?;
            *input = rest;
        }
        if let Some(at) = find_marker(input) {
            self.append_marked(&input[..at])?;
            *input = &input[at + END_OF_MESSAGE.len()..];
            return Ok(Some(self.finish(0)?));
        }
        self.append_marked(input)?;
        *input = &[];
        Ok(None)
    }

    /// Like `append`, with room for a marker that is under way.
    fn append_marked(&mut self, bytes: &[u8]) -> Result<(), FramingFault> {
        let room = self.message_bytes_max.saturating_add(END_OF_MESSAGE.len()).saturating_sub(self.message.len());
        if bytes.len() > room {
            return Err(FramingFault::MessageTooBig { limit: self.message_bytes_max });
        }
        self.message.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, marker_bytes: usize) -> Result<Bytes, FramingFault> {
        let mut message = std::mem::take(&mut self.message);
        message.truncate(message.len() - marker_bytes);
        if message.len() > self.message_bytes_max {
            return Err(FramingFault::MessageTooBig { limit: self.message_bytes_max });
        }
        Ok(message.into())
    }
}

/// How many bytes at the end of `message` may be the beginning of the marker.
fn marker_begun(message: &[u8]) -> usize {
    (1..END_OF_MESSAGE.len()).rev().find(|&n| message.ends_with(&END_OF_MESSAGE[..n])).unwrap_or(0)
}

fn find_marker(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == b']') {
        if bytes[from + at..].starts_with(END_OF_MESSAGE) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Frames one message given in parts; large parts are handed on, not copied.
pub fn encode(framing: Framing, parts: impl IntoIterator<Item = Bytes>, mut put: impl FnMut(Bytes)) {
    let mut header = Vec::with_capacity(16);
    for mut part in parts {
        if framing == Framing::EndOfMessage {
            put(part);
            continue;
        }
        while !part.is_empty() {
            let piece = part.split_to(part.len().min(CHUNK_BYTES_MAX));
            header.clear();
            write!(header, "\n#{}\n", piece.len()).expect("writing to a Vec cannot fail");
            put(Bytes::copy_from_slice(&header));
            put(piece);
        }
    }
    put(match framing {
        Framing::EndOfMessage => Bytes::from_static(END_OF_MESSAGE),
        Framing::Chunked => Bytes::from_static(b"\n##\n"),
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoder(framing: Framing, limit: usize) -> Decoder {
        let mut decoder = Decoder::new(limit);
        decoder.switch(framing, limit);
        decoder
    }

    fn decode(framing: Framing, limit: usize, pieces: &[&[u8]]) -> Result<Vec<Bytes>, FramingFault> {
        let mut decoder = decoder(framing, limit);
        let mut messages = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(message) = decoder.next(&mut piece)? {
                messages.push(message);
            }
            assert!(piece.is_empty());
        }
        Ok(messages)
    }

    #[test]
    fn chunks_of_one_message_are_joined() {
        let found = decode(Framing::Chunked, 100, &[b"\n#3\nabc\n#1\nd\n##\n\n#2\nxy\n##\n"]);
        assert_eq!(found, Ok(vec![Bytes::from("abcd"), Bytes::from("xy")]));
    }

    #[test]
    fn a_chunk_may_hold_what_looks_like_framing() {
        let found = decode(Framing::Chunked, 100, &[b"\n#9\n\n##\n]]>]]\n##\n"]);
        assert_eq!(found, Ok(vec![Bytes::from("\n##\n]]>]]")]));
    }

    #[test]
    fn extra_line_feeds_before_a_message_pass() {
        assert_eq!(decode(Framing::Chunked, 100, &[b"\n\n\n#1\na\n##\n"]), Ok(vec![Bytes::from("a")]));
    }

    #[test]
    fn illegal_chunk_headers_are_faults() {
        use FramingFault::*;
        let cases: [(&[u8], FramingFault); 9] = [
            (b"\n#0\n", BadChunkSize),
            (b"\n#01\na", BadChunkSize),
            (b"\n#4294967296\n", BadChunkSize),
            (b"\n#11111111111\n", BadChunkSize),
            (b"\n##\n", NoChunk),
            (b"\n#-1\n", BadHeader { expected: "a chunk size", found: b'-' }),
            (b"\n#1x\n", BadHeader { expected: "a digit or a line feed", found: b'x' }),
            (b"\n#1\nab", BadHeader { expected: "a line feed", found: b'b' }),
            (b"<rpc/>", BadHeader { expected: "a line feed", found: b'<' }),
        ];
        for (bytes, fault) in cases {
            assert_eq!(decode(Framing::Chunked, usize::MAX, &[bytes]), Err(fault), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_header() {
        assert_eq!(
            decode(Framing::Chunked, 10, &[b"\n#6\nabcdef\n#5\n"]),
            Err(FramingFault::MessageTooBig { limit: 10 })
        );
        assert_eq!(decode(Framing::EndOfMessage, 4, &[b"abcde]]>]]>"]), Err(FramingFault::MessageTooBig { limit: 4 }));
        assert_eq!(decode(Framing::EndOfMessage, 4, &[&[b'a'; 11]]), Err(FramingFault::MessageTooBig { limit: 4 }));
        assert_eq!(decode(Framing::EndOfMessage, 4, &[b"abcd]]>]]>"]), Ok(vec![Bytes::from("abcd")]));
    }

    #[test]
    fn a_marker_that_starts_over_is_found() {
        assert_eq!(decode(Framing::EndOfMessage, 100, &[b"a]]>]", b"]]>]]>b]]>]]>"]).unwrap().len(), 2);
        assert_eq!(decode(Framing::EndOfMessage, 100, &[b"a]", b"]]>]]>"]), Ok(vec![Bytes::from("a]")]));
    }

    fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![Just(b']'), Just(b'>'), Just(b'\n'), Just(b'#'), any::<u8>()];
        prop::collection::vec(prop::collection::vec(byte, 1..40), 1..6)
    }

    fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&stream[from..cut]);
            from = cut;
        }
        pieces.push(&stream[from..]);
        pieces
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            bodies in bodies(), cuts in prop::collection::vec(any::<usize>(), 0..20), chunked: bool, parts in 1_usize..9,
        ) {
            let framing = if chunked { Framing::Chunked } else { Framing::EndOfMessage };
            let mut stream = Vec::new();
            for body in &bodies {
                let parts = body.chunks(parts).map(Bytes::copy_from_slice);
                encode(framing, parts, |bytes| stream.extend_from_slice(&bytes));
            }
            let whole = decode(framing, 1 << 20, &[&stream]).unwrap();
            prop_assert_eq!(&decode(framing, 1 << 20, &pieces(&stream, &cuts)).unwrap(), &whole);
            prop_assert_eq!(&decode(framing, 1 << 20, &stream.chunks(1).collect::<Vec<_>>()).unwrap(), &whole);
            if chunked {
                prop_assert_eq!(whole, bodies);
            }
        }

        #[test]
        fn random_bytes_end_or_are_used_up(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'#'), b'0'..=b'9', any::<u8>()], 0..200),
            chunked: bool,
        ) {
            let framing = if chunked { Framing::Chunked } else { Framing::EndOfMessage };
            let whole = decode(framing, 50, &[&bytes]);
            let single = decode(framing, 50, &bytes.chunks(1).collect::<Vec<_>>());
            if let (Ok(whole), Ok(single)) = (&whole, &single) {
                prop_assert_eq!(whole, single);
            }
        }
    }
}
