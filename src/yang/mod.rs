//! YANG data: schema, trees, paths and values (RFC 7950). The only folder that names libyang.
//!
//! ```text
//!  XML bytes -> xml -> build / edit (datastore) -> Tree -> select -> View -> print -> bytes
//!                                                   |-- diff -> commit record, Changes
//!                                                   `-- validate -> Refusals (errors.rs)
//! ```
//! A tree has one owner, who may give it to another thread; a [`schema::Schema`] may be asked from anywhere.
//!
//! Must not know: sessions, datastores, files.

mod ffi;

pub mod analysis;
mod anydata;
pub mod build;
pub(crate) mod change;
mod compare;
pub mod diff;
pub mod errors;
mod expression;
pub mod fragment;
pub mod index;
pub mod judge;
pub mod leafref;
pub mod named;
pub mod notification;
pub mod parts;
pub mod path;
pub mod prefix;
mod print;
pub mod reach;
mod record;
pub mod replay;
pub mod rpc;
pub mod schema;
pub mod segments;
pub mod select;
mod shape;
mod transplant;
pub mod tree;
mod unique;
mod validity;
pub mod value;
mod view;
pub mod xml;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
