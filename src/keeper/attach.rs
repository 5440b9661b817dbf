//! The program of a container that is somebody else's console: it connects to a Unix socket or a port, and passes on what
//! comes and what is typed, until the other side closes. Being tried again, logs, replay and listeners are the container's.
//!
//! ```text
//!  connecting --connected--> "\n" on descriptor 3 --> passing on --the other side closes--> ends, and is started again
//! ```

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};
use thiserror::Error;

use crate::console::telnet::{self, Receiver};
use crate::sys::inherited;

/// The first argument of the program that has this part.
pub const ARGUMENT: &str = "--attach";
/// The descriptor on which the container is told that the connection stands.
pub const READY_NUMBER: i32 = 3;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 16 * 1024;
/// What waits for an other side that does not read; nothing more is taken from who types until there is room.
const WAITING_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

#[derive(Debug, Error)]
pub enum AttachError {
    #[error("usage: procyon-keeper --attach unix:PATH|tcp:HOST:PORT raw|telnet")]
    Usage,
    #[error("{target}: {reason}")]
    Connect { target: Target, reason: String },
    #[error("{target}: the other side has closed the connection")]
    Closed { target: Target },
    #[error("{what}: {reason}")]
    System { what: &'static str, reason: String },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl Target {
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Self::Unix(path.into())).filter(|_| path.starts_with('/'));
        }
        let (host, port) = text.strip_prefix("tcp:")?.rsplit_once(':')?;
        Some(Self::Tcp { host: host.to_owned(), port: port.parse().ok()? }).filter(|_| !host.is_empty())
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let (host, port) = match self {
            Self::Unix(path) => return UnixStream::connect(path).map(OwnedFd::from),
            Self::Tcp { host, port } => (host.trim_matches(['[', ']']), *port),
        };
        let mut last = io::Error::other("the name stands for no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::KeepAlive, &true)?;
                    return Ok(stream.into());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Connects and passes on until it is over; standard input and output are the container's terminal.
///
/// # Errors
/// Always, in the end: why there is no connection, or none any more.
pub fn main(arguments: &[OsString]) -> Result<(), AttachError> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let (target, is_telnet) = match words[..] {
        [target, "raw"] => (Target::parse(target), false),
        [target, "telnet"] => (Target::parse(target), true),
        _ => (None, false),
    };
    let target = target.ok_or(AttachError::Usage)?;
    let system = |what: &'static str| move |error: Errno| AttachError::System { what, reason: error.to_string() };
    // Before anything else is opened that could take its number.
    let ready = inherited::take(READY_NUMBER).ok();
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGINT);
    mask.thread_block().map_err(system("blocking the interrupt"))?;
    let breaks = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(system("taking the interrupt"))?;
    pass_keys_on();
    let socket =
        target.connect().map_err(|error| AttachError::Connect { target: target.clone(), reason: error.to_string() })?;
    crate::sys::spawn::set_nonblocking(&socket).map_err(system("preparing the connection"))?;
    if let Some(ready) = ready {
        // A container that does not listen for it is none of ours.
        let _ = write(&ready, b"\n");
    }
    pump(&socket, &breaks, is_telnet).map_err(system("passing on"))?;
    Err(AttachError::Closed { target })
}

/// The terminal is only a pipe here: what is typed is for the other side, which echoes it if it does.
fn pass_keys_on() {
    let input = io::stdin();
    if let Ok(mut settings) = tcgetattr(&input) {
        cfmakeraw(&mut settings);
        // One that is no terminal has nothing to be set.
        let _ = tcsetattr(&input, SetArg::TCSANOW, &settings);
    }
}

fn pump(socket: &OwnedFd, breaks: &SignalFd, is_telnet: bool) -> nix::Result<()> {
    let mut receiver = Receiver::of_a_client();
    let mut waiting: Vec<u8> = Vec::new();
    let mut hears = true;
    let mut piece = [0; PIECE_BYTES];
    loop {
        let mut from_socket = PollFlags::POLLIN;
        from_socket.set(PollFlags::POLLOUT, !waiting.is_empty());
        let (input, output) = (io::stdin(), io::stdout());
        let mut set = vec![PollFd::new(socket.as_fd(), from_socket), PollFd::new(breaks.as_fd(), PollFlags::POLLIN)];
        if hears && waiting.len() < WAITING_BYTES_MAX {
            set.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let is_ready = |at: usize| set.get(at).and_then(PollFd::revents).is_some_and(|flags| !flags.is_empty());
        let (comes, is_break, is_typed) = (is_ready(0), is_ready(1), is_ready(2));
        if is_break && let Ok(Some(_)) = breaks.read_signal() {
            // What has no break in its protocol cannot be sent one.
            waiting.extend_from_slice(if is_telnet { &telnet::BREAK } else { &[] });
        }
        if is_typed {
            match read(&input, &mut piece) {
                Ok(0) => hears = false,
                Ok(count) if is_telnet => telnet::escape(&piece[..count], &mut waiting),
                Ok(count) => waiting.extend_from_slice(&piece[..count]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error),
            }
        }
        if comes {
            match read(socket, &mut piece) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(()),
                Ok(count) if is_telnet => {
                    let shown = receiver.receive(&piece[..count], &mut waiting);
                    output.lock().write_all(&shown).and_then(|()| output.lock().flush()).map_err(errno)?;
                }
                Ok(count) => {
                    output.lock().write_all(&piece[..count]).and_then(|()| output.lock().flush()).map_err(errno)?;
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error),
            }
        }
        if !waiting.is_empty() {
            match write(socket, &waiting) {
                Ok(count) => drop(waiting.drain(..count)),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_socket_or_a_port() {
        let tcp = |host: &str, port| Some(Target::Tcp { host: host.into(), port });
        assert_eq!(Target::parse("unix:/run/x"), Some(Target::Unix("/run/x".into())));
        assert_eq!(Target::parse("tcp:localhost:2000"), tcp("localhost", 2000));
        assert_eq!(Target::parse("tcp:[::1]:2000"), tcp("[::1]", 2000));
        for wrong in ["unix:x", "tcp::1", "tcp:h", "tcp:h:99999", "x", ""] {
            assert_eq!(Target::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Target::parse("tcp:h:1").unwrap().to_string(), "tcp:h:1");
    }
}
