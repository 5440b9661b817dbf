//! The doors of consoles: sockets that telnet, socat and conserver connect to.
//!
//! ```text
//!  wanted --worker--> open --changed or removed--> taken away
//!    ^  `--refused--> closed, with the reason --a while later--> tried again
//! ```

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use tracing::{info, warn};

use super::{Driver, Source, moment};
use crate::console::outbox::Outbox;
use crate::console::roster::{Rule, Wish};
use crate::console::telnet::{REQUESTS, Receiver};
use crate::container::access::AccessLevel;
use crate::container::console::{ListenerSpec, Place, Speaks};
use crate::container::spec::Terminal;
use crate::keeper::console::Listener;
use crate::keeper::held::Held;
use crate::keeper::protocol::Entering;
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::sockets::{self, Guest, Tried};
use crate::keeper::tape::{TAPE_BYTES_FIRST, Tape};
use crate::keeper::viewer::Manner;
use crate::keeper::worker::Job;
use crate::sys::process;

/// A listener that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Connections whose account is being looked up; a further one is turned away.
const KNOCKS_MAX: usize = 64;

impl Driver {
    /// Watches what is open, and has the rest opened.
    pub(super) fn open_doors(&mut self, slot: u32) {
        let Some(held) = self.held.get(&slot) else { return };
        let (open, closed): (Vec<_>, Vec<_>) =
            (0..held.console.listeners.len()).partition(|at| held.console.listeners[*at].socket.is_some());
        for at in open {
            self.watch_door(slot, at);
        }
        let Some(held) = self.held.get(&slot) else { return };
        let wanted: Vec<ListenerSpec> = closed.iter().map(|at| held.console.listeners[*at].spec.clone()).collect();
        if !wanted.is_empty() {
            self.workers.give(Job::Listen { slot, leaving: Vec::new(), wanted });
        }
    }

    fn watch_door(&mut self, slot: u32, at: usize) {
        let fresh = self.fresh_id();
        let Some(listener) = self.held.get_mut(&slot).and_then(|held| held.console.listeners.get_mut(at)) else {
            return;
        };
        let Some(socket) = &listener.socket else { return };
        // One that is opened anew goes on under its number: those who came by it still have.
        let id = if listener.door == 0 { fresh } else { listener.door };
        let watched =
            self.epoll.add(socket, nix::sys::epoll::EpollEvent::new(EpollFlags::EPOLLIN, Source::Door(id).number()));
        match watched {
            Ok(()) => {
                listener.door = id;
                self.doors.insert(id, slot);
            }
            Err(error) => warn!(%error, "a console's listener cannot be watched"),
        }
    }

    /// The worker has tried them.
    pub(super) fn doors_were_tried(&mut self, slot: u32, tried: Vec<Tried>) {
        let mut superfluous = Vec::new();
        let mut opened = false;
        for Tried { spec, socket } in tried {
            let held = self.held.get_mut(&slot);
            let name = held.as_ref().map(|held| held.spec.name.clone());
            let at = held.and_then(|held| {
                held.console
                    .listeners
                    .iter()
                    .position(|one| one.spec == spec && one.socket.is_none())
                    .map(|at| (held, at))
            });
            match (at, socket) {
                (Some((held, at)), Ok(socket)) => {
                    let listener = &mut held.console.listeners[at];
                    listener.problem = None;
                    listener.socket = Some(socket);
                    opened = true;
                    self.watch_door(slot, at);
                }
                (Some((held, at)), Err(problem)) => {
                    if held.console.listeners[at].problem.as_ref() != Some(&problem) {
                        warn!(name = ?name, place = %spec.place, problem, "a console's listener cannot be opened");
                    }
                    held.console.listeners[at].problem = Some(problem);
                    held.console.try_again = moment().now.checked_add(TRY_AGAIN);
                }
                // The definition has changed meanwhile.
                (None, Ok(socket)) => superfluous.push((spec.place, socket)),
                (None, Err(_)) => {}
            }
        }
        if !superfluous.is_empty() {
            self.workers.give(Job::Listen { slot, leaving: superfluous, wanted: Vec::new() });
        }
        if opened {
            self.deposit(slot);
        }
        self.set_timer(slot);
    }

