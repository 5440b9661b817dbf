//! What crosses exec: descriptors that are named by number on the command line, and the signal mask.
//!
//! Must not know: what the descriptor is for.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Takes the inherited descriptor `number` and makes it close-on-exec. `EBADF` where it is not open, is one of the
/// three standard ones, or belongs to somebody in this process already.
pub fn take(number: RawFd) -> nix::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_GETFD reads the flags of a number and touches no memory; a number that is not open gives EBADF.
    #[expect(unsafe_code, reason = "nix asks for an owner, which is what we are about to make")]
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // Whatever this process opens by itself is close-on-exec; what is not has come across exec and has no owner yet.
    // Taking it sets the flag, so a second taker is refused.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the number is open and, by the paragraph above, nobody in this process owns it.
    #[expect(unsafe_code, reason = "the inherited descriptor gets its owner")]
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    close_on_exec(&owned, true)?;
    Ok(owned)
}

/// Lets a descriptor cross the next exec (`false`), or not (`true`).
pub fn close_on_exec(fd: &OwnedFd, close: bool) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let flags = if close { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop)
}

/// Lets a number of this process cross the next exec, or not.
pub fn keep_across_exec(number: RawFd, keep: bool) -> nix::Result<()> {
    let flags = if keep { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: F_SETFD changes a flag of a number and touches no memory; a number that is not open gives EBADF.
    #[expect(unsafe_code, reason = "the owners of many descriptors are not at hand as such")]
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, flags) }).map(drop)
}

/// Lets the program start with no signal blocked: std hands on the mask of a parent that reads signals from a descriptor.
pub fn clear_signal_mask(program: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: setting the mask is one system call on a value of the stack, which may be done between fork and exec.
    #[expect(unsafe_code, reason = "std has no safe way to set a child's signal mask")]
    unsafe {
        program.pre_exec(|| Ok(nix::sys::signal::SigSet::empty().thread_set_mask()?));
    }
}

/// The number to write on a child's command line.
pub fn number(fd: &OwnedFd) -> RawFd {
    fd.as_raw_fd()
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_taken_once() {
        let (left, right) = crate::sys::fdpass::pair().unwrap();
        close_on_exec(&left, false).unwrap();
        let number = left.into_raw_fd();
        let taken = take(number).unwrap();
        assert_eq!(take(number).unwrap_err(), Errno::EBADF, "it has an owner now");
        crate::sys::fdpass::send(&taken, b"through", &[] as &[OwnedFd]).unwrap();
        assert_eq!(crate::sys::fdpass::receive(&right).unwrap().unwrap().bytes, b"through");
    }

    #[test]
    fn standard_descriptors_and_closed_ones_are_not_taken() {
        assert_eq!(take(1).unwrap_err(), Errno::EBADF);
        assert_eq!(take(-1).unwrap_err(), Errno::EBADF);
        assert_eq!(take(1_000_000).unwrap_err(), Errno::EBADF);
    }
}
