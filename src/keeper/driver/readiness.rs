//! How programs say that they serve: `sd_notify` on a socket of the container's own, or a newline on a pipe of the run's.
//! One that is not ready in its time is killed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::unistd::read;
use tracing::{info, warn};

use super::{Driver, Source, moment};
use crate::container::provision::Readiness;
use crate::keeper::protocol::{Asker, STATUS_BYTES_MAX};
use crate::keeper::{launch, notify};
use crate::sys::low::high;
use crate::sys::{fdpass, process};

/// Messages of one container a turn of the loop.
const MESSAGES_PER_TURN_MAX: usize = 16;
/// What its watchdog has aborted is killed when it is still there by then.
const ABORT_TIME_MAX: Duration = Duration::from_secs(10);

impl Driver {
    /// Before a start: the socket, or the pipe whose other end the program gets.
    pub(super) fn prepare_readiness(&mut self, slot: u32) -> nix::Result<Option<(OwnedFd, OwnedFd)>> {
        let Some(held) = self.held.get_mut(&slot) else { return Ok(None) };
        held.status_text = None;
        match held.spec.provision.readiness {
            Readiness::WhenRunning => Ok(None),
            Readiness::Notify if held.notify.is_some() => Ok(None),
            Readiness::Notify => {
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                let listener = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
                fdpass::tell_senders(&listener)?;
                let address = UnixAddr::new_abstract(launch::notify_name(&self.root, &held.spec.name).as_bytes())?;
                bind(listener.as_raw_fd(), &address)?;
                held.notify = Some(high(listener));
                self.watch_readiness(slot);
                Ok(None)
            }
            Readiness::Newline { .. } => {
                let pipe = super::runs::pipe()?;
                Ok(Some((pipe.read, pipe.write)))
            }
        }
    }

    /// Watches what the container has of both, after a start or an adoption.
    pub(super) fn watch_readiness(&mut self, slot: u32) {
        let Some(held) = self.held.get(&slot) else { return };
        let pipe = held.run.as_ref().and_then(|run| run.ready_pipe.as_ref());
        for (fd, source) in [(held.notify.as_ref(), Source::Notify(slot)), (pipe, Source::ReadyPipe(slot))] {
            let Some(fd) = fd else { continue };
            match self.watch(fd, source, EpollFlags::EPOLLIN) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => warn!(name = %held.spec.name, %error, "readiness cannot be watched"),
            }
        }
    }

    pub(super) fn ready_pipe_came(&mut self, slot: u32) {
        let Some(run) = self.held.get_mut(&slot).and_then(|held| held.run.as_mut()) else { return };
        let Some(pipe) = &run.ready_pipe else { return };
        let mut bytes = [0; 64];
        let said = match read(pipe, &mut bytes) {
            Ok(count) => bytes[..count].contains(&b'\n').then_some(true).or((count == 0).then_some(false)),
            Err(_) => None,
        };
        if let Some(is_ready) = said {
            // Said, or closed without a word: there is nothing more to hear.
            let _ = self.epoll.delete(pipe);
            run.ready_pipe = None;
            if is_ready {
                self.is_ready(slot);
            }
        }
    }

    pub(super) fn notify_came(&mut self, slot: u32) {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some(held) = self.held.get_mut(&slot) else { return };
            let Some(socket) = &held.notify else { return };
            let Ok((text, uid)) = fdpass::receive_from(socket) else { return };
            let own = nix::unistd::getuid().as_raw();
            let of_container = held.run.as_ref().map_or(own, |run| run.uid);
            if uid != of_container && uid != own && uid != 0 {
                warn!(name = %held.spec.name, uid, "somebody else says that this container is ready: not believed");
                continue;
            }
            let said = notify::Said::parse(&text);
            if let Some(mut status) = said.status {
                status.truncate(status.floor_char_boundary(STATUS_BYTES_MAX));
                held.status_text = Some(status).filter(|status| !status.is_empty());
                self.publish(slot);
            }
            if said.ready {
                self.is_ready(slot);
            }
            if said.alive {
                self.still_turns(slot);
            }
            if said.hung {
                self.watchdog_barks(slot);
            }
        }
    }

    fn is_ready(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(run) = held.run.as_mut().filter(|run| !run.is_ready) else { return };
        run.is_ready = true;
        run.ready_by = held.spec.provision.watchdog.and_then(|every| moment().now.checked_add(every));
        info!(name = %held.spec.name, "ready");
        self.publish(slot);
        self.set_timer(slot);
    }

    fn still_turns(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(run) = held.run.as_mut().filter(|run| run.is_ready && !run.is_aborted) else { return };
        run.ready_by = held.spec.provision.watchdog.and_then(|every| moment().now.checked_add(every));
        self.set_timer(slot);
    }

    /// SIGABRT, so that a core tells where it hung; one that takes no notice is killed.
    fn watchdog_barks(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(run) = held.run.as_mut().filter(|_| held.spec.provision.watchdog.is_some()) else { return };
        let was_aborted = std::mem::replace(&mut run.is_aborted, true);
        let signal = if was_aborted { libc::SIGKILL } else { libc::SIGABRT };
        run.ready_by = if was_aborted { None } else { moment().now.checked_add(ABORT_TIME_MAX) };
        warn!(name = %held.spec.name, signal, "it has not said in time that it still turns");
        held.asked = Some(Asker { who: "keeper".into(), from: "its watchdog".into() });
        if let Some(pidfd) = &run.pidfd {
            // One that has ended meanwhile is reaped as any other.
            let _ = process::pidfd_signal(pidfd, signal);
        }
        self.set_timer(slot);
    }

    pub(super) fn not_ready_in_time(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(run) = held.run.as_mut().filter(|run| run.ready_by.is_some_and(|at| at <= now)) else { return };
        if run.is_ready {
            return self.watchdog_barks(slot);
        }
        run.ready_by = None;
        warn!(name = %held.spec.name, "killed: it has not said in time that it is ready");
        held.asked = Some(Asker { who: "keeper".into(), from: "its time to become ready was over".into() });
        if let Some(pidfd) = held.run.as_ref().and_then(|run| run.pidfd.as_ref()) {
            // One that has ended meanwhile is reaped as any other.
            let _ = process::pidfd_signal(pidfd, libc::SIGKILL);
        }
    }
}
