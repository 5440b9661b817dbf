//! Keeps an interpreter warm for each script that looks at commits: orders to the keeper, doors, and the streams that come
//! through them.
//!
//! ```text
//!  wanted --define, start--> waiting --it has registered--> seated --it ends--> waiting (the keeper starts it again)
//!                               \--cannot be started--> refused
//! ```
//! One task owns the workers; who wants to ask one follows its state.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::config::Script;
use super::judge::Court;
use super::keeping::{self, Trouble};
use super::paths::Names;
use super::protocol::{CALLBACKS_MAX, FromScript, LINE_BYTES_MAX, ToScript};
use super::provider::ValidationProvider;
use super::report::{LastLook, Standing};
use crate::checksum::Sha256;
use crate::container::scripts::Places;
use crate::keeper::client::{Keeper, KeeperEvent};
use crate::keeper::protocol::{CHECKSUMS_MAX, ContainerState};
use crate::keeper::refusal::KeeperRefusal;
use crate::yang::schema::Schema;

/// Messages that wait for the driver; a further one waits its turn.
const MESSAGES_WAITING_MAX: usize = 64;
/// Orders that wait for the keeper.
const JOBS_WAITING_MAX: usize = 256;
/// How long an interpreter that is not wanted any more has before it is killed.
const RELEASE_GRACE: Duration = Duration::from_secs(2);
/// How long a script that has begun to speak has to say what it registers.
const GREETING_TIME_MAX: Duration = Duration::from_secs(30);

/// The committed checksums of one shelf, for imports.
pub type Checksums = Arc<dyn Fn(&str) -> Vec<(String, Sha256)> + Send + Sync>;
/// What a commit takes away, and what it sets, as lines of the shell's configuration.
pub type CliLines = Arc<dyn Fn(&str, &str) -> Vec<String> + Send + Sync>;

pub struct Parts {
    pub places: Places,
    pub keeper: Keeper,
    pub events: mpsc::Receiver<KeeperEvent>,
    pub heard: mpsc::Sender<Heard>,
    pub schema: &'static Schema,
    pub checksums: Checksums,
    pub cli: CliLines,
    /// How long one script may take for one commit.
    pub look_time_max: Duration,
}

/// What the rest of the agent hears of.
#[derive(Debug)]
pub enum Heard {
    /// A script runs: its sessions and its streams come through this door.
    Door { script: String, door: OwnedFd, streams: Streams },
    /// A line for the system log.
    Said { text: String, is_trouble: bool },
}

/// Takes the stream by which a script speaks with its judge.
#[derive(Clone)]
pub struct Streams {
    script: Script,
    names: Arc<Names>,
    messages: mpsc::Sender<Message>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Streams({})", self.script)
    }
}

pub(super) enum Message {
    /// These are about to be asked: whoever does not run is started.
    Summon {
        scripts: Vec<Script>,
        reply: oneshot::Sender<Vec<watch::Receiver<State>>>,
    },
    Seated {
        script: Script,
        seat: Arc<Seat>,
    },
    Dismiss {
        script: Script,
    },
}

/// Where one script's interpreter stands.
#[derive(Debug, Clone)]
pub(super) enum State {
    Waiting { why: Option<String> },
    Seated(Arc<Seat>),
    Refused { why: String },
}

/// A script that can be asked.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) line: tokio::sync::Mutex<Line>,
    pub(super) registered: Vec<Callback>,
}

/// What a script has registered.
#[derive(Debug)]
pub(super) struct Callback {
    pub(super) name: String,
    /// Below what it wants to see changes; an empty path means everything.
    pub(super) paths: Vec<Vec<(String, String)>>,
}

/// The stream, line by line.
#[derive(Debug)]
pub(super) struct Line(BufReader<UnixStream>);

impl Line {
    pub(super) async fn say(&mut self, what: &ToScript) -> std::io::Result<()> {
        self.0.get_mut().write_all(&what.line()).await
    }

    pub(super) async fn hear(&mut self) -> std::io::Result<FromScript> {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        (&mut self.0).take(limit).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(|trouble| std::io::Error::new(std::io::ErrorKind::InvalidData, trouble))
    }
}

/// What is told of the scripts, and which of them running has.
#[derive(Debug, Default)]
pub struct Desk {
    standings: Mutex<BTreeMap<Script, Standing>>,
    active: Mutex<Arc<Vec<Script>>>,
}

