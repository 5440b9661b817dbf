//! The packets of the SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02), and of the OpenSSH
//! extensions that its clients ask for. Bytes to values and back.
//!
//! Must not know: files.

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) const VERSION: u32 = 3;

/// A client's packet: OpenSSH sends at most this.
pub(super) const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// What fits in a packet with its header.
pub(super) const DATA_BYTES_MAX: u32 = PACKET_BYTES_MAX - 1024;

pub(super) const READ: u32 = 0x01;
pub(super) const WRITE: u32 = 0x02;
pub(super) const APPEND: u32 = 0x04;
pub(super) const CREATE: u32 = 0x08;
pub(super) const TRUNCATE: u32 = 0x10;
pub(super) const EXCLUSIVE: u32 = 0x20;

const EXTENSIONS: [(&str, &str); 4] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fsync@openssh.com", "1"),
    ("limits@openssh.com", "1"),
];

/// SSH_FX codes of version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    EndOfFile = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    Unsupported = 8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    /// Accessed, modified: seconds since 1970.
    pub(super) times: Option<(u32, u32)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Init {
        version: u32,
    },
    Open {
        path: Bytes,
        flags: u32,
        attributes: Attributes,
    },
    Close {
        handle: Bytes,
    },
    Read {
        handle: Bytes,
        offset: u64,
        length: u32,
    },
    Write {
        handle: Bytes,
        offset: u64,
        data: Bytes,
    },
    /// A link is never followed, so both stats are one.
    Stat {
        path: Bytes,
    },
    StatHandle {
        handle: Bytes,
    },
    SetStat {
        path: Bytes,
        attributes: Attributes,
    },
    SetStatHandle {
        handle: Bytes,
        attributes: Attributes,
    },
    OpenFolder {
        path: Bytes,
    },
    ReadFolder {
        handle: Bytes,
    },
    Remove {
        path: Bytes,
    },
    MakeFolder {
        path: Bytes,
        attributes: Attributes,
    },
    RemoveFolder {
        path: Bytes,
    },
    RealPath {
        path: Bytes,
    },
    Rename {
        from: Bytes,
        to: Bytes,
        replace: bool,
    },
    Sync {
        handle: Bytes,
    },
    Space {
        path: Bytes,
    },
    Limits,
    /// Links, and extensions that were not offered.
    Unsupported,
}

/// The packet is not what the protocol says. The request it belonged to, where that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) id: Option<u32>,
}

/// One packet without its length. An init carries no id; it is given 0.
pub(super) fn parse(mut packet: Bytes) -> Result<(u32, Request), Malformed> {
    let kind = u8_of(&mut packet).ok_or(Malformed { id: None })?;
    let id = u32_of(&mut packet).ok_or(Malformed { id: None })?;
    if kind == 1 {
        return Ok((0, Request::Init { version: id }));
    }
    let request = request(kind, &mut packet).ok_or(Malformed { id: Some(id) })?;
    Ok((id, request))
}

fn request(kind: u8, rest: &mut Bytes) -> Option<Request> {
    Some(match kind {
        3 => Request::Open { path: string(rest)?, flags: u32_of(rest)?, attributes: attributes(rest)? },
        4 => Request::Close { handle: string(rest)? },
        5 => Request::Read { handle: string(rest)?, offset: u64_of(rest)?, length: u32_of(rest)? },
        6 => Request::Write { handle: string(rest)?, offset: u64_of(rest)?, data: string(rest)? },
        7 | 17 => Request::Stat { path: string(rest)? },
        8 => Request::StatHandle { handle: string(rest)? },
        9 => Request::SetStat { path: string(rest)?, attributes: attributes(rest)? },
        10 => Request::SetStatHandle { handle: string(rest)?, attributes: attributes(rest)? },
        11 => Request::OpenFolder { path: string(rest)? },
        12 => Request::ReadFolder { handle: string(rest)? },
        13 => Request::Remove { path: string(rest)? },
        14 => Request::MakeFolder { path: string(rest)?, attributes: attributes(rest)? },
        15 => Request::RemoveFolder { path: string(rest)? },
        16 => Request::RealPath { path: string(rest)? },
        18 => Request::Rename { from: string(rest)?, to: string(rest)?, replace: false },
        200 => match string(rest)?.as_ref() {
            b"posix-rename@openssh.com" => Request::Rename { from: string(rest)?, to: string(rest)?, replace: true },
            b"fsync@openssh.com" => Request::Sync { handle: string(rest)? },
            b"statvfs@openssh.com" => Request::Space { path: string(rest)? },
            b"limits@openssh.com" => Request::Limits,
            _ => Request::Unsupported,
        },
        _ => Request::Unsupported,
    })
}

fn attributes(rest: &mut Bytes) -> Option<Attributes> {
    let flags = u32_of(rest)?;
    let mut read = Attributes::default();
    if flags & 1 != 0 {
        read.size = Some(u64_of(rest)?);
    }
    if flags & 2 != 0 {
        read.owner = Some((u32_of(rest)?, u32_of(rest)?));
    }
    if flags & 4 != 0 {
        read.mode = Some(u32_of(rest)?);
    }
    if flags & 8 != 0 {
        read.times = Some((u32_of(rest)?, u32_of(rest)?));
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..u32_of(rest)? {
            string(rest)?;
            string(rest)?;
        }
    }
    Some(read)
}

