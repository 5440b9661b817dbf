//! Accepts connections, watches their logins and ends them. One task a connection.
//!
//! Must not know: what a client asks once it is in (`connection.rs`).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::Config;
use russh::{Disconnect, Preferred, SshId, cipher, kex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{interval_at, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::admission::{Admission, ConnectionId, Stage, Verdict};
use super::auth::{SharedAccounts, methods};
use super::connection::{Connection, ConnectionError, Login, Shared};
use super::gate::{Gate, Transport, lock};
use super::{Limits, Services, SshConfig, SshError};
use crate::sys::beneath::Root;

/// Between tries when the system has no descriptor or memory for another connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// What a client may have in flight on a channel before it hears from us.
const WINDOW_BYTES: u32 = 2 << 20;

const PACKET_BYTES: u32 = 32 * 1024;

/// Messages of all channels on their way to the client; a service waits when they are this many.
const MESSAGES_QUEUED_MAX: usize = 64;

/// For a farewell to a client that does not take it.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// The NIST curves are for clients that know no other; larger groups than these cost a stranger nothing and us much.
const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA256,
    kex::DH_G16_SHA512,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Serves `listener` until `shutdown`. The accounts may change meanwhile; each login sees them as they are then.
pub async fn serve(
    listener: TcpListener,
    config: SshConfig,
    accounts: SharedAccounts,
    services: Arc<dyn Services>,
    shutdown: CancellationToken,
) -> Result<(), SshError> {
    let server = Server::new(config, accounts, services, shutdown)?;
    server.accept(listener).await;
    server.finish().await;
    Ok(())
}

/// Speaks SSH on connections, whoever has opened them.
#[derive(Clone)]
pub struct Server(Arc<Listening>);

impl Server {
    pub fn new(
        config: SshConfig,
        accounts: SharedAccounts,
        services: Arc<dyn Services>,
        shutdown: CancellationToken,
    ) -> Result<Self, SshError> {
        if config.host_keys.is_empty() {
            return Err(SshError::NoHostKeys);
        }
        let root = Root::open(&config.harddisk)
            .map_err(|source| SshError::Harddisk { path: config.harddisk.clone(), source })?;
        let limits = config.limits;
        Ok(Self(Arc::new(Listening {
            ssh: Arc::new(ssh_config(config.host_keys, &limits)),
            door: Arc::new(Mutex::new(Door { admission: Admission::new(&limits), waiting: BTreeMap::new() })),
            shared: Arc::new(Shared {
                password_checks: Arc::new(Semaphore::new(limits.password_checks)),
                backoff: Arc::default(),
                accounts,
                services,
                root: Arc::new(root),
                tasks: TaskTracker::new(),
                limits,
            }),
            shutdown,
        })))
    }

    /// The same door, accounts and bounds, with other host keys and services. `keepalive` is the silence after which a
    /// client is asked whether it is there, and how many questions it may leave unanswered.
    #[must_use]
    pub fn variant(
        &self,
        host_keys: Vec<PrivateKey>,
        keepalive: Option<(Duration, usize)>,
        services: Arc<dyn Services>,
    ) -> Self {
        let Listening { shared, door, shutdown, .. } = &*self.0;
        let mut limits = shared.limits.clone();
        if let Some((silence, missed)) = keepalive {
            limits.keepalive_interval = silence;
            limits.keepalive_missed = missed;
        }
        Self(Arc::new(Listening {
            ssh: Arc::new(ssh_config(host_keys, &limits)),
            door: door.clone(),
            shared: Arc::new(Shared {
                password_checks: shared.password_checks.clone(),
                backoff: shared.backoff.clone(),
                accounts: shared.accounts.clone(),
                services,
                root: shared.root.clone(),
                tasks: shared.tasks.clone(),
                limits,
            }),
            shutdown: shutdown.clone(),
        }))
    }

    /// Accepts until shutdown.
    pub async fn accept(&self, listener: TcpListener) {
        self.0.accept(listener).await;
    }

    /// Serves a connection that somebody else has accepted.
    pub fn receive(&self, stream: TcpStream, peer: SocketAddr) {
        self.0.receive(stream, peer);
    }

    /// Serves a connection that this side has opened (RFC 8071), to its end. `established` hears when its user is known.
    pub async fn attend(&self, stream: TcpStream, peer: SocketAddr, established: oneshot::Sender<()>) {
        self.0.clone().serve(stream, peer, Arc::default(), Caller::Called(Some(established))).await;
    }

    /// Waits for connections to end, once shutdown has begun.
    pub async fn finish(&self) {
        let Shared { tasks, limits, .. } = &*self.0.shared;
        tasks.close();
        if timeout(limits.shutdown_grace * 2, tasks.wait()).await.is_err() {
            warn!(tasks = tasks.len(), "ssh services are still running at shutdown");
        }
    }
}

/// Who has opened a connection.
enum Caller {
    /// The client, through the door.
    Came(Place),
    /// The device: nobody can flood it with these.
    Called(Option<oneshot::Sender<()>>),
}

impl Caller {
    fn asked(&self) {
        if let Self::Came(place) = self {
            place.asked();
        }
    }

    /// False when the connection has had to give way.
    fn proven(&mut self) -> bool {
        match self {
            Self::Came(place) => place.proven(),
            Self::Called(established) => {
                if let Some(established) = established.take() {
                    // Whoever waited for it may have gone.
                    let _ = established.send(());
                }
                true
            }
        }
    }
}

struct Listening {
    ssh: Arc<Config>,
    shared: Arc<Shared>,
    door: Arc<Mutex<Door>>,
    shutdown: CancellationToken,
}

/// Who waits at the door and how to send them away.
struct Door {
    admission: Admission,
    waiting: BTreeMap<ConnectionId, Waiting>,
}

struct Waiting {
    gate: Arc<Gate>,
    asked: bool,
}

impl Listening {
    async fn accept(self: &Arc<Self>, listener: TcpListener) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.receive(stream, peer);
                }
                // A client that has gone before we looked says nothing about the next.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !failing {
                        warn!(%error, "cannot accept ssh connections; trying on (see `ulimit -n` if files have run out)");
                    }
                    failing = true;
                    tokio::select! {
                        () = sleep(ACCEPT_BACKOFF) => {}
                        () = self.shutdown.cancelled() => return,
                    }
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let gate = Arc::new(Gate::default());
        let Some(place) = self.place(peer, &gate) else { return };
        self.shared.tasks.spawn(self.clone().serve(stream, peer, gate, Caller::Came(place)));
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, gate: Arc<Gate>, caller: Caller) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "no TCP_NODELAY");
        }
        match self.connection(stream, peer, gate, caller).await {
            Ok(()) => debug!(%peer, "ssh connection closed"),
            Err(error) => debug!(%peer, %error, "ssh connection ended"),
        }
    }

    fn place(self: &Arc<Self>, peer: SocketAddr, gate: &Arc<Gate>) -> Option<Place> {
        let mut door = lock(&self.door);
        let Door { admission, waiting } = &mut *door;
        let id = match admission.arrive(peer.ip(), |id| waiting.get(&id).map_or(Stage::Silent, Waiting::stage)) {
            Verdict::Admit(id) => id,
            Verdict::AdmitInsteadOf { admitted, ended } => {
                if let Some(ended) = waiting.remove(&ended) {
                    ended.gate.end();
                }
                debug!(%peer, "took the place of an older connection that had not logged in");
                admitted
            }
            Verdict::TurnAway(full) => {
                info!(%peer, reason = %full, "ssh connection turned away");
                return None;
            }
        };
        waiting.insert(id, Waiting { gate: gate.clone(), asked: false });
        Some(Place { door: self.door.clone(), id })
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        gate: Arc<Gate>,
        mut caller: Caller,
    ) -> Result<(), ConnectionError> {
        let limits = &self.shared.limits;
        let mut accounts = self.shared.accounts.changes();
        let grace = accounts.borrow_and_update().login.grace.unwrap_or(limits.authentication_time);
        let deadline = now() + grace;
        let (handler, mut progress) = Connection::new(peer, self.shared.clone(), gate.clone());
        let starting = russh::server::run_stream(self.ssh.clone(), Transport::new(stream, gate.clone()), handler);
        let mut session = tokio::select! {
            session = starting => session?,
            () = sleep_until(deadline) => {
                info!(%peer, "ssh connection ended: no login in time");
                return Ok(());
            }
            () = self.shutdown.cancelled() => return Ok(()),
        };
        let mut waiting = true;
        let mut proven = None;
        let mut pulse = Pulse::default();
        let mut checks = interval_at(now() + limits.keepalive_interval, limits.keepalive_interval);
        let farewell = loop {
            tokio::select! {
                outcome = &mut session => return outcome,
                changed = progress.changed(), if waiting => match (changed.is_ok(), &*progress.borrow()) {
                    (true, Some(Login::Asked)) => caller.asked(),
                    (true, Some(Login::Proven(who))) => {
                        // Sent away while it logged in: the gate is closed already.
                        waiting = !caller.proven();
                        proven = Some(who.clone());
                    }
                    (true, None) => {}
                    (false, _) => waiting = false,
                },
                Ok(()) = accounts.changed(), if proven.is_some() => {
                    let accounts = accounts.borrow_and_update().clone();
                    let Some(proven) = proven.as_ref().filter(|proven| !accounts.still_lets_in(proven)) else { continue };
                    info!(%peer, user = proven.user, "access withdrawn: what let this user in is no longer configured");
                    match timeout(limits.withdrawal_grace, &mut session).await {
                        Ok(outcome) => return outcome,
                        Err(_) => break "your access has been withdrawn",
                    }
                }
                () = sleep_until(deadline), if waiting => {
                    info!(%peer, "ssh connection ended: no login in time");
                    gate.end();
                    waiting = false;
                }
                _ = checks.tick() => {
                    if !gate.paused() && pulse.missed(gate.heard()) > limits.keepalive_missed {
                        info!(%peer, "ssh connection ended: the client has gone or takes nothing any more");
                        gate.end();
                    }
                }
                () = self.shutdown.cancelled() => break "the agent is shutting down",
            }
        };
        let client = session.handle();
        let disconnect = client.disconnect(Disconnect::ByApplication, farewell.to_owned(), "en".to_owned());
        let _ = timeout(FAREWELL_TIME, disconnect).await;
        if timeout(limits.shutdown_grace, &mut session).await.is_err() {
            gate.end();
        }
        Ok(())
    }
}

