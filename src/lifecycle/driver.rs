//! Carries out what the manager decides: orders to the keeper, watches, checks of databases, what is remembered.
//!
//! One task owns the manager. Whatever takes time runs in a task of its own and comes back as an input; what the keeper
//! told before such an answer is heard before it.

mod daemons;
mod databases;
mod definitions;
mod files;
mod keeping;
mod remembering;
mod trials;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

pub use self::files::{FILE_BYTES_MAX, FileCall, Part};
use self::trials::Tried;
use self::watching::{MountChanges, Sign, Watcher};
use super::alarm::AlarmId;
use super::definition::{Command, ProcessName, Sqldb};
use super::machine::Job;
use super::manager::{Action, AlarmChange, Change, Clock, IMDB_MAX, Input, Manager, Record, Trial, VERSIONS_MAX, Verb};
use super::provider::Commits;
use super::resource::Watch;
use super::tree::{Configured, DatabaseChecks};
use super::{view, xml};
use crate::keeper::client::{Keeper, KeeperEvent};
use crate::keeper::launch::RootId;
use crate::keeper::protocol::ContainerState;
use crate::northbound::filter::Selection;
use crate::northbound::{Kind, Refusal};
use crate::store::driver::Recorder;
use crate::store::journal::Journal;
use crate::yang::value::Element;

/// Calls and questions that wait; a further one waits its turn.
pub const MESSAGES_WAITING_MAX: usize = 256;
/// Holds all that can be remembered twice over; near its end it is written anew with what still counts.
pub const JOURNAL_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Declared files that are worked on at a time: each takes a thread, for as long as its file system likes.
const FILE_CALLS_MAX: usize = 16;
/// Answers of tasks on their way back.
const INPUTS_WAITING_MAX: usize = 1024;
/// Changes after which watches and deadlines are renewed even though more is to be looked at.
const CHANGES_BETWEEN_RENEWALS_MAX: usize = 256;
/// How often what cannot be watched is looked at while somebody waits for it.
const RECHECK: Duration = Duration::from_secs(5);

