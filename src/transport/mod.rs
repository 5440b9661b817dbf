//! Ways to this device beside those of the settings file: endpoints by SSH and TLS, and clients that it calls itself.
//!
//! ```text
//!  commit: validate (keys, certificates) -> prepare (binds sockets) -> apply: the plan
//!                                                                         |
//!  driver:  endpoint --accept--> SSH or TLS --who is it?--> NETCONF       v
//!           client   --call----> the same, by a connection that this side has opened (RFC 8071)
//! ```
//! * `config.rs` reads the plan, `x509.rs` and `tls.rs` say who a certificate means, `reconnect.rs` when to call: values.
//! * `keys.rs` reads key files, `sockets.rs` holds what is bound, `board.rs` what is told of all this, `provider.rs` is
//!   the northbound's face, `driver.rs` runs.
//!
//! Must not know: NETCONF messages, datastores, the repository.

mod board;
mod calling;
mod config;
mod door;
pub mod driver;
pub mod keys;
pub mod provider;
mod reconnect;
pub mod sockets;
mod tls;
mod x509;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::ssh::{ServiceFuture, Services};

pub use self::driver::{Driver, TlsStream};
pub use self::provider::TransportProvider;

/// How the sessions of an endpoint are served.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// A session that asks nothing for so long is ended.
    pub idle: Option<Duration>,
    /// Set when a client has closed its session of its own accord.
    pub closed: Option<Arc<AtomicBool>>,
}

/// Who keeps copies of listening sockets for the next life of this process.
pub trait Holder: Send + Sync + 'static {
    /// Whether it has taken a copy.
    fn hold(&self, address: SocketAddr, listener: &TcpListener) -> bool;

    fn let_go(&self, address: SocketAddr);
}

/// What is behind the transports.
pub trait Front: Send + Sync + 'static {
    fn services(&self, manner: Manner) -> Arc<dyn Services>;

    /// NETCONF with a user whom TLS has proven.
    fn netconf(&self, stream: TlsStream, user: String, peer: SocketAddr, manner: Manner) -> ServiceFuture<()>;
}