fn u8_of(rest: &mut Bytes) -> Option<u8> {
    rest.try_get_u8().ok()
}

fn u32_of(rest: &mut Bytes) -> Option<u32> {
    rest.try_get_u32().ok()
}

fn u64_of(rest: &mut Bytes) -> Option<u64> {
    rest.try_get_u64().ok()
}

fn string(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(u32_of(rest)?).ok()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// A packet in the making; the length goes in when it is done.
struct Packet(BytesMut);

impl Packet {
    fn new(kind: u8) -> Self {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_u32(0);
        bytes.put_u8(kind);
        Self(bytes)
    }

    fn reply(kind: u8, id: u32) -> Self {
        Self::new(kind).u32(id)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.put_u64(value);
        self
    }

    fn string(mut self, value: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(value.len()).expect("a packet holds far less than 4 GiB"));
        self.0.put_slice(value);
        self
    }

    fn attributes(mut self, given: &Attributes) -> Self {
        let flag = |present: bool, bit: u32| if present { bit } else { 0 };
        let owner = flag(given.owner.is_some(), 2);
        let times = flag(given.times.is_some(), 8);
        self = self.u32(flag(given.size.is_some(), 1) | owner | flag(given.mode.is_some(), 4) | times);
        if let Some(size) = given.size {
            self = self.u64(size);
        }
        if let Some((user, group)) = given.owner {
            self = self.u32(user).u32(group);
        }
        if let Some(mode) = given.mode {
            self = self.u32(mode);
        }
        if let Some((accessed, modified)) = given.times {
            self = self.u32(accessed).u32(modified);
        }
        self
    }

    fn done(mut self) -> Bytes {
        let length = u32::try_from(self.0.len() - 4).expect("a packet holds far less than 4 GiB");
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0.freeze()
    }
}

pub(super) fn version() -> Bytes {
    let hello = Packet::new(2).u32(VERSION);
    EXTENSIONS.iter().fold(hello, |hello, (name, data)| hello.string(name.as_bytes()).string(data.as_bytes())).done()
}

pub(super) fn status(id: u32, code: Code, message: &str) -> Bytes {
    Packet::reply(101, id).u32(code as u32).string(message.as_bytes()).string(b"en").done()
}

pub(super) fn handle(id: u32, handle: &[u8]) -> Bytes {
    Packet::reply(102, id).string(handle).done()
}

pub(super) fn data(id: u32, data: &[u8]) -> Bytes {
    Packet::reply(103, id).string(data).done()
}

/// One name: as programs read it, as people read it, and what it is.
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    pub(super) line: Vec<u8>,
    pub(super) attributes: Attributes,
}

pub(super) fn names(id: u32, names: &[Name]) -> Bytes {
    let count = u32::try_from(names.len()).expect("a reply holds a bounded number of names");
    names
        .iter()
        .fold(Packet::reply(104, id).u32(count), |reply, entry| {
            reply.string(&entry.name).string(&entry.line).attributes(&entry.attributes)
        })
        .done()
}

pub(super) fn attributes_reply(id: u32, attributes: &Attributes) -> Bytes {
    Packet::reply(105, id).attributes(attributes).done()
}

/// An extension's reply that is a row of numbers.
pub(super) fn numbers(id: u32, numbers: &[u64]) -> Bytes {
    numbers.iter().fold(Packet::reply(201, id), |reply, number| reply.u64(*number)).done()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(build: impl FnOnce(Packet) -> Packet, kind: u8) -> Bytes {
        build(Packet::reply(kind, 7)).done().slice(4..)
    }

    #[test]
    fn an_open_is_read_back_with_its_attributes() {
        let attributes = Attributes { size: Some(1), owner: Some((2, 3)), mode: Some(0o644), times: Some((4, 5)) };
        let bytes = packet(|packet| packet.string(b"/a").u32(READ | WRITE).attributes(&attributes), 3);
        let request = Request::Open { path: Bytes::from_static(b"/a"), flags: 3, attributes };
        assert_eq!(parse(bytes), Ok((7, request)));
    }

    #[test]
    fn a_packet_cut_anywhere_is_malformed_and_names_its_request() {
        let attributes = Attributes { mode: Some(0o644), ..Attributes::default() };
        let whole = packet(|packet| packet.string(b"/a").u32(READ).attributes(&attributes), 3);
        for length in 0..whole.len() {
            let id = (length >= 5).then_some(7);
            assert_eq!(parse(whole.slice(..length)), Err(Malformed { id }), "{length}");
        }
    }

    #[test]
    fn a_length_beyond_the_packet_is_malformed() {
        let bytes = packet(|packet| packet.u32(u32::MAX), 4);
        assert_eq!(parse(bytes), Err(Malformed { id: Some(7) }));
        let many_extended = packet(|packet| packet.string(b"a").u32(0x8000_0000).u32(u32::MAX), 9);
        assert_eq!(parse(many_extended), Err(Malformed { id: Some(7) }));
    }

    #[test]
    fn what_is_not_known_is_unsupported() {
        assert_eq!(parse(packet(|packet| packet.string(b"hardlink@openssh.com"), 200)), Ok((7, Request::Unsupported)));
        assert_eq!(parse(packet(|packet| packet, 99)), Ok((7, Request::Unsupported)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = parse(Bytes::from(bytes));
        }
    }
}
