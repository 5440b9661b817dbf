//! The last bytes of a console, each with its offset since the console began.

/// Where a ring begins; it grows only when somebody is behind.
const CAPACITY_FIRST: usize = 16 * 1024;
/// What a client may be behind before it loses the oldest bytes.
pub const CAPACITY_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub struct Ring {
    bytes: Vec<u8>,
    /// The offset behind the latest byte.
    end: u64,
    /// Bytes kept, counted back from `end`.
    kept: usize,
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
        Self { bytes: vec![0; capacity], end: 0, kept: 0, capacity_max: capacity_max.max(1) }
    }

    /// The offset of the next byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that is still there.
    pub fn first(&self) -> u64 {
        self.end - self.kept as u64
    }

    /// Takes bytes in; `slowest` is the smallest offset that somebody still wants.
    pub fn push(&mut self, bytes: &[u8], slowest: u64) {
        let wanted = usize::try_from(self.end.saturating_sub(slowest)).unwrap_or(usize::MAX).min(self.kept);
        self.grow(wanted.saturating_add(bytes.len()));
        let capacity = self.bytes.len();
        let skipped = bytes.len().saturating_sub(capacity);
        self.end += skipped as u64;
        let mut rest = &bytes[skipped..];
        while !rest.is_empty() {
            let at = self.index(self.end);
            let count = rest.len().min(capacity - at);
            self.bytes[at..at + count].copy_from_slice(&rest[..count]);
            self.end += count as u64;
            rest = &rest[count..];
        }
        self.kept = self.kept.saturating_add(bytes.len()).min(capacity);
    }

    /// What stands from the offset on. Who has lost something goes on in the middle of what is kept, so that it does not
    /// lose the next bytes at once.
    pub fn piece(&self, from: u64) -> Piece<'_> {
        let begin = if from < self.first() { self.end - (self.kept / 2) as u64 } else { from.min(self.end) };
        let at = self.index(begin);
        let length = usize::try_from(self.end - begin).unwrap_or(usize::MAX).min(self.bytes.len() - at);
        Piece { lost: begin.saturating_sub(from), bytes: &self.bytes[at..at + length] }
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset % self.bytes.len() as u64).expect("smaller than the ring")
    }

    fn grow(&mut self, needed: usize) {
        if needed <= self.bytes.len() || self.bytes.len() == self.capacity_max {
            return;
        }
        let capacity = needed.next_power_of_two().min(self.capacity_max);
        let mut bytes = vec![0; capacity];
        for offset in self.first()..self.end {
            let to = usize::try_from(offset % capacity as u64).expect("smaller than the ring");
            bytes[to] = self.bytes[self.index(offset)];
        }
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ring: &Ring, from: u64) -> (u64, Vec<u8>) {
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
        assert_eq!(ring.bytes.len(), CAPACITY_FIRST);
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
        assert_eq!(ring.bytes.len(), CAPACITY_MAX);
        assert!(ring.piece(from).lost > 0);
    }
}
