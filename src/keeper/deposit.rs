//! Deposits: what agent and keeper leave with the custodian, so that their next life goes on where this one was.
//!
//! ```text
//!  ward                               custodian
//!   | put KEY bytes descriptors ------> |  kept per ward name, whatever becomes of the ward
//!   | drop KEY -----------------------> |
//!   | fetch --------------------------> |
//!   | <------ deposit, deposit, fetched |
//!   | <-- reaped pid status time        |  orphans, to the keeper only; those of a dead keeper wait for the next
//!   | <-- refused KEY why               |  a bound was met: this deposit will not survive the ward
//!   | ready --------------------------> |  it serves
//!   | <-- ping; alive ----------------> |  now and then; who does not answer for long is killed, and started anew
//! ```
//! One frame a deposit over an inherited `SOCK_SEQPACKET` descriptor, whose number follows `--deposit-fd`. A put is not
//! answered: once it is in the socket's queue it outlives the sender, and the custodian empties that queue before it
//! looks at the sender's end.
//!
//! The contract of a ward when the custodian is gone: every call then gives `EPIPE`. The ward goes on without (nothing
//! of it depends on the custodian but its next life), says so once, and stops polling the descriptor.
//!
//! Must not know: what the deposits mean.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};

use crate::sys::fdpass::{self, FDS_PER_FRAME_MAX};

/// Half a frame: the rest is for the key and for growth.
pub const DEPOSIT_BYTES_MAX: usize = 32 * 1024;
pub const KEY_BYTES_MAX: usize = 512;
/// The custodian is one quick loop; one that leaves its socket full for so long is stuck, and a ward must not get stuck
/// with it.
const SEND_WAIT_MS_MAX: u16 = 2_000;
/// Between two frames of a fetch.
const FETCH_WAIT_MS_MAX: u16 = 5_000;
/// Notices that came while nobody looked; the oldest go first.
const NOTICES_WAITING_MAX: usize = 4096;
/// Notices handed out between two acknowledgements, while more wait.
const SEEN_EVERY: u32 = 64;

/// What a ward says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Put {
        key: String,
        bytes: Vec<u8>,
    },
    Drop {
        key: String,
    },
    /// The number comes back with every answer, so that what is left of a fetch given up is not taken for the next.
    Fetch {
        number: u32,
    },
    /// Notices up to this one have been dealt with.
    Seen {
        number: u64,
    },
    /// It serves; from here on it answers when it is asked whether it still turns.
    Ready,
    /// The answer.
    Alive,
}

/// What the custodian says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Tell {
    Deposit {
        number: u32,
        key: String,
        bytes: Vec<u8>,
    },
    Fetched {
        number: u32,
    },
    /// Kept, and told again to the next process of the ward, until it is `Seen`.
    Notice {
        number: u64,
        notice: Notice,
    },
    /// Whether the ward still turns. Asked of those only that are [`Ask::Ready`].
    Ping,
}

/// One thing left with the custodian.
#[derive(Debug)]
pub struct Deposited {
    pub key: String,
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// What the custodian has to tell without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// A process below the custodian had lost its parent and has ended. `raw_status` is what `wait(2)` gave.
    Reaped { pid: i32, raw_status: i32, at_unix_ms: u64 },
    /// The deposit was not kept, because of the bound that `why` names.
    Refused { key: String, why: String },
}

/// A ward's end.
#[derive(Debug)]
pub struct DepositClient {
    socket: OwnedFd,
    /// Came in the middle of a fetch.
    notices: VecDeque<(u64, Notice)>,
    notices_lost: u64,
    /// The last notice handed out, and how many since the custodian was told.
    handed_out: u64,
    unacknowledged: u32,
    fetches: u32,
    /// What the custodian holds nothing of, or something older.
    refused: BTreeSet<String>,
    is_gone: bool,
}

impl DepositClient {
    /// Takes the descriptor that came with `--deposit-fd`.
    pub fn new(socket: OwnedFd) -> nix::Result<Self> {
        set_nonblocking(&socket)?;
        Ok(Self {
            socket,
            notices: VecDeque::new(),
            notices_lost: 0,
            handed_out: 0,
            unacknowledged: 0,
            fetches: 0,
            refused: BTreeSet::new(),
            is_gone: false,
        })
    }

    /// Takes the inherited descriptor `number`, as the command line names it.
    pub fn inherited(number: i32) -> nix::Result<Self> {
        Self::new(crate::sys::inherited::take(number)?)
    }

