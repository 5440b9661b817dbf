//! `procyon deploy`: brings one script onto a device as an app, or leaves everything as it was.
//!
//! ```text
//!  look -> nothing differs -> unchanged
//!       -> script up, checksum and registration in a confirmed commit, activate -> healthy for a while -> confirm
//!                                                       anything goes wrong ^ -> all of it is taken back
//! ```
//! A NETCONF client like any other, over the user's own `ssh` or the socket of a local root. A client that dies in the middle
//! leaves a commit that nobody confirms: the device takes it back by itself.
//!
//! Must not know: how a device carries anything out.

pub mod driver;
mod link;
pub mod plan;
mod words;
