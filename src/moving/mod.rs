//! Moving in: what other supervisors' files say, as a candidate for `procyon-container`.
//!
//! ```text
//!  unit file, procServ.conf, conserver.cf, supervisord.conf -> a reader each -> draft -> XML, and what did not fit
//! ```
//! Every line of a file is accounted for: it is in the candidate, or it needs nothing here, or it is named with the reason.
//! The other way, `export` writes the consoles for a conserver in front of them. Must not know: the agent, the datastores;
//! the candidate is printed, not committed.

pub mod blocks;
pub mod conserver;
pub mod draft;
pub mod driver;
pub mod export;
pub mod ini;
pub mod print;
pub mod procserv;
pub mod supervisord;
#[cfg(test)]
mod tests;
pub mod unit;
