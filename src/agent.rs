//! The agent: what it is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::keeper::deposit::DepositClient;
pub use crate::settings::ModuleSpec;
use crate::settings::{Layout, Settings};

/// What the command line and the settings file say.
#[derive(Debug)]
pub struct Options {
    pub layout: Layout,
    pub settings: Settings,
    /// From the command line if given there, else from the settings.
    pub listen_ssh: Vec<SocketAddr>,
    pub yang_dirs: Vec<PathBuf>,
    pub modules: Vec<ModuleSpec>,
    /// Absent when no custodian has started this process.
    pub deposit: Option<DepositClient>,
}

/// Serves until told to stop.
pub fn serve(options: Options) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: nothing serves {}", options.layout.root().display())
}
