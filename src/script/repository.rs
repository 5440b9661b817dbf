//! The repository as values: what is on the shelves, what happened to it, what may be done to it.
//!
//! ```text
//!             seen or added             changed
//!   absent  ----- NEW -----> on shelf -- MODIFY -+      Config Checksum     no checksum is committed
//!      ^                      |   ^              |      Ready               the committed one is the file's
//!      +------- DELETE -------+   +--------------+      Checksum Mismatch   it is another
//! ```
//! The status is never stored: it follows from the file's sum and the committed checksum. Knows no clock and no disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::docstring::Docstring;
use super::history::{Action, HistoryRow, ROWS_PER_SCRIPT_MAX};
use super::name::{ScriptKey, ScriptName, ScriptType};
use crate::checksum::Sha256;

/// Scripts on one shelf; more than a device needs, few enough to list and sum.
pub const SCRIPTS_PER_SHELF_MAX: usize = 1000;

/// Scripts that are gone and whose history is still kept.
pub const DELETED_REMEMBERED_MAX: usize = 200;

/// Checksums as the running configuration has them.
pub type Committed = BTreeMap<ScriptKey, Sha256>;

/// Which bytes these are, without reading them: a rename keeps all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub inode: u64,
    pub modified_nanoseconds: i128,
    pub size: u64,
}

/// A file on a shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    pub sum: Sha256,
    pub identity: Identity,
    pub docstring: Docstring,
}

/// One script that is or was on a shelf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// `None`: not on the shelf, or not looked at since the start.
    pub file: Option<FileFacts>,
    /// Newest first.
    pub history: VecDeque<HistoryRow>,
}

impl Record {
    /// The sum that the last row speaks of, unless it says that the file went.
    fn remembered(&self) -> Option<Sha256> {
        self.history.front().filter(|row| row.action != Action::Delete)?.checksum
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    ConfigChecksum,
    Ready,
    ChecksumMismatch,
}

impl Status {
    pub fn of(found: &Sha256, committed: Option<&Sha256>) -> Self {
        match committed {
            None => Self::ConfigChecksum,
            Some(expected) if expected == found => Self::Ready,
            Some(_) => Self::ChecksumMismatch,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigChecksum => "Config Checksum",
            Self::Ready => "Ready",
            Self::ChecksumMismatch => "Checksum Mismatch",
        })
    }
}

/// What the repository tells of itself; the composition root makes notifications and alarms of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptEvent {
    Added { key: ScriptKey, sum: Sha256 },
    Modified { key: ScriptKey, sum: Sha256 },
    Deleted { key: ScriptKey },
    StatusChanged { key: ScriptKey, status: Status },
    ChecksumMismatch { key: ScriptKey, expected: Sha256, found: Sha256 },
}

/// All scripts. Cheap to clone: records are shared until they change.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    records: BTreeMap<ScriptKey, Arc<Record>>,
}

/// A change that a look at the shelf brought to light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub key: ScriptKey,
    pub row: HistoryRow,
}

impl Noted {
    pub fn event(&self) -> ScriptEvent {
        let key = self.key.clone();
        match (self.row.action, self.row.checksum) {
            (Action::New, Some(sum)) => ScriptEvent::Added { key, sum },
            (Action::Modify, Some(sum)) => ScriptEvent::Modified { key, sum },
            (Action::Delete, _) | (_, None) => ScriptEvent::Deleted { key },
        }
    }
}

impl Inventory {
    /// What the history remembers; rows come oldest first. Files are yet to be looked at.
    pub fn remember(rows: impl IntoIterator<Item = (ScriptKey, HistoryRow)>) -> Self {
        let mut inventory = Self::default();
        for (key, row) in rows {
            inventory.push(key, row);
        }
        inventory.forget_the_oldest_deleted();
        inventory
    }

