//! The process that is called as procServ: one epoll loop that owns the child's terminal, the listeners and the clients.
//!
//! It waits for nobody: the child is read whatever its clients do, each client is sent what it takes.

mod child;
mod clients;
mod start;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::Termios;

use super::endpoint::Endpoint;
use super::options::{self, Asked, Environment, HELP, Options, USAGE};
use crate::console::ring::Ring;
use crate::console::stamps::Stamper;
use crate::console::texts::{Facts, RestartMode, VERSION};
use crate::container::machine::{Input, Machine};
use crate::keeper::log::LogFile;
use crate::sys::{local_time, process};

const EVENTS_PER_TURN_MAX: usize = 64;
/// More clients than that are not taken.
pub const CLIENTS_MAX: usize = 512;

/// What can wake the loop, and as a number what epoll gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Terminal,
    Listener(u32),
    Client(u32),
}

impl Source {
    fn number(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Terminal => 1,
            Self::Listener(at) => 1 << 32 | u64::from(at),
            Self::Client(id) => 2 << 32 | u64::from(id),
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        let id = u32::try_from(number & 0xffff_ffff).ok()?;
        Some(match number >> 32 {
            0 if id == 0 => Self::Signals,
            0 => Self::Terminal,
            1 => Self::Listener(id),
            _ => Self::Client(id),
        })
    }
}

/// Where clients come from.
struct Listener {
    fd: OwnedFd,
    read_only: bool,
    /// With the port that was picked.
    place: Endpoint,
    /// The socket file, to be removed at the end if it is still this one.
    file: Option<(PathBuf, u64)>,
}

enum Log {
    File(Box<LogFile>),
    StandardOutput,
}

/// How the stamped lines of log and loggers come about; loggers without stamps watch the console's own ring.
struct Stamps {
    format: String,
    stamper: Stamper,
    ring: Ring,
    /// The stamp of this second.
    current: (i64, String),
}

struct Server {
    options: Options,
    facts: Facts,
    mode: RestartMode,
    epoll: Epoll,
    signals: SignalFd,
    listeners: Vec<Listener>,
    clients: BTreeMap<u32, clients::Client>,
    next_client: u32,
    machine: Machine,
    child: Option<child::Child>,
    next_run: u32,
    ring: Ring,
    stamps: Option<Stamps>,
    log: Option<Log>,
    /// When an operator pressed the kill key.
    killed_at: Option<Instant>,
    /// SIGTERM has come; the child has until then.
    stop_at: Option<Instant>,
    /// The server is to end with this status.
    quits: Option<i32>,
    umask: u32,
    /// What the caller's terminal was before it became a client.
    terminal_before: Option<Termios>,
    buffer: Vec<u8>,
}

/// Serves until it is told to quit; the exit status of the process.
pub fn main(arguments: Vec<OsString>) -> i32 {
    let environment = Environment {
        pid_file: std::env::var_os("PROCSERV_PID").map(PathBuf::from),
        debug: std::env::var_os("PROCSERV_DEBUG").is_some(),
    };
    let (asked, remarks) = options::parse(arguments, environment);
    for remark in remarks {
        complain(&remark);
    }
    match asked {
        Asked::Help => show(&format!("{USAGE}{HELP}"), 0),
        Asked::Version => show(&format!("{VERSION}\n"), 0),
        Asked::Nonsense => show(USAGE, 1),
        Asked::Run(options) => match start::start(*options) {
            Ok(start::Started::Caller) => 0,
            Ok(start::Started::Server(mut server)) => server.serve(),
            Err(problem) => {
                complain_as_is(&problem.text);
                problem.status
            }
        },
    }
}

/// A standard output that is gone is no reason to fail.
fn show(text: &str, status: i32) -> i32 {
    let _ = std::io::stdout().write_all(text.as_bytes());
    status
}

fn complain(text: &str) {
    complain_as_is(&format!("procServ: {text}"));
}

