//! `procyon agent` in the foreground: has the custodian start the agent, and stands for it until it ends.
//!
//! ```text
//!  connect --none--> start a custodian, detached --> connect
//!     |
//!   watch, start --refused--> say who serves, exit 1
//!     |
//!   wait --SIGTERM, SIGINT--> stop order --> wait
//!     |  `--custodian gone--> follow the agent by its pid
//!   ended ordered, or for good --> exit with its status
//! ```
//! The agent is not our child, so that it may outlive us: killing the launcher stops nothing. Must not know: what the
//! agent does.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use tracing::{info, warn};

use crate::keeper::custodian::control::{Command, Control, Order, RawStatus, Tell};
use crate::keeper::custodian::lock;
use crate::settings::{Layout, ModuleSpec};
use crate::sys::{fdpass, process, tree};
use crate::systemd;

/// A log that nobody looks after must not grow for ever: one that is larger is put aside at the next start.
const CUSTODIAN_LOG_BYTES_MAX: u64 = 1024 * 1024;
/// How often a custodian that somebody else is just starting is looked for, and for how long.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
const CONNECT_TRIES: u32 = 250;
/// How often an agent whose custodian has gone is looked at.
const FOLLOW_EVERY_MS: u16 = 200;
/// How long a new agent may take until it serves.
const UPGRADE_MS_MAX: u16 = 30_000;
/// How often a new keeper is looked for.
const UPGRADE_TRIES: u32 = 1500;

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    pub layout: Layout,
    pub listen_ssh: Vec<SocketAddr>,
    pub yang_dirs: Vec<PathBuf>,
    pub modules: Vec<ModuleSpec>,
    pub settings: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error(
        "an agent serves {root} already{}; stop it with: kill {}",
        pid.map_or_else(|| " (it is being restarted)".to_owned(), |pid| format!(", process {pid}")),
        pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string())
    )]
    AlreadyServing { root: PathBuf, pid: Option<i32> },
    #[error("{root} is being shut down; try again when that is done")]
    ShuttingDown { root: PathBuf },
    #[error("the agent was not started: {reason}")]
    NotStarted { reason: String },
    #[error("the custodian did not start; its log says why: {log}")]
    NoCustodian { log: PathBuf },
    #[error("nothing runs on {root}: what is started next is what is installed now")]
    NothingRuns { root: PathBuf },
    #[error("not upgraded: {reason}")]
    NotUpgraded { reason: String },
    #[error("{path} is not there; procyon and procyon-keeper belong in one folder")]
    NoKeeperProgram { path: PathBuf },
    #[error("{what}: {error}")]
    System { what: String, error: io::Error },
}

/// Starts the agent and waits for its end; the exit status to give.
pub fn run(launch: &Launch) -> Result<u8, LaunchError> {
    let root = launch.layout.root();
    let signals = catch_signals()?;
    let control = match connect(&launch.layout)? {
        Some(control) => control,
        None => {
            // A custodian may have died under a serving agent, which then holds the sockets and the datastore.
            if let Some(pid) = lock::holder(&launch.layout.agent_lock()) {
                return Err(LaunchError::AlreadyServing { root: root.to_owned(), pid: Some(pid) });
            }
            start_custodian(&launch.layout)?
        }
    };
    let said = |error| LaunchError::System { what: "cannot speak with the custodian".into(), error };
    control.send(&Order::Watch, &[]).map_err(said)?;
    let (out, err) = (io::stdout(), io::stderr());
    control.send(&Order::StartAgent(launch.command()?), &[out.as_fd(), err.as_fd()]).map_err(said)?;
    loop {
        match control.receive().map_err(said)? {
            Some(Tell::Started { pid }) => return stand_for(&control, &signals, pid),
            Some(Tell::AlreadyServing { pid }) => {
                return Err(LaunchError::AlreadyServing { root: root.to_owned(), pid });
            }
            Some(Tell::ShuttingDown) => return Err(LaunchError::ShuttingDown { root: root.to_owned() }),
            Some(Tell::NotStarted { reason }) => return Err(LaunchError::NotStarted { reason }),
            Some(_) => {}
            None => return Err(LaunchError::NoCustodian { log: launch.layout.custodian_log() }),
        }
    }
}

