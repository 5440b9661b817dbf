//! Commands with fixed words: their syntax, which of them a line means, and what could stand next.
//!
//! ```text
//!  show script status [detail] <name FILE | type SCRIPT-TYPE>
//!       word            may be left out    each once, in any order        { a | b } one of    FILE+ one or more
//! ```
//! Words in capitals are arguments; `LINE` takes the rest, `PATH` the words of a configuration path. Pure.

use super::line::Word;
use super::token::{Fault, FaultKind, Meant, Token, meant};

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    Any,
    Number(u32, u32),
    OneOf(&'static [&'static str]),
}

/// An argument of commands, by the name that syntaxes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    pub name: &'static str,
    pub values: Values,
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Word(&'static str),
    Argument(&'static Argument),
    Line,
    Path,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    label: Label,
    to: usize,
    /// It may be taken again and again.
    repeats: bool,
}

#[derive(Debug, Default)]
struct State {
    edges: Vec<Edge>,
    /// Taken without a word.
    free: Vec<usize>,
    /// The command that may end here.
    ends: Option<usize>,
}

/// Syntaxes, made into one machine.
#[derive(Debug)]
pub struct Commands {
    states: Vec<State>,
    help: fn(&str, &str) -> &'static str,
}

/// A line that is a command: which one, and its words and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    pub command: usize,
    words: Vec<&'static str>,
    arguments: Vec<(&'static str, String)>,
    /// Where the rest of the line begins, for `LINE` and `PATH`: the number of the token.
    pub rest: Option<usize>,
}

impl Matched {
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub fn get(&self, argument: &str) -> Option<&str> {
        self.arguments.iter().find(|(name, _)| *name == argument).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, argument: &str) -> Option<u32> {
        self.get(argument)?.parse().ok()
    }

    pub fn all(&self, argument: &str) -> Vec<&str> {
        self.arguments.iter().filter(|(name, _)| *name == argument).map(|(_, value)| value.as_str()).collect()
    }
}

/// What can stand at one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Next {
    pub words: Vec<Word>,
    pub arguments: Vec<&'static Argument>,
    /// The words of a configuration path follow, from this token on.
    pub path_from: Option<usize>,
    pub may_end: bool,
}

