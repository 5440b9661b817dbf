//! Starts: the look at what a start needs, everything made ready, and the launch itself.
//!
//! ```text
//!  Starting --worker looks--> clear --made ready--> launched here ---------------------> Spawned | SpawnFailed
//!                                             `---> launched by a worker --outcome-----> Spawned | SpawnFailed
//!                                                                        `--too late---> SpawnFailed, killed if it comes
//! ```
//! Whoever launches a program waits until it has been read. So where it, or its folder, is on a file system that may be
//! away, and where many are started at once, workers launch; what is asked of the container meanwhile waits for the
//! outcome. A container has one launch under way at most.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::epoll::EpollFlags;
use tracing::{info, warn};

use super::{Driver, Source, moment};
use crate::container::machine::{Input, RunId, State};
use crate::container::provision::Readiness;
use crate::container::spec::{ContainerSpec, Program, Rlimits, Terminal};
use crate::keeper::gate::Verdict;
use crate::keeper::held::{Held, Run};
use crate::keeper::launch::{self, Inherited};
use crate::keeper::protocol::Event;
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::worker::{Job, Launched};
use crate::sys::cgroup::GroupLimits;
use crate::sys::confinement::Confinement;
use crate::sys::low::high;
use crate::sys::process::{self, Reaped};
use crate::sys::spawn::{self, Account, Launch};
use crate::sys::{fdpass, memfd, pty};

/// What a start needs of the file system has so long; a network file system may be away.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two looks for a path that a start waits for. Network file systems tell nobody what comes.
const CHECK_AGAIN: Duration = Duration::from_millis(500);
/// Programs that workers launch at a time, beside one that the loop does, where all are near.
const LAUNCHES_MAX: usize = 2;

/// A launch that a worker carries out.
#[derive(Debug)]
pub(super) struct Launching {
    slot: u32,
    what: What,
    /// Nobody else's descriptors get these numbers before the outcome is there.
    launch: Arc<Launch>,
    /// It has begun and ended before its outcome was here.
    ended: Option<Reaped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Run {
        attempt: u64,
        run: RunId,
    },
    /// A command of the permit.
    Helper {
        serial: u64,
    },
}

