//! Runs the plan: accepts at its endpoints, calls its clients, and takes up each change of it.
//!
//! ```text
//!  plan --> endpoint: a task for each address --> connection: a task
//!       \-> client:   a task that calls (`calling.rs`)
//! ```
//! A listener whose address stays the same goes on over a change, and no connection is refused meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::board::Board;
use super::calling::Calling;
use super::door::{Door, Place};
use super::provider::{Secret, TransportProvider, Wanted};
use super::reconnect::Now;
use super::sockets::Sockets;
use super::tls::Side;
use super::{Front, Holder, Manner};
use crate::ssh::{self, Limits};
use crate::sys::tcp;

pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Between tries to bind an address, or to accept when the system has no descriptor left.
const RETRY: Duration = Duration::from_secs(2);
/// A silent client is asked after so long whether it is there.
const SILENCE: Duration = Duration::from_secs(30);
/// For connections to end at shutdown.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);

/// Builds the northbound's face and the driver behind it. `left` are the listeners that an earlier life of this process
/// has left with the `holder`.
pub fn new(
    keys: PathBuf,
    left: Vec<(SocketAddr, std::net::TcpListener)>,
    holder: Arc<dyn Holder>,
) -> (TransportProvider, Driver) {
    let (sockets, board) = (Sockets::new(left, holder), Board::default());
    let (wanted, watched) = watch::channel(Arc::new(Wanted::default()));
    let provider = TransportProvider::new(keys, sockets.clone(), wanted, board.clone());
    (provider, Driver { sockets, board, wanted: watched })
}

pub struct Driver {
    sockets: Sockets,
    board: Board,
    wanted: watch::Receiver<Arc<Wanted>>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) ssh: ssh::Server,
    pub(super) front: Arc<dyn Front>,
    pub(super) limits: Limits,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    wanted: watch::Receiver<Arc<Wanted>>,
    /// The number of the plan that is in force.
    settled: watch::Sender<u64>,
    sockets: Sockets,
    pub(super) board: Board,
    door: Arc<Door>,
}

/// How one endpoint serves just now.
pub(super) struct Serving {
    pub(super) manner: Manner,
    pub(super) gear: Gear,
}

pub(super) enum Gear {
    Ssh(ssh::Server),
    Tls(Arc<Side>),
}

/// What an endpoint is while it is configured; `None` once it is not.
pub(super) type State = watch::Receiver<Option<Arc<Serving>>>;

struct Open {
    state: watch::Sender<Option<Arc<Serving>>>,
    accepting: BTreeMap<SocketAddr, CancellationToken>,
}

struct Called {
    configured: super::config::Client,
    stop: CancellationToken,
}

impl Driver {
    /// Runs until `stop`. `ssh` lends its door, accounts and limits to the endpoints that speak SSH.
    pub async fn run(mut self, ssh: ssh::Server, front: Arc<dyn Front>, limits: Limits, stop: CancellationToken) {
        let shared = Arc::new(Shared {
            ssh,
            front,
            door: Arc::new(Door::new(&limits)),
            limits,
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            wanted: self.wanted.clone(),
            settled: watch::Sender::new(0),
            sockets: self.sockets.clone(),
            board: self.board.clone(),
        });
        let mut endpoints = BTreeMap::new();
        let mut clients = BTreeMap::new();
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            shared.settle_endpoints(&wanted, &mut endpoints);
            shared.settle_clients(&wanted, &mut clients);
            shared.settled.send_replace(wanted.number);
            shared.hand_over().await;
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { break },
                () = stop.cancelled() => break,
            }
        }
        // A northbound that is gone changes nothing more; what is served goes on until the agent ends.
        stop.cancelled().await;
        shared.tasks.close();
        if timeout(SHUTDOWN_TIME, shared.tasks.wait()).await.is_err() {
            warn!(connections = shared.tasks.len(), "some connections did not end in time");
        }
    }
}

