//! Watches and runs: what happens comes in, timers are waited for, files are watched, and actions run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::config::{Config, Watches};
use super::correlator::{Correlator, Firing};
use super::happening::Happening;
use super::provider::{Committed, EventManager};
use super::view::{self, LastRun};
use crate::checksum::Sha256;
use crate::clock::Clock;
use crate::northbound::Refusal;
use crate::yang::value::Element;

/// What happened and waits to be looked at; what comes when it is full is not seen, and that is told.
pub const HAPPENINGS_WAITING_MAX: usize = 1024;
const MESSAGES_WAITING_MAX: usize = 64;
const OUTCOMES_WAITING_MAX: usize = 64;
const WATCH_BUFFER_BYTES: usize = 16 * 1024;
/// Nobody waits for a timer longer than this: the clock on the wall may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A folder that is to be watched and is not there yet is looked for so often.
const FOLDER_AGAIN: Duration = Duration::from_secs(5);

/// A script that an action runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRun {
    pub script: String,
    pub sha256: Sha256,
    pub max_run_seconds: u32,
    pub username: String,
    pub environment: Vec<(String, String)>,
    /// What `eem.event_reqinfo()` returns, as JSON.
    pub event: String,
    /// For the history: which policy map.
    pub description: String,
}

type Running = Pin<Box<dyn Future<Output = Result<u32, Refusal>> + Send>>;
/// Runs a script; the number of its request.
pub type Runner = Arc<dyn Fn(ScriptRun) -> Running + Send + Sync>;
/// What became of a request.
pub type StatusOf = Arc<dyn Fn(u32) -> Option<String> + Send + Sync>;
/// A sentence for the system log, and whether it is trouble.
pub type Say = Arc<dyn Fn(String, bool) + Send + Sync>;

pub struct Parts {
    pub clock: Clock,
    pub happenings: mpsc::Receiver<Happening>,
    pub runner: Runner,
    pub status_of: StatusOf,
    pub say: Say,
    /// Whether a trigger waits for notifications: told to those who listen to them.
    pub wants_notifications: watch::Sender<bool>,
    /// Holds the boot in which events of type `@reboot` were told last.
    pub boot_note: PathBuf,
    pub boot_id: String,
}

#[derive(Debug)]
pub(super) enum Message {
    View { reply: oneshot::Sender<Element> },
}

