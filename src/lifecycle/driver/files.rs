//! Declared files, read, replaced and deleted for management. No link is followed on the way: what was allowed by name
//! is what is touched.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};

use crate::lifecycle::access::{Declared, Denied};
use crate::northbound::{Kind, Refusal};
use crate::sys::beneath::Root;

/// What is read or replaced at once.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub enum FileCall {
    /// All of it, or a part.
    Read {
        path: PathBuf,
        part: Option<Part>,
    },
    Replace {
        path: PathBuf,
        mode: u32,
        content: Vec<u8>,
    },
    Delete {
        path: PathBuf,
    },
}

/// So many bytes at most, from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub offset: u64,
    pub length: u64,
}

/// What the definitions allow for this call.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    may_make_folder: bool,
}

impl FileCall {
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. } | Self::Replace { path, .. } | Self::Delete { path } => path,
        }
    }

    /// # Errors
    /// The file is not declared, or not for this.
    pub fn allowed(&self, declared: &Declared) -> Result<Allowed, Refusal> {
        let path = self.path();
        let verdict = match self {
            Self::Read { .. } => declared.may_read(path),
            Self::Replace { .. } | Self::Delete { .. } => declared.may_write(path),
        };
        verdict.map_err(|denied| {
            let (remedy, tag) = match &denied {
                Denied::Undeclared { .. } => {
                    ("only files that a definition declares can be managed", "file-undeclared".to_owned())
                }
                Denied::Closed { access, .. } => ("its definition says so by configAccess", format!("file-{access}")),
            };
            Refusal::new(Kind::AccessDenied, denied.to_string()).mend(remedy).tagged(tag)
        })?;
        let may_make_folder = path.parent().is_some_and(|folder| declared.may_make_folder(folder));
        Ok(Allowed { may_make_folder })
    }

    /// # Errors
    /// What the file system says, by the file's name.
    pub fn carry_out(self, allowed: Allowed) -> Result<Vec<u8>, Refusal> {
        let path = self.path().to_owned();
        let root = Root::open(Path::new("/")).map_err(|error| refused(&path, error))?;
        let below = path.strip_prefix("/").unwrap_or(&path).to_owned();
        match self {
            Self::Read { part, .. } => read(&root, &below, &path, part),
            Self::Replace { mode, content, .. } => {
                if content.len() > FILE_BYTES_MAX {
                    return Err(too_large(&path));
                }
                replace(&root, &below, mode, &content, allowed).map_err(|error| refused(&path, error)).map(|()| vec![])
            }
            Self::Delete { .. } => match root.remove_file(&below) {
                Ok(()) | Err(Errno::ENOENT) => Ok(Vec::new()),
                Err(error) => Err(refused(&path, error)),
            },
        }
    }
}

fn read(root: &Root, below: &Path, path: &Path, part: Option<Part>) -> Result<Vec<u8>, Refusal> {
    let mut file = root.open_file(below, OFlag::O_RDONLY, Mode::empty()).map_err(|error| refused(path, error))?;
    let failed = |error| Refusal::new(Kind::OperationFailed, format!("`{}`: {error}", path.display()));
    let Part { offset, length } = part.unwrap_or(Part { offset: 0, length: FILE_BYTES_MAX as u64 + 1 });
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() <= FILE_BYTES_MAX {
        return Ok(bytes);
    }
    Err(too_large(path).mend("read it in parts, by offset and length"))
}

/// Tells the files apart that are written at the same time.
static LAST_FRESH: AtomicU64 = AtomicU64::new(0);

/// Written beside, then put in its place: whoever reads finds the old or the new, never a part.
fn replace(root: &Root, below: &Path, mode: u32, content: &[u8], allowed: Allowed) -> nix::Result<()> {
    let name = below.file_name().ok_or(Errno::EISDIR)?.to_string_lossy().into_owned();
    let number = LAST_FRESH.fetch_add(1, Ordering::Relaxed);
    let fresh = below.with_file_name(format!(".{name}.{}-{number}.new", std::process::id()));
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let owner_only = Mode::S_IRUSR | Mode::S_IWUSR;
    let open = || root.open_file(&fresh, flags, owner_only);
    let opened = match open() {
        Err(Errno::ENOENT) if allowed.may_make_folder => {
            let folder = below.parent().ok_or(Errno::ENOENT)?;
            root.make_folder(folder, Mode::from_bits_truncate(0o755))?;
            open()
        }
        // Left by a former agent that was killed.
        Err(Errno::EEXIST) => {
            root.remove_file(&fresh)?;
            open()
        }
        opened => opened,
    };
    let mut file = opened?;
    let io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let written = file.write_all(content).map_err(io).and_then(|()| {
        if let Ok(old) = root.stat(below) {
            fchown(file.as_fd(), Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))?;
        }
        fchmod(file.as_fd(), Mode::from_bits_truncate(mode))?;
        file.sync_all().map_err(io)?;
        root.rename(&fresh, below, true)?;
        // What is said to be replaced is so after a power cut as well.
        match root.sync_folder(below.parent().unwrap_or(Path::new(""))) {
            // A folder that we may write to and not read.
            Err(Errno::EACCES) => Ok(()),
            outcome => outcome,
        }
    });
    if written.is_err() {
        // The first trouble is the one to tell.
        let _ = root.remove_file(&fresh);
    }
    written
}

