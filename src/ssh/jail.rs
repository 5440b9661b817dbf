//! Paths as users of the device type them, and the place below the jail that each one means.
//!
//! `/harddisk:/mirror/x`, `harddisk:/mirror/x`, `/mirror/x` and `mirror/x` are one place. `..` is resolved in the text,
//! because no link is ever followed, and may not climb past the disk. Must not know: the file system.

use std::fmt;
use std::path::{Path, PathBuf};

/// As `PATH_MAX`.
pub const PATH_BYTES_MAX: usize = 4096;

const DISK: &str = "harddisk:";

/// A place on the disk; printed as the device prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DevicePath {
    /// Relative to the jail, without `.` and `..`; empty is the disk itself.
    relative: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathRefused {
    #[error("the path leads out of /{DISK}; use one like /{DISK}/mirror/FILE")]
    LeadsOut,
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("the path holds a NUL character")]
    Nul,
    #[error("the path is not UTF-8")]
    NotUtf8,
}

impl DevicePath {
    pub fn parse(bytes: &[u8]) -> Result<Self, PathRefused> {
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathRefused::TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| PathRefused::NotUtf8)?;
        if text.contains('\0') {
            return Err(PathRefused::Nul);
        }
        let text = text.trim_start_matches('/');
        let below = match text.strip_prefix(DISK) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => text,
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in below.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or(PathRefused::LeadsOut)?;
                }
                name => parts.push(name),
            }
        }
        Ok(Self { relative: parts.join("/") })
    }

    /// Where it is, seen from the jail.
    pub fn relative(&self) -> PathBuf {
        Path::new(&self.relative).to_owned()
    }
}

impl fmt::Display for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{DISK}/{}", self.relative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, PathRefused> {
        DevicePath::parse(text.as_bytes()).map(|path| path.to_string())
    }

    #[test]
    fn every_way_to_type_a_path_is_the_same_place() {
        for text in ["/harddisk:/a/b", "harddisk:/a/b", "/a/b", "a/b", "//harddisk:/a//./b/", "a/x/../b"] {
            assert_eq!(parsed(text).unwrap(), "/harddisk:/a/b", "{text}");
        }
        for text in ["", ".", "/", "harddisk:", "/harddisk:", "harddisk:/", "a/.."] {
            assert_eq!(parsed(text).unwrap(), "/harddisk:/", "{text}");
        }
    }

    #[test]
    fn a_path_that_climbs_past_the_disk_is_refused() {
        for text in ["..", "/harddisk:/..", "a/../../b", "/../etc/passwd", "harddisk:/../harddisk:/a"] {
            assert_eq!(parsed(text), Err(PathRefused::LeadsOut), "{text}");
        }
    }

    #[test]
    fn names_that_only_look_like_the_disk_are_names() {
        assert_eq!(parsed("harddisk:x").unwrap(), "/harddisk:/harddisk:x");
        assert_eq!(parsed("a/harddisk:/b").unwrap(), "/harddisk:/a/harddisk:/b");
    }

    #[test]
    fn noise_is_refused() {
        assert_eq!(DevicePath::parse(b"a\xff"), Err(PathRefused::NotUtf8));
        assert_eq!(parsed("a\0b"), Err(PathRefused::Nul));
        assert_eq!(DevicePath::parse(&[b'a'; PATH_BYTES_MAX + 1]), Err(PathRefused::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn no_text_leads_out(text in "[a./:]{0,24}") {
            if let Ok(path) = DevicePath::parse(text.as_bytes()) {
                let normal = |part| matches!(part, std::path::Component::Normal(_));
                proptest::prop_assert!(path.relative().components().all(normal));
            }
        }
    }
}