fn complain_as_is(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Server {
    fn serve(&mut self) -> i32 {
        if !self.options.wait {
            self.give(Input::Start);
        }
        let mut events = [EpollEvent::empty(); EVENTS_PER_TURN_MAX];
        let status = loop {
            if let Some(status) = self.quits {
                break status;
            }
            self.flush_all();
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => 0,
                Err(error) => {
                    complain(&format!("waiting fails: {error}"));
                    break 1;
                }
            };
            for event in &events[..count] {
                match Source::from_number(event.data()) {
                    Some(Source::Signals) => self.signals_came(),
                    Some(Source::Terminal) => self.terminal_ready(event.events()),
                    Some(Source::Listener(at)) => self.accept(at),
                    Some(Source::Client(id)) => self.client_ready(id, event.events()),
                    None => {}
                }
            }
            self.deadlines();
        };
        self.finish();
        status
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(at) = [self.machine.deadline(), self.stop_at].into_iter().flatten().min() else {
            return EpollTimeout::NONE;
        };
        // Rounded up: waking early would only mean to wait again.
        let millis = at.saturating_duration_since(now()).as_micros().div_ceil(1000);
        EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::ZERO)
    }

    fn deadlines(&mut self) {
        let now = now();
        if self.machine.deadline().is_some_and(|at| at <= now) {
            self.give(Input::Deadline);
        }
        if self.stop_at.is_some_and(|at| at <= now || self.child.is_none()) {
            self.quits = Some(0);
        }
    }

    fn signals_came(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGTERM) => self.told_to_stop(),
                // In the foreground they are meant for the child's users, who type them.
                Some(Signal::SIGINT | Signal::SIGQUIT) if !self.options.foreground => self.told_to_stop(),
                Some(Signal::SIGHUP) => self.reopen_log(),
                _ => {}
            }
        }
        // Several ends may have come as one signal.
        while let Some(reaped) = process::reap_one() {
            self.reaped(reaped.pid, reaped.raw_status);
        }
    }

    fn told_to_stop(&mut self) {
        self.signal_child(self.options.kill_signal);
        if self.options.grace.is_zero() || self.options.kill_signal == libc::SIGKILL || self.child.is_none() {
            self.quits = Some(0);
        } else if self.stop_at.is_none() {
            self.mode = RestartMode::Off;
            self.give(Input::Policy { policy: start::policy(RestartMode::Off) });
            self.stop_at = now().checked_add(self.options.grace);
        }
    }

    fn reopen_log(&mut self) {
        let Some(Log::File(log)) = &mut self.log else { return };
        log.close();
        let opened = log.open_now().is_ok();
        if let Some((_, was_opened)) = &mut self.facts.log_file {
            *was_opened = opened;
        }
    }

    /// To the log, and to everybody who watches.
    fn show(&mut self, bytes: &[u8]) {
        let slowest = |clients: &BTreeMap<u32, clients::Client>, stamped: bool, end: u64| {
            clients
                .values()
                .filter(|client| client.stamped == stamped)
                .map(|client| client.outbox.offset())
                .min()
                .unwrap_or(end)
        };
        let stamped = self.stamps.as_mut().map(|stamps| {
            let stamp = stamps.stamp_now();
            let stamped = stamps.stamper.stamp(&stamp, bytes);
            let end = stamps.ring.end();
            stamps.ring.push(&stamped, slowest(&self.clients, true, end));
            stamped
        });
        self.ring.push(bytes, slowest(&self.clients, false, self.ring.end()));
        match &mut self.log {
            Some(Log::File(log)) => log.append(stamped.as_deref().unwrap_or(bytes), 0),
            Some(Log::StandardOutput) => to_standard_output(stamped.as_deref().unwrap_or(bytes)),
            None => {}
        }
        if self.options.debug && !self.options.foreground && !matches!(self.log, Some(Log::StandardOutput)) {
            to_standard_output(bytes);
        }
    }

    fn say(&mut self, text: &str) {
        self.show(text.as_bytes());
    }

    fn time_text(&self) -> String {
        local_time::format(unix_seconds(), &self.options.time_format)
    }

    fn watch(&self, fd: impl AsFd, source: Source, flags: EpollFlags) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(flags, source.number()))
    }

    fn rewatch(&self, fd: impl AsFd, source: Source, flags: EpollFlags) {
        // What is not watched any more has gone, and its end was seen.
        let _ = self.epoll.modify(fd, &mut EpollEvent::new(flags, source.number()));
    }

    fn finish(&mut self) {
        self.sweep_group();
        self.flush_all();
        self.restore_terminal();
        for listener in &self.listeners {
            if let Some((path, inode)) = &listener.file
                && fs::symlink_metadata(path).is_ok_and(|there| there.ino() == *inode)
            {
                let _ = fs::remove_file(path);
            }
        }
        for path in [&self.options.info_file, &self.options.pid_file].into_iter().flatten() {
            let _ = fs::remove_file(path);
        }
    }
}

impl Stamps {
    fn new(format: String) -> Self {
        Self { format, stamper: Stamper::default(), ring: Ring::default(), current: (i64::MIN, String::new()) }
    }

    fn stamp_now(&mut self) -> String {
        let second = unix_seconds();
        if self.current.0 != second {
            self.current = (second, local_time::format(second, &self.format));
        }
        self.current.1.clone()
    }
}

fn to_standard_output(bytes: &[u8]) {
    let mut out = std::io::stdout();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

#[expect(clippy::disallowed_methods, reason = "the driver's one look at the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the driver's one look at the time of day")]
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
