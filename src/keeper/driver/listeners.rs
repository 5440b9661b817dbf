//! The doors of consoles: sockets that telnet, socat and conserver connect to.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::{fs, io};

use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{Backlog, SockFlag, accept4, getpeername, getsockopt, listen, setsockopt, sockopt};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, Uid, User};
use tracing::{info, warn};

use super::{Driver, Source};
use crate::console::outbox::Outbox;
use crate::console::roster::Wish;
use crate::console::telnet::{REQUESTS, Receiver};
use crate::container::console::{ConsoleSpec, ListenerSpec, Place, Speaks};
use crate::container::spec::{AccessLevel, ConsoleAccess, Who};
use crate::keeper::held::Held;
use crate::keeper::protocol::Entering;
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::viewer::Manner;
use crate::sys::process;

const CONNECTIONS_WAITING_MAX: i32 = 64;

impl Driver {
    pub(super) fn watch_doors(&mut self, slot: u32) {
        let count = self.held.get(&slot).map_or(0, |held| held.console.listeners.len());
        for at in 0..count {
            let id = self.fresh_id();
            let listener = &self.held[&slot].console.listeners[at];
            match self.watch(listener, Source::Door(id), EpollFlags::EPOLLIN) {
                Ok(()) => drop(self.doors.insert(id, (slot, at))),
                Err(error) => warn!(%error, "a console's listener cannot be watched"),
            }
        }
    }

    pub(super) fn somebody_knocks(&mut self, door: u32) {
        let Some((slot, at)) = self.doors.get(&door).copied() else { return };
        let Some(held) = self.held.get(&slot) else { return };
        let (Some(listener), Some(spec)) = (held.console.listeners.get(at), held.spec.console.listeners.get(at)) else {
            return;
        };
        let spec = spec.clone();
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(raw) = accept4(listener.as_raw_fd(), flags) else { return };
        let socket = process::owned(raw);
        let Some((user, host, may_write)) = guest(&socket, &spec, &held.spec.access) else {
            info!(name = %held.spec.name, place = %spec.place, "a connection to the console was turned away");
            return;
        };
        // Of no use on a Unix socket, and refused there by nobody.
        let _ = setsockopt(&socket, sockopt::KeepAlive, &true);
        let entering = Entering {
            user,
            host,
            may_write,
            wish: if may_write { Wish::Attach } else { Wish::Spy },
            from: None,
            replay_lines: 0,
            escape: crate::console::escape::DEFAULT,
            quiet: true,
        };
        self.make_tape(slot);
        if let Err(refusal) = self.welcome(slot, socket, spec.speaks, &entering) {
            info!(place = %spec.place, %refusal, "a connection to the console was turned away");
        }
    }

    fn welcome(
        &mut self,
        slot: u32,
        socket: OwnedFd,
        speaks: Speaks,
        entering: &Entering,
    ) -> Result<(), KeeperRefusal> {
        let Some(held) = self.held.get(&slot) else { return Err(KeeperRefusal::Lost) };
        let Some(tape) = &held.console.tape else { return Err(KeeperRefusal::Lost) };
        let from = tape.ring().lines_back(usize::from(held.spec.console.replay_lines));
        let (manner, outbox) = match speaks {
            Speaks::Raw => (Manner::Raw, Outbox::raw(Vec::new(), from)),
            Speaks::ProcServ => {
                let mut words = self.banner(slot, entering.may_write).unwrap_or_default().into_bytes();
                words.extend_from_slice(&REQUESTS);
                (Manner::Keys(Receiver::default()), Outbox::new(words, from))
            }
        };
        let id = self.sit(slot, socket, manner, outbox, entering)?;
        self.flush_viewer(id);
        Ok(())
    }

    /// Everybody is let go, and nobody comes in any more.
    pub(super) fn close_console(&mut self, held: &Held) {
        for id in &held.console.viewers {
            if let Some(mut viewer) = self.viewers.remove(id) {
                if let Some(tape) = &held.console.tape {
                    viewer.flush(tape.ring());
                }
                viewer.part("released");
                let _ = self.epoll.delete(&viewer.socket);
            }
        }
        self.doors.retain(|_, (slot, _)| self.held.contains_key(slot));
        for (listener, spec) in held.console.listeners.iter().zip(&held.spec.console.listeners) {
            let _ = self.epoll.delete(listener);
            if let Place::Unix { path, .. } = &spec.place {
                // Somebody may have removed it already.
                let _ = fs::remove_file(path);
            }
        }
        self.forget_tape(held.console.tape.as_ref().map_or(0, crate::keeper::tape::Tape::capacity));
    }
}

