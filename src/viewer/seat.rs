//! A seat at a console, with the terminal of the command: what is typed goes there as it is, what comes is shown. When the
//! keeper is followed by another, the seat is taken again at the very byte.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::read;
use tokio::runtime::Runtime;

use super::command::Local;
use super::find;
use crate::console::packet::Packet;
use crate::console::wire;
use crate::container::spec::ContainerName;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::Entering;
use crate::keeper::refusal::KeeperRefusal;
use crate::sys::fdpass;

const TYPED_BYTES_MAX: usize = 4096;
/// How long a keeper may take to be followed by the next.
const AWAY_MAX: Duration = Duration::from_secs(20);
/// Quickly: what the program prints meanwhile must still be there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Of a console's name.
const NAME_BYTES_MAX: usize = 255;
const COMMAND_BYTES_MAX: usize = 1000;

/// Why a seat was left.
enum Left {
    Over(String),
    GoTo,
    /// The other side is gone without a word.
    Lost,
}

pub(super) fn sit(
    runtime: &Runtime,
    keeper: &Keeper,
    path: &Path,
    asked: &str,
    entering: Entering,
) -> anyhow::Result<()> {
    let name = look_up(runtime, keeper, asked)?;
    let socket = runtime.block_on(keeper.console(name.clone(), entering.clone()))?;
    stay(runtime, keeper, path, (name, socket), entering)
}

/// In the place of somebody who has held the seat for us until now; what was typed and not taken comes first.
pub(super) fn go_on(
    runtime: &Runtime,
    path: &Path,
    name: ContainerName,
    entering: Entering,
    typed: &[u8],
) -> anyhow::Result<()> {
    let socket = resume(runtime, path, &name, &entering)?;
    send(&socket, typed)?;
    let (keeper, _events) = runtime.block_on(async { Keeper::connect(path.to_owned()) });
    stay(runtime, &keeper, path, (name, socket), entering)
}

fn stay(
    runtime: &Runtime,
    keeper: &Keeper,
    path: &Path,
    (mut name, mut socket): (ContainerName, OwnedFd),
    mut entering: Entering,
) -> anyhow::Result<()> {
    let terminal = RawTerminal::take();
    loop {
        let mut offset = entering.from;
        match pump(&socket, &terminal, &mut offset)? {
            Left::Over(why) => {
                drop(terminal);
                if why != "disconnected" {
                    bail!("the console `{name}` has gone: {why}");
                }
                return Ok(());
            }
            Left::GoTo => {
                let asked = ask("[console: ", NAME_BYTES_MAX)?;
                show(b"]\r\n")?;
                match look_up(runtime, keeper, &asked) {
                    Ok(other) => {
                        name = other;
                        entering = Entering { from: None, quiet: false, ..entering };
                        socket = runtime.block_on(keeper.console(name.clone(), entering.clone()))?;
                    }
                    Err(error) => show(format!("[{error}]\r\n").as_bytes())?,
                }
            }
            Left::Lost => {
                entering = Entering { from: offset, quiet: true, ..entering };
                socket = resume(runtime, path, &name, &entering)?;
            }
        }
    }
}

fn look_up(runtime: &Runtime, keeper: &Keeper, asked: &str) -> anyhow::Result<ContainerName> {
    let names: Vec<String> = runtime.block_on(keeper.consoles())?.into_iter().map(|console| console.name).collect();
    let name = find(&names, asked).map_err(anyhow::Error::msg)?;
    Ok(ContainerName::parse(name)?)
}

/// A keeper that follows another needs a moment to take everything over.
fn resume(runtime: &Runtime, path: &Path, name: &ContainerName, entering: &Entering) -> anyhow::Result<OwnedFd> {
    runtime.block_on(async {
        let again = async {
            loop {
                let (keeper, _events) = Keeper::connect(path.to_owned());
                if keeper.pid(LOOK_AGAIN).await.is_some() {
                    match keeper.console(name.clone(), entering.clone()).await {
                        Err(KeeperRefusal::Lost | KeeperRefusal::NoAnswer { .. }) => {}
                        answer => return answer,
                    }
                }
            }
        };
        let answer = tokio::time::timeout(AWAY_MAX, again).await;
        Ok(answer.context("the keeper is gone and no other has followed it")??)
    })
}