#[derive(Debug, Clone)]
struct Thread {
    state: usize,
    words: Vec<&'static str>,
    arguments: Vec<(&'static str, String)>,
    rest: Option<usize>,
    taken: Vec<(usize, usize)>,
}

impl Commands {
    /// `help` says what a word means, given the word before it.
    ///
    /// # Panics
    /// On a syntax that is not one: they are written in the program.
    pub fn new(
        syntaxes: &[&'static str],
        arguments: &'static [Argument],
        help: fn(&str, &str) -> &'static str,
    ) -> Self {
        let mut commands = Self { states: vec![State::default()], help };
        for (index, syntax) in syntaxes.iter().enumerate() {
            let mut parser = Parser { words: syntax.split_whitespace().collect(), at: 0, arguments };
            let end = parser.sequence(&mut commands, 0);
            assert!(parser.at == parser.words.len(), "the syntax `{syntax}` has too many brackets");
            commands.states[end].ends = Some(index);
        }
        commands
    }

    /// Which command the tokens are.
    pub fn read(&self, tokens: &[Token], end: usize) -> Result<Matched, Fault> {
        let threads = self.run(tokens)?;
        let ended = threads.iter().find_map(|thread| self.states[thread.state].ends.map(|command| (command, thread)));
        match ended {
            Some((command, thread)) => Ok(Matched {
                command,
                words: thread.words.clone(),
                arguments: thread.arguments.clone(),
                rest: thread.rest,
            }),
            None => {
                let expected = self.after(&threads).words.into_iter().map(|word| word.text).collect();
                Err(Fault::new(end, FaultKind::Incomplete).expecting(expected))
            }
        }
    }

    /// What could follow the tokens, which are complete words.
    pub fn next(&self, tokens: &[Token]) -> Result<Next, Fault> {
        Ok(self.after(&self.run(tokens)?))
    }

    /// Words that a line may begin with.
    pub fn first_words(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        for (_, edge) in self.edges(&self.start()) {
            if let Label::Word(word) = edge.label
                && !words.contains(&word)
            {
                words.push(word);
            }
        }
        words
    }

    fn start(&self) -> Vec<Thread> {
        let thread = Thread { state: 0, words: Vec::new(), arguments: Vec::new(), rest: None, taken: Vec::new() };
        self.closed(vec![thread])
    }

    fn run(&self, tokens: &[Token]) -> Result<Vec<Thread>, Fault> {
        let mut threads = self.start();
        for (index, token) in tokens.iter().enumerate() {
            // What takes the rest of the line has it all.
            if threads.iter().any(|thread| thread.rest.is_some()) {
                break;
            }
            threads = self.step(&threads, token, index)?;
        }
        Ok(threads)
    }

    fn step(&self, threads: &[Thread], token: &Token, index: usize) -> Result<Vec<Thread>, Fault> {
        let edges = self.edges(threads);
        let words = edges.iter().filter_map(|(_, edge)| match edge.label {
            Label::Word(word) => Some((word, word)),
            Label::Argument(_) | Label::Line | Label::Path => None,
        });
        let takes_any = |edge: &Edge| match edge.label {
            Label::Argument(argument) => accepts(argument, &token.text),
            Label::Line | Label::Path => true,
            Label::Word(_) => false,
        };
        let is_word = if token.is_quoted { Meant::Nothing } else { meant(&token.text, words) };
        let chosen: Vec<&(&Thread, Edge)> = match is_word {
            Meant::One(word) => edges.iter().filter(|(_, edge)| edge.label == Label::Word(word)).collect(),
            Meant::Several(means) if !edges.iter().any(|(_, edge)| takes_any(edge)) => {
                return Err(Fault::new(token.start, FaultKind::Ambiguous { means }));
            }
            Meant::Several(_) | Meant::Nothing => edges.iter().filter(|(_, edge)| takes_any(edge)).collect(),
        };
        if chosen.is_empty() {
            let expected = self.after(threads).words.into_iter().map(|word| word.text).collect();
            return Err(Fault::new(token.start, FaultKind::Unrecognised).expecting(expected));
        }
        let open = chosen.iter().all(|(_, edge)| matches!(edge.label, Label::Argument(_)));
        if token.is_open && open {
            return Err(Fault::new(token.start, FaultKind::OpenQuote));
        }
        let next = chosen.into_iter().map(|(thread, edge)| {
            let mut thread = Thread::clone(thread);
            if !edge.repeats {
                thread.taken.push((thread.state, edge.to));
            }
            match edge.label {
                Label::Word(word) => thread.words.push(word),
                Label::Argument(argument) => thread.arguments.push((argument.name, spelled(argument, &token.text))),
                Label::Line | Label::Path => thread.rest = Some(index),
            }
            thread.state = edge.to;
            thread
        });
        Ok(self.closed(next.collect()))
    }

    /// Edges that can be taken: each once in a line, unless it repeats.
    fn edges<'t>(&self, threads: &'t [Thread]) -> Vec<(&'t Thread, Edge)> {
        let mut found = Vec::new();
        for thread in threads {
            for edge in &self.states[thread.state].edges {
                if edge.repeats || !thread.taken.contains(&(thread.state, edge.to)) {
                    found.push((thread, *edge));
                }
            }
        }
        found
    }

    fn closed(&self, mut threads: Vec<Thread>) -> Vec<Thread> {
        let mut index = 0;
        while index < threads.len() {
            for free in &self.states[threads[index].state].free {
                if !threads.iter().any(|thread| thread.state == *free) {
                    let thread = Thread { state: *free, ..threads[index].clone() };
                    threads.push(thread);
                }
            }
            index += 1;
        }
        threads
    }

