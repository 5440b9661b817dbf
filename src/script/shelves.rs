//! The repository's folders: looking at files, and putting several in place (or taking them away) as one.
//!
//! ```text
//!  .staging/N/   new-x.py     fetched and on disk, not yet in place
//!                old-x.py     a second link to what x.py was (add), or x.py itself (remove)
//!                manifest     there while files are put in place: who finds it undoes the half-done work
//!
//!  stage all -> manifest -> per file: keep old, rename new over -> fsync shelf -> drop manifest (done)
//!                                       | failed, or found after a crash
//!                                       +-> undo: old back over x.py; x.py away where there was no old
//! ```
//! Blocking: the driver runs it on threads of its own. Knows no history, no checksums that are committed, no network.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::docstring::{self, SOURCE_BYTES_READ};
use super::name::{ScriptKey, ScriptName, ScriptType};
use super::repository::{FileFacts, Identity};
use crate::checksum::{Sha256, Summing};

/// What device paths begin with.
const DEVICE_REPOSITORY: &str = "/harddisk:/mirror/script-mgmt";

const MANIFEST: &str = "manifest";

/// Begins the names of staging folders that an earlier start could not undo.
const KEPT: &str = "kept-";

/// Names read from one shelf in one scan; a folder that holds more is told in the log and read no further.
pub const ENTRIES_READ_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("no space left on the file system of {path}; remove files from harddisk: and try again", path = path.display())]
    NoSpace { path: PathBuf },
    #[error("{path} is in the way: not a regular file; remove it and try again", path = path.display())]
    InTheWay { path: PathBuf },
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

impl ShelfError {
    pub fn new(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { what, path, source },
        }
    }
}

trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, ShelfError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, ShelfError> {
        self.map_err(|source| ShelfError::new(what, path, source))
    }
}

/// Where things are under the harddisk.
#[derive(Debug, Clone)]
pub struct Layout {
    repository: PathBuf,
}

impl Layout {
    pub fn new(harddisk: &Path) -> Self {
        Self { repository: harddisk.join("mirror/script-mgmt") }
    }

    pub fn shelf(&self, script_type: ScriptType) -> PathBuf {
        self.repository.join(script_type.as_str())
    }

    pub fn path_of(&self, key: &ScriptKey) -> PathBuf {
        self.shelf(key.script_type).join(key.name.as_str())
    }

    /// The path as the device's users know it.
    pub fn device_path_of(key: &ScriptKey) -> String {
        format!("{DEVICE_REPOSITORY}/{}/{}", key.script_type, key.name)
    }

    pub fn staging(&self) -> PathBuf {
        self.repository.join(".staging")
    }

    /// Makes what is missing and undoes what a crash left half done.
    pub fn prepare(&self) -> Result<(), ShelfError> {
        for script_type in ScriptType::ALL {
            self.make_shelf(script_type)?;
        }
        let staging = self.staging();
        let entries = match fs::read_dir(&staging) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.at("read", &staging)?,
        };
        for entry in entries {
            let folder = entry.at("read", &staging)?.path();
            if let Err(error) = self.clear(&folder) {
                // The repository serves all the same; what could not be undone is kept for the next start.
                tracing::error!(%error, "a half-done change of the script repository cannot be undone");
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                if !name.starts_with(KEPT) {
                    let kept = staging.join(format!("{KEPT}{name}"));
                    fs::rename(&folder, &kept).at("put aside", &folder)?;
                }
            }
        }
        Ok(())
    }

    /// Undoes what a folder in the staging area stands for, and removes it.
    fn clear(&self, folder: &Path) -> Result<(), ShelfError> {
        let batch = Batch { folder: folder.to_owned() };
        // A manifest that does not parse was torn while being written: nothing had been moved yet.
        let manifest = fs::read(folder.join(MANIFEST)).ok().and_then(|bytes| Manifest::from_bytes(&bytes));
        if let Some(manifest) = manifest {
            tracing::warn!(folder = %folder.display(), "a half-done change of the script repository is undone");
            batch.undo(&self.shelf(manifest.script_type), &manifest)?;
        }
        let removed = if folder.is_dir() { fs::remove_dir_all(folder) } else { fs::remove_file(folder) };
        removed.at("remove", folder)
    }

    pub fn make_shelf(&self, script_type: ScriptType) -> Result<(), ShelfError> {
        let shelf = self.shelf(script_type);
        DirBuilder::new().recursive(true).mode(0o755).create(&shelf).at("create", &shelf)
    }

    /// The names on a shelf that are names of scripts, and those that only look like it.
    pub fn list(&self, script_type: ScriptType) -> io::Result<(Vec<ScriptName>, Vec<String>)> {
        let (mut names, mut odd) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(self.shelf(script_type))?.take(ENTRIES_READ_MAX) {
            let name = entry?.file_name();
            let Some(text) = name.to_str() else { continue };
            match ScriptName::parse(text) {
                Ok(name) => names.push(name),
                Err(_) if text.ends_with(".py") && !text.starts_with('.') => odd.push(text.to_owned()),
                Err(_) => {}
            }
        }
        names.sort();
        Ok((names, odd))
    }

    /// A folder for one change, with a number that nobody else uses.
    pub fn open_batch(&self, number: u64) -> Result<Batch, ShelfError> {
        let folder = self.staging().join(number.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).at("create", &folder)?;
        Ok(Batch { folder })
    }
}

