//! What time it is for those who wait for times: the host's, or, on a device that scripts are tried out on, as far ahead of
//! that as somebody has moved it.
//!
//! Must not know: who moves it, and what is waited for.

use std::future::pending;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

/// The time that passes, and the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub now: Instant,
    pub unix_ms: u64,
}

/// Cheap to clone; all clones go alike.
#[derive(Debug, Clone)]
pub struct Clock {
    ahead: watch::Receiver<Duration>,
}

impl Clock {
    pub fn of_the_host() -> Self {
        Self::movable().1
    }

    /// The clock goes ahead of the host's by what is sent; it never goes back.
    pub fn movable() -> (watch::Sender<Duration>, Self) {
        let (mover, ahead) = watch::channel(Duration::ZERO);
        (mover, Self { ahead })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn moment(&self) -> Moment {
        let ahead = self.ahead();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + ahead;
        Moment { now: Instant::now() + ahead, unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }

    pub fn ahead(&self) -> Duration {
        *self.ahead.borrow()
    }

    /// Returns when it has been moved: what was waited for may have come.
    pub async fn moved(&mut self) {
        if self.ahead.changed().await.is_err() {
            pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_that_is_moved_says_so_and_is_ahead() {
        let (mover, mut clock) = Clock::movable();
        let before = clock.moment();
        mover.send_replace(Duration::from_secs(3600));
        clock.moved().await;
        let after = clock.moment();
        assert!(after.now >= before.now + Duration::from_secs(3600));
        assert!(after.unix_ms >= before.unix_ms + 3_600_000);
    }
}
