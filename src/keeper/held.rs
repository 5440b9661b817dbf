//! A container as the keeper holds it: the machine, its descriptors and logs, and what is reported of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::console::Console;
use super::daemons::Daemon;
use super::deposits::{LastRun, Record, Role, RunFacts};
use super::exits::{self, ExitRecord, LINES_MAX};
use super::footing::Footing;
use super::forward::Forwarding;
use super::gate::Frozen;
use super::log::LogFile;
use super::protocol::{Asker, ContainerState, ERROR_LINE_BYTES_MAX, ERROR_LINES_MAX, Phase, Reason};
use super::refusal::KeeperRefusal;
use super::tape::{Origin, Tape, Unlogged};
use super::viewer::Recent;
use crate::checksum::Sha256;
use crate::console::roster::Mode;
use crate::container::machine::{ExitStatus, Input, Machine, Rest, RunId, State};
use crate::container::provision::Readiness;
use crate::container::spec::{ContainerSpec, Program};
use crate::logs::lines::last_lines;
use crate::sys::process::Usage;
use crate::sys::spawn::Account;

/// Enough for [`ERROR_LINES_MAX`] lines.
const ERROR_TAIL_BYTES_MAX: usize = ERROR_LINES_MAX * ERROR_LINE_BYTES_MAX;

/// One moment on the clocks that matter.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Instant,
    pub unix_ms: u64,
    pub monotonic_ms: u64,
}

#[derive(Debug)]
pub struct Pipe {
    pub read: OwnedFd,
    /// Kept, so that there is no end of file between runs; each run gets a description of its own.
    pub write: OwnedFd,
}

#[derive(Debug)]
pub struct Run {
    pub run: RunId,
    pub started_unix_ms: u64,
    /// The agent's end; kept for an agent that comes later.
    pub door: OwnedFd,
    pub record: OwnedFd,
    pub pidfd: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
    /// Started by an earlier keeper: somebody else reaps it.
    pub adopted: bool,
    /// When to look again for the end of an adopted run, and how often that has been done.
    pub look_again: Option<(Instant, u32)>,
    /// Our end of the pipe on which it may say that it is ready.
    pub ready_pipe: Option<OwnedFd>,
    /// It has said so.
    pub is_ready: bool,
    /// When it is ended if it has not, or, once it is ready, if it has not said that it still turns.
    pub ready_by: Option<Instant>,
    /// Its watchdog has had it aborted.
    pub is_aborted: bool,
    /// The definition has changed since.
    pub outdated: bool,
    /// The account it runs as.
    pub uid: u32,
    /// It has outlived whoever held its streams: nobody sees what it prints.
    pub is_deaf: bool,
    /// Where what it prints begins in what the console remembers; not known of a run that an earlier keeper had started.
    pub prints_from: Option<u64>,
}

/// A command of a permit.
#[derive(Debug)]
pub struct Helping {
    pub purpose: Purpose,
    pub serial: u64,
    pub until: Option<Instant>,
    /// `None` until its account is found.
    pub pid: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Test { attempt: u64 },
    Stop,
}

/// How far the end of one with a permit has come, when the whole house ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Its stop command was run.
    Command { until: Option<Instant> },
    /// Its daemon was sent the stop signal.
    Signal { until: Option<Instant> },
}

impl Farewell {
    fn until(self) -> Option<Instant> {
        match self {
            Self::Command { until } | Self::Signal { until } => until,
        }
    }
}

