//! What the keeper hands over for safe keeping, so that its successor goes on where it was.
//!
//! One deposit a container: a [`Record`] and the descriptors it lists, renewed at each change and before each exec.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checksum::Sha256;
use crate::container::checkpoint::Checkpoint;
use crate::container::machine::{ExitStatus, RunId};
use crate::container::spec::ContainerSpec;
pub use crate::keeper::deposit::Deposited;
use crate::keeper::protocol::Asker;

const KEY_PREFIX: &str = "container ";

/// What each descriptor of a deposit is, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    OutputRead,
    OutputWrite,
    ErrorsRead,
    ErrorsWrite,
    TerminalMaster,
    Script,
    Checksums,
    /// The memfd into which the child writes its process id before exec.
    RunRecord,
    Door,
    Pidfd,
    /// What the console has shown last, and how far the logs are.
    Tape,
    /// In the order of the console's listeners.
    ConsoleListener,
    ReadyPipe,
    Notify,
    Daemon,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub spec: ContainerSpec,
    pub expected: Option<Sha256>,
    pub frozen: Option<Sha256>,
    pub checkpoint: Checkpoint,
    /// On the monotonic clock, which outlives the process.
    pub taken_at_ms: u64,
    pub defined_unix_ms: u64,
    /// Its place in the order of starts.
    pub place: u64,
    pub run: Option<RunFacts>,
    pub last: Option<LastRun>,
    pub output_bytes: u64,
    pub input_bytes: u64,
    pub asked: Option<Asker>,
    /// Which listeners of its console are open; their descriptors come in this order.
    pub open_listeners: Vec<u8>,
    pub by_permit: bool,
    /// Process id and start time of the daemon that the start command has left.
    pub daemon: Option<(i32, u64)>,
    pub roles: Vec<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    pub run: RunId,
    pub started_unix_ms: u64,
    pub is_ready: bool,
    pub ready_in: Option<Duration>,
    pub outdated: bool,
    pub uid: u32,
    pub is_deaf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    pub run: RunId,
    pub started_unix_ms: u64,
    pub ended_unix_ms: u64,
    pub exit: ExitStatus,
}

pub fn key(name: &crate::container::spec::ContainerName) -> String {
    format!("{KEY_PREFIX}{name}")
}

pub fn is_container(key: &str) -> bool {
    key.starts_with(KEY_PREFIX)
}
