//! Scripts that run on request: each run has a number, an account, a time limit, logs and a place in the history.
//!
//! `run` is one run as values, `requests` decides (its states are drawn there), `views` shows, `logs` reads what runs wrote, `provider` is the
//! face to the northbound, `driver` talks with the keeper and the journal.
//!
//! Must not know: how a process is started (the keeper does), how the repository keeps its files, NETCONF.

pub mod driver;
mod keeping;
pub mod logs;
pub mod provider;
mod refusals;
pub mod requests;
pub mod run;
pub mod views;
