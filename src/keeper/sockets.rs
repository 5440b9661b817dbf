//! The sockets of consoles' listeners, and who connects to them: opened, taken away and looked up on a worker's thread,
//! because a path may be on a slow disk and an account in a slow data base.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getpeername, getsockopt, listen, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::container::access::{AccessLevel, ConsoleAccess};
use crate::container::console::{ListenerSpec, Place};

const CONNECTIONS_WAITING_MAX: i32 = 64;
/// Of one account; more do not count.
const GROUPS_MAX: usize = 256;

/// A listener that was tried.
#[derive(Debug)]
pub struct Tried {
    pub spec: ListenerSpec,
    pub socket: Result<OwnedFd, String>,
}

/// Who has connected, as far as anybody vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// The host does.
    Local { uid: u32, user: String, groups: Vec<String> },
    /// Nobody does.
    Remote { address: IpAddr },
}

impl Guest {
    /// Over TCP, known without a look at anything slow.
    pub fn remote(socket: &OwnedFd) -> Option<Self> {
        let address: nix::sys::socket::SockaddrStorage = getpeername(socket.as_raw_fd()).ok()?;
        let four = address.as_sockaddr_in().map(|four| IpAddr::from(four.ip()));
        let address = four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::from(six.ip())))?;
        Some(Self::Remote { address: address.to_canonical() })
    }

    pub fn local(socket: &OwnedFd) -> Option<Self> {
        let peer = getsockopt(socket, sockopt::PeerCredentials).ok()?;
        let account = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten();
        let Some(account) = account else {
            return Some(Self::Local { uid: peer.uid(), user: format!("uid {}", peer.uid()), groups: Vec::new() });
        };
        let name = std::ffi::CString::new(account.name.clone()).ok()?;
        let gids = getgrouplist(&name, Gid::from_raw(peer.gid())).unwrap_or_default();
        let groups = gids.into_iter().take(GROUPS_MAX).filter_map(|gid| Group::from_gid(gid).ok().flatten());
        let groups = groups.map(|group| group.name).collect();
        Some(Self::Local { uid: peer.uid(), user: account.name, groups })
    }

    /// What it may at a listener.
    pub fn level(&self, listener: &ListenerSpec, access: &[ConsoleAccess]) -> AccessLevel {
        let open = if listener.write { AccessLevel::Write } else { AccessLevel::Read };
        match self {
            Self::Remote { address } if listener.admits(*address) => open,
            Self::Remote { .. } => AccessLevel::None,
            // Who could read and write everything of the keeper anyway.
            Self::Local { uid, .. } if *uid == 0 || *uid == nix::unistd::getuid().as_raw() => open,
            Self::Local { .. } if access.is_empty() => open,
            Self::Local { user, groups, .. } => ConsoleAccess::level(access, user, groups).min(open),
        }
    }

    /// Name and place, as lists and marks show it.
    pub fn shown(&self) -> (String, String) {
        match self {
            Self::Local { user, .. } => (user.clone(), "local".to_owned()),
            Self::Remote { address } => ("telnet".to_owned(), address.to_string()),
        }
    }
}

/// Takes away what is not wanted any more, then opens what is.
pub fn exchange(leaving: Vec<(Place, OwnedFd)>, wanted: Vec<ListenerSpec>) -> Vec<Tried> {
    for (place, socket) in leaving {
        drop(socket);
        if let Place::Unix { path, .. } = place {
            // Somebody may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
    wanted
        .into_iter()
        .map(|spec| {
            let socket = open(&spec).map_err(|error| error.to_string());
            Tried { spec, socket }
        })
        .collect()
}

/// Where a socket is: it may have been given a port.
pub fn place_of(spec: &ListenerSpec, socket: &OwnedFd) -> String {
    match &spec.place {
        Place::Tcp { .. } => local_address(socket).map_or_else(|| spec.place.to_string(), |at| format!("tcp:{at}")),
        Place::Unix { .. } => spec.place.to_string(),
    }
}

fn local_address(socket: &OwnedFd) -> Option<SocketAddr> {
    let address: nix::sys::socket::SockaddrStorage = nix::sys::socket::getsockname(socket.as_raw_fd()).ok()?;
    if let Some(four) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(four.ip().into(), four.port()));
    }
    address.as_sockaddr_in6().map(|six| SocketAddr::new(six.ip().into(), six.port()))
}

