//! The log files of a container: appended in big writes, put aside when they are full or old, never waited for.
//!
//! A disk that refuses costs the bytes it refused and nothing else: they are counted, and the next bytes are tried
//! again. Every step on the disk may be the last one of this keeper: what is put aside is only removed or packed when it
//! is known elsewhere ([`super::tape`]) that all of it had been written.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::tape::{Position, Unlogged, Written};
use crate::console::stamps::Stamper;
use crate::container::machine::RunId;
use crate::container::spec::LogSpec;
use crate::logs::driver::{Reader, Wanted};
use crate::logs::lines::last_lines;
use crate::logs::marks::{COARSE_MAX, EXACT_MAX, FILE_BYTES_MAX, Mark, Marks, RunMark, first_line};
use crate::logs::names::{self, PACKED, PART};
use crate::sys::low::high;

/// How the line begins that stands before a run in the log of errors.
pub const RUN_LINE: &[u8] = b"-----Run ID:";

/// When a log is put aside, what becomes of it, and what stands before each of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limits {
    bytes_max: u64,
    age_max: Option<Duration>,
    kept_max: usize,
    is_packed: bool,
    stamp: Option<String>,
    /// As procServ has it: one file, whatever it is, that grows.
    is_plain: bool,
}

#[derive(Debug)]
pub struct LogFile<F = Host> {
    path: PathBuf,
    limits: Limits,
    open: Option<Open>,
    /// Files that were put aside, the oldest first; `None` before the first look at the folder.
    aside: Option<VecDeque<String>>,
    /// Which run prints, and its account.
    run: Option<(RunId, u32)>,
    has_news: bool,
    dropped: u64,
    files: F,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    bytes: u64,
    at_line_start: bool,
    marking: Option<Marking>,
}

/// Where the marks of the open file stand.
#[derive(Debug, Clone, Copy, Default)]
struct Marking {
    exact: u32,
    began: Option<u64>,
    last: Option<Mark>,
    knows_run: bool,
}

impl LogFile {
    pub fn new(path: PathBuf, spec: &LogSpec) -> Self {
        Self::on(Host, path, spec)
    }

    /// One that grows without bound, as people who rotate it by other means expect.
    pub fn plain(path: PathBuf) -> Self {
        let limits =
            Limits { bytes_max: u64::MAX, age_max: None, kept_max: 0, is_packed: false, stamp: None, is_plain: true };
        Self::with(Host, path, limits)
    }
}

impl<F: Files> LogFile<F> {
    pub(super) fn on(files: F, path: PathBuf, spec: &LogSpec) -> Self {
        Self::with(files, path, limits(spec))
    }

    fn with(files: F, path: PathBuf, limits: Limits) -> Self {
        Self { path, limits, open: None, aside: None, run: None, has_news: false, dropped: 0, files }
    }

    /// From the next byte on.
    pub fn set_limits(&mut self, spec: &LogSpec) {
        self.limits = limits(spec);
    }

    /// The next bytes go there.
    pub fn move_to(&mut self, path: PathBuf) {
        if self.path != path {
            (self.path, self.open, self.aside) = (path, None, None);
        }
    }

    /// From here on that run prints.
    pub fn begin_run(&mut self, run: RunId, uid: u32) {
        self.run = Some((run, uid));
        if let Some(marking) = self.open.as_mut().and_then(|open| open.marking.as_mut()) {
            marking.knows_run = false;
        }
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

    /// As [`Self::position`], but looks at the file first: who has emptied it under us must not mislead a successor, and what is
    /// printed must not go on into one that somebody has removed.
    pub fn position_now(&mut self) -> Position {
        let facts = self.open.as_ref().and_then(|open| open.file.metadata().ok());
        match (facts, &mut self.open) {
            (Some(facts), _) if facts.nlink() == 0 => self.open = None,
            (Some(facts), Some(open)) if facts.len() < open.bytes => {
                (open.bytes, open.marking) = (facts.len(), None);
                open.at_line_start |= open.bytes == 0;
            }
            _ => {}
        }
        self.position()
    }

    /// What the next write needs to be known of, so that a successor can tell how far it came. `None` where the bytes of
    /// the log are those that were printed.
    pub fn about_to_write(&mut self, now_ms: u64) -> Option<Written> {
        self.limits.stamp.as_ref()?;
        let inside_line = self.ready().is_ok_and(|open| !open.at_line_start);
        Some(Written { at_ms: now_ms, inside_line })
    }

    /// Takes the first of the bytes, and tells how many: as much as goes into one file.
    pub fn append_some(&mut self, bytes: &[u8], now_ms: u64) -> usize {
        loop {
            match self.try_to_append(bytes, now_ms) {
                Ok(count) => return count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.dropped = self.dropped.saturating_add(bytes.len() as u64);
                    self.open = None;
                    return bytes.len();
                }
            }
        }
    }