    /// Leaves `bytes` and copies of `fds` under `key`, in place of what was there.
    pub fn put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let put = put(&self.socket, key, bytes, fds);
        self.is_gone |= put == Err(Errno::EPIPE);
        put?;
        // Unless it says no again.
        self.refused.remove(key);
        Ok(())
    }

    /// Takes back what is under `key`; nothing there is no error.
    pub fn drop(&mut self, key: &str) -> nix::Result<()> {
        drop_key(&self.socket, key)?;
        self.refused.remove(key);
        Ok(())
    }

    /// Says that this ward serves. Who says so must look for notices from then on: one that does not is taken for hung.
    pub fn ready(&self) -> nix::Result<()> {
        self.send(&Ask::Ready, &[])
    }

    /// All that this ward, in this life or an earlier one, has left; in the order of the keys.
    pub fn fetch(&mut self) -> nix::Result<Vec<Deposited>> {
        self.fetches = self.fetches.wrapping_add(1);
        let wanted = self.fetches;
        self.send(&Ask::Fetch { number: wanted }, &[])?;
        let mut deposits = Vec::new();
        loop {
            let Some((tell, fds)) = self.next()? else {
                if fdpass::wait(&self.socket, PollFlags::POLLIN, FETCH_WAIT_MS_MAX)? {
                    continue;
                }
                return Err(Errno::ETIMEDOUT);
            };
            match tell {
                Tell::Deposit { number, key, bytes } if number == wanted => {
                    deposits.push(Deposited { key, bytes, fds });
                }
                Tell::Fetched { number } if number == wanted => return Ok(deposits),
                Tell::Deposit { .. } | Tell::Fetched { .. } => {}
                Tell::Notice { number, notice } => self.keep(number, notice),
                Tell::Ping => self.send(&Ask::Alive, &[])?,
            }
        }
    }

    /// The next notice, or `None` where none waits. Call it until `None` whenever [`AsFd::as_fd`] is readable, and once
    /// after a fetch. Asking for the next says that the one before has been dealt with: a ward that dies in between
    /// leaves it to the next, so a notice may come twice but is never lost.
    pub fn receive(&mut self) -> nix::Result<Option<Notice>> {
        let next = match self.notices.pop_front() {
            Some(waiting) => Some(waiting),
            None => self.next_notice().inspect_err(|error| self.is_gone |= *error == Errno::EPIPE)?,
        };
        if self.unacknowledged >= SEEN_EVERY || (next.is_none() && self.unacknowledged > 0) {
            self.send(&Ask::Seen { number: self.handed_out }, &[])?;
            self.unacknowledged = 0;
        }
        let Some((number, notice)) = next else { return Ok(None) };
        self.handed_out = number;
        self.unacknowledged += 1;
        if let Notice::Refused { key, .. } = &notice {
            self.refused.insert(key.clone());
        }
        Ok(Some(notice))
    }

    fn next_notice(&self) -> nix::Result<Option<(u64, Notice)>> {
        loop {
            match self.next()? {
                Some((Tell::Notice { number, notice }, _)) => return Ok(Some((number, notice))),
                // What is left of a fetch that was given up.
                Some((Tell::Deposit { .. } | Tell::Fetched { .. }, _)) => {}
                Some((Tell::Ping, _)) => self.send(&Ask::Alive, &[])?,
                None => return Ok(None),
            }
        }
    }

    /// The custodian has ended.
    pub fn is_alone(&self) -> bool {
        self.is_gone
    }

    /// How many deposits are not kept, or only in an older form.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Notices that came in the middle of a fetch and found no room.
    pub fn notices_lost(&self) -> u64 {
        self.notices_lost
    }

    fn keep(&mut self, number: u64, notice: Notice) {
        if self.notices.len() == NOTICES_WAITING_MAX {
            self.notices.pop_front();
            self.notices_lost += 1;
        }
        self.notices.push_back((number, notice));
    }

    fn send(&self, ask: &Ask, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        send(&self.socket, ask, fds)
    }

    fn next(&self) -> nix::Result<Option<(Tell, Vec<OwnedFd>)>> {
        match fdpass::receive(&self.socket) {
            Ok(Some(frame)) => {
                let tell = postcard::from_bytes(&frame.bytes).map_err(|_| Errno::EBADMSG)?;
                Ok(Some((tell, frame.fds)))
            }
            Ok(None) | Err(Errno::ECONNRESET) => Err(Errno::EPIPE),
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for DepositClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn put(socket: &OwnedFd, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
    if key.len() > KEY_BYTES_MAX || bytes.len() > DEPOSIT_BYTES_MAX || fds.len() > FDS_PER_FRAME_MAX {
        return Err(Errno::EMSGSIZE);
    }
    send(socket, &Ask::Put { key: key.to_owned(), bytes: bytes.to_vec() }, fds)
}

fn drop_key(socket: &OwnedFd, key: &str) -> nix::Result<()> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Errno::EMSGSIZE);
    }
    send(socket, &Ask::Drop { key: key.to_owned() }, &[])
}

fn send(socket: &OwnedFd, ask: &Ask, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let frame = postcard::to_stdvec(ask).map_err(|_| Errno::EMSGSIZE)?;
    match fdpass::send_within(socket, &frame, fds, SEND_WAIT_MS_MAX) {
        Err(Errno::ECONNRESET | Errno::ENOTCONN) => Err(Errno::EPIPE),
        sent => sent,
    }
}

pub(super) fn set_nonblocking(socket: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}
