//! The event manager: what the device does by itself when something happens.
//!
//! ```text
//!  log lines, timers, apps, notifications, files --> triggers --> policy maps --> actions --> scripts on request
//!                                       (occurrence, period, rate limit)  (AND, OR)
//! ```
//! `config` and `expression` read what is configured, `correlator` decides, `facts` is what a script learns of its
//! event, `view` shows, `provider` is the face to the northbound, `driver` watches and runs.
//!
//! Must not know: how a script runs, who writes the system log, apps beyond their names.

mod config;
mod correlator;
pub mod driver;
mod expression;
mod facts;
pub mod happening;
pub mod provider;
mod view;
