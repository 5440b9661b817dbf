//! The northbound's task: it owns the datastores and every libyang tree, and takes one input after the other.
//!
//! ```text
//!  Ask --authorised--+-- read, edit, lock ------------------> answer
//!                    +-- commit: validate, prepare, record, swap, apply -> answer
//!                    +-- get, rpc, action: a provider's future, elsewhere -> Resume -> answer
//! ```
//! Nothing here awaits but the next input; what takes long is a provider's future on the runtime, and comes back as an
//! input.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::abilities::Abilities;
use super::access::Access as AccessControl;
use super::calling::PendingCall;
use super::candidates::{Candidates, Choice};
use super::confirming::Confirming;
use super::filter::Filter;
use super::getting::{Gets, Wanted};
use super::grouping::{GROUP_COMMITS_MAX, Waiting};
use super::handle::{Continuation, Handle, Input, Opening, REQUESTS_WAITING_MAX, Ticket};
use super::history;
use super::judging::{Judge, Judging};
use super::notifications::log::EventLog;
use super::notifications::scribe::Scribe;
use super::notifications::{Key, Stream, base};
use super::own_state::Monitoring;
use super::provider::{Proposal, Provider};
use super::router::{Gap, Router};
use super::secrets::{Conceal, Secrets};
use super::sessions::Sessions;
use super::startup::StartupStore;
use super::subscriptions::Numbered;
use super::urls::Places;
use super::{
    Answer, Caller, CommitOptions, Datastore, ErrorOption, LeftOut, Request, Response, SessionEnd, SessionId,
    TestOption,
};
use crate::datastore::confirmed::BootTime;
use crate::datastore::history::{History, Limits as HistoryLimits};
use crate::datastore::lock::Locks;
use crate::datastore::partial_lock::PartialLocks;
use crate::datastore::{CandidateId, Datastores, Proposal as CommitProposal, Spent};
use crate::store::commits::CommitStore;
use crate::store::note::Note;
use crate::yang::schema::Schema;
use crate::yang::segments::Segments;
use crate::yang::tree::{Tree, release_memory};

/// How long is waited without another look at the clock: it may be set, and a timer does not count while the host sleeps.
const CLOCK_TRUSTED: Duration = Duration::from_secs(30);

/// When so many sessions have ended, the memory that they took is given back.
const SESSIONS_TIDIED: usize = 50;

/// How long the buffers of a session may outlive it.
const SESSION_END_TIME: Duration = Duration::from_secs(1);

/// Lists that nobody has read for so long are no longer kept as they were printed.
const SEGMENTS_IDLE: Duration = Duration::from_mins(5);

/// So many nodes are looked through and printed in less time than another thread needs to wake up.
const NODES_BRIEF: usize = 1_000;

/// An edit that is no longer is made as soon.
const EDIT_BYTES_BRIEF: usize = 16 * 1024;

#[expect(clippy::large_enum_variant, reason = "it is moved once and not kept")]
enum Heard {
    Input(Input),
    Time,
}

/// What the northbound is built from.
pub struct Parts {
    pub schema: &'static Schema,
    /// Recovered and valid.
    pub running: Tree,
    pub commits: CommitStore,
    /// What of it could not be recovered.
    pub left_out: Option<LeftOut>,
    pub history: HistoryLimits,
    /// Where a commit that waits for its confirmation is noted.
    pub confirmed_note: Note,
    /// Another one after each boot of the host.
    pub boot_id: String,
    pub startup: StartupStore,
    /// What URLs name.
    pub places: Box<dyn Places>,
    pub providers: Vec<Box<dyn Provider>>,
    /// Who looks at commits before they happen.
    pub judge: Option<Box<dyn Judge>>,
    pub sessions_max: usize,
    /// What NETCONF sessions edit that ask for nothing else.
    pub candidates: Candidates,
    pub sessions_per_user_max: usize,
    /// How long a provider may take to tell its state or to carry out a call.
    pub answer_time_max: Duration,
    pub runtime: runtime::Handle,
    /// For what takes long and needs neither timers nor sockets.
    pub aside: runtime::Handle,
    /// Modules whose configuration is stored and served but acted on by nobody: the user's own.
    pub plain_modules: Vec<String>,
    /// How sessions, locks and schemas are told.
    pub monitoring: std::sync::Arc<dyn Monitoring>,
    /// What happened before this start, and who keeps what happens now.
    pub event_log: EventLog,
    pub scribe: Scribe,
    /// What becomes of passwords that arrive in clear text.
    pub conceal: Conceal,
    /// Called with each commit that was recorded.
    pub on_commit: Box<dyn Fn(&Committed) + Send>,
}