fn pump(socket: &OwnedFd, terminal: &RawTerminal, offset: &mut Option<u64>) -> anyhow::Result<Left> {
    let input = std::io::stdin();
    let mut hears = true;
    // In the place of who sits here, with the escape sequence that it must not type.
    let mut local: Option<(Local, [u8; 2])> = None;
    let left = loop {
        let there = wait(socket, hears.then_some(input.as_fd()), local.as_ref().map(|(local, _)| local))?;
        if there.comes {
            match fdpass::receive(socket) {
                Ok(Some(frame)) => match Packet::read(&frame.bytes) {
                    Some(Packet::Shown { offset: at, bytes }) => {
                        if local.as_ref().is_none_or(|(local, _)| local.is_shown) {
                            show(bytes)?;
                        }
                        if let Some((local, _)) = &mut local {
                            local.show(bytes);
                        }
                        *offset = Some(at + bytes.len() as u64);
                    }
                    Some(Packet::Words(words)) => show(words)?,
                    Some(Packet::Do(wire::SUSPEND)) => terminal.suspend()?,
                    Some(Packet::Do(wire::GO_TO)) => break Left::GoTo,
                    Some(Packet::Run { escape }) if local.is_none() => local = begin()?.map(|local| (local, escape)),
                    Some(Packet::Do(wire::ABORT)) => {
                        if let Some((local, _)) = &local {
                            show(b"[no longer read-write - aborting command]\r\n")?;
                            local.hang_up();
                        }
                    }
                    Some(Packet::Over(why)) => break Left::Over(String::from_utf8_lossy(why).into_owned()),
                    Some(Packet::Do(_) | Packet::Run { .. }) | None => {}
                },
                Ok(None) | Err(Errno::ECONNRESET) => break Left::Lost,
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("the console's socket broke"),
            }
        }
        if there.feeds
            && let Some((local, _)) = &mut local
        {
            local.feed();
        }
        if there.prints
            && let Some((mut running, escape)) = local.take()
        {
            match running.typed(escape).context("the command cannot be heard")? {
                Some(typed) => {
                    local = Some((running, escape));
                    if !send(socket, &typed)? {
                        break Left::Lost;
                    }
                }
                None => show(running.end().as_bytes())?,
            }
        }
        if there.typed {
            let mut bytes = [0; TYPED_BYTES_MAX];
            match read(&input, &mut bytes) {
                Ok(0) => hears = false,
                Ok(count) => match &mut local {
                    Some((local, _)) => bytes[..count].iter().for_each(|key| local.key(*key)),
                    None if !send(socket, &bytes[..count])? => break Left::Lost,
                    None => {}
                },
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => hears = false,
            }
        }
    };
    if let Some((local, _)) = local {
        local.hang_up();
        show(local.end().as_bytes())?;
    }
    Ok(left)
}

/// Who has something to say, or takes something.
#[derive(Debug, Clone, Copy, Default)]
struct There {
    comes: bool,
    typed: bool,
    prints: bool,
    feeds: bool,
}

fn wait(socket: &OwnedFd, input: Option<BorrowedFd<'_>>, local: Option<&Local>) -> anyhow::Result<There> {
    let comes = local.is_none_or(Local::takes_more).then(|| (socket.as_fd(), PollFlags::POLLIN));
    let typed = input.map(|input| (input, PollFlags::POLLIN));
    let prints = local.map(|local| (local.output(), PollFlags::POLLIN));
    let feeds = local.and_then(Local::awaited_input).map(|input| (input, PollFlags::POLLOUT));
    let asked = [comes, typed, prints, feeds];
    let mut set: Vec<PollFd<'_>> = asked.iter().flatten().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
    match poll(&mut set, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error).context("waiting fails"),
    }
    let mut results = set.iter().map(|fd| fd.revents().is_some_and(|flags| !flags.is_empty()));
    let [comes, typed, prints, feeds] = asked.map(|asked| asked.is_some() && results.next().unwrap_or(false));
    Ok(There { comes, typed, prints, feeds })
}

/// Whether there is still somebody to take it.
fn send(socket: &OwnedFd, bytes: &[u8]) -> anyhow::Result<bool> {
    if bytes.is_empty() {
        return Ok(true);
    }
    match fdpass::send(socket, bytes, &[] as &[OwnedFd]) {
        Ok(()) => Ok(true),
        Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(false),
        Err(error) => Err(error).context("what is typed cannot be sent"),
    }
}

/// The command that the user names, if he does.
fn begin() -> anyhow::Result<Option<Local>> {
    let command = ask("[exec: ", COMMAND_BYTES_MAX)?;
    show(b"]\r\n")?;
    if command.is_empty() {
        return Ok(None);
    }
    match Local::begin(&command) {
        Ok(local) => {
            show(format!("[local command running - pid {}]\r\n", local.pid()).as_bytes())?;
            Ok(Some(local))
        }
        Err(error) => {
            show(format!("[{error}]\r\n").as_bytes())?;
            Ok(None)
        }
    }
}

/// In the middle of a session: a line of its own, read from a raw terminal.
fn ask(prompt: &str, bytes_max: usize) -> anyhow::Result<String> {
    show(prompt.as_bytes())?;
    let mut name = Vec::new();
    loop {
        let mut byte = [0];
        match read(std::io::stdin(), &mut byte) {
            Ok(0) => break,
            Ok(_) if matches!(byte[0], b'\r' | b'\n') => break,
            Ok(_) if matches!(byte[0], 0x08 | 0x7f) => {
                if name.pop().is_some() {
                    show(b"\x08 \x08")?;
                }
            }
            Ok(_) if name.len() < bytes_max => {
                name.push(byte[0]);
                show(&byte)?;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("the terminal cannot be read"),
        }
    }
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn show(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// The terminal passes on each key as it is typed, until this is dropped.
struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    fn take() -> Self {
        let input = std::io::stdin();
        let before = if input.is_terminal() { tcgetattr(&input).ok() } else { None };
        let terminal = Self { before };
        terminal.set_raw();
        terminal
    }

    fn set_raw(&self) {
        if let Some(before) = &self.before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            // One that refuses echoes lines; everything else works.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &raw);
        }
    }

    fn restore(&self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, before);
        }
    }

    fn suspend(&self) -> anyhow::Result<()> {
        self.restore();
        raise(Signal::SIGSTOP).context("cannot suspend")?;
        self.set_raw();
        Ok(())
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.restore();
    }
}