/// What a look at one file found.
#[derive(Debug)]
pub enum Sighting {
    Absent,
    File(FileFacts),
    /// There is something, but no script: why.
    Unusable(String),
}

/// Looks at a file. `known` spares reading bytes that have been read before.
pub fn look_at(path: &Path, known: Option<&FileFacts>, bytes_max: u64) -> Sighting {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let looked = opened.and_then(|mut file| {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Sighting::Unusable("not a regular file".to_owned()));
        }
        if metadata.len() > bytes_max {
            return Ok(Sighting::Unusable(format!("larger than the {bytes_max} bytes that a script may have")));
        }
        let identity = identity(&metadata);
        if let Some(known) = known.filter(|known| known.identity == identity) {
            return Ok(Sighting::File(known.clone()));
        }
        facts(&mut file).map(Sighting::File)
    });
    match looked {
        Ok(sighting) => sighting,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Sighting::Absent,
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Sighting::Unusable("a symbolic link".to_owned()),
        Err(error) => Sighting::Unusable(error.to_string()),
    }
}

fn identity(metadata: &fs::Metadata) -> Identity {
    let modified_nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Identity { inode: metadata.ino(), modified_nanoseconds, size: metadata.len() }
}

fn facts(file: &mut File) -> io::Result<FileFacts> {
    // Taken before reading: whoever writes meanwhile gives the file another identity, and it is read again.
    let identity = identity(&file.metadata()?);
    file.rewind()?;
    let mut beginning = Vec::new();
    file.take(SOURCE_BYTES_READ as u64).read_to_end(&mut beginning)?;
    file.rewind()?;
    let (sum, _) = Sha256::of_stream(&mut *file)?;
    Ok(FileFacts { sum, identity, docstring: docstring::read(&beginning) })
}

/// One change of a shelf, all of it or nothing. Dropped, it leaves nothing behind in the staging folder.
#[derive(Debug)]
pub struct Batch {
    folder: PathBuf,
}

