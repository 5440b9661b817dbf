//! The clock of a device that scripts are tried out on: a file beside its figures says how many seconds it is ahead of the
//! host's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use inotify::{Inotify, WatchMask};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::system;

const FILE: &str = "clock";
const WATCH_BUFFER_BYTES: usize = 4096;

/// The clock, and who moves it: nobody, where the figures are the host's own.
pub(super) fn open(
    figures: &Path,
    stop: CancellationToken,
) -> anyhow::Result<(Clock, Option<impl Future<Output = ()> + use<>>)> {
    if figures == Path::new(system::FIGURES) {
        return Ok((Clock::of_the_host(), None));
    }
    let watch = || {
        let inotify = Inotify::init()?;
        inotify.watches().add(figures, WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO)?;
        inotify.into_event_stream(vec![0; WATCH_BUFFER_BYTES])
    };
    let mut events = watch().with_context(|| format!("{} cannot be watched", figures.display()))?;
    let (mover, clock) = Clock::movable();
    let file = figures.join(FILE);
    let moving = async move {
        take_over(&file, &mover).await;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) if event.name.as_deref().is_some_and(|name| name == FILE) => {
                        take_over(&file, &mover).await;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                () = stop.cancelled() => return,
            }
        }
    };
    Ok((clock, Some(moving)))
}

async fn take_over(file: &PathBuf, mover: &watch::Sender<Duration>) {
    // Without the file it goes with the host's.
    let Ok(text) = tokio::fs::read_to_string(file).await else { return };
    let Ok(seconds) = text.trim().parse::<u64>() else {
        warn!(file = %file.display(), "the clock is not moved: the file holds no number of seconds");
        return;
    };
    let ahead = Duration::from_secs(seconds);
    let is_moved = mover.send_if_modified(|now| {
        let is_later = ahead > *now;
        *now = ahead.max(*now);
        is_later
    });
    if is_moved {
        info!(seconds, "the clock is moved ahead");
    }
}
