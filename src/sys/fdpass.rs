//! Frames and descriptors over a Unix `SOCK_SEQPACKET` socket: one frame is one packet, its descriptors ride along.
//!
//! Packets keep their boundaries and arrive whole, so there is no length prefix and no partial read. A frame is at most
//! [`FRAME_BYTES_MAX`]; larger things travel as descriptors of memfds.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recv, recvmsg, sendmsg,
    socket, socketpair,
};

/// The kernel's limit of descriptors a message (`SCM_MAX_FD`).
pub const FDS_PER_FRAME_MAX: usize = 253;

/// Well below the default socket buffer (208 KiB), so that a packet always fits an empty buffer.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// What is read of a datagram; the rest of a longer one is lost.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// What arrived: the bytes, and the descriptors in the order they were sent.
#[derive(Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// A connected pair, close-on-exec.
pub fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// A blocking connection to whoever listens at `path`; `None` where nobody does.
pub fn connect(path: &Path) -> nix::Result<Option<OwnedFd>> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    match nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From now on each message that the socket receives names the account of its sender.
pub fn tell_senders(socket: &impl AsFd) -> nix::Result<()> {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::PassCred, &true)
}

/// One datagram and the user number of who sent it; descriptors that come with it are closed.
pub fn receive_from(socket: &impl AsFd) -> nix::Result<(Vec<u8>, u32)> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    let mut control = nix::cmsg_space!(nix::libc::ucred, [RawFd; FDS_PER_FRAME_MAX]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut sender = None;
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials.uid()),
            ControlMessageOwned::ScmRights(fds) => {
                fds.into_iter().for_each(|fd| drop(super::process::owned(fd)));
            }
            _ => {}
        }
    }
    let length = message.bytes;
    bytes.truncate(length);
    Ok((bytes, sender.ok_or(Errno::EPERM)?))
}

/// Sends one frame. On a non-blocking socket `EAGAIN` means that the peer's queue is full; nothing was sent.
pub fn send(socket: &impl AsFd, bytes: &[u8], fds: &[impl AsFd]) -> nix::Result<()> {
    if bytes.is_empty() || bytes.len() > FRAME_BYTES_MAX || fds.len() > FDS_PER_FRAME_MAX {
        return Err(Errno::EMSGSIZE);
    }
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a descriptor and nothing else, as a message of its own.
pub fn send_alone(socket: &impl AsFd, fd: &impl AsFd) -> nix::Result<()> {
    let raw = [fd.as_fd().as_raw_fd()];
    let control = [ControlMessage::ScmRights(&raw)];
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[], &control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// As [`send`] on a non-blocking socket, but waits for room in the peer's queue, so many milliseconds at most.
pub fn send_within(socket: &impl AsFd, bytes: &[u8], fds: &[impl AsFd], wait_ms: u16) -> nix::Result<()> {
    loop {
        match send(socket, bytes, fds) {
            Err(Errno::EAGAIN) if wait(socket, PollFlags::POLLOUT, wait_ms)? => {}
            other => return other,
        }
    }
}

/// Waits until the socket is ready; `false` when the time is up. A peer that hung up counts as ready: the call that
/// follows says so.
pub fn wait(socket: &impl AsFd, flags: PollFlags, timeout_ms: u16) -> nix::Result<bool> {
    loop {
        match poll(&mut [PollFd::new(socket.as_fd(), flags)], PollTimeout::from(timeout_ms)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives one frame; `None` when the peer has closed. `EAGAIN` on a non-blocking socket with nothing to read.
pub fn receive(socket: &impl AsFd) -> nix::Result<Option<Frame>> {
    take(socket, MsgFlags::empty())
}

/// The frame that [`receive`] would give next, with copies of its descriptors. It stays where it is. Never waits.
pub fn peek(socket: &impl AsFd) -> nix::Result<Option<Frame>> {
    take(socket, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
}

/// Forgets the frame that [`receive`] would give next; the kernel closes what came with it. Never waits.
pub fn discard(socket: &impl AsFd) -> nix::Result<()> {
    recv(socket.as_fd().as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT).map(drop)
}

/// The bytes of all frames that wait.
pub fn waiting(socket: &impl AsFd) -> nix::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int through the pointer, which is to one.
    #[expect(unsafe_code, reason = "nix has no safe form of this question")]
    Errno::result(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn take(socket: &impl AsFd, how: MsgFlags) -> nix::Result<Option<Frame>> {
    let mut bytes = vec![0; FRAME_BYTES_MAX];
    let mut control = nix::cmsg_space!([RawFd; FDS_PER_FRAME_MAX]);
    let how = how | MsgFlags::MSG_CMSG_CLOEXEC;
    let (length, flags, fds) = loop {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let result = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut control), how);
        match result {
            Ok(message) => {
                let mut fds = Vec::new();
                for item in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = item {
                        fds.extend(raw.into_iter().map(adopt));
                    }
                }
                break (message.bytes, message.flags, fds);
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    };
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    if length == 0 {
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some(Frame { bytes, fds }))
}

/// A datagram of up to so many bytes, and the descriptor that came with it.
#[cfg(test)]
pub fn receive_with_one(socket: &impl AsFd, bytes_max: usize) -> nix::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; bytes_max];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let mut fd = None;
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = item {
            fd = raw.into_iter().map(adopt).next();
        }
    }
    let length = message.bytes;
    bytes.truncate(length);
    Ok((bytes, fd))
}

fn adopt(raw: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed this descriptor for us by SCM_RIGHTS; nobody else in this process knows it.
    #[expect(unsafe_code, reason = "the one place where a received descriptor gets its owner")]
    unsafe {
        OwnedFd::from_raw_fd(raw)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (left, right) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        send(&left, b"hello", &[&file]).unwrap();
        let frame = receive(&right).unwrap().unwrap();
        assert_eq!(frame.bytes, b"hello");
        let mut copy = std::fs::File::from(frame.fds.into_iter().next().unwrap());
        copy.rewind().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
    }

    #[test]
    fn a_closed_peer_is_the_end_of_the_stream() {
        let (left, right) = pair().unwrap();
        drop(left);
        assert!(receive(&right).unwrap().is_none());
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_sent() {
        let (left, _right) = pair().unwrap();
        let none: [OwnedFd; 0] = [];
        assert_eq!(send(&left, &vec![0; FRAME_BYTES_MAX + 1], &none), Err(Errno::EMSGSIZE));
    }
}
