//! The command `procyon console`: what a container prints, recent lines first and then live, without a way to type.
//!
//! It speaks with the keeper, not with the agent, so it works while the agent is away. Must not know: YANG, accounts; the
//! keeper's socket lets in its own account and root only.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::container::spec::ContainerName;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::{ContainerState, Phase};
use crate::settings::Layout;

/// How long the keeper has to greet.
const KEEPER_TIME_MAX: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 * 1024;

/// Shows the console of `name`, or the list of consoles where none is named.
///
/// # Errors
/// No keeper on this root, or no container of that name.
pub fn run(layout: &Layout, name: Option<&str>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = layout.keeper_socket();
        let (keeper, _events) = Keeper::connect(socket.clone());
        if keeper.pid(KEEPER_TIME_MAX).await.is_none() {
            bail!("{}", no_keeper(&socket, layout.root()));
        }
        match name {
            Some(name) => follow(&keeper, name).await,
            None => list(&keeper).await,
        }
    })
}

fn no_keeper(socket: &Path, root: &Path) -> String {
    format!("no keeper answers at {}; start everything: procyon agent --root {}", socket.display(), root.display())
}

async fn list(keeper: &Keeper) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for (state, _) in keeper.list().await? {
        out.write_all(line(&state).as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

/// Name, phase, process, one line each.
fn line(state: &ContainerState) -> String {
    let phase = match state.phase {
        Phase::NotStarted => "not started",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::StopRequested => "stop requested",
        Phase::KillRequested => "kill requested",
        Phase::Backoff => "waits for its restart",
        Phase::Stopped => "stopped",
        Phase::Killed => "killed",
        Phase::ExitSuccess => "ended well",
        Phase::ExitFailure => "failed",
        Phase::Mismatch => "checksum mismatch",
    };
    let pid = state.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    format!("{:<32} {phase:<22} {pid}\n", state.name.as_str())
}

async fn follow(keeper: &Keeper, name: &str) -> anyhow::Result<()> {
    let stream = keeper.attach(ContainerName::parse(name)?).await?;
    let mut stream = UnixStream::from_std(stream.into()).context("the console's stream cannot be read")?;
    let mut out = std::io::stdout();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(length) => {
                out.write_all(&buffer[..length])?;
                out.flush()?;
            }
            Err(error) => return Err(error).context("the console's stream broke"),
        }
    }
}
