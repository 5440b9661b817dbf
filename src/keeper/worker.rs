//! Threads that do what may wait for a disk or take long, so that the loop never does: files, and trees of processes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::gate::{self, Frozen, Verdict};
use super::log;
use super::refusal::KeeperRefusal;
use crate::container::spec::{ContainerSpec, Sha256};
use crate::sys::tree::{self, Tree};

/// Jobs a thread holds; more wait with the loop, at most a few a container.
const JOBS_MAX: usize = 256;
/// Looks at a killed tree, at growing distances, before the driver is told that something is left.
const KILL_ROUNDS: u32 = 12;
const KILL_WAIT_FIRST: Duration = Duration::from_millis(1);
const KILL_WAIT_MAX: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub enum Job {
    Freeze { ticket: u64, spec: Arc<ContainerSpec> },
    Check { slot: u32, attempt: u64, spec: Arc<ContainerSpec>, expected: Option<Sha256> },
    Tail { ticket: u64, path: PathBuf, lines: u32, bytes_max: u32 },
    KillTree { slot: u32, serial: u64, tree: Tree },
}

#[derive(Debug)]
pub enum Outcome {
    Frozen { ticket: u64, frozen: Result<Option<Frozen>, KeeperRefusal> },
    Checked { slot: u32, attempt: u64, verdict: Verdict },
    Tail { ticket: u64, bytes: Result<Vec<u8>, KeeperRefusal> },
    TreeKilled { slot: u32, serial: u64, nothing_left: bool },
}

/// The loop's side of the threads.
#[derive(Debug)]
pub struct Workers {
    files: Queue,
    trees: Queue,
    outcomes: Receiver<Outcome>,
    wake: Arc<EventFd>,
}

#[derive(Debug)]
struct Queue {
    jobs: SyncSender<Job>,
    waiting: VecDeque<Job>,
}

impl Workers {
    pub fn start() -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (sender, outcomes) = sync_channel(JOBS_MAX);
        let files = Queue::start("files", sender.clone(), Arc::clone(&wake))?;
        let trees = Queue::start("trees", sender, Arc::clone(&wake))?;
        Ok(Self { files, trees, outcomes, wake })
    }

    pub fn give(&mut self, job: Job) {
        match job {
            Job::KillTree { .. } => self.trees.give(job),
            Job::Freeze { .. } | Job::Check { .. } | Job::Tail { .. } => self.files.give(job),
        }
    }

    /// Readable when there are outcomes.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        // Nothing to read means that an earlier turn took it all.
        let _ = self.wake.read();
        let outcomes = self.outcomes.try_iter().collect();
        self.files.push_waiting();
        self.trees.push_waiting();
        outcomes
    }
}

impl Queue {
    fn start(name: &str, outcomes: SyncSender<Outcome>, wake: Arc<EventFd>) -> io::Result<Self> {
        let (jobs, todo) = sync_channel(JOBS_MAX);
        std::thread::Builder::new().name(name.into()).stack_size(256 * 1024).spawn(move || {
            let report = |outcome| {
                // The loop may be gone, or behind with reading; it wakes by the descriptor in both cases.
                outcomes.send(outcome).is_ok() && wake.write(1).is_ok()
            };
            while let Ok(first) = todo.recv() {
                // Trees are killed together: one look at the processes serves all.
                let mut kills = Vec::new();
                for job in std::iter::once(first).chain(todo.try_iter().take(JOBS_MAX)) {
                    match job {
                        Job::KillTree { slot, serial, tree } => kills.push(Kill { slot, serial, tree }),
                        job => {
                            if !report(read_files(job)) {
                                return;
                            }
                        }
                    }
                }
                if !kill_to_the_last(kills, &report) {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, waiting: VecDeque::new() })
    }

    fn give(&mut self, job: Job) {
        self.waiting.push_back(job);
        self.push_waiting();
    }

    fn push_waiting(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            match self.jobs.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                    self.waiting.push_front(job);
                    break;
                }
            }
        }
    }
}

struct Kill {
    slot: u32,
    serial: u64,
    tree: Tree,
}

fn read_files(job: Job) -> Outcome {
    match job {
        Job::Freeze { ticket, spec } => Outcome::Frozen { ticket, frozen: gate::freeze(&spec) },
        Job::Check { slot, attempt, spec, expected } => {
            Outcome::Checked { slot, attempt, verdict: gate::check(&spec, expected) }
        }
        Job::Tail { ticket, path, lines, bytes_max } => {
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            let bytes = log::tail(&path, lines, u64::from(bytes_max))
                .map_err(|error| KeeperRefusal::FileUnreadable { path, reason: error.to_string() });
            Outcome::Tail { ticket, bytes }
        }
        Job::KillTree { slot, serial, .. } => Outcome::TreeKilled { slot, serial, nothing_left: false },
    }
}

/// Whether the loop still listens.
fn kill_to_the_last(mut kills: Vec<Kill>, report: &impl Fn(Outcome) -> bool) -> bool {
    let mut wait = KILL_WAIT_FIRST;
    for _ in 0..KILL_ROUNDS {
        let trees: Vec<&Tree> = kills.iter().map(|kill| &kill.tree).collect();
        let found = tree::kill(&trees);
        let mut left = Vec::new();
        for (Kill { slot, serial, tree }, found) in kills.into_iter().zip(found) {
            if found > 0 {
                left.push(Kill { slot, serial, tree });
            } else if !report(Outcome::TreeKilled { slot, serial, nothing_left: true }) {
                return false;
            }
        }
        kills = left;
        if kills.is_empty() {
            return true;
        }
        // A killed process needs a moment to end; this thread has nothing better to do.
        std::thread::sleep(wait);
        wait = (wait * 2).min(KILL_WAIT_MAX);
    }
    kills.into_iter().all(|Kill { slot, serial, .. }| report(Outcome::TreeKilled { slot, serial, nothing_left: false }))
}
