//! What may run: reading a script once into sealed memory and hashing exactly those bytes; comparing the disk at each
//! start; making ready what a start needs of the file system and the account data base.
//!
//! Everything here may wait for a disk, so it is done on a worker thread.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;

use super::refusal::KeeperRefusal;
use crate::container::spec::{ContainerSpec, Program, Sha256};
use crate::sys::{memfd, spawn};

pub const SCRIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that nobody can change any more, and their checksum.
#[derive(Debug)]
pub struct Frozen {
    pub fd: OwnedFd,
    pub sha256: Sha256,
}

/// What a look at everything before a start says.
#[derive(Debug)]
pub enum Verdict {
    Clear {
        account: Option<spawn::Account>,
        disk: Option<Sha256>,
    },
    /// `expected` is `None` where no checksum is configured.
    Mismatch {
        expected: Option<Sha256>,
        found: Sha256,
    },
    Failed(KeeperRefusal),
}

/// Activation: seals the bytes of a script and refuses any but the committed ones.
pub fn freeze(spec: &ContainerSpec) -> Result<Option<Frozen>, KeeperRefusal> {
    let Program::Script { path, sha256: expected, .. } = &spec.program else { return Ok(None) };
    let unusable =
        |error: std::io::Error| KeeperRefusal::System { what: "sealing the script".into(), reason: error.to_string() };
    let fd = memfd::sealed("procyon-script", &read(path)?).map_err(unusable)?;
    // The sealed bytes are hashed, not those that were read: whatever runs later is what was hashed here.
    let found = Sha256::of(&memfd::content(&fd).map_err(unusable)?);
    if found == *expected {
        Ok(Some(Frozen { fd, sha256: found }))
    } else {
        Err(KeeperRefusal::ChecksumDiffers { path: path.clone(), expected: *expected, found })
    }
}

/// Before each start. A script without a configured checksum does not run.
pub fn check(spec: &ContainerSpec, expected: Option<Sha256>) -> Verdict {
    let disk = match &spec.program {
        Program::Script { path, .. } => match read(path).map(|bytes| Sha256::of(&bytes)) {
            Ok(found) if Some(found) != expected => return Verdict::Mismatch { expected, found },
            Ok(found) => Some(found),
            Err(refusal) => return Verdict::Failed(refusal),
        },
        Program::Command { .. } => None,
    };
    let account = match spec.user.as_deref().map(account).transpose() {
        Ok(account) => account,
        Err(refusal) => return Verdict::Failed(refusal),
    };
    let folders = make_folder(&spec.logs.dir, None).and_then(|()| make_folder(&spec.cwd, account.as_ref()));
    match folders {
        Ok(()) => Verdict::Clear { account, disk },
        Err(refusal) => Verdict::Failed(refusal),
    }
}

fn account(name: &str) -> Result<spawn::Account, KeeperRefusal> {
    match spawn::account(name) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(KeeperRefusal::NoSuchAccount { user: name.to_owned() }),
        Err(error) => Err(KeeperRefusal::System { what: format!("looking up `{name}`"), reason: error.to_string() }),
    }
}

/// Makes a missing folder and gives it to the account; one that is there is left as it is.
fn make_folder(path: &Path, owner: Option<&spawn::Account>) -> Result<(), KeeperRefusal> {
    let refused = |error: std::io::Error| KeeperRefusal::FolderNotMade { path: path.into(), reason: error.to_string() };
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(refused)?;
    match owner {
        Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)).map_err(refused),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeeperRefusal> {
    let unreadable = |reason: String| KeeperRefusal::FileUnreadable { path: path.into(), reason };
    // Non-blocking, so that a planted FIFO cannot hold the worker for ever.
    let file: File = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| unreadable(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("not a regular file".into()));
    }
    let mut bytes = Vec::new();
    file.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    let too_large = bytes.len() as u64 > SCRIPT_BYTES_MAX;
    if too_large {
        let bytes = metadata.len().max(SCRIPT_BYTES_MAX + 1);
        return Err(KeeperRefusal::FileTooLarge { path: path.into(), bytes, bytes_max: SCRIPT_BYTES_MAX });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::spec::{ContainerName, LogSpec};

    fn spec(dir: &Path, committed: &[u8]) -> ContainerSpec {
        let program = Program::Script {
            device_path: "/harddisk:/mirror/script-mgmt/process/x.py".into(),
            path: dir.join("x.py"),
            sha256: Sha256::of(committed),
            args: vec![],
            interpreter: "/usr/bin/python3".into(),
            library: dir.into(),
        };
        let name = ContainerName::parse("x").unwrap();
        ContainerSpec::new(name, program, dir.join("work"), LogSpec::in_dir(dir.join("logs")))
    }

    #[test]
    fn only_the_committed_bytes_are_frozen() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.py"), "print(1)").unwrap();
        let frozen = freeze(&spec(dir.path(), b"print(1)")).unwrap().unwrap();
        fs::write(dir.path().join("x.py"), "print(2)").unwrap();
        assert_eq!(memfd::content(&frozen.fd).unwrap(), b"print(1)");
        let refused = freeze(&spec(dir.path(), b"print(1)")).unwrap_err();
        assert!(matches!(refused, KeeperRefusal::ChecksumDiffers { .. }));
    }

    #[test]
    fn the_disk_is_compared_with_what_is_expected_now() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(dir.path(), b"one");
        fs::write(dir.path().join("x.py"), "two").unwrap();
        assert!(matches!(check(&spec, Some(Sha256::of(b"one"))), Verdict::Mismatch { .. }));
        assert!(matches!(check(&spec, Some(Sha256::of(b"two"))), Verdict::Clear { .. }));
        assert!(matches!(check(&spec, None), Verdict::Mismatch { expected: None, .. }));
        assert!(dir.path().join("work").is_dir());
    }

    #[test]
    fn a_missing_file_a_folder_and_a_fifo_are_named_as_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(dir.path(), b"one");
        let path = dir.path().join("x.py");
        let is_unreadable = || matches!(freeze(&spec), Err(KeeperRefusal::FileUnreadable { .. }));
        assert!(is_unreadable());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(is_unreadable());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(is_unreadable());
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("x.py")).unwrap();
        file.set_len(SCRIPT_BYTES_MAX + 1).unwrap();
        assert!(matches!(freeze(&spec(dir.path(), b"")), Err(KeeperRefusal::FileTooLarge { .. })));
    }

    #[test]
    fn an_unknown_account_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.py"), "one").unwrap();
        let mut spec = spec(dir.path(), b"one");
        spec.user = Some("no-such-account".into());
        assert!(matches!(check(&spec, Some(Sha256::of(b"one"))), Verdict::Failed(KeeperRefusal::NoSuchAccount { .. })));
    }
}
