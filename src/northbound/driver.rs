//! The northbound's thread: it owns the datastores and every libyang tree.

/// The single owner of the datastores.
pub struct Northbound;
