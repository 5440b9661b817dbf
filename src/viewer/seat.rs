//! A seat at a console, with the terminal of the command: what is typed goes there as it is, what comes is shown. When the
//! keeper is followed by another, the seat is taken again at the very byte.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::read;
use tokio::runtime::Runtime;

use super::find;
use crate::console::packet::Packet;
use crate::container::spec::ContainerName;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::Entering;
use crate::sys::fdpass;

const TYPED_BYTES_MAX: usize = 4096;
/// How long a keeper may take to be followed by the next.
const AWAY_MAX: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Of a console's name.
const NAME_BYTES_MAX: usize = 255;

/// Why a seat was left.
enum Left {
    Over(String),
    GoTo,
    /// The other side is gone without a word.
    Lost,
}

pub(super) fn sit(runtime: &Runtime, keeper: &Keeper, asked: &str, mut entering: Entering) -> anyhow::Result<()> {
    let mut name = look_up(runtime, keeper, asked)?;
    let mut socket = runtime.block_on(keeper.console(name.clone(), entering.clone()))?;
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
                let asked = ask_for_name()?;
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
                socket = resume(runtime, keeper, &name, &entering)?;
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
fn resume(runtime: &Runtime, keeper: &Keeper, name: &ContainerName, entering: &Entering) -> anyhow::Result<OwnedFd> {
    runtime.block_on(async {
        let again = async {
            loop {
                match keeper.console(name.clone(), entering.clone()).await {
                    Ok(socket) => return socket,
                    Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(AWAY_MAX, again).await.context("the keeper is gone and no other has followed it")
    })
}

fn pump(socket: &OwnedFd, terminal: &RawTerminal, offset: &mut Option<u64>) -> anyhow::Result<Left> {
    let input = std::io::stdin();
    let mut hears = true;
    loop {
        let mut set = vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if hears {
            set.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting fails"),
        }
        let is_ready = |at: usize| set.get(at).and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty());
        let (comes, typed) = (is_ready(0), is_ready(1));
        if comes {
            match fdpass::receive(socket) {
                Ok(Some(frame)) => match Packet::read(&frame.bytes) {
                    Some(Packet::Shown { offset: at, bytes }) => {
                        show(bytes)?;
                        *offset = Some(at + bytes.len() as u64);
                    }
                    Some(Packet::Words(words)) => show(words)?,
                    Some(Packet::Do(b'z')) => terminal.suspend()?,
                    Some(Packet::Do(b';')) => return Ok(Left::GoTo),
                    Some(Packet::Over(why)) => return Ok(Left::Over(String::from_utf8_lossy(why).into_owned())),
                    Some(Packet::Do(_)) | None => {}
                },
                Ok(None) | Err(Errno::ECONNRESET) => return Ok(Left::Lost),
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("the console's socket broke"),
            }
        }
        if typed {
            let mut bytes = [0; TYPED_BYTES_MAX];
            match read(&input, &mut bytes) {
                Ok(0) => hears = false,
                Ok(count) => match fdpass::send(socket, &bytes[..count], &[] as &[OwnedFd]) {
                    Ok(()) => {}
                    Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(Left::Lost),
                    Err(error) => return Err(error).context("what is typed cannot be sent"),
                },
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => hears = false,
            }
        }
    }
}

/// In the middle of a session: a line of its own, read from a raw terminal.
fn ask_for_name() -> anyhow::Result<String> {
    show(b"console: ")?;
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
            Ok(_) if name.len() < NAME_BYTES_MAX => {
                name.push(byte[0]);
                show(&byte)?;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("the terminal cannot be read"),
        }
    }
    show(b"\r\n")?;
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
