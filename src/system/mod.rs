//! The host as data: processors, memory, clock, name, users, and the system log.
//!
//! ```text
//!  /proc --text--> cpu, memory, clock --values--> provider --elements--> northbound
//!  scripts --datagrams--> driver --records--> log file, history
//!
//!  sampling of processes:  Idle --first read--> Sampling --unread for 20 minutes--> Idle
//! ```
//!
//! Plain files turn text into values and values into elements; `driver.rs` alone reads /proc and the clock.
//! Must not know: apps, scripts, sessions, the store.

pub mod clock;
pub mod cpu;
pub mod driver;
pub mod memory;
pub mod provider;
pub mod record;
pub mod sealed;
pub mod users;

/// Where the kernel shows its figures.
pub const FIGURES: &str = "/proc";

pub use self::driver::{Settings, System, SystemLog};
pub use self::provider::SystemProvider;
pub use self::record::{Record, Severity};
pub use self::users::UserEntry;
