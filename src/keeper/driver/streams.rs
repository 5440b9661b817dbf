//! What programs print: read in bounded amounts, logged, remembered, shown to who watches.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::read;

use super::{Driver, Source};
use crate::keeper::held::Held;
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::viewer::Viewer;

pub(super) const READ_BYTES: usize = 64 * 1024;
/// Reads of one stream a turn of the loop; the next stream's turn comes after that.
const READS_PER_TURN_MAX: usize = 4;
/// Reads when a run ends: all that a pipe can hold, but no endless stream of something left behind.
const READS_AT_END_MAX: usize = 32;
pub(super) const VIEWERS_MAX: usize = 64;

impl Driver {
    pub(super) fn pump(&mut self, slot: u32, source: Source) {
        if self.read_some(slot, source, READS_PER_TURN_MAX) == Pumped::Over {
            // A terminal whose last user has gone would wake us for ever.
            let terminal = self.held.get(&slot).and_then(|held| held.run.as_ref()?.terminal.as_ref());
            if let (Source::Terminal(_), Some(terminal)) = (source, terminal) {
                let _ = self.epoll.delete(terminal);
            }
        }
    }

    /// Reads what is there, so that what comes next stands behind it.
    pub(super) fn drain(&mut self, slot: u32) {
        for source in [Source::Output(slot), Source::Terminal(slot), Source::Errors(slot)] {
            self.read_some(slot, source, READS_AT_END_MAX);
        }
    }

    fn read_some(&mut self, slot: u32, source: Source, reads_max: usize) -> Pumped {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Pumped::More;
        for _ in 0..reads_max {
            let Some(held) = self.held.get_mut(&slot) else { break };
            let fd = match source {
                Source::Errors(_) => Some(&held.errors.read),
                Source::Terminal(_) => held.run.as_ref().and_then(|run| run.terminal.as_ref()),
                _ => Some(&held.output.read),
            };
            let Some(fd) = fd else { break };
            match read(fd, &mut buffer) {
                Ok(0) => {
                    result = Pumped::Over;
                    break;
                }
                Ok(count) => {
                    let bytes = &buffer[..count];
                    take_in(held, source, bytes);
                    for id in held.viewers.clone() {
                        self.show(id, bytes);
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
        self.buffer = buffer;
        result
    }

    pub(super) fn attach(&mut self, slot: u32) -> Result<OwnedFd, KeeperRefusal> {
        let failed = |error: Errno| KeeperRefusal::System { what: "attaching".into(), reason: error.to_string() };
        let viewers = self.held.get(&slot).map_or(0, |held| held.viewers.len());
        if viewers >= VIEWERS_MAX {
            return Err(KeeperRefusal::TooManyViewers { count: viewers });
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).map_err(failed)?;
        let id = self.fresh_id();
        self.watch(&ours, Source::Viewer(id), EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP).map_err(failed)?;
        let Some(held) = self.held.get_mut(&slot) else { return Err(KeeperRefusal::Lost) };
        let viewer = Viewer::new(slot, ours, &held.history.to_vec());
        held.viewers.push(id);
        self.viewers.insert(id, viewer);
        self.flush_viewer(id);
        Ok(theirs)
    }

    fn show(&mut self, id: u32, bytes: &[u8]) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.show(bytes);
            self.flush_viewer(id);
        }
    }

    fn flush_viewer(&mut self, id: u32) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        let had = viewer.has_backlog();
        if viewer.flush().is_err() {
            return self.end_viewer(id);
        }
        if had || viewer.has_backlog() {
            let mut flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            flags.set(EpollFlags::EPOLLOUT, viewer.has_backlog());
            let viewer = &self.viewers[&id];
            self.rewatch(&viewer.socket, Source::Viewer(id), flags);
        }
    }

    pub(super) fn viewer_ready(&mut self, id: u32, flags: EpollFlags) {
        let Some(viewer) = self.viewers.get(&id) else { return };
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            // Watchers only watch: what they type is thrown away, and their end is the end.
            let mut typed = [0; 1024];
            match read(&viewer.socket, &mut typed) {
                Ok(0) => return self.end_viewer(id),
                Err(error) if error != Errno::EAGAIN && error != Errno::EINTR => return self.end_viewer(id),
                _ => {}
            }
        }
        self.flush_viewer(id);
    }

    pub(super) fn end_viewer(&mut self, id: u32) {
        let Some(viewer) = self.viewers.remove(&id) else { return };
        let _ = self.epoll.delete(&viewer.socket);
        if let Some(held) = self.held.get_mut(&viewer.slot) {
            held.viewers.retain(|other| *other != id);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    More,
    Over,
}

fn take_in(held: &mut Held, source: Source, bytes: &[u8]) {
    held.output_bytes = held.output_bytes.saturating_add(bytes.len() as u64);
    match source {
        Source::Errors(_) => {
            held.errors_log.append(bytes);
            held.error_tail.push(bytes);
        }
        _ => held.output_log.append(bytes),
    }
    held.history.push(bytes);
}
