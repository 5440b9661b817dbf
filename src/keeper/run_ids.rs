//! Run ids: one counter for all containers, seeded from the clock at the very first start and never used twice.
//!
//! The file holds a number above every id given out so far: ids are reserved a block at a time, so a start does not
//! wait for the disk. What a dead keeper had reserved and not used is skipped, unless its deposits tell the last one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::container::machine::RunId;

/// Ids a reservation covers.
const BLOCK: u32 = 1024;

#[derive(Debug)]
pub struct RunIds {
    path: PathBuf,
    next: u32,
    reserved_below: u32,
}

impl RunIds {
    pub fn open(path: PathBuf, unix_seconds: u32) -> Self {
        let stored = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
        let next = stored.unwrap_or(unix_seconds);
        Self { path, next, reserved_below: next }
    }

    /// `used` is the highest id that a predecessor on this boot is known to have given out: no gap then.
    pub fn go_on_behind(&mut self, used: RunId) {
        self.next = used.0.wrapping_add(1);
        self.reserved_below = self.next;
    }

    /// A disk that refuses the reservation is told of in the result; the id is good all the same for this keeper's life.
    pub fn take(&mut self) -> (RunId, io::Result<()>) {
        let reserved = if self.next == self.reserved_below { self.reserve() } else { Ok(()) };
        let id = RunId(self.next);
        self.next = self.next.wrapping_add(1);
        (id, reserved)
    }

    fn reserve(&mut self) -> io::Result<()> {
        self.reserved_below = self.next.wrapping_add(BLOCK);
        write_durably(&self.path, &format!("{}\n", self.reserved_below))
    }
}

fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_up_by_one_and_never_repeat_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run-ids");
        let mut first = RunIds::open(path.clone(), 1_632_914_459);
        let given: Vec<u32> = (0..3).map(|_| first.take().0.0).collect();
        assert_eq!(given, [1_632_914_459, 1_632_914_460, 1_632_914_461]);
        // The clock went backwards, and nobody knows the last id: the file does.
        let mut second = RunIds::open(path.clone(), 5);
        assert!(second.take().0.0 > 1_632_914_461);
        // The deposits know the last id.
        let mut third = RunIds::open(path, 5);
        third.go_on_behind(RunId(1_632_914_461));
        assert_eq!(third.take().0, RunId(1_632_914_462));
    }
}
