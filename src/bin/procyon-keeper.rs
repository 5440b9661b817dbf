//! The command `procyon-keeper`: one program, two roles. As keeper it holds the containers; as custodian it is the
//! parent of agent and keeper.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use procyon::keeper::custodian::{self, Wards};
use procyon::keeper::deposit::DepositClient;
use procyon::keeper::deposits::{Deposit, Nobody};
use procyon::keeper::driver;
use procyon::settings::Layout;

const USAGE: &str = "procyon-keeper --keeper --root DIR [--deposit-fd N] | --custodian --root DIR";

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
        Some("--keeper") => run_keeper(&arguments[1..]),
        Some("--version" | "-V") => {
            writeln!(std::io::stdout(), "procyon-keeper {}", env!("CARGO_PKG_VERSION"))?;
            Ok(())
        }
        _ => bail!(
            "procServ's own options are not served by this version; start everything with `procyon agent --root DIR`; \
             usage: {USAGE}"
        ),
    }
}

fn run_keeper(arguments: &[OsString]) -> anyhow::Result<()> {
    let mut root = None;
    let mut number = None;
    for pair in arguments.chunks(2) {
        match (pair[0].to_str(), pair.get(1)) {
            (Some("--root"), Some(value)) => root = Some(PathBuf::from(value)),
            (Some("--deposit-fd"), Some(value)) => {
                let text = value.to_string_lossy();
                number = Some(text.parse().with_context(|| format!("`{text}` is no descriptor number"))?);
            }
            _ => bail!("unexpected argument `{}`; usage: {USAGE}", Path::new(&pair[0]).display()),
        }
    }
    let layout = Layout::open(&root.with_context(|| format!("--root is missing; usage: {USAGE}"))?)?;
    let deposit: Box<dyn Deposit> = match number {
        Some(number) => Box::new(DepositClient::inherited(number).context("the deposit descriptor cannot be used")?),
        None => Box::new(Nobody),
    };
    Ok(driver::main(layout.root(), deposit, number.is_none())?)
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