impl Drop for Batch {
    fn drop(&mut self) {
        // A batch that is being undone at a crash keeps its manifest; the next start reads it.
        if !self.folder.join(MANIFEST).exists() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A file that is fetched and on disk.
#[derive(Debug)]
pub struct Staged {
    pub name: ScriptName,
    pub facts: FileFacts,
}

struct Manifest {
    script_type: ScriptType,
    /// Whether files come (add) or go (remove).
    is_add: bool,
    names: Vec<ScriptName>,
}

impl Manifest {
    fn to_bytes(&self) -> Vec<u8> {
        let verb = if self.is_add { "add" } else { "remove" };
        let names: String = self.names.iter().map(|name| format!("{name}\n")).collect();
        format!("{verb} {}\n{names}end\n", self.script_type).into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix("end\n")?;
        let (head, names) = text.split_once('\n')?;
        let (verb, script_type) = head.split_once(' ')?;
        Some(Self {
            script_type: ScriptType::parse(script_type).ok()?,
            is_add: verb == "add",
            names: names.lines().map(ScriptName::parse).collect::<Result<_, _>>().ok()?,
        })
    }
}

impl Batch {
    fn new_of(&self, name: &ScriptName) -> PathBuf {
        self.folder.join(format!("new-{name}"))
    }

    fn old_of(&self, name: &ScriptName) -> PathBuf {
        self.folder.join(format!("old-{name}"))
    }

    /// Writes one file through `fill` and sees to it that it is on disk.
    pub fn stage<E: From<ShelfError>>(
        &self,
        name: &ScriptName,
        fill: impl FnOnce(&mut dyn Write) -> Result<u64, E>,
    ) -> Result<Staged, E> {
        let path = self.new_of(name);
        let opened =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&path).at("create", &path);
        let mut file = opened.map_err(E::from)?;
        let mut summing = Summing::new(&file);
        fill(&mut summing)?;
        let (sum, _) = summing.finish();
        let facts = file.sync_all().and_then(|()| facts(&mut file)).at("write", &path).map_err(E::from)?;
        if facts.sum != sum {
            let error = io::Error::other("what was read back is not what was written");
            return Err(ShelfError::new("write", &path, error).into());
        }
        Ok(Staged { name: name.clone(), facts })
    }

    /// Puts all staged files on the shelf.
    pub fn install(self, shelf: &Path, script_type: ScriptType, names: &[ScriptName]) -> Result<(), ShelfError> {
        let manifest = Manifest { script_type, is_add: true, names: names.to_vec() };
        self.carry_out(shelf, &manifest, |batch, name| {
            let (target, old) = (shelf.join(name.as_str()), batch.old_of(name));
            match fs::symlink_metadata(&target) {
                Ok(metadata) if metadata.is_dir() => return Err(ShelfError::InTheWay { path: target }),
                Ok(_) => fs::hard_link(&target, &old).at("keep", &target)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ShelfError::new("look at", &target, error)),
            }
            fs::rename(batch.new_of(name), &target).at("put in place", &target)
        })
    }

    /// Takes all named files from the shelf.
    pub fn remove(self, shelf: &Path, script_type: ScriptType, names: &[ScriptName]) -> Result<(), ShelfError> {
        let manifest = Manifest { script_type, is_add: false, names: names.to_vec() };
        self.carry_out(shelf, &manifest, |batch, name| {
            let target = shelf.join(name.as_str());
            fs::rename(&target, batch.old_of(name)).at("remove", &target)
        })
    }

    fn carry_out(
        self,
        shelf: &Path,
        manifest: &Manifest,
        step: impl Fn(&Self, &ScriptName) -> Result<(), ShelfError>,
    ) -> Result<(), ShelfError> {
        let path = self.folder.join(MANIFEST);
        let written = write_durably(&path, &manifest.to_bytes()).and_then(|()| sync_folder(&self.folder));
        let done = written
            .at("write", &path)
            .and_then(|()| manifest.names.iter().try_for_each(|name| step(&self, name)))
            .and_then(|()| sync_folder(shelf).at("sync", shelf));
        // Without its manifest the change stands, whatever happens next.
        match done.and_then(|()| fs::remove_file(&path).at("remove", &path)) {
            Ok(()) => {
                if let Err(error) = sync_folder(&self.folder) {
                    tracing::warn!(%error, "a change of the script repository may be undone by a power cut");
                }
                Ok(())
            }
            Err(error) => {
                self.undo(shelf, manifest)?;
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Makes the shelf what it was. Can be done again after a crash in the middle of it.
    fn undo(&self, shelf: &Path, manifest: &Manifest) -> Result<(), ShelfError> {
        for name in &manifest.names {
            let (target, old) = (shelf.join(name.as_str()), self.old_of(name));
            if fs::symlink_metadata(&old).is_ok() {
                fs::rename(&old, &target).at("bring back", &target)?;
            } else if manifest.is_add && fs::symlink_metadata(self.new_of(name)).is_err() {
                match fs::rename(&target, self.new_of(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(ShelfError::new("take back", &target, error));
                    }
                    _ => {}
                }
            }
        }
        sync_folder(shelf).at("sync", shelf)
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