#[derive(Debug)]
pub struct Held {
    pub spec: Arc<ContainerSpec>,
    pub machine: Machine,
    pub frozen: Option<Frozen>,
    pub expected: Option<Sha256>,
    pub checksums: Option<OwnedFd>,
    pub output: Pipe,
    pub errors: Pipe,
    pub output_log: LogFile,
    pub errors_log: LogFile,
    pub forwarding: Forwarding,
    pub console: Console,
    pub error_tail: Recent,
    pub run: Option<Run>,
    pub last: Option<LastRun>,
    pub start_failure: Option<KeeperRefusal>,
    /// Looked up for the start under way.
    pub account: Option<Account>,
    pub defined_unix_ms: u64,
    /// Its place in the order of starts.
    pub place: u64,
    pub kill_serial: u64,
    /// Set while a look for what is left of the tree is due.
    pub kill_again: Option<Instant>,
    /// When the look before a start has taken too long.
    pub check_by: Option<Instant>,
    /// When to look again whether what the start waits for is there.
    pub check_again: Option<Instant>,
    /// A worker looks.
    pub is_looking: bool,
    /// The program or its folder is on a file system whose server may be away.
    pub is_far: bool,
    /// What the last look before a start stood on, where that can hold for the next one.
    pub footing: Option<Footing>,
    /// The number of the launch that a worker carries out.
    pub launching: Option<u64>,
    /// What was asked of it meanwhile.
    pub put_off: Vec<Input>,
    pub waiting_for: Option<PathBuf>,
    /// Where its programs say that they are ready.
    pub notify: Option<OwnedFd>,
    pub status_text: Option<String>,
    pub output_bytes: u64,
    pub input_bytes: u64,
    /// Who asked for the end that is under way.
    pub asked: Option<Asker>,
    /// The present start was not ordered: the keeper goes by the permit.
    pub by_permit: bool,
    /// When the keeper starts it again by itself.
    pub come_back_at: Option<Instant>,
    /// A command of the permit that is under way.
    pub helper: Option<Helping>,
    pub helper_serial: u64,
    /// What its start command has left.
    pub daemon: Option<Daemon>,
    /// When to look for a daemon again, and until when.
    pub sought: Option<(Instant, Instant)>,
    /// A worker looks.
    pub is_seeking: bool,
    pub farewell: Option<Farewell>,
    /// Orders that wait for the release: link and id.
    pub release_waiters: Vec<(u32, u64)>,
    pub published: Option<ContainerState>,
    /// The entry among the driver's timers.
    pub timer: Option<Instant>,
}

impl Held {
    pub fn new(spec: Arc<ContainerSpec>, machine: Machine, frozen: Option<Frozen>, pipes: (Pipe, Pipe)) -> Self {
        Self {
            output_log: LogFile::new(spec.logs.output(), &spec.logs),
            errors_log: LogFile::new(spec.logs.errors(), &spec.logs),
            forwarding: Forwarding::default(),
            expected: committed(&spec),
            machine,
            frozen,
            checksums: None,
            output: pipes.0,
            errors: pipes.1,
            console: Console::new(&spec.console),
            error_tail: Recent::new(ERROR_TAIL_BYTES_MAX),
            run: None,
            last: None,
            start_failure: None,
            account: None,
            defined_unix_ms: 0,
            place: 0,
            kill_serial: 0,
            kill_again: None,
            check_by: None,
            check_again: None,
            is_looking: false,
            is_far: false,
            footing: None,
            launching: None,
            put_off: Vec::new(),
            waiting_for: None,
            notify: None,
            status_text: None,
            output_bytes: 0,
            input_bytes: 0,
            asked: None,
            by_permit: false,
            come_back_at: None,
            helper: None,
            helper_serial: 0,
            daemon: None,
            sought: None,
            is_seeking: false,
            farewell: None,
            release_waiters: Vec::new(),
            published: None,
            timer: None,
            spec,
        }
    }

    /// Until its launch is over. Of each kind the last that was asked counts, so there is not much that can wait.
    pub fn put_off(&mut self, input: Input) {
        self.put_off.retain(|earlier| std::mem::discriminant(earlier) != std::mem::discriminant(&input));
        self.put_off.push(input);
    }

    /// The next moment at which something is to be done for this container.
    pub fn deadline(&self) -> Option<Instant> {
        let look_again = self.run.as_ref().and_then(|run| run.look_again).map(|(at, _)| at);
        let ready_by = self.run.as_ref().and_then(|run| run.ready_by);
        let helper = self.helper.as_ref().and_then(|helper| helper.until);
        let sought = self.sought.filter(|_| !self.is_seeking).map(|(again, _)| again);
        let farewell = self.farewell.and_then(Farewell::until);
        let pause = self.console.breaking.as_ref().and_then(|breaking| breaking.go_on_at);
        let of_start = [self.check_by, self.check_again, look_again, ready_by, pause, self.console.mark_at];
        [self.machine.deadline(), self.kill_again, helper, sought, farewell, self.come_back_at, self.console.try_again]
            .into_iter()
            .chain(of_start)
            .flatten()
            .min()
    }

