//! Running, as the disk knows it: the newest snapshot and the commits behind it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tracing::{info, warn};

use crate::datastore::recovery::{self, NotPlaced};
use crate::init;
use crate::northbound::{LeftOut, Refusal};
use crate::settings::Layout;
use crate::store::commits::{CommitStore, Limits};
use crate::store::driver::HostDisk;
use crate::yang::schema::Schema;
use crate::yang::tree::Tree;

/// A snapshot reads all that is stored: taken more often it would cost more than it saves.
const COMMITS_BETWEEN_SNAPSHOTS_MIN: u64 = 100;

/// All of them are told as operational data.
const NOT_PLACED_LOGGED_MAX: usize = 100;

pub(super) struct Recovery {
    pub schema: &'static Schema,
    /// Where commits and snapshots are.
    pub config: PathBuf,
    pub layout: Layout,
    /// How many commits are kept to go back to: what is older can go only when a snapshot stands after it.
    pub commits_kept: usize,
}

pub(super) struct Recovered {
    pub running: Tree,
    pub commits: CommitStore,
    pub initial: Option<Tree>,
    pub not_placed: Option<LeftOut>,
}

impl Recovery {
    pub(super) fn run(self) -> anyhow::Result<Recovered> {
        let Self { schema, config, layout, commits_kept } = self;
        let mut limits = Limits::default();
        let kept = u64::try_from(commits_kept).unwrap_or(u64::MAX);
        limits.commits_between_snapshots = kept.clamp(COMMITS_BETWEEN_SNAPSHOTS_MIN, limits.commits_between_snapshots);
        let (commits, found) = CommitStore::open(Arc::new(HostDisk), config.clone(), limits)
            .with_context(|| format!("the commits in {} cannot be read", config.display()))?;
        for torn in &found.torn {
            warn!(file = %torn.display(), "a commit that was never acknowledged was set aside");
        }
        let is_new = found.snapshot.is_none() && found.commits.is_empty();
        let records: Vec<&[u8]> = found.commits.iter().map(|commit| commit.diff.as_slice()).collect();
        let snapshot = found.snapshot.as_ref().map(|(_, bytes)| bytes.as_slice());
        let recovery::Recovered { tree: running, not_placed } = recovery::recover(schema, snapshot, &records)
            .map_err(|refusals| said("the recovered configuration", &refusals))?;
        let not_placed = tell(not_placed, &commits)?;
        info!(commits = found.commits.len(), "running recovered");
        let initial = if is_new { read_initial(schema, &layout)? } else { None };
        Ok(Recovered { running, commits, initial, not_placed })
    }
}

/// Says what the modules have no place for, and keeps the files that hold it.
fn tell(not_placed: Vec<NotPlaced>, commits: &CommitStore) -> anyhow::Result<Option<LeftOut>> {
    if not_placed.is_empty() {
        return Ok(None);
    }
    let kept_in = commits.keep_original().context("what does not fit the modules cannot be kept")?;
    for NotPlaced { path, reason } in not_placed.iter().take(NOT_PLACED_LOGGED_MAX) {
        warn!(path, reason, "stored configuration has no place in the modules");
    }
    warn!(
        count = not_placed.len(),
        kept_in = %kept_in.display(),
        "configuration was left out; it is there again when the agent is started with the modules that it was written with"
    );
    Ok(Some(LeftOut { nodes: not_placed, kept_in }))
}

/// The first configuration, committed when there is no commit yet.
fn read_initial(schema: &'static Schema, layout: &Layout) -> anyhow::Result<Option<Tree>> {
    let Some(fragment) = init::read_initial(layout)? else { return Ok(None) };
    let path = layout.initial_config();
    Tree::parse_config(schema, &fragment.0).map(Some).map_err(|refusals| said(&path.display().to_string(), &refusals))
}

fn said(what: &str, refusals: &[Refusal]) -> anyhow::Error {
    let all: Vec<String> = refusals
        .iter()
        .map(|refusal| match &refusal.path {
            Some(path) => format!("{path}: {refusal}"),
            None => refusal.to_string(),
        })
        .collect();
    anyhow::anyhow!("{what} does not fit the modules: {}", all.join("; "))
}
