//! The NETCONF front end: bytes of one client in, [`northbound`](crate::northbound) requests out, replies back in order.
//!
//! ```text
//!  stream --bytes--> framing --messages--> rpc (xml, operation, filter) --request--> northbound
//!  stream <--bytes-- outbox <--framing <-- reply (error, layout) <--------answer-------+
//!                                    <-- notice <------------------------mailbox------+
//! ```
//!
//! `driver.rs` owns one stream and moves bytes; `session.rs` decides. Parsing cuts configuration out of a message as
//! bytes and never builds a tree of it. `session.rs` draws the states of a session.
//!
//! Must not know: SSH, libyang, the contents of any datastore, who may do what.

pub mod capability;
pub mod counters;
mod cut;
pub mod driver;
pub mod error;
mod extensions;
pub mod filter;
pub mod framing;
pub mod hello;
pub mod layout;
pub mod library;
pub mod monitoring;
mod nmda;
mod notice;
mod operation;
pub mod outbox;
mod parameters;
mod path;
mod reply;
pub mod rpc;
pub mod session;
mod text;
mod xml;

pub use self::driver::{ServeOptions, serve};
pub use self::error::Namespaces;
pub use self::layout::Layout;