    fn after(&self, threads: &[Thread]) -> Next {
        let mut next = Next::default();
        for (thread, edge) in self.edges(threads) {
            let before = thread.words.last().copied().unwrap_or("");
            let word = match edge.label {
                Label::Word(word) => {
                    Word { text: word.to_owned(), help: (self.help)(before, word).to_owned(), is_placeholder: false }
                }
                Label::Argument(argument) => {
                    if !next.arguments.contains(&argument) {
                        next.arguments.push(argument);
                    }
                    match argument.values {
                        Values::OneOf(words) => {
                            for word in words {
                                let help = (self.help)(argument.name, word).to_owned();
                                next.words.push(Word { text: (*word).to_owned(), help, is_placeholder: false });
                            }
                            continue;
                        }
                        Values::Number(from, to) => placeholder(&format!("<{from}-{to}>"), argument.help),
                        Values::Any => placeholder(argument.name, argument.help),
                    }
                }
                Label::Line => placeholder("LINE", "The rest of the line"),
                Label::Path => {
                    next.path_from = Some(thread.words.len() + thread.arguments.len());
                    continue;
                }
            };
            if !next.words.contains(&word) {
                next.words.push(word);
            }
        }
        next.may_end = threads.iter().any(|thread| self.states[thread.state].ends.is_some());
        if let Some(rest) = threads.iter().find_map(|thread| thread.rest) {
            next.path_from = Some(rest);
        }
        next
    }

    fn add(&mut self) -> usize {
        self.states.push(State::default());
        self.states.len() - 1
    }
}

fn placeholder(text: &str, help: &str) -> Word {
    Word { text: text.to_owned(), help: help.to_owned(), is_placeholder: true }
}

fn accepts(argument: &Argument, text: &str) -> bool {
    match argument.values {
        Values::Any => true,
        Values::Number(from, to) => text.parse::<u32>().is_ok_and(|number| (from..=to).contains(&number)),
        Values::OneOf(words) => matches!(meant(text, words.iter().map(|word| (*word, *word))), Meant::One(_)),
    }
}

fn spelled(argument: &Argument, text: &str) -> String {
    match argument.values {
        Values::OneOf(words) => match meant(text, words.iter().map(|word| (*word, *word))) {
            Meant::One(word) => word.to_owned(),
            Meant::Several(_) | Meant::Nothing => text.to_owned(),
        },
        Values::Any | Values::Number(..) => text.to_owned(),
    }
}

struct Parser {
    words: Vec<&'static str>,
    at: usize,
    arguments: &'static [Argument],
}

impl Parser {
    /// Adds what follows, up to a closing bracket or a bar, behind `from`; gives the state behind it.
    fn sequence(&mut self, commands: &mut Commands, from: usize) -> usize {
        let mut at = from;
        while let Some(word) = self.words.get(self.at).copied() {
            if matches!(word, "]" | "}" | ">" | "|") {
                break;
            }
            self.at += 1;
            at = match word {
                "[" => {
                    let end = self.alternatives(commands, at, "]");
                    commands.states[at].free.push(end);
                    end
                }
                "{" => self.alternatives(commands, at, "}"),
                "<" => {
                    let around = commands.add();
                    commands.states[at].free.push(around);
                    let end = self.alternatives(commands, around, ">");
                    commands.states[end].free.push(around);
                    around
                }
                word => self.word(commands, at, word),
            };
        }
        at
    }

    fn alternatives(&mut self, commands: &mut Commands, from: usize, close: &str) -> usize {
        let end = commands.add();
        loop {
            let last = self.sequence(commands, from);
            commands.states[last].free.push(end);
            let word = self.words.get(self.at).copied().expect("a bracket of a syntax is closed");
            self.at += 1;
            if word == close {
                return end;
            }
            assert!(word == "|", "a syntax closes another bracket than it opened");
        }
    }

