//! Where a file is that `copy` and `scp` name: on this device, on a web server, on a host that speaks SSH. Pure.

use std::fmt;

const SSH_PORT: u16 = 22;

/// A file of another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub user: String,
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.path)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Here(String),
    Web(String),
    There(Remote),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    #[error(
        "`{0}` is no scheme for files: there are http, https, scp and sftp; other hosts may push files by sftp or scp"
    )]
    Scheme(String),
    #[error("a password in an address would be read by others; leave it out, and it is asked for")]
    Password,
    #[error("`{0}` names no file of a host: write scp://USER@HOST/PATH or USER@HOST:PATH")]
    Incomplete(String),
}

impl Place {
    /// `user` is who one is there if the address does not say.
    pub fn parse(text: &str, user: &str) -> Result<Self, NoPlace> {
        let incomplete = || NoPlace::Incomplete(text.to_owned());
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "http" | "https" => Ok(Self::Web(text.to_owned())),
                "scp" | "sftp" => {
                    let (authority, path) = rest.split_once('/').ok_or_else(incomplete)?;
                    remote(authority, format!("/{path}"), user, true).ok_or_else(incomplete)?
                }
                _ => Err(NoPlace::Scheme(scheme.to_owned())),
            };
        }
        match text.split_once(':') {
            Some((disk, _)) if matches!(disk.trim_start_matches('/'), "harddisk") => Ok(Self::Here(text.to_owned())),
            // What stands before the colon of `USER@HOST:PATH` has no slash.
            Some((authority, path)) if !authority.contains('/') => {
                remote(authority, path.to_owned(), user, false).ok_or_else(incomplete)?
            }
            _ => Ok(Self::Here(text.to_owned())),
        }
    }

    /// What it is called where it is.
    pub fn file_name(&self) -> &str {
        let path = match self {
            Self::Here(path) => path.as_str(),
            Self::Web(address) => address.split(['?', '#']).next().unwrap_or(address),
            Self::There(remote) => &remote.path,
        };
        path.rsplit(['/', ':']).next().unwrap_or("")
    }
}

fn remote(authority: &str, path: String, user: &str, has_port: bool) -> Option<Result<Place, NoPlace>> {
    let (named, host) = authority.rsplit_once('@').unwrap_or((user, authority));
    if named.contains(':') {
        return Some(Err(NoPlace::Password));
    }
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None if has_port => host.rsplit_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        None => (host, None),
    };
    let port = port.map_or(Some(SSH_PORT), |port| port.parse().ok())?;
    if named.is_empty() || host.is_empty() || path.is_empty() || path.ends_with('/') {
        return None;
    }
    Some(Ok(Place::There(Remote { user: named.to_owned(), host: host.to_owned(), port, path })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match Place::parse(text, "me") {
            Ok(Place::There(remote)) => format!("{remote} port {}", remote.port),
            Ok(place) => format!("{place:?}"),
            Err(reason) => format!("! {reason}"),
        }
    }

    #[test]
    fn addresses_are_those_of_routers_and_of_scp() {
        let texts = [
            "userx@192.0.2.0:/scripts/a.py",
            "host:a.py",
            "scp://ann@host:2222/srv/a.py",
            "sftp://[2001:db8::1]/a.py",
            "/harddisk:/a.py",
            "harddisk:a.py",
            "https://host/a.py",
            "tftp://host/a.py",
            "scp://ann:secret@host/a.py",
            "scp://host",
            "ann@host:",
            "scp://ann@host:x/a",
        ];
        insta::assert_snapshot!(texts.map(told).join("\n"), @r#"
        userx@192.0.2.0:/scripts/a.py port 22
        me@host:a.py port 22
        ann@host:/srv/a.py port 2222
        me@2001:db8::1:/a.py port 22
        Here("/harddisk:/a.py")
        Here("harddisk:a.py")
        Web("https://host/a.py")
        ! `tftp` is no scheme for files: there are http, https, scp and sftp; other hosts may push files by sftp or scp
        ! a password in an address would be read by others; leave it out, and it is asked for
        ! `scp://host` names no file of a host: write scp://USER@HOST/PATH or USER@HOST:PATH
        ! `ann@host:` names no file of a host: write scp://USER@HOST/PATH or USER@HOST:PATH
        ! `scp://ann@host:x/a` names no file of a host: write scp://USER@HOST/PATH or USER@HOST:PATH
        "#);
        let name = |text: &str| Place::parse(text, "me").unwrap().file_name().to_owned();
        assert_eq!(name("ann@host:/x/a.py"), "a.py");
        assert_eq!(name("host:a.py"), "a.py");
        assert_eq!(name("https://host/x/a.py?y=/z"), "a.py");
        assert_eq!(name("/harddisk:/x/a.py"), "a.py");
    }
}