/// What others ask of the lifecycle.
#[derive(Debug)]
pub enum Message {
    Call {
        verb: Verb,
        names: Vec<ProcessName>,
        by: String,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    SetVersion {
        name: ProcessName,
        version: String,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Imdb {
        table: String,
        is_registered: bool,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Why {
        name: ProcessName,
        reply: oneshot::Sender<Result<Vec<Element>, Refusal>>,
    },
    Export {
        name: ProcessName,
        reply: oneshot::Sender<Result<String, Refusal>>,
    },
    Trial {
        name: ProcessName,
        by: String,
        wait: bool,
        reply: oneshot::Sender<Result<Option<Trial>, Refusal>>,
    },
    /// The configuration test of a definition that is not in force.
    TryOut {
        name: ProcessName,
        command: Command,
        limit: Duration,
        reply: oneshot::Sender<Result<Option<Trial>, Refusal>>,
    },
    File {
        call: FileCall,
        by: String,
        reply: oneshot::Sender<Result<Vec<u8>, Refusal>>,
    },
    View {
        selection: Option<Selection>,
        reply: oneshot::Sender<Element>,
    },
}

/// What the rest of the agent hears of.
#[derive(Debug)]
pub enum Heard {
    /// A step of a process, also as a notification of `procyon-process`.
    Changed {
        change: Box<Change>,
        notification: Element,
    },
    Alarm(AlarmChange),
}

#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of definition files.
    pub definitions: PathBuf,
    /// Each process has a log folder below this; commands without a folder of their own run in it.
    pub logs: PathBuf,
    pub root: RootId,
    pub log_bytes_max: u64,
    pub log_files_max: u8,
}

pub struct Driver {
    pub places: Places,
    pub keeper: Keeper,
    pub events: mpsc::Receiver<KeeperEvent>,
    pub messages: mpsc::Receiver<Message>,
    pub commits: Arc<Commits>,
    pub journal: Journal,
    /// The lines the journal held at start.
    pub recorded: Vec<String>,
    /// The alarms of a former agent that were not cleared.
    pub standing: Vec<(ProcessName, AlarmId, String)>,
    pub heard: mpsc::Sender<Heard>,
}

/// Everything that can wake the lifecycle.
enum Wake {
    Message(Message),
    Keeper(KeeperEvent),
    Input(Input),
    Sign(Sign),
    Commit,
    Deadline,
    Recheck,
    /// Something was mounted or unmounted.
    Mounts,
    /// Nothing else is to be looked at now.
    Renewal,
}

impl Driver {
    /// Runs until the keeper's events or all senders of messages are gone.
    pub async fn run(self) {
        let Driver { places, keeper, mut events, mut messages, commits, journal, recorded, standing, heard } = self;
        let (inputs, mut done) = mpsc::channel(INPUTS_WAITING_MAX);
        let (watcher, mut signs) = match Watcher::start() {
            Ok(started) => started,
            Err(trouble) => {
                return error!(%trouble, "files cannot be watched; raise fs.inotify.max_user_instances if it is used up");
            }
        };
        let mut hands = Hands {
            manager: Manager::new(remembering::read_records(&recorded)).with_standing_alarms(standing),
            places: Arc::new(places),
            keeper,
            recorder: Recorder::new(journal),
            unrecorded: None,
            file_calls: Arc::new(Semaphore::new(FILE_CALLS_MAX)),
            is_folder_read: false,
            inputs,
            heard,
            watcher,
            checks: DatabaseChecks::new(),
            ordered: BTreeSet::new(),
            watched: BTreeMap::new(),
            daemons: daemons::Watched::default(),
            checked: BTreeSet::new(),
            asker: databases::Asker::default(),
            trials: trials::Trials::default(),
            changes: 0,
            deadline: None,
        };
        hands.read_all_definitions().await;
        let mounts = MountChanges::open();
        let mut recheck = tokio::time::interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if hands.changes >= CHANGES_BETWEEN_RENEWALS_MAX {
                hands.renew();
            }
            let deadline = hands.deadline;
            let is_changed = hands.changes > 0;
            let is_awaiting = hands.is_to_be_looked_at_again();
            let wake = tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => Wake::Keeper(event),
                    None => return,
                },
                Some(input) = done.recv() => Wake::Input(input),
                Some(sign) = signs.recv() => Wake::Sign(sign),
                () = commits.arrived() => Wake::Commit,
                () = until(deadline), if deadline.is_some() => Wake::Deadline,
                () = mounts.next() => Wake::Mounts,
                _ = recheck.tick(), if is_awaiting => Wake::Recheck,
                message = messages.recv() => match message {
                    Some(message) => Wake::Message(message),
                    None => return,
                },
                () = std::future::ready(()), if is_changed => Wake::Renewal,
            };
            // A call that follows a commit must find that commit done.
            if let Some(Configured { definitions, settings, checks }) = commits.fetch() {
                hands.checks = checks;
                hands.feed(Input::Configured { definitions, settings }).await;
            }
            match wake {
                Wake::Commit => {}
                Wake::Keeper(event) => hands.keeper_event(event).await,
                Wake::Input(input) => {
                    while let Ok(event) = events.try_recv() {
                        hands.keeper_event(event).await;
                    }
                    hands.done(input).await;
                }
                Wake::Sign(sign) => {
                    let mut found = vec![sign];
                    while found.len() < INPUTS_WAITING_MAX
                        && let Ok(sign) = signs.try_recv()
                    {
                        found.push(sign);
                    }
                    hands.signs(found).await;
                }
                Wake::Deadline => hands.feed(Input::Tick).await,
                Wake::Recheck => hands.look_again().await,
                Wake::Mounts => hands.watcher.mounts_changed(),
                Wake::Renewal => hands.renew(),
                Wake::Message(message) => hands.message(message).await,
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

struct Hands {
    manager: Manager,
    places: Arc<Places>,
    keeper: Keeper,
    recorder: Recorder,
    /// Why the journal lacks something.
    unrecorded: Option<String>,
    file_calls: Arc<Semaphore>,
    is_folder_read: bool,
    inputs: mpsc::Sender<Input>,
    heard: mpsc::Sender<Heard>,
    watcher: Watcher,
    checks: DatabaseChecks,
    /// Orders to the keeper that are not answered yet.
    ordered: BTreeSet<(ProcessName, Job)>,
    watched: BTreeMap<Watch, bool>,
    daemons: daemons::Watched,
    /// The databases that somebody waits for.
    checked: BTreeSet<Sqldb>,
    asker: databases::Asker,
    trials: trials::Trials,
    /// Since watches and the deadline were last made to fit.
    changes: usize,
    deadline: Option<Instant>,
}

impl Hands {
    async fn message(&mut self, message: Message) {
        match message {
            Message::Call { verb, names, by, reply } => {
                let unknown = names.iter().find(|name| !self.manager.processes().contains_key(*name));
                if let Some(name) = unknown {
                    return drop(reply.send(Err(self.unknown(name))));
                }
                for name in &names {
                    info!(process = %name, ?verb, %by, "asked");
                }
                self.feed(Input::Call { verb, names, by }).await;
                drop(reply.send(self.recorded().await));
            }
            Message::SetVersion { name, version, reply } => {
                if self.manager.has_no_room_for_version_of(&name) {
                    let text = format!("the versions of {VERSIONS_MAX} processes are known, which is the limit");
                    return drop(reply.send(Err(Refusal::new(Kind::ResourceDenied, text))));
                }
                self.feed(Input::SetVersion { name, version }).await;
                drop(reply.send(self.recorded().await));
            }
            Message::Imdb { table, is_registered, reply } => {
                if is_registered && self.manager.imdb().len() >= IMDB_MAX {
                    let text = format!("{IMDB_MAX} tables are registered, which is the limit");
                    return drop(reply.send(Err(Refusal::new(Kind::ResourceDenied, text))));
                }
                self.feed(Input::Imdb { table, is_registered }).await;
                drop(reply.send(self.recorded().await));
            }
            Message::Why { name, reply } => {
                let answer = match self.manager.processes().get(&name) {
                    Some(process) => Ok(view::why(&self.manager, process, clock())),
                    None => Err(self.unknown(&name)),
                };
                drop(reply.send(answer));
            }
            Message::Export { name, reply } => {
                let found = self.manager.processes().get(&name).map(|process| xml::print(&process.definition));
                drop(reply.send(found.ok_or_else(|| self.unknown(&name))));
            }
            Message::Trial { name, by, wait, reply } => self.begin_trial(name, &by, wait, reply),
            Message::TryOut { name, command, limit, reply } => self.try_out(name, command, limit, reply),
            Message::File { call, by, reply } => {
                let allowed = call.allowed(self.manager.declared());
                let Ok(place) = Arc::clone(&self.file_calls).try_acquire_owned() else {
                    let text = format!("{FILE_CALLS_MAX} declared files are being worked on, which is the limit");
                    let refusal = Refusal::new(Kind::InUse, text).mend("try again; a file system may be hanging");
                    return drop(reply.send(Err(refusal)));
                };
                info!(path = %call.path().display(), %by, "a declared file was asked for");
                tokio::task::spawn_blocking(move || {
                    drop(reply.send(allowed.and_then(|may| call.carry_out(may))));
                    drop(place);
                });
            }
            Message::View { selection, reply } => {
                drop(reply.send(view::state(&self.manager, selection.as_ref(), clock())));
            }
        }
    }

    fn unknown(&self, name: &ProcessName) -> Refusal {
        let refusal = Refusal::new(Kind::DataMissing, format!("no definition of process `{name}` is in force"));
        match self.manager.problems().iter().find(|(source, _)| **source == name.file_name()) {
            Some((source, problem)) => refusal.mend(format!("mend {source}: {problem}")),
            None => refusal.mend(format!(
                "put {} into {}, or configure it",
                name.file_name(),
                self.places.definitions.display()
            )),
        }
    }

    async fn keeper_event(&mut self, event: KeeperEvent) {
        match event {
            KeeperEvent::Connected { containers } => {
                let holdings: BTreeMap<_, _> = containers
                    .iter()
                    .filter_map(|(state, _)| Some((keeping::job_of(&state.name)?, keeping::seen(state))))
                    .collect();
                let lost: Vec<(ProcessName, Job)> = self
                    .manager
                    .begun()
                    .into_iter()
                    .filter(|key| !holdings.contains_key(key) && !self.ordered.contains(key))
                    .collect();
                let states: Vec<&ContainerState> = containers.iter().map(|(state, _)| state).collect();
                self.trials_held(&states);
                self.feed(Input::KeeperConnected { holdings }).await;
                for (name, job) in lost {
                    let why = "the keeper does not hold it any more".to_owned();
                    self.feed(Input::NotRun { name, job, why }).await;
                }
            }
            KeeperEvent::Lost => self.feed(Input::KeeperLost).await,
            KeeperEvent::Changed(state) => {
                if let Some((name, job)) = keeping::job_of(&state.name) {
                    self.feed(Input::Seen { name, job, seen: keeping::seen(&state) }).await;
                } else {
                    self.trial_seen(&state);
                }
            }
            // The state says it all. Their doors lead nowhere: commands of definitions have no NETCONF of their own.
            KeeperEvent::RunStarted { .. }
            | KeeperEvent::Exited(_)
            | KeeperEvent::Mismatch { .. }
            | KeeperEvent::Released { .. } => {}
        }
    }

    async fn signs(&mut self, signs: Vec<Sign>) {
        let mut touched = BTreeSet::new();
        for sign in &signs {
            if let Sign::Touched { path } = sign
                && path.parent() == Some(&self.places.definitions)
            {
                touched.insert(path.clone());
            }
        }
        // Many that are installed together are looked at together.
        if !touched.is_empty() {
            self.read_definitions_at(touched).await;
        }
        for sign in signs {
            match sign {
                Sign::Presence { watch: Watch::Directory(path), is_there: true } if path == self.places.definitions => {
                    self.read_all_definitions().await;
                }
                Sign::Presence { watch, is_there } => self.feed(Input::Available { watch, is_there }).await,
                Sign::Touched { path } => self.feed(Input::Touched { path }).await,
                Sign::Overflow => self.read_all_definitions().await,
            }
        }
    }

    async fn done(&mut self, input: Input) {
        if let Input::Tried { name, trial } = &input
            && self.trial_over(name, trial) == Tried::Proposed
        {
            return;
        }
        match &input {
            Input::NotRun { name, job, .. } | Input::Finished { name, job, .. } => {
                self.ordered.remove(&(name.clone(), *job));
            }
            Input::Available { watch: Watch::Sqldb(sqldb), .. } => self.asker.answered(sqldb),
            _ => {}
        }
        self.feed(input).await;
    }

    async fn feed(&mut self, input: Input) {
        self.changes += 1;
        let actions = self.manager.handle(input, clock());
        let records: Vec<&Record> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Save(record) => Some(record),
                _ => None,
            })
            .collect();
        if !records.is_empty() {
            let lines = records.iter().filter_map(|record| serde_json::to_string(record).ok()).collect();
            self.remember(lines).await;
        }
        for action in actions {
            self.act(action).await;
        }
    }

    /// What is to be watched, asked and waited for follows from definitions and states. It is found anew when nothing
    /// else is to be done, once for many changes: finding it costs what is defined, not what has changed.
    fn renew(&mut self) {
        self.changes = 0;
        self.deadline = self.manager.deadline();
        self.watch_what_counts();
        self.check_databases(false);
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Save(_) => {}
            Action::Run { name, job, run } => {
                self.ordered.insert((name.clone(), job));
                let spec = keeping::spec(&self.places, &name, job, &run, self.manager.settings());
                keeping::begin(&self.keeper, spec, name, job, self.inputs.clone(), &self.places);
            }
            Action::Terminate { name, daemon } => keeping::terminate(&self.keeper, &name, daemon),
            Action::Finish { name, job, daemon } => {
                self.ordered.insert((name.clone(), job));
                keeping::finish(&self.keeper, &self.places, name, job, daemon, self.inputs.clone());
            }
            Action::CheckPidFile { name, path, run_began } => {
                let look = daemons::Look { name, path, run_began, root: self.places.root.clone() };
                daemons::look(look, self.keeper.clone(), self.daemons.clone(), self.inputs.clone());
            }
            Action::Changed(change) => {
                info!(process = %change.name, from = %change.from, to = %change.to, cause = %change.cause,
                    why = change.why.as_deref().unwrap_or_default(), "process");
                let notification = view::change(&change);
                // When the agent is shutting down nobody listens any more.
                let _ = self.heard.send(Heard::Changed { change, notification }).await;
            }
            Action::Alarm(alarm) => drop(self.heard.send(Heard::Alarm(alarm)).await),
        }
    }

    fn is_to_be_looked_at_again(&self) -> bool {
        !self.checked.is_empty() || self.unrecorded.is_some() || !self.is_folder_read
    }

    async fn look_again(&mut self) {
        if self.unrecorded.is_some() {
            self.remember(Vec::new()).await;
        }
        if !self.is_folder_read {
            self.read_all_definitions().await;
        }
        self.check_databases(true);
    }

    fn watch_what_counts(&mut self) {
        let mut wanted = self.manager.watches();
        wanted.insert(Watch::Directory(self.places.definitions.clone()), false);
        if wanted != self.watched {
            self.watched = wanted.clone();
            self.watcher.watch(wanted);
        }
    }

    /// Asks the databases that somebody waits for: those that are new in that, or all of them.
    fn check_databases(&mut self, all: bool) {
        let awaited = self.manager.databases_awaited(clock());
        for sqldb in &awaited {
            if all || !self.checked.contains(sqldb) {
                self.asker.ask(sqldb, &self.checks, &self.inputs);
            }
        }
        self.checked = awaited;
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver's one look at the clocks")]
fn clock() -> Clock {
    Clock { now: Instant::now(), at: Timestamp::now() }
}