    pub fn report(&self, moment: Moment) -> ContainerState {
        let (phase, reason) = self.phase();
        let ahead = |at: Instant| {
            let ahead = u64::try_from(at.saturating_duration_since(moment.now).as_millis()).unwrap_or(u64::MAX);
            moment.unix_ms.saturating_add(ahead)
        };
        let frozen = self.frozen.as_ref().map(|frozen| frozen.sha256);
        let run = self.run.as_ref();
        let users = self.console.roster.seats().iter().filter(|seat| seat.mode == Mode::Write).count();
        let loggers = self.console.viewers.len().saturating_sub(users);
        ContainerState {
            name: self.spec.name.clone(),
            phase,
            reason,
            policy: self.spec.restart,
            pid: self.machine.process().map(|(pid, _)| pid),
            run: run.map(|run| run.run).or(self.last.map(|last| last.run)),
            restarts: self.machine.restarts(),
            defined_unix_ms: self.defined_unix_ms,
            started_unix_ms: run.map(|run| run.started_unix_ms).or(self.last.map(|last| last.started_unix_ms)),
            ended_unix_ms: self.last.map(|last| last.ended_unix_ms),
            last_exit: self.last.map(|last| last.exit),
            next_restart_unix_ms: match self.machine.state() {
                State::Backoff { until } => Some(ahead(*until)),
                _ => None,
            },
            frozen_sha256: frozen,
            expected_sha256: self.expected,
            config_pending: frozen.is_some() && frozen != self.expected,
            error_lines: self.error_lines(),
            logs: self.spec.logs.clone(),
            log_bytes_dropped: self.output_log.dropped().saturating_add(self.errors_log.dropped()),
            ready: self.is_ready(),
            status_text: self.status_text.clone(),
            waiting_for: self.waiting_for.clone(),
            output_bytes: self.output_bytes,
            input_bytes: self.input_bytes,
            viewers: u32::try_from(self.console.viewers.len()).unwrap_or(u32::MAX),
            loggers: u32::try_from(loggers).unwrap_or(u32::MAX),
            forward_lost: self.forwarding.lost(),
            outdated: run.is_some_and(|run| run.outdated),
            daemon: self.daemon.as_ref().map(|daemon| daemon.pid),
            console_lost: run.is_some_and(|run| run.is_deaf),
        }
    }

    /// It runs, and has said that it serves if it is one that says so.
    pub fn is_ready(&self) -> bool {
        let said = self.run.as_ref().is_some_and(|run| run.is_ready);
        let says_nothing = self.spec.provision.readiness == Readiness::WhenRunning;
        matches!(self.machine.state(), State::Running { .. }) && (said || says_nothing)
    }

    /// How the present run ended.
    pub fn exit_record(&self, pid: i32, status: ExitStatus, usage: Option<Usage>, ended_unix_ms: u64) -> ExitRecord {
        let run = self.run.as_ref();
        let ring = self.console.tape.as_ref().map(Tape::ring);
        let prints_from = run.and_then(|run| run.prints_from);
        let own = ring.zip(prints_from).map(|(ring, from)| ring.copy_from(ring.lines_back(LINES_MAX).max(from)));
        let bytes = own.unwrap_or_default();
        ExitRecord {
            run: run.map_or(0, |run| run.run.0),
            pid,
            started_unix_ms: run.map_or(0, |run| run.started_unix_ms),
            ended_unix_ms,
            status,
            usage,
            core: None,
            asked: self.asked.clone(),
            lines: exits::to_lines(&bytes),
        }
    }

