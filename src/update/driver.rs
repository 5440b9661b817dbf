//! Waits for times and requests, and has scripts fetched.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{error, info};

use super::config::{Condition, Key, Origin, Wrong};
use super::plan::{Fetched, Outcome, Plan, Task};
use super::provider::{Committed, UpdateProvider};
use super::view;
use crate::clock::Clock;
use crate::northbound::provider::Later;
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

/// Questions that wait for the driver; a further one waits its turn.
const MESSAGES_WAITING_MAX: usize = 64;
/// Nobody waits for a timer longer than this.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// One script that is to be fetched, and on whose request.
#[derive(Debug)]
pub struct Order {
    pub script_type: &'static str,
    pub script: String,
    pub origin: Origin,
    pub by: String,
}

/// Puts the script into the repository, unless it is there already.
pub type Fetch = Arc<dyn Fn(Order) -> Later<Fetched> + Send + Sync>;
/// Whether the script of that type and name is not the one whose checksum is configured.
pub type IsOutdated = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;
/// Whether a script of that name could be fetched from there.
pub type Check = Arc<dyn Fn(&Key, &Origin) -> Result<(), Wrong> + Send + Sync>;
/// A sentence of trouble for the system log.
pub type Say = Arc<dyn Fn(String) + Send + Sync>;

pub struct Parts {
    pub clock: Clock,
    pub fetch: Fetch,
    pub is_outdated: IsOutdated,
    pub check: Check,
    pub say: Say,
}

type Answers = Vec<(Key, bool, oneshot::Receiver<Outcome>)>;

/// Which scripts somebody wants to be fetched now.
#[derive(Debug)]
pub(super) enum Which {
    /// Those with the condition manual; where one is named, under whatever condition it has.
    OnRequest { script_type: Option<String>, script: Option<String> },
    /// That one, if it is to be fetched when it is run.
    OnRun { script_type: &'static str, script: String },
}

#[derive(Debug)]
pub(super) enum Message {
    Want { which: Which, by: String, reply: oneshot::Sender<Answers> },
    View { reply: oneshot::Sender<Element> },
}

/// A way to the scripts that are kept up to date; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) messages: mpsc::Sender<Message>,
    say: Say,
}

impl Handle {
    /// Returns when the script that somebody is about to run may be: at once, unless it is to be fetched before.
    ///
    /// # Errors
    /// Why it cannot be had, where it is not to be run then.
    pub async fn before_run(&self, script_type: &'static str, script: String, by: String) -> Result<(), Refusal> {
        for (key, runs_local, outcome) in self.want(Which::OnRun { script_type, script }, by).await? {
            let Err(refusal) = outcome else { continue };
            if !runs_local {
                let Refusal { message, .. } = &refusal;
                let message = format!("{key} is to be fetched when it is run, and cannot be: {message}");
                return Err(Refusal { message, ..refusal });
            }
            (self.say)(format!("{key} could not be fetched, and the one in the repository is run: {refusal}"));
        }
        Ok(())
    }

    /// Fetches what is wanted; what came of each, and whether a failure of it may be overlooked.
    pub(super) async fn want(&self, which: Which, by: String) -> Result<Vec<(Key, bool, Outcome)>, Refusal> {
        let (reply, answers) = oneshot::channel();
        self.messages.send(Message::Want { which, by, reply }).await.map_err(|_| gone())?;
        let mut outcomes = Vec::new();
        for (key, runs_local, answer) in answers.await.map_err(|_| gone())? {
            let lost = || {
                let message = format!("{key} is not to be updated any more: its configuration went meanwhile");
                Refusal::new(Kind::OperationFailed, message)
            };
            let outcome = answer.await.unwrap_or_else(|_| Err(lost()));
            outcomes.push((key, runs_local, outcome));
        }
        Ok(outcomes)
    }
}

pub(super) fn gone() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the agent is shutting down; try again when it serves")
}

