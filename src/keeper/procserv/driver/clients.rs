//! Clients: accepted, greeted, read byte by byte, sent what they take.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use nix::unistd::{read, write};

use super::{CLIENTS_MAX, Server, Source};
use crate::console::keys::{Program, Typed};
use crate::console::outbox::Outbox;
use crate::console::telnet::{REQUESTS, Receiver};
use crate::console::texts::{Child as ChildFacts, Others};
use crate::sys::process;

const TYPED_BYTES_MAX: usize = 4096;
/// Sent to one client before the others get their turn.
const SENT_PER_TURN_MAX: usize = 256 * 1024;

pub(super) struct Client {
    fd: OwnedFd,
    receiver: Receiver,
    pub outbox: Outbox,
    read_only: bool,
    /// Watches the stamped lines.
    pub stamped: bool,
    /// Takes nothing at the moment; epoll tells when it does.
    blocked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    Empty,
    Blocked,
    Gone,
}

impl Server {
    pub(super) fn accept(&mut self, at: u32) {
        let Some(listener) = self.listeners.get(at as usize) else { return };
        let read_only = listener.read_only;
        let Ok(raw) = accept4(listener.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) else {
            return;
        };
        let fd = process::owned(raw);
        if self.clients.len() < CLIENTS_MAX {
            // Of no use on a Unix socket, and refused there by nobody.
            let _ = setsockopt(&fd, sockopt::KeepAlive, &true);
            self.take_in(fd, read_only);
        }
    }

    pub(super) fn take_in(&mut self, fd: OwnedFd, read_only: bool) {
        let id = self.next_client;
        if self.watch(&fd, Source::Client(id), EpollFlags::EPOLLIN).is_err() {
            return;
        }
        self.next_client = self.next_client.wrapping_add(1);
        let others = Others {
            users: self.clients.values().filter(|client| !client.read_only).count(),
            loggers: self.clients.values().filter(|client| client.read_only).count(),
        };
        let child = match &self.child {
            Some(child) => ChildFacts::Runs { pid: child.pid, started: &child.started },
            None => ChildFacts::Down,
        };
        let mut words = self.facts.banner(self.mode, child, (!read_only).then_some(others)).into_bytes();
        words.extend_from_slice(&REQUESTS);
        let stamped = read_only && self.stamps.is_some();
        let outbox = match &mut self.stamps {
            Some(stamps) if stamped => {
                let mut outbox = Outbox::new(words, stamps.ring.end());
                if stamps.stamper.is_inside_line() {
                    // The rest of a line has a stamp too.
                    outbox.say(stamps.stamp_now().as_bytes());
                }
                outbox
            }
            _ => Outbox::new(words, self.ring.end()),
        };
        let client = Client { fd, receiver: Receiver::default(), outbox, read_only, stamped, blocked: false };
        self.clients.insert(id, client);
    }

    pub(super) fn client_ready(&mut self, id: u32, flags: EpollFlags) {
        if flags.contains(EpollFlags::EPOLLOUT)
            && let Some(client) = self.clients.get_mut(&id)
            && client.blocked
        {
            client.blocked = false;
            self.watch_client(id);
        }
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.read_client(id);
        }
    }

    fn read_client(&mut self, id: u32) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let mut bytes = [0; TYPED_BYTES_MAX];
        let count = match read(&client.fd, &mut bytes) {
            Ok(0) => return self.let_go(id),
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return,
            Err(_) => return self.let_go(id),
        };
        let mut answers = Vec::new();
        let typed = client.receiver.receive(&bytes[..count], &mut answers);
        client.outbox.say(&answers);
        if !client.read_only {
            self.typed(id, &typed);
        }
    }

    /// In the order in which it was typed: what goes to the child goes there before the key behind it acts.
    fn typed(&mut self, id: u32, typed: &[u8]) {
        let mut to_child = Vec::with_capacity(typed.len());
        for byte in typed {
            let meaning = self.options.keys.meaning(*byte, self.program());
            if let Typed::ToProgram(byte) = meaning {
                to_child.push(byte);
                continue;
            }
            self.type_in(&std::mem::take(&mut to_child));
            match meaning {
                Typed::Toggle => self.toggle_key(),
                Typed::Kill => self.kill_key(),
                Typed::Start => self.start_key(),
                Typed::Quit => return self.quits = Some(0),
                Typed::LogOut => return self.let_go(id),
                Typed::QuitAndLogOut => {
                    self.quits = Some(0);
                    return self.let_go(id);
                }
                Typed::ToProgram(_) | Typed::Nothing => {}
            }
        }
        if !to_child.is_empty() && self.program() != Program::Down {
            self.type_in(&to_child);
        }
    }

    fn let_go(&mut self, id: u32) {
        if let Some(mut client) = self.clients.remove(&id) {
            // What it has not read yet may still be of interest, for instance why it is let go.
            let ring = self.stamps.as_ref().filter(|_| client.stamped).map_or(&self.ring, |stamps| &stamps.ring);
            client.flush(ring);
            let _ = self.epoll.delete(&client.fd);
        }
    }

    pub(super) fn flush_all(&mut self) {
        let mut changed = Vec::new();
        for (id, client) in self.clients.iter_mut().filter(|(_, client)| !client.blocked) {
            let ring = self.stamps.as_ref().filter(|_| client.stamped).map_or(&self.ring, |stamps| &stamps.ring);
            let flushed = client.flush(ring);
            client.blocked = flushed == Flushed::Blocked;
            if flushed != Flushed::Empty {
                changed.push((*id, flushed));
            }
        }
        for (id, flushed) in changed {
            match flushed {
                Flushed::Gone => self.let_go(id),
                Flushed::Blocked | Flushed::Empty => self.watch_client(id),
            }
        }
    }

    fn watch_client(&self, id: u32) {
        let Some(client) = self.clients.get(&id) else { return };
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, client.blocked);
        self.rewatch(client.fd.as_fd(), Source::Client(id), flags);
    }
}

impl Client {
    fn flush(&mut self, ring: &crate::console::ring::Ring) -> Flushed {
        let mut sent = 0;
        while !self.outbox.is_empty(ring) {
            let bytes = self.outbox.next(ring);
            match write(&self.fd, bytes) {
                Ok(count) => {
                    self.outbox.taken(count);
                    sent += count;
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Flushed::Blocked,
                Err(_) => return Flushed::Gone,
            }
            if sent > SENT_PER_TURN_MAX {
                // It takes more, but the others wait: epoll brings us back at once.
                return Flushed::Blocked;
            }
        }
        Flushed::Empty
    }
}
