//! What the keeper hands over for safe keeping, so that its successor goes on where it was.
//!
//! One deposit a container: a [`Record`] and the descriptors it lists, renewed at each change and before each exec.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::container::checkpoint::Checkpoint;
use crate::container::machine::{ExitStatus, RunId};
use crate::container::spec::{ContainerSpec, Sha256};
pub use crate::keeper::deposit::Deposited;
use crate::keeper::deposit::{DepositClient, Notice};
use crate::keeper::protocol::Asker;

const KEY_PREFIX: &str = "container ";

/// Who keeps the deposits: the custodian, or nobody when the keeper runs alone.
pub trait Deposit {
    /// Keeps copies under the key, in the place of what was there.
    fn put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()>;
    /// Forgets what is under the key.
    fn take_back(&mut self, key: &str) -> nix::Result<()>;
    /// Everything that a predecessor has left.
    fn fetch(&mut self) -> nix::Result<Vec<Deposited>>;
    /// Readable when [`Self::reaped`] has something to tell.
    fn notices(&self) -> Option<BorrowedFd<'_>>;
    /// One child of a predecessor that has ended; `Ok(None)` when there is none now. An error means that the other side
    /// is gone: the keeper carries on without.
    fn reaped(&mut self) -> nix::Result<Option<Orphan>>;
    /// The keeper serves.
    fn ready(&mut self) -> nix::Result<()>;
}

/// As the custodian has reaped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    pub pid: i32,
    pub raw_status: i32,
    pub at_unix_ms: u64,
}

/// Keeps nothing: for a keeper that runs alone.
#[derive(Debug, Default)]
pub struct Nobody;

impl Deposit for Nobody {
    fn put(&mut self, _: &str, _: &[u8], _: &[BorrowedFd<'_>]) -> nix::Result<()> {
        Ok(())
    }

    fn take_back(&mut self, _: &str) -> nix::Result<()> {
        Ok(())
    }

    fn fetch(&mut self) -> nix::Result<Vec<Deposited>> {
        Ok(Vec::new())
    }

    fn notices(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn reaped(&mut self) -> nix::Result<Option<Orphan>> {
        Ok(None)
    }

    fn ready(&mut self) -> nix::Result<()> {
        Ok(())
    }
}

impl Deposit for DepositClient {
    fn put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        DepositClient::put(self, key, bytes, fds)
    }

    fn take_back(&mut self, key: &str) -> nix::Result<()> {
        DepositClient::drop(self, key)
    }

    fn fetch(&mut self) -> nix::Result<Vec<Deposited>> {
        DepositClient::fetch(self)
    }

    fn notices(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn ready(&mut self) -> nix::Result<()> {
        DepositClient::ready(self)
    }

    fn reaped(&mut self) -> nix::Result<Option<Orphan>> {
        loop {
            match self.receive()? {
                Some(Notice::Reaped { pid, raw_status, at_unix_ms }) => {
                    return Ok(Some(Orphan { pid, raw_status, at_unix_ms }));
                }
                Some(Notice::Refused { key, why }) => {
                    warn!(%key, %why, "the custodian did not keep a deposit: it would not survive the keeper");
                }
                None => return Ok(None),
            }
        }
    }
}

/// What each descriptor of a deposit is, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    OutputRead,
    OutputWrite,
    ErrorsRead,
    ErrorsWrite,
    TerminalMaster,
    Script,
    Checksums,
    /// The memfd into which the child writes its process id before exec.
    RunRecord,
    Door,
    Pidfd,
    /// What the console has shown last, and how far the logs are.
    Tape,
    /// In the order of the console's listeners.
    ConsoleListener,
    ReadyPipe,
    Notify,
    Daemon,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub spec: ContainerSpec,
    pub expected: Option<Sha256>,
    pub frozen: Option<Sha256>,
    pub checkpoint: Checkpoint,
    /// On the monotonic clock, which outlives the process.
    pub taken_at_ms: u64,
    pub defined_unix_ms: u64,
    /// Its place in the order of starts.
    pub place: u64,
    pub run: Option<RunFacts>,
    pub last: Option<LastRun>,
    pub output_bytes: u64,
    pub input_bytes: u64,
    pub asked: Option<Asker>,
    /// Which listeners of its console are open; their descriptors come in this order.
    pub open_listeners: Vec<u8>,
    pub by_permit: bool,
    /// Process id and start time of the daemon that the start command has left.
    pub daemon: Option<(i32, u64)>,
    pub roles: Vec<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    pub run: RunId,
    pub started_unix_ms: u64,
    pub is_ready: bool,
    pub ready_in: Option<Duration>,
    pub outdated: bool,
    pub uid: u32,
    pub is_deaf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    pub run: RunId,
    pub started_unix_ms: u64,
    pub ended_unix_ms: u64,
    pub exit: ExitStatus,
}

pub fn key(name: &crate::container::spec::ContainerName) -> String {
    format!("{KEY_PREFIX}{name}")
}

pub fn is_container(key: &str) -> bool {
    key.starts_with(KEY_PREFIX)
}
