//! An append-only journal of lines, each with a CRC-32 in front: `8c736521 text`. For histories and small state.
//!
//! A line is durable when `append` returns. A torn tail is cut off at the next start; a bad line before the end is an
//! error. When the journal is full the owner compacts it: it gives the lines that still matter.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use super::StoreError;
use super::disk::{Disk, aside, put};

#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    bytes_max: u64,
    /// A force has failed: what the kernel holds of this file is unknown.
    is_trusted: bool,
}

impl Journal {
    /// Opens or makes the journal; its lines, oldest first.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, bytes_max: u64) -> Result<(Self, Vec<String>), StoreError> {
        let dir = path.parent().map(PathBuf::from).unwrap_or_default();
        disk.make_dir(&dir).map_err(StoreError::disk(&dir))?;
        // What a compaction left behind when the power went.
        let _ = disk.remove(&aside(&path));
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                put(&*disk, &path, b"")?;
                Vec::new()
            }
            Err(error) => return Err(StoreError::disk(&path)(error)),
        };
        let (lines, sound) = read(&bytes).map_err(|line| StoreError::Damaged {
            path: path.clone(),
            reason: format!("the checksum of line {line} does not match"),
        })?;
        if sound < bytes.len() {
            warn!(path = %path.display(), bytes = bytes.len() - sound, "the torn end of a journal is cut off");
            disk.truncate(&path, sound as u64).map_err(StoreError::disk(&path))?;
        }
        // What was read must still be there after the next power cut.
        disk.sync_file(&path).map_err(StoreError::disk(&path))?;
        disk.sync_dir(&dir).map_err(StoreError::disk(&dir))?;
        Ok((Self { disk, path, bytes: sound as u64, bytes_max, is_trusted: true }, lines))
    }

    /// Adds one line; it is on disk when this returns.
    pub fn append(&mut self, line: &str) -> Result<(), StoreError> {
        self.append_all([line])
    }

    /// Adds lines that share one fsync: all of them or, but for a power cut, none.
    pub fn append_all<'l>(&mut self, lines: impl IntoIterator<Item = &'l str>) -> Result<(), StoreError> {
        if self.write_all(lines)? { self.force() } else { Ok(()) }
    }

    /// Adds lines that outlive this process, and a power cut once they are forced; whether there were any.
    pub fn write_all<'l>(&mut self, lines: impl IntoIterator<Item = &'l str>) -> Result<bool, StoreError> {
        if !self.is_trusted {
            return Err(StoreError::NotTrusted { path: self.path.clone() });
        }
        let text: String = lines.into_iter().map(framed).collect();
        if text.is_empty() {
            return Ok(false);
        }
        if self.bytes + text.len() as u64 > self.bytes_max {
            return Err(StoreError::Full { path: self.path.clone(), bytes_max: self.bytes_max });
        }
        if let Err(source) = self.disk.append(&self.path, text.as_bytes()) {
            // A part of it may have been written (a full disk): it must not stand in front of the next line.
            self.is_trusted = self.disk.truncate(&self.path, self.bytes).is_ok();
            return Err(StoreError::disk(&self.path)(source));
        }
        self.bytes += text.len() as u64;
        Ok(true)
    }

    pub fn force(&mut self) -> Result<(), StoreError> {
        self.disk.sync_file(&self.path).map_err(|source| {
            self.is_trusted = false;
            StoreError::disk(&self.path)(source)
        })
    }

    /// More than three quarters are used: time to compact.
    pub fn wants_compaction(&self) -> bool {
        self.bytes > self.bytes_max / 4 * 3
    }

    /// Puts a new file with these lines in the place of the journal. Also mends one that is not trusted any more.
    pub fn compact<'l>(&mut self, lines: impl IntoIterator<Item = &'l str>) -> Result<(), StoreError> {
        let text: String = lines.into_iter().map(framed).collect();
        if text.len() as u64 > self.bytes_max {
            return Err(StoreError::Full { path: self.path.clone(), bytes_max: self.bytes_max });
        }
        put(&*self.disk, &self.path, text.as_bytes())?;
        self.bytes = text.len() as u64;
        self.is_trusted = true;
        Ok(())
    }
}

fn framed(line: &str) -> String {
    let line = line.replace('\\', "\\\\").replace('\n', "\\n");
    format!("{:08x} {line}\n", crc32fast::hash(line.as_bytes()))
}

