//! Reads the files of a log by time, follows what is added, and packs what was put aside.
//!
//! Which files are read at all is known from their names, where to begin in one from its marks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::lines::{Joiner, LINE_BYTES_MAX, Lines};
use super::marks::{FILE_BYTES_MAX, Marks, RunMark};
use super::names::{self, PART, Piece, pieces};
use super::packing;

const BLOCK_BYTES: u64 = 64 * 1024;
/// Files that are put aside at one moment are called after later ones.
const LATE_SECONDS: u64 = 2;
/// Looks at a folder in which files are renamed meanwhile.
const LISTS_MAX: u32 = 4;

/// What of a log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// In seconds of Unix, both included.
    pub since: Option<u64>,
    pub until: Option<u64>,
    pub uid: Option<u32>,
    pub run: Option<u32>,
    /// The last lines only.
    pub last: Option<usize>,
}

/// How far a log has been read: a byte in the file behind the one that was put aside at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub after_ms: u64,
    /// Of the file; 0 before there is one.
    pub inode: u64,
    pub offset: u64,
}

/// A log that is being read.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    /// What is to be read of which file.
    todo: VecDeque<(Opened, Range<u64>)>,
    now: Option<Now>,
    joiner: Joiner,
    out: VecDeque<Lines>,
    /// Bytes that were read from the disk.
    read: Rc<Cell<u64>>,
    end: Place,
}

#[derive(Debug, Clone)]
struct Opened {
    piece: Piece,
    inode: u64,
    current: Option<Rc<File>>,
    marks: Marks,
    length: u64,
}

struct Now {
    opened: Opened,
    bytes: Box<dyn Read>,
    at: u64,
    end: u64,
}

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}..{}", self.opened.piece.name, self.at, self.end)
    }
}

impl Reader {
    /// # Errors
    /// A folder or file that cannot be read. A log that is not there is empty.
    pub fn open(log: &Path, wanted: &Wanted) -> io::Result<Self> {
        let (mut before, mut again) = (list(log)?, LISTS_MAX);
        loop {
            let mut reader = Self::on(log);
            reader.choose_among(&before, wanted)?;
            // A file that was put aside meanwhile may have been seen twice, or not at all.
            let after = list(log)?;
            again -= 1;
            if after == before || again == 0 {
                wanted.last.map_or(Ok(()), |last| reader.only_last(last))?;
                return Ok(reader);
            }
            before = after;
        }
    }

    fn on(log: &Path) -> Self {
        Self {
            folder: log.parent().unwrap_or(Path::new("/")).to_owned(),
            todo: VecDeque::new(),
            now: None,
            joiner: Joiner::default(),
            out: VecDeque::new(),
            read: Rc::default(),
            end: Place::default(),
        }
    }

