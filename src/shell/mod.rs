//! The commit-based shell: the device's command line, and a NETCONF client like any other.
//!
//! ```text
//!  schema + sidecars --compile--> Grammar
//!  configuration line --token, line, load--> Edits --edit--> edit-config
//!  data (XML) --data--> Items --text, json--> what is shown; what text shows, load reads
//! ```
//! What can be configured is in the grammar alone: a module that a user adds has a command line at once.
//!
//! Must not know: datastores, providers, the keeper.

pub mod command;
pub mod compile;
pub mod data;
pub mod edit;
pub mod grammar;
pub mod json;
pub mod line;
pub mod load;
mod names;
pub mod text;
pub mod token;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod testing;
