//! One ward's desk: its vault, the socket it speaks through while it lives, and the notices that wait for it.
//!
//! The vault and the notices are the ward's by name and stay when the process behind the socket changes.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use tracing::warn;

use super::handover::{DepositLeft, DeskLeft};
use super::vault::Vault;
use crate::keeper::deposit::{Ask, Notice, Tell, set_nonblocking};
use crate::sys::fdpass::{self, Frame};

/// Notices for a ward that is away or slow; the oldest go first. A keeper with thousands of containers may be away
/// while all of them end.
const NOTICES_MAX: usize = 16_384;
/// Frames that one turn of the loop takes from one ward.
const FRAMES_PER_TURN: usize = 64;

pub(super) struct Desk {
    vault: Vault,
    link: Option<Link>,
    /// Not yet seen, numbered in the order they came.
    notices: VecDeque<(u64, Notice)>,
    notices_made: u64,
    notices_lost: u64,
    /// The ward has said that it serves.
    is_ready: bool,
    news: News,
}

/// What a ward has said of itself since somebody looked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    pub(super) is_ready: bool,
    pub(super) is_alive: bool,
}

struct Link {
    socket: OwnedFd,
    fetch: Option<Fetch>,
    /// The number of the notice that was sent last.
    told: u64,
    /// The socket was full; the rest waits until it is writable.
    is_blocked: bool,
}

struct Fetch {
    number: u32,
    /// The key that was sent last.
    after: Option<String>,
}

impl Desk {
    pub(super) fn new(descriptors_max: usize) -> Self {
        Self {
            vault: Vault::new(descriptors_max),
            link: None,
            notices: VecDeque::new(),
            notices_made: 0,
            notices_lost: 0,
            is_ready: false,
            news: News::default(),
        }
    }

    /// A new process of the ward speaks through `socket`.
    pub(super) fn meet(&mut self, socket: OwnedFd) {
        if let Err(error) = set_nonblocking(&socket) {
            warn!(%error, "a ward starts without its deposits");
            return;
        }
        self.link = Some(Link { socket, fetch: None, told: 0, is_blocked: false });
        self.is_ready = false;
        self.pump();
    }

    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// A ward whose queue is full is asked by what waits in it.
    pub(super) fn ask_whether_alive(&mut self) {
        if let Some(link) = &mut self.link {
            link.send(&Tell::Ping, &[]);
        }
    }

