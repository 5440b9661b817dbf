//! What one container does differently from the house: its own list of restart delays, how often it may be started, how
//! long a stop may take, and how much of its tree a stop ends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub const DELAYS_MAX: usize = 16;
/// A start limit counts that many starts at most.
pub const STARTS_MAX: u32 = 1000;
/// A run that outlasts its last delay by this has proved itself: the list begins anew.
const PROVED_BEYOND_DELAY: Duration = Duration::from_secs(60);

/// At most so many starts within the time; one more failure and it stays down until somebody starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartLimit {
    pub starts: u32,
    pub within: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rules {
    /// Before each automatic restart, the last for ever; empty for the house's own pace.
    pub delays: Vec<Duration>,
    pub start_limit: Option<StartLimit>,
    /// After the stop signal comes the kill; `None` waits for ever.
    pub stop_timeout: Option<Duration>,
    /// A stop ends everything that the container has started, not only its main process.
    pub whole_tree: bool,
}

/// Where the list of delays stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delays {
    taken: usize,
}

impl Delays {
    pub fn reset(&mut self) {
        self.taken = 0;
    }

    /// The delay of the restart that follows a run of this length; `None` without a list.
    pub fn next(&mut self, list: &[Duration], ran: Duration) -> Option<Duration> {
        let last = list.get(self.taken.saturating_sub(1).min(list.len().checked_sub(1)?))?;
        if ran >= last.saturating_add(PROVED_BEYOND_DELAY) {
            self.reset();
        }
        let delay = list[self.taken.min(list.len() - 1)];
        self.taken = (self.taken + 1).min(list.len());
        Some(delay)
    }
}

/// The latest starts, as many as a limit may count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Starts(pub(super) VecDeque<Instant>);

impl Starts {
    pub fn reset(&mut self) {
        self.0.clear();
    }

    pub fn note(&mut self, now: Instant, limit: Option<StartLimit>) {
        let Some(limit) = limit else { return self.reset() };
        self.0.push_back(now);
        while self.0.len() > usize::try_from(limit.starts).unwrap_or(usize::MAX) {
            self.0.pop_front();
        }
    }

    pub fn is_spent(&self, now: Instant, limit: Option<StartLimit>) -> bool {
        limit.is_some_and(|limit| {
            let recent = self.0.iter().filter(|at| now.saturating_duration_since(**at) < limit.within).count();
            recent >= usize::try_from(limit.starts).unwrap_or(usize::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(list: &[u64]) -> Vec<Duration> {
        list.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn a_list_of_delays_is_used_in_order_and_its_last_for_ever() {
        let list = seconds(&[2, 10, 60, 300]);
        let mut delays = Delays::default();
        let taken: Vec<u64> = (0..6).map(|_| delays.next(&list, Duration::ZERO).unwrap().as_secs()).collect();
        assert_eq!(taken, [2, 10, 60, 300, 300, 300]);
        // Shorter than the last delay and a minute: it has proved nothing.
        assert_eq!(delays.next(&list, Duration::from_secs(359)).unwrap().as_secs(), 300);
        assert_eq!(delays.next(&list, Duration::from_secs(360)).unwrap().as_secs(), 2);
        assert_eq!(Delays::default().next(&[], Duration::ZERO), None);
    }
}
