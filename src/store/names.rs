//! The names of commit files: the id of the commit, or of the first and the last where one file holds several.

use std::fmt;
use std::path::Path;

use super::StoreError;
use super::disk::Disk;

/// The commits of one file, which follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let id = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let (first, last) = name.split_once('-').unwrap_or((name, name));
        let span = Self { first: id(first)?, last: id(last)? };
        (span.first <= span.last).then_some(span)
    }

    pub(super) fn holds(self, id: u64) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// The commit files of a directory, oldest first.
pub(super) fn spans(disk: &dyn Disk, dir: &Path) -> Result<Vec<Span>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::disk(dir))?;
    let mut spans: Vec<Span> = names.iter().filter_map(|name| Span::parse(name)).collect();
    spans.sort_unstable();
    Ok(spans)
}

/// The numbers behind `prefix` in the names of a directory, in order.
pub(super) fn ids(disk: &dyn Disk, dir: &Path, prefix: &str) -> Result<Vec<u64>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::disk(dir))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_id_or_two() {
        for (name, first, last) in [("7", 7, 7), ("7-9", 7, 9)] {
            let span = Span::parse(name).unwrap();
            assert_eq!((span.first, span.last, span.to_string().as_str()), (first, last, name));
        }
        for other in ["", "-", "7-", "-7", "9-7", "7-8-9", "7.new", "7.torn", "+7", "x"] {
            assert_eq!(Span::parse(other), None, "{other}");
        }
        assert!(Span { first: 7, last: 9 }.holds(9) && !Span { first: 7, last: 9 }.holds(10));
    }
}
