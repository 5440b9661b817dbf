//! Whether a ward still turns: it is asked now and then, and one that does not answer for long is hung.
//!
//! Must not know: processes, sockets, clocks.

use std::time::{Duration, Instant};

/// How often a ward is asked.
const EVERY: Duration = Duration::from_secs(15);
/// How long it may take to answer: a busy host, a slow disk and a debugger are no reason to end it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Ask,
    /// It has not answered in its time.
    Hung,
}

/// Of one ward that has said that it serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    asked: bool,
    due: Instant,
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: false, due: now + EVERY }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.due
    }

    pub(super) fn answered(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) fn beat(&mut self, now: Instant) -> Beat {
        if now < self.due {
            return Beat::Nothing;
        }
        if self.asked {
            // It is ended by whoever asks; until that is seen it is not called hung again.
            *self = Self::new(now);
            return Beat::Hung;
        }
        *self = Self { asked: true, due: now + PATIENCE };
        Beat::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_answers_is_asked_again_and_one_that_does_not_is_hung() {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(start);
        assert_eq!(
            (pulse.beat(at(14)), pulse.beat(at(15)), pulse.beat(at(16))),
            (Beat::Nothing, Beat::Ask, Beat::Nothing)
        );
        pulse.answered(at(20));
        assert_eq!((pulse.beat(at(34)), pulse.beat(at(35))), (Beat::Nothing, Beat::Ask));
        assert_eq!((pulse.beat(at(94)), pulse.beat(at(95))), (Beat::Nothing, Beat::Hung));
    }
}
