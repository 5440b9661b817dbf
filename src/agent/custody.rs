//! The agent's side of the custodian: listening sockets that outlive the agent, and word of the custodian itself.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tracing::warn;

use crate::keeper::deposit::{self, DepositClient, Deposited, Notice};
use crate::transport::Holder;

/// What stands before the address under which listeners are left: those of endpoints, and those for conserver's client.
const ENDPOINT: &str = "listen netconf ";
const CONSERVER: &str = "listen conserver ";

/// The custodian, where one has started this process; shared by all who leave something with it.
#[derive(Clone)]
pub(super) struct Custody(Arc<Mutex<Option<DepositClient>>>);

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
    pub(super) fn new(mut client: Option<DepositClient>) -> anyhow::Result<(Self, Left)> {
        let mut deposits = match &mut client {
            Some(client) => client.fetch().context("the custodian does not answer")?,
            None => Vec::new(),
        };
        let endpoints = deposit::adopt_listeners(&mut deposits, ENDPOINT);
        let conserver = deposit::adopt_listeners(&mut deposits, CONSERVER);
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
        deposit::adopt_or_bind_tcp(&mut left.deposits, &mut self.lock(), kind, address)
    }

    /// What nobody has taken up.
    pub(super) fn drop_listeners(&self, mut left: Left) {
        deposit::drop_listeners_left(&mut left.deposits, &mut self.lock());
    }

    /// We serve. A descriptor that can be read when the custodian has something to say; `None` where there is none.
    pub(super) fn ready(&self) -> Option<OwnedFd> {
        let client = self.lock();
        let client = client.as_ref()?;
        if let Err(error) = client.ready() {
            warn!(%error, "the custodian is not told that we serve");
        }
        client.as_fd().try_clone_to_owned().ok()
    }

    /// What the custodian has to say; an error once it is gone.
    pub(super) fn receive(&self) -> nix::Result<Option<Notice>> {
        self.lock().as_mut().map_or(Ok(None), DepositClient::receive)
    }

    fn lock(&self) -> MutexGuard<'_, Option<DepositClient>> {
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
            && let Err(error) = client.drop(&self.key(address))
        {
            warn!(%address, %error, "a listener that is not used any more stays deposited");
        }
    }
}
