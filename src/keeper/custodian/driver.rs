//! The custodian's loop: one `poll` over signals, the control socket, and a deposit socket per ward. No async.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use tracing::{info, warn};

use super::control::{self, Command, Order, RawStatus, Status, Tell};
use super::desk::{Desk, News};
use super::lock::Lock;
use super::machine::{Action, Input, Life, Machine, Ward};
use super::pulse::{Beat, Pulse};
use super::{CustodianError, Wards};
use crate::keeper::deposit::set_nonblocking;
use crate::settings::Layout;
use crate::sys::process::{self, Reaped};
use crate::sys::{fdpass, inherited, tree};
use crate::systemd;

/// Launchers that watch, and the odd status question.
const CONTROLS_MAX: usize = 32;
/// Descriptors that the custodian needs for itself, a full frame in flight included.
const OWN_DESCRIPTORS: usize = fdpass::FDS_PER_FRAME_MAX + 64;
/// The agent leaves its listeners and little else; the rest is the keeper's.
const AGENT_DESCRIPTORS_MAX: usize = 128;
/// How often what is left at the end is looked for, and what is told of each.
const SWEEPS_MAX: u32 = 100;
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
const COMMAND_BYTES_MAX: usize = 256;

/// Runs the custodian of the root until everything has been stopped in order.
///
/// With a `handover` it goes on in the place of another program that was this process.
pub fn main(layout: &Layout, wards: Wards, handover: Option<i32>) -> Result<(), CustodianError> {
    let mut custodian = match handover {
        Some(number) => Custodian::resume(layout, wards, number)?,
        None => {
            let custodian = Custodian::open(layout, wards)?;
            announce();
            custodian
        }
    };
    info!(root = %layout.root().display(), pid = std::process::id(), "the custodian keeps this root");
    custodian.feed(Input::Tick);
    while !custodian.is_over {
        custodian.turn()?;
    }
    sweep();
    // While the lock is ours the name is ours.
    let _ = std::fs::remove_file(layout.custodian_socket());
    info!("everything has been stopped");
    Ok(())
}

/// Whoever started us detached reads one line: the control socket is there. Nothing else is ever written there.
fn announce() {
    let mut out = std::io::stdout();
    let _ = out.write_all(b"listening\n").and_then(|()| out.flush());
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
}

pub(super) struct Custodian {
    pub(super) machine: Machine,
    pub(super) wards: Wards,
    pub(super) lock: Lock,
    root: std::path::PathBuf,
    signals: SignalFd,
    pub(super) listener: UnixListener,
    pub(super) agent: Desk,
    pub(super) keeper: Desk,
    pulses: BTreeMap<Ward, Pulse>,
    /// How often the service manager wants to hear of us, and when next.
    watchdog: Option<(Duration, Instant)>,
    is_announced: bool,
    pub(super) agent_command: Option<AgentCommand>,
    pub(super) controls: BTreeMap<u64, ControlEnd>,
    pub(super) controls_seen: u64,
    spawn_error: String,
    is_over: bool,
}

pub(super) struct AgentCommand {
    pub(super) command: Command,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

pub(super) struct ControlEnd {
    pub(super) socket: OwnedFd,
    pub(super) is_watching: bool,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Ward(Ward),
    Control(u64),
}

impl Custodian {
    fn open(layout: &Layout, wards: Wards) -> Result<Self, CustodianError> {
        let lock = Lock::take(&layout.custodian_lock())?;
        let path = layout.custodian_socket();
        let listener = control::open_listener(&path).map_err(|error| CustodianError::Socket { path, error })?;
        Self::with(layout, wards, lock, listener)
    }