impl Shared {
    fn settle_endpoints(self: &Arc<Self>, wanted: &Wanted, open: &mut BTreeMap<String, Open>) {
        open.retain(|name, endpoint| {
            let stays = wanted.listen.contains_key(name);
            if !stays {
                endpoint.accepting.values().for_each(CancellationToken::cancel);
                endpoint.state.send_replace(None);
                info!(endpoint = name, "no longer served");
            }
            stays
        });
        for (name, (configured, secret)) in &wanted.listen {
            let manner = Manner { idle: configured.idle, closed: None };
            let serving = Some(Arc::new(Serving { gear: self.gear(&configured.transport, secret, &manner), manner }));
            let endpoint = open
                .entry(name.clone())
                .or_insert_with(|| Open { state: watch::Sender::new(None), accepting: BTreeMap::new() });
            endpoint.state.send_replace(serving);
            endpoint.accepting.retain(|address, accepting| {
                let stays = configured.binds.contains(address);
                if !stays {
                    accepting.cancel();
                }
                stays
            });
            for address in &configured.binds {
                endpoint.accepting.entry(*address).or_insert_with(|| {
                    let stop = self.stop.child_token();
                    let state = endpoint.state.subscribe();
                    self.tasks.spawn(self.clone().accept(name.clone(), *address, state, stop.clone()));
                    stop
                });
            }
        }
    }

    fn settle_clients(self: &Arc<Self>, wanted: &Wanted, called: &mut BTreeMap<String, Called>) {
        called.retain(|name, client| {
            let stays = wanted.call.get(name).is_some_and(|(configured, _)| *configured == client.configured);
            if !stays {
                client.stop.cancel();
            }
            stays
        });
        for (name, (configured, secrets)) in &wanted.call {
            called.entry(name.clone()).or_insert_with(|| {
                let stop = self.stop.child_token();
                let calling = Calling::new(self.clone(), name.clone(), configured.clone(), secrets.clone());
                self.tasks.spawn(calling.run(stop.clone()));
                Called { configured: configured.clone(), stop }
            });
        }
    }

    pub(super) fn gear(&self, transport: &super::config::Transport, secret: &Secret, manner: &Manner) -> Gear {
        use super::config::Transport;
        let keepalive = match transport {
            Transport::Ssh(ssh) => ssh.keepalive,
            Transport::Tls(_) => None,
        };
        match secret {
            Secret::Tls(side) => Gear::Tls(side.clone()),
            Secret::HostKeys(keys) => {
                let services = self.front.services(manner.clone());
                Gear::Ssh(self.ssh.variant(keys.clone(), keepalive, services))
            }
        }
    }