impl Desk {
    pub(super) fn standings(&self) -> BTreeMap<Script, Standing> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that are active in running.
    pub(super) fn active(&self) -> Arc<Vec<Script>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came of a look, and whether what was looked at goes on to be committed.
    pub(super) fn looked(&self, script: &Script, last: LastLook, goes_on: bool) {
        self.update(script, |standing| {
            standing.looks += 1;
            standing.is_pending = !goes_on;
            if goes_on {
                standing.committed = Some(last.clone());
            }
            standing.last = last;
        });
    }

    fn stands(&self, script: &Script, state: &State) {
        self.update(script, |standing| {
            (standing.state, standing.why) = match state {
                State::Waiting { why } => ("waiting", why.clone()),
                State::Seated(_) => ("ready", None),
                State::Refused { why } => ("refused", Some(why.clone())),
            };
        });
    }

    fn update(&self, script: &Script, change: impl FnOnce(&mut Standing)) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        change(standings.entry(script.clone()).or_default());
    }

    fn forget(&self, script: &Script) {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).remove(script);
    }
}

/// Where a commit leaves who is active now, and the driver finds it: the newest counts.
#[derive(Debug)]
pub(super) struct Committed {
    desk: Arc<Desk>,
    arrived: Notify,
}

impl Committed {
    pub(super) fn put(&self, active: Vec<Script>) {
        *self.desk.active.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(active);
        self.arrived.notify_one();
    }
}

/// The provider, who looks at commits, and the driver to spawn.
pub fn open(parts: Parts) -> (ValidationProvider, Court, impl Future<Output = ()>) {
    let (messages, inbox) = mpsc::channel(MESSAGES_WAITING_MAX);
    let desk = Arc::new(Desk::default());
    let committed = Arc::new(Committed { desk: Arc::clone(&desk), arrived: Notify::new() });
    let names = Arc::new(Names::of(parts.schema));
    let court = Court {
        desk: Arc::clone(&desk),
        messages: messages.clone(),
        names: Arc::clone(&names),
        cli: Arc::clone(&parts.cli),
        heard: parts.heard.clone(),
        look_time_max: parts.look_time_max,
    };
    let provider = ValidationProvider::new(Arc::clone(&desk), Arc::clone(&committed));
    (provider, court, run(parts, desk, committed, names, messages, inbox))
}

async fn run(
    parts: Parts,
    desk: Arc<Desk>,
    committed: Arc<Committed>,
    names: Arc<Names>,
    messages: mpsc::Sender<Message>,
    mut inbox: mpsc::Receiver<Message>,
) {
    let Parts { places, keeper, mut events, heard, checksums, .. } = parts;
    let (jobs, todo) = mpsc::channel(JOBS_WAITING_MAX);
    tokio::spawn(work(todo, keeper, places, checksums, Arc::clone(&desk)));
    let mut workers =
        Workers { all: BTreeMap::new(), desk, names, messages, heard, jobs, is_connected: false, has_config: false };
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => workers.keeper_event(event).await,
                None => return,
            },
            () = committed.arrived.notified() => workers.committed().await,
            Some(message) = inbox.recv() => workers.message(message).await,
        }
    }
}

#[derive(Debug)]
struct Worker {
    state: Arc<watch::Sender<State>>,
    /// Running wants it, or a commit that is being looked at.
    is_wanted: bool,
    is_begun: bool,
}

struct Workers {
    all: BTreeMap<Script, Worker>,
    desk: Arc<Desk>,
    names: Arc<Names>,
    messages: mpsc::Sender<Message>,
    heard: mpsc::Sender<Heard>,
    jobs: mpsc::Sender<Job>,
    is_connected: bool,
    /// Before the first configuration is known nothing is released.
    has_config: bool,
}

impl Workers {
    async fn committed(&mut self) {
        self.has_config = true;
        let active = self.desk.active();
        self.want(&active).await;
    }

    async fn message(&mut self, message: Message) {
        match message {
            Message::Summon { scripts, reply } => {
                let active = self.desk.active();
                let both: Vec<Script> = scripts.iter().chain(active.iter()).cloned().collect();
                self.want(&both).await;
                let states = scripts.iter().filter_map(|script| Some(self.all.get(script)?.state.subscribe()));
                drop(reply.send(states.collect()));
            }
            Message::Seated { script, seat } => self.stands(&script, State::Seated(seat)),
            Message::Dismiss { script } => {
                self.stands(&script, State::Waiting { why: Some("it is being started again".to_owned()) });
                self.job(Verb::Again, &script).await;
            }
        }
    }

