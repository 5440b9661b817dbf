//! A folder that is also a border: names below it are resolved by the kernel, never past it.
//!
//! Every name is opened with `openat2` and `RESOLVE_BENEATH`, without following symbolic links: neither a link nor a
//! folder that is swapped meanwhile can lead out, or to a place whose permission was asked under another name. What is
//! done then is done to the descriptor. Must not know: users, protocols.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat2, renameat, renameat2};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags};
use nix::sys::stat::{fchmodat, fstat, fstatat, mkdirat, utimensat};
use nix::sys::statvfs::{Statvfs, fstatvfs};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

/// The kernel asks to try again when folders move during the walk; somebody who moves them for ever is refused.
const RESOLVE_TRIES_MAX: usize = 16;

/// The folder. Names given to its methods are relative, without `..`; the empty name is the folder itself.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
}

/// The entries of a folder, with what `lstat` says of each.
#[derive(Debug)]
pub struct Listing {
    entries: OwningIter,
    folder: OwnedFd,
}

impl Root {
    /// Opens the border itself, following links as any program does.
    pub fn open(path: &Path) -> nix::Result<Self> {
        let folder = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let root = Self { folder };
        // A kernel or a sandbox without openat2 shows here and not at the first transfer.
        root.stat(Path::new(""))?;
        Ok(root)
    }

