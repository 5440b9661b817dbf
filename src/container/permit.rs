//! What is left with the keeper for a program whose starts somebody above permits one by one: how it is tested, found and
//! ended while nobody is there to ask.
//!
//! ```text
//!            its floor is away for 5 s
//!  ended ---------------------------> cleared -> waits -> test -> start -> (daemon)
//!    ^                                 |  the next of the delays     |
//!    +---------------------------------+---- fails, or ends again ---+
//! ```
//! The delays and the paths that a start awaits are those of the definition (`rules.delays`, `provision.required`).
//! Somebody above who comes back finds it running, or as it ended: what is under way by then is called off.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::provision::plain;
use super::spec::InvalidSpec;

/// No command of a permit may take longer.
pub const LIMIT_MAX: Duration = Duration::from_secs(3600);

/// A command beside the program, run as a member of its container; what it prints goes into the container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    /// `None` is the keeper's own account.
    pub user: Option<String>,
    /// One that takes longer is killed, which is a failure.
    pub limit: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Must succeed before a start that nobody above has ordered.
    pub test: Option<Helper>,
    /// Ends the program when the whole house is ended. If it fails or takes too long, the stop signal does.
    pub stop: Option<Helper>,
    /// Between the stop signal and the kill, then.
    pub kill_after: Duration,
    /// The program ends with success and leaves a daemon, which this file names.
    pub daemon: Option<Daemon>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    pub pid_file: PathBuf,
    /// A daemon that is not named by then has failed to start.
    pub within: Duration,
}

impl Permit {
    pub(super) fn check(&self) -> Result<(), InvalidSpec> {
        for helper in self.test.iter().chain(&self.stop) {
            if helper.argv.first().is_none_or(String::is_empty) {
                return Err(InvalidSpec::EmptyCommand);
            }
            if helper.argv.iter().any(|word| word.contains('\0')) {
                return Err(InvalidSpec::NulCharacter { what: "an argument" });
            }
            plain("a working folder", &helper.cwd)?;
        }
        self.daemon.iter().try_for_each(|daemon| plain("the pid file", &daemon.pid_file))?;
        let limits = self.test.iter().chain(&self.stop).map(|helper| helper.limit);
        let limits = limits.chain([self.kill_after]).chain(self.daemon.iter().map(|daemon| daemon.within));
        match limits.max() {
            Some(limit) if limit > LIMIT_MAX => Err(InvalidSpec::LongLimit { seconds: limit.as_secs() }),
            _ => Ok(()),
        }
    }
}
