//! Who keeps what agent and keeper leave for their next life: the custodian, systemd, or nobody. One interface for all.
//!
//! ```text
//!  agent, keeper --- Deposit ---+--- DepositClient --> the custodian, which has started us
//!                               +--- Store ----------> systemd's descriptor store, whose unit we are
//!                               `--- Nobody            started by hand, alone
//! ```
//! Must not know: what the deposits mean.

use std::os::fd::{AsFd as _, BorrowedFd};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::deposit::{DepositClient, Deposited, Notice};

pub trait Deposit: std::fmt::Debug + Send {
    /// Keeps copies under the key, in the place of what was there.
    fn put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()>;
    /// Forgets what is under the key.
    fn take_back(&mut self, key: &str) -> nix::Result<()>;
    /// Everything that a predecessor has left.
    fn fetch(&mut self) -> nix::Result<Vec<Deposited>>;
    /// Readable when [`Self::reaped`] is to be called, until it has nothing to tell.
    fn notices(&self) -> Option<BorrowedFd<'_>>;
    /// One child of a predecessor that has ended; `Ok(None)` when there is none now. An error means that the other side
    /// is gone: we carry on without.
    fn reaped(&mut self) -> nix::Result<Option<Orphan>>;
    /// We serve.
    fn ready(&mut self) -> nix::Result<()>;
    /// How well the next life is provided for.
    fn kept(&self) -> Kept;
}

/// Who keeps deposits, and of how many it does not, or only what was left before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub by: Keeping,
    pub refused: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeping {
    Custodian,
    Systemd,
    Nobody,
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

    fn kept(&self) -> Kept {
        Kept { by: Keeping::Nobody, refused: 0 }
    }
}

impl Deposit for DepositClient {
    fn put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        Self::put(self, key, bytes, fds)
    }

    fn take_back(&mut self, key: &str) -> nix::Result<()> {
        Self::drop(self, key)
    }

    fn fetch(&mut self) -> nix::Result<Vec<Deposited>> {
        Self::fetch(self)
    }

    fn notices(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn reaped(&mut self) -> nix::Result<Option<Orphan>> {
        loop {
            match self.receive()? {
                Some(Notice::Reaped { pid, raw_status, at_unix_ms }) => {
                    return Ok(Some(Orphan { pid, raw_status, at_unix_ms }));
                }
                Some(Notice::Refused { key, why }) => {
                    warn!(%key, %why, "the custodian did not keep a deposit: our next life will not find it");
                }
                None => return Ok(None),
            }
        }
    }

    fn ready(&mut self) -> nix::Result<()> {
        Self::ready(self)
    }

    fn kept(&self) -> Kept {
        let by = if self.is_alone() { Keeping::Nobody } else { Keeping::Custodian };
        Kept { by, refused: u32::try_from(self.refused()).unwrap_or(u32::MAX) }
    }
}
