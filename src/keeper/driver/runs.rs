//! Carries out what a container's machine decides: check, spawn, signal, kill, forget; and tells everyone.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::epoll::EpollFlags;
use tracing::{debug, info, warn};

use super::{Driver, Source, moment};
use crate::container::machine::{Action, ExitStatus, Input, RunId, State};
use crate::container::spec::Terminal;
use crate::keeper::deposits::{self, LastRun};
use crate::keeper::gate::Verdict;
use crate::keeper::held::{Held, Pipe, Run};
use crate::keeper::launch::{self, Inherited};
use crate::keeper::protocol::{Answer, Event, Exited, encode};
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::worker::{Job, Outcome};
use crate::sys::process::{self, Usage};
use crate::sys::spawn::{self, Launch};
use crate::sys::tree::Tree;
use crate::sys::{fdpass, memfd, pty};

/// Between two attempts to kill what the last one left.
const KILL_AGAIN: Duration = Duration::from_millis(200);

impl Driver {
    pub(super) fn give(&mut self, slot: u32, input: Input) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let actions = held.machine.handle(input, moment().now);
        for action in actions {
            self.act(slot, action);
        }
        self.publish(slot);
        self.set_timer(slot);
        self.go_on_with_shutdown();
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
        let Some(held) = self.held.get(&slot) else { return };
        let (spec, expected) = (Arc::clone(&held.spec), held.expected);
        self.workers.give(Job::Check { slot, attempt, spec, expected });
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Checked { slot, attempt, verdict } => self.checked(slot, attempt, verdict),
            Outcome::TreeKilled { slot, serial, nothing_left } => self.tree_killed(slot, serial, nothing_left),
            Outcome::Frozen { ticket, frozen } => self.frozen(ticket, frozen),
            Outcome::Tail { ticket, bytes } => self.tail_came(ticket, bytes),
        }
    }

    fn checked(&mut self, slot: u32, attempt: u64, verdict: Verdict) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if *held.machine.state() != State::Starting || held.machine.attempt() != attempt {
            return;
        }
        match verdict {
            Verdict::Clear { account, disk } => {
                // What is expected may have changed while the disk was read.
                if disk.is_some() && disk != held.expected {
                    return self.check(slot, attempt);
                }
                held.account = account;
                held.start_failure = None;
                self.give(slot, Input::Checked { attempt });
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
        let result = self.prepare_and_spawn(slot, run);
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
        let Some(held) = self.held.get_mut(&slot) else { return Err("the container is gone".into()) };
        let text = |error: nix::Error| error.to_string();
        let (ours, door) = fdpass::pair().map_err(text)?;
        let record = memfd::zeroed("procyon-run", 8).map_err(|error| error.to_string())?;
        let reopened = |fd: &OwnedFd| memfd::reopened(fd, OFlag::O_RDONLY).map_err(text);
        let script = held.frozen.as_ref().map(|frozen| reopened(&frozen.fd)).transpose()?;
        let launcher = script.as_ref().map(|_| reopened(&self.launcher.fd)).transpose()?;
        let checksums = held.checksums.as_ref().map(reopened).transpose()?;
        let (stdin, stdout, stderr, terminal) = child_streams(held).map_err(text)?;
        if let Some(account) = &held.account {
            for fd in [&stdout, &stderr] {
                spawn::give_to(fd, account).map_err(text)?;
            }
        }
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
            record: Some(record.as_raw_fd()),
            cgroup: None,
            account: held.account.clone(),
            umask: held.spec.umask,
            limits: launch::limits(&held.spec.rlimits),
            no_new_privs: held.spec.no_new_privs,
        };
        held.run = Some(Run {
            run,
            started_unix_ms: moment.unix_ms,
            door: ours,
            record,
            pidfd: None,
            terminal,
            adopted: false,
            look_again: None,
        });
        // Before the exec: a keeper that dies from here on is followed by one that knows of this run.
        self.deposit(slot);
        self.begin_streams(slot, run);
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
        let (Some((pid, run)), Some(facts)) = (held.machine.process(), held.run.take()) else { return };
        if let (true, Some(pidfd)) = (facts.adopted, &facts.pidfd) {
            // Left out when it was seen to be readable; not there any more is fine.
            let _ = self.epoll.delete(pidfd);
        }
        if let Some(terminal) = &facts.terminal {
            let _ = self.epoll.delete(terminal);
        }
        let ran = Duration::from_millis(at_unix_ms.saturating_sub(facts.started_unix_ms));
        held.last =
            Some(LastRun { run, started_unix_ms: facts.started_unix_ms, ended_unix_ms: at_unix_ms, exit: status });
        let name = held.spec.name.clone();
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
        let tree = Tree { mark: launch::mark(&self.root, &held.spec.name), leader };
        // The main process at once; the worker finds the rest.
        if let Some(pidfd) = held.run.as_ref().and_then(|run| run.pidfd.as_ref()) {
            let _ = process::pidfd_signal(pidfd, libc::SIGKILL);
        }
        self.workers.give(Job::KillTree { slot, serial: held.kill_serial, tree });
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
        let Some(held) = self.held.remove(&slot) else { return };
        let name = held.spec.name.clone();
        self.slots.remove(&name);
        if let Some(timer) = held.timer {
            self.timers.remove(&(timer, slot));
        }
        for fd in [&held.output.read, &held.errors.read] {
            let _ = self.epoll.delete(fd);
        }
        self.close_console(&held);
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
    }

    /// If anything reported has changed: tells the agents, and renews the deposit.
    pub(super) fn publish(&mut self, slot: u32) {
        let moment = moment();
        let Some(held) = self.held.get_mut(&slot) else { return };
        let report = held.report(moment);
        if held.published.as_ref() == Some(&report) {
            return;
        }
        held.published = Some(report.clone());
        self.deposit(slot);
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
        held.output_log.follow_the_path();
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
            let slave = pty::open_slave(&path)?;
            let copy = || slave.try_clone().map_err(|_| nix::Error::EMFILE);
            Ok((Some(copy()?), copy()?, slave, Some(master)))
        }
    }
}

/// A pipe whose read end does not block.
pub(super) fn pipe() -> nix::Result<Pipe> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    spawn::set_nonblocking(&read)?;
    Ok(Pipe { read, write })
}
