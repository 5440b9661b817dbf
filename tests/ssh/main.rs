//! The SSH transport over a real socket: with the library's client where timing matters, with OpenSSH's programs where
//! people will use them.

mod files;
mod logins;
mod streams;
mod support;
