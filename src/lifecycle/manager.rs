//! All processes: their definitions, versions, resources and machines. It decides; the driver orders, watches and
//! remembers.
//!
//! ```text
//!  files read + configuration applied + keeper met --> begun: what runs is adopted, what is wanted starts
//! ```

mod admission;
mod conditions;
mod jobs;
mod output;
mod record;
mod settling;
mod why;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use self::admission::{Problem, Source};
pub use self::conditions::Missing;
pub use self::jobs::{Ended, PidVerdict, Seen};
pub use self::output::{Said, Stream, Trial};
pub use self::record::{Order, Record, Verb, Wish};
pub use self::why::Why;
use super::access::Declared;
use super::alarm::AlarmId;
use super::definition::{Command, Definition, ProcessName};
use super::machine::{self, Cause, Job, Limits, Machine, StateName};
use super::resource::Watch;
use super::retry;

/// Lines of a process's history that are kept.
pub const HISTORY_MAX: usize = 64;
/// Status messages of a process that are kept.
pub const MESSAGES_MAX: usize = 100;
/// Names of tables that may be registered.
pub const IMDB_MAX: usize = 10_000;
/// Processes whose configuration versions are known; they need not be defined.
pub const VERSIONS_MAX: usize = 10_000;
/// How old the answer of a database may be when a process starts by it.
pub const DATABASE_FRESH: Duration = Duration::from_secs(5);

/// One moment, on the clock that counts and on the one that people read.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub now: Instant,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub limits: Limits,
    pub retry_delays: Vec<Duration>,
    /// How long versions may differ before that is an alarm.
    pub mismatch_alarm_after: Duration,
    /// And how long a resource may be missing.
    pub resource_alarm_after: Duration,
    /// Whether who asks if a definition is valid has its configuration test run.
    pub tests_at_validate: bool,
    /// Whether what ends waits for us while we are away.
    pub is_strict: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retry_delays: retry::DELAYS.to_vec(),
            mismatch_alarm_after: Duration::ZERO,
            resource_alarm_after: Duration::from_secs(60),
            tests_at_validate: true,
            is_strict: false,
        }
    }
}

/// What the keeper holds of the processes.
pub type Holdings = BTreeMap<(ProcessName, Job), Seen>;

/// What a definition file holds; `None` when it is gone.
pub type FileRead = Option<Result<Arc<Definition>, Problem>>;

#[derive(Debug)]
pub enum Input {
    /// Definition files as they are now; `None` for one that is gone.
    Files(Vec<(String, FileRead)>),
    /// Every definition file there is was told.
    FilesRead,
    /// Whether the folder of definition files can be listed, and why not.
    Folder(Result<(), String>),
    /// What is configured from now on, all of it.
    Configured {
        definitions: BTreeMap<ProcessName, Definition>,
        settings: Settings,
    },
    Call {
        verb: Verb,
        names: Vec<ProcessName>,
        by: String,
    },
    SetVersion {
        name: ProcessName,
        version: String,
    },
    Imdb {
        table: String,
        is_registered: bool,
    },
    Available {
        watch: Watch,
        is_there: bool,
    },
    Touched {
        path: std::path::PathBuf,
    },
    KeeperConnected {
        holdings: Holdings,
    },
    KeeperLost,
    Seen {
        name: ProcessName,
        job: Job,
        seen: Seen,
    },
    /// The keeper does not run it.
    NotRun {
        name: ProcessName,
        job: Job,
        why: String,
    },
    /// Nothing of it is left; with the end of what it printed.
    Finished {
        name: ProcessName,
        job: Job,
        output: Vec<Said>,
    },
    PidFile {
        name: ProcessName,
        verdict: PidVerdict,
    },
    /// A configuration test that somebody has asked for is over.
    Tried {
        name: ProcessName,
        trial: Trial,
    },
    /// The process that its pid file named.
    DaemonEnded {
        name: ProcessName,
        pid: i32,
    },
    Tick,
}

/// A command to run, with what is particular of its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub command: Command,
    /// Those that must end after this one at a shutdown.
    pub after: Vec<ProcessName>,
    /// Of a start command: by what it is tested, started again and ended while nobody is there to ask.
    pub definition: Option<Arc<Definition>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Run {
        name: ProcessName,
        job: Job,
        run: Run,
    },
    /// End it by SIGTERM; a daemon is named by its pid.
    Terminate {
        name: ProcessName,
        daemon: Option<i32>,
    },
    /// End all of it, also what is left of the daemon that it had, then tell it finished.
    Finish {
        name: ProcessName,
        job: Job,
        daemon: Option<i32>,
    },
    /// What does its pid file name now?
    CheckPidFile {
        name: ProcessName,
        path: std::path::PathBuf,
        run_began: Option<Timestamp>,
    },
    Save(Record),
    Changed(Box<Change>),
    Alarm(AlarmChange),
}

