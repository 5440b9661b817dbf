//! The management calls of sipXsupervisor by XML-RPC, for clients that speak nothing else: a front end, off unless the
//! settings name an address.
//!
//! ```text
//!  TLS: certificate of a configured host? --> HTTP --> POST: a call --> rpcs of `procyon-process`, as the configured user
//!                                                  --> GET, DELETE: a declared file
//! ```
//! * `value.rs` reads calls and prints answers, `fault.rs` says no as the original does, `call.rs` turns calls into what
//!   is asked of the northbound and answers into values: no input or output, no clock.
//! * `tls.rs` says whose certificate it is, `driver.rs` listens.
//!
//! Must not know: processes and files themselves; what the caller may do (NACM decides, by the user's name).

pub mod call;
pub mod driver;
pub mod fault;
pub mod tls;
pub mod value;
