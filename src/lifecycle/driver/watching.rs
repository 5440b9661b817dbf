//! Paths, watched: whether each is there, and when what it names was written or replaced.
//!
//! Each path has an anchor, the nearest folder above it that exists; inotify tells what happens in it. What appears
//! between a look and its watch is found by looking once more. A file counts when it is closed or moved in, not when it
//! begins to be. On a network file system others write unseen: there, what is awaited is looked at every 5 s.
//!
//! Runs on threads of its own, one for each mount of the network and one for all else: a look at a file system that hangs
//! keeps nobody waiting but those who wait for what is on it. When something is mounted or unmounted all is looked at anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, Inotify, WatchDescriptor, WatchMask, Watches};
use nix::sys::statfs::{FsType, statfs};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::RECHECK;
use crate::lifecycle::mounts::Mounts;
use crate::lifecycle::resource::Watch;
use crate::sys::mounts::MountTable;

/// Signs that the lifecycle has not looked at; beyond, the watcher waits.
const SIGNS_WAITING_MAX: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// Mounts of the network that have a thread each.
const NETWORK_EYES_MAX: usize = 32;

#[derive(Debug)]
pub(super) enum Sign {
    Presence {
        watch: Watch,
        is_there: bool,
    },
    /// It was written, replaced or removed.
    Touched {
        path: PathBuf,
    },
    /// The kernel's queue was full: anything may have happened.
    Overflow,
}

/// What to watch, and whether somebody waits for it.
type Wishes = BTreeMap<Watch, bool>;

/// What one thread is asked to watch.
#[derive(Debug, Clone, Default)]
struct Task {
    wishes: Wishes,
    /// One more when something was mounted or unmounted.
    mounts: u64,
}

pub(super) struct Watcher {
    wishes: Wishes,
    mounts: Mounts,
    mounts_read: u64,
    /// By the mount of the network that they look at, and `None` for all else.
    eyes: BTreeMap<Option<PathBuf>, watch::Sender<Task>>,
    signs: mpsc::Sender<Sign>,
}

impl Watcher {
    pub(super) fn start() -> io::Result<(Self, mpsc::Receiver<Sign>)> {
        let (signs, told) = mpsc::channel(SIGNS_WAITING_MAX);
        let eyes = BTreeMap::from([(None, open_eye(signs.clone())?)]);
        let mut watcher = Self { wishes: Wishes::new(), mounts: Mounts::default(), mounts_read: 0, eyes, signs };
        watcher.mounts = read_mounts();
        Ok((watcher, told))
    }

    /// From now on these and no others.
    pub(super) fn watch(&mut self, wishes: Wishes) {
        self.wishes = wishes;
        self.hand_out();
    }

    /// Something was mounted or unmounted.
    pub(super) fn mounts_changed(&mut self) {
        self.mounts = read_mounts();
        self.mounts_read += 1;
        self.hand_out();
    }

    fn hand_out(&mut self) {
        let mut tasks: BTreeMap<Option<PathBuf>, Wishes> = BTreeMap::from([(None, Wishes::new())]);
        for (watch, is_awaited) in &self.wishes {
            let place = place_of(watch, &self.mounts);
            let is_room = tasks.len() <= NETWORK_EYES_MAX || tasks.contains_key(&place);
            // Beyond, mounts share a thread, but not with what is local.
            let place = if is_room { place } else { tasks.keys().next_back().cloned().flatten() };
            tasks.entry(place).or_default().insert(watch.clone(), *is_awaited);
        }
        // Whoever has nothing to do any more ends, if its file system lets it.
        self.eyes.retain(|place, _| tasks.contains_key(place));
        for (place, wishes) in tasks {
            let task = Task { wishes, mounts: self.mounts_read };
            match self.eyes.get(&place) {
                Some(eye) => drop(eye.send_replace(task)),
                None => match open_eye(self.signs.clone()) {
                    Ok(eye) => {
                        eye.send_replace(task);
                        self.eyes.insert(place, eye);
                    }
                    Err(error) => warn!(?place, %error, "what is on this mount is not watched"),
                },
            }
        }
    }
}

