//! Carries out what the manager decides: orders to the keeper, the journal of what operators have stopped, answers.
//!
//! One task owns the manager. Orders are put on the keeper's queue in the order they were decided and answered in tasks of
//! their own; what a question needs of the keeper is gathered in a task of its own too, and told from here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::manager::{Action, Input, Manager, Order};
use super::provider::Commits;
use super::rolling::{Outcome, Rolling};
use super::selector::Selector;
use super::view::{self, Clock, Details, LastCheck};
use crate::container::spec::{ContainerName, Floor};
use crate::keeper::client::{Keeper, KeeperEvent, in_order};
use crate::keeper::exits::ExitRecord;
use crate::keeper::protocol::{Abilities, Asker, ContainerState, MEMBERS_ASKED_MAX, Verb};
use crate::keeper::refusal::KeeperRefusal;
use crate::northbound::{Kind, Refusal};
use crate::store::driver::Recorder;
use crate::store::journal::Journal;
use crate::sys::tree;
use crate::yang::value::Element;

/// Operations and questions that wait; a further one waits its turn.
pub const MESSAGES_WAITING_MAX: usize = 256;
/// Answers of the keeper on their way back.
const OUTCOMES_WAITING_MAX: usize = 1024;
/// From this size on the journal is written anew with what still counts.
pub const JOURNAL_BYTES_MAX: u64 = 256 * 1024;
/// Rolling restarts at once.
const ROLLINGS_MAX: usize = 16;
/// Questions to the keeper at once, for one answer of ours.
const QUESTIONS_AT_ONCE: usize = 16;
/// Ends of each container that are told.
const EXITS_TOLD: u32 = 10;

/// Some at a time, each with so long to become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roll {
    pub at_once: usize,
    pub timeout: Duration,
    /// It must stay ready for so long.
    pub settle: Duration,
}

/// What of the state is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    pub containers: bool,
    pub only: Option<String>,
    pub processes: bool,
    pub exits: bool,
    pub host: bool,
    pub check: bool,
}

impl Ask {
    pub fn everything() -> Self {
        Self { containers: true, only: None, processes: true, exits: true, host: true, check: true }
    }
}

type Outcomes = BTreeMap<String, Outcome>;

#[derive(Debug)]
pub enum Message {
    Call {
        verb: Verb,
        selector: Selector,
        roll: Option<Roll>,
        by: Asker,
        reply: oneshot::Sender<Result<Outcomes, Refusal>>,
    },
    View {
        ask: Ask,
        check: Arc<LastCheck>,
        reply: oneshot::Sender<Element>,
    },
}

/// What the rest of the agent hears of: a container stands elsewhere than before.
#[derive(Debug)]
pub struct Heard {
    pub name: String,
    pub state: &'static str,
    pub why: Option<String>,
    pub notification: Element,
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    container: String,
    stopped: bool,
}

pub struct Driver {
    pub keeper: Keeper,
    pub events: mpsc::Receiver<KeeperEvent>,
    pub messages: mpsc::Receiver<Message>,
    pub commits: Arc<Commits>,
    pub journal: Journal,
    /// The lines the journal held at start.
    pub recorded: Vec<String>,
    pub heard: mpsc::Sender<Heard>,
    /// Of everything, the keeper's files too.
    pub root: PathBuf,
}

/// Everything that can wake it.
enum Wake {
    Message(Message),
    Keeper(KeeperEvent),
    Ordered(String, Order, Option<u64>, Result<(), KeeperRefusal>),
    Gathered(Box<Gathered>),
    Commit,
    Time,
}

/// What one answer needs of the keeper.
struct Gathered {
    ask: Ask,
    check: Arc<LastCheck>,
    states: Vec<ContainerState>,
    details: BTreeMap<String, Details>,
    abilities: Option<Abilities>,
    server: Option<view::Server>,
    root: PathBuf,
    reply: oneshot::Sender<Element>,
}