/// Stops everything on the root in order and waits until it is done.
pub fn stop(layout: &Layout) -> Result<(), LaunchError> {
    match connect(layout)? {
        Some(control) => {
            let said = |error| LaunchError::System { what: "cannot speak with the custodian".into(), error };
            control.send(&Order::Shutdown, &[]).map_err(said)?;
            // The end of the connection is the end of the custodian, which ends last.
            while control.receive().map_err(said)?.is_some() {}
        }
        None => stop_orphaned_agent(layout)?,
    }
    // One that its custodian did not start, or that has outlived it, is told itself.
    match keeper(layout)? {
        Some(keeper) => stop_orphaned_keeper(&keeper),
        None => Ok(()),
    }
}

/// Whether a keeper serves that no custodian watches, and no agent with it: systemd keeps it, or its custodian has died. Then
/// there is nobody to start an agent, and whoever wants one is it.
pub fn keeper_is_alone(layout: &Layout) -> Result<bool, LaunchError> {
    let is_free = lock::holder(&layout.agent_lock()).is_none();
    Ok(is_free && connect(layout)?.is_none() && keeper(layout)?.is_some())
}

/// Has custodian, keeper and agent become the programs that are installed now; what was done, in words.
pub fn upgrade(layout: &Layout) -> Result<String, LaunchError> {
    let root = layout.root().to_owned();
    let Some(control) = connect(layout)? else {
        let keeper = keeper(layout)?.ok_or(LaunchError::NothingRuns { root })?;
        return upgrade_below_systemd(layout, keeper);
    };
    let said = |error| LaunchError::System { what: "cannot speak with the custodian".into(), error };
    control.send(&Order::Watch, &[]).map_err(said)?;
    control.send(&Order::Status, &[]).map_err(said)?;
    control.send(&Order::Upgrade, &[]).map_err(said)?;
    let mut had_agent = false;
    loop {
        let mut set = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        let is_told = matches!(poll(&mut set, PollTimeout::from(UPGRADE_MS_MAX)), Ok(1..));
        if !is_told {
            return Err(LaunchError::NotUpgraded { reason: "the new agent does not serve yet; see its log".into() });
        }
        match control.receive().map_err(said)? {
            Some(Tell::Status(status)) => had_agent = status.agent.is_some(),
            Some(Tell::Upgraded) if !had_agent => return Ok("upgraded: custodian and keeper".into()),
            Some(Tell::AgentReady { pid }) => {
                return Ok(format!("upgraded: custodian, keeper and agent, which serves as process {pid}"));
            }
            Some(Tell::NotUpgraded { reason }) => return Err(LaunchError::NotUpgraded { reason }),
            Some(_) => {}
            None => return Err(LaunchError::NoCustodian { log: layout.custodian_log() }),
        }
    }
}

/// systemd starts the keeper anew when it is killed, and gives it what it held. The agent is a unit of its own.
fn upgrade_below_systemd(layout: &Layout, connection: OwnedFd) -> Result<String, LaunchError> {
    let failed = |error: Errno| LaunchError::System { what: "cannot exchange the keeper".into(), error: error.into() };
    let pid_of = |socket: &OwnedFd| getsockopt(socket, sockopt::PeerCredentials).map(|peer| peer.pid());
    let pid = pid_of(&connection).map_err(failed)?;
    let pidfd = process::pidfd_open(pid).map_err(failed)?;
    if !tree::has_variable(pid, "NOTIFY_SOCKET") {
        let reason =
            "the keeper has neither a custodian nor systemd, who would start it anew: stop everything, then start";
        return Err(LaunchError::NotUpgraded { reason: reason.into() });
    }
    process::pidfd_signal(&pidfd, libc::SIGKILL).map_err(failed)?;
    drop(connection);
    for _ in 0..UPGRADE_TRIES {
        if let Some(next) = keeper(layout)?.map(|socket| pid_of(&socket)).transpose().map_err(failed)?
            && next != pid
        {
            return Ok(format!(
                "upgraded: keeper, which serves as process {next}; the agent: systemctl restart procyon"
            ));
        }
        std::thread::sleep(CONNECT_PAUSE);
    }
    Err(LaunchError::NotUpgraded {
        reason: "systemd does not start the keeper: systemctl status procyon-keeper".into(),
    })
}

/// A connection to whoever keeps the containers; `None` where nobody does.
fn keeper(layout: &Layout) -> Result<Option<OwnedFd>, LaunchError> {
    let path = layout.keeper_socket();
    fdpass::connect(&path).map_err(|error| LaunchError::System {
        what: format!("cannot connect to {}", path.display()),
        error: error.into(),
    })
}