/// One recorded commit, for whoever logs it.
#[derive(Debug, Clone)]
pub struct Committed {
    pub id: u64,
    pub user: String,
}

/// The single owner of the datastores.
pub struct Northbound {
    pub(super) schema: &'static Schema,
    pub(super) datastores: Datastores,
    pub(super) locks: Locks,
    /// When each lock was taken, in Unix seconds.
    pub(super) lock_times: BTreeMap<Datastore, i64>,
    pub(super) partial_locks: PartialLocks,
    pub(super) abilities: Abilities,
    pub(super) startup_store: StartupStore,
    pub(super) places: Box<dyn Places>,
    pub(super) sessions: Sessions,
    pub(super) choice: Choice,
    pub(super) access: AccessControl,
    pub(super) secrets: Secrets,
    pub(super) commits: CommitStore,
    pub(super) left_out: Option<LeftOut>,
    pub(super) history: History,
    pub(super) confirming: Confirming,
    pub(super) providers: Vec<Box<dyn Provider>>,
    pub(super) judging: Judging,
    pub(super) router: Router,
    pub(super) runtime: runtime::Handle,
    pub(super) aside: runtime::Handle,
    pub(super) answer_time_max: Duration,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) monitoring: std::sync::Arc<dyn Monitoring>,
    pub(super) capabilities: Vec<String>,
    pub(super) started_unix: i64,
    pub(super) on_commit: Box<dyn Fn(&Committed) + Send>,
    pub(super) stream: Stream,
    pub(super) scribe: Scribe,
    /// Subscriptions that end at a time.
    timers: BTreeMap<Key, AbortHandle>,
    pub(super) numbered: Numbered,
    pub(super) gets: Gets,
    pub(super) calls: BTreeMap<u64, PendingCall>,
    pub(super) last_pending: u64,
    pub(super) leftovers: Leftovers,
    /// Of running.
    pub(super) segments: Segments,
    /// They are looked at when [`SEGMENTS_IDLE`] is over.
    are_segments_watched: bool,
    is_running_small: bool,
}

/// What a commit leaves, thrown away when it is answered.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    pub(super) proposal: Option<CommitProposal>,
    pub(super) spent: Option<Spent>,
    /// So much that the memory is given back to the system.
    pub(super) is_large: bool,
    sessions_closed: usize,
}

impl Northbound {
    /// # Errors
    /// [`Gap`]s: a part of the schema that no provider answers for, or two do. Such an agent must not serve.
    pub fn new(parts: Parts, handle: &Handle) -> Result<Self, Vec<Gap>> {
        let router = Router::new(&parts.providers).map_err(|gap| vec![gap])?;
        let exempt = |module: &str| {
            super::own_state::OWN_MODULES.contains(&module) || parts.plain_modules.iter().any(|plain| plain == module)
        };
        let gaps = router.gaps(&parts.schema.parts(), &exempt);
        if !gaps.is_empty() {
            return Err(gaps);
        }
        let access = AccessControl::read(parts.schema, &parts.running);
        Ok(Self {
            capabilities: parts.monitoring.capabilities(parts.schema),
            is_running_small: is_small(&parts.running),
            datastores: Datastores::new(parts.schema, parts.running),
            schema: parts.schema,
            locks: Locks::default(),
            lock_times: BTreeMap::new(),
            choice: Choice::new(parts.candidates),
            partial_locks: PartialLocks::default(),
            abilities: Abilities::of(parts.schema),
            startup_store: parts.startup,
            places: parts.places,
            sessions: Sessions::new(parts.sessions_max, parts.sessions_per_user_max),
            access,
            history: history::load(&parts.commits, parts.history),
            confirming: Confirming::new(parts.confirmed_note, parts.boot_id),
            secrets: Secrets::of(parts.schema, parts.conceal),
            commits: parts.commits,
            left_out: parts.left_out,
            providers: parts.providers,
            judging: Judging::new(parts.judge),
            router,
            runtime: parts.runtime,
            aside: parts.aside,
            answer_time_max: parts.answer_time_max,
            inputs: handle.sender(),
            monitoring: parts.monitoring,
            started_unix: now_unix(),
            on_commit: parts.on_commit,
            stream: Stream::new(parts.schema, parts.event_log),
            scribe: parts.scribe,
            timers: BTreeMap::new(),
            numbered: Numbered::default(),
            gets: Gets::default(),
            calls: BTreeMap::new(),
            last_pending: 0,
            leftovers: Leftovers::default(),
            segments: Segments::default(),
            are_segments_watched: false,
        })
    }

