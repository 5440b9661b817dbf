//! How a script of the repository becomes a container: the same for whoever runs it.

use std::path::PathBuf;

use super::spec::{ContainerName, ContainerSpec, LogSpec, Program, Sha256};

/// Where things are, and as whom scripts run.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of the repository's shelves.
    pub repository: PathBuf,
    /// The same as scripts see it: `/harddisk:/mirror/script-mgmt`.
    pub device_repository: String,
    pub logs: PathBuf,
    pub work: PathBuf,
    pub interpreter: PathBuf,
    pub library: PathBuf,
    /// The account of the host that runs scripts; `None` is the agent's own.
    pub user: Option<String>,
    /// The node that log lines name: `RP/0/RP0/CPU0`.
    pub node: String,
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
    /// Below the folder of all logs.
    pub log_folder: String,
}

impl Places {
    /// With the account, the limits and the environment that all scripts have.
    pub fn spec(&self, launch: Launch<'_>) -> ContainerSpec {
        let Launch { name, shelf, script, sha256, args, log_folder } = launch;
        let program = Program::Script {
            device_path: format!("{}/{shelf}/{script}", self.device_repository),
            path: self.repository.join(shelf).join(script),
            sha256,
            args,
            interpreter: self.interpreter.clone(),
            library: self.library.clone(),
        };
        let logs = LogSpec {
            bytes_max: self.log_bytes_max,
            files_max: self.log_files_max,
            ..LogSpec::in_dir(self.logs.join(log_folder))
        };
        // Runs of one script share a folder, so that what one leaves the next finds.
        let work = self.work.join(format!("{script}_{shelf}"));
        let mut spec = ContainerSpec::new(name, program, work, logs);
        spec.env = vec![("PROCYON_NODE".to_owned(), self.node.clone())];
        spec.user = self.user.clone();
        spec.rlimits.address_space_bytes = Some(self.memory_bytes_max);
        spec
    }
}
