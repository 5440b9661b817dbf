//! A journal beside a driver that must not wait for a disk: each record is forced on a thread of its own.
//!
//! What could not be written is made good with the next record, from all that still counts. Must not know: what the lines
//! mean.

use tokio::task::spawn_blocking;

use crate::store::StoreError;
use crate::store::journal::Journal;

/// Why a restart may not know of what was to be recorded.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the thread that writes the journal has failed; restart the agent")]
    NoWriter,
}

#[derive(Debug)]
pub struct Recorder {
    /// `None` while it is being written to, and when the writer has failed.
    journal: Option<Journal>,
    lacks_something: bool,
}

impl Recorder {
    pub fn new(journal: Journal) -> Self {
        Self { journal: Some(journal), lacks_something: false }
    }

    /// Whether what was recorded last is not on disk.
    pub fn lacks_something(&self) -> bool {
        self.lacks_something
    }

    /// Returns when the lines are on disk. Where the journal is full, or lacks something, it is written anew: with `all` that
    /// counts, these lines included.
    ///
    /// # Errors
    /// What the disk says. The next record tries again.
    pub async fn record(&mut self, lines: Vec<String>, all: impl FnOnce() -> Vec<String>) -> Result<(), Unrecorded> {
        let mut journal = self.journal.take().ok_or(Unrecorded::NoWriter)?;
        let all = (self.lacks_something || journal.wants_compaction()).then(all);
        self.lacks_something = true;
        let written = spawn_blocking(move || {
            let outcome = match all {
                Some(all) => journal.compact(all.iter().map(String::as_str)),
                None => journal.append_all(lines.iter().map(String::as_str)),
            };
            (journal, outcome)
        });
        let (journal, outcome) = written.await.map_err(|_| Unrecorded::NoWriter)?;
        self.journal = Some(journal);
        self.lacks_something = outcome.is_err();
        Ok(outcome?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::store::disk::Disk;
    use crate::store::disk::simulated::Simulated;

    const BYTES_MAX: u64 = 200;

    fn open(disk: &Arc<Simulated>) -> (Journal, Vec<String>) {
        Journal::open(Arc::clone(disk) as Arc<dyn Disk>, PathBuf::from("/state/journal"), BYTES_MAX).unwrap()
    }

    #[tokio::test]
    async fn what_the_disk_did_not_take_is_made_good_with_the_next_record() {
        let disk = Arc::new(Simulated::default());
        let mut recorder = Recorder::new(open(&disk).0);
        recorder.record(vec!["one".into()], || panic!("there is room")).await.unwrap();
        disk.fill_after(3);
        recorder.record(vec!["two".into()], Vec::new).await.unwrap_err();
        assert!(recorder.lacks_something());
        disk.fill_after(1000);
        let all = || vec!["one".into(), "two".into(), "three".into()];
        recorder.record(vec!["three".into()], all).await.unwrap();
        assert!(!recorder.lacks_something());
        assert_eq!(open(&disk).1, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_full_journal_is_written_anew_with_what_counts() {
        let disk = Arc::new(Simulated::default());
        let mut recorder = Recorder::new(open(&disk).0);
        for turn in 0..100 {
            let line = || format!("state {turn}");
            recorder.record(vec![line()], || vec![line()]).await.unwrap();
        }
        let lines = open(&disk).1;
        assert_eq!(lines.last().map(String::as_str), Some("state 99"));
        assert!(lines.len() < 20, "{lines:?}");
    }
}