    /// Makes all of running true, as if it had just been committed to an empty device.
    pub fn apply_all(&mut self) {
        let empty = Tree::new(self.schema);
        let running = self.datastores.running().clone();
        let changes = crate::yang::diff::changes(&empty, &running);
        for (index, share) in self.router.shares(&changes) {
            self.providers[index.0].apply(&Proposal { changes: &share, config: running.as_ref() });
        }
        // Reading what is stored took more than is kept of it.
        self.leftovers.is_large = true;
    }

    /// Serves until it is told to stop or every handle is gone.
    ///
    /// What is answered at once is answered on the thread that asked, without waking another; what may take longer lets
    /// the runtime put another thread in this one's place meanwhile.
    pub async fn run(mut self, mut receiver: mpsc::Receiver<Input>) {
        loop {
            let left = self.time_left();
            let Some(heard) = hear(&mut receiver, left).await else { return };
            let is_brief = matches!(&heard, Heard::Input(input) if self.is_brief(input));
            let goes_on = match is_brief {
                true => self.turn(heard, &mut receiver),
                false => tokio::task::block_in_place(|| self.turn(heard, &mut receiver)),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Whether it is answered sooner than another thread would be awake. What a user's expression costs, nobody knows.
    fn is_brief(&self, input: &Input) -> bool {
        match input {
            Input::Open { .. } | Input::Permit { .. } | Input::Event(_) => true,
            Input::Ask { request, .. } => match request {
                Request::GetConfig { source: Datastore::Running, filter: None | Some(Filter::Subtree(_)), .. } => {
                    self.is_running_small
                }
                Request::EditConfig { target: Datastore::Candidate, config, .. } => config.0.len() <= EDIT_BYTES_BRIEF,
                _ => false,
            },
            // The end of a session throws away what it has edited.
            Input::Close { session, .. } => !self.datastores.is_dirty(CandidateId::Private(*session)),
            Input::Resume(_) | Input::Stop { .. } => false,
        }
    }

    /// One input, and what arrived with it if that is commits. Whether to go on.
    fn turn(&mut self, heard: Heard, receiver: &mut mpsc::Receiver<Input>) -> bool {
        self.undo_if_due();
        let mut next = match heard {
            Heard::Input(input) => Some(input),
            Heard::Time => None,
        };
        // Commits wait until all that arrived with them is heard: those among it share a force of the disk.
        let mut waiting = Vec::new();
        for _ in 0..REQUESTS_WAITING_MAX {
            let Some(input) = next.take() else { break };
            match input {
                Input::Ask { caller, request: Request::Commit(options), reply } if self.may_wait(&caller, &options) => {
                    match self.access.may_ask(&caller, &Request::Commit(CommitOptions::default())) {
                        Ok(()) => waiting.push(Waiting { caller, options, reply }),
                        Err(refusal) => refuse(&caller, refusal, reply),
                    }
                }
                Input::Stop { reply } => {
                    self.commit_together(std::mem::take(&mut waiting));
                    self.scribe.finish(self.stream.log());
                    let _ = reply.send(());
                    return false;
                }
                other => {
                    if other.may_end_what_waits() {
                        self.commit_together(std::mem::take(&mut waiting));
                    }
                    self.take(other);
                }
            }
            if !waiting.is_empty() && waiting.len() < GROUP_COMMITS_MAX {
                next = receiver.try_recv().ok();
            }
        }
        self.commit_together(waiting);
        self.clear_up();
        true
    }

    /// Whoever asked has the answer already.
    fn clear_up(&mut self) {
        if self.leftovers.spent.is_some() {
            self.is_running_small = is_small(self.datastores.running());
        }
        drop((self.leftovers.proposal.take(), self.leftovers.spent.take()));
        if std::mem::take(&mut self.leftovers.is_large) {
            release_memory();
        }
        if self.leftovers.sessions_closed >= SESSIONS_TIDIED {
            self.leftovers.sessions_closed = 0;
            self.runtime.spawn(async {
                // Their connections end a little after they do.
                tokio::time::sleep(SESSION_END_TIME).await;
                drop(tokio::task::spawn_blocking(release_memory).await);
            });
        }
        if self.segments.bytes() > 0 && !std::mem::replace(&mut self.are_segments_watched, true) {
            let (inputs, seen) = (self.inputs.clone(), self.segments.readings());
            let look = Continuation(Box::new(move |northbound: &mut Self| northbound.let_go_of_segments(seen)));
            self.runtime.spawn(async move {
                tokio::time::sleep(SEGMENTS_IDLE).await;
                drop(inputs.send(Input::Resume(look)).await);
            });
        }
    }

    /// Of lists that were read after the `seen`th reading the rest is looked at later.
    pub(super) fn let_go_of_segments(&mut self, seen: u64) {
        self.are_segments_watched = false;
        let before = self.segments.bytes();
        self.segments.forget_unused_since(seen);
        self.leftovers.is_large |= self.segments.bytes() < before;
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Open { opening, reply } => drop(reply.send(self.open(opening))),
            Input::Ask { caller, request, reply } => self.ask(&caller, request, reply),
            Input::Permit { caller, path, access, reply } => {
                drop(reply.send(self.access.permits(&caller, &path, access)));
            }
            Input::Event(event) => self.publish(&event.element, event.at),
            Input::Close { session, end } if self.judging.is_busy() => {
                // What the end of a session takes back may be what is being looked at.
                self.hold_back(move |northbound| northbound.close(session, end));
            }
            Input::Close { session, end } => self.close(session, end),
            Input::Resume(continuation) => (continuation.0)(self),
            Input::Stop { reply } => drop(reply.send(())),
        }
    }

    /// Until something is due that nobody asks for. Nothing is undone while a commit is being looked at; the end of that is
    /// an input.
    fn time_left(&self) -> Option<Duration> {
        self.confirming.machine.time_left(now_since_boot()).filter(|_| !self.judging.is_busy())
    }

    pub(super) fn open(&mut self, opening: Opening) -> Result<Ticket, super::Refusal> {
        let (caller, killed) = self.sessions.open(opening, now_unix())?;
        debug!(session = %caller.session, user = %caller.user, origin = %caller.origin, "session opened");
        let mailbox = self.sessions.get(caller.session).map(|session| session.mailbox.clone()).unwrap_or_default();
        self.publish(&base::session_start(&caller), now());
        Ok(Ticket { caller, killed, mailbox, capabilities: self.capabilities.clone() })
    }

    pub(super) fn close(&mut self, session: SessionId, end: SessionEnd) {
        let Some(closed) = self.sessions.close(session) else { return };
        for datastore in self.locks.release(session) {
            // RFC 6241 section 8.3.5.2: the lock on the candidate goes, and uncommitted changes with it.
            if datastore == Datastore::Candidate {
                self.datastores.discard(CandidateId::Shared);
            }
        }
        self.partial_locks.release(session);
        self.datastores.discard(CandidateId::Private(session));
        self.choice.forget(session);
        self.end_of_committer(session);
        self.stream.forget(session);
        self.stop_timer(session.into());
        self.end_numbered_of(session);
        self.publish(&base::session_end(&closed.caller, end), now());
        self.leftovers.sessions_closed += 1;
        debug!(%session, user = %closed.caller.user, ?end, "session closed");
    }

    pub(super) fn ask(&mut self, caller: &Caller, request: Request, reply: oneshot::Sender<Answer>) {
        if self.must_wait(caller, &request) {
            let who = caller.clone();
            return self.hold(caller, reply, move |northbound, reply| northbound.ask(&who, request, reply));
        }
        if let Err(refusal) = self.access.may_ask(caller, &request) {
            return refuse(caller, refusal, reply);
        }
        let again = request.may_commit().then(|| request.clone());
        let answer = match request {
            Request::Get { filter, with_defaults } => {
                return self.get(Wanted { caller: caller.clone(), filter, with_defaults, shape: None }, reply);
            }
            Request::GetData(asked) => return self.get_data(caller, asked, reply),
            Request::EditData { target, default_operation, config } => {
                // RFC 8526 section 3.1.2: wholly, or not at all.
                let (test, error) = (TestOption::TestThenSet, ErrorOption::RollbackOnError);
                self.edit_config(caller, target, default_operation, test, error, &config)
                    .map_err(super::nmda::unsupported)
            }
            Request::Invoke { operation } => return self.invoke(caller, &operation, reply),
            Request::CreateSubscription(wish) => return self.subscribe(caller, wish, reply),
            Request::Action { action } => return self.action(caller, &action, reply),
            Request::GetConfig { source, filter, with_defaults } => {
                self.get_config(caller, source, filter.as_ref(), with_defaults)
            }
            Request::EditConfig { target, default_operation, test_option, error_option, config } => {
                self.edit_config(caller, target, default_operation, test_option, error_option, &config)
            }
            Request::CopyConfig { target, source } => self.copy_config(caller, target, &source),
            Request::DeleteConfig { target } => self.delete_config(caller, target),
            Request::WithUrl { url, then } => return self.with_url(caller, url, *then, reply),
            Request::CopyToUrl { url, source, with_defaults } => {
                return self.copy_to_url(caller, &url, &source, with_defaults, reply);
            }
            Request::DeleteUrl { url } => return self.delete_url(caller, &url, reply),
            Request::PartialLock { selects } => self.partial_lock(caller, &selects),
            Request::PartialUnlock { id } => self.partial_unlock(caller, id),
            Request::Lock { target } => self.lock(caller, target),
            Request::Unlock { target } => self.unlock(caller, target),
            Request::Validate { source } => return self.validate(caller, &source, reply),
            Request::Commit(options) => self.commit(caller, options),
            Request::CancelCommit { persist_id } => self.cancel_commit(caller, persist_id.as_deref()),
            Request::DiscardChanges => self.discard_changes(caller),
            Request::UsePrivateCandidate => self.use_private_candidate(caller),
            Request::KillSession { session } => self.kill_session(caller, session),
            Request::GetSchema { identifier, version, format } => {
                self.get_schema(&identifier, version.as_deref(), format.as_deref())
            }
        };
        if let Some(request) = again.filter(|_| self.judging.has_stopped_a_commit()) {
            let who = caller.clone();
            return self.begin_hearing(move |northbound| northbound.ask(&who, request, reply));
        }
        // A front end that is gone needs no answer.
        drop(reply.send(answer));
    }

    fn kill_session(&mut self, caller: &Caller, session: SessionId) -> Answer {
        self.sessions.kill(session, caller.session).map_err(|refusal| vec![refusal])?;
        warn!(%session, by = %caller.user, "session killed");
        // RFC 6241 section 7.9: its locks are released before the killer hears that it is done.
        self.close(session, SessionEnd::Killed { by: caller.session });
        Ok(Response::Ok)
    }

    /// Goes on when what waits in the queue has had its turn.
    pub(super) fn resume_soon(&self, continuation: Continuation) {
        let inputs = self.inputs.clone();
        // A northbound that is gone has nothing to go on with.
        self.runtime.spawn(async move { drop(inputs.send(Input::Resume(continuation)).await) });
    }

    /// Goes on at that time or somewhat before, unless the subscription ends first. Each has one timer.
    pub(super) fn resume_at(&mut self, key: Key, at: jiff::Timestamp, continuation: Continuation) {
        let inputs = self.inputs.clone();
        let left = Duration::try_from(at.duration_since(now())).unwrap_or_default();
        let task = self.runtime.spawn(async move {
            // The clock may be set meanwhile: it is looked at again now and then.
            tokio::time::sleep(left.min(CLOCK_TRUSTED)).await;
            drop(inputs.send(Input::Resume(continuation)).await);
        });
        if let Some(before) = self.timers.insert(key, task.abort_handle()) {
            before.abort();
        }
    }

    pub(super) fn stop_timer(&mut self, key: Key) {
        if let Some(timer) = self.timers.remove(&key) {
            timer.abort();
        }
    }

    pub(super) fn next_pending(&mut self) -> u64 {
        self.last_pending += 1;
        self.last_pending
    }
}

/// Waits for the next input, or until something is due.
async fn hear(receiver: &mut mpsc::Receiver<Input>, left: Option<Duration>) -> Option<Heard> {
    let Some(left) = left else { return receiver.recv().await.map(Heard::Input) };
    match tokio::time::timeout(left.min(CLOCK_TRUSTED), receiver.recv()).await {
        Ok(input) => input.map(Heard::Input),
        Err(_) => Some(Heard::Time),
    }
}

fn is_small(tree: &Tree) -> bool {
    !tree.has_more_than(NODES_BRIEF)
}

fn refuse(caller: &Caller, refusal: super::Refusal, reply: oneshot::Sender<Answer>) {
    info!(user = %caller.user, session = %caller.session, %refusal, "denied");
    // A front end that is gone needs no answer.
    drop(reply.send(Err(vec![refusal])));
}

#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The clock that goes on while the host sleeps, and that nobody sets.
pub(super) fn now_since_boot() -> BootTime {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
    BootTime(time.into())
}

pub(super) fn now_unix() -> i64 {
    now().as_second()
}