    pub(super) fn with(
        layout: &Layout,
        wards: Wards,
        lock: Lock,
        listener: UnixListener,
    ) -> Result<Self, CustodianError> {
        let step = |what| move |error| CustodianError::System { what, error };
        // Away from the terminal of whoever started us; refused where we lead a group already, which is as good.
        let _ = nix::unistd::setsid();
        nix::sys::prctl::set_child_subreaper(true).map_err(step("cannot become the parent of orphans"))?;
        let (_, descriptors_max) =
            getrlimit(Resource::RLIMIT_NOFILE).map_err(step("cannot read the open file limit"))?;
        setrlimit(Resource::RLIMIT_NOFILE, descriptors_max, descriptors_max)
            .map_err(step("cannot raise the open file limit"))?;
        let mask: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        mask.thread_block().map_err(step("cannot block signals"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(step("cannot read signals"))?;
        let descriptors = usize::try_from(descriptors_max).unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS);
        let for_agent = AGENT_DESCRIPTORS_MAX.min(descriptors / 4);
        Ok(Self {
            machine: Machine::new(now()),
            wards,
            lock,
            root: layout.root().to_owned(),
            signals,
            listener,
            agent: Desk::new(for_agent),
            keeper: Desk::new(descriptors - for_agent),
            pulses: BTreeMap::new(),
            watchdog: systemd::watchdog().map(|every| (every, now())),
            is_announced: false,
            agent_command: None,
            controls: BTreeMap::new(),
            controls_seen: 0,
            spawn_error: String::new(),
            is_over: false,
        })
    }

    /// Waits for anything to happen and deals with all of it.
    fn turn(&mut self) -> Result<(), CustodianError> {
        for source in self.wait()? {
            match source {
                Source::Signals => self.take_signals(),
                Source::Listener => self.accept(),
                Source::Ward(ward) => {
                    self.desk(ward).serve();
                    self.heard_of(ward);
                }
                Source::Control(id) => self.hear(id),
            }
        }
        if self.machine.deadline().is_some_and(|deadline| deadline <= now()) {
            self.feed(Input::Tick);
        }
        self.feel_pulses();
        Ok(())
    }

    fn heard_of(&mut self, ward: Ward) {
        let News { is_ready, is_alive } = self.desk(ward).take_news();
        if is_ready || is_alive {
            let moment = now();
            self.pulses.entry(ward).or_insert_with(|| Pulse::new(moment)).answered(moment);
        }
        if !is_ready {
            return;
        }
        match (ward, self.machine.pid(ward)) {
            (Ward::Agent, Some(pid)) => self.tell_watchers(&Tell::AgentReady { pid }),
            (Ward::Keeper, Some(pid)) if !std::mem::replace(&mut self.is_announced, true) => {
                let status = format!("keeper {pid} holds the containers");
                if let Err(error) = systemd::notify_serving(&status) {
                    warn!(%error, "systemd cannot be told that we are ready");
                }
            }
            _ => {}
        }
    }

    /// Asks the wards whether they still turn, and says to the service manager that we do.
    fn feel_pulses(&mut self) {
        let moment = now();
        for ward in [Ward::Agent, Ward::Keeper] {
            let Some(pid) = self.machine.pid(ward).filter(|_| self.desk(ward).is_ready()) else {
                self.pulses.remove(&ward);
                continue;
            };
            match self.pulses.get_mut(&ward).map_or(Beat::Nothing, |pulse| pulse.beat(moment)) {
                Beat::Nothing => {}
                Beat::Ask => self.desk(ward).ask_whether_alive(),
                Beat::Hung => {
                    warn!(?ward, pid, "does not answer any more: it is killed, and started anew");
                    signal(pid, Signal::SIGKILL);
                }
            }
        }
        if let Some((every, next)) = &mut self.watchdog
            && *next <= moment
        {
            *next = moment + *every;
            // One that misses this ends us, and is heard of in its own log.
            let _ = systemd::notify_alive();
        }
    }

    /// The next moment at which something is to be done.
    fn deadline(&self) -> Option<Instant> {
        let pulses = self.pulses.values().map(Pulse::deadline);
        pulses.chain(self.machine.deadline()).chain(self.watchdog.map(|(_, next)| next)).min()
    }

    fn wait(&self) -> Result<Vec<Source>, CustodianError> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut set = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        for (ward, desk) in [(Ward::Agent, &self.agent), (Ward::Keeper, &self.keeper)] {
            if let Some((socket, flags)) = desk.interest() {
                sources.push(Source::Ward(ward));
                set.push(PollFd::new(socket, flags));
            }
        }
        for (id, control) in &self.controls {
            sources.push(Source::Control(*id));
            set.push(PollFd::new(control.socket.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut set, self.timeout()) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(CustodianError::System { what: "cannot wait", error }),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| !flags.is_empty());
        Ok(sources.into_iter().zip(&set).filter(|(_, fd)| is_ready(fd)).map(|(source, _)| source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let Some(deadline) = self.deadline() else { return PollTimeout::NONE };
        let left = deadline.saturating_duration_since(now());
        // Rounded up: a wait that ends too early would turn once for nothing.
        let millis = left.as_micros().div_ceil(1000).min(3_600_000);
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO)
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGCHLD) => self.reap(),
                Some(Signal::SIGTERM | Signal::SIGINT) => {
                    info!(by = signal.ssi_pid, "told to shut down");
                    self.feed(Input::Shutdown);
                }
                _ => {}
            }
        }
    }

