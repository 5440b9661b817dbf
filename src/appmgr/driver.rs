//! Carries out what the manager decides: orders to the keeper, records in the journal, answers to callers.
//!
//! One task owns the manager. Orders are put on the keeper's queue in the order they were decided, and answered in
//! tasks of their own, so that a slow release keeps nobody else waiting.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::keeping;
use super::manager::{Action, Activation, Input, Life, Manager, Order, Ticket, Verb};
use super::provider::{Commits, Configured};
use super::registration::AppName;
use super::view::{self, Clock};
use crate::container::scripts::Places;
use crate::keeper::client::{Keeper, KeeperEvent, in_order};
use crate::northbound::Refusal;
use crate::store::driver::Recorder;
use crate::store::journal::Journal;
use crate::yang::value::Element;

/// Calls and questions that wait for the app manager; a further one waits its turn.
pub const MESSAGES_WAITING_MAX: usize = 256;
/// From this size on the journal is written anew with what still counts.
pub const JOURNAL_BYTES_MAX: u64 = 1024 * 1024;
/// Answers of the keeper on their way back.
const OUTCOMES_WAITING_MAX: usize = 256;

/// What others ask of the app manager.
#[derive(Debug)]
pub enum Message {
    Call { verb: Verb, app: AppName, by: String, reply: oneshot::Sender<Result<(), Refusal>> },
    View { only: Option<String>, reply: oneshot::Sender<Element> },
}

/// Which activated apps run which script, for those who must not remove one under an app.
#[derive(Debug, Default)]
pub struct Usage(RwLock<BTreeMap<String, Vec<String>>>);

impl Usage {
    /// The activated apps that run the process script `script`.
    pub fn apps_using(&self, script: &str) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(script).cloned().unwrap_or_default()
    }
}

/// What the rest of the agent hears of.
#[derive(Debug)]
pub enum Heard {
    /// A run has begun: NETCONF sessions come through this door, with the rights of `account`.
    Door { app: AppName, run_id: u32, account: Option<String>, door: OwnedFd },
    /// The operational state of an app changed; the same as a notification of `procyon-appmgr`.
    Changed { app: AppName, status: &'static str, why: Option<String>, notification: Element },
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    app: AppName,
    activation: Option<Activation>,
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
    pub heard: mpsc::Sender<Heard>,
    pub usage: Arc<Usage>,
}

/// Everything that can wake the app manager.
enum Wake {
    Message(Message),
    Keeper(KeeperEvent),
    Outcome(AppName, Order, Result<(), Refusal>),
    Commit,
}

impl Driver {
    /// Runs until the keeper's events or all senders of messages are gone.
    pub async fn run(self) {
        let Driver { places, keeper, mut events, mut messages, commits, journal, recorded, heard, usage } = self;
        let (outcomes, mut answered) = mpsc::channel(OUTCOMES_WAITING_MAX);
        let mut hands = Hands {
            manager: Manager::new(read_records(&recorded)),
            places,
            keeper,
            recorder: Recorder::new(journal),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            outcomes,
            heard,
            usage,
            told: BTreeMap::new(),
        };
        loop {
            let wake = tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => Wake::Message(message),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => Wake::Keeper(event),
                    None => return,
                },
                Some((app, order, outcome)) = answered.recv() => Wake::Outcome(app, order, outcome),
                () = commits.arrived() => Wake::Commit,
            };
            // A call that follows a commit must find that commit done.
            if let Some(Configured { registrations, checksums }) = commits.fetch() {
                let has_new_sums = !checksums.is_empty();
                hands.feed(Input::Configured { registrations, checksums }).await;
                if has_new_sums {
                    hands.tell_checksums().await;
                }
            }
            match wake {
                Wake::Commit => {}
                Wake::Message(message) => hands.message(message).await,
                Wake::Outcome(app, order, outcome) => {
                    let is_defined = matches!(order, Order::Define { .. }) && outcome.is_ok();
                    if is_defined {
                        hands.tell_checksums_to(&app).await;
                    }
                    hands.feed(Input::Ordered { app, order, outcome }).await;
                }
                Wake::Keeper(event) => hands.keeper_event(event).await,
            }
        }
    }
}

struct Hands {
    manager: Manager,
    places: Places,
    keeper: Keeper,
    recorder: Recorder,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<(), Refusal>>>,
    last_ticket: u64,
    outcomes: mpsc::Sender<(AppName, Order, Result<(), Refusal>)>,
    heard: mpsc::Sender<Heard>,
    usage: Arc<Usage>,
    /// What was last said of each app, so that only changes are said.
    told: BTreeMap<AppName, (&'static str, Option<String>)>,
}

impl Hands {
    async fn message(&mut self, message: Message) {
        match message {
            Message::Call { verb, app, by, reply } => {
                info!(%app, ?verb, %by, "asked");
                self.last_ticket += 1;
                let ticket = Ticket(self.last_ticket);
                self.waiting.insert(ticket, reply);
                self.feed(Input::Call { verb, app, ticket }).await;
            }
            Message::View { only, reply } => {
                let element = view::process_scripts(&self.manager, only.as_deref(), &Clock { time_of: &time_of });
                drop(reply.send(element));
            }
        }
    }

