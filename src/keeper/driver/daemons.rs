//! Daemons that a start command has left: watched by their pidfds, so that their end is known whoever reaps them.

use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use tracing::{info, warn};

use super::{Driver, Source, moment};
use crate::keeper::daemons::Daemon;

/// Between two looks at a pid file.
const SEEK_AGAIN: Duration = Duration::from_millis(100);

impl Driver {
    pub(super) fn daemon_looked_for(&mut self, slot: u32, found: Option<Daemon>) {
        let now = moment().now;
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.is_seeking = false;
        let Some((_, until)) = held.sought else { return };
        match found {
            Some(daemon) => {
                held.sought = None;
                info!(name = %held.spec.name, pid = daemon.pid, "its daemon is watched");
                held.daemon = Some(daemon);
                self.watch_daemon(slot);
                self.publish(slot);
            }
            None if until <= now => {
                held.sought = None;
                warn!(name = %held.spec.name, "the start command has left no daemon that its pid file names");
                self.reconsider(slot);
            }
            None => held.sought = Some((now + SEEK_AGAIN, until)),
        }
        self.set_timer(slot);
    }

    pub(super) fn watch_daemon(&mut self, slot: u32) {
        let Some(daemon) = self.held.get(&slot).and_then(|held| held.daemon.as_ref()) else { return };
        if let Err(error) = self.watch(&daemon.pidfd, Source::Daemon(slot), EpollFlags::EPOLLIN) {
            warn!(pid = daemon.pid, %error, "a daemon cannot be watched");
        }
    }

    pub(super) fn daemon_ended(&mut self, slot: u32) {
        let at_unix_ms = moment().unix_ms;
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(daemon) = held.daemon.take() else { return };
        let _ = self.epoll.delete(&daemon.pidfd);
        info!(name = %held.spec.name, pid = daemon.pid, "its daemon has ended");
        if let Some(last) = &mut held.last {
            // It ran for as long as its daemon did.
            last.ended_unix_ms = at_unix_ms;
        }
        self.publish(slot);
        self.farewell_goes_on(slot);
        self.reconsider(slot);
        self.set_timer(slot);
    }

    pub(super) fn seek_again_if_due(&mut self, slot: u32, now: Instant) {
        let is_due = self.held.get(&slot).and_then(|held| held.sought).is_some_and(|(again, _)| again <= now);
        if is_due {
            self.look_for_daemon(slot);
        }
    }
}
