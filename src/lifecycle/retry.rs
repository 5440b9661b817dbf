//! When a process that has failed is started again: 2 s, 10 s, 60 s, then every 300 s for ever.
//!
//! A failure that comes later than the last delay and a minute after the one before counts as a first one.

use std::time::{Duration, Instant};

pub const DELAYS: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];
/// Over the last delay.
pub const STEADY_OVER: Duration = Duration::from_secs(60);
/// The failure in a row that is an alarm of its own.
pub const FAILURES_FOR_ALARM: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    delays: Vec<Duration>,
    failures: u32,
    last: Option<(Instant, Duration)>,
}

impl Default for Retry {
    fn default() -> Self {
        Self::with(DELAYS.to_vec())
    }
}

impl Retry {
    /// The last delay repeats; without any it is the first of [`DELAYS`].
    pub fn with(delays: Vec<Duration>) -> Self {
        let delays = if delays.is_empty() { vec![DELAYS[0]] } else { delays };
        Self { delays, failures: 0, last: None }
    }

    /// As after so many failures that it is an alarm.
    #[must_use]
    pub fn failing(mut self, now: Instant) -> Self {
        for _ in 0..FAILURES_FOR_ALARM {
            self.failed(now);
        }
        self
    }

    pub fn set_delays(&mut self, delays: Vec<Duration>) {
        self.delays = Self::with(delays).delays;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure; how long to wait before the next start.
    pub fn failed(&mut self, now: Instant) -> Duration {
        if self.steady_at().is_some_and(|at| now > at) {
            self.failures = 0;
        }
        let at = usize::try_from(self.failures).unwrap_or(usize::MAX).min(self.delays.len() - 1);
        let delay = self.delays[at];
        self.failures = self.failures.saturating_add(1);
        self.last = Some((now, delay));
        delay
    }

    /// From when on a failure counts as a first one; `None` when it does already.
    pub fn steady_at(&self) -> Option<Instant> {
        self.last.and_then(|(at, delay)| at.checked_add(delay + STEADY_OVER))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn some_instant() -> Instant {
        Instant::now()
    }

    #[test]
    fn delays_grow_to_five_minutes_and_stay_there() {
        let (mut retry, mut now) = (Retry::default(), some_instant());
        let mut delays = Vec::new();
        for _ in 0..6 {
            let delay = retry.failed(now);
            delays.push(delay.as_secs());
            now += delay + Duration::from_secs(1);
        }
        assert_eq!(delays, [2, 10, 60, 300, 300, 300]);
        assert_eq!(retry.failures(), 6);
    }

    #[test]
    fn a_failure_after_a_steady_run_is_a_first_one() {
        let (mut retry, now) = (Retry::default(), some_instant());
        retry.failed(now);
        assert_eq!(retry.failed(now + Duration::from_secs(62)).as_secs(), 10);
        assert_eq!(retry.failed(now + Duration::from_secs(62 + 71)).as_secs(), 2);
        assert_eq!(retry.failures(), 1);
    }

    #[test]
    fn an_order_of_the_operator_begins_anew() {
        let (mut retry, now) = (Retry::default(), some_instant());
        retry.failed(now);
        retry.failed(now);
        retry.reset();
        assert_eq!((retry.failures(), retry.steady_at()), (0, None));
        assert_eq!(retry.failed(now).as_secs(), 2);
    }
}
