//! conserver's files as blocks of statements: `keyword name { key value; ... }`.

use super::draft::Candidate;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub keyword: String,
    pub name: String,
    pub line: usize,
    pub statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub file: String,
    pub key: String,
    pub value: String,
    pub line: usize,
}

impl Statement {
    /// The parts of a list, each with whether it is meant to be left out.
    pub fn list(&self) -> impl Iterator<Item = (&str, bool)> {
        self.value.split([',', ' ', '\t']).filter(|one| !one.is_empty()).map(|one| match one.strip_prefix('!') {
            Some(one) => (one, true),
            None => (one, false),
        })
    }
}

impl Block {
    pub fn said(&self) -> String {
        format!("{} {}", self.keyword, self.name)
    }

    /// What is said last holds.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.statements.iter().rev().find(|statement| statement.key == key).map(|found| found.value.as_str())
    }
}

/// What is not understood, and files that it includes, are left.
pub fn read(file: &str, text: &str, candidate: &mut Candidate) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    // What stands before the next `{`, `;` or `}`, and where it begins.
    let (mut words, mut line_of_words) = (String::new(), 1);
    for (at, raw) in text.lines().enumerate() {
        let line = at + 1;
        if let Some(included) = raw.strip_prefix("#include") {
            candidate.leave(file, line, raw, format!("name{included} as well"));
            continue;
        }
        let mut is_quoted = false;
        for next in raw.chars().chain(['\n']) {
            is_quoted ^= next == '"';
            match next {
                '#' if !is_quoted => break,
                '{' if !is_inside => {
                    let (keyword, name) = keyed(&words);
                    blocks.push(Block { keyword, name, line: line_of_words, statements: Vec::new() });
                    is_inside = true;
                    words.clear();
                }
                '}' if is_inside && !is_quoted => {
                    is_inside = false;
                    words.clear();
                }
                ';' if is_inside && !is_quoted => {
                    let (key, value) = keyed(&words);
                    let value = value.trim_matches('"').to_owned();
                    let statement = Statement { file: file.to_owned(), key, value, line: line_of_words };
                    blocks.last_mut().map(|block| block.statements.push(statement)).unwrap_or_default();
                    words.clear();
                }
                next => {
                    if words.trim().is_empty() {
                        line_of_words = line;
                    }
                    words.push(next);
                }
            }
        }
    }
    if is_inside || !words.trim().is_empty() {
        candidate.leave(file, line_of_words, "end of the file", "something before it is not closed");
    }
    blocks
}

fn keyed(words: &str) -> (String, String) {
    let words = words.trim();
    let (key, value) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    (key.to_owned(), value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_what_would_end_a_statement() {
        let mut candidate = Candidate::default();
        let text = "break 3 { string \"#;}\\r\"; delay 100; } # the end\naccess * { allowed a, !b; }\n";
        let blocks = read("c.cf", text, &mut candidate);
        assert_eq!((blocks[0].said().as_str(), blocks[0].value("string")), ("break 3", Some("#;}\\r")));
        assert_eq!(blocks[0].value("delay"), Some("100"));
        assert_eq!(blocks[1].statements[0].list().collect::<Vec<_>>(), [("a", false), ("b", true)]);
        assert_eq!((blocks[1].line, candidate.left.len()), (2, 0));
    }
}
