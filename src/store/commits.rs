//! The commit history: `commits/<id>` and `snapshot-<id>` in one directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::StoreError;
use super::disk::{Disk, put};
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
}

#[derive(Debug)]
pub struct CommitStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    limits: Limits,
    next_id: u64,
    commits_since_snapshot: u64,
    bytes_since_snapshot: u64,
    /// How large the newest snapshot is.
    snapshot_bytes: u64,
    is_taking_snapshot: bool,
    /// A record whose force failed: it may or may not be there after a power cut. Nothing is written behind it.
    not_trusted: Option<PathBuf>,
}

impl CommitStore {
    /// Reads what is there. Anything that is broken, other than a torn end, is an error that says what to do.
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
        let ids = ids(&*disk, &commits_dir, "")?;
        let last = ids.last().copied();
        let mut expected = after + 1;
        for id in ids.into_iter().filter(|id| *id > after) {
            if id != expected {
                return Err(StoreError::Missing { path: commits_dir.join(expected.to_string()) });
            }
            let path = commits_dir.join(id.to_string());
            let bytes = disk.read(&path).map_err(StoreError::disk(&path))?;
            match record::read_commit(&bytes) {
                Ok(record) if record.id == id => recovered.commits.push(record),
                Ok(_) => return Err(StoreError::Damaged { path, reason: "it is another commit's file".to_owned() }),
                Err(Broken::Torn) if Some(id) == last => {
                    let torn = commits_dir.join(format!("{id}.torn"));
                    disk.rename(&path, &torn).map_err(StoreError::disk(&path))?;
                    disk.sync_dir(&commits_dir).map_err(StoreError::disk(&commits_dir))?;
                    warn!(path = %torn.display(), "a commit that was never acknowledged was cut off; it is set aside");
                    recovered.torn.push(torn);
                    break;
                }
                Err(Broken::Torn) => {
                    return Err(StoreError::Damaged { path, reason: "its end is missing".to_owned() });
                }
                Err(Broken::Damaged(reason)) => return Err(StoreError::Damaged { path, reason }),
            }
            expected += 1;
        }
        // A name that was read now must not be lost by the next power cut.
        disk.sync_dir(&commits_dir).map_err(StoreError::disk(&commits_dir))?;
        let store = Self {
            disk,
            dir,
            limits,
            next_id: expected,
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
        if let Some(path) = &self.not_trusted {
            return Err(StoreError::NotTrusted { path: path.clone() });
        }
        let id = self.next_id;
        let path = self.commit_path(id);
        let record = CommitRecord { id, meta, diff: diff.to_vec() };
        if let Err(error) = put(&*self.disk, &path, &record::commit_text(&record)) {
            self.take_back(&path);
            return Err(error);
        }
        self.next_id += 1;
        self.commits_since_snapshot += 1;
        self.bytes_since_snapshot += diff.len() as u64;
        Ok(id)
    }

    /// A refused commit must be wholly absent: if its name was given already, it is taken away again.
    fn take_back(&mut self, path: &Path) {
        let commits_dir = self.dir.join("commits");
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
        read_record(&*self.disk, &self.dir, id)
    }

    /// Ids of all commits on disk, oldest first.
    pub fn ids(&self) -> Result<Vec<u64>, StoreError> {
        ids(&*self.disk, &self.dir.join("commits"), "")
    }

    /// Recovery may need every commit after this one: it is the one of the oldest snapshot.
    pub fn needed_after(&self) -> Result<u64, StoreError> {
        Ok(ids(&*self.disk, &self.dir, "snapshot-")?.first().copied().unwrap_or(FIRST_COMMIT_ID - 1))
    }

    /// Removes a commit that recovery does not need. A power cut may bring it back: it is not in the way.
    pub fn forget(&self, id: u64) -> Result<(), StoreError> {
        let path = self.commit_path(id);
        self.disk.remove(&path).map_err(StoreError::disk(&path))
    }