/// Ends the containers in order, then itself.
fn stop_orphaned_keeper(keeper: &OwnedFd) -> Result<(), LaunchError> {
    let failed = |error: Errno| LaunchError::System { what: "cannot stop the keeper".into(), error: error.into() };
    // Of the process that listens: while our connection is open, the pid is its own.
    let pid = getsockopt(keeper, sockopt::PeerCredentials).map_err(failed)?.pid();
    info!(pid, "the keeper has no custodian: it is told itself");
    kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(failed)?;
    while fdpass::receive(keeper).is_ok_and(|frame| frame.is_some()) {}
    Ok(())
}

/// The custodian has gone, so nobody passes the order on: an agent without custodian is told itself.
fn stop_orphaned_agent(layout: &Layout) -> Result<(), LaunchError> {
    let Some(pid) = lock::holder(&layout.agent_lock()) else {
        return Ok(());
    };
    let pid_of_agent = Pid::from_raw(pid);
    kill(pid_of_agent, Signal::SIGTERM)
        .map_err(|error| LaunchError::System { what: format!("cannot stop agent {pid}"), error: error.into() })?;
    while lock::holder(&layout.agent_lock()) == Some(pid) {
        std::thread::sleep(CONNECT_PAUSE);
    }
    Ok(())
}

impl Launch {
    /// The agent's own command: ours, with every path made absolute.
    fn command(&self) -> Result<Command, LaunchError> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path)
                .map(OsString::from)
                .map_err(|error| LaunchError::System { what: format!("{}", path.display()), error })
        };
        let program = own_program()?;
        let mut argv: Vec<OsString> = vec![program.into(), "agent".into(), "--serve".into(), "--root".into()];
        argv.push(self.layout.root().into());
        let mut option = |name: &str, value: OsString| argv.extend([name.into(), value]);
        for address in &self.listen_ssh {
            option("--listen-ssh", address.to_string().into());
        }
        for folder in &self.yang_dirs {
            option("--yang-dir", absolute(folder)?);
        }
        for module in &self.modules {
            option("--module", module.to_string().into());
        }
        if let Some(file) = &self.settings {
            option("--settings", absolute(file)?);
        }
        // What the service manager tells this process is not for the agent, which is another unit's.
        let env = std::env::vars_os().filter(|(name, _)| !systemd::VARIABLES.iter().any(|own| name == own)).collect();
        Ok(Command { argv, env, directory: self.layout.root().to_owned() })
    }
}

