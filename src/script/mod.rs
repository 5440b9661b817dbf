//! The script repository: which scripts there are, where they came from, and whether they may run.
//!
//! ```text
//!   add (http, https, harddisk:) --stage--> .staging --rename all--> shelf <--- copied or removed by hand
//!                                                                     |  inotify, rescan
//!                     committed checksums --> status <-- inventory <--+--> history, events
//! ```
//! Must not know: apps, processes, NETCONF. What runs is asked of [`plan::InUse`].

pub mod config;
pub mod docstring;
pub mod driver;
pub mod fetch;
pub mod handle;
pub mod history;
pub mod history_file;
mod ledger;
pub mod name;
pub mod plan;
pub mod provider;
pub mod repository;
pub mod shelves;
pub mod source;
mod staging;
pub mod views;
mod watching;
