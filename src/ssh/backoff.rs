//! How long a source that guesses passwords waits before its next guess is looked at.
//!
//! ```text
//!  failures   0..4   5     6    7    8    9 and more      one is forgiven every half minute
//!  wait       none   0.5   1    2    4    8 s
//! ```
//! Guesses of one source are looked at one after the other, so that more connections are no faster. Keys never wait: there
//! is nothing to guess. Must not know: users, sockets, the clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::admission::neighbourhood;

/// People mistype.
const FREE_FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(8);
/// A guess that would be looked at later than this is refused unseen.
const QUEUE_MAX: Duration = Duration::from_secs(20);
const FORGIVEN_EVERY: Duration = Duration::from_secs(30);
/// Failures that are counted; the wait does not grow beyond, and it is forgotten within minutes.
const FAILURES_MAX: u32 = 20;
/// Sources that are remembered; beyond, the one that has been quiet for longest is forgotten.
const SOURCES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub struct Backoff {
    sources: BTreeMap<IpAddr, Source>,
}

#[derive(Debug)]
struct Source {
    failures: u32,
    /// Since when the failures stand: each half minute from here forgives one.
    since: Instant,
    /// When its last guess is looked at.
    busy_until: Instant,
}

impl Backoff {
    /// How long the guess that `source` makes now has to wait; `None`: it is not looked at at all.
    pub fn wait(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
        let Some(source) = self.sources.get_mut(&neighbourhood(source)) else { return Some(Duration::ZERO) };
        source.forgive(now);
        let wait = wait_after(source.failures);
        if wait.is_zero() {
            return Some(wait);
        }
        let at = source.busy_until.max(now) + wait;
        if at - now > QUEUE_MAX {
            return None;
        }
        source.busy_until = at;
        Some(at - now)
    }

    /// The guess was wrong.
    pub fn failed(&mut self, source: IpAddr, now: Instant) {
        let source = neighbourhood(source);
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            self.forget_one(now);
        }
        let fresh = Source { failures: 0, since: now, busy_until: now };
        let source = self.sources.entry(source).or_insert(fresh);
        source.forgive(now);
        source.failures = (source.failures + 1).min(FAILURES_MAX);
    }

    fn forget_one(&mut self, now: Instant) {
        self.sources.retain(|_, source| {
            source.forgive(now);
            source.failures > 0
        });
        if self.sources.len() < SOURCES_MAX {
            return;
        }
        let quietest = self.sources.iter().min_by_key(|(_, source)| source.since).map(|(address, _)| *address);
        if let Some(quietest) = quietest {
            self.sources.remove(&quietest);
        }
    }
}

impl Source {
    fn forgive(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_secs() / FORGIVEN_EVERY.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_sub(periods);
        self.since = if self.failures == 0 { now } else { self.since + FORGIVEN_EVERY * periods };
    }
}

fn wait_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// A clock that a test turns.
    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// `count` guesses, one after the other, each as soon as it is looked at.
    fn guesses(backoff: &mut Backoff, source: IpAddr, mut now: Instant, count: usize) -> (Vec<u64>, Instant) {
        let mut waits = Vec::new();
        for _ in 0..count {
            let wait = backoff.wait(source, now).unwrap();
            waits.push(u64::try_from(wait.as_millis()).unwrap());
            now += wait;
            backoff.failed(source, now);
        }
        (waits, now)
    }

    #[test]
    fn a_few_mistakes_are_free_and_then_each_costs_twice_as_much() {
        let (waits, _) = guesses(&mut Backoff::default(), host(1), start(), 12);
        assert_eq!(waits, [0, 0, 0, 0, 0, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }

    #[test]
    fn more_connections_are_no_faster_and_too_many_are_not_looked_at() {
        let mut backoff = Backoff::default();
        let (_, now) = guesses(&mut backoff, host(1), start(), 10);
        let waits: Vec<_> = (0..4).map(|_| backoff.wait(host(1), now).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(8), Some(16), None, None]);
    }

    #[test]
    fn others_do_not_wait_for_a_guesser() {
        let mut backoff = Backoff::default();
        let (_, now) = guesses(&mut backoff, host(1), start(), 10);
        assert_eq!(backoff.wait(host(2), now), Some(Duration::ZERO));
    }

    #[test]
    fn a_quiet_source_is_forgiven_one_failure_after_the_other() {
        let mut backoff = Backoff::default();
        let (_, now) = guesses(&mut backoff, host(1), start(), 7);
        let wait = |backoff: &mut Backoff, seconds| backoff.wait(host(1), now + Duration::from_secs(seconds)).unwrap();
        assert_eq!(wait(&mut backoff, 31), Duration::from_secs(1));
        assert_eq!(wait(&mut backoff, 62), Duration::from_millis(500));
        assert_eq!(wait(&mut backoff, 92), Duration::ZERO);
    }

    #[test]
    fn no_more_sources_are_remembered_than_there_is_room_for() {
        let mut backoff = Backoff::default();
        let now = start();
        for number in 0..u32::try_from(SOURCES_MAX).unwrap() + 10 {
            backoff.failed(
                IpAddr::from((0x0a00_0000 + number).to_be_bytes()),
                now + Duration::from_millis(u64::from(number)),
            );
        }
        assert_eq!(backoff.sources.len(), SOURCES_MAX);
        assert!(!backoff.sources.contains_key(&IpAddr::from([10, 0, 0, 0])), "the quietest goes first");
    }
}
