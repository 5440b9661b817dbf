//! Leaving the caller's terminal: the process goes on as a child in a session of its own.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

/// Who goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that was called; the daemon has this process id.
    Caller {
        daemon: i32,
    },
    Daemon,
}

/// Forks; the daemon has no terminal, and `/dev/null` for its standard streams. `EBUSY` where this process has more
/// than one thread: only the calling one would go on, and what the others hold would be locked for ever.
pub fn fork_off() -> nix::Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(Errno::EBUSY);
    }
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    // SAFETY: this process has a single thread, counted above, so the child may do whatever the parent could.
    #[expect(unsafe_code, reason = "fork is unsafe for programs with threads, which this one is not yet")]
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Side::Caller { daemon: child.as_raw() }),
        ForkResult::Child => {
            if null.as_raw_fd() > libc::STDERR_FILENO {
                dup2_stdin(&null)?;
                dup2_stdout(&null)?;
                dup2_stderr(&null)?;
            }
            setsid()?;
            Ok(Side::Daemon)
        }
    }
}
