//! The commit history: `commits/<id>` (or `<first>-<last>`) and `snapshot-<id>` in one directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{error, warn};

use super::StoreError;
use super::disk::{Disk, put};
use super::names::{Span, ids, spans};
use super::record::{self, Broken};
pub use super::record::{CommitMeta, CommitRecord};

/// The first commit of a root.
pub const FIRST_COMMIT_ID: u64 = 1_000_000_001;

/// When a snapshot is due, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many commits after the last snapshot...
    pub commits_between_snapshots: u64,
    /// ... or so many bytes of changes, and as many as the last snapshot has: recovery stays quick, and snapshots cost
    /// no more than the commits that lead to them.
    pub bytes_between_snapshots: u64,
    /// Older snapshots than these go; the newest but one stays in case the newest is damaged.
    pub snapshots_kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commits_between_snapshots: 1000, bytes_between_snapshots: 4 << 20, snapshots_kept: 2 }
    }
}

/// What was on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The id it was taken after, and its payload.
    pub snapshot: Option<(u64, Vec<u8>)>,
    /// The commits after it, oldest first.
    pub commits: Vec<CommitRecord>,
    /// Files set aside: the power went while they were written, so nobody was told that they are there.
    pub torn: Vec<PathBuf>,
    /// Files set aside: a commit that is damaged or missing, where it is not, and all behind it. Running is what it was before.
    pub lost: Vec<PathBuf>,
}

#[derive(Debug)]
pub struct CommitStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    limits: Limits,
    next_id: u64,
    /// The first and the last of the commits that share a file.
    groups: BTreeMap<u64, u64>,
    commits_since_snapshot: u64,
    bytes_since_snapshot: u64,
    /// How large the newest snapshot is.
    snapshot_bytes: u64,
    is_taking_snapshot: bool,
    /// A record whose force failed: it may or may not be there after a power cut. Nothing is written behind it.
    not_trusted: Option<PathBuf>,
}