    fn choose_among(&mut self, pieces: &[Piece], wanted: &Wanted) -> io::Result<()> {
        let mut before = None;
        for piece in pieces {
            let ended = piece.ended_ms.map(|at| at / 1000);
            let is_early = wanted.since.zip(ended).is_some_and(|(since, ended)| ended < since);
            let is_late = wanted.until.zip(before).is_some_and(|(until, before)| until + LATE_SECONDS < before);
            before = ended;
            self.end.after_ms = piece.ended_ms.unwrap_or(self.end.after_ms);
            // Of the one that is being written the end is wanted in any case.
            if is_early || (is_late && ended.is_some()) {
                continue;
            }
            match self.look(piece.clone()) {
                Ok(opened) => self.choose(opened, wanted)?,
                // It was put aside, packed or removed at this very moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Bytes that were read from the disk so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.get()
    }

    /// Where the log ended when it was opened.
    pub fn end(&self) -> Place {
        self.end
    }

    fn look(&mut self, piece: Piece) -> io::Result<Opened> {
        let opened = self.examine(piece)?;
        if opened.piece.ended_ms.is_none() {
            self.end = Place { inode: opened.inode, offset: opened.length, ..self.end };
        }
        Ok(opened)
    }

    fn examine(&self, piece: Piece) -> io::Result<Opened> {
        let file = open(&self.folder.join(piece.file()))?;
        let facts = file.metadata()?;
        let text = match open(&self.folder.join(piece.times())) {
            Ok(times) => read_all(times, FILE_BYTES_MAX)?,
            Err(_) => Vec::new(),
        };
        self.tally(text.len() as u64);
        let length = (!piece.is_packed).then_some(facts.len());
        let marks = Marks::parse(&text, length);
        let length = length.or(marks.packed_length()).unwrap_or(u64::MAX);
        // Its name may mean another file by the time it is read.
        let current = piece.ended_ms.is_none().then(|| Rc::new(file));
        Ok(Opened { piece, inode: facts.ino(), current, marks, length })
    }

    fn choose(&mut self, opened: Opened, wanted: &Wanted) -> io::Result<()> {
        let mut span = opened.marks.span(wanted.since, wanted.until, opened.length);
        span.start = self.line_start(&opened, span.start)?;
        let is_meant =
            |run: &RunMark| wanted.uid.is_none_or(|uid| run.uid == uid) && wanted.run.is_none_or(|id| run.run == id);
        let spans = match wanted.uid.or(wanted.run) {
            Some(_) => opened.marks.of_runs(&span, is_meant),
            None => vec![span],
        };
        let spans = spans.into_iter().filter(|span| span.start < span.end);
        self.todo.extend(spans.map(|span| (opened.clone(), span)));
        Ok(())
    }

    /// A line that is under way at that byte is told from its beginning.
    fn line_start(&self, opened: &Opened, at: u64) -> io::Result<u64> {
        if at == 0 || at >= opened.length {
            return Ok(at);
        }
        let from = at.saturating_sub(LINE_BYTES_MAX as u64);
        let before = read_all(self.bytes_of(opened, from..at)?, at - from)?;
        Ok(before.iter().rposition(|byte| *byte == b'\n').map_or(at, |found| from + found as u64 + 1))
    }

    /// Drops what stands before the last so many lines.
    fn only_last(&mut self, lines: usize) -> io::Result<()> {
        let mut left = lines;
        let mut kept = VecDeque::new();
        while let Some((opened, span)) = self.todo.pop_back() {
            if left == 0 {
                break;
            }
            let (start, found) = self.lines_back(&opened, &span, left)?;
            left -= found.min(left);
            kept.push_front((opened, start..span.end));
        }
        self.todo = kept;
        Ok(())
    }

    /// Where the last so many lines of a span begin, and how many there are.
    fn lines_back(&self, opened: &Opened, span: &Range<u64>, lines: usize) -> io::Result<(u64, usize)> {
        if opened.length == u64::MAX {
            // Packed by somebody else: all of it has to be read to know where it ends.
            let bytes = read_all(self.bytes_of(opened, span.clone())?, u64::MAX)?;
            let kept = super::lines::last_lines(&bytes, lines);
            let all = Lines { second: None, bytes: kept.to_vec() };
            return Ok((span.start + (bytes.len() - kept.len()) as u64, all.count()));
        }
        let (mut end, mut found) = (span.end, 0);
        while end > span.start {
            // Parts of packed files are read whole, so going back in them by less would read them again.
            let start = match opened.piece.is_packed {
                true => opened.marks.part_of(end - 1).map_or(0, |part| part.raw).max(span.start),
                false => end.saturating_sub(BLOCK_BYTES).max(span.start),
            };
            let block = read_all(self.bytes_of(opened, start..end)?, end - start)?;
            if block.is_empty() {
                break;
            }
            for at in (0..block.len()).rev() {
                let begins_line = block[at] == b'\n' && start + at as u64 + 1 < span.end;
                found += usize::from(begins_line);
                if found >= lines && begins_line {
                    return Ok((start + at as u64 + 1, lines));
                }
            }
            end = start;
        }
        Ok((span.start, found + usize::from(span.start < span.end)))
    }

    fn bytes_of(&self, opened: &Opened, range: Range<u64>) -> io::Result<Box<dyn Read>> {
        match self.bytes_in(opened, range.clone()) {
            // It was packed since it was looked at, or was too old.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !opened.piece.is_packed => {
                match self.examine(Piece { is_packed: true, ..opened.piece.clone() }) {
                    Ok(packed) => self.bytes_in(&packed, range),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(io::empty())),
                    Err(error) => Err(error),
                }
            }
            done => done,
        }
    }

    fn bytes_in(&self, opened: &Opened, range: Range<u64>) -> io::Result<Box<dyn Read>> {
        let mut file = match &opened.current {
            // A place of its own in the same file.
            Some(current) => File::open(format!("/proc/self/fd/{}", current.as_raw_fd()))?,
            None => open(&self.folder.join(opened.piece.file()))?,
        };
        let count = range.end - range.start;
        let read = Rc::clone(&self.read);
        if !opened.piece.is_packed {
            file.seek(SeekFrom::Start(range.start))?;
            return Ok(Box::new(Metered { inner: file, read }.take(count)));
        }
        let part = opened.marks.part_of(range.start);
        file.seek(SeekFrom::Start(part.map_or(0, |part| part.packed)))?;
        let mut plain = MultiGzDecoder::new(BufReader::new(Metered { inner: file, read }));
        let before = range.start - part.map_or(0, |part| part.raw);
        io::copy(&mut plain.by_ref().take(before), &mut io::sink())?;
        Ok(Box::new(plain.take(count)))
    }

    fn tally(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
    }

    /// Reads on until there are whole lines.
    fn fill(&mut self) -> io::Result<()> {
        while self.out.is_empty() {
            let Some(now) = &mut self.now else {
                let Some((opened, span)) = self.todo.pop_front() else {
                    self.out.extend(self.joiner.end());
                    return Ok(());
                };
                let bytes = self.bytes_of(&opened, span.clone())?;
                self.now = Some(Now { opened, bytes, at: span.start, end: span.end });
                continue;
            };
            let (second, next) = now.opened.marks.at(now.at);
            let end = next.map_or(now.end, |next| next.min(now.end));
            let block = read_all(&mut now.bytes, (end - now.at).min(BLOCK_BYTES))?;
            now.at += block.len() as u64;
            if block.is_empty() || now.at >= now.end {
                self.now = None;
            }
            self.out.extend(self.joiner.take(second, &block));
        }
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = io::Result<Lines>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.fill() {
            Ok(()) => self.out.pop_front().map(Ok),
            Err(error) => {
                (self.now, self.todo) = (None, VecDeque::new());
                Some(Err(error))
            }
        }
    }
}

