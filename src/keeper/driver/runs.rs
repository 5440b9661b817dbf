//! Carries out what a container's machine decides: check, spawn, signal, kill, forget; and tells everyone.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::epoll::EpollFlags;
use tracing::{debug, info, warn};

use super::{Driver, Source, moment};
use crate::container::machine::{Action, ExitStatus, Input, RunId, State};
use crate::container::provision::Readiness;
use crate::container::spec::{ContainerSpec, Program, Rlimits, Terminal};
use crate::keeper::deposits::{self, LastRun};
use crate::keeper::gate::Verdict;
use crate::keeper::held::{Held, Pipe, Run};
use crate::keeper::launch::{self, Inherited};
use crate::keeper::protocol::{Answer, Event, Exited, encode};
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::worker::{Job, Outcome};
use crate::sys::cgroup::GroupLimits;
use crate::sys::confinement::Confinement;
use crate::sys::low::high;
use crate::sys::process::{self, Usage};
use crate::sys::spawn::{self, Account, Launch};
use crate::sys::tree::Tree;
use crate::sys::{fdpass, memfd, pty};

/// Between two attempts to kill what the last one left.
const KILL_AGAIN: Duration = Duration::from_millis(200);
/// What a start needs of the file system has so long; a network file system may be away.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two looks for a path that a start waits for. Network file systems tell nobody what comes.
const CHECK_AGAIN: Duration = Duration::from_millis(500);