impl CommitStore {
    /// Reads what is there. A torn end is set aside, and so is what is damaged or missing with all behind it, where something
    /// sound stands before: the newest good state is used. Without any, that is an error that says what to do.
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf, limits: Limits) -> Result<(Self, Recovered), StoreError> {
        let commits_dir = dir.join("commits");
        disk.make_dir(&commits_dir).map_err(StoreError::disk(&commits_dir))?;
        disk.sync_dir(&dir).map_err(StoreError::disk(&dir))?;
        let mut recovered = Recovered::default();
        for name in disk.list(&dir).map_err(StoreError::disk(&dir))? {
            clear_left_over(&*disk, &dir.join(name))?;
        }
        for name in disk.list(&commits_dir).map_err(StoreError::disk(&commits_dir))? {
            clear_left_over(&*disk, &commits_dir.join(name))?;
        }
        recovered.snapshot = newest_snapshot(&*disk, &dir)?;
        let after = recovered.snapshot.as_ref().map_or(FIRST_COMMIT_ID - 1, |(id, _)| *id);
        let spans = spans(&*disk, &commits_dir)?;
        let mut expected = after + 1;
        for (index, span) in spans.iter().enumerate().filter(|(_, span)| span.last > after) {
            let path = commits_dir.join(span.to_string());
            let trouble = if span.holds(expected) {
                match read_own(&*disk, &path, *span)? {
                    Ok(records) => {
                        recovered.commits.extend(records.into_iter().filter(|record| record.id > after));
                        expected = span.last + 1;
                        continue;
                    }
                    Err(Broken::Torn) if index + 1 == spans.len() => {
                        let torn = set_aside(&*disk, &path, "torn")?;
                        disk.sync_dir(&commits_dir).map_err(StoreError::disk(&commits_dir))?;
                        warn!(path = %torn.display(), "a commit that was never acknowledged was cut off; it is set aside");
                        recovered.torn.push(torn);
                        break;
                    }
                    Err(broken) => unreadable(path, broken),
                }
            } else {
                StoreError::Missing { path: commits_dir.join(expected.to_string()) }
            };
            let is_found_sound = recovered.snapshot.is_some() || !recovered.commits.is_empty();
            if !is_found_sound || matches!(trouble, StoreError::OtherForm { .. }) {
                return Err(trouble);
            }
            error!(%trouble, "running is what it was before this commit; it and all behind it are set aside");
            recovered.lost = set_aside_all(&*disk, &commits_dir, &spans[index..])?;
            break;
        }
        // A name that was read now must not be lost by the next power cut.
        disk.sync_dir(&commits_dir).map_err(StoreError::disk(&commits_dir))?;
        let store = Self {
            disk,
            dir,
            limits,
            next_id: expected,
            groups: spans
                .iter()
                .filter(|span| span.first < span.last && span.last < expected)
                .map(|span| (span.first, span.last))
                .collect(),
            commits_since_snapshot: expected - after - 1,
            bytes_since_snapshot: recovered.commits.iter().map(|record| record.diff.len() as u64).sum(),
            snapshot_bytes: recovered.snapshot.as_ref().map_or(0, |(_, payload)| payload.len() as u64),
            is_taking_snapshot: false,
            not_trusted: None,
        };
        Ok((store, recovered))
    }

    /// Records a commit; when this returns an id, the commit outlives a power cut.
    pub fn append(&mut self, meta: CommitMeta, diff: &[u8]) -> Result<u64, StoreError> {
        self.append_together(vec![(meta, diff.to_vec())])
    }

    /// Records commits, one after the other, with one force of the disk: all of them outlive a power cut, or none is there.
    /// Answers the id of the first; there is one.
    pub fn append_together(&mut self, commits: Vec<(CommitMeta, Vec<u8>)>) -> Result<u64, StoreError> {
        if let Some(path) = &self.not_trusted {
            return Err(StoreError::NotTrusted { path: path.clone() });
        }
        let records: Vec<CommitRecord> =
            commits.into_iter().zip(self.next_id..).map(|((meta, diff), id)| CommitRecord { id, meta, diff }).collect();
        let count = records.len() as u64;
        let span = Span { first: self.next_id, last: self.next_id + count - 1 };
        let path = self.commits_dir().join(span.to_string());
        if let Err(error) = put(&*self.disk, &path, &record::file_text(&records)) {
            self.take_back(&path);
            return Err(error);
        }
        if count > 1 {
            self.groups.insert(span.first, span.last);
        }
        self.next_id += count;
        self.commits_since_snapshot += count;
        self.bytes_since_snapshot += records.iter().map(|record| record.diff.len() as u64).sum::<u64>();
        Ok(span.first)
    }

    /// A refused commit must be wholly absent: if its name was given already, it is taken away again.
    fn take_back(&mut self, path: &Path) {
        let commits_dir = self.commits_dir();
        let is_there = self.disk.read(path).is_ok();
        if !is_there {
            return;
        }
        let gone = self.disk.remove(path).and_then(|()| self.disk.sync_dir(&commits_dir));
        if gone.is_err() {
            // It could come back after a power cut; so nothing may be written behind it.
            self.not_trusted = Some(path.to_owned());
        }
    }

    /// The id of the newest commit; one less than the first when there is none.
    pub fn last_id(&self) -> u64 {
        self.next_id - 1
    }

    pub fn wants_snapshot(&self) -> bool {
        let bytes_due = self.limits.bytes_between_snapshots.max(self.snapshot_bytes);
        !self.is_taking_snapshot
            && self.commits_since_snapshot > 0
            && (self.commits_since_snapshot >= self.limits.commits_between_snapshots
                || self.bytes_since_snapshot >= bytes_due)
    }

    /// The work of taking a snapshot as of the last commit, to be done on any thread while commits go on. Its outcome
    /// is for [`CommitStore::snapshot_taken`].
    pub fn begin_snapshot(&mut self) -> SnapshotWork {
        self.is_taking_snapshot = true;
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        SnapshotWork { disk, dir, kept: self.limits.snapshots_kept, id: self.last_id() }
    }

    /// Whether it succeeded or not, the next one may begin when it is due.
    pub fn snapshot_taken(&mut self, outcome: Result<Snapshot, StoreError>) -> Result<(), StoreError> {
        self.snapshot_given_up();
        let snapshot = outcome?;
        self.commits_since_snapshot = self.last_id().saturating_sub(snapshot.id);
        self.snapshot_bytes = snapshot.bytes;
        Ok(())
    }

    /// There is none; the next one is due as late as if there were: a failure is not tried again with every commit.
    pub fn snapshot_given_up(&mut self) {
        self.is_taking_snapshot = false;
        self.commits_since_snapshot = 0;
        self.bytes_since_snapshot = 0;
    }

    /// Takes a snapshot here and now.
    pub fn snapshot(&mut self, id: u64, payload: &[u8]) -> Result<(), StoreError> {
        let mut work = self.begin_snapshot();
        work.id = id;
        let outcome = work.write(payload);
        self.snapshot_taken(outcome)
    }

    pub fn read(&self, id: u64) -> Result<CommitRecord, StoreError> {
        let records = read_span(&*self.disk, &self.commits_dir(), self.span_of(id))?;
        let missing = || StoreError::Missing { path: self.commits_dir().join(id.to_string()) };
        records.into_iter().find(|record| record.id == id).ok_or_else(missing)
    }

    /// Copies what recovery reads (the newest snapshot and the commits after it) to a folder of its own, and says which.
    pub fn keep_original(&self) -> Result<PathBuf, StoreError> {
        let snapshot = newest_snapshot(&*self.disk, &self.dir)?.map(|(id, _)| id);
        let after = snapshot.unwrap_or(FIRST_COMMIT_ID - 1);
        let there = self.dir.join(format!("not-placed-{after}"));
        self.disk.make_dir(&there).map_err(StoreError::disk(&there))?;
        let spans = spans(&*self.disk, &self.commits_dir())?;
        let commits =
            spans.into_iter().filter(|span| span.last > after).map(|span| self.commits_dir().join(span.to_string()));
        let files = snapshot.map(|id| self.dir.join(format!("snapshot-{id}"))).into_iter().chain(commits);
        let known = self.disk.list(&there).map_err(StoreError::disk(&there))?;
        for file in files {
            let name = file.file_name().unwrap_or_default();
            if !known.iter().any(|known| name == known.as_str()) {
                let bytes = self.disk.read(&file).map_err(StoreError::disk(&file))?;
                put(&*self.disk, &there.join(name), &bytes)?;
            }
        }
        self.disk.sync_dir(&self.dir).map_err(StoreError::disk(&self.dir))?;
        Ok(there)
    }

    /// Ids of all commits on disk, oldest first.
    pub fn ids(&self) -> Result<Vec<u64>, StoreError> {
        Ok(spans(&*self.disk, &self.commits_dir())?.iter().flat_map(|span| span.first..=span.last).collect())
    }

    /// Recovery may need every commit after this one: it is the one of the oldest snapshot.
    pub fn needed_after(&self) -> Result<u64, StoreError> {
        Ok(ids(&*self.disk, &self.dir, "snapshot-")?.first().copied().unwrap_or(FIRST_COMMIT_ID - 1))
    }

    /// Removes a commit that recovery does not need; one that shares a file goes with the last of that. A power cut may
    /// bring it back: it is not in the way.
    pub fn forget(&mut self, id: u64) -> Result<(), StoreError> {
        let span = self.span_of(id);
        if id < span.last {
            return Ok(());
        }
        let path = self.commits_dir().join(span.to_string());
        self.groups.remove(&span.first);
        self.disk.remove(&path).map_err(StoreError::disk(&path))
    }

    fn span_of(&self, id: u64) -> Span {
        match self.groups.range(..=id).next_back() {
            Some((first, last)) if id <= *last => Span { first: *first, last: *last },
            Some(_) | None => Span { first: id, last: id },
        }
    }

    fn commits_dir(&self) -> PathBuf {
        self.dir.join("commits")
    }
}

