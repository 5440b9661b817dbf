//! The keeper's process: one epoll loop that owns every container, connection and viewer.
//!
//! Whatever can wake it is one `Source`; each turn takes a bounded amount from each, so none starves the others.
//! Nothing in the loop waits: files are read and trees are killed on [`Workers`], logs are written to the page cache,
//! agents and viewers are served through bounded queues.

mod adopt;
mod breaking;
mod consoles;
mod daemons;
mod ending;
mod links;
mod listeners;
mod orders;
mod permits;
mod readiness;
mod runs;
mod speaking;
mod starts;
mod streams;
mod survivors;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use thiserror::Error;
use tracing::{info, warn};

use super::forward::Forwarder;
use super::gate::Frozen;
use super::held::{Held, Moment};
use super::keeping::Deposit;
use super::launch::{LAUNCHER, RootId};
use super::link::Link;
use super::run_ids::RunIds;
use super::survivors::Survivors;
use super::viewer::Viewer;
use super::worker::{End, Workers};
use crate::checksum::Sha256;
use crate::container::machine::Input;
use crate::container::provision::READY_NUMBERS;
use crate::container::spec::{ContainerName, Floor};
use crate::sys::cgroup::Groups;
use crate::sys::low::LowNumbers;
use crate::sys::{confinement, memfd, process};

/// Each container holds about ten descriptors.
pub const CONTAINERS_MAX: usize = 4096;
pub const LINKS_MAX: usize = 16;
/// How long a program may take to end when the whole system is shut down.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Each holds up the others for about half a millisecond.
const STARTS_AT_ONCE_MAX: usize = 2;
const EVENTS_PER_TURN_MAX: usize = 128;
const CONNECTIONS_WAITING_MAX: i32 = 16;
/// For how many milliseconds a keeper that still answers may be one that ends.
const PREDECESSOR_PATIENCE: u16 = 1000;

#[derive(Debug, Error)]
pub enum KeeperError {
    #[error("`{}`: {reason}: check that the folder is there and writable", path.display())]
    Path { path: PathBuf, reason: String },
    #[error("another keeper serves `{}`: stop it first", path.display())]
    AlreadyServed { path: PathBuf },
    #[error("{what}: {reason}")]
    System { what: &'static str, reason: String },
}

/// What can wake the loop, and as a number what epoll gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Workers,
    Notices,
    Link(u32),
    Output(u32),
    Errors(u32),
    Terminal(u32),
    Pidfd(u32),
    Viewer(u32),
    /// A listener of a console.
    Door(u32),
    Notify(u32),
    ReadyPipe(u32),
    /// A daemon that a start command has left.
    Daemon(u32),
}

impl Source {
    fn number(self) -> u64 {
        let (kind, id) = match self {
            Self::Signals => (0, 0),
            Self::Listener => (1, 0),
            Self::Workers => (2, 0),
            Self::Notices => (3, 0),
            Self::Link(id) => (4, id),
            Self::Output(id) => (5, id),
            Self::Errors(id) => (6, id),
            Self::Terminal(id) => (7, id),
            Self::Pidfd(id) => (8, id),
            Self::Viewer(id) => (9, id),
            Self::Door(id) => (10, id),
            Self::Notify(id) => (11, id),
            Self::ReadyPipe(id) => (12, id),
            Self::Daemon(id) => (13, id),
        };
        kind << 32 | u64::from(id)
    }

    fn from_number(number: u64) -> Option<Self> {
        let id = u32::try_from(number & 0xffff_ffff).ok()?;
        Some(match number >> 32 {
            0 => Self::Signals,
            1 => Self::Listener,
            2 => Self::Workers,
            3 => Self::Notices,
            4 => Self::Link(id),
            5 => Self::Output(id),
            6 => Self::Errors(id),
            7 => Self::Terminal(id),
            8 => Self::Pidfd(id),
            9 => Self::Viewer(id),
            10 => Self::Door(id),
            11 => Self::Notify(id),
            12 => Self::ReadyPipe(id),
            13 => Self::Daemon(id),
            _ => return None,
        })
    }
}

/// Serves until a shutdown is complete.
///
/// With `alone` there is no custodian above: the keeper takes in the orphans itself.
pub fn main(root: &Path, deposit: Box<dyn Deposit>, alone: bool) -> Result<(), KeeperError> {
    let mut driver = Driver::open(root, deposit, alone)?;
    driver.adopt();
    if driver.held.is_empty() {
        driver.look_for_survivors();
    }
    if let Err(error) = driver.deposit.ready() {
        warn!(%error, "the custodian is not told that the keeper serves");
    }
    info!(socket = %driver.socket_path.display(), containers = driver.held.len(), "keeper serves");
    driver.serve()
}

