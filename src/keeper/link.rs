//! One agent's connection: a bounded queue of frames to it.
//!
//! The keeper never waits for an agent. Answers are always queued (an agent gets no new order taken while too many are);
//! events beyond the bound are forgotten, and only the names they were about are kept: when the agent reads again, it
//! gets the present state of those.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;

use super::protocol::{Up, encode};
use crate::container::spec::{ContainerName, Floor};
use crate::sys::fdpass;

pub const EVENTS_QUEUED_MAX: usize = 256;
/// Frames in the queue above which no order is read.
pub const ANSWERS_QUEUED_MAX: usize = 512;

#[derive(Debug)]
pub struct Link {
    pub socket: OwnedFd,
    pub greeted: bool,
    /// Whose starts it orders, and of whose containers alone it hears.
    pub attends: Option<Floor>,
    /// What epoll looks for now.
    pub watched: EpollFlags,
    queue: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    behind: BTreeSet<ContainerName>,
}

impl Link {
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            greeted: false,
            attends: None,
            watched: EpollFlags::EPOLLIN,
            queue: VecDeque::new(),
            behind: BTreeSet::new(),
        }
    }

    pub fn answer(&mut self, up: &Up, fds: Vec<OwnedFd>) {
        self.queue.push_back((encode(up), fds));
    }

    pub fn event(&mut self, about: &ContainerName, up: &Up, fds: Vec<OwnedFd>) {
        if !self.hears_of(about) {
            return;
        }
        if self.behind.is_empty() && self.queue.len() < EVENTS_QUEUED_MAX {
            self.queue.push_back((encode(up), fds));
        } else {
            self.behind.insert(about.clone());
        }
    }

    /// Who looks after one floor is not woken for the others.
    pub fn hears_of(&self, name: &ContainerName) -> bool {
        self.greeted && self.attends.is_none_or(|floor| name.floor() == floor)
    }

    /// A name whose present state the agent has yet to be told; only when everything older is sent.
    pub fn next_behind(&mut self) -> Option<ContainerName> {
        if self.queue.is_empty() { self.behind.pop_first() } else { None }
    }

    pub fn takes_orders(&self) -> bool {
        self.queue.len() < ANSWERS_QUEUED_MAX
    }

    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends what the agent takes now; an error means that the connection is over.
    pub fn flush(&mut self) -> nix::Result<()> {
        while let Some((bytes, fds)) = self.queue.front() {
            match fdpass::send(&self.socket, bytes, fds) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::Event;
    use crate::sys::spawn::set_nonblocking;

    #[test]
    fn a_floor_hears_of_its_own_containers_alone() {
        let (ours, _theirs) = fdpass::pair().unwrap();
        let mut link = Link::new(ours);
        link.greeted = true;
        link.attends = Some(Floor::Process);
        for name in ["poll", "container:poll", "process:poll"] {
            let name = ContainerName::parse(name).unwrap();
            link.event(&name, &Up::Event(Event::Released { name: name.clone() }), vec![]);
        }
        assert_eq!(link.queued(), 1);
    }

    #[test]
    fn an_agent_that_does_not_read_costs_a_bounded_queue_and_is_told_the_present_state_later() {
        let (ours, theirs) = fdpass::pair().unwrap();
        set_nonblocking(&ours).unwrap();
        set_nonblocking(&theirs).unwrap();
        let mut link = Link::new(ours);
        link.greeted = true;
        let name = ContainerName::parse("chatty").unwrap();
        for _ in 0..100_000 {
            link.event(&name, &Up::Event(Event::Released { name: name.clone() }), vec![]);
            link.flush().unwrap();
        }
        assert_eq!(link.queue.len(), EVENTS_QUEUED_MAX);
        assert_eq!(link.next_behind(), None);
        while link.has_queued() {
            while let Ok(Some(_)) = fdpass::receive(&theirs) {}
            link.flush().unwrap();
        }
        assert_eq!(link.next_behind(), Some(name));
        assert_eq!(link.next_behind(), None);
    }
}