/// A transition, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub name: ProcessName,
    pub at: Timestamp,
    pub from: StateName,
    pub to: StateName,
    pub cause: Cause,
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmChange {
    pub process: ProcessName,
    pub alarm: AlarmId,
    pub is_raised: bool,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    pub from: StateName,
    pub to: StateName,
    pub cause: Cause,
    pub why: Option<String>,
}

/// What becomes of a process when it next is not in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    Replaced { definition: Arc<Definition>, source: Source },
    Removed,
}

#[derive(Debug)]
pub struct Process {
    pub definition: Arc<Definition>,
    pub source: Source,
    pub pending: Option<Pending>,
    pub machine: Machine,
    pub history: VecDeque<Line>,
    pub messages: VecDeque<String>,
    pub test_output: Vec<Said>,
    /// The last one, if none is under way.
    pub trial: Option<Trial>,
    /// How it ended last when nobody wanted it to.
    pub last_failure: Option<String>,
    /// The last order.
    pub ordered: Option<Order>,
    jobs: jobs::Jobs,
    pub alarms: BTreeMap<AlarmId, String>,
    /// In the state it is in.
    pub since: Clock,
}

#[derive(Debug, Default)]
enum Keeper {
    #[default]
    Unmet,
    Connected,
    Lost,
}

#[derive(Debug)]
pub struct Manager {
    processes: BTreeMap<ProcessName, Process>,
    files: BTreeMap<String, Result<Arc<Definition>, Problem>>,
    configured: Option<BTreeMap<ProcessName, Arc<Definition>>>,
    are_files_read: bool,
    /// Why the folder of definition files cannot be listed.
    folder_trouble: Option<String>,
    /// Of definitions that are not in force, by file name or `configuration`.
    problems: BTreeMap<String, Problem>,
    /// The processes that those were to define.
    broken: BTreeSet<ProcessName>,
    declared: Declared,
    wanted: BTreeMap<ProcessName, Wish>,
    versions: BTreeMap<ProcessName, String>,
    imdb: BTreeSet<String>,
    /// Alarms of a former agent, until their processes are there.
    standing: BTreeMap<ProcessName, BTreeMap<AlarmId, String>>,
    present: BTreeSet<Watch>,
    databases: BTreeMap<super::definition::Sqldb, Instant>,
    settings: Settings,
    keeper: Keeper,
    held: Option<Holdings>,
    /// What the keeper holds of processes whose definitions are broken: left alone until those are mended, or gone.
    orphans: Holdings,
    has_begun: bool,
}

