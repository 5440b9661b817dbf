//! Why the keeper says no, as facts that cross the socket, each with what mends it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::checksum::Sha256;
use crate::container::spec::ContainerName;

#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum KeeperRefusal {
    #[error("container `{name}` is not active: activate it first")]
    NotDefined { name: ContainerName },
    #[error("container `{name}` is active: deactivate it before it is activated anew")]
    AlreadyDefined { name: ContainerName },
    #[error("container `{name}` is being released: try again when it is gone")]
    BeingReleased { name: ContainerName },
    #[error("the definition is not valid: {why}")]
    InvalidSpec { why: String },
    #[error("the definition takes {bytes} bytes, at most {bytes_max} are allowed: shorten arguments or environment")]
    SpecTooLarge { bytes: usize, bytes_max: usize },
    #[error("there are {count} containers, which is the limit: release one first")]
    TooManyContainers { count: usize },
    #[error("`{}` has the checksum {found}, expected is {expected}: configure the new checksum or restore the file", path.display())]
    ChecksumDiffers { path: PathBuf, expected: Sha256, found: Sha256 },
    #[error("`{}` cannot be read ({reason}): put the file in place and try again", path.display())]
    FileUnreadable { path: PathBuf, reason: String },
    #[error("`{}` has {bytes} bytes, at most {bytes_max} are allowed", path.display())]
    FileTooLarge { path: PathBuf, bytes: u64, bytes_max: u64 },
    #[error("there is no account `{user}` on this host: create it or configure another user name")]
    NoSuchAccount { user: String },
    #[error("`{}` cannot be made ({reason}): check the owner and the space of the folder above it", path.display())]
    FolderNotMade { path: PathBuf, reason: String },
    #[error("the console has {count} viewers, which is the limit: detach one first")]
    TooManyViewers { count: usize },
    #[error("{what} has {count} entries, at most {count_max} are allowed")]
    TooMany { what: String, count: usize, count_max: usize },
    #[error("the keeper is busy with {what}: try again in a moment")]
    Busy { what: String },
    #[error("the keeper cannot do this now ({what}: {reason})")]
    System { what: String, reason: String },
    #[error("`{}` is not there: put it in place, or let the start wait for it", path.display())]
    PathMissing { path: PathBuf },
    #[error(
        "what the start needs of the file system did not answer within {seconds} s: is a network file system away?"
    )]
    FilesSlow { seconds: u64 },
    #[error("there is no group `{group}` on this host: create it or configure another")]
    NoSuchGroup { group: String },
    #[error("`{program}` is not a program that can be run ({reason}): give its full path, or install it")]
    NoSuchProgram { program: String, reason: String },
    #[error("container `{name}` does not run: start it first")]
    NotRunning { name: ContainerName },
    #[error("a script behind the checksum gate is not exchanged: deactivate it, and activate it anew")]
    NotExchanged,
    #[error("the test of the configuration has failed ({how}): mend the configuration")]
    TestFailed { how: String },
    #[error("the keeper is shutting down")]
    ShuttingDown,
    #[error("the keeper speaks protocol version {keeper}, asked for was {asked}: install both from one build")]
    Version { keeper: u16, asked: u16 },
    #[error("the connection to the keeper is lost: it is taken up again by itself, try again in a moment")]
    Lost,
    #[error(
        "the keeper has not answered within {seconds} s: `procyon agent --stop` and a new start mend a stuck keeper"
    )]
    NoAnswer { seconds: u64 },
    #[error("the keeper answered something else than was asked: install both from one build")]
    WrongAnswer,
    #[error("`{}` is on a network file system: a log is kept on a local disk, choose another folder", folder.display())]
    LogFarAway { folder: PathBuf },
}