    /// Nothing is half said.
    pub(super) fn is_quiet(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.fetch.is_none())
    }

    pub(super) fn leave(&self) -> DeskLeft {
        let mut deposits = Vec::new();
        let mut after: Option<String> = None;
        while let Some((key, held)) = self.vault.next(after.as_deref()) {
            let fds = held.fds.iter().map(AsRawFd::as_raw_fd).collect();
            deposits.push(DepositLeft { key: key.to_owned(), bytes: held.bytes.clone(), fds });
            after = Some(key.to_owned());
        }
        DeskLeft {
            deposits,
            socket: self.link.as_ref().map(|link| link.socket.as_raw_fd()),
            notices: self.notices.iter().cloned().collect(),
            notices_made: self.notices_made,
            is_ready: self.is_ready,
        }
    }

    /// What another program has left in this process.
    pub(super) fn restore(
        &mut self,
        deposits: Vec<(String, Vec<u8>, Vec<OwnedFd>)>,
        socket: Option<OwnedFd>,
        (notices, notices_made): (Vec<(u64, Notice)>, u64),
        is_ready: bool,
    ) {
        for (key, bytes, fds) in deposits {
            if let Err(error) = self.vault.put(key.clone(), bytes, fds) {
                warn!(key, %error, "a deposit is lost");
            }
        }
        self.notices = notices.into();
        self.notices_made = notices_made;
        // What it was told already it is told again, which a ward expects.
        self.link = socket.map(|socket| Link { socket, fetch: None, told: 0, is_blocked: false });
        self.is_ready = is_ready;
        self.pump();
    }

    /// The process has ended: takes what is still in its socket, then closes it.
    pub(super) fn part(&mut self) {
        while self.take_one() {}
        self.link = None;
    }

    /// The deposits and notices have lost their meaning.
    pub(super) fn forget(&mut self) {
        self.vault.clear();
        self.notices.clear();
    }

    pub(super) fn notify_reaped(&mut self, pid: i32, raw_status: i32, at_unix_ms: u64) {
        self.notify(Notice::Reaped { pid, raw_status, at_unix_ms });
    }

    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let link = self.link.as_ref()?;
        let write = if link.is_blocked { PollFlags::POLLOUT } else { PollFlags::empty() };
        Some((link.socket.as_fd(), PollFlags::POLLIN | write))
    }

    /// The socket is ready: take what came, send what waits.
    pub(super) fn serve(&mut self) {
        for _ in 0..FRAMES_PER_TURN {
            if !self.take_one() {
                break;
            }
        }
        self.pump();
    }

    /// Whether there may be more to take.
    fn take_one(&mut self) -> bool {
        let Some(link) = &self.link else { return false };
        match fdpass::receive(&link.socket) {
            Ok(Some(frame)) => self.take(frame),
            Err(Errno::EAGAIN) => return false,
            // More descriptors than we may open: they are lost, but the frame is out of the queue.
            Err(error @ (Errno::EMSGSIZE | Errno::ENOBUFS)) => warn!(%error, "a deposit was cut short and is not kept"),
            Ok(None) | Err(_) => {
                self.link = None;
                return false;
            }
        }
        true
    }

    fn take(&mut self, frame: Frame) {
        match postcard::from_bytes(&frame.bytes) {
            Ok(Ask::Put { key, bytes }) => {
                if let Err(error) = self.vault.put(key.clone(), bytes, frame.fds) {
                    warn!(key, %error, held = self.vault.len(), "a deposit is refused");
                    self.notify(Notice::Refused { key, why: error.to_string() });
                }
            }
            Ok(Ask::Drop { key }) => self.vault.remove(&key),
            Ok(Ask::Ready) => {
                self.is_ready = true;
                self.news.is_ready = true;
            }
            Ok(Ask::Alive) => self.news.is_alive = true,
            Ok(Ask::Fetch { number }) => {
                if let Some(link) = &mut self.link {
                    link.fetch = Some(Fetch { number, after: None });
                }
            }
            Ok(Ask::Seen { number }) => {
                while self.notices.front().is_some_and(|(first, _)| *first <= number) {
                    self.notices.pop_front();
                }
            }
            Err(error) => warn!(%error, "a ward sent what is no order"),
        }
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
            self.notices_lost += 1;
            warn!(lost = self.notices_lost, "nobody reads notices: the oldest is dropped");
        }
        self.notices_made += 1;
        self.notices.push_back((self.notices_made, notice));
        self.pump();
    }

    /// Sends what waits until nothing does or the socket is full.
    fn pump(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.is_blocked = false;
        let untold = self.notices.partition_point(|(number, _)| *number <= link.told);
        for (number, notice) in self.notices.range(untold..) {
            if !link.send(&Tell::Notice { number: *number, notice: notice.clone() }, &[]) {
                return;
            }
            link.told = *number;
        }
        while let Some(Fetch { number, after }) = &link.fetch {
            let number = *number;
            let Some((key, held)) = self.vault.next(after.as_deref()) else {
                if link.send(&Tell::Fetched { number }, &[]) {
                    link.fetch = None;
                    continue;
                }
                return;
            };
            let tell = Tell::Deposit { number, key: key.to_owned(), bytes: held.bytes.clone() };
            if !link.send(&tell, &held.fds) {
                return;
            }
            link.fetch = Some(Fetch { number, after: Some(key.to_owned()) });
        }
    }
}

impl Link {
    /// `false` when it was not sent: the socket is full, or the ward is about to be reaped.
    fn send(&mut self, tell: &Tell, fds: &[OwnedFd]) -> bool {
        let frame = postcard::to_stdvec(tell).expect("plain values are encoded into memory");
        match fdpass::send(&self.socket, &frame, fds) {
            Ok(()) => true,
            Err(error) => {
                self.is_blocked = error == Errno::EAGAIN;
                false
            }
        }
    }
}
