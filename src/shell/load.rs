//! Configuration text, line after line: which mode each line is read in.
//!
//! ```text
//!  line -> read in the open mode; not known there -> in the mode above, up to the top
//!  `!`  -> ends the mode that was opened at its column, and those opened further in
//! ```

use super::data::Item;
use super::grammar::Grammar;
use super::line::{self, Edit, Path};
use super::token::{Fault, FaultKind, Token, split};

/// Modes that are open, innermost last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modes(Vec<Mode>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mode {
    path: Path,
    /// The column of the line that opened it.
    column: usize,
}

/// A node that opens modes may nest; a schema is never this deep.
const MODES_MAX: usize = 64;

/// A whole text of configuration.
#[derive(Debug, Default)]
pub struct Read<'t> {
    /// Lines with what they change.
    pub lines: Vec<(&'t str, Vec<Edit>)>,
    /// Lines that mean nothing, with their numbers.
    pub faults: Vec<(usize, &'t str, Fault)>,
}

/// Reads a text as if each of its lines were typed at the top. What frames it when it is shown is passed over.
pub fn read<'t>(grammar: &Grammar, text: &'t str) -> Read<'t> {
    let mut modes = Modes::default();
    let mut read = Read::default();
    for (index, line) in text.lines().enumerate() {
        if matches!(line.trim(), "end" | "Building configuration..." | "") {
            continue;
        }
        match modes.take(grammar, line) {
            Ok(edits) => read.lines.push((line.trim(), edits)),
            Err(fault) => read.faults.push((index + 1, line, fault)),
        }
    }
    read
}

impl Modes {
    /// The node whose mode this is; empty at the top.
    pub fn path(&self) -> &[Item] {
        self.0.last().map_or(&[], |mode| &mode.path)
    }

    pub fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    pub fn leave(&mut self) {
        self.0.pop();
    }

    pub fn to_top(&mut self) {
        self.0.clear();
    }

    /// The words of the open modes: for `pwd` and for prompts.
    pub fn paths(&self) -> impl Iterator<Item = &[Item]> {
        self.0.iter().map(|mode| mode.path.as_slice())
    }

    /// Takes one line of configuration. Empty lines and comments have no edits.
    ///
    /// # Errors
    /// What is wrong with it as read in the innermost mode; the modes stay as they are.
    pub fn take(&mut self, grammar: &Grammar, text: &str) -> Result<Vec<Edit>, Fault> {
        let column = text.len() - text.trim_start_matches([' ', '\t']).len();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Vec::new());
        }
        if trimmed.starts_with('!') {
            if trimmed == "!" {
                self.close(column);
            }
            return Ok(Vec::new());
        }
        let tokens = split(text);
        let (is_no, tokens) = match tokens.split_first() {
            Some((first, rest)) if first.text == "no" => (true, rest),
            _ => (false, tokens.as_slice()),
        };
        let mut depth = self.0.len();
        let mut first_fault = None;
        loop {
            let context = depth.checked_sub(1).map_or(&[][..], |depth| &self.0[depth].path);
            match line::read(grammar, context, text, tokens, is_no) {
                Ok(meaning) => {
                    self.0.truncate(depth);
                    if let Some(path) = meaning.enters {
                        if self.0.len() >= MODES_MAX {
                            return Err(Fault::new(0, FaultKind::Unrecognised));
                        }
                        self.0.push(Mode { path, column });
                    }
                    return Ok(meaning.edits);
                }
                Err(fault) => {
                    let is_foreign = is_first_word(&fault, tokens);
                    let fault = first_fault.get_or_insert(fault);
                    if depth == 0 || !is_foreign {
                        return Err(fault.clone());
                    }
                }
            }
            depth -= 1;
        }
    }

    fn close(&mut self, column: usize) {
        while self.0.last().is_some_and(|mode| mode.column > column) {
            self.0.pop();
        }
        if self.0.last().is_some_and(|mode| mode.column == column) {
            self.0.pop();
        }
    }
}

/// Whether the very first word is not known here: then it may be one of a mode above.
fn is_first_word(fault: &Fault, tokens: &[Token]) -> bool {
    fault.kind == FaultKind::Unrecognised && tokens.first().is_none_or(|first| first.start == fault.at)
}
