//! systemd's descriptor store as the keeper of deposits: for a process that a unit runs, and starts anew when it ends.
//!
//! ```text
//!  put --> parcel (new: FDSTORE=1 FDNAME=parcel-7) --> its queue       systemd holds both ends
//!  take back --> the parcel is emptied, and used again for another key
//!  next life --> LISTEN_FDS --> parcels --> what is in each is what was left
//! ```
//! What a parcel holds names the root, the key, and how new it is; so nothing that an earlier life has left can be taken for
//! something else. systemd does not say what it does not keep: how many it may keep is known from its environment (`FDSTORE`,
//! since 254), else from the unit that is shipped. Must not know: what the deposits mean.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::deposit::{DEPOSIT_BYTES_MAX, Deposited, KEY_BYTES_MAX};
use super::keeping::{Deposit, Keeping, Kept, Orphan};
use super::parcel::{self, Parcel};
use crate::sys::fdpass::{FDS_PER_FRAME_MAX, Frame};
use crate::sys::low::high;
use crate::systemd::{self, Manager};

/// `FileDescriptorStoreMax` of the units that are shipped.
pub const KEEPER_DESCRIPTORS_MAX: usize = 8448;
pub const AGENT_DESCRIPTORS_MAX: usize = 512;
const ENDS: usize = 2;
const NAME_PREFIX: &str = "parcel-";

/// What is in a parcel, its descriptors beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    root: String,
    key: String,
    /// Of two with one key, the one with the greater is the newer.
    sequence: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Store {
    manager: Manager,
    root: String,
    /// What systemd is told when we serve.
    serves: &'static str,
    used: BTreeMap<String, Parcel>,
    free: Vec<Parcel>,
    found: Vec<Deposited>,
    /// Of the next parcel, and of the next content.
    number: u64,
    sequence: u64,
    parcels_max: usize,
    refused: BTreeSet<String>,
    watchdog: Option<TimerFd>,
}

/// What is known of one that was found.
struct Found {
    parcel: Option<Parcel>,
    content: Content,
    fds: Vec<OwnedFd>,
}

impl Store {
    /// `None` where no service manager has started this process. `root` says whose deposits these are.
    pub fn open(root: &str, serves: &'static str, descriptors_max: usize) -> io::Result<Option<Self>> {
        let Some(manager) = Manager::connect()? else { return Ok(None) };
        let kept = systemd::take_kept();
        let descriptors_max = systemd::store_max().unwrap_or(descriptors_max);
        let mut store = Self::with(manager, root, serves, kept, descriptors_max);
        if let Some(every) = systemd::watchdog() {
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
            timer.set(Expiration::Interval(TimeSpec::from_duration(every)), TimerSetTimeFlags::empty())?;
            store.watchdog = Some(timer);
        }
        Ok(Some(store))
    }

    fn with(
        manager: Manager,
        root: &str,
        serves: &'static str,
        kept: Vec<(String, OwnedFd)>,
        descriptors_max: usize,
    ) -> Self {
        let mut store = Self {
            manager,
            root: root.to_owned(),
            serves,
            used: BTreeMap::new(),
            free: Vec::new(),
            found: Vec::new(),
            number: 0,
            sequence: 0,
            parcels_max: descriptors_max / ENDS,
            refused: BTreeSet::new(),
            watchdog: None,
        };
        store.take_in(kept);
        store
    }

    fn take_in(&mut self, kept: Vec<(String, OwnedFd)>) {
        let mut groups: BTreeMap<u64, Vec<OwnedFd>> = BTreeMap::new();
        for (name, fd) in kept {
            if let Some(number) = name.strip_prefix(NAME_PREFIX).and_then(|number| number.parse().ok()) {
                groups.entry(number).or_default().push(high(fd));
            }
        }
        self.number = groups.keys().next_back().map_or(0, |last| last + 1);
        let mut newest: BTreeMap<String, Found> = BTreeMap::new();
        for (number, ends) in groups {
            let Some(found) = self.open_parcel(number, ends) else { continue };
            self.sequence = self.sequence.max(found.content.sequence);
            let older = match newest.get(&found.content.key) {
                Some(other) if other.content.sequence > found.content.sequence => Some(found),
                _ => newest.insert(found.content.key.clone(), found),
            };
            if let Some(parcel) = older.and_then(|older| older.parcel) {
                parcel.clear();
                self.free.push(parcel);
            }
        }
        for (key, Found { parcel, content, fds }) in newest {
            match parcel {
                Some(parcel) => drop(self.used.insert(key.clone(), parcel)),
                // Half of a parcel cannot be filled again.
                None => {
                    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(OwnedFd::as_fd).collect();
                    // Told where it is refused.
                    let _ = self.put(&key, &content.bytes, &borrowed);
                }
            }
            self.found.push(Deposited { key, bytes: content.bytes, fds });
        }
    }

