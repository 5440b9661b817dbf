//! (module under construction)

pub mod custodian;
pub mod deposit;
