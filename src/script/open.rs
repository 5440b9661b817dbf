//! How the repository's task comes to be: with a prepared folder, its history read and every script looked at.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tracing::warn;

use super::{Driver, EVENTS_WAITING_MAX, RESCAN_INTERVAL};
use crate::script::fetch::{FetchLimits, Fetcher};
use crate::script::handle::{CHANGES_WAITING_MAX, Handle};
use crate::script::history::{HistoryLog, from_line};
use crate::script::ledger::Ledger;
use crate::script::repository::{Inventory, ScriptEvent};
use crate::script::shelves::{Layout, ShelfError};
use crate::script::watching::Watching;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The real folder behind `harddisk:/`.
    pub harddisk: PathBuf,
    pub limits: FetchLimits,
    /// Certificates (PEM) that https trusts beside the system's.
    pub extra_certificates: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("cannot watch the script repository: {0}; raise fs.inotify.max_user_instances if it is used up")]
    Watch(#[source] std::io::Error),
    #[error("cannot read the history of the script repository: {0}")]
    History(#[source] std::io::Error),
    #[error("a task of the script repository was cancelled")]
    Cancelled,
}

/// Opens the repository: folders made, half-done changes undone, every script looked at.
pub async fn open(
    settings: Settings,
    mut history: Box<dyn HistoryLog>,
) -> Result<(Handle, Driver, mpsc::Receiver<ScriptEvent>), OpenError> {
    let layout = Arc::new(Layout::new(&settings.harddisk));
    let prepared = layout.clone();
    let (lines, history) = spawn_blocking(move || {
        prepared.prepare()?;
        let lines = history.load().map_err(OpenError::History)?;
        Ok::<_, OpenError>((lines, history))
    })
    .await
    .map_err(|_| OpenError::Cancelled)??;
    let rows: Vec<_> = lines.iter().filter_map(|line| from_line(line)).collect();
    if rows.len() < lines.len() {
        warn!(lines = lines.len() - rows.len(), "damaged lines in the history of the script repository are left out");
    }
    let inventory = Inventory::remember(rows);
    let (published, inventory_view) = watch::channel(Arc::new(inventory.clone()));
    let (committed_sender, committed) = watch::channel(None);
    let (command_sender, commands) = mpsc::channel(CHANGES_WAITING_MAX);
    let (events, event_receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let handle = Handle {
        layout: layout.clone(),
        harddisk: Arc::new(settings.harddisk.clone()),
        inventory: inventory_view,
        committed: Arc::new(committed_sender),
        commands: command_sender,
    };
    let fetcher = Fetcher {
        limits: settings.limits,
        harddisk: settings.harddisk,
        extra_certificates: settings.extra_certificates,
    };
    let mut driver = Driver {
        layout,
        fetcher: Arc::new(fetcher),
        inventory,
        published,
        committed,
        told: None,
        commands,
        events,
        ledger: Ledger::new(history, lines.len()),
        watching: Some(Watching::start().map_err(OpenError::Watch)?),
        jobs: JoinSet::new(),
        adds_running: 0,
        batches_opened: 0,
        claimed: BTreeSet::new(),
        dirty: BTreeSet::new(),
        rescan_wanted: true,
        is_looking: false,
        changed_while_looking: BTreeSet::new(),
        unmended: BTreeSet::new(),
        complaints: BTreeSet::new(),
        next_check: tokio::time::Instant::now() + RESCAN_INTERVAL,
        stopping: Arc::new(AtomicBool::new(false)),
    };
    // The watch comes first, so that what happens during the scan is seen by one of the two.
    driver.mend_shelves();
    driver.look();
    while driver.is_looking {
        let done = driver.jobs.join_next().await.and_then(Result::ok).ok_or(OpenError::Cancelled)?;
        driver.on_done(done).await;
    }
    Ok((handle, driver, event_receiver))
}
