//! Going on where a predecessor was: its containers, its running children, and how their ends are learned.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use tracing::{info, warn};

use super::{Driver, Source, moment};
use crate::container::machine::{ExitStatus, Input, RunId, State};
use crate::keeper::deposits::{Deposited, Record, is_container};
use crate::keeper::held::Held;
use crate::keeper::keeping::Keeping;
use crate::keeper::launch;
use crate::keeper::log;
use crate::keeper::protocol::{ERROR_LINES_MAX, decode};
use crate::sys::{memfd, process, tree};

/// How soon and how often an ended process is asked for its status before it counts as unknown.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOKS_MAX: u32 = 100;
/// Where the kernel has no pidfds, an adopted process is looked at so often.
const LOOK_WITHOUT_PIDFD: Duration = Duration::from_secs(1);

/// Of a log of errors, to find its last lines.
const ERRORS_READ_MAX: u64 = 32 * 1024;

impl Driver {
    pub(super) fn adopt(&mut self) {
        let deposits = match self.deposit.fetch() {
            Ok(deposits) => deposits,
            Err(error) => {
                warn!(%error, "what a predecessor has left cannot be fetched: starting empty");
                return;
            }
        };
        let mut slots = Vec::new();
        for deposited in deposits.into_iter().filter(|deposited| is_container(&deposited.key)) {
            let key = deposited.key.clone();
            match restore(deposited) {
                Some(held) => match self.take_in_container(held) {
                    Ok(slot) => slots.push(slot),
                    Err(refusal) => warn!(key, %refusal, "a container is lost"),
                },
                None => warn!(key, "a deposit cannot be read: its container is lost"),
            }
        }
        let used = self.held.values().filter_map(last_run).max();
        if let Some(used) = used {
            self.run_ids.go_on_behind(used);
        }
        self.next_place = self.held.values().map(|held| held.place + 1).max().unwrap_or(0);
        for slot in slots {
            self.take_up(slot);
        }
        self.notices_came();
    }