/// A snapshot that is being taken: the one before it and the commits up to `id` become one.
#[derive(Debug)]
pub struct SnapshotWork {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    kept: usize,
    id: u64,
}

/// A snapshot that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub id: u64,
    pub bytes: u64,
}

impl SnapshotWork {
    /// The payload of the newest snapshot, and the commits behind it, oldest first.
    pub fn parts(&self) -> Result<(Option<Vec<u8>>, Vec<CommitRecord>), StoreError> {
        let newest = newest_snapshot(&*self.disk, &self.dir)?;
        let after = newest.as_ref().map_or(FIRST_COMMIT_ID - 1, |(id, _)| *id);
        let commits_dir = self.dir.join("commits");
        let mut records: Vec<CommitRecord> = Vec::new();
        for span in spans(&*self.disk, &commits_dir)?.into_iter().filter(|span| span.last > after) {
            if span.first > self.id {
                break;
            }
            let found = read_span(&*self.disk, &commits_dir, span)?;
            records.extend(found.into_iter().filter(|record| (after + 1..=self.id).contains(&record.id)));
        }
        let is_whole = records.iter().map(|record| record.id).eq(after + 1..=self.id);
        if !is_whole {
            return Err(StoreError::Missing { path: commits_dir.join((after + 1).to_string()) });
        }
        Ok((newest.map(|(_, payload)| payload), records))
    }

