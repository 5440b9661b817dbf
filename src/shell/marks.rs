//! Marks in what a shell shows, for the command at the other end: it sits at a console now, and the bytes that follow have
//! this offset. So it can go on at that console by itself, at the very byte, when the agent has ended.
//!
//! ```text
//!  ESC _ NONCE ; WHAT ESC \\        a string that terminals pass over; the nonce is the command's own, so that no program
//!                                  can print one
//! ```
//! Must not know: consoles, sockets.

/// A mark is no longer than this.
const MARK_BYTES_MAX: usize = 16 * 1024;
const END: &[u8] = b"\x1b\\";

/// How marks of one session begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    head: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// At a console from now on; the text says at which, and how.
    Sits(String),
    /// What follows was shown there, from this offset on.
    Shown(u64),
    /// What follows was not.
    Words,
    Left,
}

impl Marks {
    pub fn new(nonce: &str) -> Self {
        Self { head: format!("\x1b_{nonce};").into_bytes() }
    }

    pub fn encode(&self, mark: &Mark) -> Vec<u8> {
        let what = match mark {
            Mark::Sits(seat) => format!("s{seat}"),
            Mark::Shown(offset) => format!("o{offset}"),
            Mark::Words => "w".to_owned(),
            Mark::Left => "l".to_owned(),
        };
        [&self.head, what.as_bytes(), END].concat()
    }
}

fn decode(what: &[u8]) -> Option<Mark> {
    let (kind, rest) = std::str::from_utf8(what).ok()?.split_at_checked(1)?;
    Some(match kind {
        "s" => Mark::Sits(rest.to_owned()),
        "o" => Mark::Shown(rest.parse().ok()?),
        "w" => Mark::Words,
        "l" => Mark::Left,
        _ => return None,
    })
}

/// Takes the marks out of what comes.
#[derive(Debug)]
pub struct Reader {
    marks: Marks,
    /// What may be the beginning of a mark.
    held: Vec<u8>,
    seat: Option<Sat>,
}

/// Where somebody sits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sat {
    pub seat: String,
    /// Of the next byte; `None` before the first.
    pub offset: Option<u64>,
    counts: bool,
}

impl Reader {
    pub fn new(marks: Marks) -> Self {
        Self { marks, held: Vec::new(), seat: None }
    }

    /// What of it is to be shown now.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut shown = Vec::new();
        loop {
            let head = &self.marks.head;
            let Some(at) = self.held.windows(head.len()).position(|window| window == head.as_slice()) else {
                let kept = (1..head.len()).rev().find(|length| self.held.ends_with(&head[..*length])).unwrap_or(0);
                let count = self.held.len() - kept;
                self.show(count, &mut shown);
                return shown;
            };
            let head_length = head.len();
            self.show(at, &mut shown);
            let rest = &self.held[head_length..];
            let Some(end) = rest.windows(END.len()).position(|window| window == END) else {
                if self.held.len() > MARK_BYTES_MAX {
                    self.held.clear();
                }
                return shown;
            };
            match decode(&rest[..end]) {
                Some(Mark::Sits(seat)) => self.seat = Some(Sat { seat, offset: None, counts: false }),
                Some(Mark::Left) => self.seat = None,
                Some(Mark::Shown(offset)) => {
                    if let Some(sat) = &mut self.seat {
                        (sat.offset, sat.counts) = (Some(offset), true);
                    }
                }
                Some(Mark::Words) => {
                    if let Some(sat) = &mut self.seat {
                        sat.counts = false;
                    }
                }
                None => {}
            }
            self.held.drain(..head_length + end + END.len());
        }
    }

    /// Nothing comes any more: what is still to be shown, and the seat if there was one. Who goes on at that is shown there
    /// what may have been the beginning of a mark.
    pub fn finish(mut self) -> (Vec<u8>, Option<Sat>) {
        let held = if self.seat.is_none() { std::mem::take(&mut self.held) } else { Vec::new() };
        (held, self.seat)
    }

    fn show(&mut self, count: usize, shown: &mut Vec<u8>) {
        shown.extend(self.held.drain(..count));
        if let Some(Sat { offset: Some(offset), counts: true, .. }) = &mut self.seat {
            *offset += count as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: u64 = 1000;

    fn marks() -> Marks {
        Marks::new("z")
    }

    proptest! {
        /// However the stream is cut into pieces, and wherever it ends: what was shown is what was printed so far, and the
        /// offset is that of the next byte.
        #[test]
        fn what_is_shown_is_what_was_printed_and_the_offset_is_that_of_the_next_byte(
            pieces in proptest::collection::vec((any::<bool>(), "[a-c\\x1b_;\\\\]{0,12}"), 0..8),
            cuts in proptest::collection::vec(1_usize..30, 0..20),
            thousandths in 0_usize..=1000,
        ) {
            let mut stream = marks().encode(&Mark::Sits("one".to_owned()));
            // Each byte, and whether it is one of the console.
            let mut printed: Vec<(u8, bool)> = Vec::new();
            let of_console = |printed: &[(u8, bool)]| printed.iter().filter(|(_, is_shown)| *is_shown).count() as u64;
            for (is_shown, text) in &pieces {
                let offset = FIRST + of_console(&printed);
                stream.extend(marks().encode(&if *is_shown { Mark::Shown(offset) } else { Mark::Words }));
                stream.extend(text.bytes());
                printed.extend(text.bytes().map(|byte| (byte, *is_shown)));
            }
            let mut reader = Reader::new(marks());
            let (mut shown, mut rest) = (Vec::new(), &stream[..stream.len() * thousandths / 1000]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                shown.extend(reader.take(piece));
                rest = after;
            }
            shown.extend(reader.take(rest));
            let (last, sat) = reader.finish();
            shown.extend(last);
            if let Some(sat) = sat {
                let bytes: Vec<u8> = printed.iter().map(|(byte, _)| *byte).collect();
                prop_assert!(bytes.starts_with(&shown));
                prop_assert_eq!(sat.offset.unwrap_or(FIRST), FIRST + of_console(&printed[..shown.len()]));
                prop_assert!(thousandths < 1000 || shown.len() + marks().head.len() > bytes.len());
            }
        }
    }

    #[test]
    fn a_seat_is_known_until_it_is_left() {
        let mut reader = Reader::new(marks());
        let mut stream = marks().encode(&Mark::Sits("one".to_owned()));
        stream.extend(marks().encode(&Mark::Shown(7)));
        stream.extend(b"abc");
        assert_eq!(reader.take(&stream), b"abc");
        assert_eq!(reader.seat.as_ref().map(|sat| (sat.seat.as_str(), sat.offset)), Some(("one", Some(10))));
        assert_eq!(reader.take(&marks().encode(&Mark::Left)), b"");
        assert_eq!(reader.finish(), (Vec::new(), None));
    }
}