impl Driver {
    pub(super) fn check(&mut self, slot: u32, attempt: u64) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let (spec, expected) = (Arc::clone(&held.spec), held.expected);
        held.check_by = Some(moment().now + CHECK_TIME_MAX);
        held.check_again = None;
        if self.starts_at_once > 0 && !held.is_looking && held.footing.as_ref().is_some_and(|it| it.holds(&spec)) {
            self.starts_at_once -= 1;
            return self.clear(slot, attempt);
        }
        // One look a container: a file system that hangs takes one thread of it, not one an attempt.
        if !std::mem::replace(&mut held.is_looking, true) {
            self.looks += 1;
            self.workers.give(Job::Check { slot, attempt, spec, expected });
        }
        self.set_timer(slot);
    }

    /// A look has taken too long, or is due again.
    pub(super) fn checks_due(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let attempt = held.machine.attempt();
        if held.launching.is_some() {
            if held.check_by.is_some_and(|at| at <= now) {
                self.launch_takes_too_long(slot, attempt);
            }
        } else if *held.machine.state() != State::Starting {
            held.check_by = None;
            held.check_again = None;
            held.waiting_for = None;
        } else if held.check_by.is_some_and(|at| at <= now) {
            // Whatever that look finds later is of an attempt that is over.
            self.checked(
                slot,
                attempt,
                Verdict::Failed(KeeperRefusal::FilesSlow { seconds: CHECK_TIME_MAX.as_secs() }),
            );
        } else if held.check_again.is_some_and(|at| at <= now) {
            self.check(slot, attempt);
        }
    }

    pub(super) fn looked(&mut self, slot: u32, attempt: u64, verdict: Verdict) {
        self.looks = self.looks.saturating_sub(1);
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.is_looking = false;
        let wanted = held.machine.attempt();
        if *held.machine.state() == State::Starting && wanted != attempt {
            // A later attempt has waited for this look, which is too old for it.
            return self.check(slot, wanted);
        }
        self.checked(slot, attempt, verdict);
    }

    fn checked(&mut self, slot: u32, attempt: u64, verdict: Verdict) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if *held.machine.state() != State::Starting || held.machine.attempt() != attempt {
            return;
        }
        held.check_by = None;
        // A look that did not find everything leaves nothing to stand on.
        held.footing = None;
        let waited = held.waiting_for.take();
        match verdict {
            Verdict::Awaits(path) => {
                if waited.as_ref() != Some(&path) {
                    info!(name = %held.spec.name, path = %path.display(), "waits for a path");
                }
                held.waiting_for = Some(path);
                held.check_again = Some(moment().now + CHECK_AGAIN);
                self.publish(slot);
                self.set_timer(slot);
            }
            Verdict::Clear { account, disk, is_far, footing } => {
                held.footing = footing;
                // What is expected may have changed while the disk was read.
                if disk.is_some() && disk != held.expected {
                    return self.check(slot, attempt);
                }
                held.account = account;
                held.is_far = is_far;
                self.clear(slot, attempt);
            }
            Verdict::Mismatch { expected, .. } if expected != held.expected => self.check(slot, attempt),
            Verdict::Mismatch { expected, found } => {
                held.start_failure = None;
                let name = held.spec.name.clone();
                match expected {
                    Some(expected) => warn!(%name, %expected, %found, "checksum mismatch: not started"),
                    None => warn!(%name, %found, "no checksum is configured: not started"),
                }
                self.give(slot, Input::CheckMismatch { attempt, expected, found });
                self.tell(slot, &Event::Mismatch { name, expected, found }, None);
            }
            Verdict::Failed(why) => {
                warn!(name = %held.spec.name, %why, "not started");
                held.start_failure = Some(why);
                self.give(slot, Input::CheckFailed { attempt });
            }
        }
    }

    /// Everything that it needs is there.
    fn clear(&mut self, slot: u32, attempt: u64) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.check_by = None;
        held.start_failure = None;
        self.tested(slot, attempt);
    }

    pub(super) fn spawn(&mut self, slot: u32, attempt: u64) {
        let (run, durable) = self.run_ids.take();
        if let Err(error) = durable {
            warn!(%error, "the run id counter cannot be written");
        }
        let is_of_run = |it: &Launching| it.slot == slot && matches!(it.what, What::Run { .. });
        if self.launches.values().any(is_of_run) {
            // An earlier one, long given up, is still on its way.
            let why = KeeperRefusal::FilesSlow { seconds: CHECK_TIME_MAX.as_secs() };
            return self.not_spawned(slot, attempt, why);
        }
        // What the program is given gets low numbers; what stays here is moved up.
        self.low.open_up();
        let prepared = self.prepare(slot, run);
        match prepared {
            Ok(launch) if self.is_better_launched_elsewhere(slot) => {
                self.low.close_up();
                let ticket = self.launch_elsewhere(slot, What::Run { attempt, run }, launch);
                if let Some(held) = self.held.get_mut(&slot) {
                    held.launching = Some(ticket);
                    held.check_by = moment().now.checked_add(CHECK_TIME_MAX);
                }
                self.set_timer(slot);
            }
            Ok(launch) => {
                let result = spawn::spawn(&launch);
                // The program has its own now; that ours are closed is heard.
                drop(launch);
                self.low.close_up();
                match result {
                    Ok(pid) => self.spawned(slot, attempt, run, pid),
                    Err(error) => self.not_spawned(slot, attempt, self.what_failed(slot, error.to_string())),
                }
            }
            Err(reason) => {
                self.low.close_up();
                self.not_spawned(slot, attempt, self.what_failed(slot, reason));
            }
        }
    }

    fn is_better_launched_elsewhere(&self, slot: u32) -> bool {
        let is_far = self.held.get(&slot).is_some_and(|held| held.is_far);
        // While others wait for theirs, two processors start two programs.
        is_far || self.looks > 0 && self.launches.len() < LAUNCHES_MAX
    }

    /// Its number.
    pub(super) fn launch_elsewhere(&mut self, slot: u32, what: What, launch: Launch) -> u64 {
        let launch = Arc::new(launch);
        let ticket = self.next_launch;
        self.next_launch += 1;
        self.workers.give(Job::Launch { ticket, launch: Arc::clone(&launch) });
        self.launches.insert(ticket, Launching { slot, what, launch, ended: None });
        ticket
    }

    pub(super) fn launch_came_about(&mut self, ticket: u64, launched: Launched) {
        let Some(Launching { slot, what, launch, ended }) = self.launches.remove(&ticket) else { return };
        // The worker has let go of it before this was told.
        drop(launch);
        self.low.close_up();
        let is_awaited = match what {
            What::Helper { serial } => return self.helper_launched(slot, serial, launched, ended),
            What::Run { .. } => self.held.get(&slot).is_some_and(|held| held.launching == Some(ticket)),
        };
        match (what, launched) {
            (What::Run { attempt, run }, Ok(pid)) if is_awaited => {
                self.launch_is_over(slot);
                self.spawned(slot, attempt, run, pid);
                if let Some(ended) = ended {
                    self.pids.remove(&pid);
                    self.ended(slot, ended.raw_status, Some(ended.usage));
                }
                self.give_what_waited(slot);
            }
            (What::Run { attempt, .. }, Err(reason)) if is_awaited => {
                self.launch_is_over(slot);
                self.not_spawned(slot, attempt, self.what_failed(slot, reason));
                self.give_what_waited(slot);
            }
            (_, Ok(pid)) => kill_the_late(pid, ended),
            (_, Err(_)) => {}
        }
    }

    fn launch_is_over(&mut self, slot: u32) {
        if let Some(held) = self.held.get_mut(&slot) {
            held.launching = None;
            held.check_by = None;
        }
    }

    fn launch_takes_too_long(&mut self, slot: u32, attempt: u64) {
        self.launch_is_over(slot);
        self.not_spawned(slot, attempt, KeeperRefusal::FilesSlow { seconds: CHECK_TIME_MAX.as_secs() });
        self.give_what_waited(slot);
    }

    fn give_what_waited(&mut self, slot: u32) {
        let waited = self.held.get_mut(&slot).map(|held| std::mem::take(&mut held.put_off)).unwrap_or_default();
        for input in waited {
            self.give(slot, input);
        }
    }

    /// Of a process that nobody knows: whether it is one whose launch has not been told yet.
    pub(super) fn ended_early(&mut self, reaped: Reaped) -> bool {
        let is_it = |launching: &&mut Launching| {
            launching.launch.record.as_ref().and_then(memfd::recorded_pid) == Some(reaped.pid)
        };
        match self.launches.values_mut().find(is_it) {
            Some(launching) => {
                launching.ended = Some(reaped);
                true
            }
            None => false,
        }
    }

    fn spawned(&mut self, slot: u32, attempt: u64, run: RunId, pid: i32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let pidfd = process::pidfd_open(pid).ok();
        if let Some(run) = &mut held.run {
            run.pidfd = pidfd;
        }
        self.pids.insert(pid, slot);
        info!(name = %held.spec.name, run = run.0, pid, "started");
        self.give(slot, Input::Spawned { attempt, pid, run });
        self.show_start(slot, pid);
        self.mark(slot, "Console up");
        self.tell_run_started(slot);
    }

    fn not_spawned(&mut self, slot: u32, attempt: u64, why: KeeperRefusal) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        warn!(name = %held.spec.name, %why, "cannot be started");
        held.run = None;
        held.start_failure = Some(why);
        self.give(slot, Input::SpawnFailed { attempt });
    }

    fn what_failed(&self, slot: u32, reason: String) -> KeeperRefusal {
        let what = self.held.get(&slot).map(|held| held.spec.what_starts()).unwrap_or_default();
        KeeperRefusal::System { what, reason }
    }

    /// Everything that its start needs, and the container's note of it.
    fn prepare(&mut self, slot: u32, run: RunId) -> Result<Launch, String> {
        let moment = moment();
        let text = |error: nix::Error| error.to_string();
        let (ready_pipe, ready_end) = self.prepare_readiness(slot).map_err(text)?.unzip();
        let ready_pipe = ready_pipe.map(high);
        let group = self.group_folder(slot);
        let counted = Counted {
            processes: group.is_some() && self.groups.as_ref().is_ok_and(|groups| groups.can_limit_processes),
            memory: group.is_some() && self.groups.as_ref().is_ok_and(|groups| groups.can_limit_memory),
        };
        let Some(held) = self.held.get_mut(&slot) else { return Err("the container is gone".into()) };
        let (ours, door) = fdpass::pair().map_err(text)?;
        let ours = high(ours);
        let record = memfd::zeroed("procyon-run", 8).map_err(|error| error.to_string())?;
        let reopened = |fd: &OwnedFd| memfd::reopened(fd, OFlag::O_RDONLY).map_err(text);
        let script = held.frozen.as_ref().map(|frozen| reopened(&frozen.fd)).transpose()?;
        let launcher = script.as_ref().map(|_| reopened(&self.launcher.fd)).transpose()?;
        let checksums = held.checksums.as_ref().map(reopened).transpose()?;
        let (stdin, stdout, stderr, terminal) = child_streams(held).map_err(no_stream)?;
        if let Some(account) = &held.account {
            for fd in [&stdout, &stderr] {
                spawn::give_to(fd, account).map_err(text)?;
            }
        }
        let record_end = record.try_clone().map_err(|error| error.to_string())?;
        let raw = |fd: &Option<OwnedFd>| fd.as_ref().map(AsRawFd::as_raw_fd);
        let inherited = Inherited {
            door: door.as_raw_fd(),
            script: raw(&script),
            launcher: raw(&launcher),
            checksums: raw(&checksums),
        };
        let confined = held.spec.writable.as_deref().map(Confinement::to).transpose();
        let confinement = confined.map_err(|error| format!("it cannot be confined: {error}"))?.flatten();
        held.place = self.next_place;
        self.next_place += 1;
        let launch = Launch {
            program: None,
            argv: launch::argv(&held.spec, inherited).into_iter().map(Into::into).collect(),
            env: launch::env(&held.spec, held.account.as_ref(), &self.root, run, inherited)
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            cwd: held.spec.cwd.clone(),
            controlling_terminal: stdin.is_some(),
            stdin,
            stdout,
            stderr,
            inherited: [Some(door), script, launcher, checksums].into_iter().flatten().collect(),
            placed: placed(held.spec.provision.readiness, ready_end),
            record: Some(record_end),
            group,
            account: held.account.clone(),
            umask: held.spec.umask,
            nice: held.spec.provision.nice,
            limits: launch::limits(&limited(&held.spec, held.account.as_ref(), counted)),
            no_new_privs: held.spec.no_new_privs,
            confinement,
        };
        held.run = Some(Run {
            run,
            started_unix_ms: moment.unix_ms,
            door: ours,
            record: high(record),
            pidfd: None,
            terminal,
            adopted: false,
            look_again: None,
            ready_pipe,
            is_ready: false,
            ready_by: ready_by(&held.spec, moment.now),
            is_aborted: false,
            outdated: false,
            uid: held.account.as_ref().map_or_else(|| nix::unistd::geteuid().as_raw(), |account| account.uid),
            is_deaf: false,
            prints_from: None,
        });
        held.asked = None;
        // Before the exec: a keeper that dies from here on is followed by one that knows of this run.
        self.deposit(slot);
        self.begin_streams(slot, run);
        self.watch_readiness(slot);
        Ok(launch)
    }

    /// The folder of the container's own group, where it can have one.
    pub(super) fn group_folder(&self, slot: u32) -> Option<OwnedFd> {
        let (groups, held) = (self.groups.as_ref().ok()?, self.held.get(&slot)?);
        let wanted = held.spec.provision.resources;
        let limits = GroupLimits {
            memory_bytes: wanted.memory_bytes,
            processes: wanted.processes,
            cpu_percent: wanted.cpu_percent,
        };
        match groups.folder_of(held.spec.name.as_str(), limits) {
            Ok(folder) => Some(folder),
            Err(error) => {
                warn!(name = %held.spec.name, %error, "no control group: its processes are known by their environment");
                None
            }
        }
    }

    fn begin_streams(&mut self, slot: u32, run: RunId) {
        // Nothing of an earlier run may come behind the separator.
        self.drain(slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.error_tail.clear();
        let printed = held.console.tape.as_ref().map_or(0, |tape| tape.ring().end());
        if let Some(run) = &mut held.run {
            run.prints_from = Some(printed);
        }
        held.output_log.move_to(held.spec.logs.output());
        held.output_log.follow_the_path();
        let uid = held.run.as_ref().map_or(0, |run| run.uid);
        held.output_log.begin_run(run, uid);
        held.errors_log.begin_run(run, uid);
        let at = jiff::Timestamp::from_millisecond(i64::try_from(moment().unix_ms).unwrap_or(i64::MAX))
            .unwrap_or(jiff::Timestamp::MAX)
            .to_zoned(jiff::tz::TimeZone::system());
        held.errors_log.separate(run, &at);
        let Some(held) = self.held.get(&slot) else { return };
        if let Some(terminal) = held.run.as_ref().and_then(|run| run.terminal.as_ref())
            && let Err(error) = self.watch(terminal, Source::Terminal(slot), EpollFlags::EPOLLIN)
        {
            warn!(name = %held.spec.name, %error, "the terminal cannot be watched");
        }
    }
}