struct Driver {
    root: RootId,
    root_path: PathBuf,
    host: String,
    /// Kept free for what programs are given.
    low: LowNumbers,
    /// When, in words.
    started: String,
    /// Control groups for the containers, or why there are none.
    groups: Result<Groups, String>,
    /// Holds the numbers that readiness may be promised.
    _reserved: Vec<OwnedFd>,
    epoll: Epoll,
    signals: SignalFd,
    listener: OwnedFd,
    socket_path: PathBuf,
    workers: Workers,
    deposit: Box<dyn Deposit>,
    run_ids: RunIds,
    launcher: Frozen,
    held: BTreeMap<u32, Held>,
    slots: BTreeMap<ContainerName, u32>,
    /// Main processes that are ours to reap.
    pids: HashMap<i32, u32>,
    timers: BTreeSet<(Instant, u32)>,
    links: BTreeMap<u32, Link>,
    viewers: BTreeMap<u32, Viewer>,
    /// Listeners of consoles: whose.
    doors: BTreeMap<u32, u32>,
    /// Connections to consoles whose accounts are being looked up.
    knocks: usize,
    forwarder: Forwarder,
    /// What all tapes take, those that are yet to be made too.
    tapes_bytes: usize,
    /// Looks before a start that are under way.
    looks: usize,
    /// Starts that this turn of the loop may still make without a worker's look.
    starts_at_once: usize,
    /// Launches that workers carry out.
    launches: BTreeMap<u64, starts::Launching>,
    next_launch: u64,
    /// Orders that wait for a worker.
    tickets: BTreeMap<u64, orders::Ticket>,
    next_id: u32,
    next_ticket: u64,
    next_place: u64,
    shutdown: Option<ending::Shutdown>,
    /// What nobody held when this keeper began, until its container is defined again.
    survivors: BTreeMap<ContainerName, Survivors>,
    /// How runs have ended in this turn of the loop.
    ends: Vec<End>,
    /// Ends that workers write down now.
    unrecorded: usize,
    /// Commands of permits that are ours to reap.
    helpers: HashMap<i32, u32>,
    /// Since when nobody has ordered the starts of a floor; for one that is not here, since the keeper began.
    away: BTreeMap<Floor, Instant>,
    began: Instant,
}

