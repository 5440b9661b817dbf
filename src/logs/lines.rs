//! Lines out of pieces: what was begun in one span of bytes and ended in the next belongs to the second of its beginning.

/// A line without an end is told in pieces of this size.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Some whole lines of one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// `None` where nobody has noted the time.
    pub second: Option<u64>,
    pub bytes: Vec<u8>,
}

impl Lines {
    pub fn count(&self) -> usize {
        let ends = self.bytes.iter().filter(|byte| **byte == b'\n').count();
        ends + usize::from(self.bytes.last().is_some_and(|last| *last != b'\n'))
    }

    /// Leaves the last so many lines.
    pub fn keep_last(&mut self, count: usize) {
        let kept = last_lines(&self.bytes, count).len();
        self.bytes.drain(..self.bytes.len() - kept);
    }
}

/// Takes bytes as they were written, gives whole lines.
#[derive(Debug, Default)]
pub struct Joiner {
    open: Option<Lines>,
}

impl Joiner {
    pub fn take(&mut self, second: Option<u64>, bytes: &[u8]) -> Vec<Lines> {
        let mut out = Vec::new();
        let mut rest = bytes;
        if let Some(open) = &mut self.open {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            open.bytes.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            let is_over = open.bytes.ends_with(b"\n") || open.bytes.len() >= LINE_BYTES_MAX;
            out.extend(if is_over { self.open.take() } else { None });
        }
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole > 0 {
            out.push(Lines { second, bytes: rest[..whole].to_vec() });
        }
        if whole < rest.len() {
            self.open = Some(Lines { second, bytes: rest[whole..].to_vec() });
        }
        out
    }

    /// A last line that has not ended yet.
    pub fn end(&mut self) -> Option<Lines> {
        self.open.take()
    }
}

/// The end of the bytes from where the last so many lines begin; a line without its newline counts.
pub fn last_lines(bytes: &[u8], lines: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    match lines {
        0 => &[],
        _ => breaks.skip(lines - 1).map(|at| &bytes[at + 1..]).next().unwrap_or(bytes),
    }
}

/// Some of what several logs have said, in the order of their seconds; within one second, in the order of the logs.
pub fn merged<T, L: Iterator<Item = (T, Lines)>>(logs: Vec<L>) -> impl Iterator<Item = (T, Lines)> {
    let mut logs: Vec<std::iter::Peekable<L>> = logs.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let seconds = logs.iter_mut().enumerate().filter_map(|(at, log)| Some((log.peek()?.1.second, at)));
        let (_, next) = seconds.min()?;
        logs[next].next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_belongs_to_the_second_of_its_beginning() {
        let mut joiner = Joiner::default();
        let mut lines = joiner.take(Some(1), b"one\ntw");
        lines.extend(joiner.take(Some(2), b"o\nthree\n"));
        lines.extend(joiner.take(Some(3), b"four"));
        lines.extend(joiner.end());
        let told: Vec<(u64, &str)> =
            lines.iter().map(|lines| (lines.second.unwrap(), std::str::from_utf8(&lines.bytes).unwrap())).collect();
        assert_eq!(told, [(1, "one\n"), (1, "two\n"), (2, "three\n"), (3, "four")]);
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 2), b"b\nc");
        assert_eq!(last_lines(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
    }

    #[test]
    fn several_logs_are_told_in_the_order_of_time() {
        let log = |name: char, seconds: &[u64]| {
            let lines = seconds.iter().map(|second| Lines { second: Some(*second), bytes: vec![] });
            lines.map(move |lines| (name, lines)).collect::<Vec<_>>().into_iter()
        };
        let order: String = merged(vec![log('a', &[1, 4, 5]), log('b', &[2, 4, 9])]).map(|(name, _)| name).collect();
        assert_eq!(order, "ababab");
    }

    proptest::proptest! {
        #[test]
        fn no_byte_is_lost_between_pieces(pieces in proptest::collection::vec("[a\n]{0,8}", 0..20)) {
            let mut joiner = Joiner::default();
            let mut told = Vec::new();
            for piece in &pieces {
                told.extend(joiner.take(None, piece.as_bytes()));
            }
            proptest::prop_assert!(told.iter().all(|lines| lines.bytes.ends_with(b"\n")));
            told.extend(joiner.end());
            proptest::prop_assert_eq!(told.into_iter().flat_map(|lines| lines.bytes).collect::<Vec<_>>(), pieces.concat().into_bytes());
        }
    }
}
