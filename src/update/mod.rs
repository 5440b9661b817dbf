//! Scripts that are kept up to date: from where, when, and what came of it.
//!
//! ```text
//!  request, run, time --> wanted --fetch (at most FETCHES_MAX)--> new | the same | failed --> whoever waits, the state
//! ```
//! `config` reads what is configured, `plan` says what is due and remembers what came of it, `view` shows, `provider` is the
//! face to the northbound, `driver` waits for times and has scripts fetched.
//!
//! Must not know: how a script is fetched and where it is kept, whether its checksum is the right one, NETCONF.

pub mod config;
pub mod driver;
mod plan;
pub mod provider;
mod view;
