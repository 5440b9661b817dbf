//! One who is attached to a console: how it speaks, and what it is yet to be sent.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, sendmsg};

use super::sockets::Guest;
use super::tape::Memory;
use crate::console::conserver::{PLAYBACK_LINES, REPLAY_LINES};
use crate::console::escape::Escape;
use crate::console::outbox::Outbox;
use crate::console::packet::{BODY_BYTES_MAX, Packet};
use crate::console::ring::Ring;
use crate::console::telnet::Receiver;
use crate::console::wire;

/// Sent to one before the others get their turn.
const SENT_PER_TURN_MAX: usize = 256 * 1024;
/// Things that a client's program is told to do and has not taken yet.
const TO_DO_MAX: usize = 16;

/// How one speaks with the console.
#[derive(Debug)]
pub enum Manner {
    /// Only what is shown, and nothing is heard.
    Stream,
    /// What is shown and typed, and nothing else.
    Raw,
    /// procServ's: keys, and telnet's commands taken out.
    Keys(Receiver),
    /// conserver's escape sequences, in packets.
    Packets(Escape),
    /// The same, as conserver's own client speaks.
    Wire(Escape, wire::Client),
}

#[derive(Debug)]
pub struct Viewer {
    pub slot: u32,
    pub socket: OwnedFd,
    pub manner: Manner,
    pub outbox: Outbox,
    /// May type at all; the console's roster says whether it does.
    pub who: String,
    /// Takes nothing at the moment; epoll tells when it does.
    pub blocked: bool,
    /// Lines that a replay shows, and a playback.
    pub lines: (usize, usize),
    /// By which listener it came, and as whom.
    pub guest: Option<(u32, Guest)>,
    to_do: VecDeque<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    Empty,
    /// Either it takes no more, or it has had its share of this turn.
    Blocked,
    Gone,
}

impl Viewer {
    pub fn new(slot: u32, socket: OwnedFd, manner: Manner, outbox: Outbox, who: String) -> Self {
        Self {
            slot,
            socket,
            manner,
            outbox,
            who,
            blocked: false,
            lines: (REPLAY_LINES, PLAYBACK_LINES),
            guest: None,
            to_do: VecDeque::new(),
        }
    }

    /// Tells the client's program to do something.
    pub fn tell(&mut self, what: u8) {
        match &mut self.manner {
            Manner::Packets(_) if self.to_do.len() < TO_DO_MAX => self.to_do.push_back(what),
            Manner::Wire(_, client) => self.outbox.say(&client.told(what)),
            _ => {}
        }
    }

    /// What the console has shown, among its words.
    pub fn show_again(&mut self, bytes: &[u8]) {
        match self.manner {
            Manner::Wire(..) => self.outbox.say(&wire::quoted(bytes)),
            _ => self.outbox.say(bytes),
        }
    }

    /// Sends what is taken now.
    pub fn flush(&mut self, ring: &Ring<Memory>) -> Flushed {
        let mut sent = 0;
        loop {
            let result = match self.manner {
                Manner::Packets(_) => self.flush_packet(ring),
                Manner::Wire(_, ref client) if !client.watches() && !self.outbox.has_words() => Ok(0),
                Manner::Stream | Manner::Raw | Manner::Keys(_) | Manner::Wire(..) => self.flush_bytes(ring),
            };
            match result {
                Ok(0) => return Flushed::Empty,
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Flushed::Blocked,
                Err(_) => return Flushed::Gone,
            }
            if sent > SENT_PER_TURN_MAX {
                return Flushed::Blocked;
            }
        }
    }

    fn flush_bytes(&mut self, ring: &Ring<Memory>) -> nix::Result<usize> {
        if self.outbox.is_empty(ring) {
            return Ok(0);
        }
        let bytes = self.outbox.next(ring);
        let count = send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
        self.outbox.taken(count);
        Ok(count)
    }

