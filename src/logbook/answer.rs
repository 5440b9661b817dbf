//! What is told: lines with whose and of which second they are, the latest if not all of them fit.

use std::collections::VecDeque;

use super::question::Stream;
use crate::logs::lines::Lines;

/// Some lines of one log and one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub name: String,
    pub stream: Stream,
    pub lines: Lines,
}

/// Keeps the last of what it is given.
#[derive(Debug)]
pub struct Latest {
    kept: VecDeque<Told>,
    bytes: usize,
    lines: usize,
    bytes_max: usize,
    lines_max: usize,
    is_cut: bool,
}

impl Latest {
    pub fn new(lines_max: usize, bytes_max: usize) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, lines: 0, bytes_max, lines_max, is_cut: false }
    }

    pub fn push(&mut self, told: Told) {
        self.bytes += told.lines.bytes.len();
        self.lines += told.lines.count();
        self.kept.push_back(told);
        while self.lines > self.lines_max || self.bytes > self.bytes_max {
            let Some(first) = self.kept.front_mut() else { break };
            let (count, bytes) = (first.lines.count(), first.lines.bytes.len());
            let is_bytes = self.bytes > self.bytes_max;
            self.is_cut |= is_bytes;
            let surplus = if is_bytes { count } else { self.lines - self.lines_max };
            if surplus >= count {
                self.kept.pop_front();
            } else {
                first.lines.keep_last(count - surplus);
            }
            let left = self
                .kept
                .front()
                .filter(|_| surplus < count)
                .map_or((0, 0), |first| (first.lines.count(), first.lines.bytes.len()));
            self.lines = self.lines - count + left.0;
            self.bytes = self.bytes - bytes + left.1;
        }
    }

    /// What is left, and whether something was left out because it was too much.
    pub fn take(self) -> (Vec<Told>, bool) {
        (self.kept.into(), self.is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        let lines = Lines { second: Some(1), bytes: text.as_bytes().to_vec() };
        Told { name: "x".into(), stream: Stream::Output, lines }
    }

    fn kept(texts: &[&str], lines_max: usize, bytes_max: usize) -> (String, bool) {
        let mut latest = Latest::new(lines_max, bytes_max);
        texts.iter().for_each(|text| latest.push(told(text)));
        let (told, is_cut) = latest.take();
        (told.into_iter().map(|told| String::from_utf8(told.lines.bytes).unwrap()).collect(), is_cut)
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(kept(&["a\nb\n", "c\nd\n"], 3, 100), ("b\nc\nd\n".into(), false));
        assert_eq!(kept(&["a\nb\n", "c\nd\n"], 1, 100), ("d\n".into(), false));
        assert_eq!(kept(&["a\nb\n", "c\nd"], 2, 100), ("c\nd".into(), false));
        assert_eq!(kept(&["a\n"], 0, 100), (String::new(), false));
        assert_eq!(kept(&["a\nb\n", "c\nd\n"], 9, 5), ("c\nd\n".into(), true));
    }
}
