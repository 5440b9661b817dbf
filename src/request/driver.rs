//! Carries out what is decided of runs: orders to the keeper, records in the journal, answers to callers.
//!
//! One task owns the runs. An order is on the keeper's queue before the next thing is decided; its answer comes back as
//! an input. Who reads the views reads what was last published, and waits for nobody.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::keeping;
use super::refusals;
use super::requests::{Action, Command, Input, Requests, Ticket};
use super::run::{Account, Order, Request, RequestId};
use crate::checksum::Sha256;
use crate::clock::{Clock, Moment};
use crate::container::scripts::Places;
use crate::keeper::client::{Keeper, KeeperEvent, in_order};
use crate::keeper::protocol::CHECKSUMS_MAX;
use crate::keeper::refusal::KeeperRefusal;
use crate::northbound::{Kind, Refusal};
use crate::store::driver::Recorder;
use crate::store::journal::Journal;

/// Calls that wait for the runs; a further one waits its turn.
pub const MESSAGES_WAITING_MAX: usize = 64;
/// From this size on the journal is written anew with what is kept.
pub const JOURNAL_BYTES_MAX: u64 = 8 * 1024 * 1024;
const OUTCOMES_WAITING_MAX: usize = 64;
/// Nobody waits for a timer longer than this; the deadline of a run may be sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// What the rest of the agent hears of.
#[derive(Debug)]
pub enum Heard {
    /// A run has begun: NETCONF sessions come through this door, with the rights of `account`.
    Door {
        id: RequestId,
        script: String,
        account: Account,
        door: OwnedFd,
    },
    Changed(Box<Request>),
}

/// The committed checksums of the shelf of one type of scripts, for their imports.
pub type Checksums = Arc<dyn Fn(&str) -> Vec<(String, Sha256)> + Send + Sync>;

pub(super) enum Message {
    Run { order: Box<Order>, reply: oneshot::Sender<Result<RequestId, Refusal>> },
    Stop { id: RequestId, why: Option<String>, reply: oneshot::Sender<Result<RequestId, Refusal>> },
}

/// A way to the runs; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    runs: watch::Receiver<Arc<Vec<Request>>>,
}

impl Handle {
    /// Newest first, as they stand now.
    pub fn runs(&self) -> Arc<Vec<Request>> {
        self.runs.borrow().clone()
    }

    /// Returns when the script runs, or has run already.
    ///
    /// # Errors
    /// Why it does not: too many at once, a checksum that differs, a keeper that is away.
    pub async fn run(&self, order: Order) -> Result<RequestId, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Run { order: Box::new(order), reply }, answer).await
    }

    /// Returns when the run is over.
    ///
    /// # Errors
    /// There is no such run, or it is over already.
    pub async fn stop(&self, id: RequestId, why: Option<String>) -> Result<RequestId, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Stop { id, why, reply }, answer).await
    }

    async fn ask(
        &self,
        message: Message,
        answer: oneshot::Receiver<Result<RequestId, Refusal>>,
    ) -> Result<RequestId, Refusal> {
        self.messages.send(message).await.map_err(|_| refusals::gone())?;
        answer.await.map_err(|_| refusals::gone())?
    }
}

pub struct Parts {
    pub places: Places,
    pub keeper: Keeper,
    pub events: mpsc::Receiver<KeeperEvent>,
    pub journal: Journal,
    /// The lines the journal held at start.
    pub recorded: Vec<String>,
    pub heard: mpsc::Sender<Heard>,
    pub checksums: Checksums,
}

/// The handle, and the driver to spawn.
pub fn open(parts: Parts) -> (Handle, impl Future<Output = ()>) {
    let (messages, inbox) = mpsc::channel(MESSAGES_WAITING_MAX);
    let requests = Requests::new(read_records(&parts.recorded), unix_seconds());
    let (publish, runs) = watch::channel(published(&requests));
    (Handle { messages, runs }, run(parts, requests, inbox, publish))
}

