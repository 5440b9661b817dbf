//! What is at a path, as the kernel remembers it: no disk and no server is asked, so nobody ever waits.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

/// One file or folder, and no other that is ever put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: (u32, u32),
    inode: u64,
    mode: u16,
    /// When its content, owner or permissions were last changed; seconds and nanoseconds.
    changed: Option<(i64, u32)>,
}

impl Identity {
    /// Whatever is written into it, it stays the same: what a folder is asked for.
    #[must_use]
    pub fn whatever_it_holds(self) -> Self {
        Self { changed: None, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glimpse {
    There(Identity),
    Missing,
}

/// Asks whoever knows, and waits for him.
///
/// # Errors
/// Those of `open(2)`, except that there is nothing.
pub fn look(path: &Path) -> nix::Result<Glimpse> {
    identify(path, ResolveFlag::empty(), libc::AT_STATX_SYNC_AS_STAT)
}

/// Asks nobody.
///
/// # Errors
/// `EAGAIN` where the kernel does not remember all of the way, or has to ask whether it is still true.
pub fn glance(path: &Path) -> nix::Result<Glimpse> {
    identify(path, ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED), libc::AT_STATX_DONT_SYNC)
}

fn identify(path: &Path, resolve: ResolveFlag, sync: libc::c_int) -> nix::Result<Glimpse> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    match openat2(AT_FDCWD, path, how) {
        Ok(fd) => facts(&fd, sync).map(Glimpse::There),
        Err(Errno::ENOENT) => Ok(Glimpse::Missing),
        Err(error) => Err(error),
    }
}

#[expect(unsafe_code, reason = "nix has no statx, and stat may ask a server")]
fn facts(fd: &OwnedFd, sync: libc::c_int) -> nix::Result<Identity> {
    let mut facts = MaybeUninit::<libc::statx>::zeroed();
    let wanted = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_INO | libc::STATX_CTIME;
    // SAFETY: the descriptor is open, the name is a string of this program, and the kernel writes no more than the struct.
    let facts = unsafe {
        let result = libc::statx(fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH | sync, wanted, facts.as_mut_ptr());
        Errno::result(result)?;
        facts.assume_init()
    };
    Ok(Identity {
        device: (facts.stx_dev_major, facts.stx_dev_minor),
        inode: facts.stx_ino,
        mode: facts.stx_mode,
        changed: Some((facts.stx_ctime.tv_sec, facts.stx_ctime.tv_nsec)),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_glance_sees_what_a_look_has_seen_and_what_has_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert_eq!(look(&file), Ok(Glimpse::Missing));
        fs::write(&file, "one").unwrap();
        let seen = look(&file).unwrap();
        assert_eq!(glance(&file), Ok(seen));
        fs::rename(&file, folder.path().join("other")).unwrap();
        assert_ne!(glance(&file), Ok(seen));
        assert_eq!(look(&file), Ok(Glimpse::Missing));
        fs::write(&file, "two").unwrap();
        assert_ne!(glance(&file), Ok(seen), "another file under the same name");
    }

    #[test]
    fn a_folder_is_the_same_whatever_it_holds_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let identity = || match look(folder.path()).unwrap() {
            Glimpse::There(identity) => identity,
            Glimpse::Missing => panic!("the folder is there"),
        };
        let before = identity();
        // Far enough from now that the clock of the file system shows it.
        let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        while identity() == before {
            fs::File::open(folder.path()).unwrap().set_times(long_ago).unwrap();
        }
        assert_eq!(identity().whatever_it_holds(), before.whatever_it_holds());
    }

    #[test]
    fn what_the_kernel_would_have_to_ask_for_is_not_seen() {
        // Links below /proc are asked of the process each time.
        assert_eq!(glance(Path::new("/proc/self/fd/0")), Err(Errno::EAGAIN));
    }
}
