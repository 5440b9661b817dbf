//! The lifecycle floor: process definitions that start only when they may.
//!
//! A definition (`definition`, read from XML by `xml`) says how a process is tested, started and stopped and what it
//! needs. `machine` is the life of one process (`drawing` draws it from the code), `manager` holds all of them with
//! their versions, resources and dependencies, `access` answers what management may do with declared files, `view`
//! shows, `provider` is the face to the northbound, `driver` watches, orders and remembers.
//!
//! Must not know: how a command becomes a process (the keeper does), NETCONF, who keeps alarms.

pub mod access;
pub mod alarm;
pub mod definition;
#[cfg(test)]
mod definition_tests;
pub mod drawing;
pub mod driver;
pub mod graph;
pub mod machine;
#[cfg(test)]
mod machine_tests;
pub mod manager;
#[cfg(test)]
mod manager_tests;
pub mod mounts;
pub mod pattern;
pub mod provider;
pub mod resource;
pub mod retry;
pub mod tree;
pub mod view;
pub mod xml;
