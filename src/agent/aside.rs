//! Light threads for what takes long: whoever asks for little does not wait for a processor that one of them has.
//!
//! Must not know: what is made there.

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::sys::weight;

/// More would only take processors from each other.
const THREADS: usize = 2;

/// They end when this is dropped; what they were at is nobody's any more.
pub(super) struct Aside(Option<Runtime>);

impl Aside {
    /// Neither timers nor sockets are at hand there.
    pub(super) fn start() -> anyhow::Result<(Self, Handle)> {
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(THREADS).thread_name("aside").on_thread_start(weight::lighten);
        let runtime = threads.build().context("the threads for large answers cannot be started")?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // To wait for them, as a runtime does by itself, is not for a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
