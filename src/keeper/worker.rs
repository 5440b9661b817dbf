//! Threads that do what may wait for a disk or take long, so that the loop never does: files, and trees of processes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tracing::warn;

use super::daemons::{self, Daemon, Seek};
use super::exits::{self, ExitRecord};
use super::gate::{self, Frozen, Verdict};
use super::log;
use super::protocol::{Answer, COMMAND_BYTES_MAX, MEMBERS_MAX, Member};
use super::refusal::KeeperRefusal;
use super::sockets::{self, Guest, Tried};
use crate::checksum::Sha256;
use crate::container::console::{ListenerSpec, Place};
use crate::container::machine::ExitStatus;
use crate::container::spec::ContainerSpec;
use crate::logs::driver::pack_aside;
use crate::sys::process;
use crate::sys::spawn::{self, Account, Launch};
use crate::sys::tree::{self, Tree};

/// Jobs the thread for trees holds; more wait with the loop, at most a few a container.
const JOBS_MAX: usize = 256;
/// Threads that may hang on files before work has to wait for them.
const FILE_THREADS_MAX: usize = 16;
const STACK_BYTES: usize = 256 * 1024;
/// Tables of a packer are laid out on the stack before they get their place.
const PACKING_STACK_BYTES: usize = 4 * 1024 * 1024;
/// Logs that wait to be packed; one more is packed with the next that is put aside.
const PACKING_MAX: usize = 256;
/// Looks at a killed tree, at growing distances, before the driver is told that something is left.
const KILL_ROUNDS: u32 = 12;
const KILL_WAIT_FIRST: Duration = Duration::from_millis(1);
const KILL_WAIT_MAX: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub enum Job {
    Freeze {
        ticket: u64,
        spec: Arc<ContainerSpec>,
    },
    Check {
        slot: u32,
        attempt: u64,
        spec: Arc<ContainerSpec>,
        expected: Option<Sha256>,
    },
    Tail {
        ticket: u64,
        path: PathBuf,
        lines: u32,
        bytes_max: u32,
    },
    /// Remembers how runs ended. Nobody waits for it but a keeper that is about to go.
    Record {
        ends: Vec<End>,
    },
    Exits {
        ticket: u64,
        folder: PathBuf,
        count: u32,
        bytes_max: usize,
    },
    Members {
        ticket: u64,
        trees: Vec<Tree>,
    },
    /// Takes listeners away and opens others.
    Listen {
        slot: u32,
        leaving: Vec<(Place, OwnedFd)>,
        wanted: Vec<ListenerSpec>,
    },
    /// Who is at the other end of a Unix socket.
    Identify {
        door: u32,
        socket: OwnedFd,
    },
    /// Begins a program, which takes as long as reading it does.
    Launch {
        ticket: u64,
        launch: Arc<Launch>,
    },
    KillTree {
        slot: u32,
        serial: u64,
        tree: Tree,
    },
    /// Who runs a command of a permit.
    Account {
        slot: u32,
        serial: u64,
        user: Option<String>,
    },
    Daemon {
        slot: u32,
        seek: Seek,
    },
}

/// How a run ended.
#[derive(Debug)]
pub struct End {
    pub spec: Arc<ContainerSpec>,
    pub record: ExitRecord,
    /// The log holds no lines that the record lacks.
    pub has_all_lines: bool,
}

/// The process id, or why there is none.
pub type Launched = Result<i32, String>;

#[derive(Debug)]
pub enum Outcome {
    Frozen {
        ticket: u64,
        frozen: Result<Option<Frozen>, KeeperRefusal>,
        /// Listeners of its console.
        tried: Vec<Tried>,
    },
    Listening {
        slot: u32,
        tried: Vec<Tried>,
    },
    Identified {
        door: u32,
        socket: OwnedFd,
        guest: Option<Guest>,
    },
    Checked {
        slot: u32,
        attempt: u64,
        verdict: Verdict,
    },
    /// The answer of an order that asked for something to be read.
    Read {
        ticket: u64,
        answer: Result<Answer, KeeperRefusal>,
    },
    Recorded {
        count: usize,
    },
    Launched {
        ticket: u64,
        launched: Launched,
    },
    TreeKilled {
        slot: u32,
        serial: u64,
        nothing_left: bool,
    },
    Account {
        slot: u32,
        serial: u64,
        account: Result<Option<Account>, KeeperRefusal>,
    },
    Daemon {
        slot: u32,
        found: Option<Daemon>,
    },
}

