//! The last bytes of a console, each with its offset since the console began.

/// Where a ring begins; it grows only when somebody is behind.
const CAPACITY_FIRST: usize = 16 * 1024;
/// What a client may be behind before it loses the oldest bytes.
pub const CAPACITY_MAX: usize = 1024 * 1024;

/// Where the bytes of a ring stand.
pub trait Store {
    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Store for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

#[derive(Debug)]
pub struct Ring<S = Vec<u8>> {
    store: S,
    /// The offset behind the latest byte.
    end: u64,
    /// Bytes kept, counted back from `end`.
    kept: usize,
    /// Bytes ahead of `end` that are never kept: room for what comes next.
    ahead: usize,
    capacity_max: usize,
}

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'r> {
    /// Bytes from the offset asked for that are there no more.
    pub lost: u64,
    /// Contiguous, not always up to the end of the ring.
    pub bytes: &'r [u8],
}

impl Default for Ring {
    fn default() -> Self {
        Self::new(CAPACITY_MAX)
    }
}

impl Ring {
    pub fn new(capacity_max: usize) -> Self {
        let capacity = CAPACITY_FIRST.min(capacity_max.max(1));
        Self { store: vec![0; capacity], end: 0, kept: 0, ahead: 0, capacity_max: capacity_max.max(1) }
    }

    /// Takes bytes in; `slowest` is the smallest offset that somebody still wants.
    pub fn push(&mut self, bytes: &[u8], slowest: u64) {
        let wanted = usize::try_from(self.end.saturating_sub(slowest)).unwrap_or(usize::MAX).min(self.kept);
        self.grow(wanted.saturating_add(bytes.len()));
        self.take_in(bytes);
    }

    fn grow(&mut self, needed: usize) {
        if needed <= self.capacity() || self.capacity() == self.capacity_max {
            return;
        }
        let capacity = needed.next_power_of_two().min(self.capacity_max);
        self.move_to(vec![0; capacity], 0);
    }
}

impl<S: Store> Ring<S> {
    /// A ring in a store of a fixed size, whose last bytes before `end` are kept; `ahead` bytes behind it are left alone.
    pub fn in_store(store: S, end: u64, kept: usize, ahead: usize) -> Self {
        let capacity = store.bytes().len();
        let ahead = ahead.min(capacity.saturating_sub(1));
        let kept = kept.min(capacity - ahead).min(usize::try_from(end).unwrap_or(usize::MAX));
        Self { store, end, kept, ahead, capacity_max: capacity }
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    pub fn capacity(&self) -> usize {
        self.store.bytes().len()
    }

    /// The offset of the next byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that is still there.
    pub fn first(&self) -> u64 {
        self.end - self.kept as u64
    }

    /// Takes bytes in; the oldest go.
    pub fn take_in(&mut self, bytes: &[u8]) {
        let capacity = self.capacity();
        let skipped = bytes.len().saturating_sub(capacity);
        self.end += skipped as u64;
        let mut rest = &bytes[skipped..];
        while !rest.is_empty() {
            let at = self.index(self.end);
            let count = rest.len().min(capacity - at);
            self.store.bytes_mut()[at..at + count].copy_from_slice(&rest[..count]);
            self.end += count as u64;
            rest = &rest[count..];
        }
        self.kept = self.kept.saturating_add(bytes.len()).min(capacity - self.ahead);
    }

    /// Where the next bytes may be put, in one piece; [`Self::came`] tells how many were.
    pub fn room(&mut self) -> &mut [u8] {
        let at = self.index(self.end);
        let count = self.ahead.min(self.capacity() - at);
        &mut self.store.bytes_mut()[at..at + count]
    }

    /// So many bytes have been put into the room.
    pub fn came(&mut self, count: usize) {
        self.end += count as u64;
        self.kept = self.kept.saturating_add(count).min(self.capacity() - self.ahead);
    }

    /// Fills a stretch of offsets with a byte; it must not reach back into what is kept.
    pub fn fill(&mut self, from: u64, count: usize, byte: u8) {
        let mut offset = from;
        let mut left = count.min(self.capacity());
        while left > 0 {
            let at = self.index(offset);
            let now = left.min(self.capacity() - at);
            self.store.bytes_mut()[at..at + now].fill(byte);
            offset += now as u64;
            left -= now;
        }
    }

    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// What stands from the offset on. Who has lost something goes on in the middle of what is kept, so that it does not
    /// lose the next bytes at once.
    pub fn piece(&self, from: u64) -> Piece<'_> {
        let begin = if from < self.first() { self.end - (self.kept / 2) as u64 } else { from.min(self.end) };
        let at = self.index(begin);
        let length = usize::try_from(self.end - begin).unwrap_or(usize::MAX).min(self.capacity() - at);
        Piece { lost: begin.saturating_sub(from), bytes: &self.store.bytes()[at..at + length] }
    }