async fn run(
    parts: Parts,
    requests: Requests,
    mut messages: mpsc::Receiver<Message>,
    publish: watch::Sender<Arc<Vec<Request>>>,
) {
    let Parts { places, keeper, mut events, journal, heard, checksums, recorded: _ } = parts;
    let (outcomes, mut answered) = mpsc::channel(OUTCOMES_WAITING_MAX);
    let mut hands = Hands {
        requests,
        places,
        keeper,
        recorder: Recorder::new(journal),
        waiting: BTreeMap::new(),
        last_ticket: 0,
        outcomes,
        heard,
        checksums,
        publish,
    };
    loop {
        let due = hands.requests.deadline().unwrap_or_else(|| moment().now + LOOK_AGAIN);
        // In this order: how a run ended is heard before that its release is done.
        let input = tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => match hands.keeper_event(event).await {
                    Some(input) => input,
                    None => continue,
                },
                None => return,
            },
            message = messages.recv() => match message {
                Some(message) => hands.message(message),
                None => return,
            },
            Some((id, what, outcome)) = answered.recv() => Input::Ordered { id, what, outcome },
            () = tokio::time::sleep_until(due.into()) => Input::Due,
        };
        hands.feed(input).await;
    }
}

struct Hands {
    requests: Requests,
    places: Places,
    keeper: Keeper,
    recorder: Recorder,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<RequestId, Refusal>>>,
    last_ticket: u64,
    outcomes: mpsc::Sender<(RequestId, Command, Result<(), Refusal>)>,
    heard: mpsc::Sender<Heard>,
    checksums: Checksums,
    publish: watch::Sender<Arc<Vec<Request>>>,
}

impl Hands {
    fn message(&mut self, message: Message) -> Input {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let (input, reply) = match message {
            Message::Run { order, reply } => (Input::Run { order, ticket }, reply),
            Message::Stop { id, why, reply } => (Input::Stop { id, why, ticket }, reply),
        };
        self.waiting.insert(ticket, reply);
        input
    }

    async fn keeper_event(&mut self, event: KeeperEvent) -> Option<Input> {
        match event {
            KeeperEvent::Connected { containers } => {
                let mut held = Vec::new();
                for (state, door) in containers {
                    let Some(id) = keeping::request_id(&state.name) else { continue };
                    held.push((id, keeping::observed(&state)));
                    if let Some(door) = door {
                        self.door(id, door).await;
                    }
                }
                Some(Input::KeeperConnected { held })
            }
            KeeperEvent::Lost => Some(Input::KeeperLost),
            KeeperEvent::Changed(state) => {
                let id = keeping::request_id(&state.name)?;
                Some(Input::Observed { id, observed: keeping::observed(&state) })
            }
            KeeperEvent::RunStarted { name, door, .. } => {
                self.door(keeping::request_id(&name)?, door).await;
                None
            }
            KeeperEvent::Exited(exited) => {
                Some(Input::Exited { id: keeping::request_id(&exited.name)?, exit: exited.status })
            }
            KeeperEvent::Mismatch { .. } | KeeperEvent::Released { .. } => None,
        }
    }

    async fn door(&self, id: RequestId, door: OwnedFd) {
        let Some(run) = self.requests.get(id).filter(|run| !run.is_over) else { return };
        let (script, account) = (run.order.script.clone(), run.order.account.clone());
        // When the agent is shutting down nobody listens any more.
        let _ = self.heard.send(Heard::Door { id, script, account, door }).await;
    }

