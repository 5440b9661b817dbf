//! How a script of the repository becomes a container: the same for whoever runs it.

use std::path::PathBuf;

use super::spec::{ContainerName, ContainerSpec, LogSpec, Program};
use crate::checksum::Sha256;

/// The folder of the repository's shelves, below the harddisk.
const REPOSITORY: &str = "mirror/script-mgmt";
/// The folder of all logs of scripts, below the harddisk.
pub const LOGS: &str = "mirror/script-mgmt/logs";
/// What scripts call the harddisk.
const DEVICE_HARDDISK: &str = "/harddisk:";

/// Where things are, and as whom scripts run.
#[derive(Debug, Clone)]
pub struct Places {
    /// What device paths call `/harddisk:/`.
    pub harddisk: PathBuf,
    /// Each script has a working folder of its own below this.
    pub work: PathBuf,
    pub interpreter: PathBuf,
    pub library: PathBuf,
    /// The account of the host that runs scripts; `None` is the agent's own.
    pub user: Option<String>,
    /// Where scripts may write beside their working folder.
    pub writable: Vec<PathBuf>,
    /// The node that log lines name: `RP/0/RP0/CPU0`.
    pub node: String,
    /// A log file of this size is put aside, and so many of those are kept.
    pub log_bytes_max: u64,
    pub log_files_max: u8,
    /// Address space of one run.
    pub memory_bytes_max: u64,
}

/// One script to be run.
#[derive(Debug)]
pub struct Launch<'a> {
    pub name: ContainerName,
    /// The word of the script's type, which is its folder's too.
    pub shelf: &'a str,
    pub script: &'a str,
    pub sha256: Sha256,
    pub args: Vec<String>,
    /// Below the harddisk.
    pub log_folder: String,
    /// The name of its working folder.
    pub work: String,
}

impl Places {
    /// With the account, the limits and the environment that all scripts have.
    pub fn spec(&self, launch: Launch<'_>) -> ContainerSpec {
        let Launch { name, shelf, script, sha256, args, log_folder, work } = launch;
        let below = format!("{REPOSITORY}/{shelf}/{script}");
        let program = Program::Script {
            device_path: format!("{DEVICE_HARDDISK}/{below}"),
            path: self.harddisk.join(below),
            sha256,
            args,
            interpreter: self.interpreter.clone(),
            library: self.library.clone(),
        };
        let logs = LogSpec {
            bytes_max: self.log_bytes_max,
            files_max: self.log_files_max,
            ..LogSpec::in_dir(self.harddisk.join(log_folder))
        };
        let mut spec = ContainerSpec::new(name, program, self.work.join(work), logs);
        spec.env = vec![("PROCYON_NODE".to_owned(), self.node.clone())];
        spec.user = self.user.clone();
        spec.writable = Some(self.writable.iter().chain([&spec.cwd]).cloned().collect());
        spec.rlimits.address_space_bytes = Some(self.memory_bytes_max);
        spec
    }
}
