//! A parcel: one deposit as the content of a socket's queue, so that whoever holds the socket holds all of it.
//!
//! ```text
//!  put --> [inlet]======= newest, older =======[outlet] --> the older is forgotten
//!                                                  `--> look: a copy of the newest
//! ```
//! The kernel keeps bytes and descriptors of a packet together in the queue of its receiver. So a keeper of descriptors that
//! knows nothing else (systemd) keeps two of them, once, and whatever is put later needs no word to it. There is no moment
//! without a whole content: the newer is behind the older before that goes. Must not know: what is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::deposit::set_nonblocking;
use crate::sys::fdpass::{self, Frame};
use crate::sys::low::high;

#[derive(Debug)]
pub struct Parcel {
    inlet: OwnedFd,
    outlet: OwnedFd,
}

impl Parcel {
    pub fn new() -> nix::Result<Self> {
        let (inlet, outlet) = fdpass::pair()?;
        let parcel = Self { inlet: high(inlet), outlet: high(outlet) };
        set_nonblocking(&parcel.inlet)?;
        set_nonblocking(&parcel.outlet)?;
        Ok(parcel)
    }

    /// From both ends, in any order; and what is in it.
    pub fn of(one: OwnedFd, other: OwnedFd) -> nix::Result<(Self, Option<Frame>)> {
        let found = newest(&one)?;
        if found.is_some() {
            return Ok((Self { inlet: other, outlet: one }, found));
        }
        let found = newest(&other)?;
        Ok((Self { inlet: one, outlet: other }, found))
    }

    pub fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.inlet.as_fd(), self.outlet.as_fd()]
    }

    /// In the place of what is in it. What is refused leaves that where it is.
    pub fn put(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        fdpass::send(&self.inlet, bytes, fds)?;
        while fdpass::waiting(&self.outlet)? > bytes.len() {
            fdpass::discard(&self.outlet)?;
        }
        Ok(())
    }

    pub fn clear(&self) {
        while fdpass::discard(&self.outlet).is_ok() {}
    }
}

/// What was put last into the parcel of which this is an end.
pub fn newest(end: &OwnedFd) -> nix::Result<Option<Frame>> {
    loop {
        let frame = match fdpass::peek(end) {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error),
        };
        if fdpass::waiting(end)? <= frame.bytes.len() {
            return Ok(Some(frame));
        }
        fdpass::discard(end)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn ends_of(parcel: &Parcel) -> [OwnedFd; 2] {
        parcel.ends().map(|end| end.try_clone_to_owned().unwrap())
    }

    #[test]
    fn what_was_put_last_is_found_by_both_ends_in_any_order_and_stays() {
        let parcel = Parcel::new().unwrap();
        let [one, other] = ends_of(&parcel);
        assert!(Parcel::of(one, other).unwrap().1.is_none());
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        parcel.put(b"first", &[reader.as_fd()]).unwrap();
        parcel.put(&[7; 40_000], &[writer.as_fd()]).unwrap();
        parcel.put(b"last", &[writer.as_fd()]).unwrap();
        for swapped in [false, true] {
            let [one, other] = ends_of(&parcel);
            let (again, found) = if swapped { Parcel::of(other, one) } else { Parcel::of(one, other) }.unwrap();
            let found = found.unwrap();
            assert_eq!((found.bytes.as_slice(), found.fds.len()), (&b"last"[..], 1));
            again.put(b"last", &[writer.as_fd()]).unwrap();
        }
        writer.write_all(b"it is that pipe").unwrap();
        parcel.clear();
        let [one, other] = ends_of(&parcel);
        assert!(Parcel::of(one, other).unwrap().1.is_none());
        drop(writer);
        let mut text = String::new();
        // The end comes only if no copy of the writer has stayed in the parcel.
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "it is that pipe");
    }

    #[test]
    fn of_a_put_that_was_cut_off_the_newer_is_found() {
        let parcel = Parcel::new().unwrap();
        for content in [&b"older"[..], b"newer and longer"] {
            fdpass::send(&parcel.inlet, content, &[] as &[OwnedFd]).unwrap();
        }
        let [one, other] = ends_of(&parcel);
        assert_eq!(Parcel::of(one, other).unwrap().1.unwrap().bytes, b"newer and longer");
    }
}