    fn phase(&self) -> (Phase, Reason) {
        let failed = || match &self.start_failure {
            Some(why) => Reason::StartFailed { why: why.clone() },
            None => Reason::None,
        };
        match self.machine.state() {
            State::NotStarted => (Phase::NotStarted, Reason::None),
            State::Starting => (Phase::Starting, failed()),
            State::Running { .. } => (Phase::Running, Reason::None),
            State::StopRequested { .. } => (Phase::StopRequested, Reason::None),
            State::KillRequested { .. } => (Phase::KillRequested, Reason::None),
            State::Backoff { .. } => (Phase::Backoff, failed()),
            State::Stopped | State::Released => (Phase::Stopped, Reason::None),
            State::Killed => (Phase::Killed, Reason::None),
            State::Exited { status, .. } if status.is_success() => (Phase::ExitSuccess, Reason::PolicyHolds),
            State::Exited { .. } if self.start_failure.is_some() => (Phase::ExitFailure, failed()),
            State::Exited { rest: Rest::RetriesSpent, .. } => {
                (Phase::ExitFailure, Reason::RetriesSpent { retries: self.machine.restarts() })
            }
            State::Exited { rest: Rest::StartLimit, .. } => match self.spec.rules.start_limit {
                Some(limit) => (Phase::ExitFailure, Reason::StartLimit { starts: limit.starts, within: limit.within }),
                None => (Phase::ExitFailure, Reason::PolicyHolds),
            },
            State::Exited { .. } => (Phase::ExitFailure, Reason::PolicyHolds),
            State::Mismatch { expected, found } => {
                (Phase::Mismatch, Reason::ChecksumMismatch { expected: *expected, found: *found })
            }
        }
    }

    pub fn error_lines(&self) -> Vec<String> {
        let bytes = self.error_tail.to_vec();
        let lines = String::from_utf8_lossy(last_lines(&bytes, ERROR_LINES_MAX)).into_owned();
        lines.lines().map(|line| clip(line, ERROR_LINE_BYTES_MAX)).collect()
    }

    /// Writes what a predecessor had read and did not live to write.
    fn complete_the_log(&mut self, unlogged: &Unlogged, now_ms: u64) {
        let log = match unlogged.origin {
            Origin::Server => None,
            Origin::Output => Some(&mut self.output_log),
            Origin::Errors => Some(&mut self.errors_log),
        };
        if let (Some(log), Some(tape)) = (log, &mut self.console.tape) {
            log.complete(unlogged, now_ms);
            tape.begin(unlogged.origin, log.position());
        }
    }

    pub fn record(&self, moment: Moment) -> (Record, Vec<BorrowedFd<'_>>) {
        let run = self.run.as_ref();
        let tape = self.console.tape.as_ref().and_then(Tape::fd).map(|fd| (Role::Tape, fd));
        let open = self.console.listeners.iter().filter_map(|listener| listener.socket.as_ref());
        let listeners = open.map(|socket| (Role::ConsoleListener, socket.as_fd()));
        let fds: Vec<(Role, BorrowedFd<'_>)> = [
            Some((Role::OutputRead, self.output.read.as_fd())),
            Some((Role::OutputWrite, self.output.write.as_fd())),
            Some((Role::ErrorsRead, self.errors.read.as_fd())),
            Some((Role::ErrorsWrite, self.errors.write.as_fd())),
            self.frozen.as_ref().map(|frozen| (Role::Script, frozen.fd.as_fd())),
            self.checksums.as_ref().map(|fd| (Role::Checksums, fd.as_fd())),
            run.map(|run| (Role::RunRecord, run.record.as_fd())),
            run.map(|run| (Role::Door, run.door.as_fd())),
            run.and_then(|run| run.pidfd.as_ref()).map(|fd| (Role::Pidfd, fd.as_fd())),
            run.and_then(|run| run.terminal.as_ref()).map(|fd| (Role::TerminalMaster, fd.as_fd())),
            run.and_then(|run| run.ready_pipe.as_ref()).map(|fd| (Role::ReadyPipe, fd.as_fd())),
            self.notify.as_ref().map(|fd| (Role::Notify, fd.as_fd())),
            self.daemon.as_ref().map(|daemon| (Role::Daemon, daemon.pidfd.as_fd())),
        ]
        .into_iter()
        .flatten()
        .chain(tape)
        .chain(listeners)
        .collect();
        let record = Record {
            spec: (*self.spec).clone(),
            expected: self.expected,
            frozen: self.frozen.as_ref().map(|frozen| frozen.sha256),
            checkpoint: self.machine.checkpoint(moment.now),
            taken_at_ms: moment.monotonic_ms,
            defined_unix_ms: self.defined_unix_ms,
            place: self.place,
            run: run.map(|run| RunFacts {
                run: run.run,
                started_unix_ms: run.started_unix_ms,
                is_ready: run.is_ready,
                ready_in: run.ready_by.map(|at| at.saturating_duration_since(moment.now)),
                outdated: run.outdated,
                uid: run.uid,
                is_deaf: run.is_deaf,
            }),
            output_bytes: self.output_bytes,
            input_bytes: self.input_bytes,
            asked: self.asked.clone(),
            last: self.last,
            open_listeners: (0_u8..)
                .zip(&self.console.listeners)
                .filter(|(_, listener)| listener.socket.is_some())
                .map(|(at, _)| at)
                .collect(),
            by_permit: self.by_permit,
            daemon: self.daemon.as_ref().map(|daemon| (daemon.pid, daemon.start)),
            roles: fds.iter().map(|(role, _)| *role).collect(),
        };
        (record, fds.into_iter().map(|(_, fd)| fd).collect())
    }

