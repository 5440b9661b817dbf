//! What the agent leaves for its next life with whoever keeps it: its listening sockets; and word of that keeper itself.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tracing::warn;

use crate::keeper::deposit::Deposited;
use crate::keeper::keeping::{Deposit, Orphan};
use crate::keeper::listeners;
use crate::transport::Holder;

/// What stands before the address under which listeners are left: those of endpoints, and those for conserver's client.
const ENDPOINT: &str = "listen netconf ";
const CONSERVER: &str = "listen conserver ";

/// The custodian or systemd, where one of them has started this process; shared by all who leave something with it.
#[derive(Clone)]
pub(super) struct Custody(Arc<Mutex<Option<Box<dyn Deposit>>>>);

/// What earlier lives of the agent have left.
pub(super) struct Left {
    deposits: Vec<Deposited>,
    pub(super) endpoints: Vec<(SocketAddr, TcpListener)>,
    pub(super) conserver: Vec<(SocketAddr, TcpListener)>,
}

/// Where one kind of listeners is left.
struct Shelf {
    custody: Custody,
    kind: &'static str,
}

impl Custody {
    pub(super) fn new(mut client: Option<Box<dyn Deposit>>) -> anyhow::Result<(Self, Left)> {
        let mut deposits = match &mut client {
            Some(client) => client.fetch().context("what an earlier life has left cannot be fetched")?,
            None => Vec::new(),
        };
        let endpoints = listeners::adopt_listeners(&mut deposits, ENDPOINT);
        let conserver = listeners::adopt_listeners(&mut deposits, CONSERVER);
        Ok((Self(Arc::new(Mutex::new(client))), Left { deposits, endpoints, conserver }))
    }

    pub(super) fn of_endpoints(&self) -> Arc<dyn Holder> {
        Arc::new(Shelf { custody: self.clone(), kind: ENDPOINT })
    }

    pub(super) fn of_conserver(&self) -> Arc<dyn Holder> {
        Arc::new(Shelf { custody: self.clone(), kind: CONSERVER })
    }

    /// A listener of the command line or the settings file: what is left of it, or a new one.
    pub(super) fn listener(&self, left: &mut Left, kind: &str, address: SocketAddr) -> std::io::Result<TcpListener> {
        let mut client = self.lock();
        let keeping = client.as_deref_mut().map(|client| client as &mut dyn Deposit);
        listeners::adopt_or_bind_tcp(&mut left.deposits, keeping, kind, address)
    }

    /// What nobody has taken up.
    pub(super) fn drop_listeners(&self, mut left: Left) {
        listeners::drop_listeners_left(&mut left.deposits, self.lock().as_deref_mut());
    }

    /// We serve. A descriptor that can be read when there is something to hear; `None` where nobody keeps us.
    pub(super) fn ready(&self) -> Option<OwnedFd> {
        let mut client = self.lock();
        let client = client.as_mut()?;
        if let Err(error) = client.ready() {
            warn!(%error, "whoever keeps us is not told that we serve");
        }
        client.notices()?.try_clone_to_owned().ok()
    }

    /// To be asked when there is something to hear; an error once the custodian is gone.
    pub(super) fn receive(&self) -> nix::Result<Option<Orphan>> {
        self.lock().as_mut().map_or(Ok(None), |client| client.reaped())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Deposit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn key(&self, address: SocketAddr) -> String {
        format!("{}{address}", self.kind)
    }
}

impl Holder for Shelf {
    fn hold(&self, address: SocketAddr, listener: &TcpListener) -> bool {
        let mut client = self.custody.lock();
        let Some(client) = &mut *client else { return false };
        let put = client.put(&self.key(address), &[], &[listener.as_fd()]);
        if let Err(error) = put {
            warn!(%address, %error, "the listener is not deposited: a restarted agent has to bind it anew");
        }
        put.is_ok()
    }

    fn let_go(&self, address: SocketAddr) {
        if let Some(client) = &mut *self.custody.lock()
            && let Err(error) = client.take_back(&self.key(address))
        {
            warn!(%address, %error, "a listener that is not used any more stays deposited");
        }
    }
}