    async fn accept(self: Arc<Self>, name: String, address: SocketAddr, state: State, stop: CancellationToken) {
        let Some(mut listener) = self.listener(&name, address, &stop).await else { return };
        info!(endpoint = name, %address, "serving");
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                // A client that has gone before we looked says nothing about the next.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                // Given up by one commit, and wanted again by the next before anybody looked.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    let Some(another) = self.listener(&name, address, &stop).await else { return };
                    listener = another;
                    continue;
                }
                Err(error) => {
                    if !failing {
                        warn!(endpoint = name, %error, "cannot accept; trying on (see `ulimit -n` if files have run out)");
                    }
                    failing = true;
                    tokio::select! {
                        () = sleep(RETRY) => continue,
                        () = stop.cancelled() => return,
                    }
                }
            };
            failing = false;
            // Whoever comes after a commit is served by what it says, also when the driver is still at it.
            let number = self.wanted.borrow().number;
            let _ = self.settled.subscribe().wait_for(|settled| *settled >= number).await;
            let Some(serving) = state.borrow().clone() else { return };
            match &serving.gear {
                Gear::Ssh(server) => server.receive(stream, peer),
                Gear::Tls(_) => self.receive_tls(stream, peer, serving.clone(), state.clone()),
            }
        }
    }

    /// Binds again and again where an address cannot be had at start; a commit has bound it before.
    async fn listener(&self, name: &str, address: SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
        let mut told = false;
        loop {
            match self.sockets.open(address).and_then(TcpListener::from_std) {
                Ok(listener) => {
                    self.board.listening(name, address, None);
                    self.hand_over().await;
                    return Some(listener);
                }
                // The commit that gives it up is ahead of the one who stops us.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.board.listening(name, address, Some(error.to_string()));
                    if !told {
                        warn!(endpoint = name, %address, %error, "cannot listen; trying on");
                    }
                    told = true;
                }
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Tells the holder what is bound; it may keep us waiting, and must not keep others.
    async fn hand_over(&self) {
        let sockets = self.sockets.clone();
        // A thread that panics has held nothing, which is noticed only by the next life of this process.
        let _ = tokio::task::spawn_blocking(move || sockets.hand_over()).await;
    }

    fn receive_tls(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, serving: Arc<Serving>, state: State) {
        let (place, displaced) = match self.door.enter(peer.ip()) {
            Ok(entered) => entered,
            Err(full) => return info!(%peer, reason = %full, "TLS connection turned away"),
        };
        let shared = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shared.serve_tls(stream, peer, serving, state, Some(&place), None) => {}
                () = displaced.cancelled() => debug!(%peer, "a newer connection took the place of this one"),
            }
        });
    }

    /// One connection, from the handshake to its end. `established` hears when its user is known.
    pub(super) async fn serve_tls(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        serving: Arc<Serving>,
        mut state: State,
        place: Option<&Place>,
        established: Option<oneshot::Sender<()>>,
    ) {
        let Gear::Tls(side) = &serving.gear else { return };
        if let Err(error) = stream.set_nodelay(true).and_then(|()| tcp::keep_alive(&stream, SILENCE)) {
            debug!(%peer, %error, "the socket cannot be tuned");
        }
        let acceptor = TlsAcceptor::from(side.config.clone());
        let stream = tokio::select! {
            accepted = timeout(self.limits.authentication_time, acceptor.accept(stream)) => match accepted {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return info!(%peer, %error, "TLS login failed"),
                Err(_) => return info!(%peer, "TLS connection ended: no login in time"),
            },
            () = self.stop.cancelled() => return,
        };
        let shown: Vec<CertificateDer<'static>> = stream
            .get_ref()
            .1
            .peer_certificates()
            .map(|shown| shown.iter().map(|certificate| certificate.clone().into_owned()).collect())
            .unwrap_or_default();
        let Some(user) = side.user_of(&shown, UnixTime::now()) else {
            // RFC 7589 section 7: the connection is closed, and no message is taken.
            return info!(%peer, "TLS login failed: no entry of cert-to-name makes a user of this certificate");
        };
        if place.is_some_and(|place| !place.proven()) {
            return;
        }
        if let Some(established) = established {
            // Whoever waited for it may have gone.
            let _ = established.send(());
        }
        info!(user, %peer, method = "certificate", "logged in");
        let serving_it = self.front.netconf(stream, user.clone(), peer, serving.manner.clone());
        let mut serving_it = std::pin::pin!(serving_it);
        loop {
            tokio::select! {
                () = &mut serving_it => return,
                changed = state.changed() => {
                    let now = state.borrow_and_update().clone();
                    if changed.is_ok() && now.is_some_and(|serving| serving.still_means(&shown, &user)) {
                        continue;
                    }
                    info!(%peer, user, "access withdrawn: the certificate no longer means this user here");
                    // The answer to the commit that did so is under way.
                    let _ = timeout(self.limits.withdrawal_grace, &mut serving_it).await;
                    return;
                }
                () = self.stop.cancelled() => return,
            }
        }
    }
}

/// Both clocks.
#[expect(clippy::disallowed_methods, reason = "drivers read the clock")]
pub(super) fn now() -> Now {
    Now { instant: std::time::Instant::now(), unix: jiff::Timestamp::now().as_second() }
}

impl Serving {
    fn still_means(&self, shown: &[CertificateDer<'_>], user: &str) -> bool {
        match &self.gear {
            Gear::Tls(side) => side.user_of(shown, UnixTime::now()).as_deref() == Some(user),
            Gear::Ssh(_) => false,
        }
    }
}