    /// What is kept from the offset on, or else from the first byte on.
    pub fn copy_from(&self, from: u64) -> Vec<u8> {
        let mut offset = from.max(self.first());
        let mut bytes = Vec::with_capacity(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(0));
        while offset < self.end {
            let piece = self.piece(offset).bytes;
            bytes.extend_from_slice(piece);
            offset += piece.len() as u64;
        }
        bytes
    }

    /// The offset at which the last so many lines begin, or that of the first byte kept; a line without its end counts.
    pub fn lines_back(&self, lines: usize) -> u64 {
        let at = |offset: u64| self.store.bytes()[self.index(offset)];
        if lines == 0 {
            return self.end;
        }
        let mut left = lines;
        let mut offset = self.end;
        while offset > self.first() {
            if at(offset - 1) == b'\n' && offset != self.end {
                left -= 1;
                if left == 0 {
                    return offset;
                }
            }
            offset -= 1;
        }
        offset
    }

    /// Goes on in another store, with what fits of what is kept.
    pub fn move_to(&mut self, store: S, ahead: usize) -> S {
        let capacity = store.bytes().len();
        let ahead = ahead.min(capacity.saturating_sub(1));
        let kept = self.kept.min(capacity - ahead);
        let bytes = self.copy_from(self.end - kept as u64);
        let before = std::mem::replace(&mut self.store, store);
        self.ahead = ahead;
        self.end -= kept as u64;
        self.kept = 0;
        self.take_in(&bytes);
        before
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset % self.capacity() as u64).expect("smaller than the ring")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<S: Store>(ring: &Ring<S>, from: u64) -> (u64, Vec<u8>) {
        let (mut at, mut lost, mut bytes) = (from, 0, Vec::new());
        while at < ring.end() {
            let piece = ring.piece(at);
            lost += piece.lost;
            bytes.extend_from_slice(piece.bytes);
            at += piece.lost + piece.bytes.len() as u64;
        }
        (lost, bytes)
    }

    #[test]
    fn offsets_are_exact_whatever_was_overwritten() {
        let mut ring = Ring::new(8);
        ring.push(b"abcdef", 0);
        assert_eq!(all(&ring, 0), (0, b"abcdef".to_vec()));
        assert_eq!(all(&ring, 4), (0, b"ef".to_vec()));
        ring.push(b"ghijkl", 6);
        assert_eq!((ring.first(), ring.end()), (4, 12));
        assert_eq!(all(&ring, 4), (0, b"efghijkl".to_vec()));
        assert_eq!(all(&ring, 0), (8, b"ijkl".to_vec()), "goes on in the middle");
        ring.push(b"0123456789abc", 12);
        assert_eq!(all(&ring, ring.first()), (0, b"56789abc".to_vec()));
    }

    #[test]
    fn it_grows_for_who_is_behind_and_for_nobody_else() {
        let mut ring = Ring::new(CAPACITY_MAX);
        for _ in 0..100 {
            let end = ring.end();
            ring.push(&[b'x'; 4096], end);
        }
        assert_eq!(ring.capacity(), CAPACITY_FIRST);
        let from = ring.end();
        for turn in 0..100_u8 {
            ring.push(&[turn; 4096], from);
        }
        let (lost, bytes) = all(&ring, from);
        assert_eq!((lost, bytes.len()), (0, 100 * 4096));
        assert!(bytes.chunks(4096).zip(0..100_u8).all(|(chunk, turn)| chunk.iter().all(|byte| *byte == turn)));
        for _ in 0..1000 {
            ring.push(&[b'y'; 4096], from);
        }
        assert_eq!(ring.capacity(), CAPACITY_MAX);
        assert!(ring.piece(from).lost > 0);
    }

    #[test]
    fn what_lies_ahead_is_never_taken_for_history() {
        let mut ring = Ring::in_store(vec![0; 8], 0, 0, 3);
        for byte in b"abcdefgh" {
            ring.room()[0] = *byte;
            ring.came(1);
        }
        assert_eq!(all(&ring, ring.first()), (0, b"defgh".to_vec()));
        ring.fill(ring.end(), 3, b'.');
        assert_eq!(all(&ring, ring.first()), (0, b"defgh".to_vec()));
        ring.move_to(vec![0; 5], 1);
        assert_eq!((ring.end(), ring.copy_from(0)), (8, b"efgh".to_vec()));
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        let mut ring = Ring::new(64);
        ring.push(b"one\ntwo\nthree", 0);
        let back = |ring: &Ring, lines| String::from_utf8(ring.copy_from(ring.lines_back(lines))).unwrap();
        assert_eq!(back(&ring, 2), "two\nthree");
        ring.push(b"\n", 0);
        assert_eq!(back(&ring, 2), "two\nthree\n");
        assert_eq!(back(&ring, 9), "one\ntwo\nthree\n");
        assert_eq!(back(&ring, 0), "");
    }
}
