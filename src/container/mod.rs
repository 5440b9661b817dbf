//! One command: what it is ([`spec`]), how its life goes ([`machine`]), how fast it may be restarted ([`pace`]).
//!
//! ```text
//!               start            checked, spawned
//!  NotStarted --------> Starting ------------------> Running --- stop ---> StopRequested --> Stopped
//!                        ^   |  \                     |   |                     | kill
//!                        |   |   mismatch             |   +----- kill ----> KillRequested --> Killed
//!                 Backoff <--+---> Mismatch           | exit
//!                     ^  failure, policy says yes     v
//!                     +------------------------- by policy ---> Exited
//! ```
//!
//! Everything here is pure: inputs and the time come in, actions go out. Must not know: descriptors, files, sockets,
//! who asks.

pub mod access;
pub mod checkpoint;
pub mod console;
pub mod ending;
pub mod machine;
pub mod pace;
pub mod permit;
pub mod provision;
pub mod rules;
pub mod scripts;
pub mod spec;
pub mod wildcard;
pub mod words;