    pub fn append(&mut self, bytes: &[u8], now_ms: u64) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.append_some(rest, now_ms)..];
        }
    }

    /// After what was appended is known to be: removes what is too old. True if something waits to be packed.
    pub fn settle(&mut self) -> bool {
        if !self.has_news {
            return false;
        }
        self.has_news = false;
        let aside = self.aside.get_or_insert_with(VecDeque::new);
        while aside.len() > self.limits.kept_max {
            let Some(name) = aside.pop_front() else { break };
            for name in [format!("{name}{PACKED}"), format!("{name}{PACKED}{PART}"), names::times_of(&name), name] {
                // Either the plain one is there or the packed one.
                let _ = self.files.remove(&self.path.with_file_name(name));
            }
        }
        self.limits.is_packed && !aside.is_empty()
    }

    /// Writes what a predecessor had read and did not live to write.
    pub fn complete(&mut self, unlogged: &Unlogged, now_ms: u64) {
        if unlogged.bytes.is_empty() {
            return;
        }
        let already = usize::try_from(self.written_since(unlogged.log)).unwrap_or(usize::MAX);
        match (&self.limits.stamp, already) {
            (Some(stamp), 1..) => {
                let mut stamper = Stamper::inside(unlogged.written.inside_line);
                let stamped = stamper.stamp(&stamp_text(stamp, unlogged.written.at_ms), &unlogged.bytes);
                let rest = stamped.get(already..).unwrap_or_default();
                let limits = self.limits.clone();
                self.limits.stamp = None;
                self.append(rest, now_ms);
                self.limits = limits;
            }
            _ => self.append(unlogged.bytes.get(already..).unwrap_or_default(), now_ms),
        }
    }

    /// How many bytes have been written since the log was there; also by somebody who did not live to tell.
    fn written_since(&mut self, then: Position) -> u64 {
        let mut chain: Vec<String> = self.look_aside().into();
        let facts = |name: &str| fs::metadata(self.path.with_file_name(name)).ok();
        chain.extend(base_of(&self.path).map(str::to_owned));
        let chain: Vec<_> = chain.iter().filter_map(|name| facts(name)).collect();
        if let Some(at) = chain.iter().position(|facts| facts.ino() == then.inode) {
            let bytes: u64 = chain[at..].iter().map(MetadataExt::size).sum();
            return bytes.saturating_sub(then.bytes);
        }
        // Somebody has renamed it: the predecessor went on writing to that.
        let renamed = folder(&self.path).into_iter().filter_map(|name| facts(&name));
        renamed.filter(|facts| facts.ino() == then.inode).map(|facts| facts.len().saturating_sub(then.bytes)).sum()
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
        let stamp = self.limits.stamp.take();
        let now_ms = u64::try_from(at.timestamp().as_millisecond()).unwrap_or(0);
        self.append(&if begins_line { line.into_bytes() } else { format!("\n{line}").into_bytes() }, now_ms);
        self.limits.stamp = stamp;
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
            self.aside = None;
        }
    }

    /// Whoever has moved the file finds a new one of the old name at once.
    pub fn reopen(&mut self) {
        if self.open.is_some() {
            self.follow_the_path();
            // What cannot be opened now is tried again with the next byte.
            let _ = self.open_now();
        }
    }

    fn try_to_append(&mut self, bytes: &[u8], now_ms: u64) -> io::Result<usize> {
        self.ready()?;
        if !self.limits.is_plain {
            self.prepare_marks();
            if self.is_over(bytes, now_ms / 1000) {
                self.put_aside(now_ms);
                self.ready()?;
                self.prepare_marks();
            }
            self.mark(now_ms / 1000);
        }
        let (limits, files) = (&self.limits, &mut self.files);
        let Some(open) = self.open.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let room = usize::try_from(limits.bytes_max.saturating_sub(open.bytes)).unwrap_or(usize::MAX).max(1);
        let taken = &bytes[..fitting(bytes, room)];
        let count = match &limits.stamp {
            None => {
                let count = files.write(&mut open.file, taken)?;
                open.bytes += count as u64;
                count
            }
            Some(stamp) => {
                let stamped = Stamper::inside(!open.at_line_start).stamp(&stamp_text(stamp, now_ms), taken);
                let mut rest = stamped.as_slice();
                while !rest.is_empty() {
                    let count = files.write(&mut open.file, rest)?;
                    open.bytes += count as u64;
                    rest = &rest[count..];
                }
                taken.len()
            }
        };
        open.at_line_start = taken[count - 1] == b'\n';
        Ok(count)
    }

    /// Whether the file is full or old, or a line begins that would not end in it.
    fn is_over(&self, next: &[u8], now: u64) -> bool {
        let Some(open) = &self.open else { return false };
        if open.bytes == 0 {
            return false;
        }
        let room = self.limits.bytes_max.saturating_sub(open.bytes);
        let is_cut = open.at_line_start && {
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            next.len() > room && !next[..room].contains(&b'\n')
        };
        let began = open.marking.and_then(|marking| marking.began).unwrap_or(now);
        let is_old = self.limits.age_max.is_some_and(|age| now.saturating_sub(began) >= age.as_secs());
        room == 0 || is_cut || is_old
    }

    fn ready(&mut self) -> io::Result<&mut Open> {
        if self.open.is_none() {
            let mut opened = open(&mut self.files, &self.path, self.limits.is_plain)?;
            if opened.bytes == 0 && self.limits.stamp.is_some() {
                opened.at_line_start = ends_at_line_end(&self.path);
            }
            self.open = Some(opened);
        }
        Ok(self.open.as_mut().expect("opened above"))
    }

    fn look_aside(&mut self) -> VecDeque<String> {
        let path = &self.path;
        let look = || {
            let names = folder(path);
            let pieces = names::pieces(base_of(path).unwrap_or_default(), names.iter().map(String::as_str));
            pieces.into_iter().filter(|piece| piece.ended_ms.is_some()).map(|piece| piece.name).collect()
        };
        self.aside.get_or_insert_with(look).clone()
    }

    fn put_aside(&mut self, now_ms: u64) {
        let Some(base) = base_of(&self.path).map(str::to_owned) else { return };
        let latest = self.look_aside().back().and_then(|name| names::ended_ms(&base, name));
        let name = names::aside(&base, now_ms.max(latest.map_or(0, |latest| latest + 1)));
        let place = |name: &str| self.path.with_file_name(name);
        if self.files.rename(&self.path, &place(&name)).is_ok() {
            // A successor that finds these marks beside a new log knows by the inode whose they are.
            let _ = self.files.rename(&place(&names::times_of(&base)), &place(&names::times_of(&name)));
            self.open = None;
            self.has_news = true;
            self.aside.get_or_insert_with(VecDeque::new).push_back(name);
        } else if let Some(open) = &mut self.open {
            // It cannot be moved: start over in place rather than grow without bound.
            if open.file.set_len(0).is_ok() {
                (open.bytes, open.marking) = (0, None);
            }
        }
    }

    /// Finds out where the marks of the open file stand, and mends them.
    fn prepare_marks(&mut self) {
        let Some(open) = self.open.as_ref().filter(|open| open.marking.is_none()) else { return };
        let (inode, bytes) = (open.inode, open.bytes);
        let Some(base) = base_of(&self.path).map(str::to_owned) else { return };
        let times = self.path.with_file_name(names::times_of(&base));
        let found = Marks::parse(&read_marks(&times), Some(bytes));
        let is_own = found.inode == Some(inode);
        let aside = self.look_aside();
        self.has_news |= !aside.is_empty();
        if let (Some(other), Some(latest)) = (found.inode.filter(|_| !is_own), aside.back()) {
            // A predecessor had put the log aside, and not its marks.
            let place = self.path.with_file_name(latest);
            if fs::metadata(&place).is_ok_and(|facts| facts.ino() == other) {
                let _ = self.files.rename(&times, &self.path.with_file_name(names::times_of(latest)));
            }
        }
        let believed = match is_own {
            true => found.clone(),
            // Nobody knows when these were written: since there is such a file.
            false if bytes > 0 => {
                let born = open_since(&self.path);
                Marks { marks: vec![Mark { second: born, offset: 0, is_exact: false }], ..Marks::default() }
            }
            false => Marks::default(),
        };
        if !is_own || found.is_damaged {
            // Without marks a reader looks at the whole file.
            let text = believed.text(inode);
            let _ = self.files.put(&times, if text.is_empty() { first_line(inode) } else { text }.as_bytes());
        }
        let exact = u32::try_from(believed.marks.iter().filter(|mark| mark.is_exact).count()).unwrap_or(u32::MAX);
        let began = believed.marks.first().map(|mark| mark.second);
        let marking = Marking { exact, began, last: believed.marks.last().copied(), knows_run: false };
        if let Some(open) = &mut self.open {
            open.marking = Some(marking);
        }
    }

    /// Says from where on the bytes of this second stand, before they do.
    fn mark(&mut self, now: u64) {
        let coarse_bytes = self.limits.bytes_max / COARSE_MAX;
        let Some(open) = &mut self.open else { return };
        let (offset, Some(marking)) = (open.bytes, &mut open.marking) else { return };
        // A clock that is put back does not put back the log.
        let second = now.max(marking.last.map_or(0, |last| last.second));
        let exact = Mark { second, offset, is_exact: true };
        let coarse = Mark { is_exact: false, ..exact };
        let next = match marking.last {
            None => Some(exact),
            Some(last) if last.second == second && last.is_exact => None,
            Some(_) if marking.exact < EXACT_MAX => Some(exact),
            Some(last) if last.is_exact || offset - last.offset >= coarse_bytes => Some(coarse),
            Some(_) => None,
        };
        let run = self.run.filter(|_| !marking.knows_run);
        let run = run.map(|(run, uid)| RunMark { second, offset, run: run.0, uid }.line());
        if let Some(next) = next {
            marking.exact += u32::from(next.is_exact);
            marking.began.get_or_insert(second);
            marking.last = Some(next);
        }
        marking.knows_run = true;
        let lines = next.map(Mark::line).into_iter().chain(run).collect::<String>();
        if !lines.is_empty()
            && let Some(base) = base_of(&self.path)
        {
            let _ = self.files.add(&self.path.with_file_name(names::times_of(base)), lines.as_bytes());
        }
    }
}

