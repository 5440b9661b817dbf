//! How a container's console is served: who may type, and where it listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Listeners of one console.
pub const LISTENERS_MAX: usize = 8;
pub const SOURCES_MAX: usize = 64;
const MOTD_BYTES_MAX: usize = 1024;
/// Lets in the keeper's account and a group.
pub const SOCKET_MODE_DEFAULT: u32 = 0o660;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConsoleSpec {
    /// conserver's way: who comes second watches. Otherwise all who may write do.
    pub one_writer: bool,
    /// Lines that are shown at once to who attaches.
    pub replay_lines: u16,
    /// Shown to who attaches; empty for none.
    pub motd: String,
    /// Who came, went and took over stands in the console, and so in the log; when its program began and ended, too.
    pub marks: bool,
    /// Bytes that never reach the program.
    pub ignored: Vec<u8>,
    pub keys: ActingKeys,
    /// By their letters.
    pub breaks: Vec<(u8, Vec<Sent>)>,
    pub listeners: Vec<ListenerSpec>,
    /// The time stands in console and log so often.
    pub mark_every: Option<Duration>,
    /// What procServ's texts call it, if not by its name.
    pub title: Option<String>,
}

/// Keys that act at listeners in procServ's manner; `None` switches one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActingKeys {
    pub kill: Option<u8>,
    pub toggle: Option<u8>,
    pub logout: Option<u8>,
}

impl Default for ActingKeys {
    fn default() -> Self {
        Self { kill: Some(0x18), toggle: Some(0x14), logout: None }
    }
}

/// A piece of what a break sequence sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sent {
    Bytes(Vec<u8>),
    Break,
    /// Nothing for so long.
    Pause {
        millis: u16,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    pub place: Place,
    pub speaks: Speaks,
    /// Who comes by here may type.
    pub write: bool,
    /// Who may come by TCP; with none, only this host.
    pub sources: Vec<Network>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Unix { path: PathBuf, mode: u32, owner: Option<String>, group: Option<String> },
    Tcp { address: SocketAddr },
}

impl Place {
    /// Two sockets cannot be there.
    pub fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix { path: one, .. }, Self::Unix { path: two, .. }) => one == two,
            (Self::Tcp { address: one }, Self::Tcp { address: two }) => one == two,
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Tcp { address } => write!(f, "tcp:{address}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Speaks {
    /// procServ's banner and keys, with telnet's two requests.
    #[default]
    ProcServ,
    /// Nothing but what the program prints and is typed to it.
    Raw,
    /// procServ's short banner, then what the program prints; nothing is heard.
    Log,
}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub address: IpAddr,
    pub bits: u8,
}

impl Network {
    /// `10.0.0.0/8`, `::1`, `192.168.1.7`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(u128::from(own.to_bits()) << 96, u128::from(other.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), self.bits),
            _ => false,
        }
    }
}

fn same(one: u128, other: u128, bits: u8) -> bool {
    bits == 0 || (one ^ other) >> (128 - u32::from(bits)) == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidConsole {
    #[error("a console has at most {LISTENERS_MAX} listeners, each with at most {SOURCES_MAX} sources")]
    TooMany,
    #[error("the console's `{place}` lets in other hosts: name those that may come as its sources")]
    Open { place: Place },
    #[error("the console's socket `{}` is not an absolute path", path.display())]
    RelativePath { path: PathBuf },
    #[error("the console's message of the day is too long, or holds control characters")]
    Motd,
    #[error("two listeners of the console are at `{place}`")]
    Twice { place: Place },
}

impl ConsoleSpec {
    pub fn check(&self) -> Result<(), InvalidConsole> {
        if self.listeners.len() > LISTENERS_MAX
            || self.listeners.iter().any(|listener| listener.sources.len() > SOURCES_MAX)
        {
            return Err(InvalidConsole::TooMany);
        }
        if self.motd.len() > MOTD_BYTES_MAX || self.motd.chars().any(char::is_control) {
            return Err(InvalidConsole::Motd);
        }
        let port_0 = |place: &Place| matches!(place, Place::Tcp { address } if address.port() == 0);
        for (at, listener) in self.listeners.iter().enumerate() {
            if !port_0(&listener.place) && self.listeners[..at].iter().any(|other| other.place.is_at(&listener.place)) {
                return Err(InvalidConsole::Twice { place: listener.place.clone() });
            }
            match &listener.place {
                Place::Tcp { address } if !address.ip().is_loopback() && listener.sources.is_empty() => {
                    return Err(InvalidConsole::Open { place: listener.place.clone() });
                }
                Place::Unix { path, .. } if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) => {
                    return Err(InvalidConsole::RelativePath { path: path.clone() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl ListenerSpec {
    /// Whether somebody from there is let in.
    pub fn admits(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        if self.sources.is_empty() { from.is_loopback() } else { self.sources.iter().any(|source| source.holds(from)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str, sources: &[&str]) -> ListenerSpec {
        ListenerSpec {
            place: Place::Tcp { address: address.parse().unwrap() },
            speaks: Speaks::ProcServ,
            write: false,
            sources: sources.iter().map(|text| Network::parse(text).unwrap()).collect(),
        }
    }

    fn check(listener: ListenerSpec) -> Result<(), String> {
        ConsoleSpec { listeners: vec![listener], ..ConsoleSpec::default() }.check().map_err(|why| why.to_string())
    }

    #[test]
    fn who_comes_from_elsewhere_must_be_named() {
        assert_eq!(check(tcp("127.0.0.1:2000", &[])), Ok(()));
        assert_eq!(check(tcp("[::1]:2000", &[])), Ok(()));
        assert_eq!(
            check(tcp("0.0.0.0:2000", &[])),
            Err("the console's `tcp:0.0.0.0:2000` lets in other hosts: name those that may come as its sources".into())
        );
        assert_eq!(check(tcp("0.0.0.0:2000", &["10.0.0.0/8"])), Ok(()));
    }

    #[test]
    fn two_listeners_are_never_at_one_place() {
        let twice = ConsoleSpec { listeners: vec![tcp("[::1]:7", &[]), tcp("[::1]:7", &[])], ..ConsoleSpec::default() };
        assert!(matches!(twice.check(), Err(InvalidConsole::Twice { .. })));
        let any = ConsoleSpec { listeners: vec![tcp("[::1]:0", &[]), tcp("[::1]:0", &[])], ..ConsoleSpec::default() };
        assert_eq!(any.check(), Ok(()));
    }

    #[test]
    fn a_source_is_a_network_or_one_address() {
        let listener = tcp("0.0.0.0:2000", &["10.0.0.0/8", "192.168.1.7", "fd00::/8"]);
        for (from, is_in) in [
            ("10.1.2.3", true),
            ("11.1.2.3", false),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("::ffff:10.0.0.1", true),
            ("fd12::1", true),
            ("fe80::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(listener.admits(from.parse().unwrap()), is_in, "{from}");
        }
        assert!(tcp("127.0.0.1:1", &[]).admits("::1".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "x", "10.0.0.0/", "::1/129"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().holds("1.2.3.4".parse().unwrap()));
    }
}
