//! A memfd in this process's memory: words that are stored at once and in order, and bytes. Whoever gets the descriptor
//! later finds in it what was stored, also when this process was killed in the middle.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::low::high;
use super::memfd;

/// Words at the beginning; the bytes stand behind them.
pub const WORDS: usize = 16;
pub const WORDS_BYTES: usize = WORDS * size_of::<u64>();

pub struct Mapped {
    fd: OwnedFd,
    start: NonNull<u8>,
    length: NonZeroUsize,
}

impl Mapped {
    /// A new one, all zero; `length` counts the words too.
    pub fn new(name: &str, length: usize) -> io::Result<Self> {
        Self::of(high(memfd::zeroed(name, length as u64)?))
    }

    /// One that somebody else has made.
    pub fn of(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let Some(length) = NonZeroUsize::new(length).filter(|length| length.get() > WORDS_BYTES) else {
            return Err(io::Error::other("too short"));
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that is there.
        #[expect(unsafe_code, reason = "mapping memory")]
        let start = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)
        }?;
        Ok(Self { fd: file.into(), start: start.cast(), length })
    }

    /// # Panics
    /// Where there is no such word.
    pub fn word(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Acquire)
    }

    /// Everything that was done before is there for a reader who finds the new value.
    ///
    /// # Panics
    /// Where there is no such word.
    pub fn set_word(&self, index: usize, value: u64) {
        compiler_fence(Ordering::SeqCst);
        self.at(index).store(value, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is valid for `length` bytes and lives as long as `self`; the words before are not in it.
        #[expect(unsafe_code, reason = "a view of mapped memory")]
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().add(WORDS_BYTES), self.length.get() - WORDS_BYTES)
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively; no other process maps it while this one lives.
        #[expect(unsafe_code, reason = "a view of mapped memory")]
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr().add(WORDS_BYTES), self.length.get() - WORDS_BYTES)
        }
    }

    fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS, "there are {WORDS} words");
        // SAFETY: inside of the mapping, aligned (a page begins it), and only ever accessed as an atomic.
        #[expect(unsafe_code, reason = "a view of mapped memory")]
        unsafe {
            AtomicU64::from_ptr(self.start.as_ptr().cast::<u64>().add(index))
        }
    }
}

impl AsFd for Mapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("fd", &self.fd).field("length", &self.length).finish_non_exhaustive()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        #[expect(unsafe_code, reason = "unmapping memory")]
        let _ = unsafe { munmap(self.start.cast(), self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_owner_finds_what_was_stored() {
        let mut first = Mapped::new("test", 4096).unwrap();
        first.bytes_mut()[..5].copy_from_slice(b"hello");
        first.set_word(3, 77);
        let second = Mapped::of(first.as_fd().try_clone_to_owned().unwrap()).unwrap();
        drop(first);
        assert_eq!((second.word(3), &second.bytes()[..5]), (77, &b"hello"[..]));
        assert_eq!(second.bytes().len(), 4096 - WORDS_BYTES);
    }

    #[test]
    fn what_is_too_short_is_refused() {
        assert!(Mapped::of(memfd::zeroed("test", 8).unwrap()).is_err());
    }
}
