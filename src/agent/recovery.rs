//! Running, as the disk knows it: the newest snapshot and the commits behind it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tracing::{info, warn};

use crate::northbound::Refusal;
use crate::store::commits::{CommitStore, Limits};
use crate::store::driver::HostDisk;
use crate::yang::diff::Diff;
use crate::yang::schema::Schema;
use crate::yang::tree::Tree;

pub struct Recovery {
    pub schema: &'static Schema,
    /// Where commits and snapshots are.
    pub config: PathBuf,
    /// The first configuration, committed when there is no commit yet.
    pub initial: PathBuf,
}

pub struct Recovered {
    pub running: Tree,
    pub commits: CommitStore,
    pub initial: Option<Tree>,
}

impl Recovery {
    pub fn run(self) -> anyhow::Result<Recovered> {
        let Self { schema, config, initial } = self;
        let (commits, found) = CommitStore::open(Arc::new(HostDisk), config.clone(), Limits::default())
            .with_context(|| format!("the commits in {} cannot be read", config.display()))?;
        for torn in &found.torn {
            warn!(file = %torn.display(), "a commit that was never acknowledged was set aside");
        }
        let is_new = found.snapshot.is_none() && found.commits.is_empty();
        let mut running = match &found.snapshot {
            Some((_, bytes)) => Tree::parse_stored(schema, bytes).map_err(|refusal| said("the snapshot", &[refusal]))?,
            None => Tree::new(schema),
        };
        for commit in &found.commits {
            let what = format!("commit {}", commit.id);
            Diff::parse(schema, &commit.diff)
                .and_then(|diff| diff.apply_to_written(&mut running))
                .map_err(|refusal| said(&what, &[refusal]))?;
        }
        running.validate_config().map_err(|refusals| said("the recovered configuration", &refusals))?;
        info!(commits = found.commits.len(), "running recovered");
        let initial = if is_new { read_initial(schema, &initial)? } else { None };
        Ok(Recovered { running, commits, initial })
    }
}

fn read_initial(schema: &'static Schema, path: &PathBuf) -> anyhow::Result<Option<Tree>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    Tree::parse_config(schema, &bytes).map(Some).map_err(|refusals| said(&path.display().to_string(), &refusals))
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
