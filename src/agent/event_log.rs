//! The file behind the event stream: read at start, then written at once behind what happens, and forced to the disk a little
//! later, many lines at a time: commits want the disk for themselves.
//!
//! A power cut may take the last moments with it; nobody waits for this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::northbound::notifications::log::{EventLog, FILE_BYTES_MAX};
use crate::northbound::notifications::scribe::{Desk, Order, Scribe};
use crate::store::StoreError;
use crate::store::driver::HostDisk;
use crate::store::journal::Journal;

/// Orders that are written together.
const BATCH_MAX: usize = 256;
/// For how long a power cut may take back what is written.
const FORCED_WITHIN: Duration = Duration::from_millis(500);

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
        // When what is written has to be forced.
        let mut due = None;
        loop {
            let work = Work::next(&mut desk.orders, due).await;
            due = match work {
                Work::Write(_) => due.or_else(|| Some(Instant::now() + FORCED_WITHIN)),
                Work::Force => None,
                Work::End => return,
            };
            let done = tokio::task::spawn_blocking(move || {
                let outcome = work.carry_out(&mut journal);
                (journal, outcome)
            });
            let outcome;
            (journal, outcome) = match done.await {
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

enum Work {
    Write(Vec<Order>),
    Force,
    End,
}

impl Work {
    async fn next(orders: &mut mpsc::Receiver<Order>, due: Option<Instant>) -> Self {
        if due.is_some_and(|due| due <= Instant::now()) {
            return Self::Force;
        }
        let mut batch = Vec::new();
        let received = orders.recv_many(&mut batch, BATCH_MAX);
        let count = match due {
            Some(due) => timeout_at(due, received).await.unwrap_or(0),
            None => received.await,
        };
        match (count, due) {
            (0, Some(_)) => Self::Force,
            (0, None) => Self::End,
            _ => Self::Write(batch),
        }
    }

    fn carry_out(self, journal: &mut Journal) -> Result<(), StoreError> {
        let batch = match self {
            Self::Write(batch) => batch,
            Self::Force => return journal.force(),
            Self::End => return Ok(()),
        };
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
        journal.write_all(lines.iter().map(String::as_str)).map(|_| ())
    }
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
        Work::Write(batch).carry_out(&mut journal).unwrap();
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
