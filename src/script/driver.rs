//! The repository's task: it alone changes the inventory.
//!
//! ```text
//!  commands --plan--> fetch and stage (own thread, at most ADDS_RUNNING_MAX) --> put in place --> reply
//!  watch, timer ----> dirty names ----> look and sum (own thread, one at a time) --> inventory
//!                                             any change --> history on disk, view published, events told
//! ```
//! A name that we change while it is being looked at is looked at again: an old look never overwrites a newer fact.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::fetch::{Budget, Fetcher};
use super::handle::{AddRequest, ChangeError, Command, Manner, RemoveRequest, Reply};
use super::ledger::Ledger;
use super::name::{ScriptKey, ScriptName, ScriptType};
use super::plan::{AddPlan, InUse, plan_add, plan_remove};
use super::repository::{
    Committed, FileFacts, Inventory, Noted, SCRIPTS_PER_SHELF_MAX, ScriptEvent, Verdicts, status_events, verdicts,
};
use super::shelves::{Batch, Layout, Sighting, Staged, look_at};
use super::staging::stage;
use super::watching::{Sign, Watching};

/// Adds that fetch at the same time.
pub const ADDS_RUNNING_MAX: usize = 4;

/// Events that wait for the composition root; when they are full, further ones are dropped with a warning: the status
/// views still tell all.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// Odd files that are remembered as already complained about.
const COMPLAINTS_MAX: usize = 1000;

/// Everything is looked at once in a while: a watch may miss what happens above its folder.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60);

/// How soon a folder that could not be made is tried again.
const MEND_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that can wake the driver.
enum Input {
    Command(Command),
    Sign(std::io::Result<Sign>),
    Done(Done),
    Committed,
    Timer,
    Stop,
}

enum Done {
    Looked { sightings: Vec<(ScriptKey, Sighting)>, odd: Vec<String> },
    Staged { plan: AddPlan, asked: Asked, batch: Result<(Batch, Vec<Staged>), ChangeError>, reply: Reply },
}

/// Who adds, from where, and in which manner.
struct Asked {
    manner: Manner,
    user: String,
    from: String,
}

pub struct Driver {
    layout: Arc<Layout>,
    fetcher: Arc<Fetcher>,
    inventory: Inventory,
    published: watch::Sender<Arc<Inventory>>,
    committed: watch::Receiver<Option<Arc<Committed>>>,
    /// What the statuses were when they were last told; `None` before the first commit.
    told: Option<Verdicts>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<ScriptEvent>,
    ledger: Ledger,
    /// `None` once the watch broke; the timer goes on.
    watching: Option<Watching>,
    jobs: JoinSet<Done>,
    adds_running: usize,
    batches_opened: u64,
    /// Scripts that an add or remove is about.
    claimed: BTreeSet<ScriptKey>,
    dirty: BTreeSet<ScriptKey>,
    rescan_wanted: bool,
    is_looking: bool,
    changed_while_looking: BTreeSet<ScriptKey>,
    unmended: BTreeSet<ScriptType>,
    complaints: BTreeSet<String>,
    next_check: tokio::time::Instant,
    stopping: Arc<AtomicBool>,
}

