//! The history on disk, kept in step with the inventory: appended to, and written anew when it has grown old.
//!
//! Trouble with the disk is told in the log and hides nothing: the rows stay in memory.

use tokio::task::spawn_blocking;
use tracing::error;

use super::history::{HistoryLog, to_line};
use super::repository::{Inventory, Noted};

/// Lines that may be superfluous before the file is written anew.
const SURPLUS_LINES_MAX: usize = 2000;

pub(super) struct Ledger {
    /// `None` while it is being written to.
    log: Option<Box<dyn HistoryLog>>,
    lines_written: usize,
}

impl Ledger {
    pub(super) fn new(log: Box<dyn HistoryLog>, lines_written: usize) -> Self {
        Self { log: Some(log), lines_written }
    }

    /// Returns when the rows are on disk, or cannot be.
    pub(super) async fn write(&mut self, noted: &[Noted], inventory: &Inventory) {
        if noted.is_empty() {
            return;
        }
        let Some(mut log) = self.log.take() else { return };
        let lines: Vec<Vec<u8>> = noted.iter().map(|noted| to_line(&noted.key, &noted.row)).collect();
        self.lines_written += lines.len();
        let kept = inventory.rows().count();
        let compacted = (self.lines_written > kept + SURPLUS_LINES_MAX).then(|| {
            self.lines_written = kept;
            inventory.rows().map(|(key, row)| to_line(key, row)).collect::<Vec<_>>()
        });
        let written = spawn_blocking(move || {
            let result = match compacted {
                Some(all) => log.replace(&all),
                None => log.append(&lines),
            };
            (log, result)
        });
        match written.await {
            Ok((log, result)) => {
                self.log = Some(log);
                if let Err(error) = result {
                    error!(%error, "the history of the script repository cannot be written; it is kept in memory only");
                }
            }
            Err(error) => error!(%error, "the history of the script repository is kept in memory until the next start"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sha256;
    use crate::script::docstring::Docstring;
    use crate::script::history::from_line;
    use crate::script::history_file::HistoryFile;
    use crate::script::name::{ScriptKey, ScriptName, ScriptType};
    use crate::script::repository::{FileFacts, Identity};

    #[tokio::test]
    async fn a_file_that_has_grown_old_is_written_anew_and_loses_no_row_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut ledger = Ledger::new(Box::new(HistoryFile::new(&path)), SURPLUS_LINES_MAX);
        let mut inventory = Inventory::default();
        let key = ScriptKey::new(ScriptType::Process, ScriptName::parse("a.py").unwrap());
        for number in 0..300u64 {
            let identity = Identity { inode: number, modified_nanoseconds: 0, size: 1 };
            let facts = FileFacts { sum: Sha256::of(b"1"), identity, docstring: Docstring::default() };
            let now = jiff::Timestamp::from_second(number as i64).unwrap();
            let noted = inventory.observe(&key, Some(facts), None, now);
            ledger.write(&noted.into_iter().collect::<Vec<_>>(), &inventory).await;
        }
        let lines = HistoryFile::new(&path).load().unwrap();
        assert!(lines.len() < 300, "{} lines", lines.len());
        let remembered = Inventory::remember(lines.iter().filter_map(|line| from_line(line)));
        assert!(remembered.rows().eq(inventory.rows()));
    }
}
