//! What the agent cannot be without. If such a part ends while nobody asked it to (by a panic, say), half an agent would
//! be left that answers some and hangs others; so it ends whole, and the custodian starts a new one.

use std::fmt::Debug;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// The exit status of a program that panicked: the custodian takes it for a crash, however young the agent is.
pub(super) const CRASHED: i32 = 101;

#[derive(Clone)]
pub(super) struct Vitals {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    ended: mpsc::Sender<&'static str>,
}

impl Vitals {
    /// With the end that hears of the first part that is missing.
    pub(super) fn new(stop: CancellationToken) -> (Self, mpsc::Receiver<&'static str>) {
        let (ended, missing) = mpsc::channel(1);
        (Self { tasks: TaskTracker::new(), stop, ended }, missing)
    }

    /// Runs a part that must not end before `stop`, and that a shutdown waits for.
    pub(super) fn spawn<T>(&self, name: &'static str, part: impl Future<Output = T> + Send + 'static)
    where
        T: Send + Debug + 'static,
    {
        self.tasks.spawn(self.clone().miss(name, tokio::spawn(part)));
    }

    /// The same for a part that runs already and ends with the last who uses it: a shutdown does not wait for it.
    pub(super) fn watch<T>(&self, name: &'static str, part: JoinHandle<T>)
    where
        T: Send + Debug + 'static,
    {
        tokio::spawn(self.clone().miss(name, part));
    }

    async fn miss<T: Debug>(self, name: &'static str, part: JoinHandle<T>) {
        let outcome = part.await;
        if !self.stop.is_cancelled() {
            error!(part = name, ?outcome, "a part of the agent has ended that must not");
            // One is enough to end the agent.
            let _ = self.ended.try_send(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_missed() {
        let (vitals, mut missing) = Vitals::new(CancellationToken::new());
        vitals.spawn("well", std::future::pending::<()>());
        vitals.spawn("broken", async { panic!("as a test") });
        assert_eq!(missing.recv().await, Some("broken"));
    }

    #[tokio::test]
    async fn a_part_that_is_stopped_is_not() {
        let stop = CancellationToken::new();
        let (vitals, mut missing) = Vitals::new(stop.clone());
        let stopped = stop.clone();
        vitals.spawn("part", async move { stopped.cancelled().await });
        stop.cancel();
        vitals.tasks.close();
        vitals.tasks.wait().await;
        drop(vitals);
        assert_eq!(missing.recv().await, None);
    }
}
