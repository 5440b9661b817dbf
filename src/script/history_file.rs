//! A [`HistoryLog`] in one file of lines.
//!
//! ```text
//!  append: write at the end, fsync         replace: write beside, fsync, rename over, fsync folder
//!  load:   up to the last line feed; what is behind it was torn by a power cut and is cut off
//! ```
//! Does not know what a line means.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::history::HistoryLog;

/// A file above this was not written by us in any use; it is put aside rather than read into memory.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    file: Option<File>,
}

impl HistoryFile {
    /// Opens nothing yet; the folder of `path` is made when the first line is written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let folder = folder_of(&self.path);
            fs::create_dir_all(folder)?;
            let file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
            File::open(folder)?.sync_all()?;
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("a file was opened above"))
    }
}

impl HistoryLog for HistoryFile {
    fn append(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let bytes = joined(lines);
        let file = self.file()?;
        let before = file.metadata()?.len();
        let written = file.write_all(&bytes).and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line would swallow the next one. If this fails too, loading cuts the tail off.
            let _ = file.set_len(before);
        }
        written
    }

    fn load(&mut self) -> io::Result<Vec<Vec<u8>>> {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
            self.file = None;
            fs::rename(&self.path, self.path.with_extension("oversized"))?;
        }
        let file = self.file()?;
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
            file.sync_data()?;
        }
        Ok(bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
    }

    fn replace(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let folder = folder_of(&self.path);
        fs::create_dir_all(folder)?;
        let mut file = File::create(&beside)?;
        file.write_all(&joined(lines))?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.file = None;
        File::open(folder)?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_the_next_line_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/history");
        let mut log = HistoryFile::new(&path);
        log.append(&[line("one"), line("two")]).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"thr").unwrap();
        let mut log = HistoryFile::new(&path);
        assert_eq!(log.load().unwrap(), [line("one"), line("two")]);
        log.append(&[line("three")]).unwrap();
        assert_eq!(HistoryFile::new(&path).load().unwrap(), [line("one"), line("two"), line("three")]);
    }

    #[test]
    fn replaced_lines_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = HistoryFile::new(folder.path().join("history"));
        log.append(&[line("old")]).unwrap();
        log.replace(&[line("new")]).unwrap();
        log.append(&[line("newer")]).unwrap();
        assert_eq!(log.load().unwrap(), [line("new"), line("newer")]);
    }
}
