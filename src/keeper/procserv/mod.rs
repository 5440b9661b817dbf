//! The keeper as procServ: one command in a terminal, its console served on sockets, with procServ's options and texts.
//!
//! ```text
//!  arguments -> getopt -> options -> driver: listeners, clients, keys ---> container::machine ---> the child's terminal
//!                          endpoint            console::{ring, outbox, texts} <--- output, ends -------+
//! ```
//!
//! Where it differs from procServ: there is no poll tick, so a restart comes at once (after the holdoff); `^Q` within some
//! seconds after `^X` quits although the child runs again; a client that does not read loses bytes and is told so, and
//! nobody waits for it; nothing is fsynced line by line. Must not know: containers under YANG, the agent, the custodian.

pub mod driver;
pub mod endpoint;
pub mod getopt;
pub mod options;