    /// Begins with those that are wanted, and ends with the others.
    async fn want(&mut self, wanted: &[Script]) {
        for script in wanted {
            let worker = self.all.entry(script.clone()).or_insert_with(new_worker);
            worker.is_wanted = true;
        }
        for (script, worker) in &mut self.all {
            worker.is_wanted = wanted.contains(script);
            // What kept it from being started may have been mended.
            worker.is_begun &= !matches!(&*worker.state.borrow(), State::Refused { .. });
        }
        self.reconcile().await;
    }

    async fn reconcile(&mut self) {
        if !self.is_connected || !self.has_config {
            return;
        }
        let unwanted: Vec<Script> =
            self.all.iter().filter(|(_, worker)| !worker.is_wanted).map(|(script, _)| script.clone()).collect();
        for script in unwanted {
            self.job(Verb::End, &script).await;
            self.all.remove(&script);
            self.desk.forget(&script);
        }
        let idle: Vec<Script> =
            self.all.iter().filter(|(_, worker)| !worker.is_begun).map(|(script, _)| script.clone()).collect();
        for script in idle {
            self.stands(&script, State::Waiting { why: None });
            self.job(Verb::Begin, &script).await;
            if let Some(worker) = self.all.get_mut(&script) {
                worker.is_begun = true;
            }
        }
    }

    async fn job(&self, verb: Verb, script: &Script) {
        let Some(worker) = self.all.get(script) else { return };
        let job = Job { verb, script: script.clone(), state: Arc::clone(&worker.state) };
        // Without its worker the driver is being taken down.
        drop(self.jobs.send(job).await);
    }

    fn stands(&self, script: &Script, state: State) {
        let Some(worker) = self.all.get(script) else { return };
        self.desk.stands(script, &state);
        worker.state.send_replace(state);
    }

    async fn keeper_event(&mut self, event: KeeperEvent) {
        match event {
            KeeperEvent::Connected { containers } => {
                self.is_connected = true;
                for worker in self.all.values_mut() {
                    worker.is_begun = false;
                }
                for (state, door) in containers {
                    self.held(&state, door).await;
                }
                self.reconcile().await;
            }
            KeeperEvent::Lost => self.is_connected = false,
            KeeperEvent::Changed(state) => self.changed(&state),
            KeeperEvent::RunStarted { name, door, .. } => {
                if let Some(script) = keeping::script_of(&name) {
                    self.stands(&script, State::Waiting { why: None });
                    self.door(&script, door).await;
                }
            }
            KeeperEvent::Exited(exited) => {
                if let Some(script) = keeping::script_of(&exited.name) {
                    let mut why = format!("it {}, and is started again", exited.status);
                    for line in &exited.error_lines {
                        why.push('\n');
                        why.push_str(line);
                    }
                    self.stands(&script, State::Waiting { why: Some(why) });
                }
            }
            KeeperEvent::Mismatch { .. } | KeeperEvent::Released { .. } => {}
        }
    }

    /// What an earlier agent has started goes on.
    async fn held(&mut self, state: &ContainerState, door: Option<OwnedFd>) {
        let Some(script) = keeping::script_of(&state.name) else { return };
        self.all.entry(script.clone()).or_insert_with(new_worker).is_begun = true;
        self.changed(state);
        if let Some(door) = door {
            self.door(&script, door).await;
        }
    }

    fn changed(&self, state: &ContainerState) {
        let Some(script) = keeping::script_of(&state.name) else { return };
        match keeping::trouble(state) {
            Some(Trouble::Restarting(why)) => self.stands(&script, State::Waiting { why: Some(why) }),
            Some(Trouble::ForGood(why)) => self.stands(&script, State::Refused { why }),
            None => {}
        }
    }

    async fn door(&self, script: &Script, door: OwnedFd) {
        let streams =
            Streams { script: script.clone(), names: Arc::clone(&self.names), messages: self.messages.clone() };
        // When the agent is shutting down nobody listens any more.
        drop(self.heard.send(Heard::Door { script: script.to_string(), door, streams }).await);
    }
}