/// Who it is and what it may; `None` if it is not let in.
fn guest(socket: &OwnedFd, spec: &ListenerSpec, access: &[ConsoleAccess]) -> Option<(String, String, bool)> {
    match &spec.place {
        Place::Tcp { .. } => {
            let peer = peer_address(socket)?;
            spec.admits(peer.ip()).then(|| ("telnet".to_owned(), peer.ip().to_canonical().to_string(), spec.write))
        }
        Place::Unix { .. } => {
            let peer = getsockopt(socket, sockopt::PeerCredentials).ok()?;
            let account = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten();
            let name = account.map_or_else(|| format!("uid {}", peer.uid()), |account| account.name);
            let groups: Vec<String> = Group::from_gid(nix::unistd::Gid::from_raw(peer.gid()))
                .ok()
                .flatten()
                .map(|group| group.name)
                .into_iter()
                .collect();
            let level = level(access, &name, &groups, spec.write);
            (level != AccessLevel::None).then(|| (name, "local".to_owned(), level == AccessLevel::Write))
        }
    }
}

/// What the access list says of somebody; where it says nothing of anybody, the listener itself decides.
fn level(access: &[ConsoleAccess], user: &str, groups: &[String], write: bool) -> AccessLevel {
    if access.is_empty() {
        return if write { AccessLevel::Write } else { AccessLevel::Read };
    }
    let matches = |entry: &&ConsoleAccess| match &entry.who {
        Who::User(name) => name == user,
        Who::Group(name) => groups.contains(name),
    };
    access.iter().find(matches).map_or(AccessLevel::None, |entry| entry.level)
}

fn peer_address(socket: &OwnedFd) -> Option<SocketAddr> {
    let address: nix::sys::socket::SockaddrStorage = getpeername(socket.as_raw_fd()).ok()?;
    if let Some(four) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(four.ip().into(), four.port()));
    }
    address.as_sockaddr_in6().map(|six| SocketAddr::new(six.ip().into(), six.port()))
}

/// The listeners of a console, all or none.
pub(super) fn open(spec: &ConsoleSpec) -> Result<Vec<OwnedFd>, KeeperRefusal> {
    spec.listeners.iter().map(open_one).collect()
}

fn open_one(spec: &ListenerSpec) -> Result<OwnedFd, KeeperRefusal> {
    let refused = |error: io::Error| KeeperRefusal::System {
        what: format!("opening the console's `{}`", spec.place),
        reason: error.to_string(),
    };
    let fd: OwnedFd = match &spec.place {
        Place::Tcp { address } => std::net::TcpListener::bind(address).map_err(refused)?.into(),
        Place::Unix { path, mode, group } => open_unix(path, *mode, group.as_deref()).map_err(refused)?.into(),
    };
    let backlog = Backlog::new(CONNECTIONS_WAITING_MAX).map_err(|error| refused(error.into()))?;
    listen(&fd.as_fd(), backlog).map_err(|error| refused(error.into()))?;
    crate::sys::spawn::set_nonblocking(&fd).map_err(|error| refused(error.into()))?;
    Ok(fd)
}

/// The socket file of a dead server is replaced, that of a living one is respected.
fn open_unix(path: &Path, mode: u32, group: Option<&str>) -> io::Result<UnixListener> {
    let gid = match group {
        None => None,
        Some(name) => {
            let group = Group::from_name(name).map_err(io::Error::from)?;
            Some(group.ok_or_else(|| io::Error::other(format!("there is no group `{name}` on this host")))?.gid)
        }
    };
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match fs::symlink_metadata(path) {
        Ok(facts) if !std::os::unix::fs::FileTypeExt::is_socket(&facts.file_type()) => {
            return Err(io::Error::other("there is a file of that name that is no socket"));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    // Nobody else gets in between the bind and the change of its mode.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound?;
    if let Some(gid) = gid {
        chown(path, None, Some(gid.as_raw()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_list_decides_where_there_is_one() {
        let list = [
            ConsoleAccess { who: Who::User("alice".into()), level: AccessLevel::Write },
            ConsoleAccess { who: Who::Group("ops".into()), level: AccessLevel::Read },
        ];
        let ops = ["ops".to_owned()];
        assert_eq!(level(&list, "alice", &[], false), AccessLevel::Write);
        assert_eq!(level(&list, "bob", &ops, true), AccessLevel::Read);
        assert_eq!(level(&list, "eve", &[], true), AccessLevel::None);
        assert_eq!(level(&[], "eve", &[], false), AccessLevel::Read);
        assert_eq!(level(&[], "eve", &[], true), AccessLevel::Write);
    }

    #[test]
    fn a_socket_has_its_mode_and_a_living_one_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let first = open_unix(&path, 0o660, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(open_unix(&path, 0o660, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        drop(open_unix(&path, 0o600, None).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(open_unix(&path, 0o600, None).unwrap_err().to_string().contains("no socket"));
        assert!(open_unix(&folder.path().join("y"), 0o600, Some("no-such-group")).is_err());
    }
}
