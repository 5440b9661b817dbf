//! Listening sockets that outlive the agent: left with whoever keeps deposits, and taken up by its next life.
//!
//! Must not know: who comes in by them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{Backlog, getsockopt, listen, sockopt};

use super::deposit::Deposited;
use super::keeping::Deposit;

/// Connections that wait for `accept`: while an agent restarts, its clients wait here.
const LISTEN_BACKLOG: i32 = 1024;

/// What stands before the address in the keys of listeners that the command line or the settings file ask for.
pub const SSH: &str = "listen ssh ";
pub const XMLRPC: &str = "listen xmlrpc ";

/// The listener of this kind for `address`: the one that an earlier life of the agent left (taken out of `deposits`), or a new one,
/// which is left in turn. The key holds the address as it was asked for, so that a port that 0 picked stays the same.
pub fn adopt_or_bind_tcp(
    deposits: &mut Vec<Deposited>,
    keeping: Option<&mut dyn Deposit>,
    kind: &str,
    address: SocketAddr,
) -> io::Result<TcpListener> {
    let key = format!("{kind}{address}");
    if let Some(listener) = adopt_tcp(deposits, &key, address) {
        return Ok(listener);
    }
    // std sets SO_REUSEADDR and close-on-exec; listening again on the same socket only changes its backlog.
    let listener = TcpListener::bind(address)?;
    listen(&listener, Backlog::new(LISTEN_BACKLOG)?)?;
    listener.set_nonblocking(true)?;
    if let Some(keeping) = keeping
        && let Err(error) = keeping.put(&key, &[], &[listener.as_fd()])
    {
        tracing::warn!(%address, %error, "the listener is not deposited: a restarted agent has to bind it anew");
    }
    Ok(listener)
}

/// The listeners that earlier lives have left under `prefix` and their address, taken out of `deposits`. What is under such
/// a key and is no listener any more stays there, for [`drop_listeners_left`].
pub fn adopt_listeners(deposits: &mut Vec<Deposited>, prefix: &str) -> Vec<(SocketAddr, TcpListener)> {
    let mut adopted = Vec::new();
    deposits.retain_mut(|deposited| {
        let address = deposited.key.strip_prefix(prefix).and_then(|address| address.parse().ok());
        let Some(address) = address else { return true };
        let Some(listener) = deposited.fds.pop().and_then(|listener| as_listener(listener, address)) else {
            return true;
        };
        adopted.push((address, listener));
        false
    });
    adopted
}

/// Closes the listeners of earlier lives that this one has not adopted.
pub fn drop_listeners_left(deposits: &mut Vec<Deposited>, mut keeping: Option<&mut (dyn Deposit + 'static)>) {
    deposits.retain(|deposited| {
        if !deposited.key.starts_with("listen ") {
            return true;
        }
        if let Some(keeping) = &mut keeping
            && let Err(error) = keeping.take_back(&deposited.key)
        {
            tracing::warn!(key = deposited.key, %error, "an unused listener stays deposited");
        }
        false
    });
}

fn adopt_tcp(deposits: &mut Vec<Deposited>, key: &str, address: SocketAddr) -> Option<TcpListener> {
    let index = deposits.iter().position(|deposited| deposited.key == key)?;
    let deposited = deposits.swap_remove(index);
    as_listener(deposited.fds.into_iter().next()?, address)
}

fn as_listener(descriptor: OwnedFd, address: SocketAddr) -> Option<TcpListener> {
    let listener = TcpListener::from(descriptor);
    let local = listener.local_addr().ok()?;
    let is_same = local.ip() == address.ip() && (address.port() == 0 || local.port() == address.port());
    let is_listening = getsockopt(&listener, sockopt::AcceptConn).unwrap_or(false);
    if !is_same || !is_listening || listener.set_nonblocking(true).is_err() {
        return None;
    }
    Some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(key: &str, socket: impl Into<OwnedFd>) -> Deposited {
        Deposited { key: key.to_owned(), bytes: Vec::new(), fds: vec![socket.into()] }
    }

    #[test]
    fn of_what_is_left_under_addresses_only_what_listens_there_is_taken_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut deposits = vec![
            left(&format!("listen x {address}"), listener),
            left("listen x 127.0.0.2:1", elsewhere),
            left(&format!("listen x {}", deaf.local_addr().unwrap()), deaf),
            left(&format!("listen y {address}"), TcpListener::bind("127.0.0.1:0").unwrap()),
        ];
        let adopted = adopt_listeners(&mut deposits, "listen x ");
        assert_eq!(adopted.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [address]);
        assert_eq!(deposits.len(), 3, "the others are for whoever drops them");
    }
}
