//! From which byte of a log on which second: a text file beside it, written a line ahead of the bytes it speaks of.
//!
//! ```text
//!  procyon-log-times 1 393286      the inode of its log
//!  t 1795267800 0                  from byte 0 on: written in that second, up to the next mark
//!  r 1795267800 0 1795251631 65534 from byte 0 on: a run, and the account it has
//!  ~ 1795267860 4711               from there on: not before that second, nor after that of the next mark
//!  z 262144 31337                  byte 262144 is the first of a part that begins at byte 31337 of the packed file
//! ```
//! A line that cannot be read, or goes back, ends what is believed. What stood behind it is then only known to be later.

use std::ops::Range;

const FIRST_WORD: &str = "procyon-log-times";
const FORM: &str = "1";
/// Marks of single seconds in one file; beyond, marks come with bytes rather than with time.
pub const EXACT_MAX: u32 = 4096;
/// Marks of that second kind in one file, if it keeps to its size.
pub const COARSE_MAX: u64 = 4096;
/// What a file of marks may take, parts of a packed log included; more is not read.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub second: u64,
    pub offset: u64,
    pub is_exact: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunMark {
    pub second: u64,
    pub offset: u64,
    pub run: u32,
    pub uid: u32,
}

/// A part of a packed log that can be read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub raw: u64,
    pub packed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Of the log that they were written for.
    pub inode: Option<u64>,
    pub marks: Vec<Mark>,
    pub runs: Vec<RunMark>,
    /// The last one is the end.
    pub parts: Vec<Part>,
    pub is_damaged: bool,
}

pub fn first_line(inode: u64) -> String {
    format!("{FIRST_WORD} {FORM} {inode}\n")
}

impl Mark {
    pub fn line(self) -> String {
        format!("{} {} {}\n", if self.is_exact { 't' } else { '~' }, self.second, self.offset)
    }
}

impl RunMark {
    pub fn line(self) -> String {
        format!("r {} {} {} {}\n", self.second, self.offset, self.run, self.uid)
    }
}

impl Part {
    pub fn line(self) -> String {
        format!("z {} {}\n", self.raw, self.packed)
    }
}

impl Marks {
    /// What can be believed of them, for a log of so many bytes.
    pub fn parse(text: &[u8], length: Option<u64>) -> Self {
        let mut marks = Self::default();
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        marks.inode = lines.next().and_then(first_word);
        marks.is_damaged = marks.inode.is_none();
        if marks.is_damaged {
            return marks;
        }
        for line in lines {
            if marks.take(line, length).is_none() {
                marks.is_damaged = true;
                break;
            }
        }
        if marks.is_damaged
            && let Some(last) = marks.marks.last_mut()
        {
            last.is_exact = false;
        }
        marks
    }

    fn take(&mut self, line: &[u8], length: Option<u64>) -> Option<()> {
        let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (first, second) = (number()?, number()?);
        let fits = |offset: u64| length.is_none_or(|length| offset <= length);
        match kind {
            "t" | "~" => {
                let before = self.marks.last().map_or((0, 0), |mark| (mark.second, mark.offset));
                let is_later = (first, second) >= before && first >= before.0 && second >= before.1;
                let mark = Mark { second: first, offset: second, is_exact: kind == "t" };
                (is_later && fits(second)).then(|| self.marks.push(mark))
            }
            "r" => {
                let (run, uid) = (u32::try_from(number()?).ok()?, u32::try_from(number()?).ok()?);
                let is_later = self.runs.last().is_none_or(|last| last.offset <= second);
                let mark = RunMark { second: first, offset: second, run, uid };
                (is_later && fits(second)).then(|| self.runs.push(mark))
            }
            "z" => {
                let is_later = self.parts.last().is_none_or(|last| last.raw < first && last.packed < second);
                is_later.then(|| self.parts.push(Part { raw: first, packed: second }))
            }
            _ => None,
        }
    }

    /// How many bytes the log has, unpacked, as far as its packer has said.
    pub fn packed_length(&self) -> Option<u64> {
        self.parts.last().map(|end| end.raw)
    }

    /// The part in which that byte is.
    pub fn part_of(&self, offset: u64) -> Option<Part> {
        let behind = self.parts.partition_point(|part| part.raw <= offset);
        self.parts.get(behind.checked_sub(1)?).copied()
    }

    /// Where the bytes are that may have been written from one second to another, both included.
    pub fn span(&self, since: Option<u64>, until: Option<u64>, length: u64) -> Range<u64> {
        let latest = |at: usize| match (self.marks[at].is_exact, self.marks.get(at + 1)) {
            (true, _) => self.marks[at].second,
            (false, Some(next)) => next.second,
            (false, None) => u64::MAX,
        };
        let start = match since {
            // What stands before the first mark is older than that.
            Some(since) if self.marks.first().is_some_and(|first| first.offset == 0 || first.second < since) => {
                let found = (0..self.marks.len()).find(|at| latest(*at) >= since);
                found.map_or(length, |at| self.marks[at].offset)
            }
            _ => 0,
        };
        let end = match until {
            Some(until) => {
                let behind = self.marks.partition_point(|mark| mark.second <= until);
                self.marks.get(behind).map_or(length, |mark| mark.offset)
            }
            None => length,
        };
        start.min(length)..end.clamp(start.min(length), length)
    }

    /// The second that a byte is said to be of, and where the next mark stands.
    pub fn at(&self, offset: u64) -> (Option<u64>, Option<u64>) {
        let behind = self.marks.partition_point(|mark| mark.offset <= offset);
        let own = behind.checked_sub(1).map(|at| self.marks[at].second);
        (own, self.marks.get(behind).map(|mark| mark.offset))
    }

