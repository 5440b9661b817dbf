//! Durable bytes: the commit history with its snapshots, and journals. Knows no YANG.
//!
//! ```text
//!  config/commits/1000000001     one file a commit: header, change, checksum; written once, never changed
//!  config/commits/1000000002-1000000005      commits that waited together: one file, one fsync
//!  config/snapshot-1000000001    running as it was after that commit
//!
//!  recovery = the newest sound snapshot + the commits after it
//! ```
//! What was acknowledged is on disk: a file is written beside, forced to disk, renamed, and its directory forced too. A
//! file whose force failed is never used again, for the kernel may have dropped what it held.

pub mod commits;
pub mod disk;
pub mod driver;
pub mod journal;
mod names;
pub mod note;
pub mod record;

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}; is the disk full, read-only or failing?")]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is damaged: {reason}; restore it from a backup, or move it and all later commits away")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} begins with `{found}`, a form that this version does not read; start the version that wrote it")]
    OtherForm { path: PathBuf, found: String },
    #[error("{path} is missing from the commit history; restore it from a backup, or move all later commits away")]
    Missing { path: PathBuf },
    #[error("{path} could not be forced to disk before and is not used again; restart the agent")]
    NotTrusted { path: PathBuf },
    #[error("{path} is full: {bytes_max} bytes is its limit")]
    Full { path: PathBuf, bytes_max: u64 },
}

impl StoreError {
    fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { path, source }
    }
}
