//! The custodian's loop: one `poll` over signals, the control socket, and a deposit socket per ward. No async.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use tracing::{info, warn};

use super::control::{self, Command, Order, RawStatus, Status, Tell};
use super::desk::Desk;
use super::lock::Lock;
use super::machine::{Action, Input, Life, Machine, Ward};
use super::{CustodianError, Wards};
use crate::keeper::deposit::set_nonblocking;
use crate::settings::Layout;
use crate::sys::process::{self, Reaped};
use crate::sys::{fdpass, inherited};

/// Launchers that watch, and the odd status question.
const CONTROLS_MAX: usize = 32;
/// Descriptors that the custodian needs for itself, a full frame in flight included.
const OWN_DESCRIPTORS: usize = fdpass::FDS_PER_FRAME_MAX + 64;
/// The agent leaves its listeners and little else; the rest is the keeper's.
const AGENT_DESCRIPTORS_MAX: usize = 128;

/// Runs the custodian of the root until everything has been stopped in order.
pub fn main(layout: &Layout, wards: Wards) -> Result<(), CustodianError> {
    let _lock = Lock::take(&layout.custodian_lock())?;
    let mut custodian = Custodian::open(layout, wards)?;
    announce();
    info!(root = %layout.root().display(), pid = std::process::id(), "the custodian keeps this root");
    custodian.feed(Input::Tick);
    while !custodian.is_over {
        custodian.turn()?;
    }
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

struct Custodian {
    machine: Machine,
    wards: Wards,
    root: std::path::PathBuf,
    signals: SignalFd,
    listener: UnixListener,
    agent: Desk,
    keeper: Desk,
    agent_command: Option<AgentCommand>,
    controls: BTreeMap<u64, ControlEnd>,
    controls_seen: u64,
    spawn_error: String,
    is_over: bool,
}

struct AgentCommand {
    command: Command,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

struct ControlEnd {
    socket: OwnedFd,
    is_watching: bool,
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
        let path = layout.custodian_socket();
        let listener = control::open_listener(&path).map_err(|error| CustodianError::Socket { path, error })?;
        let descriptors = usize::try_from(descriptors_max).unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS);
        let for_agent = AGENT_DESCRIPTORS_MAX.min(descriptors / 4);
        Ok(Self {
            machine: Machine::new(now()),
            wards,
            root: layout.root().to_owned(),
            signals,
            listener,
            agent: Desk::new(for_agent),
            keeper: Desk::new(descriptors - for_agent),
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
                Source::Ward(ward) => self.desk(ward).serve(),
                Source::Control(id) => self.hear(id),
            }
        }
        if self.machine.deadline().is_some_and(|deadline| deadline <= now()) {
            self.feed(Input::Tick);
        }
        Ok(())
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
        let Some(deadline) = self.machine.deadline() else { return PollTimeout::NONE };
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

    fn reap(&mut self) {
        while let Some(Reaped { pid, raw_status, .. }) = process::reap_one() {
            for ward in [Ward::Agent, Ward::Keeper] {
                if self.machine.pid(ward) == Some(pid) {
                    warn_end(ward, pid, RawStatus(raw_status));
                    // What it said last still counts.
                    self.desk(ward).part();
                }
            }
            self.feed(Input::Ended { pid, status: RawStatus(raw_status) });
        }
    }

    fn feed(&mut self, input: Input) {
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
    fn tell(&mut self, id: u64, tell: &Tell) {
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
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