    pub(super) fn try_doors_again_if_due(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.console.try_again.is_none_or(|at| at > now) {
            return;
        }
        held.console.try_again = None;
        let closed = held.console.listeners.iter().filter(|listener| listener.socket.is_none());
        let wanted = closed.map(|listener| listener.spec.clone()).collect();
        self.workers.give(Job::Listen { slot, leaving: Vec::new(), wanted });
    }

    /// Another definition of the console, or of who may use it, holds at once. What stays as it was is not touched.
    pub(super) fn console_changed(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let spec = Arc::clone(&held.spec);
        let mut before = std::mem::take(&mut held.console.listeners);
        for wanted in &spec.console.listeners {
            let same = before.iter().position(|listener| listener.spec.place == wanted.place);
            let mut listener = same.map_or_else(|| Listener::closed(wanted.clone()), |at| before.remove(at));
            // The socket with another owner or mode: opened anew, and those who came by it stay.
            let moved = before.iter().find(|other| same.is_none() && other.spec.place.is_at(&wanted.place));
            listener.door = moved.map_or(listener.door, |moved| moved.door);
            listener.spec = wanted.clone();
            held.console.listeners.push(listener);
        }
        self.mark_from_now(slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        let rule = if spec.console.one_writer { Rule::OneWriter } else { Rule::Shared };
        let demoted = held.console.roster.set_rule(rule);
        let closed = held.console.listeners.iter().filter(|listener| listener.socket.is_none());
        let wanted: Vec<ListenerSpec> = closed.map(|listener| listener.spec.clone()).collect();
        let mut leaving = Vec::new();
        for listener in before {
            self.doors.remove(&listener.door);
            if let Some(socket) = listener.socket {
                let _ = self.epoll.delete(&socket);
                leaving.push((listener.spec.place, socket));
            }
        }
        if !(leaving.is_empty() && wanted.is_empty()) {
            self.workers.give(Job::Listen { slot, leaving, wanted });
        }
        for id in demoted {
            self.words(id, "\r\n[forced to `spy' mode: this console has one writer now]\r\n");
            self.flush_viewer(id);
        }
        self.judge_guests_anew(slot);
    }

    /// Who has lost the right to be here, or to type, loses it now.
    fn judge_guests_anew(&mut self, slot: u32) {
        let Some(held) = self.held.get(&slot) else { return };
        let levels: Vec<(u32, AccessLevel)> = held
            .console
            .viewers
            .iter()
            .filter_map(|id| {
                let (door, guest) = self.viewers.get(id)?.guest.as_ref()?;
                let listener = held.console.listeners.iter().find(|listener| listener.door == *door);
                let level = listener.map(|listener| guest.level(&listener.spec, &held.spec.access));
                Some((*id, level.unwrap_or(AccessLevel::None)))
            })
            .collect();
        for (id, level) in levels {
            if level == AccessLevel::None {
                info!(
                    who = self.viewers.get(&id).map(|viewer| viewer.who.as_str()),
                    "may not be at the console any more"
                );
                self.words(id, "\r\n[access is withdrawn]\r\n");
                self.flush_viewer(id);
                self.end_viewer(id, "");
                continue;
            }
            let Some(held) = self.held.get_mut(&slot) else { return };
            let had = held.console.roster.seat(id).is_some_and(|seat| seat.may_write);
            let has = level == AccessLevel::Write && held.spec.terminal == Terminal::Pty;
            if held.console.roster.set_right(id, has) {
                self.words(id, "\r\n[read-only from now on]\r\n");
                self.flush_viewer(id);
                self.let_the_next_type(slot);
            } else if has && !had {
                let outcome = held.console.roster.wish(id, Wish::Attach);
                self.tell_outcome(slot, id, &outcome, true);
            }
        }
    }

    pub(super) fn somebody_knocks(&mut self, door: u32) {
        let Some(slot) = self.doors.get(&door).copied() else { return };
        let Some(listener) = self.listener(slot, door) else { return };
        let Some(socket) = &listener.socket else { return };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(raw) = accept4(socket.as_raw_fd(), flags) else { return };
        let socket = process::owned(raw);
        match &listener.spec.place {
            Place::Tcp { .. } => {
                let guest = Guest::remote(&socket);
                self.guest_is_known(door, socket, guest);
            }
            Place::Unix { .. } if self.knocks < KNOCKS_MAX => {
                self.knocks += 1;
                self.workers.give(Job::Identify { door, socket });
            }
            Place::Unix { .. } => {
                warn!(knocks = self.knocks, "a connection to a console is not taken: too many at once")
            }
        }
    }

    pub(super) fn guest_was_looked_up(&mut self, door: u32, socket: OwnedFd, guest: Option<Guest>) {
        self.knocks = self.knocks.saturating_sub(1);
        self.guest_is_known(door, socket, guest);
    }

    fn guest_is_known(&mut self, door: u32, socket: OwnedFd, guest: Option<Guest>) {
        let Some(slot) = self.doors.get(&door).copied() else { return };
        let (Some(listener), Some(held)) = (self.listener(slot, door), self.held.get(&slot)) else { return };
        let spec = listener.spec.clone();
        let level = guest.as_ref().map_or(AccessLevel::None, |guest| guest.level(&spec, &held.spec.access));
        let Some(guest) = guest.filter(|_| level != AccessLevel::None) else {
            info!(name = %held.spec.name, place = %spec.place, "a connection to the console was turned away");
            return;
        };
        // Of no use on a Unix socket, and refused there by nobody.
        let _ = setsockopt(&socket, sockopt::KeepAlive, &true);
        let (user, host) = guest.shown();
        let may_write = level == AccessLevel::Write && spec.speaks != Speaks::Log;
        let entering = Entering {
            user,
            host,
            may_write,
            wish: if may_write { Wish::Attach } else { Wish::Spy },
            from: None,
            replay_lines: 0,
            escape: crate::console::escape::DEFAULT,
            quiet: true,
        };
        self.make_tape(slot);
        match self.welcome(slot, socket, spec.speaks, &entering) {
            Ok(id) => {
                if let Some(viewer) = self.viewers.get_mut(&id) {
                    viewer.guest = Some((door, guest));
                }
                self.flush_viewer(id);
            }
            Err(refusal) => info!(place = %spec.place, %refusal, "a connection to the console was turned away"),
        }
    }

    fn welcome(
        &mut self,
        slot: u32,
        socket: OwnedFd,
        speaks: Speaks,
        entering: &Entering,
    ) -> Result<u32, KeeperRefusal> {
        let Some(held) = self.held.get(&slot) else { return Err(KeeperRefusal::Lost) };
        let Some(tape) = &held.console.tape else { return Err(KeeperRefusal::Lost) };
        let from = tape.ring().lines_back(usize::from(held.spec.console.replay_lines));
        let (manner, outbox) = match speaks {
            Speaks::Raw => (Manner::Raw, Outbox::raw(Vec::new(), from)),
            Speaks::ProcServ => {
                let mut words = self.banner(slot, entering.may_write).unwrap_or_default().into_bytes();
                words.extend_from_slice(&REQUESTS);
                (Manner::Keys(Receiver::default()), Outbox::new(words, from))
            }
            Speaks::Log => {
                let words = self.banner(slot, false).unwrap_or_default().into_bytes();
                (Manner::Stream, Outbox::new(words, from))
            }
        };
        self.sit(slot, socket, manner, outbox, entering)
    }

    fn listener(&self, slot: u32, door: u32) -> Option<&Listener> {
        self.held.get(&slot)?.console.listeners.iter().find(|listener| listener.door == door)
    }

    /// Everybody is let go, and nobody comes in any more.
    pub(super) fn close_console(&mut self, held: &mut Held) {
        for id in &held.console.viewers {
            if let Some(mut viewer) = self.viewers.remove(id) {
                if let Some(tape) = &held.console.tape {
                    viewer.flush(tape.ring());
                }
                viewer.part("released");
                let _ = self.epoll.delete(&viewer.socket);
            }
        }
        let mut leaving = Vec::new();
        for listener in std::mem::take(&mut held.console.listeners) {
            self.doors.remove(&listener.door);
            if let Some(socket) = listener.socket {
                let _ = self.epoll.delete(&socket);
                leaving.push((listener.spec.place, socket));
            }
        }
        // Here and now: who defines it anew finds the place free, and the keeper may be about to end.
        sockets::exchange(leaving, Vec::new());
        self.forget_tape(held.console.tape.as_ref().map_or(TAPE_BYTES_FIRST, Tape::capacity));
    }
}
