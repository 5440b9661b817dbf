//! What the store asks of a disk, small enough to be simulated: a test can cut the power after any step.

use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// Whole files and appends; nothing is durable before it was forced.
pub trait Disk: Send + Sync + std::fmt::Debug {
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory; none when there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Makes a new file with these bytes, or replaces one; not forced.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file to `length` bytes.
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()>;
    /// Forces the content of a file to disk.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Forces the names in a directory to disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// Puts `bytes` at `path` so that after a power cut either all of them are there or what was there before.
pub(super) fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let aside = aside(path);
    let written = disk.write(&aside, bytes).and_then(|()| disk.sync_file(&aside));
    if let Err(source) = written {
        // Whatever the file holds is not to be trusted; that it cannot be removed changes nothing.
        let _ = disk.remove(&aside);
        return Err(StoreError::disk(aside)(source));
    }
    disk.rename(&aside, path).map_err(StoreError::disk(path))?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    disk.sync_dir(dir).map_err(StoreError::disk(dir))
}

/// The name beside a file under which its next content is written.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
pub(crate) mod simulated {
    //! A disk in memory that can lose power, fill up, or fail to force.

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct File {
        now: Vec<u8>,
        forced: Vec<u8>,
    }

    #[derive(Debug, Default)]
    struct State {
        files: BTreeMap<PathBuf, usize>,
        durable: BTreeMap<PathBuf, usize>,
        content: Vec<File>,
        steps_left: Option<usize>,
        steps_taken: usize,
        failing_sync: bool,
        bytes_left: Option<usize>,
    }

    #[derive(Debug, Default)]
    pub(crate) struct Simulated(Mutex<State>);

    impl Simulated {
        /// After that many changing steps every further one fails, as if the power went.
        pub(crate) fn lose_power_after(&self, steps: usize) {
            self.0.lock().unwrap().steps_left = Some(steps);
        }

        pub(crate) fn steps_taken(&self) -> usize {
            self.0.lock().unwrap().steps_taken
        }

        pub(crate) fn fail_syncs(&self, failing: bool) {
            self.0.lock().unwrap().failing_sync = failing;
        }

        pub(crate) fn fill_after(&self, bytes: usize) {
            self.0.lock().unwrap().bytes_left = Some(bytes);
        }

        /// The disk after the power came back. What was not forced may be there, in part, or not: `seed` decides.
        pub(crate) fn after_power_cut(&self, seed: u64) -> Simulated {
            let state = self.0.lock().unwrap();
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random
            };
            // Names that were not forced survive by chance, each for itself.
            let mut names = state.durable.clone();
            for (path, file) in &state.files {
                if state.durable.get(path) != Some(file) && next() % 2 == 0 {
                    names.insert(path.clone(), *file);
                }
            }
            for path in state.durable.keys() {
                if !state.files.contains_key(path) && next() % 2 == 0 {
                    names.remove(path);
                }
            }
            let content: Vec<File> = state
                .content
                .iter()
                .map(|file| {
                    let bytes = if file.now.starts_with(&file.forced) {
                        let extra = file.now.len() - file.forced.len();
                        let kept = if extra == 0 { 0 } else { next() as usize % (extra + 1) };
                        file.now[..file.forced.len() + kept].to_vec()
                    } else {
                        file.forced.clone()
                    };
                    File { now: bytes.clone(), forced: bytes }
                })
                .collect();
            Simulated(Mutex::new(State { files: names.clone(), durable: names, content, ..State::default() }))
        }

        fn step(state: &mut State) -> io::Result<()> {
            state.steps_taken += 1;
            match &mut state.steps_left {
                Some(0) => Err(io::Error::other("the power is off")),
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        }

        fn take_space(state: &mut State, bytes: usize) -> io::Result<usize> {
            match &mut state.bytes_left {
                Some(left) if *left < bytes => Ok(std::mem::take(left)),
                Some(left) => {
                    *left -= bytes;
                    Ok(bytes)
                }
                None => Ok(bytes),
            }
        }

        fn index(state: &State, path: &Path) -> io::Result<usize> {
            state.files.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
    }

    impl Disk for Simulated {
        fn make_dir(&self, _: &Path) -> io::Result<()> {
            Self::step(&mut self.0.lock().unwrap())
        }

        fn list(&self, path: &Path) -> io::Result<Vec<String>> {
            let state = self.0.lock().unwrap();
            let inside = state.files.keys().filter(|file| file.parent() == Some(path));
            Ok(inside.filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect())
        }

        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let state = self.0.lock().unwrap();
            Ok(state.content[Self::index(&state, path)?].now.clone())
        }

        fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            let kept = Self::take_space(state, bytes.len())?;
            state.content.push(File { now: bytes[..kept].to_vec(), forced: Vec::new() });
            state.files.insert(path.to_owned(), state.content.len() - 1);
            if kept == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            let kept = Self::take_space(state, bytes.len())?;
            let index = match Self::index(state, path) {
                Ok(index) => index,
                Err(_) => {
                    state.content.push(File::default());
                    state.files.insert(path.to_owned(), state.content.len() - 1);
                    state.content.len() - 1
                }
            };
            state.content[index].now.extend_from_slice(&bytes[..kept]);
            if kept == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            let index = Self::index(state, path)?;
            state.content[index].now.truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn sync_file(&self, path: &Path) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            if state.failing_sync {
                return Err(io::Error::other("force failed"));
            }
            let index = Self::index(state, path)?;
            state.content[index].forced = state.content[index].now.clone();
            Ok(())
        }

        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            if state.failing_sync {
                return Err(io::Error::other("force failed"));
            }
            state.durable.retain(|file, _| file.parent() != Some(path));
            for (file, index) in &state.files {
                if file.parent() == Some(path) {
                    state.durable.insert(file.clone(), *index);
                }
            }
            Ok(())
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            let index = Self::index(state, from)?;
            state.files.remove(from);
            state.files.insert(to.to_owned(), index);
            Ok(())
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            let state = &mut *self.0.lock().unwrap();
            Self::step(state)?;
            state.files.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}
