//! Low numbers of descriptors, kept free for what a new program is to have.
//!
//! A program that is started must not inherit what this process holds for thousands of others, and closing ten thousand
//! descriptors takes longer than all the rest of a start. The kernel can copy just the lowest ones
//! (`close_range(2)` with `CLOSE_RANGE_UNSHARE`), so what lives long is kept above [`LOW_NUMBERS`], and what a program is
//! given gets the free numbers below.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;

use super::process::owned;

/// The first number that a new program never needs.
pub const LOW_NUMBERS: RawFd = 64;
const FIRST: RawFd = 3;
/// What one program is given, at most. To make way for more would take longer than the start itself.
const OPENED_UP: usize = 12;

/// Keeps the free low numbers occupied, but for the moments in between.
#[derive(Debug)]
pub struct LowNumbers {
    null: OwnedFd,
    taken: Vec<OwnedFd>,
}

impl LowNumbers {
    pub fn new() -> nix::Result<Self> {
        let null = high(open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?);
        let mut numbers = Self { null, taken: Vec::new() };
        numbers.close_up();
        Ok(numbers)
    }

    /// From here on the next few new descriptors get low numbers.
    pub fn open_up(&mut self) {
        self.taken.truncate(self.taken.len().saturating_sub(OPENED_UP));
    }

    /// From here on they get high ones.
    pub fn close_up(&mut self) {
        while let Ok(raw) = fcntl(&self.null, FcntlArg::F_DUPFD_CLOEXEC(FIRST)) {
            let copy = owned(raw);
            if raw >= LOW_NUMBERS {
                break;
            }
            self.taken.push(copy);
        }
    }
}

/// The same descriptor under a high number, if there is one left.
pub fn high(fd: OwnedFd) -> OwnedFd {
    if fd.as_raw_fd() >= LOW_NUMBERS {
        return fd;
    }
    fcntl(fd.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(LOW_NUMBERS)).map_or(fd, owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn what_is_moved_up_is_the_same_file() {
        let moved = high(null());
        assert!(moved.as_raw_fd() >= LOW_NUMBERS);
        let number = moved.as_raw_fd();
        assert_eq!(high(moved).as_raw_fd(), number, "once is enough");
    }

    #[test]
    fn low_numbers_are_given_only_while_they_are_open() {
        // Other tests of this process open files at the same time; with a runner of one process a test, none does.
        let mut numbers = LowNumbers::new().unwrap();
        assert!(numbers.taken.iter().all(|fd| fd.as_raw_fd() < LOW_NUMBERS));
        let taken = numbers.taken.len();
        numbers.open_up();
        assert_eq!(numbers.taken.len(), taken.saturating_sub(OPENED_UP));
        numbers.close_up();
        assert!(numbers.taken.iter().all(|fd| fd.as_raw_fd() < LOW_NUMBERS));
    }
}