fn limits(spec: &LogSpec) -> Limits {
    Limits {
        bytes_max: spec.bytes_max.max(1),
        age_max: spec.age_max,
        kept_max: usize::from(spec.files_max),
        is_packed: spec.compress,
        stamp: spec.stamp.clone(),
        is_plain: false,
    }
}

/// As many as fit, whole lines if there are any.
fn fitting(bytes: &[u8], room: usize) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    bytes[..room].iter().rposition(|byte| *byte == b'\n').map_or(room, |at| at + 1)
}

fn stamp_text(format: &str, at_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX))
        .unwrap_or(jiff::Timestamp::MAX)
        .to_zoned(TimeZone::system());
    // A format that means nothing was refused when it was configured.
    jiff::fmt::strtime::format(format, &at).unwrap_or_default()
}

fn base_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn folder(path: &Path) -> Vec<String> {
    let Some(Ok(entries)) = path.parent().map(fs::read_dir) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn read_marks(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What could be read is judged line by line.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

fn open_since(path: &Path) -> u64 {
    let born = fs::metadata(path).and_then(|facts| facts.created()).ok();
    born.and_then(|born| born.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

/// What is done to the disk, one step each.
pub trait Files: Debug {
    fn open(&mut self, path: &Path, follow_links: bool) -> io::Result<File>;
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// At the end of a file.
    fn add(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// In place of a file.
    fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// The disk of this host.
#[derive(Debug, Clone, Copy)]
pub struct Host;

impl Files for Host {
    fn open(&mut self, path: &Path, follow_links: bool) -> io::Result<File> {
        if follow_links {
            return OpenOptions::new().create(true).append(true).read(true).mode(0o644).open(path);
        }
        let file = options().append(true).read(true).open(path)?;
        // The folder may be the program's own: what it puts in the place of its log is not taken for it.
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        match file.write(bytes)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => Ok(count),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn add(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        options().append(true).open(path)?.write_all(bytes)
    }

    fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut part = path.as_os_str().to_owned();
        part.push(PART);
        options().write(true).truncate(true).open(&part)?.write_all(bytes)?;
        fs::rename(&part, path)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn open(files: &mut impl Files, path: &Path, follow_links: bool) -> io::Result<Open> {
    let mut file = File::from(high(files.open(path, follow_links)?.into()));
    let metadata = file.metadata()?;
    let (inode, bytes) = (metadata.ino(), metadata.len());
    let mut last = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(Open { file, inode, bytes, at_line_start: last == [b'\n'], marking: None })
}

/// Whether what was put aside last ends with a line: one that was cut is gone on with, and has its stamp.
fn ends_at_line_end(path: &Path) -> bool {
    let wanted = Wanted { last: Some(1), ..Wanted::default() };
    let last = Reader::open(path, &wanted).ok().and_then(|lines| lines.map_while(Result::ok).last());
    last.is_none_or(|last| last.bytes.ends_with(b"\n"))
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

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
