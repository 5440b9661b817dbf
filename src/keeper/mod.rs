//! The keeper: a small process that holds the containers. It starts their programs, restarts them by policy, writes
//! their logs and serves their consoles, and goes on doing so while the agent is away.
//!
//! ```text
//!  agent (client) --- orders ---> driver: one epoll loop --- Check, KillTree ---> workers (files, trees)
//!         <------ events ---------   |    ^  |                <--- outcomes ---
//!                                    v    |  +-- every descriptor, before exec --> deposits (the custodian)
//!                            container::machine
//! ```
//!
//! The driver is the only one that acts; [`protocol`] is what crosses the socket, [`gate`] and [`launch`] decide what
//! bytes run and how. Must not know: XML, YANG, TLS, an async runtime (except [`client`], which is the agent's side).

pub mod attach;
pub mod client;
pub mod console;
pub mod custodian;
pub mod daemons;
pub mod deposit;
pub mod deposits;
pub mod driver;
pub mod exits;
pub mod footing;
pub mod forward;
pub mod gate;
pub mod held;
pub mod keeping;
pub mod launch;
pub mod link;
pub mod listeners;
pub mod log;
pub mod notify;
pub mod parcel;
pub mod procserv;
pub mod protocol;
pub mod refusal;
pub mod run_ids;
pub mod sockets;
pub mod store;
pub mod survivors;
pub mod tape;
pub mod viewer;
pub mod worker;
