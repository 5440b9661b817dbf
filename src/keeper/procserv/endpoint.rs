//! Where a console is served: `2000`, `127.0.0.1:2000`, `[::1]:2000`, `unix:PATH`, `unix:USER:GROUP:MODE:PATH`, `unix:@NAME`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

/// procServ's: whoever can reach the path may type.
pub const MODE_DEFAULT: u32 = 0o666;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Tcp { address: SocketAddr },
    Unix { path: PathBuf, user: Option<String>, group: Option<String>, mode: u32 },
    Abstract { name: String },
}

/// Who may come by TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    ThisHost,
    Anybody,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no endpoint: give PORT, ADDRESS:PORT, unix:PATH, unix:USER:GROUP:MODE:PATH or unix:@NAME")]
pub struct WrongEndpoint {
    pub text: String,
}

impl Endpoint {
    pub fn parse(text: &str, reach: Reach) -> Result<Self, WrongEndpoint> {
        let wrong = || WrongEndpoint { text: text.to_owned() };
        if let Some(place) = text.strip_prefix("unix:") {
            return parse_unix(place).ok_or_else(wrong);
        }
        let address = match text.parse::<u16>() {
            Ok(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            Err(_) => text.parse().map_err(|_| wrong())?,
        };
        Ok(Self::Tcp { address: within(address, reach) })
    }
}

/// As in procServ, the address is not looked at where only this host is served.
fn within(address: SocketAddr, reach: Reach) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    match reach {
        Reach::ThisHost => SocketAddr::new(loopback, address.port()),
        Reach::Anybody => address,
    }
}

fn parse_unix(place: &str) -> Option<Endpoint> {
    if let Some(name) = place.strip_prefix('@') {
        return (!name.is_empty()).then(|| Endpoint::Abstract { name: name.to_owned() });
    }
    let words: Vec<&str> = place.splitn(4, ':').collect();
    let given = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    let endpoint = match words[..] {
        [path] => Endpoint::Unix { path: path.into(), user: None, group: None, mode: MODE_DEFAULT },
        [user, group, mode, path] => Endpoint::Unix {
            path: path.into(),
            user: given(user),
            group: given(group),
            mode: if mode.is_empty() { MODE_DEFAULT } else { u32::from_str_radix(mode, 8).ok()? & 0o7777 },
        },
        _ => return None,
    };
    (!words.last()?.is_empty()).then_some(endpoint)
}

/// As the info file lists it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address } => write!(f, "tcp:{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Abstract { name } => write!(f, "unix:@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> String {
        Endpoint::parse(text, Reach::ThisHost).map_or_else(|wrong| wrong.to_string(), |endpoint| endpoint.to_string())
    }

    #[test]
    fn control_is_for_this_host_whatever_address_is_given() {
        assert_eq!(local("2000"), "tcp:127.0.0.1:2000");
        assert_eq!(local("10.0.0.7:2000"), "tcp:127.0.0.1:2000");
        assert_eq!(local("[fe80::1]:2000"), "tcp:[::1]:2000");
        let open = |text| Endpoint::parse(text, Reach::Anybody).unwrap().to_string();
        assert_eq!((open("2001"), open("10.0.0.7:1")), ("tcp:0.0.0.0:2001".into(), "tcp:10.0.0.7:1".into()));
    }

    #[test]
    fn a_path_may_have_an_owner_a_group_and_a_mode_each_of_them_or_none() {
        let parse = |text| Endpoint::parse(text, Reach::ThisHost);
        let unix = |user: Option<&str>, group: Option<&str>, mode| {
            let (user, group) = (user.map(str::to_owned), group.map(str::to_owned));
            Ok(Endpoint::Unix { path: "/run/x".into(), user, group, mode })
        };
        assert_eq!(parse("unix:/run/x"), unix(None, None, 0o666));
        assert_eq!(parse("unix:ioc:ops:0660:/run/x"), unix(Some("ioc"), Some("ops"), 0o660));
        assert_eq!(parse("unix::ops::/run/x"), unix(None, Some("ops"), 0o666));
        assert_eq!(local("unix:@name"), "unix:@name");
    }

    #[test]
    fn nonsense_is_refused_with_what_would_do() {
        for text in ["", "2000x", "70000", "unix:", "unix:@", "unix:a:b:/x", "unix:::9:/x", "host:1"] {
            assert!(local(text).starts_with(&format!("`{text}` is no endpoint: give PORT")), "{text}");
        }
    }
}
