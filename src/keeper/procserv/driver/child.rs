//! The child: started in a terminal of its own, read, written to, signalled, followed by the next.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::unistd::{read, write};

use super::{Server, Source, now, start};
use crate::console::keys::Program;
use crate::console::texts::{Facts, RestartMode, Wording};
use crate::container::machine::{Action, ExitStatus, Input, RunId, State};
use crate::sys::pty;
use crate::sys::spawn::{self, Launch, Limit};

pub(super) const READ_BYTES: usize = 64 * 1024;
/// Read before clients get their turn.
const READS_PER_TURN_MAX: usize = 16;
/// Read when a child has ended: what it left in its terminal, but no endless stream of something left behind.
const READS_AT_END_MAX: usize = 256;
/// What waits for a child that does not read; more is lost, and said to be.
const INPUT_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Child {
    pub pid: i32,
    run: RunId,
    pub started: String,
    terminal: OwnedFd,
    input: VecDeque<u8>,
    input_lost: bool,
    /// Nobody has the terminal open any more, for the time being.
    hung_up: bool,
}

impl Server {
    pub(super) fn give(&mut self, input: Input) {
        for action in self.machine.handle(input, now()) {
            match action {
                // Whether it can be executed was looked at when the server started.
                Action::Check { attempt } => self.give(Input::Checked { attempt }),
                Action::Spawn { attempt } => self.spawn(attempt),
                Action::SignalStop { .. } | Action::KillTree { .. } | Action::Forget => {}
            }
        }
    }

    pub(super) fn program(&self) -> Program {
        let recently = |at| now().saturating_duration_since(at) < self.options.quit_window;
        match (&self.child, self.killed_at) {
            (None, _) => Program::Down,
            (Some(_), Some(at)) if recently(at) => Program::RunsAfterKill,
            (Some(_), _) => Program::Runs,
        }
    }

    fn spawn(&mut self, attempt: u64) {
        self.say(&self.facts.starting());
        match self.try_spawn() {
            Ok(child) => {
                let (pid, run) = (child.pid, child.run);
                if let Err(error) = self.watch(&child.terminal, Source::Terminal, EpollFlags::EPOLLIN) {
                    super::complain(&format!("the child's terminal cannot be watched: {error}"));
                }
                self.child = Some(child);
                self.say(&self.facts.started(pid));
                self.give(Input::Spawned { attempt, pid, run });
            }
            Err(problem) => {
                let folder_problem = fs::read_dir(&self.facts.child_folder).err().map(|error| start::reason(&error));
                self.say(&self.facts.cannot_start(folder_problem.as_deref(), &problem));
                self.give(Input::SpawnFailed { attempt });
                self.is_down(ExitStatus::NotSpawned);
            }
        }
    }

    fn try_spawn(&mut self) -> Result<Child, String> {
        let text = |error: Errno| error.desc().to_owned();
        let (terminal, path) = pty::open_master().map_err(|error| match error {
            Errno::ENOSPC => "no terminal is left: raise kernel.pty.max by sysctl".to_owned(),
            error => text(error),
        })?;
        let slave = pty::open_slave(&path).map_err(text)?;
        let copy = || slave.try_clone().map_err(|error| error.to_string());
        let mut env: Vec<_> = std::env::vars_os().collect();
        if self.facts.wording == Wording::V2_8 {
            env.push(("PROCSERV_INFO".into(), start::info_entry(&self.listeners).into()));
        }
        let core = self.options.core_bytes.map(|value| Limit { resource: libc::RLIMIT_CORE, value, soft_only: true });
        let launch = Launch {
            program: Some(self.options.executed().into()),
            argv: self.options.argv(),
            env,
            cwd: self.facts.child_folder.clone().into(),
            stdin: Some(copy()?),
            stdout: copy()?,
            stderr: slave,
            controlling_terminal: true,
            inherited: vec![],
            placed: None,
            record: None,
            group: None,
            account: None,
            umask: self.umask,
            nice: None,
            limits: core.into_iter().collect(),
            no_new_privs: false,
        };
        let pid = spawn::spawn(&launch).map_err(|error| start::reason(&error))?;
        self.next_run = self.next_run.wrapping_add(1);
        let (run, started) = (RunId(self.next_run), self.time_text());
        Ok(Child { pid, run, started, terminal, input: VecDeque::new(), input_lost: false, hung_up: false })
    }