impl Driver {
    pub(super) fn give(&mut self, slot: u32, input: Input) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let actions = held.machine.handle(input, moment().now);
        for action in actions {
            self.act(slot, action);
        }
        if self.held.get(&slot).is_some_and(|held| held.spec.permit.is_some()) {
            self.seek_daemon(slot);
            self.farewell_goes_on(slot);
            self.reconsider(slot);
        }
        self.publish(slot);
        self.set_timer(slot);
    }

    fn act(&mut self, slot: u32, action: Action) {
        match action {
            Action::Check { attempt } => self.check(slot, attempt),
            Action::Spawn { attempt } => self.spawn(slot, attempt),
            Action::SignalStop { pid } => {
                let Some(held) = self.held.get(&slot) else { return };
                let signal = held.spec.stop_signal;
                if let Err(error) = spawn::signal_group(pid, signal) {
                    debug!(name = %held.spec.name, pid, signal, %error, "nobody takes the stop signal");
                }
            }
            Action::KillTree { leader } => self.kill_tree(slot, leader),
            Action::Forget => self.forget(slot),
        }
    }

    pub(super) fn check(&mut self, slot: u32, attempt: u64) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let (spec, expected) = (Arc::clone(&held.spec), held.expected);
        held.check_by = Some(moment().now + CHECK_TIME_MAX);
        held.check_again = None;
        // One look a container: a file system that hangs takes one thread of it, not one an attempt.
        if !std::mem::replace(&mut held.is_looking, true) {
            self.workers.give(Job::Check { slot, attempt, spec, expected });
        }
        self.set_timer(slot);
    }

    /// A look has taken too long, or is due again.
    pub(super) fn checks_due(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let attempt = held.machine.attempt();
        if *held.machine.state() != State::Starting {
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

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Checked { slot, attempt, verdict } => self.looked(slot, attempt, verdict),
            Outcome::TreeKilled { slot, serial, nothing_left } => self.tree_killed(slot, serial, nothing_left),
            Outcome::Frozen { ticket, frozen, tried } => self.frozen(ticket, frozen, tried),
            Outcome::Listening { slot, tried } => self.doors_were_tried(slot, tried),
            Outcome::Identified { door, socket, guest } => self.guest_was_looked_up(door, socket, guest),
            Outcome::Read { ticket, answer } => self.read_came(ticket, answer),
            Outcome::Recorded { count } => self.unrecorded = self.unrecorded.saturating_sub(count),
            Outcome::Account { slot, serial, account } => self.account_found(slot, serial, account),
            Outcome::Daemon { slot, found } => self.daemon_looked_for(slot, found),
        }
    }

    fn looked(&mut self, slot: u32, attempt: u64, verdict: Verdict) {
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
            Verdict::Clear { account, disk } => {
                // What is expected may have changed while the disk was read.
                if disk.is_some() && disk != held.expected {
                    return self.check(slot, attempt);
                }
                held.account = account;
                held.start_failure = None;
                self.tested(slot, attempt);
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

    fn spawn(&mut self, slot: u32, attempt: u64) {
        let (run, durable) = self.run_ids.take();
        if let Err(error) = durable {
            warn!(%error, "the run id counter cannot be written");
        }
        // What the program is given gets low numbers; what stays here is moved up.
        self.low.open_up();
        let result = self.prepare_and_spawn(slot, run);
        self.low.close_up();
        let Some(held) = self.held.get_mut(&slot) else { return };
        match result {
            Ok(pid) => {
                let pidfd = process::pidfd_open(pid).ok();
                if let Some(run) = &mut held.run {
                    run.pidfd = pidfd;
                }
                self.pids.insert(pid, slot);
                info!(name = %held.spec.name, run = run.0, pid, "started");
                self.give(slot, Input::Spawned { attempt, pid, run });
                self.show_start(slot, pid);
                self.tell_run_started(slot);
            }
            Err(reason) => {
                let what = held.spec.what_starts();
                warn!(name = %held.spec.name, %reason, "cannot be started");
                held.run = None;
                held.start_failure = Some(KeeperRefusal::System { what, reason });
                self.give(slot, Input::SpawnFailed { attempt });
            }
        }
    }

    fn prepare_and_spawn(&mut self, slot: u32, run: RunId) -> Result<i32, String> {
        let moment = moment();
        let text = |error: nix::Error| error.to_string();
        let (ready_pipe, ready_end) = self.prepare_readiness(slot).map_err(text)?.unzip();
        let ready_pipe = ready_pipe.map(high);
        let group = self.enter_group(slot);
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
        let writable = held.spec.writable.as_deref();
        let confined = writable.map(Confinement::to).transpose();
        let confinement = confined.map_err(|error| format!("it cannot be confined: {error}"))?.flatten();
        let record_end = record.try_clone().map_err(|error| error.to_string())?;
        let raw = |fd: &Option<OwnedFd>| fd.as_ref().map(AsRawFd::as_raw_fd);
        let inherited = Inherited {
            door: door.as_raw_fd(),
            script: raw(&script),
            launcher: raw(&launcher),
            checksums: raw(&checksums),
        };
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
            inherited: inherited.all(),
            placed: placed(held.spec.provision.readiness, ready_end.as_ref()),
            record: Some(record_end.as_raw_fd()),
            cgroup: group.as_ref().map(AsRawFd::as_raw_fd),
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
        });
        held.asked = None;
        // Before the exec: a keeper that dies from here on is followed by one that knows of this run.
        self.deposit(slot);
        self.begin_streams(slot, run);
        self.watch_readiness(slot);
        // Our copy of the program's end goes when this returns: its close is heard.
        spawn::spawn(launch).map_err(|error| error.to_string())
    }

    /// The main process has ended and its status is known.
    pub(super) fn ended(&mut self, slot: u32, raw_status: i32, usage: Option<Usage>) {
        self.ended_as(slot, ExitStatus::from_raw(raw_status), usage);
    }

    pub(super) fn ended_as(&mut self, slot: u32, status: ExitStatus, usage: Option<Usage>) {
        // What it printed last belongs to this run, and its last words to the report of its end.
        self.drain(slot);
        let at_unix_ms = moment().unix_ms;
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some((pid, run)) = held.machine.process() else { return };
        let record = held.exit_record(pid, status, usage, at_unix_ms);
        let Some(facts) = held.run.take() else { return };
        held.asked = None;
        if let (true, Some(pidfd)) = (facts.adopted, &facts.pidfd) {
            // Left out when it was seen to be readable; not there any more is fine.
            let _ = self.epoll.delete(pidfd);
        }
        for fd in [&facts.terminal, &facts.ready_pipe].into_iter().flatten() {
            let _ = self.epoll.delete(fd);
        }
        self.ends.push((Arc::clone(&held.spec), record));
        let ran = Duration::from_millis(at_unix_ms.saturating_sub(facts.started_unix_ms));
        held.last =
            Some(LastRun { run, started_unix_ms: facts.started_unix_ms, ended_unix_ms: at_unix_ms, exit: status });
        let name = held.spec.name.clone();
        held.status_text = None;
        let error_lines = held.error_lines();
        info!(%name, run = run.0, pid, ?status, "ended");
        held.console.input.clear();
        held.console.terminal_awaited = false;
        self.show_end(slot, pid, status);
        let exited = Exited { name, run, pid, status, at_unix_ms, ran, usage, error_lines };
        self.tell(slot, &Event::Exited(Box::new(exited)), None);
        self.give(slot, Input::Exited { run, status });
    }

    fn kill_tree(&mut self, slot: u32, leader: Option<i32>) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.kill_serial += 1;
        held.kill_again = None;
        let serial = held.kill_serial;
        let tree = self.tree_of(slot, leader);
        // The main process at once; the worker finds the rest.
        let Some(held) = self.held.get(&slot) else { return };
        if let Some(pidfd) = held.run.as_ref().and_then(|run| run.pidfd.as_ref()) {
            let _ = process::pidfd_signal(pidfd, libc::SIGKILL);
        }
        self.workers.give(Job::KillTree { slot, serial, tree });
    }

    /// How the container's processes are found.
    pub(super) fn tree_of(&self, slot: u32, leader: Option<i32>) -> Tree {
        let name = self.held.get(&slot).map(|held| &held.spec.name);
        Tree {
            mark: name.map(|name| launch::mark(&self.root, name)).unwrap_or_default(),
            leader,
            group: name.and_then(|name| self.groups.as_ref().ok().map(|groups| groups.path_of(name.as_str()))),
            known: self.held.get(&slot).and_then(|held| held.daemon.as_ref()).map(|daemon| (daemon.pid, daemon.start)),
        }
    }

    /// The way into the container's own group, where it can have one.
    pub(super) fn enter_group(&self, slot: u32) -> Option<OwnedFd> {
        let (groups, held) = (self.groups.as_ref().ok()?, self.held.get(&slot)?);
        let wanted = held.spec.provision.resources;
        let limits = GroupLimits {
            memory_bytes: wanted.memory_bytes,
            processes: wanted.processes,
            cpu_percent: wanted.cpu_percent,
        };
        match groups.procs_of(held.spec.name.as_str(), limits) {
            Ok(procs) => Some(procs),
            Err(error) => {
                warn!(name = %held.spec.name, %error, "no control group: its processes are known by their environment");
                None
            }
        }
    }

    fn tree_killed(&mut self, slot: u32, serial: u64, nothing_left: bool) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.kill_serial != serial {
            return;
        }
        if nothing_left {
            self.give(slot, Input::TreeGone);
        } else {
            warn!(name = %held.spec.name, "some of its processes do not end although they are killed");
            held.kill_again = Some(moment().now + KILL_AGAIN);
            self.set_timer(slot);
        }
    }

    pub(super) fn kill_again_if_due(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.kill_again.is_some_and(|at| at <= now) {
            held.kill_again = None;
            let leader = held.machine.process().map(|(pid, _)| pid);
            self.kill_tree(slot, leader);
        }
    }

    pub(super) fn kill_tree_anew(&mut self, slot: u32) {
        let leader = self.held.get(&slot).and_then(|held| held.machine.process()).map(|(pid, _)| pid);
        self.kill_tree(slot, leader);
    }

    fn forget(&mut self, slot: u32) {
        self.drain(slot);
        self.publish(slot);
        let Some(mut held) = self.held.remove(&slot) else { return };
        let name = held.spec.name.clone();
        self.slots.remove(&name);
        if let Some(timer) = held.timer {
            self.timers.remove(&(timer, slot));
        }
        for fd in [Some(&held.output.read), Some(&held.errors.read), held.notify.as_ref()].into_iter().flatten() {
            let _ = self.epoll.delete(fd);
        }
        if let Some(daemon) = &held.daemon {
            let _ = self.epoll.delete(&daemon.pidfd);
        }
        self.close_console(&mut held);
        if let Ok(groups) = &self.groups {
            groups.remove(name.as_str());
        }
        if let Err(error) = self.deposit.take_back(&deposits::key(&name)) {
            warn!(%name, %error, "the custodian does not take the release");
        }
        info!(%name, "released");
        for (link, id) in &held.release_waiters {
            self.answer(*link, *id, Ok(Answer::Done), vec![]);
        }
        // Nobody deactivated anything when the whole system goes down.
        if self.shutdown.is_none() {
            self.tell_all(&name, &Event::Released { name: name.clone() }, None);
        }
        self.go_on_with_shutdown();
    }

    /// How the runs of this turn have ended is written down together.
    pub(super) fn record_ends(&mut self) {
        if !self.ends.is_empty() {
            self.unrecorded += self.ends.len();
            self.workers.give(Job::Record { ends: std::mem::take(&mut self.ends) });
        }
    }

    /// If anything reported has changed: tells the agents, and renews the deposit.
    pub(super) fn publish(&mut self, slot: u32) {
        if self.shutdown.is_some() && self.links.is_empty() {
            return;
        }
        let moment = moment();
        let Some(held) = self.held.get_mut(&slot) else { return };
        let report = held.report(moment);
        if held.published.as_ref() == Some(&report) {
            return;
        }
        held.published = Some(report.clone());
        // A successor that is to end everything finds what it needs in what was left before.
        if self.shutdown.is_none() {
            self.deposit(slot);
        }
        self.tell(slot, &Event::Changed(Box::new(report)), None);
    }

    pub(super) fn deposit(&mut self, slot: u32) {
        let Some(held) = self.held.get(&slot) else { return };
        let (record, fds) = held.record(moment());
        if let Err(error) = self.deposit.put(&deposits::key(&held.spec.name), &encode(&record), &fds) {
            debug!(name = %held.spec.name, %error, "the custodian does not take the deposit");
        }
    }

    fn begin_streams(&mut self, slot: u32, run: RunId) {
        // Nothing of an earlier run may come behind the separator.
        self.drain(slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.error_tail.clear();
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

/// When a program that has not said by then that it is ready is killed.
fn ready_by(spec: &ContainerSpec, now: Instant) -> Option<Instant> {
    match spec.provision.readiness {
        Readiness::WhenRunning => None,
        Readiness::Notify | Readiness::Newline { .. } => now.checked_add(spec.provision.ready_timeout?),
    }
}

fn placed(readiness: Readiness, end: Option<&OwnedFd>) -> Option<(RawFd, RawFd)> {
    match readiness {
        Readiness::Newline { number } => end.map(|end| (end.as_raw_fd(), number)),
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

/// A pipe whose read end does not block.
pub(super) fn pipe() -> nix::Result<Pipe> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    spawn::set_nonblocking(&read)?;
    Ok(Pipe { read, write })
}
