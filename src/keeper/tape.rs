//! The last bytes of a console in memory that outlives the keeper, with what is known of their way into the log.
//!
//! ```text
//!  bytes ....kept.............|end......ahead (all CLEAR)......
//!                  |logged    ^ the next read goes here
//! ```
//! What is read is read straight into the room ahead, then `end` is published, then the log is written, then `logged`
//! is. A keeper may be killed between any two of these, also by the very read: the room ahead was filled with a byte that
//! text never holds, so the successor sees how far the kernel came. Where the log stood before the write is published
//! too, so the successor writes just what is missing. Only what ends in `CLEAR` itself, in that one read, is cut short.
//!
//! Must not know: whose bytes they are, where they go to.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::console::ring::{Ring, Store};
use crate::sys::mapped::{Mapped, WORDS, WORDS_BYTES};

/// What each console has from its first byte on: four pages with the words before it. A thousand of them are
/// [`TAPES_BYTES_MAX`].
pub const TAPE_BYTES_FIRST: usize = 16 * 1024 - WORDS_BYTES;
/// What one may grow to, for a client that is behind.
pub const TAPE_BYTES_MAX: usize = 1024 * 1024;
/// What one grows to for a program that prints a lot at a time.
pub const TAPE_BYTES_BUSY: usize = 256 * 1024;
/// All of them together; beyond, none grows.
pub const TAPES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// No text in UTF-8 holds it.
const CLEAR: u8 = 0xfe;
const MAGIC: u64 = 0x5072_6f63_796f_6e02;

// The words before the bytes.
const W_MAGIC: usize = 0;
const W_END: usize = 1;
/// The offset of the first byte that this memory has ever held.
const W_FLOOR: usize = 2;
const W_AHEAD: usize = 3;
/// Which of the two notes holds.
const W_NOTE: usize = 4;
const W_NOTES: usize = 5;
const NOTE_WORDS: usize = 5;
/// Whether somebody watches.
const W_WATCHED: usize = W_NOTES + 2 * NOTE_WORDS;
const _: () = assert!(W_WATCHED < WORDS);

/// Where bytes come from, and so which log they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The server's own words: in no log.
    Server,
    Output,
    Errors,
}

/// A log file at a moment: which, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub inode: u64,
    pub bytes: u64,
}

/// How a log that has stamps is written: with this one the bytes can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    pub at_ms: u64,
    /// The line that is gone on with has its stamp.
    pub inside_line: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    logged: u64,
    origin: Origin,
    log: Position,
    written: Written,
}

/// What a predecessor may not have logged any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Unlogged {
    pub origin: Origin,
    /// The log as it was before any of these.
    pub log: Position,
    pub written: Written,
    pub bytes: Vec<u8>,
    /// Somebody watched, and will want to go on.
    pub was_watched: bool,
}

#[derive(Debug)]
pub enum Memory {
    Shared(Mapped),
    /// Where there is no descriptor left: it works, and does not outlive the keeper.
    Own(Vec<u8>),
}

impl Store for Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(mapped) => mapped.bytes(),
            Self::Own(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Shared(mapped) => mapped.bytes_mut(),
            Self::Own(bytes) => bytes,
        }
    }
}

impl Memory {
    fn new(bytes: usize) -> Self {
        Mapped::new("procyon-console", bytes).map_or_else(|_| Self::Own(vec![0; bytes]), Self::Shared)
    }

    fn set(&self, word: usize, value: u64) {
        if let Self::Shared(mapped) = self {
            mapped.set_word(word, value);
        }
    }
}

#[derive(Debug)]
pub struct Tape {
    ring: Ring<Memory>,
    note: Note,
    /// Which of the two notes is the valid one.
    side: u64,
    /// All bytes of programs that ever came.
    taken: u64,
    is_watched: bool,
}

impl Tape {
    pub fn new() -> Self {
        let memory = Memory::new(TAPE_BYTES_FIRST);
        let ahead = ahead_of(memory.bytes().len());
        let (origin, log, written) = (Origin::Server, Position::default(), Written::default());
        let note = Note { logged: 0, origin, log, written };
        let ring = Ring::in_store(memory, 0, 0, ahead);
        let mut tape = Self { ring, note, side: 0, taken: 0, is_watched: false };
        tape.lay_out();
        tape
    }

