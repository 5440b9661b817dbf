//! What a container wants around its program: groups, priority, folders made for it, paths that must be there, a way to
//! say that it is ready, and how much of the host it may use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::InvalidSpec;

pub const FOLDERS_MAX: usize = 16;
pub const REQUIRED_PATHS_MAX: usize = 16;
pub const GROUPS_MAX: usize = 32;
/// Descriptor numbers that a program may be promised. The keeper keeps these for itself from its start, so that none of
/// them ever means something else in a child.
pub const READY_NUMBERS: std::ops::RangeInclusive<i32> = 3..=9;

/// Made before each start if it is missing; owner and mode are set then, and left alone where it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    pub path: PathBuf,
    /// `None` is the account that the program runs as.
    pub owner: Option<String>,
    pub group: Option<String>,
    pub mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenMissing {
    /// The start waits for it, however long that takes.
    Await,
    /// The start fails, which the restart policy counts.
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredPath {
    pub path: PathBuf,
    pub when_missing: WhenMissing,
}

/// How a program says that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Readiness {
    /// Not at all: it counts as ready when it runs.
    #[default]
    WhenRunning,
    /// `READY=1` to the socket of `NOTIFY_SOCKET`, as `sd_notify` does.
    Notify,
    /// A newline on the descriptor of this number.
    Newline { number: i32 },
}

/// Rows and columns of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub rows: u16,
    pub columns: u16,
}

/// Of the container as a whole, where it has a cgroup with these controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    pub memory_bytes: Option<u64>,
    pub processes: Option<u64>,
    /// Of one processor: 200 is two of them.
    pub cpu_percent: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provision {
    /// In place of the account's own.
    pub group: Option<String>,
    /// Beside those of the account.
    pub groups: Vec<String>,
    pub nice: Option<i32>,
    pub window: Option<Window>,
    pub folders: Vec<Folder>,
    pub required: Vec<RequiredPath>,
    pub readiness: Readiness,
    /// A program that is not ready by then is killed, which counts as a failure.
    pub ready_timeout: Option<Duration>,
    /// Once it is ready it says `WATCHDOG=1` at least so often; one that does not is aborted, then killed.
    pub watchdog: Option<Duration>,
    pub resources: Resources,
}

impl Provision {
    pub(super) fn check(&self) -> Result<(), InvalidSpec> {
        let too_many = |what: &'static str, count: usize, count_max: usize| match count > count_max {
            true => Err(InvalidSpec::TooMany { what, count, count_max }),
            false => Ok(()),
        };
        too_many("folders", self.folders.len(), FOLDERS_MAX)?;
        too_many("required paths", self.required.len(), REQUIRED_PATHS_MAX)?;
        too_many("groups", self.groups.len(), GROUPS_MAX)?;
        self.folders.iter().try_for_each(|folder| plain("a folder", &folder.path))?;
        self.required.iter().try_for_each(|required| plain("a required path", &required.path))?;
        match self.readiness {
            Readiness::Newline { number } if !READY_NUMBERS.contains(&number) => {
                Err(InvalidSpec::NoReadyNumber { number })
            }
            Readiness::Newline { .. } | Readiness::WhenRunning if self.watchdog.is_some() => {
                Err(InvalidSpec::NoWatchdog)
            }
            Readiness::Newline { .. } | Readiness::Notify | Readiness::WhenRunning => Ok(()),
        }
    }
}

/// Absolute, without NUL.
pub(super) fn plain(what: &'static str, path: &Path) -> Result<(), InvalidSpec> {
    if !path.is_absolute() {
        return Err(InvalidSpec::RelativePath { what, path: path.to_owned() });
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(InvalidSpec::NulCharacter { what });
    }
    Ok(())
}