fn place_of(watch: &Watch, mounts: &Mounts) -> Option<PathBuf> {
    match watch {
        Watch::File(path) | Watch::Directory(path) => mounts.network_mount_of(path).map(Path::to_owned),
        Watch::Sqldb(_) => None,
    }
}

fn read_mounts() -> Mounts {
    match MountTable::read() {
        Ok(bytes) => Mounts::parse(&bytes),
        Err(error) => {
            warn!(%error, "mounts cannot be listed: those of the network are watched like all else");
            Mounts::default()
        }
    }
}

/// Tells when something was mounted or unmounted.
pub(super) struct MountChanges(Option<MountTable>);

impl MountChanges {
    pub(super) fn open() -> Self {
        let opened = MountTable::open();
        if let Err(error) = &opened {
            warn!(%error, "nobody tells what is mounted: what comes with a mount is found when something else changes");
        }
        Self(opened.ok())
    }

    pub(super) async fn next(&self) {
        let Some(table) = &self.0 else { return std::future::pending().await };
        if table.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

fn open_eye(signs: mpsc::Sender<Sign>) -> io::Result<watch::Sender<Task>> {
    let inotify = Inotify::init()?;
    let (tasks, given) = watch::channel(Task::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("watcher".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(inotify, given, signs)) {
            warn!(%error, "files are not watched any more");
        }
    })?;
    Ok(tasks)
}

async fn serve(inotify: Inotify, mut given: watch::Receiver<Task>, signs: mpsc::Sender<Sign>) -> io::Result<()> {
    let watches = inotify.watches();
    let mut events = inotify.into_event_stream(vec![0; BUFFER_BYTES])?;
    let mut eye =
        Eye { watches, folders: BTreeMap::new(), descriptors: HashMap::new(), paths: BTreeMap::new(), mounts: 0 };
    let mut recheck = tokio::time::interval(RECHECK);
    recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut found = Vec::new();
        let is_awaiting = eye.awaits_unwatched();
        tokio::select! {
            changed = given.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let Task { wishes, mounts } = given.borrow_and_update().clone();
                eye.set(wishes, &mut found);
                eye.see_mounts(mounts, &mut found);
            }
            event = events.next() => match event {
                Some(event) => eye.happened(&event?, &mut found),
                None => return Ok(()),
            },
            _ = recheck.tick(), if is_awaiting => eye.look_at_unwatched(&mut found),
        }
        for sign in found {
            if signs.send(sign).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Of a path that is watched as a file, as a directory, or both.
    as_file: Option<bool>,
    as_directory: Option<bool>,
    is_awaited: bool,
    /// The folders whose events tell of it.
    anchors: Vec<PathBuf>,
    /// Others can change it without a sign.
    is_unwatched: bool,
}

struct Eye {
    watches: Watches,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    descriptors: HashMap<WatchDescriptor, PathBuf>,
    paths: BTreeMap<PathBuf, Seen>,
    /// How often something was mounted or unmounted before it looked last.
    mounts: u64,
}

impl Eye {
    /// What is mounted over a folder changes what its path names, and the kernel says nothing of it there.
    fn see_mounts(&mut self, mounts: u64, found: &mut Vec<Sign>) {
        if std::mem::replace(&mut self.mounts, mounts) == mounts {
            return;
        }
        self.descriptors.clear();
        for descriptor in std::mem::take(&mut self.folders).into_values() {
            // Gone with its folder, maybe.
            let _ = self.watches.remove(descriptor);
        }
        for path in self.paths.keys().cloned().collect::<Vec<_>>() {
            self.look(&path, found);
        }
    }