fn open(spec: &ListenerSpec) -> io::Result<OwnedFd> {
    let fd: OwnedFd = match &spec.place {
        Place::Tcp { address } => std::net::TcpListener::bind(address)?.into(),
        Place::Unix { path, mode, owner, group } => open_unix(path, *mode, owner.as_deref(), group.as_deref())?.into(),
    };
    listen(&fd.as_fd(), Backlog::new(CONNECTIONS_WAITING_MAX)?)?;
    crate::sys::spawn::set_nonblocking(&fd)?;
    Ok(fd)
}

/// The socket file of a dead server is replaced, that of a living one is respected.
fn open_unix(path: &Path, mode: u32, owner: Option<&str>, group: Option<&str>) -> io::Result<UnixListener> {
    let unknown = |what: &str, name: &str| io::Error::other(format!("there is no {what} `{name}` on this host"));
    let uid = match owner {
        None => None,
        Some(name) => Some(User::from_name(name)?.ok_or_else(|| unknown("account", name))?.uid),
    };
    let gid = match group {
        None => None,
        Some(name) => Some(Group::from_name(name)?.ok_or_else(|| unknown("group", name))?.gid),
    };
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else serves it"));
    }
    match fs::symlink_metadata(path) {
        Ok(facts) if !facts.file_type().is_socket() => {
            return Err(io::Error::other("there is a file of that name that is no socket"));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // The file gets the mode that the socket has: nobody else gets in before it is the one that was asked for. The umask
    // would do as well, but belongs to all threads.
    fchmod(&socket, Mode::from_bits_truncate(0o600))?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let listener = UnixListener::from(socket);
    if uid.is_some() || gid.is_some() {
        chown(path, uid.map(Uid::as_raw), gid.map(Gid::as_raw))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::access::{Verb, Who};
    use crate::container::console::{Network, Speaks};

    fn unix(path: &Path, mode: u32) -> ListenerSpec {
        let place = Place::Unix { path: path.to_owned(), mode, owner: None, group: None };
        ListenerSpec { place, speaks: Speaks::Raw, write: true, sources: vec![] }
    }

    #[test]
    fn a_socket_has_its_mode_and_a_living_one_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let first = open(&unix(&path, 0o660)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(open(&unix(&path, 0o660)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        drop(open(&unix(&path, 0o600)).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(open(&unix(&path, 0o600)).unwrap_err().to_string().contains("no socket"));
        let said = open_unix(&folder.path().join("y"), 0o600, None, Some("no-such-group")).unwrap_err().to_string();
        assert_eq!(said, "there is no group `no-such-group` on this host");
        assert!(open_unix(&folder.path().join("y"), 0o600, Some("no-such-account"), None).is_err());
    }

    #[test]
    fn a_listener_that_moves_leaves_no_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let first = open(&unix(&path, 0o660)).unwrap();
        let tried = exchange(vec![(unix(&path, 0o660).place, first)], vec![unix(&path, 0o600)]);
        assert!(tried[0].socket.is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = tried.into_iter().next().unwrap().socket.unwrap();
        exchange(vec![(unix(&path, 0o600).place, second)], vec![]);
        assert!(!path.exists());
    }

    #[test]
    fn who_is_known_is_judged_by_the_list_and_who_is_not_by_the_listener() {
        let entry = |who, verb| ConsoleAccess { who, verb, permits: true };
        let list = [
            entry(Who::Group("ops".into()), Verb::Read),
            entry(Who::User("alice".into()), Verb::Read),
            entry(Who::User("alice".into()), Verb::Write),
        ];
        let mut listener = unix(Path::new("/x"), 0o660);
        let local = |user: &str, uid| Guest::Local { uid, user: user.into(), groups: vec!["ops".into()] };
        assert_eq!(local("alice", 70_001).level(&listener, &list), AccessLevel::Write);
        assert_eq!(local("bob", 70_001).level(&listener, &list), AccessLevel::Read);
        assert_eq!(local("root", 0).level(&listener, &list), AccessLevel::Write);
        assert_eq!(local("bob", 70_001).level(&listener, &[]), AccessLevel::Write);
        listener.write = false;
        assert_eq!(local("alice", 70_001).level(&listener, &list), AccessLevel::Read);
        listener.sources = vec![Network::parse("10.0.0.0/8").unwrap()];
        let remote = |address: &str| Guest::Remote { address: address.parse().unwrap() };
        assert_eq!(remote("10.1.1.1").level(&listener, &list), AccessLevel::Read);
        assert_eq!(remote("11.1.1.1").level(&listener, &list), AccessLevel::None);
    }
}
