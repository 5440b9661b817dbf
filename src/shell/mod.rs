//! The commit-based shell: the device's command line, and a NETCONF client like any other.
//!
//! ```text
//!  schema + sidecars --compile--> Grammar
//!  configuration line --token, line, load--> Edits --edit--> edit-config
//!  data (XML) --data--> Items --text, json--> what is shown; what text shows, load reads
//!  operational line --command, vocabulary--> rpc or get -> show -> pipe -> what is shown
//! ```
//! `driver.rs` alone speaks NETCONF and reads lines. What can be configured is in the grammar alone: a module that a user adds has a command line at once.
//!
//! Must not know: datastores, providers, the keeper.

pub mod assist;
pub mod command;
pub mod compile;
pub mod data;
pub mod driver;
pub mod edit;
pub mod editor;
pub mod grammar;
pub mod json;
pub mod line;
pub mod load;
pub mod marks;
mod names;
pub mod paint;
pub mod pipe;
pub mod relay;
pub mod remote;
pub mod show;
pub mod text;
pub mod token;
pub mod values;
pub mod vocabulary;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod testing;
