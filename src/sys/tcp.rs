//! TCP sockets as a server wants them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, shutdown, socket,
    sockopt,
};

/// Connections that wait for `accept`.
const LISTEN_BACKLOG: i32 = 1024;
/// Between two questions whether the other side is there, and how many go unanswered before it is gone.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 4;

/// A listener that does not block. One on all IPv6 addresses leaves those of IPv4 to others.
pub fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(LISTEN_BACKLOG)?)?;
    Ok(TcpListener::from(socket))
}

/// Nobody is let in any more, by none of the copies that there may be of it; its address is free.
pub fn stop_listening(listener: &TcpListener) {
    // It fails only where nobody listens any more.
    let _ = shutdown(listener.as_fd().as_raw_fd(), Shutdown::Both);
}

/// Has the kernel ask whether the other side is there, after a silence of `idle`.
pub fn keep_alive(socket: &impl AsFd, idle: Duration) -> io::Result<()> {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &seconds(idle))?;
    setsockopt(socket, sockopt::TcpKeepInterval, &seconds(PROBE_EVERY))?;
    setsockopt(socket, sockopt::TcpKeepCount, &PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_both_kinds_can_be_listened_on_at_one_port() {
        let four = listener("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.local_addr().unwrap().port();
        match listener(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))) {
            Ok(six) => assert_eq!(six.local_addr().unwrap().port(), port),
            // A host without IPv6.
            Err(error) => assert_eq!(error.raw_os_error(), Some(nix::libc::EAFNOSUPPORT)),
        }
        assert_eq!(listener(four.local_addr().unwrap()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
