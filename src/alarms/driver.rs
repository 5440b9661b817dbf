//! Writes alarms down behind what happens: whoever raises one does not wait for the disk. A killed agent may lose the
//! last moments.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::list::Alarms;
use super::provider::Desk;
use super::record::Record;
use crate::store::StoreError;
use crate::store::journal::Journal;
use crate::yang::value::Element;

/// Holds all that can be kept, with room for what happens until it is written anew.
pub const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// From this size on the journal is written anew with what still counts.
const REWRITE_BYTES: u64 = 4 * 1024 * 1024;
/// Records that wait for the disk; beyond, all is written anew when it takes something again.
const UNWRITTEN_MAX: usize = 4096;
/// Between two tries at a disk that refuses.
const AGAIN: Duration = Duration::from_secs(5);
/// Notifications on their way to the northbound.
const TOLD_WAITING_MAX: usize = 256;

/// The alarms, and what of them is not on disk yet.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    alarms: Alarms,
    /// The journal lacks something.
    is_behind: bool,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Alarms) -> T) -> T {
        let mut state = self.lock();
        let outcome = act(&mut state.alarms);
        if state.alarms.news_waiting() > UNWRITTEN_MAX {
            state.alarms.take_news();
            state.is_behind = true;
        }
        if state.is_behind || state.alarms.news_waiting() > 0 {
            self.changed.notify_one();
        }
        outcome
    }

    fn next(&self, wants_whole: bool) -> Todo {
        let mut state = self.lock();
        let news = state.alarms.take_news();
        if wants_whole || std::mem::take(&mut state.is_behind) {
            return Todo::Whole(state.alarms.records().filter_map(|record| record.line()).collect());
        }
        Todo::Append(news.iter().filter_map(Record::line).collect())
    }

    fn fell_behind(&self) {
        self.lock().is_behind = true;
    }
}

enum Todo {
    Append(Vec<String>),
    Whole(Vec<String>),
}

/// What the composition root gets.
pub struct Opened {
    pub desk: Desk,
    pub writer: Writer,
    /// Notifications of what operators do.
    pub told: mpsc::Receiver<Element>,
}

/// With the lines that the journal held at start.
pub fn open(journal: Journal, recorded: &[String]) -> Opened {
    let records = recorded.iter().filter_map(|line| {
        let record = Record::parse(line);
        if record.is_none() {
            error!(line, "a line of the alarms' journal is not understood, and left out");
        }
        record
    });
    let state = State { alarms: Alarms::recalled(records), is_behind: false };
    let kept = Kept { state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) };
    let (teller, told) = mpsc::channel(TOLD_WAITING_MAX);
    let bytes = recorded.iter().map(|line| line.len() as u64).sum();
    Opened { desk: Desk::new(kept.clone(), teller), writer: Writer { kept, journal, bytes }, told }
}

pub struct Writer {
    kept: Kept,
    journal: Journal,
    /// About what the journal takes.
    bytes: u64,
}

impl Writer {
    /// Until `stop`; then what there is left is written.
    pub async fn run(self, stop: CancellationToken) {
        let Self { kept, mut journal, mut bytes } = self;
        loop {
            let is_last = tokio::select! {
                () = kept.changed.notified() => false,
                () = stop.cancelled() => true,
            };
            let todo = kept.next(bytes > REWRITE_BYTES);
            let written = tokio::task::spawn_blocking(move || {
                let outcome = write(&mut journal, &todo, &mut bytes);
                (journal, bytes, outcome)
            })
            .await;
            let outcome = match written {
                Ok((same, sum, outcome)) => {
                    (journal, bytes) = (same, sum);
                    outcome
                }
                Err(trouble) => return error!(%trouble, "alarms are not written down any more"),
            };
            if let Err(trouble) = outcome {
                error!(%trouble, "alarms could not be written down: a restart of the agent may not know of them");
                kept.fell_behind();
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => kept.changed.notify_one(),
                    () = stop.cancelled() => return,
                }
            }
            if is_last {
                return;
            }
        }
    }
}

fn write(journal: &mut Journal, todo: &Todo, bytes: &mut u64) -> Result<(), StoreError> {
    let sum = |lines: &[String]| lines.iter().map(|line| line.len() as u64).sum::<u64>();
    match todo {
        Todo::Append(lines) => {
            journal.append_all(lines.iter().map(String::as_str))?;
            *bytes += sum(lines);
        }
        Todo::Whole(lines) => {
            journal.compact(lines.iter().map(String::as_str))?;
            // What is needed at least does not count: else it would be written anew each time.
            *bytes = 0;
        }
    }
    Ok(())
}