/// Nobody waits for it any more.
pub(super) fn kill_the_late(pid: i32, ended: Option<Reaped>) {
    if ended.is_none() {
        warn!(pid, "a program that was given up has begun after all: it is killed");
        // One that ends in this moment is reaped like all others.
        let _ = spawn::signal_group(pid, libc::SIGKILL);
    }
}

/// When a program that has not said by then that it is ready is killed.
fn ready_by(spec: &ContainerSpec, now: Instant) -> Option<Instant> {
    match spec.provision.readiness {
        Readiness::WhenRunning => None,
        Readiness::Notify | Readiness::Newline { .. } => now.checked_add(spec.provision.ready_timeout?),
    }
}

fn placed(readiness: Readiness, end: Option<OwnedFd>) -> Option<(OwnedFd, RawFd)> {
    match readiness {
        Readiness::Newline { number } => end.map(|end| (end, number)),
        Readiness::WhenRunning | Readiness::Notify => None,
    }
}

/// What the container's group keeps within limits.
#[derive(Debug, Clone, Copy)]
struct Counted {
    processes: bool,
    memory: bool,
}

/// Where no group counts processes, the account's own limit does, unless the account is root, who has none. The address
/// space takes the place of memory for scripts only: many a program reserves more than it ever uses.
fn limited(spec: &ContainerSpec, account: Option<&Account>, counted: Counted) -> Rlimits {
    let uid = account.map_or_else(|| nix::unistd::geteuid().as_raw(), |account| account.uid);
    let mut rlimits = spec.rlimits.clone();
    let resources = spec.provision.resources;
    if !counted.memory && matches!(spec.program, Program::Script { .. }) {
        rlimits.address_space_bytes = rlimits.address_space_bytes.or(resources.memory_bytes);
    }
    if !counted.processes && uid != 0 {
        rlimits.processes = rlimits.processes.or(resources.processes);
    }
    rlimits
}

