//! The NETCONF front end: bytes of one client in, [`northbound`](crate::northbound) requests out, replies back in order.
//!
//! ```text
//!             hello ok             close-session, killed, half-closed
//!  AwaitHello --------> Open ----------------------------------------> Closing --drained--> Closed
//!      |                  |                                                                   ^
//!      | bad, late        | broken framing, too much waiting, stream lost                      |
//!      +------------------+-------------------------------------------------------------------+
//! ```
//!
//! `driver.rs` owns one stream and moves bytes; `session.rs` decides. Parsing cuts configuration out of a message as
//! bytes and never builds a tree of it.
//!
//! Must not know: SSH, libyang, the contents of any datastore, who may do what.

pub mod capability;
pub mod counters;
pub mod driver;
pub mod error;
pub mod filter;
pub mod framing;
pub mod hello;
pub mod layout;
pub mod library;
pub mod monitoring;
mod operation;
mod outbox;
mod path;
mod reply;
pub mod rpc;
pub mod session;
mod xml;

pub use self::driver::{ServeOptions, serve};
pub use self::error::Namespaces;
pub use self::layout::Layout;
