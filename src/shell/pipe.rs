//! What stands behind the bars: `show logging | include ERROR | count`. Pure.

use super::token::{Fault, FaultKind, Meant, Token, meant};

/// How data is laid out, where a bar asks for another way than the command's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Xml,
    Formal,
}

impl Form {
    pub fn word(self) -> &'static str {
        match self {
            Form::Json => "json",
            Form::Xml => "xml",
            Form::Formal => "formal",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    Include(String),
    Exclude(String),
    Begin(String),
    Count,
    /// The first or last so many lines.
    Head(usize),
    Tail(usize),
    Sort,
    File(String),
}

/// A command line without its bars, and what they ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piped {
    pub form: Option<Form>,
    pub filters: Vec<Filter>,
}

/// What can follow a bar, and what it means.
pub const WORDS: &[(&str, &str)] = &[
    ("begin", "From the first line that holds the text"),
    ("count", "How many lines"),
    ("exclude", "Lines that do not hold the text"),
    ("file", "Into a file of the disk"),
    ("formal", "Configuration as lines that each say everything"),
    ("include", "Lines that hold the text"),
    ("json", "The data as JSON"),
    ("utility", "head, tail, sort, wc, egrep"),
    ("xml", "The data as XML"),
];

/// Takes the bars off a line. Bars inside of quotes are none.
pub fn split(tokens: &[Token]) -> Result<(&[Token], Piped), Fault> {
    let mut parts = tokens.split(|token| token.text == "|" && !token.is_quoted);
    let command = parts.next().unwrap_or_default();
    let mut piped = Piped::default();
    let mut at = command.len();
    for part in parts {
        let bar = &tokens[at];
        at += part.len() + 1;
        let (word, rest) = part.split_first().ok_or_else(|| {
            let words = WORDS.iter().map(|(word, _)| (*word).to_owned()).collect();
            Fault::new(bar.end, FaultKind::Incomplete).expecting(words)
        })?;
        let text = || rest.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ");
        let needed = || match rest {
            [] => Err(Fault::new(word.end, FaultKind::Incomplete)),
            _ => Ok(text()),
        };
        let filter = match meant(&word.text, WORDS.iter().map(|(word, _)| (*word, *word))) {
            Meant::One("include") => Filter::Include(needed()?),
            Meant::One("exclude") => Filter::Exclude(needed()?),
            Meant::One("begin") => Filter::Begin(needed()?),
            Meant::One("file") => Filter::File(needed()?),
            Meant::One("count") => Filter::Count,
            Meant::One("utility") => utility(word, rest)?,
            Meant::One(form) => {
                piped.form = Some(match form {
                    "json" => Form::Json,
                    "xml" => Form::Xml,
                    _ => Form::Formal,
                });
                continue;
            }
            Meant::Several(means) => return Err(Fault::new(word.start, FaultKind::Ambiguous { means })),
            Meant::Nothing => {
                let words = WORDS.iter().map(|(word, _)| (*word).to_owned()).collect();
                return Err(Fault::new(word.start, FaultKind::Unrecognised).expecting(words));
            }
        };
        piped.filters.push(filter);
    }
    Ok((command, piped))
}

fn utility(word: &Token, rest: &[Token]) -> Result<Filter, Fault> {
    let known = ["egrep", "fgrep", "head", "sort", "tail", "wc"];
    let (name, rest) = rest.split_first().ok_or_else(|| Fault::new(word.end, FaultKind::Incomplete))?;
    let number = || match rest {
        [] => Ok(10),
        [flag, number] if flag.text == "-n" => {
            number.text.parse().map_err(|_| Fault::new(number.start, FaultKind::Unrecognised))
        }
        [flag, ..] => Err(Fault::new(flag.start, FaultKind::Unrecognised).expecting(vec!["-n COUNT".to_owned()])),
    };
    match name.text.as_str() {
        "head" => Ok(Filter::Head(number()?)),
        "tail" => Ok(Filter::Tail(number()?)),
        "sort" => Ok(Filter::Sort),
        "wc" => Ok(Filter::Count),
        "egrep" | "fgrep" if !rest.is_empty() => {
            Ok(Filter::Include(rest.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")))
        }
        _ => {
            let known = known.iter().map(|word| (*word).to_owned()).collect();
            Err(Fault::new(name.start, FaultKind::Unrecognised).expecting(known))
        }
    }
}

/// What the filters leave of a text. Files are for the caller.
pub fn apply(text: &str, filters: &[Filter]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for filter in filters {
        match filter {
            Filter::Include(wanted) => lines.retain(|line| holds(line, wanted)),
            Filter::Exclude(unwanted) => lines.retain(|line| !holds(line, unwanted)),
            Filter::Begin(first) => {
                let begin = lines.iter().position(|line| holds(line, first)).unwrap_or(lines.len());
                lines.drain(..begin);
            }
            Filter::Head(count) => lines.truncate(*count),
            Filter::Tail(count) => drop(lines.drain(..lines.len().saturating_sub(*count))),
            Filter::Sort => lines.sort_unstable(),
            Filter::Count => return format!("Lines: {}\n", lines.len()),
            Filter::File(_) => {}
        }
    }
    lines.into_iter().flat_map(|line| [line, "\n"]).collect()
}

/// Whether a line holds the text; `a|b` is either, `^` and `$` are its ends.
fn holds(line: &str, wanted: &str) -> bool {
    wanted.split('|').any(|wanted| match (wanted.strip_prefix('^'), wanted.strip_suffix('$')) {
        (Some(begin), Some(_)) if wanted.len() > 1 => line == &begin[..begin.len() - 1],
        (Some(begin), _) => line.starts_with(begin),
        (None, Some(end)) => line.ends_with(end),
        (None, None) => line.contains(wanted),
    })
}

#[cfg(test)]
mod tests {
    use super::super::token;
    use super::*;

    fn piped(line: &str) -> Piped {
        let tokens = token::split(line);
        let (command, piped) = split(&tokens).unwrap();
        assert!(command.len() < 3);
        piped
    }

    #[test]
    fn bars_filter_one_after_the_other() {
        let text = "one x\ntwo x\nthree\nfour x\n";
        let out = |line: &str| apply(text, &piped(line).filters);
        assert_eq!(out("show log | include x"), "one x\ntwo x\nfour x\n");
        assert_eq!(out("show log | inc x | exc two"), "one x\nfour x\n");
        assert_eq!(out("show log | begin th"), "three\nfour x\n");
        assert_eq!(out("show log | include \"one|three\" | count"), "Lines: 2\n");
        assert_eq!(out("show log | include ^t | utility tail -n 1"), "three\n");
        assert_eq!(out("show log | utility sort | utility head -n 1"), "four x\n");
        assert_eq!(piped("show log | json").form, Some(Form::Json));
    }

    #[test]
    fn a_wrong_bar_is_marked() {
        let fault = |line: &str| split(&token::split(line)).unwrap_err();
        assert_eq!(fault("show log |").kind, FaultKind::Incomplete);
        assert_eq!(fault("show log | grep x").at, 11);
        assert_eq!(fault("show log | include").kind, FaultKind::Incomplete);
        assert_eq!(fault("show log | utility rm").at, 19);
    }
}
