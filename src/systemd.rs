//! Telling the service manager how we are, and having it keep descriptors: `sd_notify`, which is one datagram to the socket
//! that `NOTIFY_SOCKET` names.
//!
//! Must not know: what "ready" means, what a descriptor is for; its callers do.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

use crate::sys::{fdpass, inherited};

/// What the service manager says to the process that it has started, and to nobody below that.
pub const VARIABLES: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "FDSTORE"];
/// The first number under which it gives a process what it has kept for it.
const KEPT_FIRST: i32 = 3;
/// It is one quick loop, too; one that leaves its socket full for so long is stuck, and we must not get stuck with it.
const SEND_WAIT_MS_MAX: u16 = 2_000;

/// A connection to the service manager that has started this process.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// `None` where there is none.
    pub fn connect() -> io::Result<Option<Self>> {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        address.map(|address| Self::at(&address)).transpose()
    }

    pub fn at(address: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&parse_address(address)?)?;
        Ok(Self { socket })
    }

    pub fn say(&self, state: &str) -> nix::Result<()> {
        self.send(state, &[])
    }

    /// Has it keep copies of descriptors, which the next process of this unit gets.
    pub fn keep(&self, name: &str, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        self.send(&format!("FDSTORE=1\nFDNAME={name}\n"), fds)
    }

    pub fn forget(&self, name: &str) -> nix::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
    }

    fn send(&self, state: &str, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        fdpass::send_within(&self.socket.as_fd(), state.as_bytes(), fds, SEND_WAIT_MS_MAX)
    }
}

/// What the service manager has kept for this process, with the names. To be asked once, before anything else is opened.
pub fn take_kept() -> Vec<(String, OwnedFd)> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Vec::new();
    }
    let count: i32 = variable("LISTEN_FDS").parse().unwrap_or(0);
    let names = variable("LISTEN_FDNAMES");
    let names = names.split(':').chain(std::iter::repeat(""));
    let numbers = (0..count).filter_map(|index| KEPT_FIRST.checked_add(index));
    let taken = numbers.zip(names).filter_map(|(number, name)| match inherited::take(number) {
        Ok(fd) => Some((name.to_owned(), fd)),
        Err(error) => {
            warn!(number, name, %error, "what systemd says that it has kept is not there");
            None
        }
    });
    taken.collect()
}

/// How many descriptors the service manager keeps for this unit, where it says so.
pub fn store_max() -> Option<usize> {
    std::env::var("FDSTORE").ok()?.parse().ok()
}

/// Tells the service manager that we serve, and which process to watch. `false` where there is no manager.
pub fn notify_ready(pid: u32) -> io::Result<bool> {
    notify(&format!("READY=1\nMAINPID={pid}\n"))
}

/// Tells the service manager that this very process serves, and how.
pub fn notify_serving(status: &str) -> io::Result<bool> {
    notify(&format!("READY=1\nSTATUS={status}\n"))
}

/// Tells the service manager that this process still turns.
pub fn notify_alive() -> io::Result<bool> {
    notify("WATCHDOG=1\n")
}

/// How often the service manager is to be told so: twice in the time that it allows; `None` where it does not ask.
pub fn watchdog() -> Option<Duration> {
    let is_for_us = std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (is_for_us && micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// Tells the service manager that an ordered stop has begun.
pub fn notify_stopping() -> io::Result<bool> {
    notify("STOPPING=1\n")
}

fn notify(state: &str) -> io::Result<bool> {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
        return Ok(false);
    };
    notify_at(&address, state)?;
    Ok(true)
}

/// The address is a path, or a name in the abstract namespace written with a leading `@`.
fn notify_at(address: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not stop us: the line is worth less than the service.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &parse_address(address)?)?;
    Ok(())
}

fn parse_address(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify_at(path.as_os_str(), "READY=1\n").unwrap();
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1\n");
    }

    #[test]
    fn an_abstract_name_is_told() {
        let name = format!("procyon-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify_at(OsStr::new(&format!("@{name}")), "STOPPING=1\n").unwrap();
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"STOPPING=1\n");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_not_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        assert!(notify_at(folder.path().join("absent").as_os_str(), "READY=1\n").is_err());
    }
}
