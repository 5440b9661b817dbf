//! The operating system, made safe: descriptors over sockets, ptys, pidfds, signals, limits.
//!
//! All `unsafe` outside the YANG bindings lives in this folder, each block with its reason. Must not know: what a
//! descriptor is for.

pub mod beneath;
pub mod cgroup;
pub mod daemon;
pub mod fdpass;
pub mod inherited;
pub mod local_time;
pub mod mapped;
pub mod memfd;
pub mod process;
pub mod pty;
pub mod spawn;
pub mod tcp;
pub mod tree;
