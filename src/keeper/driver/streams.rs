//! What programs print, read in bounded amounts into the tape, logged, shown to who watches; and what is typed to them.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use nix::unistd::{read, write};
use tracing::debug;

use super::{Driver, Source, moment};
use crate::keeper::console::{begin, log_what_came};
use crate::keeper::forward::Came;
use crate::keeper::held::Held;
use crate::keeper::tape::{Origin, TAPE_BYTES_BUSY, TAPE_BYTES_FIRST, TAPE_BYTES_MAX, TAPES_BYTES_MAX};
use crate::keeper::viewer::Flushed;

/// Reads of one stream a turn of the loop; the next stream's turn comes after that.
const READS_PER_TURN_MAX: usize = 16;
/// Reads when a run ends: all that a pipe can hold, but no endless stream of something left behind.
const READS_AT_END_MAX: usize = 64;
/// So many reads of a turn that fill all the room there is mean that more room is wanted.
const READS_FULL: usize = 2;

impl Driver {
    pub(super) fn pump(&mut self, slot: u32, source: Source, flags: EpollFlags) {
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.feed(slot);
        }
        if !flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return;
        }
        if self.read_some(slot, source, READS_PER_TURN_MAX) == Pumped::Over {
            // A terminal whose last user has gone would wake us for ever.
            let terminal = self.held.get(&slot).and_then(|held| held.run.as_ref()?.terminal.as_ref());
            if let (Source::Terminal(_), Some(terminal)) = (source, terminal) {
                let _ = self.epoll.delete(terminal);
            }
        }
        self.flush_viewers(slot);
    }

    /// Reads what is there, so that what comes next stands behind it.
    pub(super) fn drain(&mut self, slot: u32) {
        for source in [Source::Output(slot), Source::Terminal(slot), Source::Errors(slot)] {
            self.read_some(slot, source, READS_AT_END_MAX);
        }
        self.flush_viewers(slot);
    }

    fn read_some(&mut self, slot: u32, source: Source, reads_max: usize) -> Pumped {
        let Some(held) = self.held.get(&slot) else { return Pumped::More };
        // A program that never prints never costs a tape.
        if held.console.tape.is_none() {
            let terminal = held.run.as_ref().and_then(|run| run.terminal.as_ref());
            let there = match source {
                Source::Errors(_) => there_is(held.errors.read.as_fd()),
                Source::Terminal(_) => terminal.map_or(PollFlags::empty(), |fd| there_is(fd.as_fd())),
                _ => there_is(held.output.read.as_fd()),
            };
            if !there.contains(PollFlags::POLLIN) {
                return if there.is_empty() { Pumped::More } else { Pumped::Over };
            }
            self.make_tape(slot);
        }
        let is_awaited = self.make_room_for_the_awaited(slot);
        let Some(held) = self.held.get_mut(&slot) else { return Pumped::More };
        let (fd, log, origin) = match source {
            Source::Errors(_) => (Some(&held.errors.read), &mut held.errors_log, Origin::Errors),
            Source::Terminal(_) => {
                (held.run.as_ref().and_then(|run| run.terminal.as_ref()), &mut held.output_log, Origin::Output)
            }
            _ => (Some(&held.output.read), &mut held.output_log, Origin::Output),
        };
        let (Some(fd), Some(tape)) = (fd, held.console.tape.as_mut()) else { return Pumped::More };
        begin(tape, origin, log);
        let now_ms = moment().unix_ms;
        // Who watches is served before the tape has moved on by half.
        let is_watched = is_awaited || !held.console.viewers.is_empty();
        let share = if is_watched { tape.capacity() / 4 } else { usize::MAX };
        let (mut came, mut full, mut result) = (0, 0, Pumped::More);
        let mut packs = false;
        for _ in 0..reads_max {
            let room = tape.room();
            let room_bytes = room.len();
            match read(fd, room) {
                Ok(0) => {
                    result = Pumped::Over;
                    break;
                }
                Ok(count) => {
                    if origin == Origin::Errors {
                        held.error_tail.push(&room[..count]);
                    }
                    if let Some(to) = &held.spec.logs.forward {
                        let name = held.spec.name.local();
                        let (is_error, bytes) = (origin == Origin::Errors, &room[..count]);
                        let (pid, run) = held.machine.process().map_or((0, 0), |(pid, run)| (pid, run.0));
                        let uid = held.run.as_ref().map_or(0, |run| run.uid);
                        let came = Came { to, name, pid, run, uid, at_ms: now_ms, is_error, bytes };
                        self.forwarder.take(&mut held.forwarding, came);
                    }
                    tape.came(count);
                    came += count;
                    full += usize::from(count == room_bytes);
                    if tape.unlogged() > tape.capacity() / 4 {
                        packs |= log_what_came(tape, log, now_ms);
                    }
                    if came >= share {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // A terminal says EIO when its last user has gone.
                Err(_) => {
                    result = Pumped::Over;
                    break;
                }
            }
        }
        packs |= log_what_came(tape, log, now_ms);
        if packs {
            self.workers.pack(log.path());
        }
        held.output_bytes = held.output_bytes.saturating_add(came as u64);
        let capacity = tape.capacity();
        if capacity < TAPE_BYTES_BUSY && (full > READS_FULL || came >= share) {
            self.resize_tape(slot, (capacity * 4).next_power_of_two().min(TAPE_BYTES_BUSY));
        }
        result
    }

    /// The custodian has it before anything is read into it.
    pub(super) fn make_tape(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let (_, is_new) = held.console.tape();
        if is_new {
            self.deposit(slot);
        }
    }

    /// A bigger one only while there is something left of what all of them may take.
    fn resize_tape(&mut self, slot: u32, bytes: usize) {
        let Some(tape) = self.held.get_mut(&slot).and_then(|held| held.console.tape.as_mut()) else { return };
        let before = tape.capacity();
        let total = self.tapes_bytes.saturating_sub(before) + bytes;
        if bytes > before && total > TAPES_BYTES_MAX {
            return;
        }
        let memory = tape.resize(bytes);
        self.tapes_bytes = total;
        self.deposit(slot);
        drop(memory);
    }

    /// What grew when there was room to spare gives it back when more come who need some: the largest first, and none that
    /// is still read from.
    pub(super) fn share_tapes(&mut self) {
        let least = self.held.len() * TAPE_BYTES_FIRST;
        if self.tapes_bytes <= TAPES_BYTES_MAX.max(least) {
            return;
        }
        let grown_bytes = |held: &Held| {
            let is_read = !held.console.viewers.is_empty() || held.console.awaited.is_some();
            let tape = held.console.tape.as_ref().filter(|tape| !is_read && tape.unlogged() == 0)?;
            Some(tape.capacity()).filter(|bytes| *bytes > TAPE_BYTES_FIRST)
        };
        let mut grown: Vec<(usize, u32)> =
            self.held.iter().filter_map(|(slot, held)| Some((grown_bytes(held)?, *slot))).collect();
        grown.sort_unstable();
        while let Some((_, slot)) = grown.pop()
            && self.tapes_bytes > TAPES_BYTES_MAX
        {
            self.resize_tape(slot, TAPE_BYTES_FIRST);
        }
    }

    /// Those who watched the predecessor come back in a moment, and go on where they were.
    fn make_room_for_the_awaited(&mut self, slot: u32) -> bool {
        let Some(console) = self.held.get_mut(&slot).map(|held| &mut held.console) else { return false };
        if console.awaited.is_none() {
            return false;
        }
        let from = console.awaited_from(moment().now);
        let (Some(from), Some(tape)) = (from, &console.tape) else { return false };
        let kept = usize::try_from(tape.ring().end().saturating_sub(from)).unwrap_or(usize::MAX);
        let capacity = tape.capacity();
        if kept > capacity / 2 && capacity < TAPE_BYTES_MAX {
            self.resize_tape(slot, (capacity * 2).next_power_of_two().min(TAPE_BYTES_MAX));
        }
        true
    }

    pub(super) fn forget_tape(&mut self, bytes: usize) {
        self.tapes_bytes = self.tapes_bytes.saturating_sub(bytes);
    }

    /// Sends to all who watch what they take now.
    pub(super) fn flush_viewers(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.console.viewers.is_empty() {
            return;
        }
        for id in held.console.viewers.clone() {
            self.flush_viewer(id);
        }
        let Some(console) = self.held.get(&slot).map(|held| &held.console) else { return };
        let slowest = console.viewers.iter().filter_map(|id| self.viewers.get(id)).map(|one| one.outbox.offset()).min();
        let (Some(tape), Some(slowest)) = (&console.tape, slowest) else { return };
        let behind = usize::try_from(tape.ring().end().saturating_sub(slowest)).unwrap_or(usize::MAX);
        if behind > tape.capacity() / 2 && tape.capacity() < TAPE_BYTES_MAX {
            let bytes = (tape.capacity() * 2).next_power_of_two().min(TAPE_BYTES_MAX);
            self.resize_tape(slot, bytes);
        }
    }

    pub(super) fn flush_viewer(&mut self, id: u32) {
        let Some(viewer) = self.viewers.get_mut(&id).filter(|viewer| !viewer.blocked) else { return };
        let Some(tape) = self.held.get(&viewer.slot).and_then(|held| held.console.tape.as_ref()) else { return };
        match viewer.flush(tape.ring()) {
            Flushed::Empty => {}
            Flushed::Blocked => {
                viewer.blocked = true;
                let viewer = &self.viewers[&id];
                self.rewatch(&viewer.socket, Source::Viewer(id), EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT);
            }
            Flushed::Gone => self.end_viewer(id, ""),
        }
    }

    /// After the last of those who watch has gone.
    pub(super) fn nobody_watches(&mut self, slot: u32) {
        let capacity =
            self.held.get(&slot).and_then(|held| held.console.tape.as_ref()).map_or(0, |tape| tape.capacity());
        if capacity > TAPE_BYTES_BUSY {
            self.resize_tape(slot, TAPE_BYTES_BUSY);
        }
    }

    /// Types to the program; what it does not take at once waits.
    pub(super) fn type_in(&mut self, slot: u32, bytes: &[u8]) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.run.as_ref().is_none_or(|run| run.terminal.is_none()) || bytes.is_empty() {
            return;
        }
        let before = held.console.input.len();
        let is_lost = held.console.type_in(bytes);
        held.input_bytes = held.input_bytes.saturating_add((held.console.input.len() - before) as u64);
        if is_lost {
            self.say_to_all(slot, "\r\n@@@ The child does not read: what is typed is lost\r\n");
        }
        self.feed(slot);
    }

    fn feed(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(terminal) = held.run.as_ref().and_then(|run| run.terminal.as_ref()) else { return };
        let console = &mut held.console;
        while !console.input.is_empty() {
            let (first, _) = console.input.as_slices();
            match write(terminal, first) {
                Ok(count) => drop(console.input.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // Its terminal is closed; its end will be seen.
                Err(error) => {
                    debug!(name = %held.spec.name, %error, "what is typed does not reach the program");
                    console.input.clear();
                }
            }
        }
        console.input_lost &= !console.input.is_empty();
        let awaited = !console.input.is_empty();
        if std::mem::replace(&mut console.terminal_awaited, awaited) != awaited {
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, awaited);
            let terminal = self.held.get(&slot).and_then(|held| held.run.as_ref()?.terminal.as_ref());
            if let Some(terminal) = terminal {
                self.rewatch(terminal, Source::Terminal(slot), flags);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    More,
    Over,
}

/// Something to read, an end, or nothing.
fn there_is(fd: BorrowedFd<'_>) -> PollFlags {
    let mut asked = [PollFd::new(fd, PollFlags::POLLIN)];
    match poll(&mut asked, PollTimeout::ZERO) {
        Ok(_) => asked[0].revents().unwrap_or(PollFlags::empty()),
        Err(_) => PollFlags::empty(),
    }
}