/// The lines and how many bytes they take; the number of a bad line that is not the last.
fn read(bytes: &[u8]) -> Result<(Vec<String>, usize), usize> {
    let mut lines = Vec::new();
    let mut sound = 0;
    while sound < bytes.len() {
        let rest = &bytes[sound..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let parsed = length.and_then(|length| parsed(&rest[..length]));
        match (parsed, length) {
            (Some(line), Some(length)) => {
                lines.push(line);
                sound += length + 1;
            }
            // Nothing sound behind it: the power went while it was written.
            (None, _) if no_sound_line(rest) => break,
            (None, _) | (Some(_), None) => return Err(lines.len() + 1),
        }
    }
    Ok((lines, sound))
}

/// Whether no line that ends is sound; what stands behind the last newline was not written to its end.
fn no_sound_line(bytes: &[u8]) -> bool {
    let ended = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    !bytes[..ended].split(|byte| *byte == b'\n').any(|line| parsed(line).is_some())
}

fn parsed(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (sum, rest) = text.split_at_checked(8)?;
    let rest = rest.strip_prefix(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(rest.as_bytes()) {
        return None;
    }
    let mut line = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => line.push(if letters.next() == Some('n') { '\n' } else { '\\' }),
            other => line.push(other),
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::super::disk::simulated::Simulated;
    use super::*;

    fn open(disk: &Arc<Simulated>) -> (Journal, Vec<String>) {
        Journal::open(Arc::clone(disk) as Arc<dyn Disk>, PathBuf::from("/state/journal"), 200).unwrap()
    }

    #[test]
    fn lines_come_back_in_order_whatever_is_in_them() {
        let disk = Arc::new(Simulated::default());
        let (mut journal, lines) = open(&disk);
        assert!(lines.is_empty());
        for line in ["one", "", "two\nlines \\n", "ü"] {
            journal.append(line).unwrap();
        }
        assert_eq!(open(&disk).1, ["one", "", "two\nlines \\n", "ü"]);
    }

    #[test]
    fn after_a_power_cut_at_any_step_acknowledged_lines_are_there() {
        for steps in 0..25 {
            for seed in 0..10 {
                let disk = Arc::new(Simulated::default());
                disk.lose_power_after(steps);
                let mut acknowledged = Vec::new();
                if let Ok((mut journal, _)) =
                    Journal::open(Arc::clone(&disk) as Arc<dyn Disk>, PathBuf::from("/state/journal"), 200)
                {
                    for index in 0..8 {
                        let line = format!("line {index}");
                        if journal.append(&line).is_err() {
                            break;
                        }
                        acknowledged.push(line);
                        if index == 4 && journal.compact(acknowledged.iter().map(String::as_str)).is_err() {
                            break;
                        }
                    }
                }
                let (_, lines) = open(&Arc::new(disk.after_power_cut(seed)));
                assert!(lines.starts_with(&acknowledged), "steps {steps} seed {seed}: {lines:?}");
                assert!(lines.len() <= acknowledged.len() + 1);
            }
        }
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_a_bad_middle_is_an_error() {
        let disk = Arc::new(Simulated::default());
        let (mut journal, _) = open(&disk);
        journal.append("one").unwrap();
        disk.append(&PathBuf::from("/state/journal"), b"12345678 tor").unwrap();
        let (mut journal, lines) = open(&disk);
        assert_eq!(lines, ["one"]);
        journal.append("two").unwrap();
        assert_eq!(open(&disk).1, ["one", "two"]);

        let mut bytes = disk.read(&PathBuf::from("/state/journal")).unwrap();
        bytes[10] ^= 1;
        disk.write(&PathBuf::from("/state/journal"), &bytes).unwrap();
        let opened = Journal::open(Arc::clone(&disk) as Arc<dyn Disk>, PathBuf::from("/state/journal"), 200);
        assert!(matches!(opened, Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_full_journal_says_so_and_goes_on_after_compaction() {
        let disk = Arc::new(Simulated::default());
        let (mut journal, _) = open(&disk);
        while journal.append("0123456789").is_ok() {}
        assert!(journal.wants_compaction());
        assert!(matches!(journal.append("0123456789"), Err(StoreError::Full { .. })));
        journal.compact(["kept"]).unwrap();
        journal.append("new").unwrap();
        assert_eq!(open(&disk).1, ["kept", "new"]);
    }

    #[test]
    fn a_journal_whose_force_failed_is_not_written_again_until_it_is_made_new() {
        let disk = Arc::new(Simulated::default());
        let (mut journal, _) = open(&disk);
        disk.fail_syncs(true);
        assert!(journal.append("lost").is_err());
        disk.fail_syncs(false);
        assert!(matches!(journal.append("more"), Err(StoreError::NotTrusted { .. })));
        journal.compact([]).unwrap();
        journal.append("again").unwrap();
        assert_eq!(open(&disk).1, ["again"]);
    }
}
