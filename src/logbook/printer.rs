//! Lines for a terminal, each with its time and whose it is; bytes of a line that has not ended are gone on with.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::answer::Told;
use super::question::Stream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As the programs printed it.
    Bare,
    Tagged,
}

#[derive(Debug)]
pub struct Printer {
    manner: Manner,
    zone: TimeZone,
    /// Whose line has not ended.
    open: Option<(String, Stream)>,
}

impl Printer {
    pub fn new(manner: Manner, zone: TimeZone) -> Self {
        Self { manner, zone, open: None }
    }

    pub fn print(&mut self, told: &Told) -> Vec<u8> {
        let bytes = &told.lines.bytes;
        if self.manner == Manner::Bare || bytes.is_empty() {
            return bytes.clone();
        }
        let mut out = Vec::new();
        let own = (told.name.clone(), told.stream);
        let mut goes_on = match self.open.take() {
            Some(open) if open == own => true,
            Some(_) => {
                out.push(b'\n');
                false
            }
            None => false,
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !goes_on {
                out.extend(self.tag(told).into_bytes());
            }
            goes_on = false;
            out.extend(harmless(line));
            if !line.ends_with(b"\n") {
                self.open = Some(own.clone());
            }
        }
        out
    }

    fn tag(&self, told: &Told) -> String {
        let at = told.lines.second.and_then(|second| Timestamp::from_second(i64::try_from(second).ok()?).ok());
        let at = at.map(|at| at.to_zoned(self.zone.clone()).strftime("%b %d %H:%M:%S ").to_string());
        let stream = if told.stream == Stream::Errors { "!" } else { "" };
        format!("{}{}{stream}: ", at.unwrap_or_default(), told.name)
    }
}

/// Without what would move the cursor, or end the line early: programs print what they like.
fn harmless(line: &[u8]) -> impl Iterator<Item = u8> {
    let line = match line {
        [text @ .., b'\r', b'\n'] => [text, b"\n"].concat(),
        line => line.to_vec(),
    };
    line.into_iter().map(|byte| if byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t') { b'?' } else { byte })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::lines::Lines;

    #[test]
    fn each_line_says_when_and_whose_it_is() {
        let mut printer = Printer::new(Manner::Tagged, TimeZone::UTC);
        let mut print = |name: &str, stream, second, text: &str| {
            let lines = Lines { second, bytes: text.as_bytes().to_vec() };
            String::from_utf8(printer.print(&Told { name: name.into(), stream, lines })).unwrap()
        };
        let (out, errors) = (Stream::Output, Stream::Errors);
        let said = [
            print("ioc", out, Some(1_795_267_800), "one\r\ntwo \x1b[31m\nepics> "),
            print("ioc", out, Some(1_795_267_801), "dbl\n"),
            print("ioc", errors, None, "oh"),
            print("web", out, Some(1_795_267_802), "GET /\n"),
        ];
        insta::assert_snapshot!(said.concat(), @r"
        Nov 21 13:30:00 ioc: one
        Nov 21 13:30:00 ioc: two ?[31m
        Nov 21 13:30:00 ioc: epics> dbl
        ioc!: oh
        Nov 21 13:30:02 web: GET /
        ");
    }
}