    /// What one parcel holds. One that is empty, foreign or broken is put where it belongs.
    fn open_parcel(&mut self, number: u64, mut ends: Vec<OwnedFd>) -> Option<Found> {
        let (parcel, frame) = match (ends.pop(), ends.pop()) {
            (Some(one), Some(other)) => match Parcel::of(one, other) {
                Ok((parcel, frame)) => (Some(parcel), frame),
                Err(error) => return self.let_go(number, &error.to_string()),
            },
            (Some(half), None) => {
                let frame = parcel::newest(&half).ok().flatten();
                self.let_go(number, "the other half of it was not kept");
                (None, frame)
            }
            (None, _) => return None,
        };
        let content = frame.and_then(|Frame { bytes, fds }| Some((postcard::from_bytes::<Content>(&bytes).ok()?, fds)));
        match content {
            Some((content, fds)) if content.root == self.root => Some(Found { parcel, content, fds }),
            other => {
                if let Some((content, _)) = other {
                    info!(key = content.key, root = content.root, "left for another root: forgotten");
                }
                if let Some(parcel) = parcel {
                    parcel.clear();
                    self.free.push(parcel);
                }
                None
            }
        }
    }

    /// systemd is to forget a parcel that is of no use.
    fn let_go(&self, number: u64, why: &str) -> Option<Found> {
        let name = format!("{NAME_PREFIX}{number}");
        warn!(name, why, "systemd gives us what is no parcel: it is to forget that");
        if let Err(error) = self.manager.forget(&name) {
            warn!(name, %error, "systemd does not hear us");
        }
        None
    }

    fn parcel(&mut self) -> nix::Result<Parcel> {
        if let Some(free) = self.free.pop() {
            return Ok(free);
        }
        if self.used.len() >= self.parcels_max {
            return Err(Errno::EDQUOT);
        }
        let parcel = Parcel::new()?;
        self.manager.keep(&format!("{NAME_PREFIX}{}", self.number), &parcel.ends())?;
        self.number += 1;
        Ok(parcel)
    }

    fn try_put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        if key.len() > KEY_BYTES_MAX || bytes.len() > DEPOSIT_BYTES_MAX || fds.len() > FDS_PER_FRAME_MAX {
            return Err(Errno::EMSGSIZE);
        }
        self.sequence += 1;
        let content =
            Content { root: self.root.clone(), key: key.to_owned(), sequence: self.sequence, bytes: bytes.to_vec() };
        let content = postcard::to_stdvec(&content).map_err(|_| Errno::EMSGSIZE)?;
        if let Some(parcel) = self.used.get(key) {
            return parcel.put(&content, fds);
        }
        let parcel = self.parcel()?;
        let put = parcel.put(&content, fds);
        match put {
            Ok(()) => drop(self.used.insert(key.to_owned(), parcel)),
            Err(_) => self.free.push(parcel),
        }
        put
    }
}

impl Deposit for Store {
    fn put(&mut self, key: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let put = self.try_put(key, bytes, fds);
        match put {
            Ok(()) => drop(self.refused.remove(key)),
            Err(error) => {
                if self.refused.insert(key.to_owned()) {
                    let why = match error {
                        Errno::EDQUOT => "the descriptor store is full: raise FileDescriptorStoreMax of the unit",
                        Errno::ETOOMANYREFS => "too many descriptors: raise LimitNOFILE of the unit",
                        _ => error.desc(),
                    };
                    warn!(key, why, "systemd does not keep a deposit: our next life will not find it");
                }
            }
        }
        put
    }

    fn take_back(&mut self, key: &str) -> nix::Result<()> {
        self.refused.remove(key);
        if let Some(parcel) = self.used.remove(key) {
            parcel.clear();
            self.free.push(parcel);
        }
        Ok(())
    }

    fn fetch(&mut self) -> nix::Result<Vec<Deposited>> {
        Ok(std::mem::take(&mut self.found))
    }

    fn notices(&self) -> Option<BorrowedFd<'_>> {
        self.watchdog.as_ref().map(|timer| timer.as_fd())
    }

    /// systemd tells of no ends; but it wants to hear that we turn.
    fn reaped(&mut self) -> nix::Result<Option<Orphan>> {
        if self.watchdog.as_ref().is_some_and(|timer| timer.wait().is_ok()) {
            // One that misses this ends us, and is heard of in its own log.
            let _ = self.manager.say("WATCHDOG=1\n");
        }
        Ok(None)
    }

    fn ready(&mut self) -> nix::Result<()> {
        self.manager.say(&format!("READY=1\nSTATUS={}\n", self.serves))
    }

    fn kept(&self) -> Kept {
        Kept { by: Keeping::Systemd, refused: u32::try_from(self.refused.len()).unwrap_or(u32::MAX) }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
