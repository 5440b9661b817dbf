//! SSH: the transport under NETCONF, sftp and, where there is one, the shell.
//!
//! ```text
//!            accept            version, keys          user proven            subsystem
//!  nobody ----------> silent -------------> asking -------------> open --------------------> serving
//!                       |  a newcomer takes    |  too slow, too      |  no answer to keepalives,   |
//!                       |  the oldest's place  |  many attempts      |  overflow, shutdown         |
//!                       +----------------------+---------------------+-----------------------------+--> gone
//! ```
//!
//! * `admission.rs`, `auth.rs`, `backoff.rs`, `jail.rs`, `sftp_wire.rs` decide in values: who may connect, who is who, how
//!   long a guesser waits, what a path means, what a packet says.
//! * `gate.rs`, `flow.rs` and `stream.rs` keep a connection's bytes within bounds, `connection.rs` answers one client's
//!   requests, `sftp.rs` serves files, `driver.rs` accepts and ends connections.
//!
//! Must not know: NETCONF messages, datastores, what a file in the repository means.

pub mod admission;
pub mod auth;
pub mod backoff;
mod connection;
pub mod driver;
mod flow;
mod gate;
pub mod host_key;
pub mod jail;
mod sftp;
mod sftp_answer;
mod sftp_wire;
mod stream;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

pub use self::auth::{Account, Accounts, AuthorizedKey, CryptHash, LoginPolicy, SharedAccounts};
pub use self::driver::{Server, serve};
pub use self::stream::{ChannelStream, ErrorStream};
pub use crate::northbound::handle::Access;

/// What a service gives back; boxed so that [`Services`] can be a trait object.
pub type ServiceFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What runs behind the channels of an authenticated user.
pub trait Services: Send + Sync + 'static {
    /// The `netconf` subsystem (RFC 6242). When the future ends, what it wrote is delivered, then the channel closes
    /// with exit status 0. The stream reads as ended when the client has gone.
    fn netconf(&self, stream: ChannelStream, user: String, peer: SocketAddr) -> ServiceFuture<()>;

    /// Whether `user` may read or update the file that the device calls `path` (`/harddisk:/a/b`). The refusal is
    /// a sentence for the log.
    fn file_access(&self, user: &str, path: &str, access: Access) -> ServiceFuture<Result<(), String>>;

    /// A login shell or one command; gives the exit status.
    fn shell(&self, call: ShellCall) -> ServiceFuture<u32> {
        no_shell(call)
    }
}

/// Says what there is in the place of a shell.
pub fn no_shell(mut call: ShellCall) -> ServiceFuture<u32> {
    Box::pin(async move {
        let old_scp = call.command.as_deref().is_some_and(|command| command.starts_with("scp "));
        let message: &[u8] = if old_scp {
            b"error: the old scp protocol is not served; use `scp` without `-O`, or `sftp`\n"
        } else {
            b"error: no shell on this agent yet; use `ssh -s HOST netconf`, `ssh HOST console NAME`, `scp` or `sftp`\n"
        };
        // A client that does not want to read the reason still gets the exit status.
        let _ = call.errors.write_all(message).await;
        1
    })
}

/// A request for a shell, or for one command.
pub struct ShellCall {
    pub user: String,
    pub peer: SocketAddr,
    /// `None` asks for an interactive shell.
    pub command: Option<String>,
    /// Present when the client has asked for a terminal; changes when its window does.
    pub terminal: Option<watch::Receiver<Terminal>>,
    pub stream: ChannelStream,
    pub errors: ErrorStream,
}

/// The client's terminal (RFC 4254 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terminal {
    pub kind: String,
    pub columns: u32,
    pub rows: u32,
    pub colours: Colours,
}

/// What the client's environment says of colours; a refusal goes before a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Colours {
    /// Nothing. A program at the other end has never heard of it.
    #[default]
    Unsaid,
    /// COLORTERM is set.
    Wanted,
    /// NO_COLOR is set.
    Refused,
}

/// What a listener needs to know.
#[derive(Clone)]
pub struct SshConfig {
    /// See [`host_key::load`].
    pub host_keys: Vec<russh::keys::PrivateKey>,
    /// The folder that the device calls `/harddisk:/`; sftp sees nothing else.
    pub harddisk: PathBuf,
    pub limits: Limits,
}

/// Every bound of the transport. The defaults suit a device with a handful of managers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of all kinds; a further one is closed at once.
    pub connections: usize,
    /// Connections that have not proven a user yet; see [`admission`] for what happens when they are all taken.
    pub unauthenticated: usize,
    /// The share of `unauthenticated` that one source address may hold.
    pub unauthenticated_per_source: usize,
    /// From accept to a proven user.
    pub authentication_time: Duration,
    /// Refused attempts a connection.
    pub authentication_attempts: usize,
    /// How long a refusal takes, so that its reason cannot be told from the time it took.
    pub refusal_time: Duration,
    /// Password verifications at once: each costs milliseconds of a core by design.
    pub password_checks: usize,
    pub channels_per_connection: usize,
    /// After so long without a byte from the client it is asked for one.
    pub keepalive_interval: Duration,
    /// So many unanswered questions mean that the client is gone, or takes nothing any more.
    pub keepalive_missed: usize,
    /// How long a client whose access has been withdrawn is still served: the answer to the commit that did so is under way.
    pub withdrawal_grace: Duration,
    /// Bytes in one direction after which new keys are agreed.
    pub rekey_bytes: usize,
    /// Bytes a service has not read yet, from which on its connection is no longer read.
    pub unread_pause: usize,
    /// Bytes that the services of a connection have not read yet, at which it is ended: reached only by a client that
    /// sends and never reads.
    pub unread_max: usize,
    /// How long clients have to take their leave at shutdown.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            unauthenticated: 32,
            unauthenticated_per_source: 16,
            authentication_time: Duration::from_secs(30),
            authentication_attempts: 6,
            refusal_time: Duration::from_millis(300),
            password_checks: 2,
            channels_per_connection: 16,
            keepalive_interval: Duration::from_secs(30),
            keepalive_missed: 4,
            withdrawal_grace: Duration::from_secs(1),
            rekey_bytes: 1 << 30,
            unread_pause: 1 << 20,
            unread_max: 16 << 20,
            shutdown_grace: Duration::from_secs(3),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("no host keys; type `procyon init --root DIR`, which makes them")]
    NoHostKeys,
    #[error("cannot open {}: {source}; type `mkdir -p {}`", path.display(), path.display())]
    Harddisk { path: PathBuf, source: nix::errno::Errno },
}
