//! Files of the disk: logs of apps, configuration to load, copies. Never outside of the disk, and only as NACM permits.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag};
use tokio::io::{AsyncRead, AsyncWrite};

use super::runs::LOOK_AGAIN;
use super::{Done, FILES, Need, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::load;
use crate::shell::pipe::Piped;
use crate::shell::show::apps;
use crate::shell::token::Fault;
use crate::sys::beneath::{self, Root};

/// A larger file is no configuration, and no log that is read on a terminal.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// What is shown at once of a file that grows.
const FOLLOWED_BYTES_MAX: usize = 1 << 20;
const NEW_FILE_MODE: Mode = Mode::from_bits_truncate(0o644);

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn show_logs(&mut self, matched: &Matched, piped: &Piped) -> Done {
        let app = matched.get("APP").unwrap_or("");
        let filter = crate::shell::show::filter(crate::shell::vocabulary::Verb::ShowAppLogs, matched);
        let items = self.get(&filter.unwrap_or_default()).await?;
        let location = apps::log_location(app, &self.setup.grammar, &items).map_err(said)?;
        let name = if matched.has("errors") { "stderr.log" } else { "stdout.log" };
        self.permitted(false).await?;
        let bytes = match self.read_file(&format!("{location}/{name}")) {
            Ok(bytes) => bytes,
            // It has never run.
            Err(nix::errno::Errno::ENOENT) => Vec::new(),
            Err(trouble) => return Err(said(format!("{location}/{name} cannot be read: {}", trouble.desc()))),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> = text.lines().collect();
        if let Some(count) = matched.number("COUNT") {
            lines.drain(..lines.len().saturating_sub(count as usize));
        }
        let text: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
        self.show(&text, piped).await?;
        if matched.has("follow") {
            self.follow(&format!("{location}/{name}"), bytes.len() as u64, piped).await
        } else {
            Ok(())
        }
    }

    /// What is added to a file, until the user has seen enough. A file that has become shorter begins anew.
    async fn follow(&mut self, name: &str, mut from: u64, piped: &Piped) -> Done {
        let mut begun = Vec::new();
        loop {
            match self.read_file_from(name, &mut from) {
                Ok(bytes) => begun.extend(bytes),
                Err(nix::errno::Errno::ENOENT) => from = 0,
                Err(trouble) => return Err(unreadable(name, trouble)),
            }
            // Filters know whole lines.
            if let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = begun.drain(..=end).collect();
                self.show(&String::from_utf8_lossy(&lines), piped).await?;
            }
            if self.out.rests(LOOK_AGAIN).await? {
                return Ok(());
            }
        }
    }

    /// `load FILE`, `load merge FILE`: every line as if it were typed at the top.
    pub(super) async fn load(&mut self, matched: &Matched) -> Done {
        let text = if let Some(name) = matched.get("DEVICE-PATH") {
            String::from_utf8_lossy(&self.read_permitted(name).await?).into_owned()
        } else if matched.has("terminal") {
            self.lines_to_the_end().await?
        } else {
            return Err(said("which file? type `load merge FILE`"));
        };
        let read = load::read(&self.setup.grammar, &text);
        let lines = read.lines.into_iter().map(|(line, edits)| (line.to_owned(), edits));
        self.with_config(|config| config.waiting.extend(lines));
        let wrong: Vec<String> = read.faults.iter().map(|(number, line, fault)| marked(*number, line, fault)).collect();
        self.out.print(&format!("Loading.\n{} bytes parsed\n", text.len())).await?;
        self.flush().await?;
        if wrong.is_empty() { Ok(()) } else { Err(Trouble::Said(wrong.join("\n"))) }
    }

    async fn lines_to_the_end(&mut self) -> Result<String, Trouble> {
        let mut text = String::new();
        if let Some(terminal) = self.out.terminal() {
            while let Some(line) = terminal.answer("").await? {
                text.push_str(&line);
                text.push('\n');
            }
        } else if let Some(lines) = &mut self.lines {
            // The stream ends, or says so by the sign that a terminal would turn into its end.
            while let Some(line) = lines.next().await.map_err(said)?.filter(|line| line != "\u{4}") {
                text.push_str(&line);
                text.push('\n');
            }
        }
        Ok(text)
    }

    /// A file of the disk, if its user may read those.
    pub(super) async fn read_permitted(&mut self, name: &str) -> Result<Vec<u8>, Trouble> {
        self.permitted(false).await?;
        self.read_file(name).map_err(|trouble| unreadable(name, trouble))
    }

    /// The place of a file that is put into a folder, if the name is that of one.
    pub(super) fn in_folder(&self, name: &str, file: &str) -> String {
        let path = below(name);
        let is_folder = name.ends_with(['/', ':'])
            || path.as_ref().is_ok_and(|path| self.root().and_then(|root| root.list(path)).is_ok());
        if is_folder { format!("{}/{file}", name.trim_end_matches('/')) } else { name.to_owned() }
    }

    pub(super) async fn dir(&mut self, matched: &Matched, piped: &Piped) -> Done {
        let name = matched.get("DEVICE-PATH").unwrap_or("harddisk:");
        self.permitted(false).await?;
        let list = || -> nix::Result<Vec<String>> {
            let mut listing = self.root()?.list(&below(name)?)?;
            let mut lines = Vec::new();
            while let Some((name, stat)) = listing.next_entry()? {
                let name = name.to_string_lossy().into_owned();
                let changed = jiff::Timestamp::from_second(stat.st_mtime).unwrap_or_default();
                let changed = changed.to_zoned(self.setup.zone.clone()).strftime("%b %e %H:%M");
                let (inode, mode, links, size) = (stat.st_ino, permissions(&stat), stat.st_nlink, stat.st_size);
                let line = format!("{inode:>8} {mode}. {links:>2} {size:>12} {changed} {name}\n");
                lines.push((name, line));
            }
            lines.sort();
            let space = self.root()?.space(Path::new(""))?;
            let kilobytes = |blocks: u64| blocks.saturating_mul(space.fragment_size()) / 1024;
            let (total, free) = (kilobytes(space.blocks()), kilobytes(space.blocks_available()));
            let mut lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
            lines.push(format!("\n{total} kbytes total ({free} kbytes free)"));
            Ok(lines)
        };
        let lines = list().map_err(|trouble| unreadable(name, trouble))?;
        let text = format!("Directory of {name}\n{}\n", lines.concat());
        self.show(&text, piped).await
    }

    pub(super) async fn write_file(&mut self, name: &str, bytes: &[u8]) -> Done {
        self.permitted(true).await?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let write = || -> std::io::Result<()> {
            let path = below(name)?;
            let mut file = self.root()?.open_file(&path, flags, NEW_FILE_MODE)?;
            file.write_all(bytes)
        };
        write().map_err(|trouble| said(format!("{name} cannot be written: {trouble}")))
    }

    fn read_file(&self, name: &str) -> nix::Result<Vec<u8>> {
        let file = self.root()?.open_file(&below(name)?, OFlag::O_RDONLY, Mode::empty())?;
        let mut bytes = Vec::new();
        let broken =
            |error: std::io::Error| nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO));
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(broken)?;
        Ok(bytes)
    }

    /// What a file holds behind a place, which moves on.
    fn read_file_from(&self, name: &str, from: &mut u64) -> nix::Result<Vec<u8>> {
        let file = self.root()?.open_file(&below(name)?, OFlag::O_RDONLY, Mode::empty())?;
        let broken =
            |error: std::io::Error| nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO));
        let length = file.metadata().map_err(broken)?.len();
        if length < *from {
            *from = 0;
        }
        let mut bytes = vec![0; usize::try_from(length - *from).unwrap_or(usize::MAX).min(FOLLOWED_BYTES_MAX)];
        let read = file.read_at(&mut bytes, *from).map_err(broken)?;
        bytes.truncate(read);
        *from += read as u64;
        Ok(bytes)
    }

    fn root(&self) -> nix::Result<Root> {
        Root::open(&self.setup.harddisk)
    }

    pub(super) async fn permitted(&mut self, writes: bool) -> Done {
        let permit = (self.setup.permit)(if writes { Need::Update(FILES) } else { Need::Read(FILES) });
        permit.await.map_err(said)
    }
}

