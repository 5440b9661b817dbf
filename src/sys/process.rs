//! Processes: pidfds, waiting with resource usage, the subreaper, limits of this process.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// One child that has ended and been reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    pub pid: i32,
    /// As `wait(2)` gives it.
    pub raw_status: i32,
    pub usage: Usage,
}

/// What a process has used by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub user_micros: u64,
    pub system_micros: u64,
    pub resident_kib_max: u64,
}

/// Reaps one child that has ended, without waiting; `None` when there is none. The status is the kernel's own: nix decodes
/// it, and loses a child that a real-time signal has killed.
pub fn reap_one() -> Option<Reaped> {
    let mut status: libc::c_int = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live, writable memory of the right types; rusage is plain data, valid when zeroed.
    #[expect(unsafe_code, reason = "nix has no wait4")]
    let (pid, usage) =
        unsafe { (libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()), usage.assume_init()) };
    (pid > 0).then(|| Reaped {
        pid,
        raw_status: status,
        usage: Usage {
            user_micros: micros(usage.ru_utime),
            system_micros: micros(usage.ru_stime),
            resident_kib_max: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        },
    })
}

fn micros(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Lets all others go first: from here on this thread, and no other of the process, has the lowest priority.
pub fn go_last() -> nix::Result<()> {
    const LOWEST: i32 = 19;
    // SAFETY: setpriority takes integers and touches no memory of ours; the kernel takes 0 for the calling thread.
    #[expect(unsafe_code, reason = "nix has no setpriority")]
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
    Errno::result(result).map(drop)
}

/// A descriptor of the process, close-on-exec. `ENOSYS` on kernels before 5.3.
pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    #[expect(unsafe_code, reason = "no safe wrapper of pidfd_open")]
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let raw = Errno::result(raw)?;
    let raw = i32::try_from(raw).map_err(|_| Errno::EBADF)?;
    Ok(owned(raw))
}

/// Takes ownership of a descriptor that a system call has just returned as a number.
pub(crate) fn owned(raw: i32) -> OwnedFd {
    // SAFETY: callers pass what the kernel has just made for them; nobody else knows it.
    #[expect(unsafe_code, reason = "the new descriptor gets its owner")]
    unsafe {
        OwnedFd::from_raw_fd(raw)
    }
}

/// Sends a signal to the very process the descriptor is of, never to a later one with the same id.
pub fn pidfd_signal(pidfd: &impl AsFd, signal: i32) -> nix::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    #[expect(unsafe_code, reason = "no safe wrapper of pidfd_send_signal")]
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, no_info, 0) };
    Errno::result(result).map(drop)
}

/// Waits until the process has ended, whoever reaps it.
pub async fn wait_for_end(pidfd: OwnedFd) -> std::io::Result<()> {
    let interest = tokio::io::Interest::READABLE;
    // SAFETY: the AsyncFd owns the descriptor, which stays open and the same until it is dropped.
    #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor of its own kind")]
    let pidfd = unsafe { tokio::io::unix::AsyncFd::register_with_interest(pidfd, interest) };
    let pidfd = pidfd.map_err(std::io::Error::from)?;
    pidfd.readable().await.map(drop)
}

/// The raw wait status of a process that somebody else has reaped. Kernels from 6.15 know it, others refuse; `EAGAIN`
/// while it has not been reaped.
pub fn pidfd_exit_status(pidfd: &impl AsFd) -> nix::Result<i32> {
    /// The first published layout of the kernel's `struct pidfd_info`.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, 64 bytes)
    const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
    const { assert!(size_of::<PidfdInfo>() == 64) };
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's size is the struct's, which lives for the call and is plain data.
    #[expect(unsafe_code, reason = "no safe wrapper of PIDFD_GET_INFO")]
    let result = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    Errno::result(result)?;
    if info.mask & PIDFD_INFO_EXIT == 0 { Err(Errno::EAGAIN) } else { Ok(info.exit_code) }
}

/// Orphans below this process become its children.
pub fn become_subreaper() -> nix::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// Keeps every number below `end` in use from now on, so that it can be promised to children.
pub fn reserve_numbers_below(end: i32) -> nix::Result<Vec<OwnedFd>> {
    let mut reserved = Vec::new();
    loop {
        let null = nix::fcntl::open(
            "/dev/null",
            nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )?;
        if null.as_raw_fd() >= end {
            return Ok(reserved);
        }
        reserved.push(null);
    }
}

/// Lets this process hold as many descriptors as the administrator allows at all; tells how many.
pub fn raise_descriptor_limit() -> nix::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfd_signals_its_process_and_tells_its_end() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd_open(i32::try_from(child.id()).unwrap()).unwrap();
        pidfd_signal(&pidfd, libc::SIGKILL).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
        // Older kernels refuse the question; none may answer wrongly.
        if let Ok(raw) = pidfd_exit_status(&pidfd) {
            assert_eq!(raw, libc::SIGKILL);
        }
        assert_eq!(pidfd_signal(&pidfd, libc::SIGKILL), Err(Errno::ESRCH));
    }
}