impl Waiting {
    fn stage(&self) -> Stage {
        match (self.asked, self.gate.heard() > 0) {
            (true, _) => Stage::Asking,
            (false, true) => Stage::Talking,
            (false, false) => Stage::Silent,
        }
    }
}

/// Whether a client still gives signs of life; it is asked for one at every check.
#[derive(Default)]
struct Pulse {
    heard: u64,
    missed: usize,
}

impl Pulse {
    /// How many checks in a row nothing has been heard.
    fn missed(&mut self, heard: u64) -> usize {
        self.missed = if heard == self.heard { self.missed + 1 } else { 0 };
        self.heard = heard;
        self.missed
    }
}

/// A connection's entry at the door; gone with it, however it ends.
struct Place {
    door: Arc<Mutex<Door>>,
    id: ConnectionId,
}

impl Place {
    fn asked(&self) {
        if let Some(waiting) = lock(&self.door).waiting.get_mut(&self.id) {
            waiting.asked = true;
        }
    }

    /// False when the connection has had to give way.
    fn proven(&self) -> bool {
        let mut door = lock(&self.door);
        door.waiting.remove(&self.id);
        door.admission.prove(self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut door = lock(&self.door);
        door.waiting.remove(&self.id);
        door.admission.leave(self.id);
    }
}

fn ssh_config(keys: Vec<PrivateKey>, limits: &Limits) -> Config {
    Config {
        server_id: SshId::Standard(concat!("SSH-2.0-Procyon_", env!("CARGO_PKG_VERSION")).into()),
        methods: methods(),
        auth_rejection_time: limits.refusal_time,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: limits.authentication_attempts,
        keys,
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        // Unused: see `Connection::channel_open_session`.
        channel_buffer_size: 1,
        event_buffer_size: MESSAGES_QUEUED_MAX,
        limits: russh::Limits::new(limits.rekey_bytes, limits.rekey_bytes, Duration::from_secs(3600)),
        preferred: Preferred {
            kex: KEY_EXCHANGES.into(),
            cipher: CIPHERS.into(),
            // A compressed stream can be a thousand times what it seems.
            compression: (&[russh::compression::NONE][..]).into(),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(limits.keepalive_interval),
        // Judged by `Pulse`: the library does not know when we have stopped listening, nor looks while a write waits.
        keepalive_max: 0,
        inactivity_timeout: None,
        ..Config::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "drivers read the clock")]
pub(super) fn now() -> tokio::time::Instant {
    tokio::time::Instant::from_std(std::time::Instant::now())
}