    /// Of a span, what those runs have printed.
    pub fn of_runs(&self, span: &Range<u64>, is_meant: impl Fn(&RunMark) -> bool) -> Vec<Range<u64>> {
        let ends = self.runs.iter().skip(1).map(|run| run.offset).chain([u64::MAX]);
        let own = self.runs.iter().zip(ends).filter(|(run, _)| is_meant(run));
        let cut = own.map(|(run, end)| run.offset.max(span.start)..end.min(span.end));
        cut.filter(|range| range.start < range.end).collect()
    }

    /// What a writer goes on with where this one was damaged.
    pub fn text(&self, inode: u64) -> String {
        let mut lines: Vec<(u64, String)> = self.marks.iter().map(|mark| (mark.offset, mark.line())).collect();
        lines.extend(self.runs.iter().map(|run| (run.offset, run.line())));
        lines.sort_by_key(|(offset, _)| *offset);
        let parts = self.parts.iter().map(|part| part.line());
        first_line(inode) + &lines.into_iter().map(|(_, line)| line).chain(parts).collect::<String>()
    }
}

fn first_word(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let inode = line.strip_prefix(FIRST_WORD)?.strip_prefix(' ')?.strip_prefix(FORM)?.strip_prefix(' ')?;
    inode.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(lines: &str) -> Marks {
        Marks::parse(format!("{}{lines}", first_line(7)).as_bytes(), Some(1000))
    }

    #[test]
    fn a_span_of_seconds_is_a_span_of_bytes() {
        let marks = marks("t 100 0\nt 101 50\n~ 110 200\nt 120 400\n");
        assert!(!marks.is_damaged);
        let span = |since, until| marks.span(since, until, 1000);
        assert_eq!(span(None, None), 0..1000);
        assert_eq!(span(Some(101), Some(101)), 50..200);
        assert_eq!(span(Some(102), None), 200..1000, "nothing was written from 102 to 109");
        assert_eq!(span(Some(115), Some(115)), 200..400, "the bytes from 200 on may be of that time");
        assert_eq!(span(Some(121), None), 1000..1000);
        assert_eq!(span(None, Some(99)), 0..0);
    }

    #[test]
    fn what_stands_behind_a_damage_is_only_known_to_be_later() {
        for damage in ["t 12x 60\n", "t 99 60\n", "t 130 10\n", "t 130 2000\n", "t 130 60", "\0\0\0\0", "? 1 2\n"] {
            let marks = marks(&format!("t 100 0\nt 101 50\n{damage}"));
            assert!(marks.is_damaged, "{damage:?}");
            assert_eq!(marks.span(Some(150), None, 1000), 50..1000, "{damage:?}");
        }
        assert!(Marks::parse(b"something else\n", None).is_damaged);
        assert_eq!(Marks::parse(b"", None).span(Some(5), Some(6), 10), 0..10);
    }

    #[test]
    fn runs_say_what_an_account_has_printed() {
        let marks = marks("t 100 0\nr 100 0 1 1001\nr 105 40 2 1002\nr 106 80 3 1001\n");
        assert_eq!(marks.of_runs(&(10..90), |run| run.uid == 1001), [10..40, 80..90]);
        assert_eq!(marks.of_runs(&(10..90), |run| run.run == 2), vec![40..80]);
        assert_eq!(marks.of_runs(&(0..90), |run| run.uid == 7), []);
    }

    #[test]
    fn what_is_believed_can_be_written_anew() {
        let damaged = marks("t 100 0\nr 100 0 1 1001\nt 101 50\nz 0 0\nz 10 5\nnonsense\n");
        let anew = Marks::parse(damaged.text(8).as_bytes(), Some(1000));
        assert_eq!((anew.inode, anew.is_damaged), (Some(8), false));
        assert_eq!((anew.marks, anew.runs, anew.parts), (damaged.marks, damaged.runs, damaged.parts));
    }

    proptest::proptest! {
        /// Bytes and the second of each, as they were written; any prefix of the marks must find each of them.
        #[test]
        fn no_byte_is_missed_however_the_marks_were_cut(
            steps in proptest::collection::vec((0_u64..3, 1_u64..40), 1..40),
            cut in 0_usize..2000, since in 0_u64..90, until in 0_u64..90,
        ) {
            let (mut text, mut seconds, mut now) = (first_line(1), Vec::new(), 0);
            let mut last = None;
            for (later, bytes) in steps {
                now += later;
                if last != Some(now) {
                    text += &Mark { second: now, offset: seconds.len() as u64, is_exact: true }.line();
                    last = Some(now);
                }
                seconds.extend(std::iter::repeat_n(now, usize::try_from(bytes).unwrap()));
            }
            let length = seconds.len() as u64;
            let whole = Marks::parse(text.as_bytes(), Some(length));
            let exact: Vec<usize> =
                (0..seconds.len()).filter(|at| (since..=until).contains(&seconds[*at])).collect();
            let found = whole.span(Some(since), Some(until), length);
            proptest::prop_assert!(!whole.is_damaged);
            proptest::prop_assert_eq!(exact.len() as u64, found.end - found.start);
            // A line that is cut off is a damage; one that ends well merely leaves the last mark too early.
            let cut = cut.min(text.len());
            let some = Marks::parse(&text.as_bytes()[..cut], Some(length));
            if some.is_damaged {
                let found = some.span(Some(since), Some(until), length);
                for at in exact {
                    proptest::prop_assert!(found.contains(&(at as u64)));
                }
            }
        }
    }
}
