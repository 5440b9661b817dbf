//! Containers for measurements and for tests of consoles: defined and started at a running keeper, with no agent.
//!
//! ```text
//! fleet --root DIR --name NAME [--count N] [--pty] [--unix PATH | --tcp ADDR] [--write] [--raw] [--one-writer]
//!       [--marks] [--replay N] [--motd TEXT] [--never] [--logs DIR] [--env NAME=VALUE]... -- COMMAND...
//! fleet --root DIR --stop
//! ```
//! `{}` in the command, in `--unix` and in `--logs` becomes the container's name: NAME, or NAME and four digits.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use procyon::container::console::{ConsoleSpec, ListenerSpec, Place, SOCKET_MODE_DEFAULT, Speaks};
use procyon::container::spec::{ContainerName, ContainerSpec, LogSpec, Program, RestartPolicy, Terminal};
use procyon::keeper::client::Keeper;
use tokio::task::JoinSet;

/// Orders at a time; the keeper takes no more before it has answered.
const AT_A_TIME: usize = 128;
const KEEPER_TIME_MAX: Duration = Duration::from_secs(10);
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Parser)]
struct Arguments {
    #[arg(long)]
    root: PathBuf,
    #[arg(long, default_value = "one")]
    name: String,
    #[arg(long)]
    count: Option<usize>,
    #[arg(long)]
    pty: bool,
    #[arg(long)]
    unix: Option<String>,
    #[arg(long)]
    tcp: Option<std::net::SocketAddr>,
    #[arg(long)]
    write: bool,
    #[arg(long)]
    raw: bool,
    #[arg(long)]
    one_writer: bool,
    #[arg(long)]
    marks: bool,
    #[arg(long, default_value_t = 0)]
    replay: u16,
    #[arg(long, default_value = "")]
    motd: String,
    #[arg(long)]
    never: bool,
    #[arg(long)]
    logs: Option<String>,
    #[arg(long)]
    log_bytes: Option<u64>,
    #[arg(long)]
    env: Vec<String>,
    #[arg(long)]
    stop: bool,
    command: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (keeper, _events) = Keeper::connect(arguments.root.join("run/keeper.sock"));
    if keeper.pid(KEEPER_TIME_MAX).await.is_none() {
        bail!("no keeper at {}", arguments.root.display());
    }
    if arguments.stop {
        return Ok(keeper.shutdown(STOP_GRACE).await?);
    }
    let names: Vec<String> = match arguments.count {
        None => vec![arguments.name.clone()],
        Some(count) => (0..count).map(|number| format!("{}{number:04}", arguments.name)).collect(),
    };
    let mut under_way: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for name in names {
        if under_way.len() >= AT_A_TIME
            && let Some(done) = under_way.join_next().await
        {
            done??;
        }
        let (keeper, spec) = (keeper.clone(), spec(&arguments, &name)?);
        under_way.spawn(async move {
            let name = spec.name.clone();
            keeper.define(spec).await?;
            Ok(keeper.start(name).await?)
        });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

fn spec(arguments: &Arguments, name: &str) -> anyhow::Result<ContainerSpec> {
    let filled = |text: &str| text.replace("{}", name);
    let program = Program::Command { argv: arguments.command.iter().map(|word| filled(word)).collect() };
    let logs = match &arguments.logs {
        Some(folder) => PathBuf::from(filled(folder)),
        None => arguments.root.join("logs").join(name),
    };
    let mut logs = LogSpec::in_dir(logs);
    logs.bytes_max = arguments.log_bytes.unwrap_or(logs.bytes_max);
    let mut spec = ContainerSpec::new(ContainerName::parse(name)?, program, arguments.root.clone(), logs);
    if arguments.pty {
        spec.terminal = Terminal::Pty;
        // An interactive shell takes no notice of SIGTERM.
        spec.stop_signal = libc::SIGHUP;
    }
    spec.restart = if arguments.never { RestartPolicy::Never } else { RestartPolicy::Always };
    for entry in &arguments.env {
        let (name, value) = entry.split_once('=').with_context(|| format!("`{entry}` is no NAME=VALUE"))?;
        spec.env.push((name.to_owned(), value.to_owned()));
    }
    let unix = arguments.unix.as_deref().map(|path| Place::Unix {
        path: filled(path).into(),
        mode: SOCKET_MODE_DEFAULT,
        owner: None,
        group: None,
    });
    let tcp = arguments.tcp.map(|address| Place::Tcp { address });
    let speaks = if arguments.raw { Speaks::Raw } else { Speaks::ProcServ };
    spec.console = ConsoleSpec {
        one_writer: arguments.one_writer,
        replay_lines: arguments.replay,
        motd: arguments.motd.clone(),
        marks: arguments.marks,
        listeners: unix
            .into_iter()
            .chain(tcp)
            .map(|place| ListenerSpec { place, speaks, write: arguments.write, sources: Vec::new() })
            .collect(),
        ..ConsoleSpec::default()
    };
    Ok(spec)
}