    /// The container that a predecessor has left; `None` if a descriptor it cannot be without is missing.
    pub fn restore(record: Record, fds: Vec<OwnedFd>, moment: Moment) -> Option<Self> {
        if fds.len() != record.roles.len() {
            return None;
        }
        let mut fds: Vec<(Role, OwnedFd)> = record.roles.into_iter().zip(fds).collect();
        let mut take = |role: Role| {
            let at = fds.iter().position(|(has, _)| *has == role)?;
            Some(fds.remove(at).1)
        };
        let output = Pipe { read: take(Role::OutputRead)?, write: take(Role::OutputWrite)? };
        let errors = Pipe { read: take(Role::ErrorsRead)?, write: take(Role::ErrorsWrite)? };
        let frozen = match record.frozen {
            Some(sha256) => Some(Frozen { fd: take(Role::Script)?, sha256 }),
            None => None,
        };
        let elapsed = Duration::from_millis(moment.monotonic_ms.saturating_sub(record.taken_at_ms));
        let machine = Machine::restore(record.checkpoint, elapsed, moment.now);
        let mut held = Self::new(Arc::new(record.spec), machine, frozen, (output, errors));
        held.expected = record.expected;
        held.checksums = take(Role::Checksums);
        held.notify = take(Role::Notify);
        held.output_bytes = record.output_bytes;
        held.input_bytes = record.input_bytes;
        held.asked = record.asked;
        held.by_permit = record.by_permit;
        held.daemon = record.daemon.and_then(|(pid, start)| Some(Daemon { pid, start, pidfd: take(Role::Daemon)? }));
        held.defined_unix_ms = record.defined_unix_ms;
        held.place = record.place;
        held.last = record.last;
        if let Some(facts) = &record.run {
            held.output_log.begin_run(facts.run, facts.uid);
            held.errors_log.begin_run(facts.run, facts.uid);
        }
        if let Some((tape, unlogged)) = take(Role::Tape).and_then(Tape::adopt) {
            held.console.adopt(tape, unlogged.was_watched, moment.now);
            held.complete_the_log(&unlogged, moment.unix_ms);
        }
        for at in record.open_listeners {
            let socket = take(Role::ConsoleListener)?;
            if let Some(listener) = held.console.listeners.get_mut(usize::from(at)) {
                listener.socket = Some(socket);
            }
        }
        if let Some(facts) = record.run {
            held.run = Some(Run {
                run: facts.run,
                started_unix_ms: facts.started_unix_ms,
                door: take(Role::Door)?,
                record: take(Role::RunRecord)?,
                pidfd: take(Role::Pidfd),
                terminal: take(Role::TerminalMaster),
                adopted: true,
                look_again: None,
                ready_pipe: take(Role::ReadyPipe),
                is_ready: facts.is_ready,
                is_aborted: false,
                ready_by: facts.ready_in.and_then(|left| moment.now.checked_add(left.saturating_sub(elapsed))),
                outdated: facts.outdated,
                uid: facts.uid,
                is_deaf: facts.is_deaf,
                prints_from: None,
            });
        }
        Some(held)
    }
}

/// The checksum of the activation.
pub fn committed(spec: &ContainerSpec) -> Option<Sha256> {
    match &spec.program {
        Program::Script { sha256, .. } => Some(*sha256),
        Program::Command { .. } => None,
    }
}

fn clip(line: &str, bytes_max: usize) -> String {
    let mut end = line.len().min(bytes_max);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}