/// Passes orders on until the agent has ended for good.
fn stand_for(control: &Control, signals: &SignalFd, first_pid: i32) -> Result<u8, LaunchError> {
    let failed = |error: Errno| LaunchError::System { what: "cannot wait".into(), error: error.into() };
    let mut pid = first_pid;
    let watchdog = systemd::watchdog();
    loop {
        let mut set =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        let wait = watchdog.and_then(|every| PollTimeout::try_from(every).ok()).unwrap_or(PollTimeout::NONE);
        match poll(&mut set, wait) {
            // Whether we are well is whether the custodian is, who watches the agent: its answer is what is passed on.
            Ok(0) if control.send(&Order::Status, &[]).is_err() => return follow(signals, pid, false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(failed(error)),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| !flags.is_empty());
        let (is_signalled, is_told) = (is_ready(&set[0]), is_ready(&set[1]));
        if is_signalled && was_told_to_stop(signals) {
            // A manager that does not listen for this has nothing to lose by it.
            let _ = systemd::notify_stopping();
            if control.send(&Order::StopAgent, &[]).is_err() {
                return follow(signals, pid, true);
            }
        }
        if !is_told {
            continue;
        }
        match control.receive() {
            Ok(Some(Tell::AgentStarted { pid: now })) => {
                if now != pid {
                    info!(pid = now, "the agent has been restarted");
                }
                pid = now;
            }
            Ok(Some(Tell::AgentReady { pid: now })) => {
                if let Err(error) = systemd::notify_serving(&format!("agent {now} serves")) {
                    warn!(%error, "systemd cannot be told that the agent is ready");
                }
            }
            Ok(Some(Tell::Status(_))) => drop(systemd::notify_alive()),
            Ok(Some(Tell::AgentEnded { status, restarting: true, .. })) => {
                warn!(pid, %status, "the agent has ended and is being restarted");
            }
            Ok(Some(Tell::AgentEnded { status, ordered, .. })) => return Ok(exit_status(status, ordered)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                warn!(pid, "the custodian has gone; the agent goes on, but is not restarted should it end");
                return follow(signals, pid, false);
            }
        }
    }
}

/// Without a custodian: the agent's pid is all there is.
fn follow(signals: &SignalFd, pid: i32, stop: bool) -> Result<u8, LaunchError> {
    let agent = Pid::from_raw(pid);
    let mut stop = stop;
    while kill(agent, None).is_ok() {
        if stop {
            let _ = kill(agent, Signal::SIGTERM);
        }
        let mut set = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let is_signalled = matches!(poll(&mut set, PollTimeout::from(FOLLOW_EVERY_MS)), Ok(1..));
        stop = is_signalled && was_told_to_stop(signals);
    }
    Ok(0)
}

fn exit_status(status: RawStatus, ordered: bool) -> u8 {
    match (status.exit_code(), status.signal()) {
        _ if ordered && status.is_ordered() => 0,
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        // As shells tell a signal.
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        (None, None) => 1,
    }
}

fn catch_signals() -> Result<SignalFd, LaunchError> {
    let failed = |error: Errno| LaunchError::System { what: "cannot read signals".into(), error: error.into() };
    let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    mask.thread_block().map_err(failed)?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(failed)
}

fn was_told_to_stop(signals: &SignalFd) -> bool {
    let mut told = false;
    while let Ok(Some(_)) = signals.read_signal() {
        told = true;
    }
    told
}

fn connect(layout: &Layout) -> Result<Option<Control>, LaunchError> {
    let path = layout.custodian_socket();
    Control::connect(&path)
        .map_err(|error| LaunchError::System { what: format!("cannot connect to {}", path.display()), error })
}

/// Starts a custodian that outlives us, and connects to it.
fn start_custodian(layout: &Layout) -> Result<Control, LaunchError> {
    let program = keeper_program()?;
    let log = layout.custodian_log();
    let failed = |what: String| move |error| LaunchError::System { what, error };
    if std::fs::metadata(&log).is_ok_and(|found| found.len() > CUSTODIAN_LOG_BYTES_MAX) {
        let _ = std::fs::rename(&log, log.with_added_extension("1"));
    }
    let log_file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&log)
        .map_err(failed(format!("cannot open {}", log.display())))?;
    let mut child = Program::new(&program)
        .arg("--custodian")
        .arg("--root")
        .arg(layout.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .map_err(failed(format!("cannot start {}", program.display())))?;
    // It says one line when it listens, and closes its end if it cannot.
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        let _ = BufReader::new(output).read_line(&mut line);
    }
    if line.is_empty() {
        // Another launcher may have been quicker: then its custodian is ours as well.
        let _ = child.wait();
        for _ in 0..CONNECT_TRIES {
            if let Some(control) = connect(layout)? {
                return Ok(control);
            }
            if lock::holder(&layout.custodian_lock()).is_none() {
                break;
            }
            std::thread::sleep(CONNECT_PAUSE);
        }
        return Err(LaunchError::NoCustodian { log });
    }
    connect(layout)?.ok_or(LaunchError::NoCustodian { log })
}

/// The keeper's program, beside this one.
///
/// # Errors
/// It is not there.
pub fn keeper_program() -> Result<PathBuf, LaunchError> {
    let program = own_program()?.with_file_name("procyon-keeper");
    if program.is_file() { Ok(program) } else { Err(LaunchError::NoKeeperProgram { path: program }) }
}

fn own_program() -> Result<PathBuf, LaunchError> {
    std::env::current_exe()
        .map_err(|error| LaunchError::System { what: "cannot tell where this program is".into(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_exits_as_the_agent_did() {
        let told: Vec<_> = [(0, true), (15, true), (1 << 8, false), (9, true), (3 << 8, true), (6, false)]
            .map(|(raw, ordered)| exit_status(RawStatus(raw), ordered))
            .into();
        assert_eq!(told, [0, 0, 1, 137, 3, 134]);
    }

    #[test]
    fn a_refusal_names_the_process_and_the_command() {
        let refusal = LaunchError::AlreadyServing { root: PathBuf::from("/r"), pid: Some(7) };
        assert_eq!(refusal.to_string(), "an agent serves /r already, process 7; stop it with: kill 7");
    }
}
