//! What programs have printed, as it is asked for: by name, account, time, last lines, and what comes next.
//!
//! ```text
//!  procyon logs NAME ----> question -> driver: files of the logs -> lines, and where they end (the cursor)
//!  rpc show-log (NACM) -->                 ^ the keeper says where; a look at the folders finds the logs of what is gone
//! ```
//! [`question`], [`answer`] and [`printer`] are pure. Must not know: who prints into the logs, what a container is.

pub mod answer;
pub mod command;
pub mod driver;
pub mod printer;
pub mod provider;
pub mod question;
