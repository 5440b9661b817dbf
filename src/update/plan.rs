//! What is due, who waits for it, and what came of it. Pure: times come in.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::config::{Condition, Entries, Entry, Key};
use crate::clock::Moment;
use crate::northbound::Refusal;

/// Scripts that are fetched at one time: the repository takes a few more, for those who add some by hand.
pub(super) const FETCHES_MAX: usize = 2;
/// After a failure a scheduled script is looked for again this soon, then after twice that, up to its interval.
const AGAIN_FIRST: Duration = Duration::from_secs(60);
/// Doublings that are told apart; more than an interval can hold.
const DOUBLINGS_MAX: u32 = 20;

/// What came of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    New,
    Same,
}

pub(super) type Outcome = Result<Fetched, Refusal>;

/// The last attempt, for the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub unix_ms: u64,
    pub outcome: Outcome,
}

/// One that is to be fetched, and on whose request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub key: Key,
    pub entry: Entry,
    pub by: String,
}

/// `W` is who waits for an outcome.
#[derive(Debug)]
pub(super) struct Plan<W> {
    entries: Entries,
    due: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
    last: BTreeMap<Key, Attempt>,
    queue: VecDeque<Key>,
    running: usize,
    /// Of those that are queued or being fetched.
    waiting: BTreeMap<Key, Wanted<W>>,
}

#[derive(Debug)]
struct Wanted<W> {
    by: String,
    waiters: Vec<W>,
}

