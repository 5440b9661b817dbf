//! One process of a kind on a root: a locked file that holds the pid of its holder.
//!
//! The lock goes with the process, however it ends; the text alone means nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOOKERS_TRIES: u32 = 10;
const LOOKERS_PAUSE: Duration = Duration::from_millis(5);

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{path} is held by process {}", holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Held { path: PathBuf, holder: Option<i32> },
    #[error("cannot lock {path}: {error}; is the root initialised (procyon init) and yours?")]
    Io { path: PathBuf, error: io::Error },
}

impl Lock {
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io { path: path.to_owned(), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match try_for_a_moment(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: path.to_owned(), holder: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { file })
    }

    /// A lock that this process holds already, as another program.
    pub fn inherited(file: OwnedFd) -> Self {
        Self { file: file.into() }
    }

    /// The number under which another program may find it.
    pub fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// [`holder`] holds a shared lock for as long as it takes to look; that must not count as a holder.
fn try_for_a_moment(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKERS_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOKERS_PAUSE),
            other => return other,
        }
    }
    file.try_lock()
}

/// The pid of the process that holds the lock at `path`, if any does.
pub fn holder(path: &Path) -> Option<i32> {
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_pid(&mut file),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_with_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        assert_eq!(holder(&path), None);
        let lock = Lock::take(&path).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(holder(&path), Some(own));
        let refused = Lock::take(&path).unwrap_err();
        assert!(matches!(refused, LockError::Held { holder: Some(pid), .. } if pid == own), "{refused}");
        drop(lock);
        assert_eq!(holder(&path), None);
        Lock::take(&path).unwrap();
    }
}