    pub(super) fn reap(&mut self) {
        while let Some(Reaped { pid, raw_status, .. }) = process::reap_one() {
            for ward in [Ward::Agent, Ward::Keeper] {
                if self.machine.pid(ward) == Some(pid) {
                    warn_end(ward, pid, RawStatus(raw_status));
                    // What it said last still counts.
                    self.desk(ward).part();
                    self.heard_of(ward);
                    self.pulses.remove(&ward);
                }
            }
            self.feed(Input::Ended { pid, status: RawStatus(raw_status) });
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        for action in self.machine.handle(input, now()) {
            match action {
                Action::Spawn(ward) => {
                    let answer = match self.spawn(ward) {
                        Ok(pid) => Input::Spawned(ward, pid),
                        Err(reason) => {
                            warn!(?ward, reason, "cannot start");
                            self.spawn_error = reason;
                            Input::SpawnFailed(ward)
                        }
                    };
                    self.feed(answer);
                }
                Action::Terminate(pid) => signal(pid, Signal::SIGTERM),
                Action::Kill(pid) => signal(pid, Signal::SIGKILL),
                Action::AgentStarted { pid } => self.tell_watchers(&Tell::AgentStarted { pid }),
                Action::AgentEnded { status, ordered, restarting } => {
                    if !restarting {
                        // Whoever reads its output through a pipe waits for the last copy to be closed.
                        self.agent_command = None;
                    }
                    self.tell_watchers(&Tell::AgentEnded { status, ordered, restarting });
                }
                Action::Forget(ward) => self.desk(ward).forget(),
                Action::Orphan { pid, status } => self.keeper.notify_reaped(pid, status.0, unix_ms()),
                Action::Exit => self.is_over = true,
            }
        }
    }

    fn spawn(&mut self, ward: Ward) -> Result<i32, String> {
        let (ours, theirs) = fdpass::pair().map_err(|error| format!("no deposit socket: {error}"))?;
        let (argv, program) = match ward {
            Ward::Keeper => {
                let mut program = program(&self.wards.keeper)?;
                program.current_dir(&self.root).stdout(Stdio::null());
                for name in systemd::VARIABLES {
                    program.env_remove(name);
                }
                (&self.wards.keeper, program)
            }
            Ward::Agent => {
                let agent = self.agent_command.as_ref().ok_or("nobody has said how to start it")?;
                let mut program = program(&agent.command.argv)?;
                let copy = |fd: &OwnedFd| fd.try_clone().map_err(|error| format!("cannot copy a descriptor: {error}"));
                program.env_clear().envs(agent.command.env.iter().map(|(name, value)| (name, value)));
                program.current_dir(&agent.command.directory);
                program.stdout(copy(&agent.stdout)?).stderr(copy(&agent.stderr)?);
                (&agent.command.argv, program)
            }
        };
        let pid =
            spawn_with(program, &theirs).map_err(|error| format!("{}: {error}", Path::new(&argv[0]).display()))?;
        info!(?ward, pid, "started");
        self.desk(ward).meet(ours);
        Ok(pid)
    }

    fn desk(&mut self, ward: Ward) -> &mut Desk {
        match ward {
            Ward::Agent => &mut self.agent,
            Ward::Keeper => &mut self.keeper,
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let socket = OwnedFd::from(stream);
            let own = nix::unistd::geteuid().as_raw();
            let is_trusted =
                getsockopt(&socket, sockopt::PeerCredentials).is_ok_and(|peer| peer.uid() == own || peer.uid() == 0);
            if !is_trusted || self.controls.len() >= CONTROLS_MAX || set_nonblocking(&socket).is_err() {
                warn!(is_trusted, open = self.controls.len(), "a control connection was turned away");
                continue;
            }
            self.controls_seen += 1;
            self.controls.insert(self.controls_seen, ControlEnd { socket, is_watching: false });
        }
    }

    fn hear(&mut self, id: u64) {
        let Some(control) = self.controls.get(&id) else { return };
        let frame = match fdpass::receive(&control.socket) {
            Ok(Some(frame)) => frame,
            Err(Errno::EAGAIN) => return,
            Ok(None) | Err(_) => {
                self.controls.remove(&id);
                return;
            }
        };
        let reply = match postcard::from_bytes(&frame.bytes) {
            Ok(order) => self.obey(id, order, frame.fds),
            Err(_) => Tell::Malformed,
        };
        self.tell(id, &reply);
    }

    fn obey(&mut self, id: u64, order: Order, fds: Vec<OwnedFd>) -> Tell {
        match order {
            Order::StartAgent(command) => self.start_agent(command, fds),
            Order::StopAgent => {
                let life = self.machine.life(Ward::Agent);
                self.feed(Input::StopAgent);
                if life == Life::Off { Tell::NothingToStop } else { Tell::Stopping { pid: life.pid() } }
            }
            Order::Shutdown => {
                self.feed(Input::Shutdown);
                Tell::ShuttingDown
            }
            Order::Status => Tell::Status(self.status()),
            Order::Watch => {
                if let Some(control) = self.controls.get_mut(&id) {
                    control.is_watching = true;
                }
                Tell::Watching
            }
            Order::Upgrade => Tell::NotUpgraded { reason: self.become_the_newer(id) },
        }
    }

    fn start_agent(&mut self, command: Command, fds: Vec<OwnedFd>) -> Tell {
        if self.machine.is_shutting_down() {
            return Tell::ShuttingDown;
        }
        let life = self.machine.life(Ward::Agent);
        if life != Life::Off {
            return Tell::AlreadyServing { pid: life.pid() };
        }
        let Ok([stdout, stderr]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Tell::NotStarted {
                reason: "two descriptors are wanted: standard output and standard error".into(),
            };
        };
        self.agent_command = Some(AgentCommand { command, stdout, stderr });
        self.feed(Input::StartAgent);
        match self.machine.pid(Ward::Agent) {
            Some(pid) => Tell::Started { pid },
            None => {
                self.agent_command = None;
                Tell::NotStarted { reason: std::mem::take(&mut self.spawn_error) }
            }
        }
    }

    fn status(&self) -> Status {
        Status {
            custodian: Pid::this().as_raw(),
            agent: self.machine.pid(Ward::Agent),
            keeper: self.machine.pid(Ward::Keeper),
            agent_restarts: self.machine.restarts(Ward::Agent),
            keeper_restarts: self.machine.restarts(Ward::Keeper),
            shutting_down: self.machine.is_shutting_down(),
        }
    }

    fn tell_watchers(&mut self, tell: &Tell) {
        let watching: Vec<u64> = self.controls.iter().filter(|(_, end)| end.is_watching).map(|(id, _)| *id).collect();
        for id in watching {
            self.tell(id, tell);
        }
    }

    /// Whoever does not read what it asked for is let go: its queue is the socket's, and that is full.
    pub(super) fn tell(&mut self, id: u64, tell: &Tell) {
        let Some(control) = self.controls.get(&id) else { return };
        let frame = postcard::to_stdvec(tell).expect("plain values are encoded into memory");
        if fdpass::send(&control.socket, &frame, &[] as &[OwnedFd]).is_err() {
            self.controls.remove(&id);
        }
    }
}

fn program(argv: &[std::ffi::OsString]) -> Result<Program, String> {
    let (name, arguments) = argv.split_first().ok_or("an empty command")?;
    let mut program = Program::new(name);
    // A group of its own: what a terminal sends to the launcher's group is not for the wards.
    program.args(arguments).stdin(Stdio::null()).process_group(0);
    Ok(program)
}

/// The one descriptor that crosses exec besides the standard three. This process has one thread, so nothing else is
/// spawned while it is open to children.
fn spawn_with(mut program: Program, deposit: &OwnedFd) -> std::io::Result<i32> {
    program.arg("--deposit-fd").arg(inherited::number(deposit).to_string());
    inherited::clear_signal_mask(&mut program);
    inherited::close_on_exec(deposit, false)?;
    let child = program.spawn()?;
    i32::try_from(child.id()).map_err(std::io::Error::other)
}

/// What is still below us has cleared its environment and left its session: the keeper could not tell whose it was.
fn sweep() {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for _ in 0..SWEEPS_MAX {
        let left = tree::descendants(own);
        if left.is_empty() {
            return;
        }
        for pid in left.keys() {
            warn!(
                pid,
                command = tree::command_of(*pid, COMMAND_BYTES_MAX),
                "still there when everything was to end: killed"
            );
        }
        tree::end(&left);
        // A killed process needs a moment to end; there is nothing else to do.
        std::thread::sleep(SWEEP_PAUSE);
        while process::reap_one().is_some() {}
    }
}

fn signal(pid: i32, signal: Signal) {
    // A child that is not reaped keeps its pid: this can reach nobody else.
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        warn!(pid, %error, "cannot signal");
    }
}

fn warn_end(ward: Ward, pid: i32, status: RawStatus) {
    if status.is_ordered() {
        info!(?ward, pid, %status, "ended");
    } else {
        warn!(?ward, pid, %status, "ended");
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
