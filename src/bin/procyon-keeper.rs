//! The command `procyon-keeper`: one program, two roles. As custodian it is the parent of agent and keeper.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use procyon::keeper::custodian::{self, Wards};
use procyon::settings::Layout;

const USAGE: &str = "procyon-keeper --custodian --root DIR";

fn main() -> ExitCode {
    procyon::logging::start();
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> anyhow::Result<()> {
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--custodian") => run_custodian(&arguments[1..]),
        Some("--keeper") => bail!("this build has no keeper; usage: {USAGE}"),
        _ => bail!("usage: {USAGE}"),
    }
}

fn run_custodian(arguments: &[OsString]) -> anyhow::Result<()> {
    let mut root = None;
    let mut keeper = None;
    for pair in arguments.chunks(2) {
        match (pair[0].to_str(), pair.get(1)) {
            (Some("--root"), Some(value)) => root = Some(PathBuf::from(value)),
            // Another program in the keeper's place, called with the same arguments.
            (Some("--keeper-command"), Some(value)) => keeper = Some(PathBuf::from(value)),
            _ => bail!("unexpected argument `{}`; usage: {USAGE}", Path::new(&pair[0]).display()),
        }
    }
    let layout = Layout::open(&root.with_context(|| format!("--root is missing; usage: {USAGE}"))?)?;
    // Looked up once: after an upgrade in place the same path is the new program.
    let program = keeper.map_or_else(std::env::current_exe, Ok).context("cannot tell where this program is")?;
    custodian::main(&layout, Wards::installed(program, layout.root().to_owned()))?;
    Ok(())
}