/// The loop's side of the threads.
#[derive(Debug)]
pub struct Workers {
    files: Pool,
    trees: Queue,
    packing: SyncSender<PathBuf>,
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
        let files = Pool::new(sender.clone(), Arc::clone(&wake));
        let trees = Queue::start("trees", sender, Arc::clone(&wake))?;
        let packing = start_packing()?;
        Ok(Self { files, trees, packing, outcomes, wake })
    }

    pub fn give(&mut self, job: Job) {
        match job {
            Job::KillTree { .. } => self.trees.give(job),
            job => self.files.give(job),
        }
    }

    /// What was put aside of that log is packed when nothing else is to be done.
    pub fn pack(&self, log: &Path) {
        // When too many wait, it is found with the next file that is put aside.
        let _ = self.packing.try_send(log.to_owned());
    }

    /// Readable when there are outcomes.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        // Nothing to read means that an earlier turn took it all.
        let _ = self.wake.read();
        let outcomes = self.outcomes.try_iter().collect();
        self.trees.push_waiting();
        outcomes
    }
}

/// Threads that touch files. One that hangs on a network file system is one less: more are started while there is work
/// and none is free, up to a bound; beyond it, work waits, and whoever waits too long is told so by the loop.
#[derive(Debug)]
struct Pool {
    todo: Arc<Todo>,
    threads: usize,
    outcomes: SyncSender<Outcome>,
    wake: Arc<EventFd>,
}

#[derive(Debug, Default)]
struct Todo {
    state: Mutex<TodoState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct TodoState {
    /// At most a few a container.
    jobs: VecDeque<Job>,
    free: usize,
    closed: bool,
}

impl Todo {
    fn lock(&self) -> MutexGuard<'_, TodoState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.free += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.free -= 1;
        }
    }
}

impl Pool {
    fn new(outcomes: SyncSender<Outcome>, wake: Arc<EventFd>) -> Self {
        Self { todo: Arc::default(), threads: 0, outcomes, wake }
    }

    fn give(&mut self, job: Job) {
        let mut state = self.todo.lock();
        match job {
            // All that was to be looked at for it has been.
            Job::Launch { .. } => state.jobs.push_front(job),
            job => state.jobs.push_back(job),
        }
        let is_short = state.jobs.len() > state.free && self.threads < FILE_THREADS_MAX;
        drop(state);
        self.todo.arrived.notify_one();
        if is_short {
            // Without another thread the work waits for those that are there.
            match self.hire() {
                Ok(()) => self.threads += 1,
                Err(error) => warn!(threads = self.threads, %error, "no further thread for files"),
            }
        }
    }