    /// Takes in what stands on the shelf at `now`. Nothing is noted where nothing changed, so that a write of our own
    /// which the watch reports once more, and a file that outlived a restart, leave no second row.
    pub fn observe(
        &mut self,
        key: &ScriptKey,
        seen: Option<FileFacts>,
        description: Option<&str>,
        now: Timestamp,
    ) -> Option<Noted> {
        let record = self.records.get(key);
        let before = record.and_then(|record| record.file.as_ref());
        let remembered = record.and_then(|record| record.remembered());
        let action = match (before, &seen) {
            (Some(before), Some(file)) if before.identity == file.identity && before.sum == file.sum => return None,
            (Some(_), Some(_)) => Action::Modify,
            (None, Some(file)) => match remembered {
                Some(sum) if sum == file.sum => {
                    self.record(key).file = seen;
                    return None;
                }
                Some(_) => Action::Modify,
                None => Action::New,
            },
            (Some(_), None) => Action::Delete,
            (None, None) if remembered.is_some() => Action::Delete,
            (None, None) => return None,
        };
        let row = HistoryRow {
            action,
            time: now,
            checksum: seen.as_ref().map(|file| file.sum),
            description: description.unwrap_or(action.by_hand()).to_owned(),
        };
        self.record(key).file = seen;
        self.push(key.clone(), row.clone());
        if action == Action::Delete {
            self.forget_the_oldest_deleted();
        }
        Some(Noted { key: key.clone(), row })
    }

    /// The file, if it is on the shelf.
    pub fn file(&self, key: &ScriptKey) -> Option<&FileFacts> {
        self.records.get(key)?.file.as_ref()
    }

    /// Scripts on the shelves, by type and name.
    pub fn scripts(&self) -> impl Iterator<Item = (&ScriptKey, &FileFacts, &Record)> {
        self.records.iter().filter_map(|(key, record)| Some((key, record.file.as_ref()?, &**record)))
    }

    /// Scripts that are or were on the shelves; of one that was not looked at since the start it is not known which.
    pub fn records(&self) -> impl Iterator<Item = (&ScriptKey, &Record)> {
        let is_known = |record: &Record| record.file.is_some() || record.remembered().is_none();
        self.records.iter().filter(move |(_, record)| is_known(record)).map(|(key, record)| (key, &**record))
    }

    /// Every name there is or was: what a rescan must look at beside what it finds.
    pub fn keys(&self) -> impl Iterator<Item = &ScriptKey> {
        self.records.keys()
    }

    /// Every row that is kept, oldest first per script: what a compacted history file holds.
    pub fn rows(&self) -> impl Iterator<Item = (&ScriptKey, &HistoryRow)> {
        self.records.iter().flat_map(|(key, record)| record.history.iter().rev().map(move |row| (key, row)))
    }

    pub fn count_on(&self, shelf: ScriptType) -> usize {
        self.scripts().filter(|(key, ..)| key.script_type == shelf).count()
    }

    fn record(&mut self, key: &ScriptKey) -> &mut Record {
        Arc::make_mut(self.records.entry(key.clone()).or_default())
    }

    fn push(&mut self, key: ScriptKey, row: HistoryRow) {
        let record = Arc::make_mut(self.records.entry(key).or_default());
        record.history.push_front(row);
        record.history.truncate(ROWS_PER_SCRIPT_MAX);
    }

    fn forget_the_oldest_deleted(&mut self) {
        let mut deleted: Vec<(Timestamp, ScriptKey)> = self
            .records
            .iter()
            .filter(|(_, record)| record.file.is_none() && record.remembered().is_none())
            .map(|(key, record)| (record.history.front().map_or(Timestamp::MIN, |row| row.time), key.clone()))
            .collect();
        deleted.sort();
        let surplus = deleted.len().saturating_sub(DELETED_REMEMBERED_MAX);
        for (_, key) in deleted.into_iter().take(surplus) {
            self.records.remove(&key);
        }
    }
}

/// The statuses of all scripts with what they follow from.
pub type Verdicts = BTreeMap<ScriptKey, (Sha256, Option<Sha256>)>;

pub fn verdicts(inventory: &Inventory, committed: &Committed) -> Verdicts {
    inventory.scripts().map(|(key, file, _)| (key.clone(), (file.sum, committed.get(key).copied()))).collect()
}