    fn set(&mut self, wishes: Wishes, found: &mut Vec<Sign>) {
        let mut wanted: BTreeMap<PathBuf, (bool, bool, bool)> = BTreeMap::new();
        for (watch, is_awaited) in wishes {
            match watch {
                Watch::File(path) => {
                    let entry = wanted.entry(path).or_default();
                    (entry.0, entry.2) = (true, entry.2 || is_awaited);
                }
                Watch::Directory(path) => {
                    let entry = wanted.entry(path).or_default();
                    (entry.1, entry.2) = (true, entry.2 || is_awaited);
                }
                Watch::Sqldb(_) => {}
            }
        }
        self.paths.retain(|path, _| wanted.contains_key(path));
        let mut fresh = Vec::new();
        for (path, (file, directory, is_awaited)) in wanted {
            let seen = self.paths.entry(path.clone()).or_default();
            seen.is_awaited = is_awaited;
            if seen.as_file.is_some() != file || seen.as_directory.is_some() != directory {
                seen.as_file = file.then_some(false);
                seen.as_directory = directory.then_some(false);
                fresh.push(path);
            }
        }
        for path in fresh {
            self.look(&path, found);
            // It may have been there when it was watched before.
            found.extend(self.absence_of(&path));
        }
        // Nothing has happened to what is only being looked at for the first time.
        found.retain(|sign| matches!(sign, Sign::Presence { .. }));
        self.let_go();
    }

    fn absence_of(&self, path: &Path) -> Vec<Sign> {
        let Some(seen) = self.paths.get(path) else { return Vec::new() };
        let file = (seen.as_file == Some(false)).then(|| Watch::File(path.to_owned()));
        let directory = (seen.as_directory == Some(false)).then(|| Watch::Directory(path.to_owned()));
        file.into_iter().chain(directory).map(|watch| Sign::Presence { watch, is_there: false }).collect()
    }

    /// Looks at the path anew and tells what is different.
    fn look(&mut self, path: &Path, found: &mut Vec<Sign>) {
        let anchors = self.anchor(path);
        let kind = fs::metadata(path).ok();
        let Some(seen) = self.paths.get_mut(path) else { return };
        seen.is_unwatched = anchors.is_empty() || anchors.iter().any(|folder| is_of_network(folder));
        seen.anchors = anchors;
        // Anything that is no directory will do as a file: sockets and devices are resources too.
        let is_file = kind.as_ref().is_some_and(|it| !it.is_dir());
        let is_directory = kind.as_ref().is_some_and(fs::Metadata::is_dir);
        if seen.as_file.is_some_and(|before| before != is_file) {
            seen.as_file = Some(is_file);
            found.push(Sign::Presence { watch: Watch::File(path.to_owned()), is_there: is_file });
            // What came or went with its folder was written or removed as well.
            found.push(Sign::Touched { path: path.to_owned() });
        }
        if seen.as_directory.is_some_and(|before| before != is_directory) {
            seen.as_directory = Some(is_directory);
            found.push(Sign::Presence { watch: Watch::Directory(path.to_owned()), is_there: is_directory });
            found.push(Sign::Touched { path: path.to_owned() });
        }
    }

    /// Watches the nearest folder above the path that exists, and the path itself where it is a watched directory.
    fn anchor(&mut self, path: &Path) -> Vec<PathBuf> {
        let itself = self.paths.get(path).is_some_and(|seen| seen.as_directory.is_some());
        loop {
            let mut anchors: Vec<PathBuf> = Vec::new();
            if itself && path.is_dir() {
                anchors.push(path.to_owned());
            }
            anchors.extend(path.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned));
            let all = anchors.iter().all(|folder| self.watch(folder));
            // A folder that came to be before its parent was watched would be missed: once more from below.
            let nearest = path.ancestors().skip(1).find(|folder| folder.is_dir());
            let is_steady = nearest == anchors.last().map(PathBuf::as_path)
                && (!itself || path.is_dir() == (anchors.first().map(PathBuf::as_path) == Some(path)));
            if is_steady {
                return if all { anchors } else { Vec::new() };
            }
        }
    }

    fn watch(&mut self, folder: &Path) -> bool {
        if self.folders.contains_key(folder) {
            return true;
        }
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        match self.watches.add(folder, mask) {
            Ok(descriptor) => {
                self.descriptors.insert(descriptor.clone(), folder.to_owned());
                self.folders.insert(folder.to_owned(), descriptor);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                warn!(folder = %folder.display(), %error, "a folder cannot be watched: it is looked at every 5 s");
                false
            }
        }
    }

