//! The log files of a container: appended in big writes, rotated by size, never waited for.
//!
//! A disk that refuses costs the bytes it refused and nothing else: they are counted, and the next bytes are tried
//! again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::tape::Position;
use crate::container::machine::RunId;
use crate::container::spec::LogSpec;

#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    bytes_max: u64,
    files_max: u8,
    open: Option<Open>,
    dropped: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    bytes: u64,
    at_line_start: bool,
}

impl LogFile {
    pub fn new(path: PathBuf, bytes_max: u64, files_max: u8) -> Self {
        Self { path, bytes_max: bytes_max.max(1), files_max, open: None, dropped: 0 }
    }

    /// From the next rotation on.
    pub fn set_limits(&mut self, spec: &LogSpec) {
        self.bytes_max = spec.bytes_max.max(1);
        self.files_max = spec.files_max;
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that the disk refused.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Where the next byte goes.
    pub fn position(&mut self) -> Position {
        self.ready().map_or_else(|_| Position::default(), |open| Position { inode: open.inode, bytes: open.bytes })
    }

    /// How many bytes have been written since the log was there; also by somebody who did not live to tell.
    pub fn written_since(&self, then: Position) -> u64 {
        let now = |path: &Path| fs::metadata(path).map(|facts| (facts.ino(), facts.len()));
        let Ok((inode, bytes)) = now(&self.path) else { return 0 };
        if inode == then.inode {
            return bytes.saturating_sub(then.bytes);
        }
        // It was full meanwhile, and moved.
        match now(&self.numbered(1)) {
            Ok((inode, before)) if inode == then.inode => before.saturating_sub(then.bytes) + bytes,
            _ => 0,
        }
    }

    pub fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.append_some(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.dropped = self.dropped.saturating_add(rest.len() as u64);
                    self.open = None;
                    return;
                }
            }
        }
    }

    /// Opens the file now rather than at the first byte, so that somebody can be told if it cannot be.
    pub fn open_now(&mut self) -> io::Result<()> {
        self.ready().map(drop)
    }

    /// The next bytes go to whatever the path names by then.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// The line that begins a run in the error log.
    pub fn separate(&mut self, run: RunId, at: &Zoned) {
        self.follow_the_path();
        let begins_line = self.ready().is_ok_and(|open| open.at_line_start);
        let line = separator(run, at);
        self.append(if begins_line { line.as_bytes().to_vec() } else { format!("\n{line}").into_bytes() }.as_slice());
    }

    /// If somebody has moved or removed the file, the next bytes go to a new one of the old name.
    pub fn follow_the_path(&mut self) {
        let Some(open) = &self.open else { return };
        let same = match (open.file.metadata(), fs::metadata(&self.path)) {
            (Ok(ours), Ok(theirs)) => ours.ino() == theirs.ino() && ours.dev() == theirs.dev(),
            _ => false,
        };
        if !same {
            self.open = None;
        }
    }

    fn append_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes_max = self.bytes_max;
        if self.ready()?.bytes >= bytes_max {
            self.rotate();
        }
        let open = self.ready()?;
        let room = usize::try_from(bytes_max - open.bytes.min(bytes_max)).unwrap_or(usize::MAX).max(1);
        let written = open.file.write(&bytes[..bytes.len().min(room)])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        open.bytes += written as u64;
        open.at_line_start = bytes[written - 1] == b'\n';
        Ok(written)
    }

    fn ready(&mut self) -> io::Result<&mut Open> {
        if self.open.is_none() {
            self.open = Some(open(&self.path)?);
        }
        Ok(self.open.as_mut().expect("opened above"))
    }

    fn numbered(&self, number: u8) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        PathBuf::from(path)
    }

    fn rotate(&mut self) {
        let numbered = |number: u8| self.numbered(number);
        // A name that is not there yet is no error; one that cannot be moved is overwritten by the next move.
        for number in (1..self.files_max).rev() {
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        let moved = if self.files_max == 0 { fs::remove_file(&self.path) } else { fs::rename(&self.path, numbered(1)) };
        if moved.is_ok() {
            self.open = None;
        } else if let Some(open) = &mut self.open {
            // It cannot be moved: start over in place rather than grow without bound.
            if open.file.set_len(0).is_ok() {
                open.bytes = 0;
            }
        }
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o644).open(path)?;
    let metadata = file.metadata()?;
    let (inode, bytes) = (metadata.ino(), metadata.len());
    let mut last = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(Open { file, inode, bytes, at_line_start: last == [b'\n'] })
}

/// `-----Run ID:1632914459  Fri Aug 20 06:30:20 2021-----`
fn separator(run: RunId, at: &Zoned) -> String {
    format!("-----Run ID:{}  {}-----\n", run.0, at.strftime("%a %b %e %H:%M:%S %Y"))
}

/// The last lines of a log, at most `bytes_max` bytes of them.
pub fn tail(path: &Path, lines: usize, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(last_lines(&bytes, lines).to_vec())
}

/// The end of the bytes from where the last so many lines begin; a line without its newline counts.
pub fn last_lines(bytes: &[u8], lines: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    match lines {
        0 => &[],
        _ => breaks.skip(lines - 1).map(|at| &bytes[at + 1..]).next().unwrap_or(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Zoned {
        "2021-08-20T06:30:20[UTC]".parse().unwrap()
    }

    #[test]
    fn a_separator_stands_on_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(dir.path().join("stderr.log"), 1000, 2);
        log.separate(RunId(1_632_914_459), &at());
        log.append(b"no newline");
        log.separate(RunId(1_632_914_460), &at());
        assert_eq!(
            fs::read_to_string(log.path()).unwrap(),
            "-----Run ID:1632914459  Fri Aug 20 06:30:20 2021-----\nno newline\n\
             -----Run ID:1632914460  Fri Aug 20 06:30:20 2021-----\n"
        );
    }

    #[test]
    fn a_full_file_makes_room_for_the_next_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        let mut log = LogFile::new(path.clone(), 4, 2);
        log.append(b"aaaabbbbccccddddee");
        assert_eq!(fs::read_to_string(&path).unwrap(), "ee");
        assert_eq!(fs::read_to_string(dir.path().join("stdout.log.1")).unwrap(), "dddd");
        assert_eq!(fs::read_to_string(dir.path().join("stdout.log.2")).unwrap(), "cccc");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_disk_that_refuses_costs_only_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(dir.path().join("missing/stdout.log"), 100, 2);
        log.append(b"lost");
        assert_eq!(log.dropped(), 4);
        fs::create_dir(dir.path().join("missing")).unwrap();
        log.append(b"kept");
        assert_eq!(fs::read(log.path()).unwrap(), b"kept");
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew_at_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(dir.path().join("stderr.log"), 1000, 2);
        log.append(b"old\n");
        fs::remove_file(log.path()).unwrap();
        log.separate(RunId(1), &at());
        assert!(fs::read_to_string(log.path()).unwrap().starts_with("-----Run ID:1  "));
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 2), b"b\nc");
        assert_eq!(last_lines(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
    }
}
