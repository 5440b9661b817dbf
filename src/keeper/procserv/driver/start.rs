//! The way from options to a server: the command looked at, listeners, log, daemon, files about it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollFlags};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, UnixAddr, bind,
    getsockname, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Group, User};

use super::{Listener, Log, Server, Source, Stamps, complain, complain_as_is, unix_seconds};
use crate::console::ring::Ring;
use crate::console::texts::{Facts, RestartMode};
use crate::container::machine::Machine;
use crate::container::spec::RestartPolicy;
use crate::keeper::log::LogFile;
use crate::keeper::procserv::endpoint::Endpoint;
use crate::keeper::procserv::options::{self, Options};
use crate::sys::daemon::{self, Side};
use crate::sys::{local_time, memfd};

/// A child that ends at once for ever is started no faster than procServ's own tick did; the holdoff comes on top.
const RESTART_DELAY_MAX: std::time::Duration = std::time::Duration::from_millis(500);
/// A child that ran so long is started again at once: at that rate starts cost next to nothing.
const STEADY_RUN: std::time::Duration = std::time::Duration::from_millis(200);
const CONNECTIONS_WAITING_MAX: i32 = 128;

pub(super) enum Started {
    /// The daemon goes on elsewhere.
    Caller,
    Server(Box<Server>),
}

/// Why there is no server, in procServ's words, and the exit status that says so.
pub(super) struct Problem {
    pub text: String,
    pub status: i32,
}

pub(super) fn policy(mode: RestartMode) -> RestartPolicy {
    match mode {
        RestartMode::On => RestartPolicy::Always,
        RestartMode::Off | RestartMode::OneShot => RestartPolicy::Never,
    }
}

/// As `strerror` puts it.
pub(super) fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned())
}

/// What a child finds in `PROCSERV_INFO`.
pub(super) fn info_entry(listeners: &[Listener]) -> String {
    let of = |read_only: bool| listeners.iter().filter(move |listener| listener.read_only == read_only);
    let mut entry = format!("PID={}", std::process::id());
    for (read_only, word) in [(false, "CTL"), (true, "LOG")] {
        of(read_only).for_each(|listener| entry.push_str(&format!(";{word}={}", listener.place)));
    }
    entry
}

pub(super) fn start(mut options: Options) -> Result<Started, Problem> {
    check_command(&mut options)?;
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let invalid = |text: String| Problem { text: format!("procServ: {text}"), status: libc::EINVAL };
    let places = options.places().map_err(|wrong| invalid(wrong.to_string()))?;
    let mask = hold_back_signals().map_err(|errno| invalid(errno.desc().to_owned()))?;
    let mut listeners = Vec::new();
    for (place, read_only) in places {
        let which = if read_only { "log" } else { "control" };
        listeners.push(open(&place, read_only).map_err(|problem| match problem {
            Refused::Kernel(errno) => Problem {
                text: format!(
                    "Caught an exception creating the initial {which} telnet port: {}\n\
                     procServ: Exiting with error code: {}",
                    errno.desc(),
                    errno as i32
                ),
                status: errno as i32,
            },
            Refused::Name(text) => Problem { text, status: 1 },
        })?);
    }
    if !options.quiet {
        for warning in options::warnings(listeners.iter().map(|listener| &listener.place)) {
            complain(&format!("warning: {warning}"));
        }
    }
    let (log, log_file) = open_log(&options);
    if !options.foreground && !options.debug {
        match daemon::fork_off() {
            Ok(Side::Caller { daemon }) => {
                // Written before the caller ends, so that whoever waits for that finds it.
                write_pid_file(&options, daemon);
                if !options.quiet {
                    complain(&format!("spawning daemon process: {daemon}"));
                    if !matches!(log_file, Some((_, true))) {
                        let port = if options.log_port.is_some() { "" } else { " and no port for log connections" };
                        complain_as_is(&format!("Warning: No log file{port} specified."));
                    }
                }
                return Ok(Started::Caller);
            }
            Ok(Side::Daemon) => {}
            Err(errno) => return Err(invalid(format!("Could not fork daemon process: {}", errno.desc()))),
        }
    } else {
        write_pid_file(&options, i32::try_from(std::process::id()).unwrap_or(0));
    }
    let facts = facts(&options, &folder, log_file);
    let server = assemble(options, facts, listeners, log, &mask)
        .map_err(|errno| Problem { text: format!("procServ: {}", errno.desc()), status: errno as i32 })?;
    Ok(Started::Server(Box::new(server)))
}

