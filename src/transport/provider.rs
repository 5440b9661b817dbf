//! The northbound's face of the transports: judges keys and certificates, binds sockets, hands over the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::PrivateKey;
use tokio::sync::watch;
use tracing::error;

use super::board::{Board, Way};
use super::config::{self, Client, Endpoint, KEYSTORE, Plan, SERVER, TRUSTSTORE, Transport};
use super::keys;
use super::sockets::Sockets;
use super::tls::Side;
use crate::northbound::provider::{Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::ssh::host_key;
use crate::yang::value::Element;

/// The plan with the secrets that it names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Counts the plans.
    pub(super) number: u64,
    pub(super) listen: BTreeMap<String, (Endpoint, Secret)>,
    pub(super) call: BTreeMap<String, (Client, Vec<Secret>)>,
}

#[derive(Debug, Clone)]
pub(super) enum Secret {
    HostKeys(Vec<PrivateKey>),
    Tls(Arc<Side>),
}

pub struct TransportProvider {
    keys: PathBuf,
    sockets: Sockets,
    wanted: watch::Sender<Arc<Wanted>>,
    board: Board,
    /// Bound for the commit that is being prepared.
    reserved: Vec<SocketAddr>,
}

impl TransportProvider {
    /// `keys` is the folder of the private keys.
    pub(super) fn new(keys: PathBuf, sockets: Sockets, wanted: watch::Sender<Arc<Wanted>>, board: Board) -> Self {
        Self { keys, sockets, wanted, board, reserved: Vec::new() }
    }

    /// The secrets of a plan; what cannot be had is refused, and left out.
    fn gather(&self, plan: &Plan) -> (Wanted, BTreeMap<Way, Refusal>) {
        let mut wanted = Wanted::default();
        let mut refusals = BTreeMap::new();
        for (name, endpoint) in &plan.listen {
            match self.secret(&endpoint.transport) {
                Ok(secret) => drop(wanted.listen.insert(name.clone(), (endpoint.clone(), secret))),
                Err(refusal) => drop(refusals.insert(
                    Way::Endpoint(name.clone()),
                    refusal.at(format!("{SERVER}/listen/endpoints/endpoint[name='{name}']")),
                )),
            }
        }
        for (name, client) in &plan.call {
            let secrets: Result<Vec<Secret>, Refusal> =
                client.remotes.iter().map(|remote| self.secret(&remote.transport)).collect();
            match secrets {
                Ok(secrets) => drop(wanted.call.insert(name.clone(), (client.clone(), secrets))),
                Err(refusal) => drop(refusals.insert(
                    Way::Client(name.clone()),
                    refusal.at(format!("{SERVER}/call-home/netconf-client[name='{name}']")),
                )),
            }
        }
        (wanted, refusals)
    }

    fn secret(&self, transport: &Transport) -> Result<Secret, Refusal> {
        let refuse = |error: &dyn std::fmt::Display| Refusal::new(Kind::InvalidValue, error.to_string());
        match transport {
            Transport::Ssh(ssh) => {
                let keys: Result<Vec<PrivateKey>, _> =
                    ssh.host_keys.iter().map(|name| host_key::load_named(&self.keys, name)).collect();
                Ok(Secret::HostKeys(keys.map_err(|error| refuse(&error))?))
            }
            Transport::Tls(tls) => {
                let key = keys::tls_key(&self.keys, &tls.key).map_err(|error| refuse(&error))?;
                Ok(Secret::Tls(Arc::new(Side::new(tls, key).map_err(|error| refuse(&error))?)))
            }
        }
    }
}

fn addresses(plan: &Plan) -> BTreeSet<SocketAddr> {
    plan.listen.values().flat_map(|endpoint| endpoint.binds.iter().copied()).collect()
}

impl Provider for TransportProvider {
    fn name(&self) -> &'static str {
        "transport"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[SERVER, KEYSTORE, TRUSTSTORE]
    }

    fn augmented_by(&self) -> &'static [&'static str] {
        &["procyon-netconf-server"]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[SERVER]
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (plan, mut refusals) = config::read(proposal.config);
        if refusals.is_empty() {
            refusals = self.gather(&plan).1.into_values().collect();
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn prepare(&mut self, proposal: &Proposal<'_>) -> Result<(), Refusal> {
        let (plan, _) = config::read(proposal.config);
        self.reserved = self.sockets.reserve(&addresses(&plan)).map_err(|(address, error)| {
            Refusal::new(Kind::ResourceDenied, format!("the device cannot listen on {address}: {error}"))
                .at(SERVER)
                .mend("choose another address or port, or end what has it (`ss -ltnp` names it)")
        })?;
        Ok(())
    }

    fn abort(&mut self) {
        self.sockets.release(&std::mem::take(&mut self.reserved));
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        self.reserved.clear();
        let (plan, refusals) = config::read(proposal.config);
        self.sockets.keep_only(addresses(&plan));
        let (wanted, missing) = self.gather(&plan);
        for refusal in refusals.iter().chain(missing.values()) {
            error!(path = refusal.path, %refusal, "a way to this device is not served");
        }
        let missing = missing.into_iter().map(|(way, refusal)| (way, refusal.to_string())).collect();
        self.board.plan(&plan, missing);
        let number = self.wanted.borrow().number + 1;
        self.wanted.send_replace(Arc::new(Wanted { number, ..wanted }));
    }

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let state = self.board.state();
        Box::pin(async move { Ok(state) })
    }
}