/// The handle, the provider, and the driver to spawn.
pub fn open(parts: Parts) -> (Handle, UpdateProvider, impl Future<Output = ()>) {
    let (sender, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
    let committed = Arc::new(Committed::default());
    let handle = Handle { messages: sender, say: Arc::clone(&parts.say) };
    let provider = UpdateProvider::new(handle.clone(), Arc::clone(&parts.check), Arc::clone(&committed));
    (handle, provider, run(parts, committed, messages))
}

async fn run(parts: Parts, committed: Arc<Committed>, mut messages: mpsc::Receiver<Message>) {
    let clock = parts.clock.clone();
    let mut moving = clock.clone();
    let mut plan = Plan::new();
    let mut fetches = JoinSet::new();
    loop {
        while let Some(task) = plan.next() {
            fetches.spawn(fetch(Arc::clone(&parts.fetch), task));
        }
        let wait = plan.wait(clock.moment().now).unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        tokio::select! {
            () = committed.arrived() => {
                if let Some(entries) = committed.fetch() {
                    plan.configure(entries, clock.moment());
                }
                // A commit may have made another checksum the right one.
                plan.hurry(|key| (parts.is_outdated)(key.script_type, &key.script), clock.moment());
            }
            message = messages.recv() => match message {
                Some(Message::Want { which, by, reply }) => drop(reply.send(want(&mut plan, which, &by))),
                Some(Message::View { reply }) => drop(reply.send(view::updates(&plan, clock.moment(), &TimeZone::system()))),
                None => return,
            },
            Some(done) = fetches.join_next() => match done {
                Ok((task, outcome)) => {
                    let waiters = plan.done(&task.key, &outcome, clock.moment());
                    tell(&parts, &task, &outcome, waiters.is_empty());
                    for waiter in waiters {
                        // Who asked may have gone.
                        let _ = oneshot::Sender::send(waiter, outcome.clone());
                    }
                }
                Err(trouble) => {
                    error!(%trouble, "a fetch of a script failed in itself");
                    return;
                }
            },
            () = tokio::time::sleep(wait) => plan.due(clock.moment()),
            () = moving.moved() => plan.due(clock.moment()),
        }
    }
}

async fn fetch(fetch: Fetch, task: Task) -> (Task, Outcome) {
    let order = Order {
        script_type: task.key.script_type,
        script: task.key.script.clone(),
        origin: task.entry.origin.clone(),
        by: task.by.clone(),
    };
    let outcome = fetch(order).await;
    (task, outcome)
}

/// Whoever waits hears of a failure himself.
fn tell(parts: &Parts, task: &Task, outcome: &Outcome, nobody_waits: bool) {
    let (key, url) = (&task.key, &task.entry.origin.url);
    match outcome {
        Ok(fetched) => info!(script = %key, %url, ?fetched, "a script was looked for"),
        Err(refusal) if nobody_waits => {
            (parts.say)(format!("{key} could not be updated, and stays as it is: {refusal}"));
        }
        Err(refusal) => info!(script = %key, %url, %refusal, "a script could not be updated"),
    }
}

fn want(plan: &mut Plan<oneshot::Sender<Outcome>>, which: Which, by: &str) -> Answers {
    let keys: Vec<(Key, bool)> = match which {
        Which::OnRun { script_type, script } => {
            let key = Key { script_type, script, condition: Condition::OnRun };
            plan.entries().get_key_value(&key).map(|(key, entry)| (key.clone(), entry.runs_local)).into_iter().collect()
        }
        Which::OnRequest { script_type, script } => {
            let is_type = |key: &Key| script_type.as_ref().is_none_or(|wanted| wanted == key.script_type);
            let mut found: Vec<&Key> = plan.entries().keys().filter(|key| is_type(key)).collect();
            match script {
                // Under the first of its conditions; they are in the order of how well they fit.
                Some(script) => {
                    found.retain(|key| key.script == script);
                    found.dedup_by_key(|key| key.script_type);
                }
                None => found.retain(|key| key.condition == Condition::Manual),
            }
            found.into_iter().map(|key| (key.clone(), false)).collect()
        }
    };
    let mut answers = Answers::new();
    for (key, runs_local) in keys {
        let (waiter, answer) = oneshot::channel();
        plan.want(key.clone(), by, waiter);
        answers.push((key, runs_local, answer));
    }
    answers
}