    /// Watches that nobody needs any more.
    fn let_go(&mut self) {
        let needed: BTreeSet<&PathBuf> = self.paths.values().flat_map(|seen| &seen.anchors).collect();
        let idle: Vec<PathBuf> = self.folders.keys().filter(|folder| !needed.contains(folder)).cloned().collect();
        for folder in idle {
            if let Some(descriptor) = self.folders.remove(&folder) {
                self.descriptors.remove(&descriptor);
                // Gone with its folder, maybe.
                let _ = self.watches.remove(descriptor);
            }
        }
    }

    fn happened(&mut self, event: &EventOwned, found: &mut Vec<Sign>) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            for path in self.paths.keys().cloned().collect::<Vec<_>>() {
                self.look(&path, found);
            }
            return found.push(Sign::Overflow);
        }
        let Some(folder) = self.descriptors.get(&event.wd).cloned() else { return };
        if event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            if let Some(descriptor) = self.folders.remove(&folder) {
                self.descriptors.remove(&descriptor);
                // The kernel has forgotten it with the folder, or does so now.
                let _ = self.watches.remove(descriptor);
            }
            let orphaned: Vec<PathBuf> = self
                .paths
                .iter()
                .filter(|(_, seen)| seen.anchors.contains(&folder))
                .map(|(path, _)| path.clone())
                .collect();
            for path in orphaned {
                self.look(&path, found);
            }
            return;
        }
        let Some(name) = &event.name else { return };
        let child = folder.join(name);
        let is_directory = event.mask.contains(EventMask::ISDIR);
        // A file that is being made is told of when it is closed; a link is never closed.
        if event.mask.contains(EventMask::CREATE) && !is_directory && !is_whole_at_once(&child) {
            return;
        }
        let concerned: Vec<PathBuf> = self
            .paths
            .range(child.clone()..)
            .take_while(|(path, _)| path.starts_with(&child))
            .map(|(path, _)| path.clone())
            .collect();
        for path in concerned {
            self.look(&path, found);
        }
        let is_declared = self.paths.contains_key(&child);
        let is_in_directory = self.paths.get(&folder).is_some_and(|seen| seen.as_directory.is_some());
        let is_told = found.iter().any(|sign| matches!(sign, Sign::Touched { path } if *path == child));
        if (is_declared || is_in_directory) && !is_directory && !is_told {
            found.push(Sign::Touched { path: child });
        }
    }

    /// Whether somebody waits for what no event tells of.
    fn awaits_unwatched(&self) -> bool {
        self.paths.values().any(Seen::is_to_be_looked_at)
    }

    fn look_at_unwatched(&mut self, found: &mut Vec<Sign>) {
        let due: Vec<PathBuf> =
            self.paths.iter().filter(|(_, seen)| seen.is_to_be_looked_at()).map(|(path, _)| path.clone()).collect();
        for path in due {
            self.look(&path, found);
        }
    }
}

impl Seen {
    fn is_to_be_looked_at(&self) -> bool {
        self.is_unwatched && self.is_awaited && (self.as_file == Some(false) || self.as_directory == Some(false))
    }
}

/// A symbolic or hard link, or something that is not written at all.
fn is_whole_at_once(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| !it.is_file() || it.nlink() > 1)
}