type ChildStreams = (Option<OwnedFd>, OwnedFd, OwnedFd, Option<OwnedFd>);

/// Standard input (`None`: nothing to read), output and errors of the child, and our end of its terminal if it has one.
fn child_streams(held: &Held) -> nix::Result<ChildStreams> {
    match held.spec.terminal {
        Terminal::Pipes => {
            // A description of its own: one run that makes it non-blocking does not spoil the next.
            let stdout = memfd::reopened(&held.output.write, OFlag::O_WRONLY)?;
            let stderr = memfd::reopened(&held.errors.write, OFlag::O_WRONLY)?;
            Ok((None, stdout, stderr, None))
        }
        Terminal::Pty => {
            let (master, path) = pty::open_master()?;
            let master = high(master);
            let slave = pty::open_slave(&path)?;
            if let Some(window) = held.spec.provision.window {
                pty::set_window(&slave, window.rows, window.columns)?;
            }
            let copy = || slave.try_clone().map_err(|_| nix::Error::EMFILE);
            Ok((Some(copy()?), copy()?, slave, Some(master)))
        }
    }
}

/// Why a program cannot be given its streams, and what mends it.
fn no_stream(error: nix::Error) -> String {
    match error {
        nix::Error::ENOSPC => "no terminal is left: raise the kernel's limit, sysctl kernel.pty.max".to_owned(),
        nix::Error::EMFILE => "no descriptor is left: raise the keeper's limit of open files".to_owned(),
        error => error.to_string(),
    }
}