struct Metered {
    inner: File,
    read: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// What was added to a log behind a place, at most so many bytes, and where that ends.
///
/// # Errors
/// A file that cannot be read.
pub fn added(log: &Path, from: Place, bytes_max: u64) -> io::Result<(Vec<u8>, Place)> {
    for again in (0..LISTS_MAX).rev() {
        let mut reader = Reader::on(log);
        let before = list(log)?;
        let mut behind = Vec::new();
        for piece in before.iter().filter(|piece| piece.ended_ms.is_none_or(|ended| ended > from.after_ms)) {
            match reader.look(piece.clone()) {
                Ok(opened) => behind.push(opened),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // One that was removed before it was read is gone; what was packed is known by its place alone.
        let is_same = |first: &Opened| first.piece.is_packed || from.inode == 0 || first.inode == from.inode;
        let goes_on = behind.first().is_some_and(is_same);
        if list(log)? == before && (goes_on || behind.is_empty() || again == 0) {
            let from = if goes_on { from } else { Place { inode: 0, offset: 0, ..from } };
            return read_behind(&reader, behind, from, bytes_max);
        }
    }
    // Files are put aside faster than they can be looked at: the next look finds them all.
    Ok((Vec::new(), from))
}

fn read_behind(reader: &Reader, behind: Vec<Opened>, from: Place, bytes_max: u64) -> io::Result<(Vec<u8>, Place)> {
    let (mut bytes, mut place) = (Vec::new(), from);
    for opened in behind {
        let left = bytes_max - bytes.len() as u64;
        let offset = place.offset.min(opened.length);
        let end = opened.length.min(offset.saturating_add(left));
        bytes.extend(read_all(reader.bytes_of(&opened, offset..end)?, end - offset)?);
        place = match opened.piece.ended_ms {
            Some(ended) if end == opened.length => Place { after_ms: ended, inode: 0, offset: 0 },
            _ => return Ok((bytes, Place { inode: opened.inode, offset: end, ..place })),
        };
    }
    Ok((bytes, place))
}

fn list(log: &Path) -> io::Result<Vec<Piece>> {
    let base = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = match fs::read_dir(log.parent().unwrap_or(Path::new("/"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<_>>(),
    };
    Ok(pieces(&base, names.iter().map(String::as_str)))
}

/// The account of the run that prints into a log now.
pub fn last_account(log: &Path) -> Option<u32> {
    let base = log.file_name()?.to_str()?;
    let times = open(&log.with_file_name(names::times_of(base))).ok()?;
    let text = read_all(times, FILE_BYTES_MAX).ok()?;
    Marks::parse(&text, None).runs.last().map(|run| run.uid)
}

/// Packs whatever of a log was put aside and is not packed yet.
///
/// Whoever dies in between leaves a file that is not finished and not looked at; the next one begins anew.
///
/// # Errors
/// What cannot be read or written stays as it is.
pub fn pack_aside(log: &Path) -> io::Result<()> {
    let folder = log.parent().unwrap_or(Path::new("/"));
    for piece in list(log)?.into_iter().filter(|piece| piece.ended_ms.is_some() && !piece.is_packed) {
        let Err(error) = pack(folder, &piece) else { continue };
        let is_gone = !folder.join(&piece.name).exists();
        let made = [format!("{}{}", piece.name, names::PACKED), piece.times()];
        let left = made.iter().map(|name| format!("{name}{PART}"));
        // The oldest may be removed at any time: then nothing of it stays.
        for name in left.chain(made.iter().filter(|_| is_gone).cloned()) {
            let _ = fs::remove_file(folder.join(name));
        }
        if !is_gone {
            return Err(error);
        }
    }
    Ok(())
}

fn pack(folder: &Path, piece: &Piece) -> io::Result<()> {
    let plain = folder.join(&piece.name);
    let packed = folder.join(format!("{}{}", piece.name, names::PACKED));
    let part = folder.join(format!("{}{}{PART}", piece.name, names::PACKED));
    let mut from = open(&plain)?;
    let length = from.metadata()?.len();
    let to = create(&part)?;
    let parts = packing::pack(&mut from, &to)?;
    to.sync_all()?;
    let times = folder.join(piece.times());
    let text = open(&times).and_then(|times| read_all(times, FILE_BYTES_MAX)).unwrap_or_default();
    let inode = to.metadata()?.ino();
    let marks = Marks { parts, ..Marks::parse(&text, Some(length)) };
    let times_part = folder.join(format!("{}{PART}", piece.times()));
    io::Write::write_all(&mut create(&times_part)?, marks.text(inode).as_bytes())?;
    fs::rename(&times_part, &times)?;
    fs::rename(&part, &packed)?;
    fs::remove_file(&plain)
}

fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}

/// A plain file, and nothing that somebody has put in its place.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn read_all(from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
