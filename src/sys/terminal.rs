//! The terminal that a command was started on: its size, and its raw mode for as long as it is wanted.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Standard input without echo, line editing and signals; as before when this is dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    pub fn enter() -> nix::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Columns and rows; zeros where they are not known.
pub fn size() -> (u32, u32) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize through the pointer, which lives for the call.
    #[expect(unsafe_code, reason = "no safe wrapper of TIOCGWINSZ")]
    let result = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if result == 0 { (size.ws_col.into(), size.ws_row.into()) } else { (0, 0) }
}

/// Tells, on a thread of its own, whenever the size has changed. To be called before other threads are started: the
/// signal is blocked in this one and those after it.
pub fn on_resize(mut tell: impl FnMut((u32, u32)) + Send + 'static) -> io::Result<()> {
    let mut resized = SigSet::empty();
    resized.add(Signal::SIGWINCH);
    resized.thread_block()?;
    std::thread::Builder::new().name("window".to_owned()).spawn(move || {
        while resized.wait().is_ok() {
            tell(size());
        }
    })?;
    Ok(())
}
