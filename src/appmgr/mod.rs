//! The app manager: process scripts as apps. Registration comes from the configuration, activation from an rpc, the
//! life of the process from the keeper.
//!
//! `registration` reads what is configured, `manager` decides (its states are drawn there), `view` shows, `provider` is
//! the face to the northbound, `driver` talks with the keeper and the journal.
//!
//! Must not know: how a process is started or watched (the keeper does), where checksums are configured beyond their
//! path, NETCONF.

pub mod dependency;
pub mod driver;
mod keeping;
pub mod manager;
pub mod observed;
#[cfg(test)]
mod policy_table;
pub mod provider;
pub mod refusals;
pub mod registration;
#[cfg(test)]
mod scenarios;
pub mod view;