/// procServ wants a path; a bare name that is not in this folder is looked for in `PATH`.
fn check_command(options: &mut Options) -> Result<(), Problem> {
    let refused = |text: String| Problem { text, status: libc::EINVAL };
    let executed = options.executed();
    let mut path = PathBuf::from(&executed);
    let bare = !executed.as_bytes().contains(&b'/');
    if bare
        && !path.exists()
        && let Some(found) = std::env::var_os("PATH")
            .and_then(|dirs| std::env::split_paths(&dirs).map(|dir| dir.join(&executed)).find(|path| path.is_file()))
    {
        path = found;
    }
    let shown = path.display();
    let metadata = fs::metadata(&path).map_err(|error| refused(format!("{shown}: {}", reason(&error))))?;
    if !metadata.is_file() {
        return Err(refused(format!("procServ: {shown} is not a regular file")));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(refused(format!(
            "procServ: Error - Please change permissions on {shown} to at least ---x--x--x\n\
             procServ is not able to continue without execute permission"
        )));
    }
    if let Some(folder) = &options.folder
        && let Err(error) = fs::metadata(folder)
    {
        complain_as_is(&format!("{}: {}", folder.display(), reason(&error)));
    }
    if bare {
        // What is executed is the file, wherever the child's folder is; its name stays the word that was given.
        let absolute = std::path::absolute(&path).unwrap_or(path);
        options.found = Some(absolute.into_os_string());
    }
    Ok(())
}

enum Refused {
    Kernel(Errno),
    Name(String),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Kernel(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    }
}

fn open(place: &Endpoint, read_only: bool) -> Result<Listener, Refused> {
    let listener = |fd, place, file| Listener { fd, read_only, place, file };
    Ok(match place {
        Endpoint::Tcp { address } => {
            let fd = match address {
                SocketAddr::V4(address) => bound(AddressFamily::Inet, &SockaddrIn::from(*address))?,
                SocketAddr::V6(address) => bound(AddressFamily::Inet6, &SockaddrIn6::from(*address))?,
            };
            let bound = getsockname::<SockaddrStorage>(fd.as_raw_fd())?;
            let port = bound
                .as_sockaddr_in()
                .map(SockaddrIn::port)
                .or_else(|| bound.as_sockaddr_in6().map(SockaddrIn6::port))
                .unwrap_or(address.port());
            listener(fd, Endpoint::Tcp { address: SocketAddr::new(address.ip(), port) }, None)
        }
        Endpoint::Abstract { name } => {
            let fd = bound(AddressFamily::Unix, &UnixAddr::new_abstract(name.as_bytes())?)?;
            listener(fd, place.clone(), None)
        }
        Endpoint::Unix { path, user, group, mode } => {
            let (uid, gid) = owner(user.as_deref(), group.as_deref())?;
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            // Nobody gets in before the owner is right.
            let before = umask(Mode::from_bits_truncate(0o777));
            let fd = UnixAddr::new(path).and_then(|address| bound(AddressFamily::Unix, &address));
            umask(before);
            let fd = fd?;
            chown(path, uid, gid)?;
            fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
            let inode = fs::symlink_metadata(path)?.ino();
            // The server may be asked to remove it from another folder.
            let file = std::path::absolute(path)?;
            listener(fd, place.clone(), Some((file, inode)))
        }
    })
}

fn bound(family: AddressFamily, address: &dyn SockaddrLike) -> nix::Result<OwnedFd> {
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if family != AddressFamily::Unix {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), address)?;
    listen(&fd, Backlog::new(CONNECTIONS_WAITING_MAX)?)?;
    Ok(fd)
}

/// A user brings its primary group along.
fn owner(user: Option<&str>, group: Option<&str>) -> Result<(Option<u32>, Option<u32>), Refused> {
    let user = match user {
        None => None,
        Some(name) => Some(User::from_name(name)?.ok_or_else(|| Refused::Name(format!("Unknown user '{name}'")))?),
    };
    let group = match group {
        None => user.as_ref().map(|user| user.gid),
        Some(name) => {
            Some(Group::from_name(name)?.ok_or_else(|| Refused::Name(format!("Unknown group '{name}'")))?.gid)
        }
    };
    Ok((user.map(|user| user.uid.as_raw()), group.map(nix::unistd::Gid::as_raw)))
}

