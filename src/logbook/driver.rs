//! Reads logs: finds where they are, tells lines in the order of time, waits for more.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{Inotify, WatchMask};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::answer::Told;
use super::question::{Cursor, Question, Source, Stream};
use crate::container::spec::{ContainerName, Floor};
use crate::keeper::client::Keeper;
use crate::keeper::protocol::ContainerState;
use crate::keeper::refusal::KeeperRefusal;
use crate::logs::driver::{Reader, added, last_account};
use crate::logs::lines::{Lines, merged};

/// What one log may have added between two looks; the rest comes with the next.
const ADDED_BYTES_MAX: u64 = 256 * 1024;
/// Folders of logs that are looked at.
const FOLDERS_MAX: usize = 20_000;

/// Where the keeper writes.
///
/// # Errors
/// A keeper that does not answer.
pub async fn of_keeper(keeper: &Keeper) -> Result<Vec<Source>, KeeperRefusal> {
    let source = |state: &ContainerState| Source {
        name: state.name.as_str().to_owned(),
        output: state.logs.output(),
        errors: state.logs.errors(),
    };
    // The doors of what runs come with it, and are closed again.
    Ok(keeper.list().await?.iter().map(|(state, _)| source(state)).collect())
}

/// What folders below the folder of all logs hold, also of what is not there any more.
///
/// # Errors
/// A folder that cannot be read.
pub fn of_folders(logs: &Path) -> io::Result<Vec<Source>> {
    match fs::read_dir(logs) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io::Error::new(error.kind(), format!("{} cannot be read: {error}", logs.display())));
        }
        _ => {}
    }
    let folders = |path: &Path| -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
    };
    let mut sources = Vec::new();
    for (name, path) in folders(logs) {
        let floor = match name.as_str() {
            "container" => Some(Floor::Container),
            "process" => Some(Floor::Process),
            _ => None,
        };
        match floor {
            Some(floor) => {
                let named = |local: &str| ContainerName::on(floor, local).ok().map(|name| name.as_str().to_owned());
                sources.extend(folders(&path).iter().filter_map(|(local, path)| source(named(local)?, path)));
            }
            // `heartbeat.py_process_pulse` is the app pulse; a run on request is called as its folder.
            None => {
                let app = name.split_once("_process_").map(|(_, app)| app.to_owned());
                sources.extend(source(app.unwrap_or(name), &path));
            }
        }
        if sources.len() >= FOLDERS_MAX {
            break;
        }
    }
    Ok(sources)
}

fn source(name: String, folder: &Path) -> Option<Source> {
    let (output, errors) = (folder.join("stdout.log"), folder.join("stderr.log"));
    // Names stand in the paths of access rules.
    let is_plain = !name.contains(['\'', '"', '/']) && !name.contains(char::is_whitespace);
    (is_plain && (output.exists() || errors.exists())).then_some(Source { name, output, errors })
}

/// Those that the keeper knows, and those that it does not know any more; in the order of their names.
pub fn joined(of_keeper: Vec<Source>, of_folders: Vec<Source>) -> Vec<Source> {
    let known: BTreeSet<PathBuf> = of_keeper.iter().map(|source| source.errors.clone()).collect();
    let gone = of_folders.into_iter().filter(|source| !known.contains(&source.errors));
    let mut all: Vec<Source> = of_keeper.into_iter().chain(gone).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Tells what was asked for, and how far each log has been told then.
///
/// # Errors
/// A log that cannot be read, with its name; or what `each` says.
pub fn tell(
    sources: &[Source],
    question: &Question,
    mut each: impl FnMut(Told) -> io::Result<()>,
) -> io::Result<Cursor> {
    let mut cursor = Cursor::new();
    let mut readers = Vec::new();
    // A log that fails in the middle is told up to there, and that is said at the end.
    let failed = RefCell::new(None);
    for source in sources {
        for stream in question.streams() {
            let reader = Reader::open(source.file(stream), &question.wanted).map_err(|error| named(source, &error))?;
            cursor.insert((source.name.clone(), stream), reader.end());
            let whose = (source, stream);
            let failed = &failed;
            let told = move |lines: io::Result<Lines>| match lines {
                Ok(lines) => Some((whose, lines)),
                Err(error) => {
                    failed.replace(Some(named(source, &error)));
                    None
                }
            };
            readers.push(reader.map_while(told));
        }
    }
    for ((source, stream), lines) in merged(readers) {
        each(Told { name: source.name.clone(), stream, lines })?;
    }
    failed.take().map_or(Ok(cursor), Err)
}

fn named(source: &Source, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the log of {} cannot be read: {error}", source.name))
}

/// What has come since; the cursor moves on.
///
/// # Errors
/// A log that cannot be read any more.
pub fn since(sources: &[Source], question: &Question, cursor: &mut Cursor, now: u64) -> io::Result<Vec<Told>> {
    let mut told = Vec::new();
    for source in sources {
        for stream in question.streams() {
            let place = cursor.entry((source.name.clone(), stream)).or_default();
            let (bytes, end) =
                added(source.file(stream), *place, ADDED_BYTES_MAX).map_err(|error| named(source, &error))?;
            *place = end;
            let is_own = |uid| last_account(source.file(stream)) == Some(uid);
            if !bytes.is_empty() && question.wanted.uid.is_none_or(is_own) {
                let lines = Lines { second: Some(now), bytes };
                told.push(Told { name: source.name.clone(), stream, lines });
            }
        }
    }
    Ok(told)
}

/// Hears when something is added to logs.
pub struct Ear {
    inotify: Inotify,
}

impl Ear {
    /// # Errors
    /// The kernel has no more of them.
    pub fn of(sources: &[Source]) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let files = sources.iter().flat_map(|source| Stream::BOTH.map(|stream| source.file(stream)));
        let folders: BTreeSet<&Path> = files.filter_map(Path::parent).collect();
        for folder in folders {
            match inotify.watches().add(folder, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Self { inotify })
    }

    /// Until something was added, or the time is over.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn listen(&mut self, time_max: Option<Duration>) -> io::Result<()> {
        let timeout = match time_max {
            Some(time) => PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(()),
            done => drop(done?),
        }
        let mut events = [0; 4096];
        self.inotify.read_events(&mut events).map(drop)
    }
}