impl Driver {
    /// Runs until the keeper's events or all senders of messages are gone.
    pub async fn run(self) {
        let Driver { keeper, mut events, mut messages, commits, journal, recorded, heard, root } = self;
        let (back, mut backs) = mpsc::channel(OUTCOMES_WAITING_MAX);
        let mut hands = Hands {
            manager: Manager::new(read_records(&recorded)),
            keeper,
            recorder: Recorder::new(journal),
            back,
            heard,
            root,
            told: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_call: 0,
        };
        loop {
            let deadline = hands.deadline();
            let wake = tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => Wake::Message(message),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => Wake::Keeper(event),
                    None => return,
                },
                Some(wake) = backs.recv() => wake,
                () = commits.arrived() => Wake::Commit,
                () = until(deadline), if deadline.is_some() => Wake::Time,
            };
            // What follows a commit must find that commit done.
            let containers = commits.fetch();
            if !containers.is_empty() {
                hands.feed(Input::Configured { containers }).await;
            }
            match wake {
                Wake::Commit => {}
                Wake::Message(Message::Call { verb, selector, roll, by, reply }) => {
                    hands.call(verb, &selector, roll, by, reply).await;
                }
                Wake::Message(Message::View { ask, check, reply }) => hands.gather(ask, check, reply),
                Wake::Gathered(gathered) => hands.tell(*gathered),
                Wake::Ordered(name, order, call, outcome) => hands.ordered(name, order, call, outcome).await,
                Wake::Keeper(event) => hands.keeper_event(event).await,
                Wake::Time => hands.time_is_over().await,
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(at) = deadline {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// An operation that waits for its containers.
struct Waiting {
    kind: WaitingFor,
    verb: Verb,
    by: Asker,
    reply: oneshot::Sender<Result<Outcomes, Refusal>>,
}

enum WaitingFor {
    /// The keeper's word to each order.
    Answers {
        open: BTreeSet<String>,
        outcomes: Outcomes,
    },
    Rolling(Rolling),
}

struct Hands {
    manager: Manager,
    keeper: Keeper,
    recorder: Recorder,
    back: mpsc::Sender<Wake>,
    heard: mpsc::Sender<Heard>,
    root: PathBuf,
    /// What was last said of each, so that only changes are said.
    told: BTreeMap<String, (&'static str, Option<String>)>,
    calls: BTreeMap<u64, Waiting>,
    last_call: u64,
}

impl Hands {
    async fn call(
        &mut self,
        verb: Verb,
        selector: &Selector,
        roll: Option<Roll>,
        by: Asker,
        reply: oneshot::Sender<Result<Outcomes, Refusal>>,
    ) {
        let members = self.manager.members().iter();
        let names: BTreeSet<String> = members
            .filter(|(name, member)| {
                member.resolved.as_ref().is_some_and(|resolved| selector.picks(name, &resolved.groups))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            let message = "no container has such a name or group";
            return drop(reply.send(Err(Refusal::new(Kind::DataMissing, message).mend("containers-state lists them"))));
        }
        info!(?verb, containers = names.len(), by = %by.who, from = %by.from, "asked");
        self.last_call += 1;
        let id = self.last_call;
        match roll {
            Some(_)
                if self.calls.values().filter(|call| matches!(call.kind, WaitingFor::Rolling(_))).count()
                    >= ROLLINGS_MAX =>
            {
                let message = format!("{ROLLINGS_MAX} rolling restarts are under way, which is the limit");
                drop(reply.send(Err(Refusal::new(Kind::ResourceDenied, message))));
            }
            Some(roll) => {
                let kind = WaitingFor::Rolling(Rolling::new(names, roll.at_once, roll.timeout, roll.settle));
                self.calls.insert(id, Waiting { kind, verb, by, reply });
                self.roll_on(id).await;
            }
            None => {
                let kind = WaitingFor::Answers { open: names.clone(), outcomes: Outcomes::new() };
                self.calls.insert(id, Waiting { kind, verb, by: by.clone(), reply });
                for name in names {
                    self.ask(name, verb, by.clone(), id).await;
                }
            }
        }
    }

    async fn ask(&mut self, name: String, verb: Verb, by: Asker, call: u64) {
        match self.manager.asked(&name, verb, by) {
            Ok(actions) => {
                for action in actions {
                    match action {
                        Action::Order { name, order } => self.order(name, order, Some(call)).await,
                        other => self.act(other).await,
                    }
                }
            }
            Err(why) => self.answered(call, &name, Err(why)).await,
        }
    }

    /// The keeper's word to one order of an operation.
    async fn answered(&mut self, call: u64, name: &str, outcome: Result<(), String>) {
        let Some(waiting) = self.calls.get_mut(&call) else { return };
        match &mut waiting.kind {
            WaitingFor::Answers { open, outcomes } => {
                open.remove(name);
                outcomes.insert(name.to_owned(), outcome.map_or_else(Outcome::Failed, |()| Outcome::Done));
                if open.is_empty() {
                    let outcomes = std::mem::take(outcomes);
                    if let Some(waiting) = self.calls.remove(&call) {
                        // Whoever asked may have given up.
                        drop(waiting.reply.send(Ok(outcomes)));
                    }
                }
            }
            WaitingFor::Rolling(rolling) => {
                if let Err(why) = outcome {
                    rolling.refused(name, why);
                    Box::pin(self.roll_on(call)).await;
                }
            }
        }
    }

    async fn roll_on(&mut self, call: u64) {
        let now = now();
        let manager = &self.manager;
        let Some(waiting) = self.calls.get_mut(&call) else { return };
        let WaitingFor::Rolling(rolling) = &mut waiting.kind else { return };
        let run_of = |name: &str| manager.members().get(name)?.observed.as_ref()?.run;
        let next = rolling.next(run_of, now);
        if let Some(outcomes) = rolling.finished() {
            if let Some(waiting) = self.calls.remove(&call) {
                drop(waiting.reply.send(Ok(outcomes)));
            }
            return;
        }
        let (verb, by) = (waiting.verb, waiting.by.clone());
        for name in next {
            self.ask(name, verb, by.clone(), call).await;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let rolling = self.calls.values().filter_map(|call| match &call.kind {
            WaitingFor::Rolling(rolling) => rolling.deadline(),
            WaitingFor::Answers { .. } => None,
        });
        rolling.min()
    }

    async fn time_is_over(&mut self) {
        self.each_rolling(|rolling| rolling.time_is(now())).await;
    }

    async fn each_rolling(&mut self, tell: impl Fn(&mut Rolling)) {
        let mut rolling_on = Vec::new();
        for (id, call) in &mut self.calls {
            if let WaitingFor::Rolling(rolling) = &mut call.kind {
                tell(rolling);
                rolling_on.push(*id);
            }
        }
        for id in rolling_on {
            self.roll_on(id).await;
        }
    }

    async fn keeper_event(&mut self, event: KeeperEvent) {
        match event {
            KeeperEvent::Connected { containers } => {
                let containers = containers.into_iter().map(|(state, _)| state).collect();
                self.feed(Input::Connected { containers }).await;
            }
            KeeperEvent::Lost => self.feed(Input::Lost).await,
            KeeperEvent::Changed(state) => {
                let name = state.name.local().to_owned();
                self.each_rolling(|rolling| rolling.observed(&name, &state, now())).await;
                self.feed(Input::Observed(state)).await;
            }
            KeeperEvent::Exited(exited) => {
                info!(container = %exited.name, run = exited.run.0, status = ?exited.status, "run ended");
            }
            // Commands have no door and no checksum; a release is answered to who ordered it.
            KeeperEvent::RunStarted { .. } | KeeperEvent::Mismatch { .. } | KeeperEvent::Released { .. } => {}
        }
    }

    async fn ordered(&mut self, name: String, order: Order, call: Option<u64>, outcome: Result<(), KeeperRefusal>) {
        let outcome = outcome.map_err(|refusal| refusal.to_string());
        if let Some(call) = call {
            self.answered(call, &name, outcome.clone()).await;
        }
        self.feed(Input::Ordered { name, order, outcome }).await;
    }

    async fn feed(&mut self, input: Input) {
        for action in self.manager.handle(input) {
            self.act(action).await;
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Order { name, order } => self.order(name, order, None).await,
            Action::Record { name, is_stopped } => self.record(name, is_stopped).await,
            Action::Changed { name } => self.changed(&name).await,
        }
    }

    /// Puts the order on the keeper's queue now; its answer comes back.
    async fn order(&mut self, name: String, order: Order, call: Option<u64>) {
        let Ok(container) = ContainerName::on(Floor::Container, &name) else {
            return error!(name, "a container has a name that the keeper does not take");
        };
        let (carried_out, back) = (carry_out(&self.keeper, container, &order), self.back.clone());
        // An agent that is shutting down needs no answer.
        in_order(carried_out, async move |outcome| drop(back.send(Wake::Ordered(name, order, call, outcome)).await))
            .await;
    }

    async fn record(&mut self, container: String, stopped: bool) {
        let line =
            |container: String, stopped| serde_json::to_string(&Record { container, stopped }).unwrap_or_default();
        let all = || self.manager.stopped().iter().map(|name| line(name.clone(), true)).collect();
        if let Err(trouble) = self.recorder.record(vec![line(container.clone(), stopped)], all).await {
            error!(container, %trouble, "that it was stopped is not recorded: a reboot may start it");
        }
    }

    async fn changed(&mut self, name: &str) {
        if let Some(heard) = self.news_of(name) {
            // When the agent is shutting down nobody listens any more.
            let _ = self.heard.send(heard).await;
        }
    }

    /// What is to be said of a container, if it is not what was said last.
    fn news_of(&mut self, name: &str) -> Option<Heard> {
        let Some(member) = self.manager.members().get(name).filter(|member| member.resolved.is_some()) else {
            self.told.remove(name);
            return None;
        };
        let clock = Clock { time_of: &time_of };
        let (state, why) = (view::state(&self.manager, name, member), view::why(&self.manager, name, member, &clock));
        let before = self.told.get(name);
        if before.is_some_and(|told| *told == (state, why.clone())) {
            return None;
        }
        let previous = before.map(|(state, _)| *state);
        let notification = view::change(&self.manager, name, member, previous, &clock);
        self.told.insert(name.to_owned(), (state, why.clone()));
        Some(Heard { name: name.to_owned(), state, why, notification })
    }

    fn gather(&self, ask: Ask, check: Arc<LastCheck>, reply: oneshot::Sender<Element>) {
        let keeper = self.keeper.clone();
        let (back, root) = (self.back.clone(), self.root.clone());
        let configured = self.manager.members().iter().filter(|(_, member)| member.resolved.is_some());
        let picked =
            configured.filter(|(name, _)| ask.containers && ask.only.as_ref().is_none_or(|only| only == *name));
        let names: Vec<String> = picked.map(|(name, _)| name.clone()).collect();
        let connected = self.manager.is_connected();
        tokio::spawn(async move {
            let (states, details) = (Vec::new(), BTreeMap::new());
            let mut gathered = Gathered { ask, check, states, details, abilities: None, server: None, root, reply };
            if connected {
                gathered.fill(&keeper, names).await;
            }
            let _ = back.send(Wake::Gathered(Box::new(gathered))).await;
        });
    }

    fn tell(&mut self, gathered: Gathered) {
        let Gathered { ask, check, states, details, abilities, server, reply, .. } = gathered;
        // Fresher than the events, which tell of changes only: how much was printed, who looks on.
        let fresh: BTreeMap<String, ContainerState> =
            states.into_iter().map(|state| (state.name.local().to_owned(), state)).collect();
        let clock = Clock { time_of: &time_of };
        let none = Details::default();
        let mut children = Vec::new();
        if ask.host {
            children.extend(abilities.as_ref().map(view::host));
            children.extend(server.as_ref().map(|server| view::server(server, &clock)));
        }
        for (name, member) in self.manager.members().iter().filter(|(_, member)| member.resolved.is_some()) {
            if ask.containers && ask.only.as_ref().is_none_or(|only| only == name) {
                let details = details.get(name).unwrap_or(&none);
                children.push(view::container(&self.manager, name, member, fresh.get(name), details, &clock));
            }
        }
        if ask.check {
            children.push(view::last_check(&check));
        }
        drop(reply.send(view::top(children)));
    }
}

impl Gathered {
    async fn fill(&mut self, keeper: &Keeper, names: Vec<String>) {
        if self.ask.host {
            self.abilities = keeper.abilities().await.ok();
            self.server = keeper.pid(Duration::ZERO).await.map(|pid| {
                let started = tree::facts(pid).as_ref().and_then(tree::started);
                let started_unix_ms = started.and_then(|since| u64::try_from(since.as_millis()).ok());
                view::Server { pid, started_unix_ms, folder: std::mem::take(&mut self.root) }
            });
        }
        if self.ask.containers {
            // A keeper that is lost on the way leaves the answer as the events had it.
            let states = keeper.list().await.unwrap_or_default();
            self.states = states
                .into_iter()
                .map(|(state, _)| state)
                .filter(|state| state.name.floor() == Floor::Container)
                .collect();
        }
        let with_lines = self.ask.only.is_some();
        let held: Vec<String> = {
            let known: BTreeSet<&str> = self.states.iter().map(|state| state.name.local()).collect();
            names.into_iter().filter(|name| known.contains(name.as_str())).collect()
        };
        if self.ask.exits {
            for some in held.chunks(QUESTIONS_AT_ONCE) {
                let ends = some.iter().map(|name| exits_of(keeper.clone(), name.clone()));
                for (name, exits) in join_all(ends).await {
                    let details = self.details.entry(name).or_default();
                    (details.exits, details.with_lines) = (exits, with_lines);
                }
            }
        }
        if self.ask.processes {
            for some in held.chunks(MEMBERS_ASKED_MAX) {
                let containers: Vec<ContainerName> =
                    some.iter().filter_map(|name| ContainerName::on(Floor::Container, name).ok()).collect();
                let members = match keeper.members(containers).await {
                    Ok(members) => members,
                    Err(refusal) => {
                        warn!(%refusal, "the keeper does not tell the processes of containers");
                        continue;
                    }
                };
                for (name, members) in some.iter().zip(members) {
                    self.details.entry(name.clone()).or_default().processes = Some(members);
                }
            }
        }
    }
}

/// Nothing where the keeper does not tell: the rest of the answer is worth having.
async fn exits_of(keeper: Keeper, name: String) -> (String, Vec<ExitRecord>) {
    let exits = match ContainerName::on(Floor::Container, &name) {
        Ok(container) => keeper.exits(container, EXITS_TOLD).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    (name, exits)
}

type Pending = Pin<Box<dyn Future<Output = Result<(), KeeperRefusal>> + Send>>;

fn carry_out(keeper: &Keeper, container: ContainerName, order: &Order) -> Pending {
    let keeper = keeper.clone();
    match order.clone() {
        Order::Define(spec) => Box::pin(async move { keeper.define(*spec).await }),
        Order::Update(spec) => Box::pin(async move { keeper.update(*spec).await }),
        Order::Release { grace } => Box::pin(async move {
            match keeper.release(container, grace).await {
                // What is not there any more is released.
                Err(KeeperRefusal::NotDefined { .. }) => Ok(()),
                answer => answer,
            }
        }),
        Order::Ask { verb, by } => Box::pin(async move { keeper.ask(container, verb, by).await }),
    }
}

fn read_records(lines: &[String]) -> BTreeSet<String> {
    let mut stopped = BTreeSet::new();
    for line in lines {
        match serde_json::from_str::<Record>(line) {
            Ok(Record { container, stopped: true }) => drop(stopped.insert(container)),
            Ok(Record { container, stopped: false }) => drop(stopped.remove(&container)),
            Err(trouble) => error!(%trouble, "a line of the containers' journal is not understood, and left out"),
        }
    }
    stopped
}

#[expect(clippy::disallowed_methods, reason = "the driver reads the clock for those who do not")]
fn now() -> Instant {
    Instant::now()
}

/// `2026-11-21T10:42:12.123+01:00`, in the host's time zone.
fn time_of(unix_ms: u64) -> String {
    let at =
        jiff::Timestamp::from_millisecond(i64::try_from(unix_ms).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}
