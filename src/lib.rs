//! Procyon turns a Linux host into a NETCONF/YANG-managed device whose job is to run other people's programs well.
//!
//! ```text
//!  netconf, shell  ->  northbound  ->  provider (script, appmgr, system)  ->  keeper  ->  the world
//!        ^------------- events <------------- events <------------------------ events
//! ```
//!
//! Arrows go one way; what happens in the world comes back as events. Providers never import each other: only
//! [`agent`] knows everyone. In each folder `mod.rs` says what it is, plain files decide in values, and at most one
//! `driver.rs` awaits or touches the operating system. `docs/architecture.md` is the map.

pub mod agent;
pub mod alarms;
pub mod appmgr;
pub mod checksum;
pub mod clock;
pub mod console;
pub mod container;
pub mod datastore;
pub mod deploy;
pub mod eem;
pub mod fleet;
pub mod init;
pub mod keeper;
pub mod launcher;
pub mod lifecycle;
pub mod logbook;
pub mod logging;
pub mod logs;
pub mod moving;
pub mod netconf;
pub mod northbound;
pub mod request;
pub mod script;
pub mod settings;
pub mod shell;
pub mod shell_command;
pub mod shown;
pub mod ssh;
pub mod store;
pub mod sys;
pub mod system;
pub mod systemd;
pub mod transport;
pub mod update;
pub mod validation;
pub mod viewer;
pub mod xmlrpc;
pub mod yang;