/// The provider, and the driver to spawn.
pub fn open(parts: Parts) -> (EventManager, impl Future<Output = ()>) {
    let (driver, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
    let committed = Arc::new(Committed::default());
    let provider = EventManager { committed: Arc::clone(&committed), driver };
    (provider, run(parts, committed, messages))
}

struct Outcome {
    action: String,
    result: Result<u32, Refusal>,
}

async fn run(parts: Parts, committed: Arc<Committed>, mut messages: mpsc::Receiver<Message>) {
    let Parts { mut clock, mut happenings, runner, status_of, say, wants_notifications, boot_note, boot_id } = parts;
    let (outcomes, mut came) = mpsc::channel(OUTCOMES_WAITING_MAX);
    let mut hands = Hands {
        clock: clock.clone(),
        correlator: Correlator::default(),
        files: Files::default(),
        runs: BTreeMap::new(),
        requests: BTreeMap::new(),
        runner,
        status_of,
        say,
        wants_notifications,
        outcomes,
    };
    let mut is_first = true;
    loop {
        let wait = hands
            .correlator
            .wait(hands.clock.moment())
            .unwrap_or(LOOK_AGAIN)
            .min(hands.files.look_again().unwrap_or(LOOK_AGAIN));
        let firings = tokio::select! {
            () = committed.arrived() => {
                let Some(config) = committed.fetch() else { continue };
                hands.configure(config);
                let has_booted = std::mem::take(&mut is_first) && is_new_boot(&boot_note, &boot_id).await;
                if has_booted { hands.correlator.booted(hands.clock.moment()) } else { Vec::new() }
            }
            happening = happenings.recv() => match happening {
                Some(happening) => hands.correlator.happen(&happening, hands.clock.moment()),
                None => return,
            },
            path = hands.files.next() => hands.correlator.happen(&Happening::File { path }, hands.clock.moment()),
            message = messages.recv() => match message {
                Some(Message::View { reply }) => {
                    drop(reply.send(hands.view()));
                    continue;
                }
                None => return,
            },
            Some(outcome) = came.recv() => {
                hands.came(outcome);
                continue;
            }
            () = tokio::time::sleep(wait.min(LOOK_AGAIN)) => {
                hands.files.mend();
                hands.correlator.due(hands.clock.moment())
            }
            () = clock.moved() => hands.correlator.due(hands.clock.moment()),
        };
        for firing in firings {
            hands.act(firing);
        }
    }
}

struct Hands {
    clock: Clock,
    correlator: Correlator,
    files: Files,
    runs: BTreeMap<String, LastRun>,
    /// The last request of each action.
    requests: BTreeMap<String, u32>,
    runner: Runner,
    status_of: StatusOf,
    say: Say,
    wants_notifications: watch::Sender<bool>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Hands {
    fn configure(&mut self, config: Config) {
        self.runs.retain(|name, _| config.actions.contains_key(name));
        self.requests.retain(|name, _| config.actions.contains_key(name));
        self.files.watch(&config);
        let wants = config
            .triggers
            .values()
            .any(|trigger| matches!(trigger.watches, Watches::Notification { .. } | Watches::Alarm { .. }));
        self.wants_notifications.send_replace(wants);
        self.correlator.configure(config, self.clock.moment());
    }

    fn act(&mut self, firing: Firing) {
        info!(policy = firing.policy, event = firing.facts.event, "a policy map acts");
        for name in &firing.actions {
            let Some(action) = self.correlator.config().actions.get(name) else {
                (self.say)(format!("policy-map {}: action {name} is not configured", firing.policy), true);
                continue;
            };
            let run = ScriptRun {
                script: action.script.clone(),
                sha256: action.sha256,
                max_run_seconds: action.max_run_seconds,
                username: action.username.clone(),
                environment: self.correlator.config().environment.clone(),
                event: firing.facts.json(&firing.policy, name),
                description: format!("event {} of policy-map {}", firing.facts.event, firing.policy),
            };
            let last = self.runs.entry(name.clone()).or_default();
            last.count = last.count.saturating_add(1);
            let (running, outcomes, action) = ((self.runner)(run), self.outcomes.clone(), name.clone());
            tokio::spawn(async move {
                let result = running.await;
                // When the agent is shutting down nobody listens any more.
                let _ = outcomes.send(Outcome { action, result }).await;
            });
        }
    }

    fn came(&mut self, outcome: Outcome) {
        match outcome.result {
            Ok(request) => drop(self.requests.insert(outcome.action, request)),
            Err(refusal) => {
                (self.say)(format!("action {} did not run: {refusal}", outcome.action), true);
                self.requests.remove(&outcome.action);
                if let Some(last) = self.runs.get_mut(&outcome.action) {
                    last.status = refusal.to_string();
                }
            }
        }
    }

    fn view(&self) -> Element {
        let mut runs = self.runs.clone();
        for (action, request) in &self.requests {
            if let (Some(run), Some(status)) = (runs.get_mut(action), (self.status_of)(*request)) {
                run.status = status;
            }
        }
        view::eem(&self.correlator, &runs, &self.files.unwatched, self.clock.moment())
    }
}

/// Whether this boot was not told before; from now on it was.
async fn is_new_boot(note: &Path, boot_id: &str) -> bool {
    let told = tokio::fs::read_to_string(note).await.unwrap_or_default();
    if told == boot_id {
        return false;
    }
    if let Err(error) = tokio::fs::write(note, boot_id).await {
        warn!(path = %note.display(), %error, "events of type @reboot may come again at the next start");
    }
    true
}

/// The watched files: each by the folder that holds it, so that a file that does not exist yet is seen to come.
#[derive(Default)]
struct Files {
    events: Option<EventStream<Vec<u8>>>,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    /// Path and trigger of each file.
    wanted: Vec<(String, String)>,
    /// Triggers whose folder is not there, and why.
    unwatched: BTreeMap<String, String>,
}

impl Files {
    fn watch(&mut self, config: &Config) {
        self.wanted = config
            .triggers
            .iter()
            .filter_map(|(name, trigger)| match &trigger.watches {
                Watches::File { path } => Some((path.clone(), name.clone())),
                _ => None,
            })
            .collect();
        self.mend();
    }

    fn look_again(&self) -> Option<Duration> {
        (!self.unwatched.is_empty()).then_some(FOLDER_AGAIN)
    }

    /// Watches the folders that are wanted and there, and lets the others go.
    fn mend(&mut self) {
        self.unwatched.clear();
        if self.wanted.is_empty() && self.folders.is_empty() {
            return;
        }
        if self.events.is_none() {
            match Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; WATCH_BUFFER_BYTES])) {
                Ok(events) => self.events = Some(events),
                Err(error) => {
                    let why = format!("files cannot be watched: {error}");
                    self.unwatched = self.wanted.iter().map(|(_, trigger)| (trigger.clone(), why.clone())).collect();
                    return;
                }
            }
        }
        let Some(events) = &mut self.events else { return };
        let mut folders = BTreeMap::new();
        for (path, trigger) in &self.wanted {
            let folder = Path::new(path).parent().unwrap_or(Path::new("/")).to_owned();
            let mask = WatchMask::CLOSE_WRITE
                | WatchMask::MOVED_TO
                | WatchMask::MOVED_FROM
                | WatchMask::DELETE
                | WatchMask::ONLYDIR;
            // The same folder gets the same descriptor again.
            match events.watches().add(&folder, mask) {
                Ok(descriptor) => drop(folders.insert(folder, descriptor)),
                Err(error) => {
                    let why = format!("{} cannot be watched: {error}", folder.display());
                    self.unwatched.insert(trigger.clone(), why);
                }
            }
        }
        for (folder, descriptor) in std::mem::take(&mut self.folders) {
            if !folders.contains_key(&folder) {
                let _ = events.watches().remove(descriptor);
            }
        }
        self.folders = folders;
    }

    /// The next watched file that something happened to.
    async fn next(&mut self) -> String {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            let Some(Ok(event)) = events.next().await else {
                self.events = None;
                continue;
            };
            let Some(name) = event.name.as_deref() else { continue };
            if let Some(path) = self.path_of(&event.wd, name) {
                return path;
            }
        }
    }

    fn path_of(&self, descriptor: &WatchDescriptor, name: &OsStr) -> Option<String> {
        let (folder, _) = self.folders.iter().find(|(_, watched)| *watched == descriptor)?;
        let path = folder.join(name);
        self.wanted.iter().map(|(wanted, _)| wanted).find(|wanted| Path::new(wanted) == path).cloned()
    }
}
