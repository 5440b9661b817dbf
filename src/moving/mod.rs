//! Moving in: what other supervisors' files say, as a candidate for `procyon-container`.
//!
//! ```text
//!  unit file, procServ.conf, conserver.cf, supervisord.conf -> a reader each -> draft -> XML, and what did not fit
//! ```
//! Every line of a file is accounted for: it is in the candidate, or it needs nothing here, or it is named with the reason.
//! Must not know: the agent, the datastores; the candidate is printed, not committed.

pub mod conserver;
pub mod draft;
pub mod driver;
pub mod ini;
pub mod procserv;
pub mod supervisord;
#[cfg(test)]
mod tests;
pub mod unit;
