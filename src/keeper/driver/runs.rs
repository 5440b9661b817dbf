//! Carries out what a container's machine decides: signal, kill, forget; and tells everyone. Starts are next door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use tracing::{debug, info, warn};

use super::{Driver, moment};
use crate::container::machine::{Action, ExitStatus, Input};
use crate::keeper::deposits::{self, LastRun};
use crate::keeper::held::Pipe;
use crate::keeper::launch;
use crate::keeper::protocol::{Answer, Event, Exited, encode};
use crate::keeper::worker::{End, Job, Outcome};
use crate::sys::process::{self, Usage};
use crate::sys::spawn;
use crate::sys::tree::Tree;

/// Between two attempts to kill what the last one left.
const KILL_AGAIN: Duration = Duration::from_millis(200);

impl Driver {
    pub(super) fn give(&mut self, slot: u32, input: Input) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.launching.is_some() {
            return held.put_off(input);
        }
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

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Checked { slot, attempt, verdict } => self.looked(slot, attempt, verdict),
            Outcome::TreeKilled { slot, serial, nothing_left } => self.tree_killed(slot, serial, nothing_left),
            Outcome::Frozen { ticket, frozen, tried } => self.frozen(ticket, frozen, tried),
            Outcome::Listening { slot, tried } => self.doors_were_tried(slot, tried),
            Outcome::Identified { door, socket, guest } => self.guest_was_looked_up(door, socket, guest),
            Outcome::Read { ticket, answer } => self.read_came(ticket, answer),
            Outcome::Launched { ticket, launched } => self.launch_came_about(ticket, launched),
            Outcome::Recorded { count } => self.unrecorded = self.unrecorded.saturating_sub(count),
            Outcome::Account { slot, serial, account } => self.account_found(slot, serial, account),
            Outcome::Daemon { slot, found } => self.daemon_looked_for(slot, found),
        }
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
        let first = held.console.tape.as_ref().map_or(0, |tape| tape.ring().first());
        let has_all_lines = facts.prints_from.is_some_and(|from| first <= from);
        self.ends.push(End { spec: Arc::clone(&held.spec), record, has_all_lines });
        let ran = Duration::from_millis(at_unix_ms.saturating_sub(facts.started_unix_ms));
        held.last =
            Some(LastRun { run, started_unix_ms: facts.started_unix_ms, ended_unix_ms: at_unix_ms, exit: status });
        let name = held.spec.name.clone();
        held.status_text = None;
        let error_lines = held.error_lines();
        info!(%name, run = run.0, pid, ?status, "ended");
        held.console.input.clear();
        held.console.terminal_awaited = false;
        self.break_over(slot, false);
        self.show_end(slot, pid, status);
        self.mark(slot, "Console down");
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
        self.one_less(slot);
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
}

/// A pipe whose read end does not block.
pub(super) fn pipe() -> nix::Result<Pipe> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    spawn::set_nonblocking(&read)?;
    Ok(Pipe { read, write })
}