    fn commit_path(&self, id: u64) -> PathBuf {
        self.dir.join("commits").join(id.to_string())
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
        let records =
            (after + 1..=self.id).map(|id| read_record(&*self.disk, &self.dir, id)).collect::<Result<_, _>>()?;
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

fn read_record(disk: &dyn Disk, dir: &Path, id: u64) -> Result<CommitRecord, StoreError> {
    let path = dir.join("commits").join(id.to_string());
    let bytes = disk.read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing { path: path.clone() },
        _ => StoreError::disk(&path)(error),
    })?;
    record::read_commit(&bytes).map_err(|broken| {
        let reason = match broken {
            Broken::Torn => "its end is missing".to_owned(),
            Broken::Damaged(reason) => reason,
        };
        StoreError::Damaged { path, reason }
    })
}

/// A file that was being written when the power went.
fn clear_left_over(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    if path.extension().is_some_and(|extension| extension == "new") {
        disk.remove(path).map_err(StoreError::disk(path))?;
    }
    Ok(())
}

fn newest_snapshot(disk: &dyn Disk, dir: &Path) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    let mut first_problem = None;
    for id in ids(disk, dir, "snapshot-")?.into_iter().rev() {
        let path = dir.join(format!("snapshot-{id}"));
        let bytes = disk.read(&path).map_err(StoreError::disk(&path))?;
        let reason = match record::read_snapshot(&bytes) {
            Ok((found, payload)) if found == id => return Ok(Some((id, payload))),
            Ok(_) => "it is another commit's snapshot".to_owned(),
            Err(Broken::Torn) => "its end is missing".to_owned(),
            Err(Broken::Damaged(reason)) => reason,
        };
        // Commits are kept, so an older snapshot, or none, leads to the same running.
        warn!(path = %path.display(), reason, "a snapshot is not used");
        first_problem.get_or_insert(path);
    }
    Ok(None)
}

