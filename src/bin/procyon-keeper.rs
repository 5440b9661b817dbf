//! The command `procyon-keeper`: one program, three roles. As keeper it holds the containers; as custodian it is the
//! parent of agent and keeper; with procServ's arguments, or called `procServ`, it is a procServ.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use procyon::keeper::custodian::{self, Wards};
use procyon::keeper::deposit::DepositClient;
use procyon::keeper::keeping::{Deposit, Nobody};
use procyon::keeper::launch::RootId;
use procyon::keeper::store::{self, Store};
use procyon::keeper::{attach, driver, procserv};
use procyon::settings::Layout;
use procyon::sys::cgroup;

const USAGE: &str = "procyon-keeper --keeper --root DIR [--deposit-fd N] | --custodian --root DIR | --make-way";
/// What the unit says when a keeper has ended: see [`cgroup::make_way`].
const MAKE_WAY: &str = "--make-way";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    if is_procserv(&called_as, &arguments) {
        let status = procserv::driver::main(arguments);
        return ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1));
    }
    if arguments.first().is_some_and(|first| first == attach::ARGUMENT) {
        let Err(error) = attach::main(&arguments[1..]) else { return ExitCode::SUCCESS };
        // To who watches the console, as a line of its own.
        let _ = write!(std::io::stderr(), "\r\n[-- {error} --]\r\n");
        return ExitCode::FAILURE;
    }
    procyon::logging::start();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_procserv(called_as: &OsStr, arguments: &[OsString]) -> bool {
    let own = ["--custodian", "--keeper", MAKE_WAY, attach::ARGUMENT, "--version", "-V", custodian::ASK_VERSION];
    Path::new(called_as).file_name() == Some(OsStr::new("procServ"))
        || arguments.first().is_none_or(|first| !own.iter().any(|own| first == own))
}

fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--custodian") => run_custodian(&arguments[1..]),
        Some("--keeper") => run_keeper(&arguments[1..]),
        Some(MAKE_WAY) => Ok(cgroup::make_way()?),
        Some(custodian::ASK_VERSION) => Ok(writeln!(std::io::stdout(), "{}", custodian::HANDOVER_VERSION)?),
        _ => Ok(writeln!(std::io::stdout(), "procyon-keeper {}", env!("CARGO_PKG_VERSION"))?),
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
        None => below_systemd(&layout)?,
    };
    Ok(driver::main(layout.root(), deposit, number.is_none())?)
}

/// Where systemd has started this process it also keeps what the keeper leaves, and starts the next one.
fn below_systemd(layout: &Layout) -> anyhow::Result<Box<dyn Deposit>> {
    let root = RootId::of(layout.root())?;
    let store = Store::open(root.as_str(), "the keeper holds the containers", store::KEEPER_DESCRIPTORS_MAX)
        .context("systemd, which NOTIFY_SOCKET names, cannot be reached")?;
    Ok(match store {
        Some(store) => Box::new(store),
        None => Box::new(Nobody),
    })
}

fn run_custodian(arguments: &[OsString]) -> anyhow::Result<()> {
    let mut root = None;
    let mut keeper = None;
    let mut handover = None;
    for pair in arguments.chunks(2) {
        match (pair[0].to_str(), pair.get(1)) {
            (Some("--root"), Some(value)) => root = Some(PathBuf::from(value)),
            // Another program in the keeper's place, called with the same arguments.
            (Some("--keeper-command"), Some(value)) => keeper = Some(PathBuf::from(value)),
            (Some(custodian::HANDOVER_OPTION), Some(value)) => {
                let text = value.to_string_lossy();
                handover = Some(text.parse().with_context(|| format!("`{text}` is no descriptor number"))?);
            }
            _ => bail!("unexpected argument `{}`; usage: {USAGE}", Path::new(&pair[0]).display()),
        }
    }
    let layout = Layout::open(&root.with_context(|| format!("--root is missing; usage: {USAGE}"))?)?;
    // Looked up once: after an upgrade in place the same path is the new program.
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let program = keeper.unwrap_or_else(|| own.clone());
    custodian::main(&layout, Wards::installed(program, own, layout.root().to_owned()), handover)?;
    Ok(())
}
