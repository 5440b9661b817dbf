//! Containers under YANG (`procyon-container`): commands that the configuration names, kept in step with the keeper.
//!
//! ```text
//!  commit -> definition (template below) -> resolve: a spec for the keeper -> manager: define, update, start, release
//!                                                    keeper's word of each <-'    `-> view, notifications
//! ```
//! `definition` (with `console`) reads what is configured, `template` fills in instances, `resolve` makes specs, `effect` says what a commit
//! does to each, `access` who may use its console, `manager` decides (its states are drawn there), `rolling` restarts some at a time, `selector` picks,
//! `view` shows; `provider` is the face to the northbound, `driver` talks with the keeper and the journal.
//!
//! Must not know: how a command is started or watched (`container/` and `keeper/` do), apps, NETCONF.

pub mod access;
pub mod console;
pub mod definition;
pub mod driver;
pub mod effect;
pub mod manager;
pub mod provider;
pub mod resolve;
pub mod rolling;
#[cfg(test)]
mod scenarios;
pub mod selector;
pub mod template;
pub mod touched;
pub mod view;