    fn hire(&self) -> io::Result<()> {
        let (todo, outcomes, wake) = (Arc::clone(&self.todo), self.outcomes.clone(), Arc::clone(&self.wake));
        let work = move || {
            while let Some(job) = todo.next() {
                if outcomes.send(read_files(job)).is_err() || wake.write(1).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("files".into()).stack_size(STACK_BYTES).spawn(work).map(drop)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.todo.lock().closed = true;
        self.todo.arrived.notify_all();
    }
}

impl Queue {
    fn start(name: &str, outcomes: SyncSender<Outcome>, wake: Arc<EventFd>) -> io::Result<Self> {
        let (jobs, todo) = sync_channel(JOBS_MAX);
        std::thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(move || {
            let report = |outcome| {
                // The loop may be gone, or behind with reading; it wakes by the descriptor in both cases.
                outcomes.send(outcome).is_ok() && wake.write(1).is_ok()
            };
            while let Ok(first) = todo.recv() {
                // Trees are killed together: one look at the processes serves all.
                let kills = std::iter::once(first).chain(todo.try_iter().take(JOBS_MAX)).filter_map(|job| match job {
                    Job::KillTree { slot, serial, tree } => Some(Kill { slot, serial, tree }),
                    _ => None,
                });
                if !kill_to_the_last(kills.collect(), &report) {
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

fn start_packing() -> io::Result<SyncSender<PathBuf>> {
    let (logs, todo) = sync_channel::<PathBuf>(PACKING_MAX);
    std::thread::Builder::new().name("packing".into()).stack_size(PACKING_STACK_BYTES).spawn(move || {
        if let Err(error) = process::go_last() {
            warn!(%error, "packing logs is as urgent as everything else");
        }
        for log in todo {
            if let Err(error) = pack_aside(&log) {
                warn!(log = %log.display(), %error, "a log that was put aside cannot be packed: it stays as it is");
            }
        }
    })?;
    Ok(logs)
}

struct Kill {
    slot: u32,
    serial: u64,
    tree: Tree,
}

fn read_files(job: Job) -> Outcome {
    match job {
        Job::Freeze { ticket, spec } => {
            let frozen = gate::freeze(&spec);
            let wanted = if frozen.is_ok() { spec.console.listeners.clone() } else { Vec::new() };
            Outcome::Frozen { ticket, frozen, tried: sockets::exchange(Vec::new(), wanted) }
        }
        Job::Listen { slot, leaving, wanted } => Outcome::Listening { slot, tried: sockets::exchange(leaving, wanted) },
        Job::Identify { door, socket } => {
            let guest = Guest::local(&socket);
            Outcome::Identified { door, socket, guest }
        }
        Job::Check { slot, attempt, spec, expected } => {
            Outcome::Checked { slot, attempt, verdict: gate::check(&spec, expected) }
        }
        Job::Tail { ticket, path, lines, bytes_max } => {
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            let answer = log::tail(&path, lines, u64::from(bytes_max))
                .map(|bytes| Answer::Log { bytes })
                .map_err(|error| KeeperRefusal::FileUnreadable { path, reason: error.to_string() });
            Outcome::Read { ticket, answer }
        }
        Job::Record { ends } => {
            let count = ends.len();
            for End { spec, mut record, has_all_lines } in ends {
                if matches!(record.status, ExitStatus::Signal { core: true, .. }) {
                    record.core = exits::core_of(&spec.cwd, record.pid);
                }
                // A console remembers less than that of a program that prints long lines, or was quick.
                if !has_all_lines
                    && record.lines.len() < exits::LINES_MAX
                    && let Ok(lines) = exits::lines_of(&spec.logs, record.run)
                    && lines.len() > record.lines.len()
                {
                    record.lines = lines;
                }
                if let Err(error) = exits::append(&spec.logs.dir, &record) {
                    warn!(name = %spec.name, %error, "the end of a run cannot be recorded");
                }
            }
            Outcome::Recorded { count }
        }
        Job::Exits { ticket, folder, count, bytes_max } => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(exits::RECORDS_MAX);
            let answer = exits::latest(&folder, count, bytes_max)
                .map(|records| Answer::Exits { records })
                .map_err(|error| KeeperRefusal::FileUnreadable { path: folder, reason: error.to_string() });
            Outcome::Read { ticket, answer }
        }
        Job::Members { ticket, trees } => {
            let trees: Vec<&Tree> = trees.iter().collect();
            let members = tree::members(&trees).into_iter().map(members_of).collect();
            Outcome::Read { ticket, answer: Ok(Answer::Members { members }) }
        }
        Job::Account { slot, serial, user } => {
            Outcome::Account { slot, serial, account: user.as_deref().map(gate::account).transpose() }
        }
        Job::Launch { ticket, launch } => {
            let launched = spawn::spawn(&launch).map_err(|error| error.to_string());
            // Whoever hears of it is the last who holds it.
            drop(launch);
            Outcome::Launched { ticket, launched }
        }
        Job::Daemon { slot, seek } => Outcome::Daemon { slot, found: daemons::find(&seek) },
        Job::KillTree { slot, serial, .. } => Outcome::TreeKilled { slot, serial, nothing_left: false },
    }
}

fn members_of(pids: BTreeMap<i32, u64>) -> Vec<Member> {
    let member = |pid| Member { pid, command: tree::command_of(pid, COMMAND_BYTES_MAX) };
    pids.into_keys().take(MEMBERS_MAX).map(member).collect()
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
