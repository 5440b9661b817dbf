//! How fast a program that keeps ending may be restarted: a few times at once, then ever more slowly.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many restarts within [`BURST_WINDOW`] come without delay.
pub const BURST_RESTARTS: usize = 5;
pub const BURST_WINDOW: Duration = Duration::from_secs(10);
pub const DELAY_FIRST: Duration = Duration::from_secs(1);
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// A run that lasted so long has proved itself: the next restart is the first again.
pub const STEADY_RUN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    pub(super) at_once: VecDeque<Instant>,
    /// The delay of the last slow restart.
    pub(super) slowed: Option<Duration>,
    /// No delay is longer.
    pub(super) delay_max: Duration,
    /// A run that lasted so long has proved itself.
    pub(super) steady_run: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self::up_to(DELAY_MAX, STEADY_RUN)
    }
}

impl Pace {
    pub fn up_to(delay_max: Duration, steady_run: Duration) -> Self {
        Self { at_once: VecDeque::new(), slowed: None, delay_max, steady_run }
    }

    pub fn reset(&mut self) {
        *self = Self::up_to(self.delay_max, self.steady_run);
    }

    /// The delay of the restart that follows a run of this length which ended now.
    pub fn next_delay(&mut self, ran: Duration, now: Instant) -> Duration {
        if ran >= self.steady_run {
            self.reset();
        }
        let delay = match self.slowed {
            Some(delay) => (delay * 2).min(self.delay_max),
            None => {
                while self.at_once.front().is_some_and(|first| now.duration_since(*first) >= BURST_WINDOW) {
                    self.at_once.pop_front();
                }
                if self.at_once.len() < BURST_RESTARTS {
                    self.at_once.push_back(now);
                    return Duration::ZERO;
                }
                DELAY_FIRST.min(self.delay_max)
            }
        };
        self.slowed = Some(delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn some_instant() -> Instant {
        Instant::now()
    }

    #[test]
    fn five_at_once_then_ever_more_slowly_up_to_half_a_minute() {
        let start = some_instant();
        let mut pace = Pace::default();
        let delays: Vec<u64> = (0..13).map(|_| pace.next_delay(Duration::from_millis(1), start).as_secs()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn no_delay_is_longer_than_the_longest_allowed() {
        let start = some_instant();
        let mut pace = Pace::up_to(Duration::from_millis(500), Duration::from_millis(200));
        let delays: Vec<u128> = (0..8).map(|_| pace.next_delay(Duration::ZERO, start).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 500, 500, 500]);
        assert_eq!(pace.next_delay(Duration::from_millis(200), start), Duration::ZERO);
    }

    #[test]
    fn a_steady_run_resets_the_pace() {
        let start = some_instant();
        let mut pace = Pace::default();
        for _ in 0..9 {
            pace.next_delay(Duration::ZERO, start);
        }
        assert_eq!(pace.next_delay(STEADY_RUN, start), Duration::ZERO);
    }

    #[test]
    fn a_restart_every_three_seconds_is_never_slowed() {
        let start = some_instant();
        let mut pace = Pace::default();
        for turn in 0..100 {
            let now = start + Duration::from_secs(3 * turn);
            assert_eq!(pace.next_delay(Duration::from_secs(3), now), Duration::ZERO);
        }
    }
}
