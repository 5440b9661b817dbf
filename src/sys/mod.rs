//! The operating system, made safe: descriptors over sockets, ptys, pidfds, signals, limits.
//!
//! All `unsafe` outside the YANG bindings lives in this folder, each block with its reason. Must not know: what a
//! descriptor is for.

pub mod beneath;
pub mod cgroup;
mod clone3;
pub mod confinement;
pub mod daemon;
pub mod fdpass;
pub mod glimpse;
pub mod inherited;
pub mod local_time;
pub mod low;
pub mod mapped;
pub mod memfd;
pub mod memory;
pub mod mounts;
pub mod process;
pub mod pty;
pub mod rooted;
pub mod spawn;
pub mod tcp;
pub mod terminal;
pub mod tree;
mod vfork;
pub mod weight;
