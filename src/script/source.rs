//! Where scripts are added from: an `http`/`https` folder or a folder of the harddisk, parsed from what the caller typed.
//!
//! Pure: says where to go and which redirects may be followed, and goes nowhere. A password is never part of a message.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use data_encoding::BASE64;
use ureq::http::Uri;

use super::name::ScriptName;
use crate::shown::shown;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Http(HttpFolder),
    /// A folder, relative to the harddisk's root.
    Harddisk(PathBuf),
}

/// A folder on a server. Its text holds no user and no password.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpFolder {
    folder: String,
    authorization: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("the source is empty; {REMEDY}")]
    Empty,
    #[error("scheme `{scheme}` is not supported; {REMEDY}")]
    UnsupportedScheme { scheme: String },
    #[error("the source is not a URL that can be used ({why}); {REMEDY}")]
    BadUrl { why: String },
    #[error(
        "source `{shown}` lies outside the harddisk; copy the script to the harddisk first, then add it from harddisk:/"
    )]
    OutsideHarddisk { shown: String },
}

const REMEDY: &str = "give a folder like http://192.0.2.0/scripts, https://192.0.2.0/scripts or harddisk:/scripts";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    #[error("the redirect holds no usable address")]
    BadLocation,
    #[error("the server redirects to scheme `{scheme}`, which is not followed")]
    ForeignScheme { scheme: String },
    #[error("the server redirects from https down to http, which is not followed")]
    Downgrade,
}

impl Source {
    /// `harddisk` is the real folder behind `harddisk:/`; a plain path is taken if it lies in there.
    pub fn parse(text: &str, harddisk: &Path) -> Result<Self, SourceError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "http" | "https" => HttpFolder::parse(text).map(Self::Http),
                other => Err(SourceError::UnsupportedScheme { scheme: shown(other) }),
            };
        }
        let outside = || SourceError::OutsideHarddisk { shown: shown(text) };
        let unslashed = text.strip_prefix('/').unwrap_or(text);
        if let Some(folder) = unslashed.strip_prefix("harddisk:") {
            return beneath(Path::new(folder.trim_start_matches('/'))).map(Self::Harddisk).ok_or_else(outside);
        }
        if let Some((device, _)) = text.split_once(':') {
            // `user:password@host:/x` must not show up in a message: only a plain word does.
            let is_word = device.chars().all(|character| character.is_ascii_alphanumeric()) && !text.contains('@');
            let scheme = if is_word { shown(device) } else { "scp".to_owned() };
            return Err(SourceError::UnsupportedScheme { scheme });
        }
        let path = Path::new(text);
        let relative = if path.is_absolute() { path.strip_prefix(harddisk).map_err(|_| outside())? } else { path };
        beneath(relative).map(Self::Harddisk).ok_or_else(outside)
    }
}

impl Source {
    /// Whether it was typed with a user in it.
    pub fn has_account(&self) -> bool {
        matches!(self, Self::Http(folder) if folder.authorization.is_some())
    }

    /// The same place, asked by this account; the harddisk asks for none.
    #[must_use]
    pub fn with_account(self, user: &str, password: &str) -> Self {
        match self {
            Self::Http(folder) => {
                let authorization = Some(basic(format!("{user}:{password}").as_bytes()));
                Self::Http(HttpFolder { authorization, ..folder })
            }
            Self::Harddisk(folder) => Self::Harddisk(folder),
        }
    }
}

/// RFC 7617 section 2.
fn basic(credentials: &[u8]) -> String {
    format!("Basic {}", BASE64.encode(credentials))
}

/// For history, logs and messages.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(folder) => folder.folder.fmt(f),
            Self::Harddisk(folder) => write!(f, "harddisk:/{}", shown(&folder.to_string_lossy())),
        }
    }
}

impl fmt::Debug for HttpFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpFolder({})", self.folder)
    }
}

impl HttpFolder {
    fn parse(text: &str) -> Result<Self, SourceError> {
        let bad = |why: &str| SourceError::BadUrl { why: why.to_owned() };
        if text.contains(['?', '#']) {
            return Err(bad("it has a query or a fragment; the file name is put behind the folder"));
        }
        let uri: Uri = text.parse().map_err(|_| bad("it does not parse"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad("it names no host"));
        };
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        let folder = format!("{}://{}{port}{path}", scheme.to_ascii_lowercase(), authority.host());
        let authorization = match authority.as_str().rsplit_once('@') {
            Some((credentials, _)) => {
                let credentials =
                    unescaped(credentials).ok_or_else(|| bad("a % in the password is not escaped as %25"))?;
                Some(basic(&credentials))
            }
            None => None,
        };
        Ok(Self { folder, authorization })
    }

    /// Where one script is. The name is of letters that need no escaping in a URL.
    pub fn url_of(&self, name: &ScriptName) -> Uri {
        format!("{}/{name}", self.folder).parse().expect("a parsed folder with a file name behind it is a URL")
    }

    /// What to send to `url` as `Authorization`: only to the server that the caller gave the password for.
    pub fn authorization_for(&self, url: &Uri) -> Option<&str> {
        let own: Uri = self.folder.parse().ok()?;
        (origin(&own) == origin(url)).then_some(self.authorization.as_deref())?
    }
}

fn origin(url: &Uri) -> (Option<String>, Option<String>, Option<u16>) {
    let scheme = url.scheme_str().map(str::to_ascii_lowercase);
    let port = url.port_u16().or(match scheme.as_deref() {
        Some("https") => Some(443),
        _ => Some(80),
    });
    (scheme, url.host().map(str::to_ascii_lowercase), port)
}