/// What to tell when the statuses went from `before` to `after`.
pub fn status_events(before: &Verdicts, after: &Verdicts) -> Vec<ScriptEvent> {
    let mut events = Vec::new();
    for (key, (found, committed)) in after {
        let earlier = before.get(key);
        if earlier == Some(&(*found, *committed)) {
            continue;
        }
        let status = Status::of(found, committed.as_ref());
        let status_before = earlier.map(|(found, committed)| Status::of(found, committed.as_ref()));
        if status_before != Some(status) {
            events.push(ScriptEvent::StatusChanged { key: key.clone(), status });
        }
        if let (Status::ChecksumMismatch, Some(expected)) = (status, committed) {
            events.push(ScriptEvent::ChecksumMismatch { key: key.clone(), expected: *expected, found: *found });
        }
    }
    events
}

/// The names of `keys`, without those that stand there twice.
pub fn distinct<'a>(names: impl IntoIterator<Item = &'a ScriptName>) -> Result<BTreeSet<&'a ScriptName>, ScriptName> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(name.clone());
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ScriptKey {
        ScriptKey::new(ScriptType::Process, ScriptName::parse(name).unwrap())
    }

    fn file(text: &str, inode: u64) -> Option<FileFacts> {
        let identity = Identity { inode, modified_nanoseconds: 0, size: text.len() as u64 };
        Some(FileFacts { sum: Sha256::of(text.as_bytes()), identity, docstring: Docstring::default() })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_status_follows_from_the_two_sums() {
        let (one, other) = (Sha256::of(b"1"), Sha256::of(b"2"));
        let cases = [(None, "Config Checksum"), (Some(&one), "Ready"), (Some(&other), "Checksum Mismatch")];
        for (committed, expected) in cases {
            assert_eq!(Status::of(&one, committed).to_string(), expected);
        }
    }

    #[test]
    fn a_second_look_at_the_same_file_is_no_news() {
        let mut inventory = Inventory::default();
        let noted = inventory.observe(&key("a.py"), file("1", 1), Some("Added from x by y"), at(1)).unwrap();
        assert_eq!((noted.row.action, noted.row.description.as_str()), (Action::New, "Added from x by y"));
        assert_eq!(inventory.observe(&key("a.py"), file("1", 1), None, at(2)), None);
        // The same bytes, but written anew: somebody did that.
        let noted = inventory.observe(&key("a.py"), file("1", 2), None, at(3)).unwrap();
        assert_eq!((noted.row.action, noted.row.description.as_str()), (Action::Modify, "User action IN_CLOSE_WRITE"));
        assert_eq!(inventory.observe(&key("a.py"), None, None, at(4)).unwrap().row.action, Action::Delete);
        assert_eq!(inventory.observe(&key("a.py"), None, None, at(5)), None);
        assert_eq!(inventory.observe(&key("a.py"), file("1", 3), None, at(6)).unwrap().row.action, Action::New);
    }

    #[test]
    fn history_and_memory_of_the_deleted_are_bounded() {
        let mut inventory = Inventory::default();
        for second in 0..300 {
            inventory.observe(&key("a.py"), file("1", second), None, at(second as i64));
        }
        assert_eq!(inventory.rows().count(), ROWS_PER_SCRIPT_MAX);
        assert_eq!(inventory.rows().last().map(|(_, row)| row.time), Some(at(299)));
        for number in 0..300 {
            let gone = key(&format!("gone{number}.py"));
            inventory.observe(&gone, file("1", 1), None, at(1000 + number));
            inventory.observe(&gone, None, None, at(1000 + number));
        }
        assert_eq!(inventory.keys().count(), 1 + DELETED_REMEMBERED_MAX);
        assert!(inventory.keys().any(|key| key.name.as_str() == "gone299.py"));
        assert!(!inventory.keys().any(|key| key.name.as_str() == "gone99.py"));
    }

    #[test]
    fn a_status_is_told_when_it_turns_and_a_mismatch_with_both_sums() {
        let mut inventory = Inventory::default();
        inventory.observe(&key("a.py"), file("1", 1), None, at(1));
        let (found, expected) = (Sha256::of(b"1"), Sha256::of(b"2"));
        let none = verdicts(&inventory, &Committed::new());
        let wrong = verdicts(&inventory, &Committed::from([(key("a.py"), expected)]));
        assert_eq!(status_events(&none, &none), []);
        assert_eq!(
            status_events(&none, &wrong),
            [
                ScriptEvent::StatusChanged { key: key("a.py"), status: Status::ChecksumMismatch },
                ScriptEvent::ChecksumMismatch { key: key("a.py"), expected, found },
            ]
        );
    }
}