impl Manager {
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut manager = Self {
            processes: BTreeMap::new(),
            files: BTreeMap::new(),
            configured: None,
            are_files_read: false,
            folder_trouble: None,
            problems: BTreeMap::new(),
            broken: BTreeSet::new(),
            declared: Declared::default(),
            wanted: BTreeMap::new(),
            versions: BTreeMap::new(),
            imdb: BTreeSet::new(),
            standing: BTreeMap::new(),
            present: BTreeSet::new(),
            databases: BTreeMap::new(),
            settings: Settings::default(),
            keeper: Keeper::Unmet,
            held: None,
            orphans: Holdings::new(),
            has_begun: false,
        };
        for record in records {
            match record {
                Record::Desired { process, wish } => drop(manager.wanted.insert(process, wish)),
                Record::Version { process, version } => drop(manager.versions.insert(process, version)),
                Record::Imdb { table, is_registered: true } => drop(manager.imdb.insert(table)),
                Record::Imdb { table, is_registered: false } => drop(manager.imdb.remove(&table)),
            }
        }
        manager
    }

    /// What a former agent has raised and not cleared: what does not hold any more is cleared at the begin.
    #[must_use]
    pub fn with_standing_alarms(mut self, alarms: impl IntoIterator<Item = (ProcessName, AlarmId, String)>) -> Self {
        for (process, alarm, text) in alarms {
            self.standing.entry(process).or_default().insert(alarm, text);
        }
        self
    }

    /// What has to be remembered, as few records as there can be.
    pub fn records(&self) -> Vec<Record> {
        let desired =
            self.wanted.iter().map(|(process, wish)| Record::Desired { process: process.clone(), wish: wish.clone() });
        let versions = self
            .versions
            .iter()
            .map(|(process, version)| Record::Version { process: process.clone(), version: version.clone() });
        let tables = self.imdb.iter().map(|table| Record::Imdb { table: table.clone(), is_registered: true });
        desired.chain(versions).chain(tables).collect()
    }

    pub fn processes(&self) -> &BTreeMap<ProcessName, Process> {
        &self.processes
    }

    pub fn problems(&self) -> &BTreeMap<String, Problem> {
        &self.problems
    }

    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    pub fn imdb(&self) -> &BTreeSet<String> {
        &self.imdb
    }

    /// Another test of it is under way, so what is known of the last one is not what is asked for.
    pub fn forget_trial(&mut self, name: &ProcessName) {
        if let Some(process) = self.processes.get_mut(name) {
            process.trial = None;
        }
    }

    /// Whether one more version could not be kept.
    pub fn has_no_room_for_version_of(&self, name: &ProcessName) -> bool {
        self.versions.len() >= VERSIONS_MAX && !self.versions.contains_key(name)
    }

    pub fn version(&self, name: &ProcessName) -> Option<&str> {
        self.versions.get(name).map(String::as_str)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The commands whose end is awaited.
    pub fn begun(&self) -> Vec<(ProcessName, Job)> {
        self.processes.iter().flat_map(|(name, process)| process.begun().map(|job| (name.clone(), job))).collect()
    }

    /// The known definition files that are none of these.
    pub fn files_besides<T>(&self, files: &[(String, T)]) -> Vec<String> {
        self.files.keys().filter(|known| !files.iter().any(|(file, _)| file == *known)).cloned().collect()
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.processes.values().filter_map(|process| self.deadline_of(process)).min()
    }

    pub fn handle(&mut self, input: Input, clock: Clock) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Files(files) => {
                for (file, read) in files {
                    match read {
                        Some(read) => drop(self.files.insert(file, read)),
                        None => drop(self.files.remove(&file)),
                    }
                }
                if self.are_files_read {
                    self.admit(clock, &mut actions);
                }
            }
            Input::FilesRead => {
                self.are_files_read = true;
                self.admit(clock, &mut actions);
            }
            Input::Folder(state) => self.folder_seen(state.err()),
            Input::Configured { definitions, settings } => {
                let definitions = definitions.into_iter().map(|(name, it)| (name, Arc::new(it))).collect();
                self.configured = Some(definitions);
                self.settings = settings;
                for process in self.processes.values_mut() {
                    process.machine.set_limits(self.settings.limits, self.settings.retry_delays.clone());
                }
                self.admit(clock, &mut actions);
            }
            Input::Call { verb, names, by } => {
                for name in names {
                    self.call(verb, &name, &by, clock, &mut actions);
                }
            }
            Input::SetVersion { name, version } => {
                if self.versions.get(&name) != Some(&version) {
                    self.versions.insert(name.clone(), version.clone());
                    actions.push(Action::Save(Record::Version { process: name.clone(), version }));
                }
                self.give(&name, machine::Input::ConfigurationChanged, clock, &mut actions);
            }
            Input::Imdb { table, is_registered } => {
                let is_new = if is_registered { self.imdb.insert(table.clone()) } else { self.imdb.remove(&table) };
                if is_new {
                    actions.push(Action::Save(Record::Imdb { table, is_registered }));
                    self.wake_all(clock, &mut actions);
                }
            }
            Input::Available { watch, is_there } => self.available(watch, is_there, clock, &mut actions),
            Input::Touched { path } => self.touched(&path, clock, &mut actions),
            Input::KeeperConnected { holdings } => self.keeper_connected(holdings, clock, &mut actions),
            Input::KeeperLost => self.keeper = Keeper::Lost,
            Input::Seen { name, job, seen } => self.seen(&name, job, seen, clock, &mut actions),
            Input::NotRun { name, job, why } => self.not_run(&name, job, why, clock, &mut actions),
            Input::Finished { name, job, output } => self.finished(&name, job, output, clock, &mut actions),
            Input::PidFile { name, verdict } => self.pid_file(&name, verdict, clock, &mut actions),
            Input::Tried { name, trial } => {
                if let Some(process) = self.processes.get_mut(&name) {
                    process.trial = Some(trial);
                }
            }
            Input::DaemonEnded { name, pid } => self.daemon_ended(&name, pid, clock, &mut actions),
            Input::Tick => {
                let due: Vec<ProcessName> = self
                    .processes
                    .iter()
                    .filter(|(_, process)| self.deadline_of(process).is_some_and(|at| at <= clock.now))
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in due {
                    self.deadline_came(&name, clock, &mut actions);
                }
            }
        }
        actions
    }

    fn call(&mut self, verb: Verb, name: &ProcessName, by: &str, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if verb != Verb::Resync {
            process.ordered = Some(Order { verb, by: by.to_owned(), at: clock.at });
        }
        let input = match verb {
            Verb::Resync => machine::Input::ConfigurationChanged,
            Verb::Start => machine::Input::Start,
            Verb::Stop => machine::Input::Stop,
            Verb::Restart => machine::Input::Restart,
        };
        self.give(name, input, clock, actions);
    }
}