impl Driver {
    fn open(root: &Path, deposit: Box<dyn Deposit>, alone: bool) -> Result<Self, KeeperError> {
        let system =
            |what: &'static str| move |error: nix::Error| KeeperError::System { what, reason: error.to_string() };
        process::raise_descriptor_limit().map_err(system("raising the limit of descriptors"))?;
        let reserved = process::reserve_numbers_below(READY_NUMBERS.end() + 1)
            .map_err(system("keeping descriptors for programs"))?;
        // Before anything that lives long is opened.
        let low = LowNumbers::new().map_err(system("keeping low descriptors free"))?;
        if alone {
            process::become_subreaper().map_err(system("becoming subreaper"))?;
        }
        // Before any thread is started, so that all of them leave these to the loop.
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
            mask.add(signal);
        }
        mask.thread_block().map_err(system("blocking signals"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(system("opening the signal descriptor"))?;
        let state = make_folder(&root.join("state"))?;
        let socket_path = make_folder(&root.join("run"))?.join("keeper.sock");
        let listener = listen_at(&socket_path)?;
        let workers = Workers::start()
            .map_err(|error| KeeperError::System { what: "starting workers", reason: error.to_string() })?;
        let launcher = memfd::sealed("procyon-launcher", LAUNCHER.as_bytes())
            .map(|fd| Frozen { fd, sha256: Sha256::of(LAUNCHER.as_bytes()) })
            .map_err(|error| KeeperError::System { what: "sealing the launcher", reason: error.to_string() })?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system("opening epoll"))?;
        let run_ids = RunIds::open(state.join("run-ids"), unix_seconds(moment().unix_ms));
        let root_id =
            RootId::of(root).map_err(|error| KeeperError::Path { path: root.to_owned(), reason: error.to_string() })?;
        let groups = Groups::probe(root_id.as_str());
        match &groups {
            Ok(groups) => info!(
                memory = groups.can_limit_memory,
                processes = groups.can_limit_processes,
                "each container has a control group"
            ),
            Err(why) => info!(why, "containers have no control groups: their processes are known by their environment"),
        }
        if !confinement::is_there() {
            warn!("this kernel confines no programs (landlock): scripts may write wherever their account may");
        }
        let host =
            nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned());
        let driver = Self {
            root: root_id,
            low,
            root_path: root.to_owned(),
            host: host.clone(),
            started: speaking::time_text(moment().unix_ms),
            groups,
            _reserved: reserved,
            epoll,
            signals,
            listener,
            socket_path,
            workers,
            deposit,
            run_ids,
            launcher,
            held: BTreeMap::new(),
            slots: BTreeMap::new(),
            pids: HashMap::new(),
            timers: BTreeSet::new(),
            links: BTreeMap::new(),
            viewers: BTreeMap::new(),
            doors: BTreeMap::new(),
            forwarder: Forwarder::new(host),
            knocks: 0,
            tapes_bytes: 0,
            looks: 0,
            starts_at_once: 0,
            launches: BTreeMap::new(),
            next_launch: 0,
            tickets: BTreeMap::new(),
            next_id: 0,
            next_ticket: 0,
            next_place: 0,
            shutdown: None,
            survivors: BTreeMap::new(),
            ends: Vec::new(),
            unrecorded: 0,
            helpers: HashMap::new(),
            away: BTreeMap::new(),
            began: moment().now,
        };
        let watch = |fd, source| driver.watch(fd, source, EpollFlags::EPOLLIN).map_err(system("watching a descriptor"));
        watch(driver.signals.as_fd(), Source::Signals)?;
        watch(driver.listener.as_fd(), Source::Listener)?;
        watch(driver.workers.wake_fd(), Source::Workers)?;
        if let Some(notices) = driver.deposit.notices() {
            watch(notices, Source::Notices)?;
        }
        Ok(driver)
    }

    fn serve(&mut self) -> Result<(), KeeperError> {
        let mut events = [EpollEvent::empty(); EVENTS_PER_TURN_MAX];
        loop {
            self.flush_links();
            self.record_ends();
            self.starts_at_once = STARTS_AT_ONCE_MAX;
            if self.shutdown.as_ref().is_some_and(|it| self.held.is_empty() && (self.unrecorded == 0 || it.is_late)) {
                self.finish();
                return Ok(());
            }
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => 0,
                Err(error) => return Err(KeeperError::System { what: "waiting", reason: error.to_string() }),
            };
            for event in &events[..count] {
                if let Some(source) = Source::from_number(event.data()) {
                    self.woken(source, event.events());
                }
            }
            self.timers_due();
        }
    }

    fn woken(&mut self, source: Source, flags: EpollFlags) {
        match source {
            Source::Signals => self.signals_came(),
            Source::Listener => self.accept(),
            Source::Workers => {
                for outcome in self.workers.take_outcomes() {
                    self.outcome(outcome);
                }
            }
            Source::Notices => self.notices_came(),
            Source::Link(id) => self.link_ready(id, flags),
            Source::Output(slot) | Source::Errors(slot) | Source::Terminal(slot) => self.pump(slot, source, flags),
            Source::Pidfd(slot) => self.adopted_may_have_ended(slot),
            Source::Viewer(id) => self.viewer_ready(id, flags),
            Source::Door(id) => self.somebody_knocks(id),
            Source::Notify(slot) => self.notify_came(slot),
            Source::ReadyPipe(slot) => self.ready_pipe_came(slot),
            Source::Daemon(slot) => self.daemon_ended(slot),
        }
    }

    fn signals_came(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGTERM | Signal::SIGINT) => self.begin_shutdown(SHUTDOWN_GRACE, None),
                Some(Signal::SIGHUP) => {
                    for held in self.held.values_mut() {
                        held.output_log.reopen();
                        held.errors_log.reopen();
                    }
                }
                _ => {}
            }
        }
        // Several ends may have come as one signal.
        while let Some(reaped) = process::reap_one() {
            if let Some(slot) = self.pids.remove(&reaped.pid) {
                self.ended(slot, reaped.raw_status, Some(reaped.usage));
            } else if !self.helper_ended(reaped.pid, reaped.raw_status) {
                self.ended_early(reaped);
            }
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let Some((at, _)) = self.timers.first() else { return EpollTimeout::NONE };
        let wait = at.saturating_duration_since(moment().now);
        // Rounded up: waking early would only mean to wait again.
        let millis = wait.as_micros().div_ceil(1000);
        EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::ZERO)
    }

    fn timers_due(&mut self) {
        let Moment { now, .. } = moment();
        while let Some((at, slot)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if slot == ending::NO_SLOT {
                self.shutdown_takes_too_long();
                continue;
            }
            if let Some(held) = self.held.get_mut(&slot) {
                held.timer = None;
            }
            self.kill_again_if_due(slot, now);
            self.look_again_if_due(slot, now);
            self.checks_due(slot, now);
            self.not_ready_in_time(slot, now);
            self.try_doors_again_if_due(slot, now);
            self.go_on_with_break_if_due(slot, now);
            self.mark_time_if_due(slot, now);
            self.helper_late(slot, now);
            self.farewell_late(slot, now);
            self.seek_again_if_due(slot, now);
            self.come_back_if_due(slot, now);
            self.give(slot, Input::Deadline);
        }
    }

    /// Keeps the entry among the timers in step with the container's next deadline.
    fn set_timer(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let deadline = held.deadline();
        if held.timer != deadline {
            if let Some(old) = held.timer {
                self.timers.remove(&(old, slot));
            }
            if let Some(new) = deadline {
                self.timers.insert((new, slot));
            }
            held.timer = deadline;
        }
    }

    fn watch(&self, fd: impl AsFd, source: Source, flags: EpollFlags) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(flags, source.number()))
    }

    fn rewatch(&self, fd: impl AsFd, source: Source, flags: EpollFlags) {
        let mut event = EpollEvent::new(flags, source.number());
        if let Err(error) = self.epoll.modify(fd, &mut event) {
            warn!(?source, %error, "epoll does not take a change");
        }
    }

    fn fresh_id(&mut self) -> u32 {
        // Wraps after four thousand million connections, viewers and containers; an id still in use is passed over.
        loop {
            self.next_id = self.next_id.wrapping_add(1);
            let id = self.next_id;
            let used = id == ending::NO_SLOT
                || self.held.contains_key(&id)
                || self.links.contains_key(&id)
                || self.doors.contains_key(&id);
            if !used && !self.viewers.contains_key(&id) {
                return id;
            }
        }
    }

    fn finish(&mut self) {
        let Some(shutdown) = self.shutdown.take() else { return };
        self.end_survivors();
        for (link, id) in shutdown.waiters {
            self.answer(link, id, Ok(super::protocol::Answer::Done), vec![]);
        }
        if let Err(error) = fs::remove_file(&self.socket_path) {
            warn!(path = %self.socket_path.display(), %error, "the socket file stays behind");
        }
        if let Ok(groups) = &self.groups {
            groups.remove_all();
        }
        info!("keeper has ended everything");
    }
}

