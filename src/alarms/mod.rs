//! Alarms (RFC 8632): what is wrong now and was wrong before, by resource and type. Whoever finds something wrong raises
//! an alarm here, and clears it when it is over; the agent passes both on as notifications.
//!
//! ```text
//!  (none) --raised--> not cleared --cleared--> cleared --raised--> not cleared ...   gone when it is purged
//! ```
//! `types` lists what alarms there can be, `list` keeps them, `provider` shows them. Must not know: who raises them.

pub mod list;
pub mod provider;
pub mod types;
