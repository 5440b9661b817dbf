//! `show log`: what programs have printed, by name and time; laid out as `procyon logs` does.

use jiff::Timestamp;
use quick_xml::escape::escape;

use super::super::command::Matched;
use crate::logbook::answer::Told;
use crate::logbook::question::Stream;
use crate::logs::lines::Lines;
use crate::yang::xml::XmlElement;

const NAMESPACE: &str = "urn:procyon:log";
/// What is shown of the past before what comes, where nothing says how much is wanted.
const FOLLOWED_LINES: &str = "10";
/// A question whose reply is not waited for any longer keeps the next one waiting so many seconds at most.
const WAIT_SECONDS: &str = "1";

/// What was told, and from where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub told: Vec<Told>,
    pub cursor: String,
    /// There was more, and the earliest is left out.
    pub is_cut: bool,
}

/// What is there already.
pub fn request(matched: &Matched) -> String {
    let of = |argument: &str| matched.get(argument);
    let is_bounded = ["COUNT", "SINCE", "UNTIL"].into_iter().any(|bound| of(bound).is_some());
    let past = (matched.has("follow") && !is_bounded).then_some(FOLLOWED_LINES);
    let bounds = [("since", of("SINCE")), ("until", of("UNTIL")), ("last", of("COUNT").or(past))];
    question(matched, &bounds)
}

/// What has come since.
pub fn request_since(matched: &Matched, cursor: &str) -> String {
    question(matched, &[("cursor", Some(cursor)), ("wait", Some(WAIT_SECONDS))])
}

fn question(matched: &Matched, more: &[(&str, Option<&str>)]) -> String {
    let streams = ["output", "errors"];
    let stream = streams.into_iter().find(|stream| matched.has(stream));
    let mut leaves = String::new();
    for (leaf, value) in [("name", matched.get("LOG")), ("stream", stream)].iter().chain(more) {
        if let Some(value) = value {
            leaves.push_str(&format!("<{leaf}>{}</{leaf}>", escape(*value)));
        }
    }
    format!(r#"<show-log xmlns="{NAMESPACE}">{leaves}</show-log>"#)
}

pub fn answer(output: &[XmlElement]) -> Answer {
    let mut answer = Answer::default();
    for element in output {
        match &*element.name {
            "lines" => answer.told.extend(told(element)),
            "cursor" => answer.cursor.clone_from(&element.text),
            "cut" => answer.is_cut = element.text == "true",
            _ => {}
        }
    }
    answer
}

fn told(lines: &XmlElement) -> Option<Told> {
    let leaf = |name: &str| lines.children.iter().find(|leaf| &*leaf.name == name).map(|leaf| leaf.text.as_str());
    let second = leaf("time").and_then(|time| time.parse::<Timestamp>().ok());
    Some(Told {
        name: leaf("name")?.to_owned(),
        stream: Stream::BOTH.into_iter().find(|stream| Some(stream.word()) == leaf("stream"))?,
        lines: Lines {
            second: second.and_then(|time| u64::try_from(time.as_second()).ok()),
            bytes: leaf("text")?.as_bytes().to_vec(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::token::split;
    use super::super::super::vocabulary::operational;
    use super::*;

    fn asked(line: &str) -> String {
        let matched = operational().commands.read(&split(line), line.len()).unwrap();
        request(&matched).replace(&format!(" xmlns=\"{NAMESPACE}\""), "")
    }

    #[test]
    fn the_words_are_the_leaves_of_the_question() {
        let lines = [
            "show log clock",
            "show log cl* last 3",
            "show log x errors since \"2 days ago\"",
            "show log a until -1h follow",
        ];
        insta::assert_snapshot!(lines.map(asked).join("\n"), @r"
        <show-log><name>clock</name></show-log>
        <show-log><name>cl*</name><last>3</last></show-log>
        <show-log><name>x</name><stream>errors</stream><since>2 days ago</since></show-log>
        <show-log><name>a</name><until>-1h</until></show-log>
        ");
        assert_eq!(asked("show log a follow"), "<show-log><name>a</name><last>10</last></show-log>");
    }

    #[test]
    fn an_answer_is_lines_with_their_second_and_where_it_ends() {
        let output = r"<lines><name>container:clock</name><stream>errors</stream><time>2026-11-21T14:35:42Z</time>
<text>tick
tock</text></lines><cut>true</cut><cursor>c1</cursor>";
        let answer = answer(&crate::yang::xml::parse(output.as_bytes()).unwrap());
        let lines = Lines { second: Some(1_795_271_742), bytes: b"tick\ntock".to_vec() };
        assert_eq!(answer.told, [Told { name: "container:clock".into(), stream: Stream::Errors, lines }]);
        assert_eq!((answer.cursor.as_str(), answer.is_cut), ("c1", true));
    }
}
