//! What a console is made of: a ring of what was shown, a place in it for each who watches, keys, telnet, procServ's texts.
//!
//! ```text
//!  typed bytes -> telnet::Receiver -> keys::Keys -> Typed (to the program | toggle | kill | start | quit | log out)
//!  shown bytes -> ring::Ring -> outbox::Outbox of each client (its offset in the ring) -> bytes to send
//! ```
//!
//! Two ways to speak with it: procServ's keys and texts ([`keys`], [`texts`]), and conserver's escape sequences, words and
//! columns ([`escape`], [`conserver`], [`columns`]); [`roster`] says who may type.
//!
//! One ring serves all: a client that sleeps costs an offset, and is told how much it has lost when the ring has moved on.
//! Everything here is pure. Must not know: sockets, processes, who asks.

pub mod breaks;
pub mod columns;
pub mod conserver;
pub mod escape;
pub mod keys;
pub mod outbox;
pub mod packet;
pub mod ring;
pub mod roster;
pub mod stamps;
pub mod telnet;
pub mod texts;
pub mod wire;
