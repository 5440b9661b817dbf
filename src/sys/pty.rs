//! Pseudo terminals.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};

/// A new terminal: our end (non-blocking) and the path of the child's end.
pub fn open_master() -> nix::Result<(OwnedFd, String)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = ptsname_r(&master)?;
    // PtyMaster closes on drop with a panic on failure; a plain descriptor does not.
    let copy = nix::unistd::dup(&master)?;
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok((copy, path))
}

/// The child's end of a terminal that [`open_master`] made.
pub fn open_slave(path: &str) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())
}

/// How many rows and columns the terminal has; programs on it are told of a change.
pub fn set_window(terminal: &impl AsFd, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize through the pointer, which lives for the call.
    #[expect(unsafe_code, reason = "no safe wrapper of TIOCSWINSZ on a plain descriptor")]
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    nix::errno::Errno::result(result).map(drop)
}

/// The path of the child's end, from our end.
pub fn slave_path(master: &OwnedFd) -> nix::Result<String> {
    pty_number(master).map(|number| format!("/dev/pts/{number}"))
}

/// Switches output flow control by ^S and ^Q; whether it is on now.
pub fn toggle_flow_control(terminal: &impl AsFd) -> nix::Result<bool> {
    let mut settings = tcgetattr(terminal)?;
    settings.input_flags.toggle(InputFlags::IXON);
    tcsetattr(terminal, SetArg::TCSANOW, &settings)?;
    Ok(settings.input_flags.contains(InputFlags::IXON))
}

/// Interrupts what is in the foreground of the terminal.
pub fn interrupt(master: &OwnedFd) -> nix::Result<()> {
    // SAFETY: TIOCSIG takes the number of a signal by value and touches no memory of ours.
    #[expect(unsafe_code, reason = "no safe wrapper of TIOCSIG")]
    let result = unsafe { libc::ioctl(master.as_raw_fd(), TIOCSIG, libc::SIGINT) };
    nix::errno::Errno::result(result).map(drop)
}

/// `_IOW('T', 0x36, int)`.
const TIOCSIG: libc::c_ulong = 0x4004_5436;

fn pty_number(master: &OwnedFd) -> nix::Result<i32> {
    let mut number: libc::c_int = 0;
    // SAFETY: TIOCGPTN writes one int through the pointer, which lives for the call.
    #[expect(unsafe_code, reason = "no safe wrapper of TIOCGPTN on a plain descriptor")]
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    nix::errno::Errno::result(result).map(|_| number)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_the_child_writes_comes_out_of_the_master() {
        let (master, path) = open_master().unwrap();
        assert_eq!(slave_path(&master).unwrap(), path);
        let mut slave = File::from(open_slave(&path).unwrap());
        slave.write_all(b"hello\n").unwrap();
        let mut bytes = [0; 64];
        let length = File::from(master).read(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"hello\r\n");
    }
}