    /// Writes what they come to; old snapshots go. The commits stay: they are the history.
    pub fn write(self, payload: &[u8]) -> Result<Snapshot, StoreError> {
        let path = self.dir.join(format!("snapshot-{}", self.id));
        put(&*self.disk, &path, &record::snapshot_text(self.id, payload))?;
        let ids = ids(&*self.disk, &self.dir, "snapshot-")?;
        let surplus = ids.len().saturating_sub(self.kept.max(1));
        for old in ids.into_iter().take(surplus) {
            let path = self.dir.join(format!("snapshot-{old}"));
            self.disk.remove(&path).map_err(StoreError::disk(&path))?;
        }
        Ok(Snapshot { id: self.id, bytes: payload.len() as u64 })
    }
}

fn read_span(disk: &dyn Disk, commits_dir: &Path, span: Span) -> Result<Vec<CommitRecord>, StoreError> {
    let path = commits_dir.join(span.to_string());
    let bytes = disk.read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing { path: path.clone() },
        _ => StoreError::disk(&path)(error),
    })?;
    record::read_file(&bytes).map_err(|broken| unreadable(path, broken))
}

/// The commits of a file, or what is wrong with it.
fn read_own(disk: &dyn Disk, path: &Path, span: Span) -> Result<Result<Vec<CommitRecord>, Broken>, StoreError> {
    let bytes = disk.read(path).map_err(StoreError::disk(path))?;
    Ok(record::read_file(&bytes).and_then(|records| {
        let is_its_own = records.iter().map(|record| record.id).eq(span.first..=span.last);
        if is_its_own { Ok(records) } else { Err(Broken::Damaged("it is another commit's file".to_owned())) }
    }))
}

/// The first of them is damaged, or what should stand before it is missing. The last one goes first: whenever the power is cut,
/// what is left is found like this again.
fn set_aside_all(disk: &dyn Disk, commits_dir: &Path, spans: &[Span]) -> Result<Vec<PathBuf>, StoreError> {
    let mut there = Vec::new();
    for (index, span) in spans.iter().enumerate().rev() {
        let why = if index == 0 { "damaged" } else { "behind-damaged" };
        let aside = set_aside(disk, &commits_dir.join(span.to_string()), why)?;
        disk.sync_dir(commits_dir).map_err(StoreError::disk(commits_dir))?;
        error!(file = %aside.display(), "a commit file is set aside");
        there.push(aside);
    }
    there.reverse();
    Ok(there)
}

/// Another name for a file, which nothing has yet. Nobody looks for it there, and nobody removes it.
fn set_aside(disk: &dyn Disk, path: &Path, why: &str) -> Result<PathBuf, StoreError> {
    let dir = path.parent().unwrap_or(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let taken = disk.list(dir).map_err(StoreError::disk(dir))?;
    let mut aside = format!("{name}.{why}");
    let mut number = 1;
    while taken.contains(&aside) {
        number += 1;
        aside = format!("{name}.{why}-{number}");
    }
    let aside = dir.join(aside);
    disk.rename(path, &aside).map_err(StoreError::disk(path))?;
    Ok(aside)
}

fn unreadable(path: PathBuf, broken: Broken) -> StoreError {
    match broken {
        Broken::Torn => StoreError::Damaged { path, reason: "its end is missing".to_owned() },
        Broken::Damaged(reason) => StoreError::Damaged { path, reason },
        Broken::OtherForm(found) => StoreError::OtherForm { path, found },
    }
}

/// A file that was being written when the power went.
fn clear_left_over(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    if path.extension().is_some_and(|extension| extension == "new") {
        disk.remove(path).map_err(StoreError::disk(path))?;
    }
    Ok(())
}

fn newest_snapshot(disk: &dyn Disk, dir: &Path) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    for id in ids(disk, dir, "snapshot-")?.into_iter().rev() {
        let path = dir.join(format!("snapshot-{id}"));
        let bytes = disk.read(&path).map_err(StoreError::disk(&path))?;
        let reason = match record::read_snapshot(&bytes) {
            Ok((found, payload)) if found == id => return Ok(Some((id, payload))),
            Ok(_) => "it is another commit's snapshot".to_owned(),
            Err(Broken::Torn) => "its end is missing".to_owned(),
            Err(Broken::Damaged(reason)) => reason,
            // What a newer version wrote is not damaged: an older snapshot may be there no more, or lead elsewhere.
            Err(Broken::OtherForm(found)) => return Err(StoreError::OtherForm { path, found }),
        };
        // Commits are kept, so an older snapshot, or none, leads to the same running.
        let aside = set_aside(disk, &path, "damaged")?;
        disk.sync_dir(dir).map_err(StoreError::disk(dir))?;
        error!(path = %path.display(), reason, aside = %aside.display(), "a snapshot is damaged and set aside");
    }
    Ok(None)
}

#[cfg(test)]
#[path = "commits_tests.rs"]
mod tests;
