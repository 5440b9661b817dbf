//! What is asked, from the words of a command or the leaves of an rpc.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use thiserror::Error;

use crate::container::spec::ContainerName;
use crate::container::wildcard;
use crate::logs::driver::{Place, Wanted};
use crate::logs::since::{self, NoTime};

/// What a cursor may take.
pub const CURSOR_BYTES_MAX: usize = 64 * 1024;
/// Lines that are told where nothing says how many, or from when.
pub const LINES_DEFAULT: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Output,
    Errors,
}

impl Stream {
    pub const BOTH: [Self; 2] = [Self::Output, Self::Errors];

    pub fn word(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Errors => "errors",
        }
    }
}

/// Where somebody's logs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub output: PathBuf,
    pub errors: PathBuf,
}

impl Source {
    pub fn file(&self, stream: Stream) -> &Path {
        match stream {
            Stream::Output => &self.output,
            Stream::Errors => &self.errors,
        }
    }

    /// By its whole name, or by what it is called on its floor.
    pub fn is_meant(&self, patterns: &[String]) -> bool {
        let local = ContainerName::parse(&self.name).map(|name| name.local().to_owned());
        let fits = |pattern: &String| {
            wildcard::matches(pattern, &self.name)
                || local.as_ref().is_ok_and(|local| wildcard::matches(pattern, local))
        };
        patterns.is_empty() || patterns.iter().any(fits)
    }
}

/// Each log, and how far it has been told.
pub type Cursor = BTreeMap<(String, Stream), Place>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Names with wildcards; none means everybody.
    pub names: Vec<String>,
    pub stream: Option<Stream>,
    pub wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misunderstood {
    #[error(transparent)]
    NoTime(#[from] NoTime),
    #[error("since lies behind until: nothing was written then")]
    Reversed,
    #[error("`{text}` is no cursor: give back what an earlier answer held, or leave it out")]
    NoCursor { text: String },
}

impl Question {
    /// # Errors
    /// Times that mean nothing.
    pub fn times(&mut self, since: Option<&str>, until: Option<&str>, now: &Zoned) -> Result<(), Misunderstood> {
        let second = |text: Option<&str>| text.map(|text| since::parse(text, now)).transpose();
        (self.wanted.since, self.wanted.until) = (second(since)?, second(until)?);
        match (self.wanted.since, self.wanted.until) {
            (Some(since), Some(until)) if until < since => Err(Misunderstood::Reversed),
            _ => Ok(()),
        }
    }

    pub fn streams(&self) -> impl Iterator<Item = Stream> {
        let only = self.stream;
        Stream::BOTH.into_iter().filter(move |stream| only.is_none_or(|only| only == *stream))
    }

    /// Whether nothing bounds what is told.
    pub fn is_unbounded(&self) -> bool {
        self.wanted.last.is_none() && self.wanted.since.is_none() && self.wanted.until.is_none()
    }
}

/// As text that only we need to understand.
pub fn cursor_text(cursor: &Cursor) -> String {
    let one = |((name, stream), place): (&(String, Stream), &Place)| {
        format!("{name}/{}={}:{}:{}", stream.word(), place.after_ms, place.inode, place.offset)
    };
    cursor.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// # Errors
/// Text that is no cursor.
pub fn cursor(text: &str) -> Result<Cursor, Misunderstood> {
    let wrong = || Misunderstood::NoCursor { text: text.chars().take(64).collect() };
    if text.len() > CURSOR_BYTES_MAX {
        return Err(wrong());
    }
    let one = |part: &str| {
        let (log, place) = part.split_once('=')?;
        let (name, stream) = log.rsplit_once('/')?;
        let mut numbers = place.split(':').map(str::parse::<u64>);
        let mut number = || numbers.next()?.ok();
        let stream = Stream::BOTH.into_iter().find(|known| known.word() == stream)?;
        let place = Place { after_ms: number()?, inode: number()?, offset: number()? };
        number().is_none().then(|| ((name.to_owned(), stream), place))
    };
    text.split_whitespace().map(|part| one(part).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_meant_by_its_name_on_its_floor_too() {
        let source = Source { name: "container:ioc-7".into(), output: "/o".into(), errors: "/e".into() };
        for (pattern, is_meant) in
            [("ioc-7", true), ("ioc-*", true), ("container:*", true), ("oc-7", false), ("*", true)]
        {
            assert_eq!(source.is_meant(&[pattern.to_owned()]), is_meant, "{pattern}");
        }
        assert!(source.is_meant(&[]));
    }

    #[test]
    fn a_cursor_is_read_back() {
        let place = |inode, offset| Place { after_ms: 5, inode, offset };
        let made = Cursor::from([
            (("container:ioc@1".to_owned(), Stream::Output), place(7, 8)),
            (("pulse".to_owned(), Stream::Errors), place(9, 0)),
        ]);
        assert_eq!(cursor(&cursor_text(&made)), Ok(made));
        assert_eq!(cursor(""), Ok(Cursor::new()));
        for wrong in
            ["x", "a/output=1", "a/other=1:2", "a/output=1:2", "a/output=1:2:x", &"a/output=1:2:3 ".repeat(6000)]
        {
            assert!(cursor(wrong).is_err());
        }
    }

    #[test]
    fn times_must_have_an_order() {
        let now: Zoned = "2026-11-21T14:30:15[UTC]".parse().unwrap();
        let asked =
            |since, until| Question::default().times(Some(since), Some(until), &now).map_err(|no| no.to_string());
        assert_eq!(asked("yesterday", "today"), Ok(()));
        assert_eq!(asked("today", "yesterday"), Err("since lies behind until: nothing was written then".into()));
        assert!(asked("soon", "today").unwrap_err().starts_with("`soon` is no time: give now, today"));
    }
}