fn make_folder(path: &Path) -> Result<PathBuf, KeeperError> {
    fs::create_dir_all(path).map_err(|error| KeeperError::Path { path: path.into(), reason: error.to_string() })?;
    Ok(path.into())
}

/// Whether whoever listens behind a connection is gone, or goes within [`PREDECESSOR_PATIENCE`].
fn has_ended_soon(connection: &OwnedFd) -> bool {
    let peer = nix::sys::socket::getsockopt(connection, nix::sys::socket::sockopt::PeerCredentials);
    let Ok(pidfd) = peer.and_then(|peer| process::pidfd_open(peer.pid())) else { return true };
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut ended, PollTimeout::from(PREDECESSOR_PATIENCE)), Ok(1))
}

/// A socket file left by a dead keeper is replaced, that of a living one is respected. One that is just being killed still
/// answers until the kernel has come to its listener: its end is waited for.
fn listen_at(path: &Path) -> Result<OwnedFd, KeeperError> {
    let refused = |error: nix::Error| KeeperError::Path { path: path.into(), reason: error.to_string() };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let address = UnixAddr::new(path).map_err(refused)?;
    let knock = || {
        let probe = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&probe), &address)?;
        Ok(probe)
    };
    let mut found = knock();
    if let Ok(probe) = &found
        && has_ended_soon(probe)
    {
        found = knock();
    }
    match found {
        Ok(_) | Err(nix::Error::EAGAIN) => return Err(KeeperError::AlreadyServed { path: path.into() }),
        Err(nix::Error::ECONNREFUSED) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(KeeperError::Path { path: path.into(), reason: error.to_string() });
            }
            _ => {}
        },
        Err(nix::Error::ENOENT) => {}
        Err(error) => return Err(refused(error)),
    }
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(refused)?;
    // The file gets its mode from the umask: there is no moment in which others could connect.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &address);
    nix::sys::stat::umask(before);
    bound.map_err(refused)?;
    let waiting = Backlog::new(CONNECTIONS_WAITING_MAX).map_err(refused)?;
    listen(&listener, waiting).map_err(refused)?;
    Ok(listener)
}

#[expect(clippy::disallowed_methods, reason = "the driver's one look at the clocks")]
fn moment() -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let monotonic =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Moment { now: Instant::now(), unix_ms: millis(unix), monotonic_ms: millis(monotonic) }
}

fn unix_seconds(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1000 % (1 << 32)).unwrap_or(u32::MAX)
}