impl Driver {
    /// Serves until `stop`; `in_use` is asked before a script is removed.
    pub async fn run(mut self, in_use: Arc<dyn InUse>, stop: CancellationToken) {
        loop {
            self.look();
            match self.next(&stop).await {
                Input::Command(Command::Add { request, reply }) => self.on_add(request, reply),
                Input::Command(Command::Remove { request, reply }) => {
                    let result = self.remove(request, &*in_use).await;
                    // Who asked may have gone; what was done stands.
                    let _ = reply.send(result);
                }
                Input::Sign(Ok(sign)) => self.on_sign(sign),
                Input::Sign(Err(error)) => {
                    error!(%error, "the watch on the script repository broke; changes by hand appear once a minute");
                    self.watching = None;
                }
                Input::Done(done) => self.on_done(done).await,
                Input::Committed => self.tell_statuses(),
                Input::Timer => {
                    self.next_check = tokio::time::Instant::now() + RESCAN_INTERVAL;
                    self.mend_shelves();
                    self.rescan_wanted = true;
                }
                Input::Stop => break,
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
    }

    async fn next(&mut self, stop: &CancellationToken) -> Input {
        let sign = async {
            match &mut self.watching {
                Some(watching) => watching.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Input::Stop,
            Some(done) = self.jobs.join_next() => match done {
                Ok(done) => Input::Done(done),
                Err(error) => {
                    error!(%error, "a task of the script repository failed");
                    Input::Stop
                }
            },
            Ok(()) = self.committed.changed() => Input::Committed,
            sign = sign => Input::Sign(sign),
            Some(command) = self.commands.recv() => Input::Command(command),
            () = tokio::time::sleep_until(self.next_check) => Input::Timer,
        }
    }

    fn on_sign(&mut self, sign: Sign) {
        match sign {
            Sign::Touched(key) => {
                self.dirty.insert(key);
                // A look at everything is the better answer to a flood.
                if self.dirty.len() > SCRIPTS_PER_SHELF_MAX {
                    self.dirty.clear();
                    self.rescan_wanted = true;
                }
            }
            Sign::Shelf(script_type) => {
                if let Some(watching) = &mut self.watching {
                    watching.forget(script_type);
                }
                warn!(%script_type, "the folder of the script repository went; it is made anew");
                self.mend_shelves();
                self.rescan_wanted = true;
            }
            Sign::Overflow => {
                warn!("more changes in the script repository than the watch holds; everything is looked at");
                self.rescan_wanted = true;
            }
        }
    }

    fn mend_shelves(&mut self) {
        let Some(watching) = &mut self.watching else { return };
        for script_type in ScriptType::ALL {
            match watching.mend(&self.layout, script_type) {
                Ok(is_new) => {
                    self.unmended.remove(&script_type);
                    self.rescan_wanted |= is_new;
                }
                Err(error) => {
                    self.next_check = tokio::time::Instant::now() + MEND_INTERVAL;
                    if self.unmended.insert(script_type) {
                        error!(%script_type, %error, "a folder of the script repository cannot be made or watched");
                    }
                }
            }
        }
    }

    /// Starts a look at what is dirty, unless one is under way.
    fn look(&mut self) {
        if self.is_looking || (self.dirty.is_empty() && !self.rescan_wanted) {
            return;
        }
        self.is_looking = true;
        self.changed_while_looking.clear();
        let mut keys = std::mem::take(&mut self.dirty);
        let is_rescan = std::mem::take(&mut self.rescan_wanted);
        let (layout, inventory, bytes_max) =
            (self.layout.clone(), self.inventory.clone(), self.fetcher.limits.bytes_max);
        self.jobs.spawn_blocking(move || {
            let mut odd = Vec::new();
            if is_rescan {
                keys.extend(inventory.keys().cloned());
                for script_type in ScriptType::ALL {
                    match layout.list(script_type) {
                        Ok((names, strange)) => {
                            keys.extend(names.into_iter().map(|name| ScriptKey::new(script_type, name)));
                            odd.extend(strange);
                        }
                        Err(error) => odd.push(format!("{script_type} folder ({error})")),
                    }
                }
            }
            let look = |key: &ScriptKey| look_at(&layout.path_of(key), inventory.file(key), bytes_max);
            let sightings = keys.into_iter().map(|key| (key.clone(), look(&key))).collect();
            Done::Looked { sightings, odd }
        });
    }

    async fn on_done(&mut self, done: Done) {
        match done {
            Done::Looked { sightings, odd } => {
                self.is_looking = false;
                for name in odd {
                    self.complain(&name, "no name of a script");
                }
                self.take_in(sightings).await;
            }
            Done::Staged { plan, asked, batch, reply } => {
                self.adds_running -= 1;
                let keys: Vec<ScriptKey> = keys_of(&plan);
                let result = match batch {
                    Ok((batch, staged)) => self.install(&plan, batch, staged, &asked).await,
                    Err(error) => Err(error),
                };
                for key in &keys {
                    self.claimed.remove(key);
                }
                if let Err(error) = &result {
                    info!(script_type = %plan.script_type, from = %asked.from, %error, "nothing was added to the script repository");
                }
                let _ = reply.send(result);
            }
        }
    }

    async fn take_in(&mut self, sightings: Vec<(ScriptKey, Sighting)>) {
        let now = timestamp();
        let mut noted = Vec::new();
        for (key, sighting) in sightings {
            if self.changed_while_looking.contains(&key) {
                self.dirty.insert(key);
                continue;
            }
            let seen = match sighting {
                Sighting::File(facts) => Some(facts),
                Sighting::Absent => None,
                Sighting::Unusable(why) => {
                    self.complain(&key.to_string(), &why);
                    None
                }
            };
            let is_new = seen.is_some() && self.inventory.file(&key).is_none();
            if is_new && self.inventory.count_on(key.script_type) >= SCRIPTS_PER_SHELF_MAX {
                self.complain(&key.to_string(), "the folder holds too many scripts");
                continue;
            }
            noted.extend(self.inventory.observe(&key, seen, None, now));
        }
        self.publish(noted).await;
    }

    fn on_add(&mut self, request: AddRequest, reply: Reply) {
        let plan = match self.plan_add(&request) {
            Ok(plan) => plan,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.claimed.extend(keys_of(&plan));
        self.adds_running += 1;
        self.batches_opened += 1;
        let (layout, fetcher, stopping) = (self.layout.clone(), self.fetcher.clone(), self.stopping.clone());
        let number = self.batches_opened;
        let started = monotonic();
        self.jobs.spawn_blocking(move || {
            let limit = fetcher.limits.time_max;
            let budget = Budget { deadline: started + limit, limit, clock: monotonic, stopping: &stopping };
            let from = request.source.to_string();
            let batch = stage(&plan, &request, &layout, number, &fetcher, &budget);
            let asked = Asked { manner: request.manner, user: request.user, from };
            Done::Staged { plan, asked, batch, reply }
        });
    }

    fn plan_add(&self, request: &AddRequest) -> Result<AddPlan, ChangeError> {
        let plan = plan_add(request.script_type, request.scripts.clone(), &self.inventory)?;
        self.check_unclaimed(&keys_of(&plan))?;
        if self.adds_running >= ADDS_RUNNING_MAX {
            return Err(ChangeError::TooManyAdds { running: self.adds_running });
        }
        Ok(plan)
    }

    fn check_unclaimed(&self, keys: &[ScriptKey]) -> Result<(), ChangeError> {
        match keys.iter().find(|key| self.claimed.contains(key)) {
            Some(key) => Err(ChangeError::Busy { key: key.clone() }),
            None => Ok(()),
        }
    }

    async fn install(
        &mut self,
        plan: &AddPlan,
        batch: Batch,
        mut staged: Vec<Staged>,
        asked: &Asked,
    ) -> Result<(), ChangeError> {
        let Asked { manner, user, from } = asked;
        let script_type = plan.script_type;
        if *manner == Manner::Update {
            staged.retain(|script| {
                let there = self.inventory.file(&ScriptKey::new(script_type, script.name.clone()));
                there.is_none_or(|file| file.sum != script.facts.sum)
            });
            if staged.is_empty() {
                return Ok(());
            }
        }
        let shelf = self.layout.shelf(script_type);
        let names: Vec<ScriptName> = staged.iter().map(|script| script.name.clone()).collect();
        let installed = spawn_blocking(move || batch.install(&shelf, script_type, &names)).await;
        installed.map_err(|_| ChangeError::Stopping)??;
        let description = match manner {
            Manner::Add => format!("Added from {from} by {user}"),
            Manner::Update => format!("Updated from {from} by {user}"),
        };
        let facts = staged.into_iter().map(|script| (script.name, Some(script.facts))).collect();
        self.changed_by_us(script_type, facts, &description).await;
        Ok(())
    }

    async fn remove(&mut self, request: RemoveRequest, in_use: &dyn InUse) -> Result<(), ChangeError> {
        let plan = plan_remove(request.script_type, request.names, &self.inventory, in_use)?;
        let script_type = plan.script_type;
        let keys: Vec<ScriptKey> = plan.names.iter().map(|name| ScriptKey::new(script_type, name.clone())).collect();
        self.check_unclaimed(&keys)?;
        self.batches_opened += 1;
        let (layout, number, names) = (self.layout.clone(), self.batches_opened, plan.names.clone());
        let removed =
            spawn_blocking(move || layout.open_batch(number)?.remove(&layout.shelf(script_type), script_type, &names));
        removed.await.map_err(|_| ChangeError::Stopping)??;
        let gone = plan.names.into_iter().map(|name| (name, None)).collect();
        self.changed_by_us(script_type, gone, &format!("Removed by {}", request.user)).await;
        Ok(())
    }

    async fn changed_by_us(
        &mut self,
        script_type: ScriptType,
        facts: Vec<(ScriptName, Option<FileFacts>)>,
        description: &str,
    ) {
        let now = timestamp();
        let mut noted = Vec::new();
        for (name, seen) in facts {
            let key = ScriptKey::new(script_type, name);
            self.changed_while_looking.insert(key.clone());
            noted.extend(self.inventory.observe(&key, seen, Some(description), now));
        }
        self.publish(noted).await;
    }

    /// History first, then the view, then the events: who reacts to an event finds what it speaks of.
    async fn publish(&mut self, noted: Vec<Noted>) {
        for Noted { key, row } in &noted {
            info!(script = %key, action = %row.action, description = %row.description, "script repository changed");
        }
        self.ledger.write(&noted, &self.inventory).await;
        self.published.send_replace(Arc::new(self.inventory.clone()));
        for noted in &noted {
            self.tell(noted.event());
        }
        self.tell_statuses();
    }

    fn tell_statuses(&mut self) {
        let Some(committed) = self.committed.borrow_and_update().clone() else { return };
        let verdicts = verdicts(&self.inventory, &committed);
        // At the start nothing changed, but a mismatch is worth telling.
        let is_start = self.told.is_none();
        let before = self.told.replace(verdicts).unwrap_or_default();
        let events = status_events(&before, self.told.as_ref().expect("just put there"));
        for event in events {
            if let ScriptEvent::ChecksumMismatch { key, expected, found } = &event {
                warn!(script = %key, %expected, %found, "checksum mismatch; the script will not run");
            } else if is_start {
                continue;
            }
            self.tell(event);
        }
    }

    fn tell(&self, event: ScriptEvent) {
        if let Err(error) = self.events.try_send(event) {
            warn!(%error, "an event of the script repository is dropped");
        }
    }

    fn complain(&mut self, what: &str, why: &str) {
        if self.complaints.len() >= COMPLAINTS_MAX {
            self.complaints.clear();
        }
        if self.complaints.insert(format!("{what}: {why}")) {
            warn!(%what, %why, "a file in the script repository is left out");
        } else {
            debug!(%what, %why, "a file in the script repository is left out");
        }
    }
}

fn keys_of(plan: &AddPlan) -> Vec<ScriptKey> {
    plan.requested.iter().map(|script| ScriptKey::new(plan.script_type, script.name.clone())).collect()
}

#[expect(clippy::disallowed_methods, reason = "the driver reads the clock for the fetches it starts")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the driver dates the rows of the history")]
fn timestamp() -> Timestamp {
    Timestamp::now()
}

#[path = "open.rs"]
mod open;

pub use self::open::{OpenError, Settings, open};

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
