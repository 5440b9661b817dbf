//! The connections of agents: accepting, greeting, reading orders, sending answers and events.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{SockFlag, accept4, getsockopt, sockopt::PeerCredentials};
use tracing::{debug, info, warn};

use super::{Driver, LINKS_MAX, Source};
use crate::container::spec::ContainerName;
use crate::keeper::link::Link;
use crate::keeper::protocol::{Answer, Down, Event, MAGIC, Up, VERSION, decode};
use crate::keeper::refusal::KeeperRefusal;
use crate::sys::fdpass;

/// Frames to one agent that one turn gathers, well below what an agent may leave unread.
const EVENTS_A_TURN_MAX: usize = 64;
/// Orders of one agent a turn of the loop.
const ORDERS_PER_TURN_MAX: usize = 64;

impl Driver {
    pub(super) fn accept(&mut self) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(raw) = accept4(self.listener.as_raw_fd(), flags) else { return };
        let socket = crate::sys::process::owned(raw);
        let own = nix::unistd::getuid().as_raw();
        let allowed = getsockopt(&socket, PeerCredentials).is_ok_and(|peer| peer.uid() == own || peer.uid() == 0);
        if !allowed || self.links.len() >= LINKS_MAX {
            warn!(allowed, links = self.links.len(), "a connection is not taken");
            return;
        }
        let id = self.fresh_id();
        match self.watch(&socket, Source::Link(id), EpollFlags::EPOLLIN) {
            Ok(()) => drop(self.links.insert(id, Link::new(socket))),
            Err(error) => warn!(%error, "a connection cannot be watched"),
        }
    }

    pub(super) fn link_ready(&mut self, id: u32, flags: EpollFlags) {
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            for _ in 0..ORDERS_PER_TURN_MAX {
                let Some(link) = self.links.get(&id) else { return };
                if !link.takes_orders() {
                    break;
                }
                match fdpass::receive(link) {
                    Ok(Some(frame)) => self.frame_came(id, &frame.bytes, frame.fds),
                    Err(Errno::EAGAIN) => break,
                    Ok(None) | Err(_) => return self.end_link(id),
                }
            }
        }
        self.flush_link(id);
    }

    fn frame_came(&mut self, id: u32, bytes: &[u8], fds: Vec<OwnedFd>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match decode::<Down>(bytes) {
            Some(Down::Hello { magic: MAGIC, version }) if !link.greeted => {
                let pid = i32::try_from(std::process::id()).unwrap_or(0);
                link.answer(&Up::Hello { version: VERSION, pid }, vec![]);
                // An agent of another version reads ours in the answer and goes.
                link.greeted = version == VERSION;
                info!(link = id, version, "agent connected");
            }
            Some(Down::Order { id: order_id, order }) if link.greeted => self.order(id, order_id, order, fds),
            Some(Down::Order { id: order_id, .. }) => {
                let refusal = KeeperRefusal::Version { keeper: VERSION, asked: 0 };
                self.answer(id, order_id, Err(refusal), vec![]);
            }
            Some(Down::Attend { floor }) if link.greeted => {
                link.attends = Some(floor);
                self.floor_came(floor);
            }
            Some(Down::Hello { .. } | Down::Attend { .. }) | None => {
                warn!(link = id, bytes = bytes.len(), "a frame that is no order: connection closed");
                self.end_link(id);
            }
        }
    }

    pub(super) fn answer(&mut self, link: u32, id: u64, answer: Result<Answer, KeeperRefusal>, fds: Vec<OwnedFd>) {
        if let Some(to) = self.links.get_mut(&link) {
            to.answer(&Up::Answer { id, answer }, fds);
            self.flush_link(link);
        }
    }

    pub(super) fn tell(&mut self, slot: u32, event: &Event, door: Option<&OwnedFd>) {
        if let Some(name) = self.held.get(&slot).map(|held| held.spec.name.clone()) {
            self.tell_all(&name, event, door);
        }
    }

    pub(super) fn tell_all(&mut self, name: &ContainerName, event: &Event, door: Option<&OwnedFd>) {
        for id in self.hearers_of(name) {
            self.tell_one(id, name, event, door);
            self.flush_if_full(id);
        }
    }

    fn hearers_of(&self, name: &ContainerName) -> Vec<u32> {
        self.links.iter().filter(|(_, link)| link.hears_of(name)).map(|(id, _)| *id).collect()
    }

    fn tell_one(&mut self, id: u32, name: &ContainerName, event: &Event, door: Option<&OwnedFd>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match door.map(OwnedFd::try_clone).transpose() {
            Ok(door) => link.event(name, &Up::Event(event.clone()), door.into_iter().collect()),
            Err(error) => warn!(%name, %error, "a door cannot be handed over"),
        }
    }

    pub(super) fn tell_run_started(&mut self, slot: u32) {
        let Some(name) = self.held.get(&slot).map(|held| held.spec.name.clone()) else { return };
        for id in self.hearers_of(&name) {
            self.tell_run_started_to(id, slot);
            self.flush_if_full(id);
        }
    }

    fn tell_run_started_to(&mut self, id: u32, slot: u32) {
        let Some(held) = self.held.get(&slot) else { return };
        let (Some((pid, run)), Some(facts)) = (held.machine.process(), &held.run) else { return };
        let name = held.spec.name.clone();
        match facts.door.try_clone() {
            Ok(door) => self.tell_one(id, &name, &Event::RunStarted { name: name.clone(), run, pid }, Some(&door)),
            Err(error) => warn!(%name, %error, "a door cannot be handed over"),
        }
    }

    /// What is told waits for the end of the turn: an agent that is woken in the midst of a restart takes its processor.
    fn flush_if_full(&mut self, id: u32) {
        if self.links.get(&id).is_some_and(|link| link.queued() >= EVENTS_A_TURN_MAX) {
            self.flush_link(id);
        }
    }

    /// The end of a turn.
    pub(super) fn flush_links(&mut self) {
        let waits = |link: &Link| link.has_queued() && !link.watched.contains(EpollFlags::EPOLLOUT);
        let waiting: Vec<u32> = self.links.iter().filter(|(_, link)| waits(link)).map(|(id, _)| *id).collect();
        for id in waiting {
            self.flush_link(id);
        }
    }

    /// Sends what is queued; an agent that has caught up is told the present state of what it has missed.
    pub(super) fn flush_link(&mut self, id: u32) {
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            if let Err(error) = link.flush() {
                debug!(link = id, %error, "connection over");
                return self.end_link(id);
            }
            let Some(name) = link.next_behind() else { break };
            match self.slots.get(&name).copied() {
                Some(slot) => {
                    let report = self.held.get(&slot).map(|held| held.report(super::moment()));
                    if let Some(report) = report {
                        self.tell_one(id, &name, &Event::Changed(Box::new(report)), None);
                    }
                    self.tell_run_started_to(id, slot);
                }
                None => self.tell_one(id, &name, &Event::Released { name: name.clone() }, None),
            }
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, link.takes_orders());
        flags.set(EpollFlags::EPOLLOUT, link.has_queued());
        if std::mem::replace(&mut link.watched, flags) != flags {
            let link = &self.links[&id];
            self.rewatch(link, Source::Link(id), flags);
        }
    }

    fn end_link(&mut self, id: u32) {
        let Some(link) = self.links.remove(&id) else { return };
        let _ = self.epoll.delete(&link);
        info!(link = id, "agent disconnected");
        if let Some(floor) = link.attends {
            self.floor_went(floor);
        }
    }
}
