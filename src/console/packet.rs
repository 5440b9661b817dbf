//! What crosses the packet socket between a console and `procyon console`: one packet down is what was typed; each packet
//! up begins with a letter. What was shown comes with its offset, so that it can be resumed exactly.

/// A packet's bytes behind its head.
pub const BODY_BYTES_MAX: usize = 32 * 1024;
const OFFSET_BYTES: usize = size_of::<u64>();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'p> {
    /// From the console, at this offset.
    Shown { offset: u64, bytes: &'p [u8] },
    /// For this client alone.
    Words(&'p [u8]),
    /// The client's program is to do something: `z` suspend itself, `;` ask for another console, `.` end its command.
    Do(u8),
    /// The client is to run a command in its user's place; this is the escape sequence, which that must not type.
    Run { escape: [u8; 2] },
    /// It is over, and not to be resumed.
    Over(&'p [u8]),
}

impl<'p> Packet<'p> {
    /// What goes before the body.
    pub fn head(&self) -> Vec<u8> {
        match self {
            Self::Shown { offset, .. } => [&b"o"[..], &offset.to_le_bytes()].concat(),
            Self::Words(_) => b"w".to_vec(),
            Self::Do(_) => b"c".to_vec(),
            Self::Run { .. } => b"r".to_vec(),
            Self::Over(_) => b"e".to_vec(),
        }
    }

    pub fn read(packet: &'p [u8]) -> Option<Self> {
        let (kind, rest) = packet.split_first()?;
        Some(match kind {
            b'o' => {
                let (offset, bytes) = rest.split_at_checked(OFFSET_BYTES)?;
                Self::Shown { offset: u64::from_le_bytes(offset.try_into().ok()?), bytes }
            }
            b'w' => Self::Words(rest),
            b'c' => Self::Do(*rest.first()?),
            b'r' => Self::Run { escape: rest.try_into().ok()? },
            b'e' => Self::Over(rest),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_reads_back_what_it_was() {
        for packet in [
            Packet::Shown { offset: 1 << 40, bytes: b"hello" },
            Packet::Words(b"[help]"),
            Packet::Do(b'z'),
            Packet::Run { escape: *b"\x05c" },
            Packet::Over(b"released"),
        ] {
            let body: &[u8] = match &packet {
                Packet::Run { escape } => escape,
                Packet::Shown { bytes, .. } | Packet::Words(bytes) | Packet::Over(bytes) => bytes,
                Packet::Do(what) => std::slice::from_ref(what),
            };
            assert_eq!(Packet::read(&[&packet.head()[..], body].concat()), Some(packet));
        }
        assert_eq!(Packet::read(b"o123"), None);
        assert_eq!(Packet::read(b""), None);
    }
}