fn open_log(options: &Options) -> (Option<Log>, Option<(String, bool)>) {
    let Some(path) = &options.log_file else { return (None, None) };
    let shown = path.display().to_string();
    if path.as_os_str() == OsStr::new("-") {
        return (Some(Log::StandardOutput), Some((shown, true)));
    }
    let mut log = LogFile::plain(path.clone());
    let opened = log.open_now().is_ok();
    if !opened {
        complain(&format!("unable to open log file {shown}"));
    }
    (Some(Log::File(Box::new(log))), Some((shown, opened)))
}

fn write_pid_file(options: &Options, pid: i32) {
    if let Some(path) = options.pid_file.as_ref().filter(|path| !path.as_os_str().is_empty())
        && fs::write(path, format!("{pid}\n")).is_err()
    {
        complain(&format!("unable to open PID file {}", path.display()));
    }
}

fn facts(options: &Options, folder: &Path, log_file: Option<(String, bool)>) -> Facts {
    let command = options.command_text();
    let server_folder = folder.display().to_string();
    let child_folder =
        options.folder.as_ref().map_or_else(|| server_folder.clone(), |folder| folder.display().to_string());
    Facts {
        wording: options.wording,
        keys: options.keys.clone(),
        server_pid: std::process::id(),
        server_folder,
        child_folder,
        name: options.name.clone().unwrap_or_else(|| command.clone()),
        executed: options.exec.as_ref().map_or_else(|| command.clone(), |exec| exec.to_string_lossy().into_owned()),
        command,
        log_file,
        server_started: local_time::format(unix_seconds(), &options.time_format),
    }
}

/// What is heard by a descriptor from now on. Nobody knows of this process yet: whoever finds its files or sockets may send
/// it any of these at once.
fn hold_back_signals() -> nix::Result<SigSet> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGPIPE,
        Signal::SIGXFSZ,
    ] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(mask)
}

fn assemble(
    options: Options,
    facts: Facts,
    listeners: Vec<Listener>,
    log: Option<Log>,
    mask: &SigSet,
) -> nix::Result<Server> {
    let inherited_umask = umask(Mode::empty());
    umask(inherited_umask);
    let server = Server {
        mode: options.mode,
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        signals: SignalFd::with_flags(mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
        listeners,
        clients: std::collections::BTreeMap::new(),
        next_client: 0,
        machine: Machine::new(policy(options.mode), options.holdoff).with_pace(RESTART_DELAY_MAX, STEADY_RUN),
        child: None,
        next_run: 0,
        ring: Ring::default(),
        stamps: options.stamp_format().map(Stamps::new),
        log,
        killed_at: None,
        stop_at: None,
        quits: None,
        umask: inherited_umask.bits(),
        terminal_before: None,
        buffer: vec![0; super::child::READ_BYTES],
        options,
        facts,
    };
    let mut server = server;
    server.watch(&server.signals, Source::Signals, EpollFlags::EPOLLIN)?;
    for (at, listener) in server.listeners.iter().enumerate() {
        server.watch(&listener.fd, Source::Listener(u32::try_from(at).unwrap_or(u32::MAX)), EpollFlags::EPOLLIN)?;
    }
    server.write_info_file();
    if server.options.foreground && !matches!(server.log, Some(Log::StandardOutput)) {
        server.take_in_terminal();
    }
    Ok(server)
}

impl Server {
    /// The latest endpoint first, as procServ lists them.
    fn write_info_file(&self) {
        let Some(path) = &self.options.info_file else { return };
        let mut text = format!("pid:{}\n", self.facts.server_pid);
        for listener in self.listeners.iter().rev() {
            text.push_str(&format!("{}\n", listener.place));
        }
        if let Err(error) = fs::write(path, text) {
            complain(&format!("unable to write info file {}: {}", path.display(), reason(&error)));
        }
    }

    /// In the foreground the caller's terminal is a client like others.
    fn take_in_terminal(&mut self) {
        let input = io::stdin();
        let Ok(before) = tcgetattr(&input) else { return };
        // A description of its own: the caller's stays as it is.
        let Ok(terminal) = memfd::reopened(&input, OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOCTTY) else { return };
        let mut raw = before.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        if tcsetattr(&input, SetArg::TCSANOW, &raw).is_ok() {
            self.terminal_before = Some(before);
            self.take_in(terminal, false);
        }
    }

    pub(super) fn restore_terminal(&self) {
        if let Some(before) = &self.terminal_before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
