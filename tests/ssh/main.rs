//! The SSH transport over a real socket: with the library's client where timing matters, with OpenSSH's programs where
//! people will use them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod files;
mod logins;
mod streams;
mod support;