    async fn keeper_event(&mut self, event: KeeperEvent) {
        match event {
            KeeperEvent::Connected { containers } => {
                let mut held = Vec::new();
                let mut doors = Vec::new();
                for (state, door) in containers {
                    let app = AppName::new(state.name.as_str());
                    doors.extend(door.zip(state.run).map(|(door, run)| (app.clone(), run.0, door)));
                    held.push((app, keeping::observed(&state)));
                }
                self.feed(Input::KeeperConnected { containers: held }).await;
                for (app, run_id, door) in doors {
                    self.door(app, run_id, door).await;
                }
                self.tell_checksums().await;
            }
            KeeperEvent::Lost => self.feed(Input::KeeperLost).await,
            KeeperEvent::Changed(state) => {
                let app = AppName::new(state.name.as_str());
                self.feed(Input::Observed { app, observed: keeping::observed(&state) }).await;
            }
            KeeperEvent::RunStarted { name, run, door, .. } => {
                self.door(AppName::new(name.as_str()), run.0, door).await;
            }
            KeeperEvent::Exited(exited) => {
                info!(app = %exited.name, run = exited.run.0, status = ?exited.status, "run ended");
            }
            KeeperEvent::Mismatch { name, expected: Some(expected), found } => {
                warn!(app = %name, %expected, %found, "Checksum Mismatch: the script was not run");
            }
            KeeperEvent::Mismatch { name, expected: None, found } => {
                warn!(app = %name, %found, "no checksum is configured: the script was not run");
            }
            KeeperEvent::Released { .. } => {}
        }
    }

    async fn door(&mut self, app: AppName, run_id: u32, door: OwnedFd) {
        let account = match self.manager.apps().get(&app).map(|app| &app.life) {
            Some(Life::Active { activation, .. } | Life::Activating { activation, .. }) => {
                activation.registration.username.clone()
            }
            Some(Life::Inactive | Life::Deactivating { .. }) | None => return,
        };
        // When the agent is shutting down nobody listens any more.
        let _ = self.heard.send(Heard::Door { app, run_id, account, door }).await;
    }

    async fn feed(&mut self, input: Input) {
        let actions = self.manager.handle(input);
        // Before any answer: who hears that an app is activated finds its script in use.
        *self.usage.0.write().unwrap_or_else(PoisonError::into_inner) = self.manager.usage();
        for action in actions {
            match action {
                Action::Order { app, order } => self.order(app, order).await,
                Action::Answer { ticket, answer } => {
                    if let Some(reply) = self.waiting.remove(&ticket) {
                        drop(reply.send(answer));
                    }
                }
                Action::Record { app, activation } => self.record(app, activation).await,
                Action::Changed { app } => self.changed(&app).await,
            }
        }
    }

    /// Puts the order on the keeper's queue now; its answer comes back as an outcome.
    async fn order(&mut self, app: AppName, order: Order) {
        let future = match keeping::carry_out(&self.keeper, &self.places, &app, &order) {
            Ok(future) => future,
            Err(refusal) => {
                let _ = self.outcomes.send((app, order, Err(refusal))).await;
                return;
            }
        };
        let outcomes = self.outcomes.clone();
        in_order(future, async move |outcome| drop(outcomes.send((app, order, outcome)).await)).await;
    }

    async fn record(&mut self, app: AppName, activation: Option<Activation>) {
        let line = serde_json::to_string(&Record { app: app.clone(), activation }).unwrap_or_default();
        if let Err(trouble) = self.recorder.record(vec![line], || live_records(&self.manager)).await {
            error!(%app, %trouble, "the activation could not be recorded: a restart of the agent may not know of it");
        }
    }

    async fn changed(&mut self, name: &AppName) {
        let Some(app) = self.manager.apps().get(name) else {
            self.told.remove(name);
            return;
        };
        let status = view::status(app).yang();
        let why = view::why(&self.manager, app, name, &Clock { time_of: &time_of });
        let now = (status, why);
        if self.told.get(name) == Some(&now) {
            return;
        }
        let before = self.told.insert(name.clone(), now.clone());
        let previous = before.map(|(status, _)| status);
        let notification = view::change(&self.manager, name, app, previous, &Clock { time_of: &time_of });
        info!(app = %name, status = now.0, why = now.1.as_deref().unwrap_or_default(), "app");
        let _ = self.heard.send(Heard::Changed { app: name.clone(), status: now.0, why: now.1, notification }).await;
    }

    async fn tell_checksums(&mut self) {
        let active: Vec<AppName> = self
            .manager
            .apps()
            .iter()
            .filter(|(_, app)| matches!(app.life, Life::Active { .. }))
            .map(|(name, _)| name.clone())
            .collect();
        for app in active {
            self.tell_checksums_to(&app).await;
        }
    }

    /// The committed checksums of the shelf, for the imports of this app's script.
    async fn tell_checksums_to(&mut self, app: &AppName) {
        if let Err(refusal) = keeping::tell_checksums(&self.keeper, app, self.manager.checksums()).await {
            warn!(%app, %refusal, "the keeper was not told the checksums for imports");
        }
    }
}

fn live_records(manager: &Manager) -> Vec<String> {
    let active = manager.apps().iter().filter_map(|(name, app)| match &app.life {
        Life::Active { activation, .. } => Some(Record { app: name.clone(), activation: Some(activation.clone()) }),
        Life::Inactive | Life::Activating { .. } | Life::Deactivating { .. } => None,
    });
    active.filter_map(|record| serde_json::to_string(&record).ok()).collect()
}

fn read_records(lines: &[String]) -> BTreeMap<AppName, Activation> {
    let mut recorded = BTreeMap::new();
    for line in lines {
        match serde_json::from_str::<Record>(line) {
            Ok(Record { app, activation: Some(activation) }) => drop(recorded.insert(app, activation)),
            Ok(Record { app, activation: None }) => drop(recorded.remove(&app)),
            Err(trouble) => error!(%trouble, "a line of the app manager's journal is not understood, and left out"),
        }
    }
    recorded
}

/// `Fri Aug 20 06:20:21.947`, in the host's time zone.
fn time_of(unix_ms: u64) -> String {
    let at =
        jiff::Timestamp::from_millisecond(i64::try_from(unix_ms).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %e %H:%M:%S.%3f").to_string()
}
