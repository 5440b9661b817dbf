//! What is mounted, as this process sees it, and when that changes. What the lines mean is for whoever asks.

use std::fs::File;
use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const TABLE: &str = "/proc/self/mountinfo";

/// The kernel's table of mounts, watched.
#[derive(Debug)]
pub struct MountTable(AsyncFd<File>);

impl MountTable {
    /// Inside of a runtime.
    pub fn open() -> io::Result<Self> {
        let table = File::open(TABLE)?;
        // SAFETY: the AsyncFd owns the file, which stays open and the same until it is dropped.
        #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor of its own kind")]
        let watched = unsafe { AsyncFd::register_with_interest(table, Interest::PRIORITY) };
        watched.map(Self).map_err(io::Error::from)
    }

    /// The table as it is now.
    pub fn read() -> io::Result<Vec<u8>> {
        std::fs::read(TABLE)
    }

    /// Waits until something has been mounted or unmounted since the last time.
    pub async fn changed(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}
