//! Scripts that look at commits: config scripts judge and amend the configuration that would come of one, precommit
//! scripts judge what it would change.
//!
//! ```text
//!  commit --judge--> who is active in the proposed configuration, in the order of priority
//!             |  each by its own interpreter, kept warm: asks for nodes, says errors and warnings, sets nodes
//!             +--nothing amended--> accepted
//!             +--amended--> valid? --once more, all of them--> accepted, or refused when they amend again
//! ```
//! What cannot be asked (a script that is not there, has crashed, takes too long) refuses the commit; a commit that takes the
//! script out of the configuration is not shown to it. Must not know: how a commit is carried out, the repository's files.

pub mod config;
pub mod driver;
pub mod execution;
pub mod judge;
pub mod keeping;
pub mod paths;
pub mod protocol;
pub mod provider;
pub mod report;