    fn flush_packet(&mut self, ring: &Ring<Memory>) -> nix::Result<usize> {
        if self.outbox.is_empty(ring) {
            let Some(what) = self.to_do.front() else { return Ok(0) };
            match &self.manner {
                Manner::Packets(escape) if *what == wire::RUN => {
                    let escape = escape.keys();
                    send_packet(&self.socket, Packet::Run { escape }, &escape)?;
                }
                _ => send_packet(&self.socket, Packet::Do(*what), &[*what])?,
            }
            self.to_do.pop_front();
            return Ok(1);
        }
        self.outbox.prepare(ring);
        let bytes = self.outbox.front(ring);
        let bytes = &bytes[..bytes.len().min(BODY_BYTES_MAX)];
        let packet = if self.outbox.gives_words() {
            Packet::Words(bytes)
        } else {
            Packet::Shown { offset: self.outbox.offset(), bytes }
        };
        send_packet(&self.socket, packet, bytes)?;
        let count = bytes.len();
        self.outbox.taken(count);
        Ok(count)
    }

    /// The last packet; nobody waits for it.
    pub fn part(&self, why: &str) {
        if matches!(self.manner, Manner::Packets(_)) {
            let _ = send_packet(&self.socket, Packet::Over(why.as_bytes()), why.as_bytes());
        }
    }
}

/// All of it or nothing.
fn send_packet(socket: &OwnedFd, packet: Packet<'_>, body: &[u8]) -> nix::Result<()> {
    let head = packet.head();
    let slices = [IoSlice::new(&head), IoSlice::new(body)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &slices, &[], flags, None).map(drop)
}

/// The last bytes of a stream.
#[derive(Debug)]
pub struct Recent {
    bytes: VecDeque<u8>,
    bytes_max: usize,
}

impl Recent {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::new(), bytes_max }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.bytes_max)..];
        let surplus = (self.bytes.len() + bytes.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
        self.bytes.extend(bytes);
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::keeper::tape::{Origin, Position, Tape};
    use crate::sys::fdpass;

    fn print(tape: &mut Tape, bytes: &[u8]) {
        tape.begin(Origin::Output, Position::default());
        let room = tape.room();
        room[..bytes.len()].copy_from_slice(bytes);
        tape.came(bytes.len());
    }

    #[test]
    fn only_the_last_bytes_are_remembered() {
        let mut recent = Recent::new(5);
        recent.push(b"abc");
        recent.push(b"defg");
        assert_eq!(recent.to_vec(), b"cdefg");
        recent.push(b"0123456789");
        assert_eq!(recent.to_vec(), b"56789");
    }

    #[test]
    fn a_viewer_that_never_reads_is_blocked_and_costs_an_offset() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut tape = Tape::new();
        let mut viewer = Viewer::new(1, ours.into(), Manner::Raw, Outbox::raw(vec![], 0), "x".into());
        let mut last = Flushed::Empty;
        for _ in 0..10_000 {
            print(&mut tape, &[b'x'; 64]);
            last = viewer.flush(tape.ring());
        }
        assert_eq!(last, Flushed::Blocked);
        assert!(viewer.outbox.offset() < tape.ring().end());
    }

    #[test]
    fn packets_say_at_which_offset_something_was_shown() {
        let (ours, theirs) = fdpass::pair().unwrap();
        let mut tape = Tape::new();
        print(&mut tape, b"hello");
        let manner = Manner::Packets(Escape::default());
        let mut viewer = Viewer::new(1, ours, manner, Outbox::raw(b"[hi]".to_vec(), 2), "x".into());
        viewer.tell(b'z');
        assert_eq!(viewer.flush(tape.ring()), Flushed::Empty);
        viewer.part("released");
        let packets: Vec<Vec<u8>> = (0..4).map(|_| fdpass::receive(&theirs).unwrap().unwrap().bytes).collect();
        let packets: Vec<Packet<'_>> = packets.iter().map(|bytes| Packet::read(bytes).unwrap()).collect();
        assert_eq!(
            packets,
            [
                Packet::Words(b"[hi]"),
                Packet::Shown { offset: 2, bytes: b"llo" },
                Packet::Do(b'z'),
                Packet::Over(b"released")
            ]
        );
    }
}
