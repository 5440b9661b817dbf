//! The sockets that are bound: a commit binds what it needs before it is recorded, and refuses where it cannot.
//!
//! Somebody else holds a copy of each, so that the next life of this process goes on with the very same. An address that
//! is given up stops listening at once, whoever has a copy, and can be bound again while the holder still has to hear.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Holder;
use crate::sys::tcp;

#[derive(Clone)]
pub struct Sockets(Arc<Inside>);

struct Inside {
    table: Mutex<Table>,
    /// Locked while the holder is told, which may be long: before `table`, never within.
    telling: Mutex<()>,
    holder: Arc<dyn Holder>,
}

#[derive(Default)]
struct Table {
    /// What the committed configuration listens on.
    wanted: BTreeSet<SocketAddr>,
    bound: BTreeMap<SocketAddr, Bound>,
    /// Given up, and the holder has not heard of it.
    leaving: BTreeSet<SocketAddr>,
}

struct Bound {
    listener: TcpListener,
    is_held: bool,
}

impl Sockets {
    /// `left` is what an earlier life of this process has left with the holder.
    pub fn new(left: Vec<(SocketAddr, TcpListener)>, holder: Arc<dyn Holder>) -> Self {
        let held = |(address, listener)| (address, Bound { listener, is_held: true });
        let table = Table { bound: left.into_iter().map(held).collect(), ..Table::default() };
        Self(Arc::new(Inside { table: Mutex::new(table), telling: Mutex::new(()), holder }))
    }

    /// Binds those of `wanted` that are not bound yet, all or none; gives the new ones.
    pub fn reserve(&self, wanted: &BTreeSet<SocketAddr>) -> Result<Vec<SocketAddr>, (SocketAddr, io::Error)> {
        let mut table = self.lock();
        let mut fresh = Vec::new();
        for address in wanted.iter().filter(|address| !table.bound.contains_key(address)) {
            match tcp::listener(*address) {
                Ok(listener) => fresh.push((*address, Bound { listener, is_held: false })),
                Err(error) => return Err((*address, error)),
            }
        }
        let addresses = fresh.iter().map(|(address, _)| *address).collect();
        table.bound.extend(fresh);
        Ok(addresses)
    }

    pub fn release(&self, addresses: &[SocketAddr]) {
        let mut table = self.lock();
        for address in addresses {
            table.give_up(*address);
        }
    }

    pub fn keep_only(&self, wanted: BTreeSet<SocketAddr>) {
        let mut table = self.lock();
        let others: Vec<SocketAddr> = table.bound.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in others {
            table.give_up(address);
        }
        table.wanted = wanted;
    }

    /// A descriptor of its own for whoever accepts; binds the address where that has not been possible before.
    pub fn open(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let mut table = self.lock();
        if let Some(bound) = table.bound.get(&address) {
            return bound.listener.try_clone();
        }
        // Whoever accepts may hear later than we that nobody is to.
        if !table.wanted.contains(&address) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let listener = tcp::listener(address)?;
        let copy = listener.try_clone()?;
        table.bound.insert(address, Bound { listener, is_held: false });
        Ok(copy)
    }

    /// Has the holder keep what is bound, and nothing else. Blocks for as long as the holder does.
    pub fn hand_over(&self) {
        let _turn = lock(&self.0.telling);
        let mut fresh = Vec::new();
        let mut left = {
            let mut table = self.lock();
            for (address, bound) in table.bound.iter_mut().filter(|(_, bound)| !bound.is_held) {
                // One that cannot be copied is not held, which costs no more than to bind it anew.
                if let Ok(copy) = bound.listener.try_clone() {
                    bound.is_held = true;
                    fresh.push((*address, copy));
                }
            }
            std::mem::take(&mut table.leaving)
        };
        for (address, listener) in fresh {
            // What is left under an address takes the place of what was there.
            if self.0.holder.hold(address, &listener) {
                left.remove(&address);
            } else if let Some(bound) = self.lock().bound.get_mut(&address) {
                bound.is_held = false;
            }
        }
        for address in left {
            self.0.holder.let_go(address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0.table)
    }
}

impl Table {
    fn give_up(&mut self, address: SocketAddr) {
        let Some(bound) = self.bound.remove(&address) else { return };
        tcp::stop_listening(&bound.listener);
        if bound.is_held {
            self.leaving.insert(address);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what it is told.
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Notes {
        fn taken(&self) -> Vec<String> {
            std::mem::take(&mut lock(&self.0))
        }
    }

    impl Holder for Notes {
        fn hold(&self, address: SocketAddr, listener: &TcpListener) -> bool {
            assert_eq!(listener.local_addr().unwrap(), address);
            lock(&self.0).push(format!("hold {address}"));
            true
        }

        fn let_go(&self, address: SocketAddr) {
            lock(&self.0).push(format!("let go {address}"));
        }
    }

    fn any() -> TcpListener {
        tcp::listener("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    fn free() -> SocketAddr {
        any().local_addr().unwrap()
    }

    #[test]
    fn either_all_addresses_are_bound_or_none() {
        let taken = any();
        let (good, bad) = (free(), taken.local_addr().unwrap());
        let sockets = Sockets::new(Vec::new(), Arc::new(Notes::default()));
        let (address, error) = sockets.reserve(&BTreeSet::from([good, bad])).unwrap_err();
        assert_eq!((address, error.kind()), (bad, io::ErrorKind::AddrInUse));
        assert_eq!(sockets.reserve(&BTreeSet::from([good])).unwrap(), [good]);
        assert!(sockets.reserve(&BTreeSet::from([good])).unwrap().is_empty(), "it is bound already");
        sockets.release(&[good]);
        tcp::listener(good).unwrap();
    }

    #[test]
    fn what_is_bound_is_held_and_what_is_given_up_is_let_go() {
        let left = any();
        let (old, new) = (left.local_addr().unwrap(), free());
        let notes = Arc::new(Notes::default());
        let sockets = Sockets::new(vec![(old, left)], notes.clone());
        sockets.keep_only(BTreeSet::from([old]));
        sockets.hand_over();
        assert!(notes.taken().is_empty(), "it is held already");
        // An address that an earlier life has left is not bound a second time, which would fail.
        assert_eq!(sockets.open(old).unwrap().local_addr().unwrap(), old);
        sockets.reserve(&BTreeSet::from([new])).unwrap();
        sockets.hand_over();
        assert_eq!(notes.taken(), [format!("hold {new}")]);
        sockets.keep_only(BTreeSet::from([new]));
        sockets.hand_over();
        assert_eq!(notes.taken(), [format!("let go {old}")]);
    }

    #[test]
    fn an_address_that_is_given_up_listens_no_more_and_can_be_bound_at_once() {
        let left = any();
        let address = left.local_addr().unwrap();
        let notes = Arc::new(Notes::default());
        let sockets = Sockets::new(vec![(address, left)], notes.clone());
        sockets.keep_only(BTreeSet::from([address]));
        let copy = sockets.open(address).unwrap();
        sockets.keep_only(BTreeSet::new());
        assert_eq!(copy.accept().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(sockets.open(address).unwrap_err().kind(), io::ErrorKind::NotFound);
        // The holder has not heard yet, and is not told to let go of what comes in the place.
        sockets.reserve(&BTreeSet::from([address])).unwrap();
        sockets.hand_over();
        assert_eq!(notes.taken(), [format!("hold {address}")]);
        std::net::TcpStream::connect(address).unwrap();
    }
}
