//! What the files of a log are called.
//!
//! A log that is put aside gets the moment of that as its name and keeps it: nothing is renumbered, so a reader, a
//! packer and a keeper that dies in between always mean the same file.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Behind the name of a log: its marks.
pub const TIMES: &str = ".times";
/// Behind the name of one that is packed.
pub const PACKED: &str = ".gz";
/// Behind the name of what is not finished yet.
pub const PART: &str = ".part";

const FORMAT: &str = "%Y%m%d-%H%M%S%.3f";

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Without the ending of a packed one.
    pub name: String,
    /// When it was put aside; `None` for the one that is being written.
    pub ended_ms: Option<u64>,
    pub is_packed: bool,
}

impl Piece {
    /// As it is called in its folder.
    pub fn file(&self) -> String {
        if self.is_packed { format!("{}{PACKED}", self.name) } else { self.name.clone() }
    }

    pub fn times(&self) -> String {
        times_of(&self.name)
    }
}

pub fn times_of(name: &str) -> String {
    format!("{name}{TIMES}")
}

/// `stdout.log` put aside at a moment.
pub fn aside(base: &str, at_ms: u64) -> String {
    let at = Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    format!("{base}-{}", at.to_zoned(TimeZone::UTC).strftime(FORMAT))
}

/// When the file was put aside; `None` if it is no such file of this log.
pub fn ended_ms(base: &str, name: &str) -> Option<u64> {
    let text = name.strip_prefix(base)?.strip_prefix('-')?;
    let at = DateTime::strptime(FORMAT, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
    let at = u64::try_from(at).ok()?;
    // One name a moment, so that no two names mean the same file.
    (aside(base, at) == name).then_some(at)
}

/// The files of a log among those of its folder, the oldest first, the one that is being written last.
pub fn pieces<'n>(base: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut current = None;
    for name in names {
        let (plain, is_packed) = name.strip_suffix(PACKED).map_or((name, false), |plain| (plain, true));
        if let Some(ended_ms) = ended_ms(base, plain) {
            pieces.push(Piece { name: plain.to_owned(), ended_ms: Some(ended_ms), is_packed });
        } else if name == base {
            current = Some(Piece { name: base.to_owned(), ended_ms: None, is_packed: false });
        }
    }
    // Where both are there, packing was cut off: the plain one is whole.
    pieces.sort_by_key(|piece| (piece.ended_ms, piece.is_packed));
    pieces.dedup_by(|later, earlier| later.ended_ms == earlier.ended_ms);
    pieces.extend(current);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_can_be_read_back() {
        assert_eq!(aside("stdout.log", 1_795_267_800_123), "stdout.log-20261121-133000.123");
        assert_eq!(ended_ms("stdout.log", "stdout.log-20261121-133000.123"), Some(1_795_267_800_123));
        for other in ["stdout.log", "stdout.log-2026", "stderr.log-20261121-133000.123", "stdout.log-20261121-133000.1"]
        {
            assert_eq!(ended_ms("stdout.log", other), None, "{other}");
        }
    }

    #[test]
    fn the_files_of_a_log_come_in_the_order_of_their_writing() {
        let names = [
            "out-20261121-133000.124",
            "out",
            "out.times",
            "out-20261121-133000.123.gz",
            "out-20261121-133000.124.gz",
            "other",
            "out-20261121-133000.125.gz.part",
        ];
        let files: Vec<String> = pieces("out", names).iter().map(Piece::file).collect();
        assert_eq!(files, ["out-20261121-133000.123.gz", "out-20261121-133000.124", "out"]);
    }

    proptest::proptest! {
        #[test]
        fn names_sort_as_their_moments(one in 0_u64..4_000_000_000_000, other in 0_u64..4_000_000_000_000) {
            let (a, b) = (aside("x", one), aside("x", other));
            proptest::prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            proptest::prop_assert_eq!(ended_ms("x", &a), Some(one));
        }
    }
}