fn new_worker() -> Worker {
    Worker {
        state: Arc::new(watch::Sender::new(State::Waiting { why: Some("the keeper is away".to_owned()) })),
        is_wanted: false,
        is_begun: false,
    }
}

impl Streams {
    /// Hears what the script registers; then it can be asked.
    pub async fn take(self, stream: StdUnixStream) {
        match tokio::time::timeout(GREETING_TIME_MAX, greet(stream, &self.names)).await {
            Ok(Ok(seat)) => {
                info!(script = %self.script, callbacks = seat.registered.len(), "ready to look at commits");
                drop(self.messages.send(Message::Seated { script: self.script, seat: Arc::new(seat) }).await);
            }
            Ok(Err(trouble)) => debug!(script = %self.script, %trouble, "the script did not say what it registers"),
            Err(_) => warn!(script = %self.script, "the script does not come to an end with what it registers"),
        }
    }
}

async fn greet(stream: StdUnixStream, names: &Names) -> std::io::Result<Seat> {
    stream.set_nonblocking(true)?;
    let mut line = Line(BufReader::new(UnixStream::from_std(stream)?));
    let mut registered = Vec::new();
    loop {
        match line.hear().await? {
            FromScript::Register { paths, name } if registered.len() < CALLBACKS_MAX => {
                let answer = match paths.iter().map(|path| names.registered(path)).collect::<Result<Vec<_>, _>>() {
                    Ok(paths) => {
                        registered.push(Callback { name, paths });
                        ToScript::Ok
                    }
                    Err(wrong) => ToScript::Refused { exception: wrong.name(), message: wrong.to_string() },
                };
                line.say(&answer).await?;
            }
            FromScript::Register { .. } => {
                let message = format!("a script has {CALLBACKS_MAX} callbacks at most");
                line.say(&ToScript::Refused { exception: "InvalidAPICall", message }).await?;
            }
            FromScript::Ready => return Ok(Seat { line: tokio::sync::Mutex::new(line), registered }),
            _ => {
                let message = "the configuration can be looked at in a callback only".to_owned();
                line.say(&ToScript::Refused { exception: "InvalidAPICall", message }).await?;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver reads the clock for those who do not")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Begin,
    Again,
    End,
}

struct Job {
    verb: Verb,
    script: Script,
    state: Arc<watch::Sender<State>>,
}

/// Gives orders to the keeper, one after the other: an end must not overtake a beginning.
async fn work(mut todo: mpsc::Receiver<Job>, keeper: Keeper, places: Places, checksums: Checksums, desk: Arc<Desk>) {
    while let Some(Job { verb, script, state }) = todo.recv().await {
        let Err(refusal) = carry_out(verb, &script, &keeper, &places, &checksums).await else { continue };
        warn!(%script, ?verb, %refusal, "the keeper was asked in vain");
        if !matches!(verb, Verb::End) {
            let refused = State::Refused { why: refusal };
            desk.stands(&script, &refused);
            state.send_replace(refused);
        }
    }
}

async fn carry_out(
    verb: Verb,
    script: &Script,
    keeper: &Keeper,
    places: &Places,
    checksums: &Checksums,
) -> Result<(), String> {
    let said = |refusal: KeeperRefusal| match refusal {
        KeeperRefusal::ChecksumDiffers { .. } => format!("Checksum Mismatch: {refusal}"),
        other => other.to_string(),
    };
    let too_long = || format!("the name `{}` is too long for a script that looks at commits", script.name);
    let name = keeping::container(script).ok_or_else(too_long)?;
    match verb {
        Verb::Begin => {
            let spec = keeping::spec(places, script).ok_or_else(too_long)?;
            match keeper.define(spec).await {
                // It could not be started before.
                Ok(()) | Err(KeeperRefusal::AlreadyDefined { .. }) => {}
                Err(refusal) => return Err(said(refusal)),
            }
            let mut sums = checksums(script.kind.as_str());
            sums.truncate(CHECKSUMS_MAX);
            keeper.set_checksums(name.clone(), sums).await.map_err(said)?;
            keeper.start(name).await.map_err(said)
        }
        Verb::Again => keeper.restart(name).await.map_err(said),
        Verb::End => match keeper.release(name, RELEASE_GRACE).await {
            Ok(()) | Err(KeeperRefusal::NotDefined { .. }) => Ok(()),
            Err(refusal) => Err(said(refusal)),
        },
    }
}
