//! Where a configuration is kept beside the datastores (RFC 6241 section 8.8): files of the device, and https servers.
//!
//! Pure; who reads and writes there is `urls.rs` and what it is given.

use crate::shown::shown;

/// Longer ones are no addresses.
pub const URL_BYTES_MAX: usize = 4096;

/// What the capability says.
pub const SCHEMES: &str = "file,https";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// A file of the device, by its device path: `/harddisk:/configs/a.xml`.
    File(String),
    Https(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    #[error("a URL of {bytes} bytes is longer than {URL_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("URLs of the scheme `{scheme}` are not served; file:///harddisk:/FOLDER/FILE and https://HOST/FILE are")]
    Scheme { scheme: String },
    #[error("a file URL names a file of this device, not of host `{host}`; write file:///harddisk:/FOLDER/FILE")]
    OtherHost { host: String },
    #[error("the URL cannot be read; write file:///harddisk:/FOLDER/FILE or https://HOST/FILE")]
    Unreadable,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, UrlRefused> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlRefused::TooLong { bytes: text.len() });
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(UrlRefused::Unreadable);
        }
        let (scheme, rest) = text.split_once(':').ok_or(UrlRefused::Unreadable)?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" if rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) => {
                Ok(Url::Https(text.to_owned()))
            }
            "file" => file(rest),
            "https" => Err(UrlRefused::Unreadable),
            other => Err(UrlRefused::Scheme { scheme: shown(other) }),
        }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Url::File(path) => write!(f, "file://{path}"),
            // A query may hold a signature, and what stands before the host a password.
            Url::Https(url) => {
                let plain = url.split(['?', '#']).next().unwrap_or_default();
                let (scheme, rest) = plain.split_once("//").unwrap_or(("https:", plain));
                let authority = rest.split('/').next().unwrap_or_default();
                let hidden = authority.rfind('@').map_or(0, |at| at + 1);
                write!(f, "{scheme}//{}", &rest[hidden..])
            }
        }
    }
}

/// RFC 8089: `file:///path`, `file://localhost/path`, `file:/path`.
fn file(rest: &str) -> Result<Url, UrlRefused> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let slash = rest.find('/').ok_or(UrlRefused::Unreadable)?;
            let (host, path) = rest.split_at(slash);
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return Err(UrlRefused::OtherHost { host: shown(host) });
            }
            path
        }
        None => rest,
    };
    if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#']) {
        return Err(UrlRefused::Unreadable);
    }
    decoded(path).map(Url::File).ok_or(UrlRefused::Unreadable)
}

/// RFC 3986 section 2.1.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let digits = rest.get(..2).and_then(|digits| str::from_utf8(digits).ok())?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_https_servers_are_places() {
        for text in ["file:///harddisk:/a%20b.xml", "file://localhost/harddisk:/a%20b.xml", "FILE:/harddisk:/a%20b.xml"]
        {
            assert_eq!(Url::parse(text), Ok(Url::File("/harddisk:/a b.xml".to_owned())), "{text}");
        }
        let url = Url::parse("https://u:p@h:1/x?token=1").unwrap();
        assert_eq!(url.to_string(), "https://h:1/x");
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for text in ["ftp://h/x", "http://h/x", "javascript:x"] {
            assert!(matches!(Url::parse(text), Err(UrlRefused::Scheme { .. })), "{text}");
        }
        for text in [
            "",
            "x",
            "file:",
            "file://",
            "file:///",
            "file:///a/",
            "file:///%zz",
            "file:///a%00",
            "https:x",
            "https://",
            "https:///x",
            "file:///a b",
            "file:///a%ff",
            "file:///a%+1",
        ] {
            assert_eq!(Url::parse(text), Err(UrlRefused::Unreadable), "{text}");
        }
        assert!(matches!(Url::parse("file://other/x"), Err(UrlRefused::OtherHost { .. })));
        assert!(matches!(
            Url::parse(&format!("https://{}", "h".repeat(URL_BYTES_MAX))),
            Err(UrlRefused::TooLong { .. })
        ));
    }
}
