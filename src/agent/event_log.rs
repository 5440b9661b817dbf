//! The file behind the event stream: read at start, then written behind what happens, many lines with one fsync.
//!
//! A power cut may take the last moments with it; nobody waits for this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::northbound::notifications::log::{EventLog, FILE_BYTES_MAX};
use crate::northbound::notifications::scribe::{Desk, Order, Scribe};
use crate::store::StoreError;
use crate::store::driver::HostDisk;
use crate::store::journal::Journal;

/// Orders that share an fsync.
const BATCH_MAX: usize = 256;

pub(super) struct Opened {
    pub log: EventLog,
    pub scribe: Scribe,
    pub writer: Writer,
}

/// Reads the log. One that is damaged is set aside: the past is worth less than a start.
pub(super) fn open(path: &Path) -> anyhow::Result<Opened> {
    let (journal, lines) = match journal(path) {
        Err(StoreError::Damaged { reason, .. }) => {
            let aside = path.with_extension("damaged");
            warn!(file = %path.display(), aside = %aside.display(), %reason, "the event log is damaged, and begun anew");
            std::fs::rename(path, &aside).with_context(|| format!("{} cannot be set aside", path.display()))?;
            journal(path)
        }
        opened => opened,
    }
    .context("the event log cannot be opened")?;
    let (log, unknown) = EventLog::read(&lines, super::news::now());
    if unknown > 0 {
        warn!(lines = unknown, "lines of the event log are not understood, and left out");
    }
    let (scribe, desk) = Scribe::new(&lines, unknown == 0);
    Ok(Opened { log, scribe, writer: Writer { journal, desk } })
}

fn journal(path: &Path) -> Result<(Journal, Vec<String>), StoreError> {
    Journal::open(Arc::new(HostDisk), PathBuf::from(path), FILE_BYTES_MAX)
}

pub(super) struct Writer {
    journal: Journal,
    desk: Desk,
}

impl Writer {
    /// Writes until the northbound is gone and everything it gave is written.
    pub(super) async fn run(self) {
        let Self { mut journal, mut desk } = self;
        let mut had_trouble = false;
        loop {
            let mut batch = Vec::new();
            if desk.orders.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            let written = tokio::task::spawn_blocking(move || {
                let outcome = carry_out(&mut journal, batch);
                (journal, outcome)
            });
            let outcome;
            (journal, outcome) = match written.await {
                Ok(done) => done,
                Err(trouble) => return error!(%trouble, "the writer of the event log failed"),
            };
            match outcome {
                Ok(()) if had_trouble => info!("the event log is written again"),
                Ok(()) => {}
                Err(trouble) => {
                    desk.is_in_trouble.store(true, Ordering::Relaxed);
                    if !had_trouble {
                        error!(%trouble, "events are not logged: they cannot be replayed after a restart");
                    }
                    had_trouble = true;
                    continue;
                }
            }
            had_trouble = false;
        }
    }
}

fn carry_out(journal: &mut Journal, batch: Vec<Order>) -> Result<(), StoreError> {
    let mut lines = Vec::new();
    for order in batch {
        match order {
            Order::Append(line) => lines.push(line),
            Order::Rewrite(all) => {
                // They hold what was to be appended before.
                lines.clear();
                journal.compact(all.iter().map(String::as_str))?;
            }
        }
    }
    journal.append_all(lines.iter().map(String::as_str))
}

/// Where the log is, below the agent's own state.
pub(super) fn file(state: &Path) -> PathBuf {
    state.join("notifications.journal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::mailbox::Notice;
    use crate::northbound::notifications::log::line;

    #[test]
    fn a_rewrite_replaces_what_was_waiting_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let (mut journal, _) = super::journal(&path).unwrap();
        let line = |text: &str| Order::Append(text.to_owned());
        let batch = vec![line("a"), Order::Rewrite(vec!["b".to_owned()]), line("c")];
        carry_out(&mut journal, batch).unwrap();
        assert_eq!(super::journal(&path).unwrap().1, ["b", "c"]);
    }

    #[tokio::test]
    async fn what_the_disk_did_not_take_is_written_when_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let path = file(&state);
        let Opened { mut log, mut scribe, writer } = open(&path).unwrap();
        let is_in_trouble = Arc::clone(&writer.desk.is_in_trouble);
        let writing = tokio::spawn(writer.run());
        std::fs::remove_dir_all(&state).unwrap();
        let mut happen = |name: &str| {
            let (module, body) = ("m".to_owned(), "<n/>".into());
            let notice = Arc::new(Notice { at: crate::agent::news::now(), module, name: name.to_owned(), body });
            log.add(Arc::clone(&notice));
            scribe.keep(line(&notice), &log);
        };
        happen("first");
        let noticed = async {
            while !is_in_trouble.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), noticed).await.unwrap();
        happen("second");
        std::fs::create_dir(&state).unwrap();
        scribe.finish(&log);
        drop(scribe);
        writing.await.unwrap();
        assert_eq!(open(&path).unwrap().log.lines(), log.lines());
    }

    #[test]
    fn a_damaged_log_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        journal(&path).unwrap().0.append_all(["one", "two"]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(open(&path).unwrap().log.lines().len(), 1);
        assert!(path.with_extension("damaged").exists());
    }
}