    pub(super) fn terminal_ready(&mut self, flags: EpollFlags) {
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
            && self.read_terminal(READS_PER_TURN_MAX)
            && let Some(child) = &mut self.child
            && !child.hung_up
        {
            child.hung_up = true;
            self.watch_terminal();
        }
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.feed();
        }
    }

    /// Whether nobody has it open any more.
    fn read_terminal(&mut self, reads_max: usize) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut over = false;
        let mut filled = 0;
        for _ in 0..reads_max {
            let Some(child) = &mut self.child else { break };
            match read(&child.terminal, &mut buffer[filled..]) {
                Ok(0) => over = true,
                Ok(count) => {
                    child.hung_up = false;
                    filled += count;
                    if filled < buffer.len() {
                        continue;
                    }
                    self.show(&buffer[..filled]);
                    filled = 0;
                    continue;
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {}
                // A terminal says EIO when its last user has gone.
                Err(_) => over = true,
            }
            break;
        }
        if filled > 0 {
            self.show(&buffer[..filled]);
        }
        self.buffer = buffer;
        over
    }

    fn watch_terminal(&self) {
        let Some(child) = &self.child else { return };
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, !child.input.is_empty());
        // A terminal that nobody has open would wake us for ever; as an edge it does so once, and again when it is used.
        flags.set(EpollFlags::EPOLLET, child.hung_up);
        self.rewatch(&child.terminal, Source::Terminal, flags);
    }

    pub(super) fn type_in(&mut self, bytes: &[u8]) {
        let Some(child) = &mut self.child else { return };
        let room = INPUT_BYTES_MAX.saturating_sub(child.input.len()).min(bytes.len());
        child.input.extend(&bytes[..room]);
        let lost = bytes.len() - room;
        if lost > 0 && !child.input_lost {
            child.input_lost = true;
            self.say("\r\n@@@ The child does not read: what is typed is lost\r\n");
        }
        self.feed();
    }

    fn feed(&mut self) {
        let Some(child) = &mut self.child else { return };
        let waited = !child.input.is_empty();
        while !child.input.is_empty() {
            let (first, _) = child.input.as_slices();
            match write(&child.terminal, first) {
                Ok(count) => drop(child.input.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // Its terminal is closed; its end will be seen.
                Err(_) => child.input.clear(),
            }
        }
        child.input_lost &= !child.input.is_empty();
        if waited {
            self.watch_terminal();
        }
    }

    pub(super) fn signal_child(&self, signal: i32) {
        if let Some(child) = &self.child {
            // Nobody there to take it: it has ended, and its end will be seen.
            let _ = spawn::signal_group(child.pid, signal);
        }
    }

    /// What the child has left in its group goes with it.
    pub(super) fn sweep_group(&self) {
        self.signal_child(libc::SIGKILL);
    }

    pub(super) fn reaped(&mut self, pid: i32, raw_status: i32) {
        if self.child.as_ref().is_none_or(|child| child.pid != pid) {
            return;
        }
        // Its last words stand before the report of its end.
        self.read_terminal(READS_AT_END_MAX);
        self.sweep_group();
        let Some(child) = self.child.take() else { return };
        let _ = self.epoll.delete(&child.terminal);
        let status = ExitStatus::from_raw(raw_status);
        self.say(&Facts::ended(pid, status));
        self.is_down(status);
        if self.quits.is_none() {
            self.give(Input::Exited { run: child.run, status });
        }
    }

    fn is_down(&mut self, status: ExitStatus) {
        self.say(&self.facts.down(&self.time_text(), self.mode));
        if self.mode == RestartMode::OneShot {
            self.quits = Some(match status {
                ExitStatus::Code(code) => code,
                ExitStatus::Signal { number, .. } => 128 + number,
                ExitStatus::NotSpawned => 127,
                ExitStatus::Unknown => 1,
            });
        }
    }

    pub(super) fn kill_key(&mut self) {
        self.killed_at = Some(now());
        self.signal_child(self.options.kill_signal);
    }

    pub(super) fn start_key(&mut self) {
        self.killed_at = None;
        self.give(Input::Start);
    }

    pub(super) fn toggle_key(&mut self) {
        self.mode = self.mode.next(self.facts.wording);
        self.say(&self.facts.toggled(self.mode));
        let down_for_good = self.child.is_none() && *self.machine.state() != State::NotStarted;
        if self.mode == RestartMode::OneShot && down_for_good {
            // One more run, and the server ends with it.
            self.give(Input::Start);
        }
        self.give(Input::Policy { policy: start::policy(self.mode) });
    }
}