    /// Puts one restored container back to work.
    fn take_up(&mut self, slot: u32) {
        self.open_doors(slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        let name = held.spec.name.clone();
        let mark = launch::mark(&self.root, &name);
        let recorded = held.run.as_ref().and_then(|run| memfd::recorded_pid(&run.record));
        let state = held.machine.state().clone();
        info!(%name, ?state, "taken over");
        if self.deposit.kept().by == Keeping::Systemd && held.machine.process().is_some() {
            // Its limits went when the unit made way for us.
            drop(self.group_folder(slot));
        }
        let Some(held) = self.held.get_mut(&slot) else { return };
        // Looked at before the mark, which it has from that moment on.
        let is_half_born = recorded.is_some_and(tree::is_this_program);
        match (state, recorded) {
            // The predecessor died between the start and its note of it.
            (State::Starting, Some(pid)) if tree::is_marked(pid, &mark) => {
                let (attempt, run) = (held.machine.attempt(), held.run.as_ref().map(|run| run.run));
                if let Some(run) = run {
                    self.give(slot, Input::Spawned { attempt, pid, run });
                    self.watch_adopted(slot, pid);
                }
            }
            (State::Starting, _) => {
                // One that is about to become its program must not run beside the one that is started now.
                if let Some(half_born) = recorded.filter(|_| is_half_born).and_then(|pid| process::pidfd_open(pid).ok())
                {
                    let _ = process::pidfd_signal(&half_born, libc::SIGKILL);
                }
                held.run = None;
                let attempt = held.machine.attempt();
                self.check(slot, attempt);
            }
            (State::KillRequested { process, .. }, _) => {
                if let Some((pid, _)) = process {
                    self.watch_adopted(slot, pid);
                }
                self.kill_tree_anew(slot);
            }
            (State::Running { pid, .. } | State::StopRequested { pid, .. }, _) => self.watch_adopted(slot, pid),
            _ => {}
        }
        self.watch_readiness(slot);
        self.watch_daemon(slot);
        self.seek_daemon(slot);
        self.reconsider(slot);
        self.publish(slot);
        self.set_timer(slot);
    }

    pub(super) fn watch_adopted(&mut self, slot: u32, pid: i32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let mark = launch::mark(&self.root, &held.spec.name);
        let Some(run) = &mut held.run else {
            return self.ended_as(slot, ExitStatus::Unknown, None);
        };
        if run.pidfd.is_none() && tree::is_marked(pid, &mark) {
            run.pidfd = process::pidfd_open(pid).ok();
        }
        if run.pidfd.is_none() {
            run.look_again = Some((moment().now + LOOK_WITHOUT_PIDFD, 0));
        }
        let Some(run) = self.held.get(&slot).and_then(|held| held.run.as_ref()) else { return };
        for (fd, source) in [(&run.pidfd, Source::Pidfd(slot)), (&run.terminal, Source::Terminal(slot))] {
            if let Some(fd) = fd
                && let Err(error) = self.watch(fd, source, EpollFlags::EPOLLIN)
            {
                warn!(pid, ?source, %error, "an adopted run cannot be watched");
            }
        }
        self.set_timer(slot);
    }

    /// Its pidfd is readable: it has ended, and whoever is its parent now may or may not have reaped it yet.
    pub(super) fn adopted_may_have_ended(&mut self, slot: u32) {
        let Some(run) = self.held.get_mut(&slot).and_then(|held| held.run.as_mut()) else { return };
        let Some(pidfd) = &run.pidfd else { return };
        // It stays readable for ever: from here on a timer looks.
        let _ = self.epoll.delete(pidfd);
        run.look_again = Some((moment().now, 0));
        self.set_timer(slot);
    }

    pub(super) fn look_again_if_due(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let (process, mark) = (held.machine.process(), launch::mark(&self.root, &held.spec.name));
        let Some(run) = &mut held.run else { return };
        let Some((_, looks)) = run.look_again.filter(|(at, _)| *at <= now) else { return };
        let status = match (&run.pidfd, process) {
            (Some(pidfd), _) => process::pidfd_exit_status(pidfd),
            (None, Some((pid, _))) if tree::is_marked(pid, &mark) => {
                run.look_again = Some((now + LOOK_WITHOUT_PIDFD, 0));
                return;
            }
            (None, _) => Err(Errno::EAGAIN),
        };
        match status {
            Ok(raw) => self.ended(slot, raw, None),
            // The custodian's word may still come.
            Err(_) if looks < LOOKS_MAX => {
                run.look_again = Some((now + LOOK_AGAIN, looks + 1));
                self.set_timer(slot);
            }
            Err(_) => self.ended_as(slot, ExitStatus::Unknown, None),
        }
    }

    pub(super) fn notices_came(&mut self) {
        loop {
            match self.deposit.reaped() {
                Ok(Some(orphan)) => {
                    let adopted = |held: &Held| {
                        held.run.as_ref().is_some_and(|run| run.adopted)
                            && held.machine.process().is_some_and(|(pid, _)| pid == orphan.pid)
                    };
                    let slot = self.held.iter().find(|(_, held)| adopted(held)).map(|(slot, _)| *slot);
                    if let Some(slot) = slot {
                        self.ended(slot, orphan.raw_status, None);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    warn!(%error, "the custodian is gone: what runs goes on, a new keeper would not find it");
                    if let Some(fd) = self.deposit.notices() {
                        let _ = self.epoll.delete(fd);
                    }
                    return;
                }
            }
        }
    }
}

fn restore(deposited: Deposited) -> Option<Held> {
    let record: Record = decode(&deposited.bytes)?;
    let mut held = Held::restore(record, deposited.fds, moment())?;
    // The last lines of errors died with the predecessor; the log has them.
    let errors = log::tail(held.errors_log.path(), ERROR_LINES_MAX, ERRORS_READ_MAX).unwrap_or_default();
    let own = errors.windows(log::RUN_LINE.len()).rposition(|window| window == log::RUN_LINE);
    let own = own.and_then(|at| errors[at..].iter().position(|byte| *byte == b'\n').map(|end| at + end + 1));
    held.error_tail.push(&errors[own.unwrap_or(0)..]);
    Some(held)
}

fn last_run(held: &Held) -> Option<RunId> {
    held.run.as_ref().map(|run| run.run).max(held.last.map(|last| last.run))
}
