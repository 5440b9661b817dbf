//! The sockets that are bound: a commit binds what it needs before it is recorded, and refuses where it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys::tcp;

#[derive(Debug, Clone, Default)]
pub struct Sockets(Arc<Mutex<BTreeMap<SocketAddr, TcpListener>>>);

impl Sockets {
    /// Binds those of `wanted` that are not bound yet, all or none; gives the new ones.
    pub fn reserve(&self, wanted: &BTreeSet<SocketAddr>) -> Result<Vec<SocketAddr>, (SocketAddr, io::Error)> {
        let mut bound = self.lock();
        let mut fresh = Vec::new();
        for address in wanted.iter().filter(|address| !bound.contains_key(address)) {
            match tcp::listener(*address) {
                Ok(listener) => fresh.push((*address, listener)),
                Err(error) => return Err((*address, error)),
            }
        }
        let addresses = fresh.iter().map(|(address, _)| *address).collect();
        bound.extend(fresh);
        Ok(addresses)
    }

    pub fn release(&self, addresses: &[SocketAddr]) {
        let mut bound = self.lock();
        for address in addresses {
            bound.remove(address);
        }
    }

    /// Those that are closed.
    pub fn keep_only(&self, wanted: &BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
        let mut bound = self.lock();
        let closed: Vec<SocketAddr> = bound.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in &closed {
            bound.remove(address);
        }
        closed
    }

    /// One that somebody else has bound, at this address or, where that leaves the port open, in its place.
    pub fn adopt(&self, address: SocketAddr, listener: TcpListener) {
        self.lock().insert(address, listener);
    }

    /// A descriptor of its own for whoever accepts; binds the address where that has not been possible before.
    pub fn open(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let mut bound = self.lock();
        if let Some(listener) = bound.get(&address) {
            return listener.try_clone();
        }
        let listener = tcp::listener(address)?;
        let copy = listener.try_clone()?;
        bound.insert(address, listener);
        Ok(copy)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> SocketAddr {
        tcp::listener("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap()
    }

    #[test]
    fn either_all_addresses_are_bound_or_none() {
        let taken = tcp::listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let (good, bad) = (free(), taken.local_addr().unwrap());
        let sockets = Sockets::default();
        let (address, error) = sockets.reserve(&BTreeSet::from([good, bad])).unwrap_err();
        assert_eq!((address, error.kind()), (bad, io::ErrorKind::AddrInUse));
        assert_eq!(sockets.reserve(&BTreeSet::from([good])).unwrap(), [good]);
        assert!(sockets.reserve(&BTreeSet::from([good])).unwrap().is_empty(), "it is bound already");
        sockets.release(&[good]);
        tcp::listener(good).unwrap();
    }
}