    fn word(&self, commands: &mut Commands, from: usize, word: &'static str) -> usize {
        let (name, is_many) = word.strip_suffix('+').map_or((word, false), |name| (name, true));
        let label = match name {
            "LINE" => Label::Line,
            "PATH" => Label::Path,
            name if name.starts_with(|first: char| first.is_ascii_uppercase()) && name != "SHA256" => {
                let argument = self.arguments.iter().find(|argument| argument.name == name);
                Label::Argument(argument.unwrap_or_else(|| panic!("a syntax has an unknown argument {name}")))
            }
            name => Label::Word(name),
        };
        // Commands share their first words.
        let known = commands.states[from].edges.iter().find(|edge| edge.label == label && !edge.repeats && !is_many);
        if let (Some(known), Label::Word(_)) = (known, label) {
            return known.to;
        }
        let to = commands.add();
        commands.states[from].edges.push(Edge { label, to, repeats: false });
        if is_many {
            commands.states[to].edges.push(Edge { label, to, repeats: true });
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::split;
    use super::*;

    const ARGUMENTS: &[Argument] = &[
        Argument { name: "FILE", values: Values::Any, help: "A file" },
        Argument { name: "COUNT", values: Values::Number(1, 100), help: "How many" },
        Argument { name: "TYPE", values: Values::OneOf(&["exec", "process", "precommit"]), help: "Which" },
    ];

    fn commands() -> Commands {
        let syntaxes = [
            "show script status [ detail ] < name FILE | last COUNT | type TYPE >",
            "show running-config [ PATH ]",
            "script add TYPE FILE+ [ checksum SHA256 FILE ]",
            "commit < label FILE | replace > [ comment LINE ]",
        ];
        Commands::new(&syntaxes, ARGUMENTS, |_, _| "")
    }

    fn read(line: &str) -> Result<Matched, Fault> {
        commands().read(&split(line), line.len())
    }

    #[test]
    fn options_come_in_any_order_and_once() {
        let matched = read("sh scr stat last 3 name x.py").unwrap();
        assert_eq!((matched.command, matched.get("FILE"), matched.number("COUNT")), (0, Some("x.py"), Some(3)));
        assert!(!matched.has("detail"));
        assert!(read("show script status det type pro").unwrap().get("TYPE") == Some("process"));
        assert_eq!(read("show script status last 3 last 4").unwrap_err().at, 26);
        assert_eq!(read("show script status last 300").unwrap_err().kind, FaultKind::Unrecognised);
    }

    #[test]
    fn arguments_may_be_many_and_the_rest_of_a_line_one() {
        let matched = read("script add process /harddisk: a.py b.py").unwrap();
        assert_eq!(matched.all("FILE"), ["/harddisk:", "a.py", "b.py"]);
        assert_eq!(read("commit comment it is done").unwrap().rest, Some(2));
        assert_eq!(read("show run appmgr process-script x").unwrap().rest, Some(2));
        assert_eq!(read("script add p").unwrap_err().kind, FaultKind::Unrecognised);
    }

    #[test]
    fn what_could_follow_is_known() {
        let texts = |line: &str| {
            let next = commands().next(&split(line)).unwrap();
            let texts: Vec<String> = next.words.into_iter().map(|word| word.text).collect();
            (texts.join(" "), next.may_end, next.path_from)
        };
        assert_eq!(texts(""), ("show script commit".into(), false, None));
        assert_eq!(texts("show script status"), ("detail name last type".into(), true, None));
        assert_eq!(texts("show script status last"), ("<1-100>".into(), false, None));
        assert_eq!(texts("show script status last 4"), ("name type".into(), true, None));
        assert_eq!(texts("script add"), ("exec process precommit".into(), false, None));
        assert_eq!(texts("show running-config"), (String::new(), true, Some(2)));
    }
}
