//! What one client is to be sent: words meant for it alone, then the ring from its offset on.

use super::ring::{Ring, Store};
use super::telnet::escape;

/// Translated at a time; more waits in the ring.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Words that wait for one client; who asks without ever reading gets no further ones.
pub const WORDS_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub struct Outbox {
    /// Goes out first, as it stands.
    ready: Vec<u8>,
    sent: usize,
    offset: u64,
    lost: u64,
    /// What is shown goes out as it is, with no 0xff doubled.
    raw: bool,
}

impl Outbox {
    /// The client sees the ring from this offset on, after the words.
    pub fn new(words: Vec<u8>, offset: u64) -> Self {
        Self { ready: words, sent: 0, offset, lost: 0, raw: false }
    }

    /// For clients that do not speak telnet.
    pub fn raw(words: Vec<u8>, offset: u64) -> Self {
        Self { raw: true, ..Self::new(words, offset) }
    }

    /// Words for this client alone.
    pub fn say(&mut self, words: &[u8]) {
        if self.ready.len() - self.sent + words.len() <= WORDS_BYTES_MAX {
            self.ready.extend_from_slice(words);
        }
    }

    /// Words for this client are on their way.
    pub fn has_words(&self) -> bool {
        self.sent < self.ready.len()
    }

    /// The ring's offset up to which it has been served.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// All that it has lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Goes back (or on) to an offset of the ring.
    pub fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    pub fn is_empty<S: Store>(&self, ring: &Ring<S>) -> bool {
        self.sent == self.ready.len() && self.offset == ring.end()
    }

    /// Whether [`Self::next`] gave words; else it gave what stands in the ring at [`Self::offset`].
    pub fn gives_words(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What to send now; tell how much was sent by [`Self::taken`].
    pub fn next<'o, S: Store>(&'o mut self, ring: &'o Ring<S>) -> &'o [u8] {
        self.prepare(ring);
        self.front(ring)
    }

    /// Makes [`Self::front`] and [`Self::gives_words`] hold for what comes next.
    pub fn prepare<S: Store>(&mut self, ring: &Ring<S>) {
        if self.sent < self.ready.len() {
            return;
        }
        self.ready.clear();
        self.sent = 0;
        let piece = ring.piece(self.offset);
        if piece.lost > 0 {
            self.lost += piece.lost;
            self.offset += piece.lost;
            self.ready.extend_from_slice(format!("\r\n@@@ lost {} bytes\r\n", piece.lost).as_bytes());
            return;
        }
        let bytes = &piece.bytes[..piece.bytes.len().min(PIECE_BYTES_MAX)];
        if !self.raw && bytes.contains(&0xff) {
            self.offset += bytes.len() as u64;
            escape(bytes, &mut self.ready);
        }
    }

    pub fn front<'o, S: Store>(&'o self, ring: &'o Ring<S>) -> &'o [u8] {
        if self.gives_words() {
            return &self.ready[self.sent..];
        }
        let bytes = ring.piece(self.offset).bytes;
        &bytes[..bytes.len().min(PIECE_BYTES_MAX)]
    }

    /// So many bytes of what [`Self::next`] gave have been sent.
    pub fn taken(&mut self, count: usize) {
        if self.ready.is_empty() {
            self.offset += count as u64;
        } else {
            self.sent += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at most so many bytes at a time, until there is nothing left.
    fn receive(outbox: &mut Outbox, ring: &Ring, at_a_time: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while !outbox.is_empty(ring) {
            let bytes = outbox.next(ring);
            let count = bytes.len().min(at_a_time);
            seen.extend_from_slice(&bytes[..count]);
            outbox.taken(count);
        }
        seen
    }

    #[test]
    fn own_words_first_then_what_is_shown_with_its_ff_doubled() {
        let mut ring = Ring::default();
        ring.push(b"before", 0);
        let mut outbox = Outbox::new(b"welcome ".to_vec(), ring.end());
        ring.push(b"a\xffb", 0);
        assert_eq!(receive(&mut outbox, &ring, 1), b"welcome a\xff\xffb");
        ring.push(b"c", 0);
        outbox.say(b"(you) ");
        assert_eq!(receive(&mut outbox, &ring, 3), b"(you) c");
        assert_eq!(outbox.lost(), 0);
    }

    #[test]
    fn who_sleeps_too_long_is_told_how_much_is_lost() {
        let mut ring = Ring::new(8);
        let mut outbox = Outbox::new(Vec::new(), 0);
        ring.push(b"0123456789ab", 0);
        assert_eq!(receive(&mut outbox, &ring, 100), b"\r\n@@@ lost 8 bytes\r\n89ab");
        ring.push(b"c", 0);
        assert_eq!(receive(&mut outbox, &ring, 100), b"c");
        assert_eq!((outbox.lost(), outbox.offset()), (8, 13));
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_doubled_or_left_out(
            pushes in proptest::collection::vec((proptest::collection::vec(0_u8..=255, 0..40), 1_usize..50), 0..60),
        ) {
            let mut ring = Ring::new(64 * 1024);
            let (mut outbox, mut shown, mut seen) = (Outbox::new(Vec::new(), 0), Vec::new(), Vec::new());
            for (bytes, at_a_time) in pushes {
                ring.push(&bytes, outbox.offset());
                escape(&bytes, &mut shown);
                let next = outbox.next(&ring);
                let count = next.len().min(at_a_time);
                seen.extend_from_slice(&next[..count]);
                outbox.taken(count);
            }
            seen.extend(receive(&mut outbox, &ring, 7));
            proptest::prop_assert_eq!(seen, shown);
        }
    }
}