    /// What a predecessor has left: its tape, and what may be missing in the log. `None` if it is none.
    pub fn adopt(fd: OwnedFd) -> Option<(Self, Unlogged)> {
        let mapped = Mapped::of(fd).ok()?;
        if mapped.word(W_MAGIC) != MAGIC {
            return None;
        }
        let (end, floor) = (mapped.word(W_END), mapped.word(W_FLOOR));
        let ahead = usize::try_from(mapped.word(W_AHEAD)).ok().filter(|ahead| *ahead < mapped.bytes().len())?;
        let side = mapped.word(W_NOTE) & 1;
        let note = read_note(&mapped, side)?;
        let kept = usize::try_from(end.checked_sub(floor)?).unwrap_or(usize::MAX);
        let is_watched = mapped.word(W_WATCHED) != 0;
        let ring = Ring::in_store(Memory::Shared(mapped), end, kept, ahead);
        let mut tape = Self { ring, note, side, taken: end, is_watched };
        // The read that the predecessor did not come back from. Its own words it may say again.
        if tape.note.origin != Origin::Server {
            let came = tape.ring.room().iter().rposition(|byte| *byte != CLEAR).map_or(0, |last| last + 1);
            tape.came(came);
        }
        let end = tape.ring.end();
        tape.ring.fill(end, tape.ring.ahead(), CLEAR);
        let bytes = tape.ring.copy_from(tape.note.logged);
        let was_watched = tape.is_watched;
        tape.set_watched(false);
        let Note { origin, log, written, .. } = tape.note;
        let unlogged = Unlogged { origin, log, written, bytes, was_watched };
        Some((tape, unlogged))
    }

