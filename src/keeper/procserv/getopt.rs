//! Command lines as `getopt_long` reads them with `+`: the first word that is no option ends the options, long ones may be
//! abbreviated, and complaints are the C library's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Value,
    /// Only after `=`.
    MayValue,
}

/// One option; `id` is what the caller knows it by.
#[derive(Debug, Clone, Copy)]
pub struct Known<I> {
    pub id: I,
    pub long: &'static str,
    pub short: Option<u8>,
    pub takes: Takes,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Line<I> {
    pub given: Vec<(I, Option<OsString>)>,
    pub complaints: Vec<String>,
    /// From the first word that is no option on.
    pub rest: Vec<OsString>,
}

pub fn parse<I: Copy + PartialEq>(words: Vec<OsString>, known: &[Known<I>]) -> Line<I> {
    let mut line = Line { given: Vec::new(), complaints: Vec::new(), rest: Vec::new() };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"--" => break,
            [b'-', b'-', long @ ..] => read_long(long, &mut words, known, &mut line),
            [b'-', short @ ..] if !short.is_empty() => read_short(short, &mut words, known, &mut line),
            _ => {
                line.rest.push(word);
                break;
            }
        }
    }
    line.rest.extend(words);
    line
}

fn read_long<I: Copy + PartialEq>(
    word: &[u8],
    words: &mut impl Iterator<Item = OsString>,
    known: &[Known<I>],
    line: &mut Line<I>,
) {
    let (name, value) = match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]).to_owned())),
        None => (word, None),
    };
    let shown = String::from_utf8_lossy(name);
    let mut found: Vec<&Known<I>> = known.iter().filter(|known| known.long.as_bytes().starts_with(name)).collect();
    if let Some(exact) = found.iter().find(|known| known.long.len() == name.len()).copied() {
        found = vec![exact];
    }
    let option = match found[..] {
        [option] => option,
        [] => return line.complaints.push(format!("unrecognized option '--{shown}'")),
        _ => {
            let all: String = found.iter().map(|known| format!(" '--{}'", known.long)).collect();
            return line.complaints.push(format!("option '--{shown}' is ambiguous; possibilities:{all}"));
        }
    };
    let value = match (option.takes, value) {
        (Takes::Nothing, Some(_)) => {
            return line.complaints.push(format!("option '--{}' doesn't allow an argument", option.long));
        }
        (Takes::Value, None) => match words.next() {
            None => return line.complaints.push(format!("option '--{}' requires an argument", option.long)),
            value => value,
        },
        (_, value) => value,
    };
    line.given.push((option.id, value));
}

/// Options of one letter may stand together; a value may follow its letter directly.
fn read_short<I: Copy + PartialEq>(
    letters: &[u8],
    words: &mut impl Iterator<Item = OsString>,
    known: &[Known<I>],
    line: &mut Line<I>,
) {
    for (at, letter) in letters.iter().enumerate() {
        let Some(option) = known.iter().find(|known| known.short == Some(*letter)) else {
            line.complaints.push(format!("invalid option -- '{}'", char::from(*letter)));
            continue;
        };
        if option.takes != Takes::Value {
            line.given.push((option.id, None));
            continue;
        }
        let attached = &letters[at + 1..];
        let value = if attached.is_empty() { words.next() } else { Some(OsString::from_vec(attached.to_vec())) };
        match value {
            Some(value) => line.given.push((option.id, Some(value))),
            None => line.complaints.push(format!("option requires an argument -- '{}'", char::from(*letter))),
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known<char>] = &[
        Known { id: 'q', long: "quiet", short: Some(b'q'), takes: Takes::Nothing },
        Known { id: 'P', long: "port", short: Some(b'P'), takes: Takes::Value },
        Known { id: 'S', long: "logstamp", short: None, takes: Takes::MayValue },
        Known { id: 'L', long: "logfile", short: Some(b'L'), takes: Takes::Value },
    ];

    fn read(words: &str) -> (String, String, String) {
        let line = parse(words.split(' ').map(OsString::from).collect(), KNOWN);
        let given = line.given.iter().map(|(id, value)| match value {
            Some(value) => format!("{id}={}", value.to_string_lossy()),
            None => id.to_string(),
        });
        let rest: Vec<_> = line.rest.iter().map(|word| word.to_string_lossy()).collect();
        (given.collect::<Vec<_>>().join(" "), line.complaints.join("; "), rest.join(" "))
    }

    #[test]
    fn the_first_word_that_is_no_option_ends_them() {
        assert_eq!(read("-q -P 1 cat -q --port"), ("q P=1".into(), String::new(), "cat -q --port".into()));
        assert_eq!(read("-- -q"), (String::new(), String::new(), "-q".into()));
        assert_eq!(read("- -q").2, "- -q");
    }

    #[test]
    fn options_may_be_short_long_joined_and_abbreviated() {
        assert_eq!(read("-qP1 --por=2 --port 3 --logs --logstamp=%c x").0, "q P=1 P=2 P=3 S S=%c");
    }

    #[test]
    fn complaints_are_those_of_the_c_library() {
        assert_eq!(read("--log x").1, "option '--log' is ambiguous; possibilities: '--logstamp' '--logfile'");
        assert_eq!(read("--foo -Z").1, "unrecognized option '--foo'; invalid option -- 'Z'");
        assert_eq!(read("-P").1, "option requires an argument -- 'P'");
        assert_eq!(
            read("--quiet=1 --port").1,
            "option '--quiet' doesn't allow an argument; option '--port' requires an argument"
        );
    }
}
