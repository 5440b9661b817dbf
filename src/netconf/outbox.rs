//! What waits to be written to a client: small pieces joined, large ones kept as they are.
//!
//! Knows nothing of messages. Its size is what tells a session to stop answering for a while.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Pieces up to this size are copied behind one another.
const JOINED_BYTES_MAX: usize = 4 * 1024;

/// Joined pieces are closed at this size.
const TAIL_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub struct Outbox {
    ready: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Outbox {
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() > JOINED_BYTES_MAX {
            self.close_tail();
            self.ready.push_back(piece);
            return;
        }
        self.tail.extend_from_slice(&piece);
        if self.tail.len() >= TAIL_BYTES_MAX {
            self.close_tail();
        }
    }

    /// Bytes that are still to be written.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What to write next; empty when there is nothing.
    pub fn front(&mut self) -> &[u8] {
        if self.ready.is_empty() {
            self.close_tail();
        }
        self.ready.front().map_or(&[], |front| front)
    }

    /// `bytes` of what `front` gave have been written.
    pub fn advance(&mut self, bytes: usize) {
        let Some(front) = self.ready.front_mut() else { return };
        let bytes = bytes.min(front.len());
        front.advance(bytes);
        self.bytes -= bytes;
        if front.is_empty() {
            self.ready.pop_front();
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_out_in_order(
            sizes in prop::collection::vec(prop_oneof![0_usize..20, 4000_usize..5000, 60_000_usize..70_000], 0..40),
            step in 1_usize..100_000,
        ) {
            let mut outbox = Outbox::default();
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            for (number, size) in sizes.into_iter().enumerate() {
                let piece = vec![u8::try_from(number).unwrap(); size];
                expected.extend_from_slice(&piece);
                outbox.push(piece.into());
                if number % 3 == 0 {
                    let front = outbox.front();
                    let taken = front.len().min(step);
                    found.extend_from_slice(&front[..taken]);
                    outbox.advance(taken);
                }
            }
            prop_assert_eq!(outbox.len(), expected.len() - found.len());
            while !outbox.is_empty() {
                let taken = outbox.front().len().min(step);
                found.extend_from_slice(&outbox.front()[..taken]);
                outbox.advance(taken);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
