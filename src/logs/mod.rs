//! The files of a log: how they are called, when which of their bytes were written, and how they are read by time.
//!
//! ```text
//!  stdout.log                          what is being written
//!  stdout.log.times                    its marks: from which byte on which second
//!  stdout.log-20261121-133000.123      put aside when it was full or old (time in UTC)
//!  stdout.log-20261121-101500.001.gz   the same, packed piece by piece, so that one can begin in its middle
//! ```
//! [`names`], [`marks`], [`since`] and [`lines`] are pure; [`driver`] reads and packs files. The keeper writes them.
//! Must not know: who prints, who asks, and who may.

pub mod driver;
pub mod lines;
pub mod marks;
pub mod names;
pub mod packing;
pub mod since;