/// Where a `Location` header leads (RFC 9110 section 10.2.2), seen from `from`.
pub fn redirected(from: &Uri, location: &str) -> Result<Uri, RedirectError> {
    let location = location.trim().split('#').next().unwrap_or_default();
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let text = if location.is_empty() {
        return Err(RedirectError::BadLocation);
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if let Some((target, _)) = location.split_once(':')
        && target.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.'))
    {
        let target = target.to_ascii_lowercase();
        match (scheme, target.as_str()) {
            ("https", "http") => return Err(RedirectError::Downgrade),
            (_, "http" | "https") => location.to_owned(),
            _ => return Err(RedirectError::ForeignScheme { scheme: shown(&target) }),
        }
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let url: Uri = text.parse().map_err(|_| RedirectError::BadLocation)?;
    let Some(authority) = url.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(RedirectError::BadLocation);
    };
    // A password that a server hands out is neither used nor shown.
    let plain = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    format!("{}://{plain}{path}", url.scheme_str().unwrap_or(scheme)).parse().map_err(|_| RedirectError::BadLocation)
}

/// `path` without `.` and `..`, or `None` where it climbs out.
fn beneath(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !inside.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            plain.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            plain.push(byte);
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, SourceError> {
        Source::parse(text, Path::new("/srv/device/harddisk"))
    }

    #[test]
    fn a_source_is_a_folder_of_a_server_or_of_the_harddisk() {
        let cases = [
            ("http://192.0.2.0/scripts", "http://192.0.2.0/scripts"),
            ("HTTPS://example.net:8443/a/b/", "https://example.net:8443/a/b"),
            ("http://[2001:db8::1]/s", "http://[2001:db8::1]/s"),
            ("http://192.0.2.0", "http://192.0.2.0"),
            ("harddisk:", "harddisk:/"),
            ("/harddisk:/", "harddisk:/"),
            ("harddisk:/a/../b/./c", "harddisk:/b/c"),
            ("/srv/device/harddisk/mine", "harddisk:/mine"),
            ("mine", "harddisk:/mine"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|source| source.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for wrong in [
            "",
            "ftp://h/x",
            "tftp://h/x",
            "file:///etc",
            "disk0:/x",
            "user@host:/x",
            "/etc",
            "harddisk:/..",
            "harddisk:/a/../../etc",
            "../x",
            "http://",
            "http:///x",
            "http://h/x?y",
            "http://h/x#y",
            "http://h /x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        insta::assert_snapshot!(parse("ftp://h/x").unwrap_err(), @"scheme `ftp` is not supported; give a folder like http://192.0.2.0/scripts, https://192.0.2.0/scripts or harddisk:/scripts");
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let source = parse("http://me:s%40cret@192.0.2.0/scripts").unwrap();
        assert!(!format!("{source} {source:?}").contains("cret"));
        let Source::Http(folder) = source else { panic!("an http source") };
        let url = folder.url_of(&ScriptName::parse("x.py").unwrap());
        assert_eq!(url.to_string(), "http://192.0.2.0/scripts/x.py");
        assert_eq!(folder.authorization_for(&url), Some("Basic bWU6c0BjcmV0"));
        assert_eq!(folder.authorization_for(&"http://192.0.2.1/scripts/x.py".parse().unwrap()), None);
        assert_eq!(folder.authorization_for(&"http://192.0.2.0:81/scripts/x.py".parse().unwrap()), None);
        for wrong in ["me:secret@host:/x", "ftp://me:secret@host/x", "http://me:se%cret@host/x", "http://me:secret@/ x"]
        {
            assert!(!parse(wrong).unwrap_err().to_string().contains("ret"), "{wrong}");
        }
    }

    #[test]
    fn an_account_may_be_given_beside_the_place() {
        let plain = parse("http://192.0.2.0/scripts").unwrap();
        assert!(!plain.has_account() && parse("http://me:x@192.0.2.0/scripts").unwrap().has_account());
        let asked = plain.with_account("me", "s@cret");
        assert!(asked.has_account() && !format!("{asked} {asked:?}").contains("cret"));
        let Source::Http(folder) = asked else { panic!("an http source") };
        let url = folder.url_of(&ScriptName::parse("x.py").unwrap());
        assert_eq!(folder.authorization_for(&url), Some("Basic bWU6c0BjcmV0"));
    }

    #[test]
    fn a_redirect_is_followed_to_the_web_and_never_down() {
        let from: Uri = "https://a.example/s/x.py".parse().unwrap();
        let to = |location: &str| redirected(&from, location).map(|url| url.to_string());
        assert_eq!(to("/y.py"), Ok("https://a.example/y.py".to_owned()));
        assert_eq!(to("y.py"), Ok("https://a.example/s/y.py".to_owned()));
        assert_eq!(to("//b.example/y.py?z=1#f"), Ok("https://b.example/y.py?z=1".to_owned()));
        assert_eq!(to("https://u:p@b.example/y.py"), Ok("https://b.example/y.py".to_owned()));
        assert_eq!(to("HTTP://b.example/y.py"), Err(RedirectError::Downgrade));
        assert_eq!(to("file:///etc/passwd"), Err(RedirectError::ForeignScheme { scheme: "file".to_owned() }));
        assert_eq!(to(""), Err(RedirectError::BadLocation));
        let plain: Uri = "http://a.example/x.py".parse().unwrap();
        assert!(redirected(&plain, "https://b.example/x.py").is_ok());
    }
}
