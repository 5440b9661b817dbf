//! Alarms (RFC 8632): what is wrong now and was wrong before, by resource and type. Whoever finds something wrong raises
//! an alarm here, and clears it when it is over; the agent passes both on as notifications.
//!
//! ```text
//!  (none) --raised--> not cleared --cleared--> cleared --raised--> not cleared ...   gone when it is purged
//!            listed  <--- no rule of a shelf fits any more / a rule fits --->  shelved, and told to nobody
//! ```
//! `types` lists what alarms there can be, `list` keeps them, `shelf` says which are put aside, `record` is what outlives
//! the agent, `view` shows, `provider` is the face to the northbound and the desk where alarms are reported, `driver`
//! writes them down. Must not know: who raises them.

pub mod driver;
pub mod list;
pub mod profile;
pub mod provider;
pub mod record;
pub mod shelf;
pub mod types;
pub mod view;
