//! `run`: a command of the host, or its shell, for a user whom the access rules let; it sees the harddisk as `/harddisk:`.
//!
//! What is started ends with the session that asked for it.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::shell::driver::{Seat, show};
use crate::shell::relay::Window;
use crate::sys::{inherited, pty, spawn};

const READ_BYTES: usize = 16 * 1024;
/// How often it is looked whether somebody still waits for a command that says nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What a shell reports for a program that a signal has ended, beside the signal's number.
const SIGNALLED: i32 = 128;
const PATHS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How Linux commands are started here.
#[derive(Debug, Clone)]
pub(super) struct Linux {
    pub harddisk: PathBuf,
    /// An empty folder.
    pub stage: PathBuf,
    /// As prompts name it: `RP/0/RP0/CPU0`.
    pub node: String,
}

impl Linux {
    /// Runs it to its end; the exit status.
    pub(super) async fn run(&self, user: &str, command: Option<&str>, seat: Seat<'_>) -> Result<u32, String> {
        let window = seat.window.clone();
        let done = match window {
            Some(window) => self.on_terminal(user, command, seat, window).await,
            None => self.on_pipes(user, command, seat).await,
        };
        done.map_err(|error| format!("the command could not be run: {error}"))
    }

    fn command(&self, user: &str, command: Option<&str>, terminal: Option<(&str, &Window)>) -> io::Result<Command> {
        std::fs::create_dir_all(&self.stage)?;
        let mut program = std::process::Command::new("/proc/self/exe");
        program.arg("rooted").arg("--harddisk").arg(&self.harddisk).arg("--stage").arg(&self.stage);
        program.env_clear().env("PATH", PATHS).env("USER", user).env("LOGNAME", user);
        let node = self.node.trim_start_matches("RP/").replace('/', "_");
        program.env("PS1", format!("[node{node}:\\w]$"));
        for name in ["LANG", "LC_ALL", "TZ"] {
            if let Some(value) = std::env::var_os(name) {
                program.env(name, value);
            }
        }
        match terminal {
            Some((path, window)) => {
                let kind = if window.kind.is_empty() { "dumb" } else { &window.kind };
                program.arg("--terminal").arg(path).env("TERM", kind);
            }
            // On a terminal it leads a session, which a leader of a group could not.
            None => {
                std::os::unix::process::CommandExt::process_group(&mut program, 0);
            }
        }
        // The host's account of that name; where there is none, the agent's own.
        if spawn::account(user)?.is_some() {
            program.arg("--account").arg(user);
        }
        if let Some(command) = command {
            program.arg("--").arg(command);
        }
        inherited::clear_signal_mask(&mut program);
        program.stdin(Stdio::null());
        Ok(program.into())
    }

    async fn on_pipes(&self, user: &str, command: Option<&str>, mut seat: Seat<'_>) -> io::Result<u32> {
        let mut program = self.command(user, command, None)?;
        let child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut group = Group::of(child);
        let mut out = group.child.stdout.take();
        let mut errors = group.child.stderr.take();
        let (mut told, mut wrong) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        while out.is_some() || errors.is_some() {
            tokio::select! {
                count = read(&mut out, &mut told), if out.is_some() => match count? {
                    0 => out = None,
                    count => show(seat.output, &told[..count]).await.map_err(io::Error::other)?,
                },
                count = read(&mut errors, &mut wrong), if errors.is_some() => match count? {
                    0 => errors = None,
                    count => {
                        let to = seat.errors.as_deref_mut().unwrap_or(seat.output);
                        show(to, &wrong[..count]).await.map_err(io::Error::other)?;
                    }
                },
                // Who has gone takes the command along.
                () = tokio::time::sleep(LOOK_AGAIN) => seat.errors.as_deref_mut().unwrap_or(seat.output).flush().await?,
            }
        }
        group.end().await
    }

    async fn on_terminal(
        &self,
        user: &str,
        command: Option<&str>,
        seat: Seat<'_>,
        mut window: tokio::sync::watch::Receiver<Window>,
    ) -> io::Result<u32> {
        let (master, path) = pty::open_master()?;
        let first = window.borrow_and_update().clone();
        resize(&master, &first)?;
        let mut program = self.command(user, command, Some((&path, &first)))?;
        // Held until the program has opened it: a terminal that nobody has looks as if it were over.
        let held = pty::open_slave(&path)?;
        let errors = Stdio::from(held.try_clone()?);
        let child = program.stdout(held).stderr(errors).spawn()?;
        drop(program);
        let mut group = Group::of(child);
        // A terminal in a stream's clothes: only its readiness is used.
        let master = UnixStream::from_std(master.into())?;
        let mut typed = vec![0; READ_BYTES];
        let (mut waiting, mut hears) = (Vec::new(), true);
        loop {
            tokio::select! {
                shown = shown(&master) => match shown? {
                    Some(bytes) => show(seat.output, &bytes).await.map_err(io::Error::other)?,
                    None => return group.end().await,
                },
                count = seat.input.read(&mut typed), if hears && waiting.is_empty() => match count {
                    // Who has gone takes the terminal along.
                    Ok(0) | Err(_) => return Ok(1),
                    Ok(count) => waiting.extend_from_slice(&typed[..count]),
                },
                written = write(&master, &waiting), if !waiting.is_empty() => {
                    waiting.drain(..written?);
                }
                resized = window.changed(), if hears => match resized {
                    Ok(()) => resize(&master, &window.borrow_and_update())?,
                    Err(_) => hears = false,
                },
            }
        }
    }
}

async fn read(from: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> io::Result<usize> {
    match from {
        Some(from) => from.read(buffer).await,
        None => Ok(0),
    }
}

/// What the program shows; `None` when it and all who had its terminal are gone.
async fn shown(master: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; READ_BYTES];
    let read = master.async_io(Interest::READABLE, || Ok(nix::unistd::read(master, &mut buffer)?)).await;
    match read {
        Ok(0) => Ok(None),
        Ok(count) => {
            buffer.truncate(count);
            Ok(Some(buffer))
        }
        Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn write(master: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    master.async_io(Interest::WRITABLE, || Ok(nix::unistd::write(master, bytes)?)).await
}

fn resize(master: &impl AsFd, window: &Window) -> io::Result<()> {
    let of = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Ok(pty::set_window(master, of(window.rows), of(window.columns))?)
}

/// The program and those it has started; they are hung up on when nobody waits for them any more.
struct Group {
    child: Child,
    leader: Option<i32>,
}

impl Group {
    fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        Self { child, leader }
    }

    async fn end(&mut self) -> io::Result<u32> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.wait().await?;
        self.leader = None;
        let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
        Ok(code.and_then(|code| u32::try_from(code).ok()).unwrap_or(1))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended by itself just now.
            let _ = spawn::signal_group(leader, nix::libc::SIGHUP);
        }
    }
}