/// The path below the disk that a device path names.
fn below(name: &str) -> nix::Result<PathBuf> {
    let rest = name.strip_prefix('/').unwrap_or(name).strip_prefix("harddisk:").ok_or(nix::errno::Errno::ENOENT)?;
    let path = Path::new(rest.trim_start_matches('/'));
    let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_plain { Ok(path.to_owned()) } else { Err(nix::errno::Errno::EACCES) }
}

/// `drwxr-xr-x`
fn permissions(stat: &nix::sys::stat::FileStat) -> String {
    let kind = match beneath::kind(stat) {
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        _ => '-',
    };
    let bit = |at: u32, letter: char| if stat.st_mode >> at & 1 == 1 { letter } else { '-' };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars()).map(|(at, letter)| bit(at, letter));
    std::iter::once(kind).chain(bits).collect()
}

fn unreadable(name: &str, trouble: nix::errno::Errno) -> Trouble {
    let hint = if below(name).is_err() { "; paths look like /harddisk:/DIR/FILE" } else { "" };
    said(format!("{name} cannot be read: {}{hint}", trouble.desc()))
}

fn marked(number: usize, line: &str, fault: &Fault) -> String {
    let column = line.get(..fault.at).map_or(0, |before| before.chars().count());
    format!("line {number}:\n{line}\n{}^\n{fault}", " ".repeat(column))
}

fn said(text: impl std::fmt::Display) -> Trouble {
    Trouble::Said(format!("% {text}"))
}