fn is_of_network(folder: &Path) -> bool {
    const CIFS: i64 = 0xff53_4d42;
    const SMB2: i64 = 0xfe53_4d42;
    const NFS: i64 = 0x6969;
    const FUSE: i64 = 0x6573_5546;
    const AFS: i64 = 0x5346_414f;
    const CEPH: i64 = 0x00c3_6400;
    const NINE_P: i64 = 0x0102_1997;
    let network = [CIFS, SMB2, NFS, FUSE, AFS, CEPH, NINE_P].map(FsType);
    statfs(folder).is_ok_and(|it| network.contains(&it.filesystem_type()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Bench {
        _folder: tempfile::TempDir,
        at: PathBuf,
        watcher: Watcher,
        signs: mpsc::Receiver<Sign>,
    }

    impl Bench {
        async fn on(files: &[&str], directories: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().canonicalize().unwrap();
            let (watcher, signs) = Watcher::start().unwrap();
            let mut bench = Self { _folder: folder, at, watcher, signs };
            // A path that is there already shows that the others are being watched.
            fs::write(bench.at.join("zz"), "").unwrap();
            let files = files.iter().chain(&["zz"]).map(|path| Watch::File(bench.at.join(path)));
            let directories = directories.iter().map(|path| Watch::Directory(bench.at.join(path)));
            bench.watcher.watch(files.chain(directories).map(|watch| (watch, true)).collect());
            while bench.next().await != "+zz" {}
            bench
        }

        async fn next(&mut self) -> String {
            let sign = tokio::time::timeout(Duration::from_secs(10), self.signs.recv()).await.unwrap().unwrap();
            let short = |path: &Path| path.strip_prefix(&self.at).unwrap().display().to_string();
            match sign {
                Sign::Presence { watch: Watch::File(path) | Watch::Directory(path), is_there } => {
                    format!("{}{}", if is_there { '+' } else { '-' }, short(&path))
                }
                Sign::Touched { path } => format!("~{}", short(&path)),
                other => format!("{other:?}"),
            }
        }

        /// One that was found before it was closed is touched once more; one that goes with its folders, before it is missed.
        async fn next_presence(&mut self) -> String {
            loop {
                let next = self.next().await;
                if !next.starts_with('~') {
                    return next;
                }
            }
        }

        fn write(&self, path: &str) {
            fs::write(self.at.join(path), "x").unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_far_below_what_exists_is_noticed() {
        let mut bench = Bench::on(&["a/b/c/file"], &[]).await;
        fs::create_dir_all(bench.at.join("a/b/c")).unwrap();
        bench.write("a/b/c/file");
        assert_eq!(bench.next_presence().await, "+a/b/c/file");
        assert_eq!(bench.next().await, "~a/b/c/file");
        fs::remove_dir_all(bench.at.join("a")).unwrap();
        assert_eq!(bench.next_presence().await, "-a/b/c/file");
        fs::create_dir_all(bench.at.join("elsewhere/b/c")).unwrap();
        bench.write("elsewhere/b/c/file");
        fs::rename(bench.at.join("elsewhere"), bench.at.join("a")).unwrap();
        assert_eq!(bench.next_presence().await, "+a/b/c/file", "moved in with its folders");
        assert_eq!(bench.next().await, "~a/b/c/file");
    }

    #[tokio::test]
    async fn a_file_counts_when_it_is_closed_or_moved_in() {
        let mut bench = Bench::on(&["config", "other"], &[]).await;
        let open = fs::File::create(bench.at.join("config")).unwrap();
        bench.write("other");
        assert_eq!([bench.next().await, bench.next().await], ["+other", "~other"], "config is still being written");
        drop(open);
        assert_eq!([bench.next().await, bench.next().await], ["+config", "~config"]);
        bench.write("new");
        fs::rename(bench.at.join("new"), bench.at.join("config")).unwrap();
        assert_eq!(bench.next().await, "~config");
        fs::remove_file(bench.at.join("config")).unwrap();
        assert_eq!([bench.next().await, bench.next().await], ["-config", "~config"]);
        std::os::unix::fs::symlink("other", bench.at.join("config")).unwrap();
        assert_eq!([bench.next().await, bench.next().await], ["+config", "~config"]);
    }

    #[tokio::test]
    async fn what_happens_in_a_directory_is_told_file_by_file() {
        let mut bench = Bench::on(&[], &["d"]).await;
        fs::create_dir(bench.at.join("d")).unwrap();
        assert_eq!([bench.next().await, bench.next().await], ["+d", "~d"]);
        bench.write("d/one");
        assert_eq!(bench.next().await, "~d/one");
        bench.write("beside");
        fs::remove_file(bench.at.join("d/one")).unwrap();
        assert_eq!(bench.next().await, "~d/one");
        fs::remove_dir(bench.at.join("d")).unwrap();
        assert_eq!([bench.next().await, bench.next().await], ["-d", "~d"]);
        fs::create_dir(bench.at.join("d")).unwrap();
        assert_eq!([bench.next().await, bench.next().await], ["+d", "~d"]);
        bench.write("d/two");
        assert_eq!(bench.next().await, "~d/two");
    }
}
