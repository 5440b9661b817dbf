//! One small durable text with a checksum: there as a whole, or not there. For a fact that has to outlive the agent.

use std::path::PathBuf;
use std::sync::Arc;

use super::StoreError;
use super::disk::{Disk, aside, put};

#[derive(Debug)]
pub struct Note {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Note {
    /// The note need not be there.
    pub fn at(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path }
    }

    pub fn read(&self) -> Result<Option<String>, StoreError> {
        let bytes = match self.disk.read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::disk(&self.path)(error)),
        };
        let damaged = || StoreError::Damaged {
            path: self.path.clone(),
            reason: "its checksum does not match its content".to_owned(),
        };
        let text = String::from_utf8(bytes).map_err(|_| damaged())?;
        let (sum, text) = text.split_once('\n').ok_or_else(damaged)?;
        if sum == checksum(text) { Ok(Some(text.to_owned())) } else { Err(damaged()) }
    }

    /// On disk when this returns.
    pub fn write(&self, text: &str) -> Result<(), StoreError> {
        let dir = self.path.parent().map(PathBuf::from).unwrap_or_default();
        self.disk.make_dir(&dir).map_err(StoreError::disk(&dir))?;
        put(&*self.disk, &self.path, format!("{}\n{text}", checksum(text)).as_bytes())
    }

    /// Gone from the disk when this returns.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.take_away(|disk| disk.remove(&self.path))
    }

    /// Out of the way, but not lost; says where it is now.
    pub fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".damaged");
        let there = PathBuf::from(name);
        self.take_away(|disk| disk.rename(&self.path, &there))?;
        Ok(there)
    }

    fn take_away(&self, how: impl FnOnce(&dyn Disk) -> std::io::Result<()>) -> Result<(), StoreError> {
        let dir = self.path.parent().map(PathBuf::from).unwrap_or_default();
        // What a write left behind when the power went; that it is not there is usual.
        let _ = self.disk.remove(&aside(&self.path));
        match how(&*self.disk) {
            Ok(()) => {}
            // Its name may still be on the disk: that is forced below.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::disk(&self.path)(error)),
        }
        self.disk.sync_dir(&dir).map_err(StoreError::disk(dir))
    }
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::disk::simulated::Simulated;
    use super::*;

    fn note(disk: &Arc<Simulated>) -> Note {
        Note::at(Arc::clone(disk) as Arc<dyn Disk>, PathBuf::from("/state/note"))
    }

    #[test]
    fn it_is_there_as_a_whole_or_not_at_all_whenever_the_power_goes() {
        for steps in 0..20 {
            for seed in 0..8 {
                let disk = Arc::new(Simulated::default());
                disk.lose_power_after(steps);
                let mut may_be: Vec<Option<&str>> = vec![None];
                for next in [Some("one\nline"), Some("two"), None] {
                    may_be.push(next);
                    let done = match next {
                        Some(text) => note(&disk).write(text),
                        None => note(&disk).clear(),
                    };
                    if done.is_err() {
                        break;
                    }
                    may_be = vec![next];
                }
                let found = note(&Arc::new(disk.after_power_cut(seed))).read().unwrap();
                assert!(may_be.contains(&found.as_deref()), "steps {steps} seed {seed}: {found:?} of {may_be:?}");
            }
        }
    }

    #[test]
    fn a_damaged_one_is_an_error_until_it_is_set_aside() {
        let disk = Arc::new(Simulated::default());
        note(&disk).write("text").unwrap();
        disk.write(&PathBuf::from("/state/note"), b"00000000\ntext").unwrap();
        assert!(matches!(note(&disk).read(), Err(StoreError::Damaged { .. })));
        assert_eq!(note(&disk).set_aside().unwrap(), PathBuf::from("/state/note.damaged"));
        assert_eq!(note(&disk).read().unwrap(), None);
        assert!(disk.read(&PathBuf::from("/state/note.damaged")).is_ok());
    }
}