/// The numbers behind `prefix` in the names of a directory, in order.
fn ids(disk: &dyn Disk, dir: &Path, prefix: &str) -> Result<Vec<u64>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::disk(dir))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::super::disk::simulated::Simulated;
    use super::*;

    fn open(disk: &Arc<Simulated>) -> Result<(CommitStore, Recovered), StoreError> {
        let limits = Limits { commits_between_snapshots: 3, ..Limits::default() };
        CommitStore::open(Arc::clone(disk) as Arc<dyn Disk>, PathBuf::from("/config"), limits)
    }

    fn diffs(recovered: &Recovered) -> Vec<String> {
        let snapshot = recovered.snapshot.iter().map(|(_, bytes)| bytes.clone());
        let commits = recovered.commits.iter().map(|record| record.diff.clone());
        snapshot.chain(commits).map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn what_was_appended_is_recovered_with_the_snapshot_in_front() {
        let disk = Arc::new(Simulated::default());
        let (mut store, recovered) = open(&disk).unwrap();
        assert_eq!(recovered, Recovered::default());
        for text in ["a", "b", "c"] {
            store.append(CommitMeta::default(), text.as_bytes()).unwrap();
        }
        assert!(store.wants_snapshot());
        store.snapshot(FIRST_COMMIT_ID + 2, b"abc").unwrap();
        assert!(!store.wants_snapshot());
        assert_eq!(store.append(CommitMeta::default(), b"d").unwrap(), FIRST_COMMIT_ID + 3);
        let (store, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["abc", "d"]);
        assert_eq!(store.ids().unwrap().len(), 4);
        assert_eq!(store.read(FIRST_COMMIT_ID).unwrap().diff, b"a");
    }

    #[test]
    fn commits_before_the_oldest_snapshot_may_go() {
        let disk = Arc::new(Simulated::default());
        let (mut store, _) = open(&disk).unwrap();
        assert_eq!(store.needed_after().unwrap(), FIRST_COMMIT_ID - 1);
        for id in FIRST_COMMIT_ID..FIRST_COMMIT_ID + 9 {
            store.append(CommitMeta::default(), b"x").unwrap();
            if store.wants_snapshot() {
                store.snapshot(id, b"s").unwrap();
            }
        }
        // Of three snapshots two are kept.
        assert_eq!(store.needed_after().unwrap(), FIRST_COMMIT_ID + 5);
        for id in FIRST_COMMIT_ID..=store.needed_after().unwrap() {
            store.forget(id).unwrap();
        }
        // The newest snapshot may turn out to be damaged.
        disk.write(&PathBuf::from(format!("/config/snapshot-{}", FIRST_COMMIT_ID + 8)), b"?").unwrap();
        let (store, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["s", "x", "x", "x"]);
        assert_eq!(store.last_id(), FIRST_COMMIT_ID + 8);
    }

    /// What a store was told and answered until the power went.
    struct Life {
        acknowledged: u64,
        steps: usize,
    }

    /// Commits of several sizes with snapshots in between, on a disk that loses power after so many steps.
    fn live(disk: &Arc<Simulated>, commits: u64) -> Life {
        let mut acknowledged = 0;
        if let Ok((mut store, _)) = open(disk) {
            for index in 0..commits {
                let text = format!("<c>{index}</c>").repeat(1 + usize::try_from(index % 5).unwrap());
                if store.append(CommitMeta::default(), text.as_bytes()).is_err() {
                    break;
                }
                acknowledged += 1;
                if store.wants_snapshot() {
                    let _ = store.snapshot(store.last_id(), format!("upto{index}").as_bytes());
                }
            }
        }
        Life { acknowledged, steps: disk.steps_taken() }
    }

    /// Opens what the power left: every acknowledged commit is there, and at most the one that was being written.
    fn check(after: Simulated, acknowledged: u64, what: &dyn Fn() -> String) -> (Arc<Simulated>, u64) {
        let after = Arc::new(after);
        let (store, recovered) = open(&after).unwrap_or_else(|error| panic!("{}: {error}", what()));
        let found = store.last_id() + 1 - FIRST_COMMIT_ID;
        assert!(found == acknowledged || found == acknowledged + 1, "{}: {found} of {acknowledged}", what());
        let snapshot = recovered.snapshot.as_ref().map_or(0, |(id, _)| id + 1 - FIRST_COMMIT_ID);
        if let Some((_, payload)) = &recovered.snapshot {
            assert_eq!(*payload, format!("upto{}", snapshot - 1).as_bytes(), "{}", what());
        }
        assert_eq!(snapshot + recovered.commits.len() as u64, found, "{}", what());
        for (record, index) in recovered.commits.iter().zip(snapshot..) {
            let text = format!("<c>{index}</c>").repeat(1 + usize::try_from(index % 5).unwrap());
            assert_eq!(record.diff, text.as_bytes(), "{}", what());
        }
        (after, found)
    }

    #[test]
    fn after_a_power_cut_anywhere_every_acknowledged_commit_is_there_and_at_most_one_more() {
        const CUT_POINTS: usize = 100_000;
        const COMMITS: u64 = 7;
        let whole = Arc::new(Simulated::default());
        let steps_max = live(&whole, COMMITS).steps;
        let mut cuts = 0;
        let mut seed = 0;
        while cuts < CUT_POINTS {
            // Each step once for each seed; the seed says which of the unforced bytes and names outlive the cut.
            for steps in 0..=steps_max {
                let disk = Arc::new(Simulated::default());
                disk.lose_power_after(steps);
                let life = live(&disk, COMMITS);
                for turn in 0..24 {
                    let seed = seed * 24 + turn;
                    let what = || format!("steps {steps} seed {seed}");
                    let (after, found) = check(disk.after_power_cut(seed), life.acknowledged, &what);
                    cuts += 1;
                    if turn == 0 {
                        // Recovery itself may be cut off, and goes on where it was.
                        let again = Arc::new(after.after_power_cut(seed));
                        again.lose_power_after(usize::try_from(seed).unwrap() % 8);
                        let _ = open(&again);
                        let (_, still) = check(again.after_power_cut(seed + 1), found, &what);
                        assert_eq!(still, found, "{}", what());
                        cuts += 1;
                    }
                }
            }
            seed += 1;
        }
    }

    #[test]
    fn commits_go_on_while_a_snapshot_is_taken() {
        let disk = Arc::new(Simulated::default());
        let (mut store, _) = open(&disk).unwrap();
        for text in ["a", "b", "c"] {
            store.append(CommitMeta::default(), text.as_bytes()).unwrap();
        }
        let work = store.begin_snapshot();
        assert!(!store.wants_snapshot(), "one at a time");
        store.append(CommitMeta::default(), b"d").unwrap();
        let (before, records) = work.parts().unwrap();
        let all: Vec<u8> = records.into_iter().flat_map(|record| record.diff).collect();
        assert_eq!((before, all.as_slice()), (None, &b"abc"[..]));
        let outcome = work.write(&all);
        store.snapshot_taken(outcome).unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["abc", "d"]);
    }

    #[test]
    fn a_failed_force_refuses_the_commit_and_leaves_no_trace() {
        let disk = Arc::new(Simulated::default());
        let (mut store, _) = open(&disk).unwrap();
        store.append(CommitMeta::default(), b"good").unwrap();
        disk.fail_syncs(true);
        assert!(matches!(store.append(CommitMeta::default(), b"bad"), Err(StoreError::Disk { .. })));
        disk.fail_syncs(false);
        let id = store.append(CommitMeta::default(), b"next").unwrap();
        assert_eq!(id, FIRST_COMMIT_ID + 1);
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["good", "next"]);
    }

    #[test]
    fn a_full_disk_refuses_the_commit_and_the_old_ones_stay() {
        let disk = Arc::new(Simulated::default());
        let (mut store, _) = open(&disk).unwrap();
        store.append(CommitMeta::default(), b"good").unwrap();
        disk.fill_after(20);
        assert!(store.append(CommitMeta::default(), b"no room").is_err());
        disk.fill_after(10_000);
        store.append(CommitMeta::default(), b"room").unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["good", "room"]);
    }

    #[test]
    fn a_torn_last_commit_is_set_aside_and_a_damaged_or_missing_one_is_an_error() {
        let disk = Arc::new(Simulated::default());
        let (mut store, _) = open(&disk).unwrap();
        for text in ["a", "b", "c"] {
            store.append(CommitMeta::default(), text.as_bytes()).unwrap();
        }
        let path = |index: u64| PathBuf::from(format!("/config/commits/{}", FIRST_COMMIT_ID + index));
        let whole = disk.read(&path(2)).unwrap();
        disk.write(&path(2), &whole[..whole.len() - 5]).unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["a", "b"]);
        assert_eq!(recovered.torn.len(), 1);

        let mut bytes = disk.read(&path(0)).unwrap();
        bytes[3] ^= 1;
        disk.write(&path(0), &bytes).unwrap();
        let error = open(&disk).unwrap_err().to_string();
        assert!(error.contains("/config/commits/1000000001 is damaged"), "{error}");

        disk.remove(&path(0)).unwrap();
        assert!(matches!(open(&disk), Err(StoreError::Missing { .. })));
    }

    #[test]
    fn a_damaged_snapshot_gives_way_to_the_commits() {
        let disk = Arc::new(Simulated::default());
        let (mut store, _) = open(&disk).unwrap();
        store.append(CommitMeta::default(), b"a").unwrap();
        store.snapshot(FIRST_COMMIT_ID, b"sum").unwrap();
        disk.write(Path::new("/config/snapshot-1000000001"), b"rubbish").unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["a"]);
    }
}