    /// Opens a regular file; `mode` counts when it is created.
    pub fn open_file(&self, name: &Path, flags: OFlag, mode: Mode) -> nix::Result<File> {
        // Without O_NONBLOCK opening a fifo would wait for its other end.
        let fd = self.resolve(name, flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW, mode)?;
        match kind(&fstat(&fd)?) {
            SFlag::S_IFREG => Ok(File::from(fd)),
            SFlag::S_IFDIR => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// What is at `name`; a link is itself.
    pub fn stat(&self, name: &Path) -> nix::Result<FileStat> {
        fstat(self.resolve(name, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?)
    }

    pub fn list(&self, name: &Path) -> nix::Result<Listing> {
        let folder = self.resolve(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        let entries = Dir::from_fd(folder.try_clone().map_err(|_| Errno::EMFILE)?)?.into_iter();
        Ok(Listing { entries, folder })
    }

    pub fn make_folder(&self, name: &Path, mode: Mode) -> nix::Result<()> {
        let (parent, last) = self.parent(name)?;
        mkdirat(parent, last, mode)
    }

    pub fn remove_folder(&self, name: &Path) -> nix::Result<()> {
        let (parent, last) = self.parent(name)?;
        unlinkat(parent, last, UnlinkatFlags::RemoveDir)
    }

    /// Removes a file or a link, never a folder.
    pub fn remove_file(&self, name: &Path) -> nix::Result<()> {
        let (parent, last) = self.parent(name)?;
        unlinkat(parent, last, UnlinkatFlags::NoRemoveDir)
    }

    pub fn rename(&self, from: &Path, to: &Path, replace: bool) -> nix::Result<()> {
        let (from_parent, from_last) = self.parent(from)?;
        let (to_parent, to_last) = self.parent(to)?;
        if replace {
            renameat(from_parent, from_last, to_parent, to_last)
        } else {
            renameat2(from_parent, from_last, to_parent, to_last, RenameFlags::RENAME_NOREPLACE)
        }
    }

    /// Makes what has happened to the names in a folder durable.
    pub fn sync_folder(&self, name: &Path) -> nix::Result<()> {
        fsync(self.resolve(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?)
    }

    pub fn set_mode(&self, name: &Path, mode: Mode) -> nix::Result<()> {
        let fd = self.resolve(name, OFlag::O_PATH, Mode::empty())?;
        fchmodat(AT_FDCWD, through_proc(&fd).as_str(), mode, FchmodatFlags::FollowSymlink)
    }

    pub fn set_times(&self, name: &Path, accessed: TimeSpec, modified: TimeSpec) -> nix::Result<()> {
        let fd = self.resolve(name, OFlag::O_PATH, Mode::empty())?;
        let path = through_proc(&fd);
        utimensat(AT_FDCWD, path.as_str(), &accessed, &modified, UtimensatFlags::FollowSymlink)
    }

    pub fn space(&self, name: &Path) -> nix::Result<Statvfs> {
        fstatvfs(self.resolve(name, OFlag::O_PATH, Mode::empty())?)
    }

    fn parent<'a>(&self, name: &'a Path) -> nix::Result<(OwnedFd, &'a OsStr)> {
        let last = name.file_name().ok_or(Errno::EBUSY)?;
        let parent = name.parent().unwrap_or(Path::new(""));
        Ok((self.resolve(parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?, last))
    }

    fn resolve(&self, name: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        // The kernel refuses a mode where nothing can be created.
        let mode = if flags.contains(OFlag::O_CREAT) { mode } else { Mode::empty() };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
        let mut tries = 0;
        loop {
            match openat2(&self.folder, name, how) {
                Err(Errno::EAGAIN | Errno::EINTR) if tries < RESOLVE_TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

impl Listing {
    /// The next entry, without `.` and `..`; one that vanishes meanwhile is left out.
    pub fn next_entry(&mut self) -> nix::Result<Option<(OsString, FileStat)>> {
        for entry in self.entries.by_ref() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match fstatat(&self.folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => return Ok(Some((OsStr::from_bytes(name.to_bytes()).to_owned(), stat))),
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// The one name by which a descriptor opened with `O_PATH` can be changed.
fn through_proc(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn jail() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("jail/inner")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(dir.path().join("jail/inner/file"), "inside").unwrap();
        let root = Root::open(&dir.path().join("jail")).unwrap();
        (dir, root)
    }

    fn read(root: &Root, name: &str) -> nix::Result<String> {
        let file = root.open_file(Path::new(name), OFlag::O_RDONLY, Mode::empty())?;
        Ok(std::io::read_to_string(file).unwrap())
    }

    #[test]
    fn files_below_are_read_and_nothing_above() {
        let (dir, root) = jail();
        assert_eq!(read(&root, "inner/file").unwrap(), "inside");
        assert_eq!(read(&root, "../secret"), Err(Errno::EXDEV));
        assert_eq!(read(&root, "inner/../../secret"), Err(Errno::EXDEV));
        assert_eq!(read(&root, dir.path().join("secret").to_str().unwrap()), Err(Errno::EXDEV));
    }

    #[test]
    fn links_lead_nowhere_wherever_they_point() {
        let (dir, root) = jail();
        symlink(dir.path().join("secret"), dir.path().join("jail/absolute")).unwrap();
        symlink("../secret", dir.path().join("jail/relative")).unwrap();
        symlink("..", dir.path().join("jail/up")).unwrap();
        symlink("inner", dir.path().join("jail/inside")).unwrap();
        for name in ["absolute", "relative", "up/secret", "inside/file"] {
            assert_eq!(read(&root, name), Err(Errno::ELOOP), "{name}");
        }
        assert_eq!(root.make_folder(Path::new("up/new"), Mode::S_IRWXU), Err(Errno::ELOOP));
        assert_eq!(root.remove_file(Path::new("up/secret")), Err(Errno::ELOOP));
        assert_eq!(root.rename(Path::new("inner/file"), Path::new("up/file"), true), Err(Errno::ELOOP));
        assert_eq!(root.set_mode(Path::new("absolute"), Mode::empty()), Err(Errno::ELOOP));
        let create = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        assert!(root.open_file(Path::new("absolute"), create, Mode::S_IRWXU).is_err());
        assert_eq!(kind(&root.stat(Path::new("absolute")).unwrap()), SFlag::S_IFLNK);
        assert_eq!(fs::read_to_string(dir.path().join("secret")).unwrap(), "secret");
    }

    #[test]
    fn a_folder_that_keeps_turning_into_a_link_never_leads_out() {
        let (dir, root) = jail();
        fs::write(dir.path().join("jail/inner/secret"), "inside").unwrap();
        let at = dir.path().join("jail");
        symlink("..", at.join("trap")).unwrap();
        let swapper = std::thread::spawn(move || {
            let border = Root::open(&at).unwrap();
            for _ in 0..2000 {
                let (inner, trap) = (Path::new("inner"), Path::new("trap"));
                let (border, flags) = (&border.folder, RenameFlags::RENAME_EXCHANGE);
                renameat2(border, inner, border, trap, flags).unwrap();
            }
        });
        while !swapper.is_finished() {
            match read(&root, "inner/secret") {
                Ok(text) => assert_eq!(text, "inside"),
                Err(error) => assert!(matches!(error, Errno::ELOOP | Errno::EXDEV | Errno::EAGAIN), "{error}"),
            }
        }
        swapper.join().unwrap();
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let (dir, root) = jail();
        nix::unistd::mkfifo(&dir.path().join("jail/fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(read(&root, "fifo"), Err(Errno::EINVAL));
        assert_eq!(read(&root, "inner"), Err(Errno::EISDIR));
    }

    #[test]
    fn modes_and_times_are_set_and_folders_listed() {
        let (dir, root) = jail();
        let name = Path::new("inner/file");
        root.set_mode(name, Mode::from_bits_truncate(0o640)).unwrap();
        root.set_times(name, TimeSpec::new(1, 0), TimeSpec::new(1_700_000_000, 0)).unwrap();
        let metadata = fs::metadata(dir.path().join("jail/inner/file")).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.mtime()), (0o640, 1_700_000_000));
        let mut listing = root.list(Path::new("inner")).unwrap();
        assert_eq!(listing.next_entry().unwrap().unwrap().0, "file");
        assert!(listing.next_entry().unwrap().is_none());
        assert_eq!(root.remove_folder(Path::new("")), Err(Errno::EBUSY));
    }
}
