//! What others hold of the repository: a view that is always current, and a way to ask for changes.
//!
//! Reading never waits: the driver publishes the inventory after each change, commits publish the checksums. Knows no
//! folder watch and no network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::fetch::FetchError;
use super::name::{ScriptKey, ScriptName, ScriptType};
use super::plan::{RepositoryError, Requested};
use super::repository::{Committed, Inventory, Status};
use super::shelves::{Layout, ShelfError};
use super::source::{Source, SourceError};
use crate::checksum::Sha256;

/// Changes that wait for the driver; who finds the queue full waits its turn.
pub const CHANGES_WAITING_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Add,
    /// What is on the shelf with the same bytes already stays as it is.
    Update,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest {
    pub manner: Manner,
    pub script_type: ScriptType,
    pub source: Source,
    pub scripts: Vec<Requested>,
    /// Who asks, for the history.
    pub user: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveRequest {
    pub script_type: ScriptType,
    pub names: Vec<ScriptName>,
    pub user: String,
}

/// Why one script of a call cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum ScriptProblem {
    #[error("checksum of `{name}` is wrong: expected {expected}, found {found}")]
    WrongChecksum { name: ScriptName, expected: Sha256, found: Sha256 },
    #[error("`{name}` cannot be fetched: {source}")]
    Fetch { name: ScriptName, source: FetchError },
}

#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Refused(#[from] RepositoryError),
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Scripts { problems: Vec<ScriptProblem> },
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("{key} is being changed by another request; try again when that is done")]
    Busy { key: ScriptKey },
    #[error("{running} adds are running; try again when one is done")]
    TooManyAdds { running: usize },
    #[error("the agent is shutting down; try again when it serves")]
    Stopping,
}

#[derive(Debug)]
pub(super) enum Command {
    Add { request: AddRequest, reply: Reply },
    Remove { request: RemoveRequest, reply: Reply },
}

pub(super) type Reply = oneshot::Sender<Result<(), ChangeError>>;

/// What is known of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub status: Status,
    /// Of the file on the shelf.
    pub found: Sha256,
    pub committed: Option<Sha256>,
    pub size: u64,
    pub description: Option<String>,
    pub arguments: Option<String>,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) layout: Arc<Layout>,
    pub(super) harddisk: Arc<PathBuf>,
    pub(super) inventory: watch::Receiver<Arc<Inventory>>,
    /// `None` until the first commit is applied.
    pub(super) committed: Arc<watch::Sender<Option<Arc<Committed>>>>,
    pub(super) commands: mpsc::Sender<Command>,
}

impl Handle {
    /// The committed checksums of one type of scripts.
    pub fn checksums(&self, script_type: ScriptType) -> BTreeMap<ScriptName, Sha256> {
        let committed = self.committed();
        let of_type = committed.iter().filter(|(key, _)| key.script_type == script_type);
        of_type.map(|(key, sum)| (key.name.clone(), *sum)).collect()
    }

    /// The checksum that is committed for one script.
    pub fn checksum(&self, key: &ScriptKey) -> Option<Sha256> {
        self.committed().get(key).copied()
    }

    /// Where the script is, or would be.
    pub fn path_of(&self, script_type: ScriptType, name: &ScriptName) -> PathBuf {
        self.layout.path_of(&ScriptKey::new(script_type, name.clone()))
    }

    /// The same as users of the device know it: `/harddisk:/mirror/script-mgmt/process/x.py`.
    pub fn device_path_of(&self, script_type: ScriptType, name: &ScriptName) -> String {
        Layout::device_path_of(&ScriptKey::new(script_type, name.clone()))
    }

    /// `None` for a script that is not there.
    pub fn describe(&self, script_type: ScriptType, name: &ScriptName) -> Option<Description> {
        let key = ScriptKey::new(script_type, name.clone());
        let inventory = self.inventory();
        let file = inventory.file(&key)?;
        let committed = self.checksum(&key);
        Some(Description {
            status: Status::of(&file.sum, committed.as_ref()),
            found: file.sum,
            committed,
            size: file.identity.size,
            description: file.docstring.description.clone(),
            arguments: file.docstring.arguments.clone(),
        })
    }

    /// Everything on the shelves, as it is now.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.inventory.borrow().clone()
    }

    /// Tells of every change of the shelves.
    pub fn watch(&self) -> watch::Receiver<Arc<Inventory>> {
        self.inventory.clone()
    }

    pub fn committed(&self) -> Arc<Committed> {
        self.committed.borrow().clone().unwrap_or_default()
    }

    /// A commit has made these the checksums.
    pub fn commit(&self, committed: Committed) {
        self.committed.send_replace(Some(Arc::new(committed)));
    }

    pub fn parse_source(&self, text: &str) -> Result<Source, SourceError> {
        Source::parse(text, &self.harddisk)
    }

    /// Adds all scripts or none.
    pub async fn add(&self, request: AddRequest) -> Result<(), ChangeError> {
        self.ask(|reply| Command::Add { request, reply }).await
    }

    /// Removes all scripts or none.
    pub async fn remove(&self, request: RemoveRequest) -> Result<(), ChangeError> {
        self.ask(|reply| Command::Remove { request, reply }).await
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ChangeError::Stopping)?;
        answer.await.map_err(|_| ChangeError::Stopping)?
    }
}
