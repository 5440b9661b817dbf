//! Anonymous files in memory: sealed ones, whose bytes nobody can change any more, and small shared ones.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

/// A memfd that holds exactly `bytes`, sealed against writing, growing, shrinking and unsealing.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// An unsealed memfd of `length` zero bytes.
pub fn zeroed(name: &str, length: u64) -> io::Result<OwnedFd> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.set_len(length)?;
    Ok(file.into())
}

/// The whole content, read without moving the shared offset.
pub fn content(fd: &impl AsFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd.as_fd().try_clone_to_owned()?);
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The process id that a child wrote into its record before it became the program; `None` if it never came that far.
pub fn recorded_pid(fd: &impl AsFd) -> Option<i32> {
    let bytes: [u8; 4] = content(fd).ok()?.get(..4)?.try_into().ok()?;
    let pid = i32::from_ne_bytes(bytes);
    (pid > 0).then_some(pid)
}

/// A new open file description of the same object: an offset and status flags of its own.
pub fn reopened(fd: &impl AsFd, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_cannot_be_changed() {
        let fd = sealed("test", b"print(1)").unwrap();
        let mut file = File::from(fd.try_clone().unwrap());
        assert!(file.write_all(b"more").is_err());
        assert!(file.set_len(0).is_err());
        assert_eq!(content(&fd).unwrap(), b"print(1)");
    }

    #[test]
    fn a_reopened_description_has_its_own_offset() {
        let fd = sealed("test", b"abc").unwrap();
        let mut first = File::from(reopened(&fd, OFlag::O_RDONLY).unwrap());
        let mut second = File::from(reopened(&fd, OFlag::O_RDONLY).unwrap());
        let (mut one, mut two) = (String::new(), String::new());
        io::Read::read_to_string(&mut first, &mut one).unwrap();
        io::Read::read_to_string(&mut second, &mut two).unwrap();
        assert_eq!((one.as_str(), two.as_str()), ("abc", "abc"));
    }

    #[test]
    fn an_untouched_record_holds_no_pid() {
        assert_eq!(recorded_pid(&zeroed("record", 8).unwrap()), None);
    }
}