    /// To be left with the custodian.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self.ring.store() {
            Memory::Shared(mapped) => Some(mapped.as_fd()),
            Memory::Own(_) => None,
        }
    }

    pub fn ring(&self) -> &Ring<Memory> {
        &self.ring
    }

    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// So that a successor knows whether somebody will come back.
    pub fn set_watched(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
        self.ring.store().set(W_WATCHED, u64::from(is_watched));
    }

    /// From here on bytes come from there, and its log is so long.
    pub fn begin(&mut self, origin: Origin, log: Position) {
        self.set_note(Note { logged: self.ring.end(), origin, log, ..self.note });
    }

    /// Where the next read goes.
    pub fn room(&mut self) -> &mut [u8] {
        self.ring.room()
    }

    /// So many bytes have been read into the room.
    pub fn came(&mut self, count: usize) {
        let end = self.ring.end();
        // First the room of the next read is cleared, then these bytes count: in between, a successor counts them itself.
        self.ring.fill(end + self.ring.ahead() as u64, count, CLEAR);
        self.ring.came(count);
        self.taken += count as u64;
        self.ring.store().set(W_END, self.ring.end());
    }

    /// How much has come and is not logged.
    pub fn unlogged(&self) -> usize {
        usize::try_from(self.ring.end() - self.note.logged).unwrap_or(usize::MAX)
    }

    /// The next piece that belongs into the log; [`Self::logged`] with its length takes it off.
    pub fn to_log(&self) -> &[u8] {
        self.ring.piece(self.note.logged).bytes
    }

    /// From here on the log is written with such a stamp.
    pub fn written_as(&mut self, written: Written) {
        if self.note.written != written {
            self.set_note(Note { written, ..self.note });
        }
    }

    /// So many bytes more are in the log, which is so long now.
    pub fn logged(&mut self, count: usize, log: Position) {
        self.set_note(Note { logged: self.note.logged + count as u64, log, ..self.note });
    }

    /// The server's own words, for all who watch. What has come before must be logged.
    pub fn say(&mut self, words: &[u8]) {
        let (logged, log) = (self.ring.end(), Position::default());
        self.set_note(Note { logged, origin: Origin::Server, log, ..self.note });
        self.ring.take_in(words);
        let end = self.ring.end();
        self.ring.fill(end, self.ring.ahead(), CLEAR);
        self.ring.store().set(W_END, end);
        self.set_note(Note { logged: end, ..self.note });
    }

    /// Goes on in memory of another size. The one before is let go when the new one is in safe keeping.
    pub fn resize(&mut self, bytes: usize) -> Memory {
        let memory = Memory::new(bytes);
        let ahead = ahead_of(memory.bytes().len());
        let before = self.ring.move_to(memory, ahead);
        self.lay_out();
        before
    }

    fn lay_out(&mut self) {
        let end = self.ring.end();
        self.ring.fill(end, self.ring.ahead(), CLEAR);
        let memory = self.ring.store();
        memory.set(W_END, end);
        memory.set(W_FLOOR, self.ring.first());
        memory.set(W_AHEAD, self.ring.ahead() as u64);
        memory.set(W_WATCHED, u64::from(self.is_watched));
        self.set_note(self.note);
        self.ring.store().set(W_MAGIC, MAGIC);
    }

    /// The one note is written whole, then it becomes the valid one.
    fn set_note(&mut self, note: Note) {
        self.note = note;
        let side = 1 - self.side;
        let at = W_NOTES + if side == 0 { 0 } else { NOTE_WORDS };
        let memory = self.ring.store();
        let written = note.written.at_ms << 1 | u64::from(note.written.inside_line);
        let words = [note.logged, note.origin.number(), note.log.inode, note.log.bytes, written];
        for (word, value) in words.into_iter().enumerate() {
            memory.set(at + word, value);
        }
        memory.set(W_NOTE, side);
        self.side = side;
    }
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Origin {
    fn number(self) -> u64 {
        match self {
            Self::Server => 0,
            Self::Output => 1,
            Self::Errors => 2,
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        [Self::Server, Self::Output, Self::Errors].into_iter().find(|origin| origin.number() == number)
    }
}

fn read_note(mapped: &Mapped, side: u64) -> Option<Note> {
    let at = W_NOTES + if side == 0 { 0 } else { NOTE_WORDS };
    Some(Note {
        logged: mapped.word(at),
        origin: Origin::from_number(mapped.word(at + 1))?,
        log: Position { inode: mapped.word(at + 2), bytes: mapped.word(at + 3) },
        written: Written { at_ms: mapped.word(at + 4) >> 1, inside_line: mapped.word(at + 4) & 1 == 1 },
    })
}

/// A quarter is kept free for the next read.
fn ahead_of(capacity: usize) -> usize {
    capacity / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_into(tape: &mut Tape, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = tape.room();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            tape.came(count);
            rest = &rest[count..];
        }
    }

    fn successor(tape: Tape) -> (Tape, Unlogged) {
        Tape::adopt(tape.fd().unwrap().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn a_successor_finds_the_history_and_what_is_not_logged() {
        let mut tape = Tape::new();
        let at = |bytes| Position { inode: 7, bytes };
        tape.begin(Origin::Output, at(100));
        read_into(&mut tape, b"first\n");
        tape.logged(6, at(106));
        read_into(&mut tape, b"second\n");
        tape.set_watched(true);
        let (tape, unlogged) = successor(tape);
        assert_eq!(tape.ring().copy_from(0), b"first\nsecond\n");
        assert_eq!(
            unlogged,
            Unlogged {
                origin: Origin::Output,
                log: at(106),
                written: Written::default(),
                bytes: b"second\n".to_vec(),
                was_watched: true
            }
        );
    }

    #[test]
    fn a_read_that_nobody_came_back_from_is_found() {
        let mut tape = Tape::new();
        tape.begin(Origin::Errors, Position::default());
        read_into(&mut tape, b"one ");
        tape.logged(4, Position::default());
        tape.room()[..3].copy_from_slice(b"two");
        let (mut tape, unlogged) = successor(tape);
        assert_eq!((unlogged.origin, unlogged.bytes), (Origin::Errors, b"two".to_vec()));
        read_into(&mut tape, b" three");
        assert_eq!(tape.ring().copy_from(0), b"one two three");
    }

    #[test]
    fn words_of_the_server_are_in_no_log() {
        let mut tape = Tape::new();
        tape.say(b"@@@ hello\r\n");
        tape.begin(Origin::Output, Position::default());
        read_into(&mut tape, b"x");
        let (tape, unlogged) = successor(tape);
        assert_eq!(unlogged.bytes, b"x");
        assert_eq!(tape.ring().copy_from(0), b"@@@ hello\r\nx");
    }

    #[test]
    fn memory_that_is_no_tape_is_not_taken_for_one() {
        let mapped = Mapped::new("test", 4096).unwrap();
        assert!(Tape::adopt(mapped.as_fd().try_clone_to_owned().unwrap()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn whenever_the_keeper_dies_the_log_becomes_whole(
            pieces in proptest::collection::vec((0_usize..6000, 0_u8..5), 1..40),
        ) {
            let (mut tape, mut log, mut printed) = (Tape::new(), Vec::new(), Vec::new());
            let position = |log: &Vec<u8>| Position { inode: 1, bytes: log.len() as u64 };
            let mut next = 0_u8;
            for (length, what) in pieces {
                tape.begin(Origin::Output, position(&log));
                let room = tape.room();
                let count = length.min(room.len());
                for byte in &mut room[..count] {
                    next = (next + 1) % 250;
                    *byte = next;
                    printed.push(next);
                }
                if what == 0 {
                    // Killed in the read.
                    let (after, unlogged) = successor(tape);
                    log.extend(&unlogged.bytes);
                    tape = after;
                    continue;
                }
                tape.came(count);
                if what == 1 {
                    // Killed after some of it was written.
                    let piece = tape.to_log();
                    log.extend(&piece[..piece.len() / 2]);
                    let (after, unlogged) = successor(tape);
                    let written = usize::try_from(log.len() as u64 - unlogged.log.bytes).unwrap();
                    log.extend(&unlogged.bytes[written..]);
                    tape = after;
                    continue;
                }
                while tape.unlogged() > 0 {
                    let piece = tape.to_log().to_vec();
                    log.extend(&piece);
                    tape.logged(piece.len(), position(&log));
                }
                match what {
                    2 => tape.say(b"@@@ words\r\n"),
                    3 => drop(tape.resize(64 * 1024)),
                    _ => {}
                }
            }
            proptest::prop_assert_eq!(log, printed);
        }
    }
}