fn refused(path: &Path, error: Errno) -> Refusal {
    let shown = path.display();
    match error {
        Errno::ENOENT => Refusal::new(Kind::DataMissing, format!("`{shown}` is not there")),
        Errno::ELOOP | Errno::EXDEV => {
            Refusal::new(Kind::AccessDenied, format!("`{shown}` leads over a symbolic link, which is not followed"))
                .mend("declare the path that it leads to")
        }
        Errno::EISDIR | Errno::EINVAL => Refusal::new(Kind::InvalidValue, format!("`{shown}` is not a regular file")),
        error => Refusal::new(Kind::OperationFailed, format!("`{shown}`: {}", error.desc())),
    }
}

fn too_large(path: &Path) -> Refusal {
    Refusal::new(Kind::TooBig, format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::lifecycle::xml;

    fn declared(folder: &Path) -> Declared {
        let at = |name: &str| folder.join(name).display().to_string();
        let resources = format!(
            "<resources><file>{}</file><file configAccess='read-only'>{}</file><file>{}</file>\
             <directory required='false'><path>{}</path></directory></resources>",
            at("free"),
            at("shown"),
            at("link/target"),
            at("made")
        );
        let mut declared = Declared::default();
        declared.add(&xml::parse(&xml::tests::sample("x", &resources)).unwrap()).unwrap();
        declared
    }

    fn whole(path: PathBuf) -> FileCall {
        FileCall::Read { path, part: None }
    }

    fn call(declared: &Declared, call: FileCall) -> Result<Vec<u8>, Refusal> {
        call.allowed(declared).and_then(|allowed| call.carry_out(allowed))
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (declared, path) = (declared(folder.path()), folder.path().join("free"));
        let replace = |text: &str| FileCall::Replace { path: path.clone(), mode: 0o640, content: text.into() };
        call(&declared, replace("one")).unwrap();
        call(&declared, replace("two")).unwrap();
        assert_eq!(call(&declared, whole(path.clone())).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        call(&declared, FileCall::Delete { path: path.clone() }).unwrap();
        call(&declared, FileCall::Delete { path: path.clone() }).unwrap();
        let gone = call(&declared, whole(path)).unwrap_err();
        assert_eq!(gone.kind, Kind::DataMissing);
    }

    #[test]
    fn what_is_too_large_is_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let (declared, path) = (declared(folder.path()), folder.path().join("shown"));
        let content: Vec<u8> = (0..=FILE_BYTES_MAX).map(|at| (at / 4096 % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let refused = call(&declared, whole(path.clone())).unwrap_err();
        assert!(refused.to_string().contains("read it in parts"), "{refused}");
        let part = |offset, length| {
            let part = Some(Part { offset, length });
            call(&declared, FileCall::Read { path: path.clone(), part }).unwrap()
        };
        assert_eq!(part(4000, 200), content[4000..4200]);
        assert_eq!(part(FILE_BYTES_MAX as u64, 200).len(), 1);
        assert!(part(u64::from(u32::MAX), 200).is_empty(), "there is nothing behind its end");
    }

    #[test]
    fn what_is_not_declared_for_it_is_denied() {
        let folder = tempfile::tempdir().unwrap();
        let declared = declared(folder.path());
        let at = |name: &str| folder.path().join(name);
        fs::write(at("shown"), "x").unwrap();
        assert_eq!(call(&declared, whole(at("shown"))).unwrap(), b"x");
        for denied in [
            FileCall::Delete { path: at("shown") },
            FileCall::Replace { path: at("shown"), mode: 0o644, content: vec![] },
            whole(at("other")),
            whole("/etc/passwd".into()),
        ] {
            assert_eq!(call(&declared, denied).unwrap_err().kind, Kind::AccessDenied);
        }
    }

    #[test]
    fn no_link_leads_to_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let declared = declared(folder.path());
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/target"), "secret").unwrap();
        symlink("real", at("link")).unwrap();
        symlink("real/target", at("free")).unwrap();
        for path in [at("link/target"), at("free")] {
            assert_eq!(call(&declared, whole(path)).unwrap_err().kind, Kind::AccessDenied);
        }
        let through = FileCall::Replace { path: at("link/target"), mode: 0o644, content: b"other".to_vec() };
        assert_eq!(call(&declared, through).unwrap_err().kind, Kind::AccessDenied);
        // The link itself is what its name says, and is replaced.
        let itself = FileCall::Replace { path: at("free"), mode: 0o644, content: b"other".to_vec() };
        call(&declared, itself).unwrap();
        assert_eq!(fs::read_to_string(at("real/target")).unwrap(), "secret");
    }

    #[test]
    fn of_many_that_replace_one_file_at_a_time_each_replaces_the_whole_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (declared, path) = (declared(folder.path()), folder.path().join("free"));
        let replace = |content: Vec<u8>| FileCall::Replace { path: path.clone(), mode: 0o640, content };
        let written = |writer: u8| vec![b'a' + writer; 256 * 1024];
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (declared, replace, path) = (&declared, &replace, &path);
                scope.spawn(move || {
                    for _ in 0..8 {
                        call(declared, replace(written(writer))).unwrap();
                        let found = call(declared, whole(path.clone())).unwrap();
                        assert!((0..4).any(|any| found == written(any)), "never a part of one");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_folder_that_may_be_missing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let declared = declared(folder.path());
        let path = folder.path().join("made/a.conf");
        call(&declared, FileCall::Replace { path: path.clone(), mode: 0o600, content: b"x".to_vec() }).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"x");
    }
}
