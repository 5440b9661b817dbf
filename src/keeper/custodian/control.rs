//! Orders to the custodian over `run/custodian.sock`, and the launcher's end of it.
//!
//! One postcard value a frame. Every order is answered by one reply; a connection that watches gets events besides.
//! Only processes of the custodian's own user, or root's, are listened to: what they may order they could do themselves.
//!
//! Must not know: why somebody starts or stops.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use serde::{Deserialize, Serialize};

use crate::sys::fdpass;

/// What the launcher asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Two descriptors ride along: standard output and standard error of every life of the agent.
    StartAgent(Command),
    StopAgent,
    /// Stop the agent, then the keeper with all containers in order, then end.
    Shutdown,
    Status,
    /// Events follow on this connection from now on.
    Watch,
    /// Become the program that is installed now, and start agent and keeper anew. Nothing that runs is touched.
    Upgrade,
}

/// A program to run: the first argument is its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    pub directory: PathBuf,
}

/// What the custodian says: replies, and events to those who watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tell {
    Started {
        pid: i32,
    },
    /// No pid while a restart is awaited.
    AlreadyServing {
        pid: Option<i32>,
    },
    NotStarted {
        reason: String,
    },
    Stopping {
        pid: Option<i32>,
    },
    NothingToStop,
    ShuttingDown,
    Status(Status),
    Watching,
    Malformed,
    /// Event: the agent runs, for the first time or again.
    AgentStarted {
        pid: i32,
    },
    /// Event: it has ended; `restarting` tells whether it will be back.
    AgentEnded {
        status: RawStatus,
        ordered: bool,
        restarting: bool,
    },
    /// Event: it serves.
    AgentReady {
        pid: i32,
    },
    Upgraded,
    NotUpgraded {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub custodian: i32,
    pub agent: Option<i32>,
    pub keeper: Option<i32>,
    pub agent_restarts: u32,
    pub keeper_restarts: u32,
    pub shutting_down: bool,
}

/// A wait status as the kernel gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawStatus(pub i32);

impl RawStatus {
    pub const SUCCESS: Self = Self(0);

    pub fn exit_code(self) -> Option<i32> {
        libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0))
    }

    pub fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.0).then(|| libc::WTERMSIG(self.0))
    }

    /// Exit 0, or SIGTERM from whomever: somebody wanted it to end.
    pub fn is_ordered(self) -> bool {
        self.exit_code() == Some(0) || self.signal() == Some(libc::SIGTERM)
    }
}

impl fmt::Display for RawStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exit_code(), self.signal()) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {signal}"),
            },
            (None, None) => write!(f, "wait status {}", self.0),
        }
    }
}

/// A connection to a custodian. Blocking: the launcher has nothing else to do.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
}

impl Control {
    /// `None` where no custodian listens.
    pub fn connect(path: &Path) -> io::Result<Option<Self>> {
        Ok(fdpass::connect(path)?.map(|socket| Self { socket }))
    }

    pub fn send(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = postcard::to_stdvec(order).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        if frame.len() > fdpass::FRAME_BYTES_MAX {
            let text = format!(
                "arguments and environment take {} bytes of at most {}; start with a smaller environment (env -i)",
                frame.len(),
                fdpass::FRAME_BYTES_MAX
            );
            return Err(io::Error::new(io::ErrorKind::ArgumentListTooLong, text));
        }
        Ok(fdpass::send(&self.socket, &frame, fds)?)
    }

    /// Waits for the next word; `None` when the custodian has gone.
    pub fn receive(&self) -> io::Result<Option<Tell>> {
        match fdpass::receive(&self.socket) {
            Ok(Some(frame)) => postcard::from_bytes(&frame.bytes)
                .map(Some)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Ok(None) | Err(Errno::ECONNRESET | Errno::EPIPE) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The custodian's end: only its own user may connect. The caller holds the custodian's lock.
pub(super) fn open_listener(path: &Path) -> nix::Result<UnixListener> {
    // A name that is there is what a custodian before this one has left.
    let _ = std::fs::remove_file(path);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = bind(socket.as_raw_fd(), &UnixAddr::new(path)?);
    nix::sys::stat::umask(umask);
    bound?;
    listen(&socket, Backlog::new(16)?)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::RawStatus;

    #[test]
    fn a_status_is_told_by_name() {
        let told: Vec<_> = [0, 3 << 8, 9, 15, 6 | 0x80, 40].map(|raw| RawStatus(raw).to_string()).into();
        assert_eq!(told, ["exit status 0", "exit status 3", "SIGKILL", "SIGTERM", "SIGABRT", "signal 40"]);
    }
}