    async fn feed(&mut self, input: Input) {
        let actions = self.requests.handle(input, moment());
        if !actions.is_empty() {
            // Before any answer: who hears of a run finds it in the views.
            self.publish.send_replace(published(&self.requests));
        }
        for action in actions {
            match action {
                Action::Command { id, what } => self.command(id, what).await,
                Action::Answer { ticket, answer } => {
                    if let Some(reply) = self.waiting.remove(&ticket) {
                        drop(reply.send(answer));
                    }
                }
                Action::Record { id } => self.record(id).await,
                Action::Told { id } => {
                    if let Some(run) = self.requests.get(id) {
                        info!(request = %id, script = run.order.script, status = run.status().as_str(), "request");
                        let _ = self.heard.send(Heard::Changed(Box::new(run.clone()))).await;
                    }
                }
                Action::Forget { request } => {
                    let logs = self.places.harddisk.join(request.log_folder());
                    tokio::task::spawn_blocking(move || {
                        if let Err(error) = std::fs::remove_dir_all(&logs) {
                            warn!(logs = %logs.display(), %error, "the logs of an old run could not be removed");
                        }
                    });
                }
            }
        }
    }

    /// Puts the order on the keeper's queue now; its answer comes back as an input.
    async fn command(&mut self, id: RequestId, what: Command) {
        let future = match self.carry_out(id, what) {
            Ok(future) => future,
            Err(refusal) => {
                let _ = self.outcomes.send((id, what, Err(refusal))).await;
                return;
            }
        };
        let outcomes = self.outcomes.clone();
        in_order(future, async move |outcome| drop(outcomes.send((id, what, outcome)).await)).await;
    }

    fn carry_out(&self, id: RequestId, what: Command) -> Result<Pending, Refusal> {
        let name = keeping::container(id).map_err(refusals::invalid)?;
        let keeper = self.keeper.clone();
        Ok(match what {
            Command::Define => {
                let run = self.requests.get(id).ok_or_else(|| refusals::unknown(id))?;
                let spec = keeping::spec(&self.places, name.clone(), run);
                let mut sums = (self.checksums)(&run.order.script_type);
                sums.truncate(CHECKSUMS_MAX);
                Box::pin(async move {
                    keeper.define(spec).await.map_err(refusal)?;
                    keeper.set_checksums(name, sums).await.map_err(refusal)
                })
            }
            Command::Start => Box::pin(async move { keeper.start(name).await.map_err(refusal) }),
            Command::Release { grace } => Box::pin(async move {
                match keeper.release(name, grace).await {
                    // What is not there any more is released.
                    Ok(()) | Err(KeeperRefusal::NotDefined { .. }) => Ok(()),
                    Err(trouble) => Err(refusal(trouble)),
                }
            }),
        })
    }

    async fn record(&mut self, id: RequestId) {
        let Some(run) = self.requests.get(id) else { return };
        let line = |run: &Request| serde_json::to_string(run).unwrap_or_default();
        let all = || self.requests.newest_first().map(line).collect();
        if let Err(trouble) = self.recorder.record(vec![line(run)], all).await {
            error!(request = %id, %trouble, "the run could not be recorded: a restart of the agent may not know of it");
        }
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

fn refusal(trouble: KeeperRefusal) -> Refusal {
    let text = trouble.to_string();
    match trouble {
        KeeperRefusal::ChecksumDiffers { .. } => {
            Refusal::new(Kind::OperationFailed, format!("Checksum Mismatch: {text}")).tagged("checksum-mismatch")
        }
        _ => Refusal::new(Kind::OperationFailed, text),
    }
}

fn published(requests: &Requests) -> Arc<Vec<Request>> {
    Arc::new(requests.newest_first().cloned().collect())
}

/// The last line of each run counts.
fn read_records(lines: &[String]) -> Vec<Request> {
    let mut runs = BTreeMap::new();
    for line in lines {
        match serde_json::from_str::<Request>(line) {
            Ok(run) => drop(runs.insert(run.id, run)),
            Err(trouble) => warn!(%trouble, "a line of the journal of runs cannot be read"),
        }
    }
    runs.into_values().rev().take(super::requests::KEPT_MAX).collect()
}

/// Runs are timed by the host's own clock, by which the keeper says when they began.
fn moment() -> Moment {
    Clock::of_the_host().moment()
}

fn unix_seconds() -> u32 {
    u32::try_from(moment().unix_ms / 1000).unwrap_or(u32::MAX)
}

/// The time of a view.
pub(super) fn now_ms() -> u64 {
    moment().unix_ms
}