impl<W> Plan<W> {
    pub(super) fn new() -> Self {
        Self {
            entries: Entries::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            last: BTreeMap::new(),
            queue: VecDeque::new(),
            running: 0,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(super) fn last(&self, key: &Key) -> Option<&Attempt> {
        self.last.get(key)
    }

    /// When a scheduled one is looked for next, seen from `now`.
    pub(super) fn due_in(&self, key: &Key, now: Instant) -> Option<Duration> {
        self.due.get(key).map(|due| due.saturating_duration_since(now))
    }

    /// Takes a new configuration. What is scheduled and new, or from elsewhere than before, is due at once.
    pub(super) fn configure(&mut self, entries: Entries, moment: Moment) {
        let old = std::mem::replace(&mut self.entries, entries);
        let is_same = |key: &Key| self.entries.get(key).is_some_and(|entry| old.get(key) == Some(entry));
        self.failures.retain(|key, _| is_same(key));
        self.last.retain(|key, _| is_same(key));
        self.due.retain(|key, _| is_same(key));
        for key in self.entries.keys().filter(|key| key.condition == Condition::Schedule) {
            self.due.entry(key.clone()).or_insert(moment.now);
        }
    }

    /// Looks for scheduled ones now whatever their time: the one on the shelf is not the one that is wanted.
    pub(super) fn hurry(&mut self, is_outdated: impl Fn(&Key) -> bool, moment: Moment) {
        for (key, due) in &mut self.due {
            if *due > moment.now && is_outdated(key) {
                *due = moment.now;
            }
        }
    }

    /// How long until something is due; what is under way already is not waited for.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let idle = self.due.iter().filter(|(key, _)| !self.waiting.contains_key(key));
        idle.map(|(_, due)| due.saturating_duration_since(now)).min()
    }

    /// Queues what is due.
    pub(super) fn due(&mut self, moment: Moment) {
        let due: Vec<Key> =
            self.due.iter().filter(|(_, due)| **due <= moment.now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.enqueue(key, "schedule", None);
        }
    }

    /// Somebody wants it now; one that is under way is joined.
    pub(super) fn want(&mut self, key: Key, by: &str, waiter: W) {
        self.enqueue(key, by, Some(waiter));
    }

    fn enqueue(&mut self, key: Key, by: &str, waiter: Option<W>) {
        let wanted = self.waiting.entry(key.clone()).or_insert_with(|| {
            self.queue.push_back(key);
            Wanted { by: by.to_owned(), waiters: Vec::new() }
        });
        wanted.waiters.extend(waiter);
    }

    /// What is to be fetched next, if another one may be.
    pub(super) fn next(&mut self) -> Option<Task> {
        while self.running < FETCHES_MAX {
            let key = self.queue.pop_front()?;
            let Some(entry) = self.entries.get(&key) else {
                // Its configuration went while it waited; so do those who wait.
                self.waiting.remove(&key);
                continue;
            };
            self.running += 1;
            let by = self.waiting.get(&key).map(|wanted| wanted.by.clone()).unwrap_or_default();
            return Some(Task { entry: entry.clone(), key, by });
        }
        None
    }

    /// Those who waited for it.
    pub(super) fn done(&mut self, key: &Key, outcome: &Outcome, moment: Moment) -> Vec<W> {
        self.running = self.running.saturating_sub(1);
        if let Some(entry) = self.entries.get(key) {
            self.last.insert(key.clone(), Attempt { unix_ms: moment.unix_ms, outcome: outcome.clone() });
            let failures = self.failures.entry(key.clone()).or_default();
            *failures = if outcome.is_ok() { 0 } else { failures.saturating_add(1) };
            if let Some(every) = entry.every {
                self.due.insert(key.clone(), moment.now + pause(every, *failures));
            }
        }
        self.waiting.remove(key).map(|wanted| wanted.waiters).unwrap_or_default()
    }
}

fn pause(every: Duration, failures: u32) -> Duration {
    match failures {
        0 => every,
        _ => every.min(AGAIN_FIRST * 2_u32.pow((failures - 1).min(DOUBLINGS_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Origin;
    use super::super::config::tests::key;
    use super::*;
    use crate::northbound::Kind;

    const HOUR: Duration = Duration::from_secs(3600);

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Moment {
        Moment { now: Instant::now(), unix_ms: 1_000 }
    }

    fn after(moment: Moment, time: Duration) -> Moment {
        Moment { now: moment.now + time, unix_ms: moment.unix_ms + u64::try_from(time.as_millis()).unwrap() }
    }

    fn entry(condition: Condition) -> Entry {
        let origin = Origin { url: "http://h/s".to_owned(), username: None, password: None };
        Entry { origin, every: (condition == Condition::Schedule).then_some(HOUR), runs_local: false }
    }

    fn plan(conditions: &[Condition], moment: Moment) -> Plan<u8> {
        let mut plan = Plan::new();
        plan.configure(conditions.iter().map(|condition| (key(*condition), entry(*condition))).collect(), moment);
        plan
    }

    fn failed() -> Outcome {
        Err(Refusal::new(Kind::OperationFailed, "no"))
    }

    #[test]
    fn a_scheduled_script_is_due_at_once_and_then_after_its_interval() {
        let begin = start();
        let mut plan = plan(&[Condition::Schedule, Condition::Manual], begin);
        assert_eq!(plan.wait(begin.now), Some(Duration::ZERO));
        plan.due(begin);
        let task = plan.next().unwrap();
        assert_eq!((task.key.condition, task.by.as_str()), (Condition::Schedule, "schedule"));
        assert_eq!((plan.next(), plan.wait(begin.now)), (None, None), "it is under way, and nothing else is scheduled");
        plan.done(&task.key, &Ok(Fetched::Same), begin);
        assert_eq!(plan.wait(begin.now), Some(HOUR));
        plan.configure(plan.entries.clone(), after(begin, HOUR / 2));
        assert_eq!(plan.wait(begin.now), Some(HOUR), "a commit of something else changes nothing");
    }

    #[test]
    fn a_failure_is_tried_again_with_growing_pauses_up_to_the_interval() {
        let mut moment = start();
        let mut plan = plan(&[Condition::Schedule], moment);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            plan.due(moment);
            let task = plan.next().unwrap();
            plan.done(&task.key, &failed(), moment);
            let pause = plan.wait(moment.now).unwrap();
            pauses.push(pause.as_secs() / 60);
            moment = after(moment, pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn who_wants_what_is_under_way_waits_for_that() {
        let begin = start();
        let mut plan = plan(&[Condition::OnRun, Condition::Manual], begin);
        plan.want(key(Condition::OnRun), "ann", 1);
        plan.want(key(Condition::OnRun), "bob", 2);
        plan.want(key(Condition::Manual), "bob", 3);
        let (first, second) = (plan.next().unwrap(), plan.next().unwrap());
        assert_eq!((first.by.as_str(), second.key.condition), ("ann", Condition::Manual));
        assert_eq!(plan.done(&first.key, &failed(), begin), [1, 2]);
        assert_eq!(plan.last(&first.key).unwrap().outcome, failed());
        assert_eq!(plan.wait(begin.now), None, "nothing of this comes by itself");
    }

    #[test]
    fn few_are_fetched_at_a_time_and_what_was_taken_out_is_not() {
        let begin = start();
        let named = |name: &str| Key { script: name.to_owned(), ..key(Condition::Manual) };
        let all: Entries = ["a", "b", "c", "d"].map(|name| (named(name), entry(Condition::Manual))).into();
        let mut plan: Plan<u8> = Plan::new();
        plan.configure(all.clone(), begin);
        for name in ["a", "b", "c", "d"] {
            plan.want(named(name), "ann", 0);
        }
        assert_eq!((plan.next().is_some(), plan.next().is_some(), plan.next()), (true, true, None));
        plan.configure(all.into_iter().filter(|(key, _)| key.script != "c").collect(), begin);
        plan.done(&named("a"), &Ok(Fetched::New), begin);
        assert_eq!(plan.next().map(|task| task.key.script), Some("d".to_owned()));
    }

    #[test]
    fn a_script_that_is_not_the_approved_one_is_looked_for_at_once() {
        let begin = start();
        let mut plan = plan(&[Condition::Schedule, Condition::OnRun], begin);
        plan.due(begin);
        let task = plan.next().unwrap();
        plan.done(&task.key, &Ok(Fetched::New), begin);
        plan.hurry(|_| false, begin);
        assert_eq!(plan.wait(begin.now), Some(HOUR));
        plan.hurry(|_| true, begin);
        assert_eq!(plan.wait(begin.now), Some(Duration::ZERO));
    }
}
