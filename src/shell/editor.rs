//! A line that is being typed: keys in, text for the terminal out. Pure; works on any stream of bytes.
//!
//! A character that is typed at the end is echoed and nothing else is sent: programs that read the echo see what a router
//! would send. Everything else repaints the line.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use super::paint::{Ink, painted};

/// Lines that are remembered.
pub const HISTORY_MAX: usize = 500;
/// A longer line is none.
const LINE_LETTERS_MAX: usize = 32 * 1024;

/// What came of some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Line(String),
    /// A line that had more letters than are taken.
    TooLong,
    /// `?`: what can stand at the cursor.
    Help,
    /// TAB.
    Complete,
    /// ^C: the line is given up.
    Interrupt,
    /// ^D on an empty line.
    End,
    /// ^Z.
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Search {
    wanted: String,
    /// Which line of the history is shown.
    found: Option<usize>,
}

#[derive(Debug, Default)]
pub struct Editor {
    prompt: String,
    line: Vec<char>,
    cursor: usize,
    columns: usize,
    /// Rows above the cursor's that the prompt and the line take.
    row: usize,
    /// Columns that the prompt and what stands before the cursor take, as it is painted.
    width: usize,
    /// What is painted is not what the line is: it is painted anew before anything else is shown.
    is_stale: bool,
    pending: VecDeque<u8>,
    history: VecDeque<String>,
    /// Where in the history the line is from, and what was typed before.
    recalled: Option<(usize, Vec<char>)>,
    killed: Vec<char>,
    search: Option<Search>,
    skips_line_feed: bool,
    pub has_colours: bool,
    /// What is typed is not shown.
    pub hides: bool,
    /// Letters had no room.
    is_cut: bool,
    out: String,
}

impl Editor {
    pub fn new(has_colours: bool) -> Self {
        Self { has_colours, ..Self::default() }
    }

    /// Begins a line behind a prompt.
    pub fn begin(&mut self, prompt: &str) {
        prompt.clone_into(&mut self.prompt);
        self.line.clear();
        self.cursor = 0;
        self.recalled = None;
        self.search = None;
        self.is_cut = false;
        self.is_stale = false;
        self.put_prompt();
        self.width = self.width_of_prompt();
        self.row = self.position(self.width).0;
    }

    /// 0 columns: lines do not wrap.
    pub fn resize(&mut self, columns: usize) {
        self.columns = columns;
        self.row = self.position(self.width).0;
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
    }

    /// What is to be sent to the terminal now.
    pub fn take_output(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// Whether another whole line has been typed already.
    pub fn has_more(&self) -> bool {
        self.pending.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Bytes that wait to be looked at.
    pub fn typed_ahead(&self) -> usize {
        self.pending.len()
    }

    /// Takes one byte that waits, past the editing: an answer to `--More--`.
    pub fn take_byte(&mut self) -> Option<u8> {
        self.pending.pop_front()
    }

    /// Whether ^C waits; what was typed before it is dropped.
    pub fn take_interrupt(&mut self) -> bool {
        match self.pending.iter().position(|byte| *byte == 0x03) {
            Some(at) => {
                self.pending.drain(..=at);
                true
            }
            None => false,
        }
    }

    /// The line up to the cursor.
    pub fn before_cursor(&self) -> String {
        self.line[..self.cursor].iter().collect()
    }

    pub fn insert_text(&mut self, text: &str) {
        for letter in text.chars() {
            self.insert(letter);
        }
    }

    /// The prompt and the line again, after something else was printed.
    pub fn repaint(&mut self) {
        self.row = 0;
        self.is_stale = true;
        self.settle();
    }

    pub fn remember(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() || self.history.back().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(line.to_owned());
    }

    /// Works on what was fed until something has come of it.
    pub fn next_event(&mut self) -> Option<Event> {
        let mut event = None;
        while event.is_none()
            && let Some(key) = self.take_key()
        {
            event = self.on_key(key);
        }
        self.settle();
        event
    }

    fn take_key(&mut self) -> Option<Key> {
        let first = *self.pending.front()?;
        if first == 0x1b {
            return self.take_escape();
        }
        if first < 0x80 {
            self.pending.pop_front();
            return Some(Key::Control(first).or_letter());
        }
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        // What is no UTF-8 cannot become so by waiting.
        let continued =
            self.pending.iter().skip(1).take(length - 1).take_while(|byte| (0x80..0xc0).contains(*byte)).count();
        if continued < length - 1 && self.pending.len() == continued + 1 {
            return None;
        }
        let bytes: Vec<u8> = self.pending.drain(..=continued).collect();
        let letter = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next());
        Some(Key::Letter(letter.unwrap_or('\u{fffd}')))
    }

    fn take_escape(&mut self) -> Option<Key> {
        let second = *self.pending.get(1)?;
        if !matches!(second, b'[' | b'O') {
            self.pending.drain(..2);
            return Some(match second {
                b'b' => Key::WordLeft,
                b'f' => Key::WordRight,
                b'd' => Key::Other,
                0x7f | 0x08 => Key::Control(0x17),
                _ => Key::Other,
            });
        }
        let end = self.pending.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))? + 2;
        let sequence: Vec<u8> = self.pending.drain(..=end).skip(2).collect();
        Some(match sequence.as_slice() {
            b"A" => Key::Control(0x10),
            b"B" => Key::Control(0x0e),
            b"C" => Key::Control(0x06),
            b"D" => Key::Control(0x02),
            b"H" | b"1~" | b"7~" => Key::Control(0x01),
            b"F" | b"4~" | b"8~" => Key::Control(0x05),
            b"3~" => Key::DeleteRight,
            b"1;5D" | b"5D" => Key::WordLeft,
            b"1;5C" | b"5C" => Key::WordRight,
            _ => Key::Other,
        })
    }

    fn on_key(&mut self, key: Key) -> Option<Event> {
        let skips = std::mem::take(&mut self.skips_line_feed);
        if self.search.is_some() && self.search_key(key) {
            return None;
        }
        match key {
            Key::Letter('?') if self.pending.is_empty() && !self.is_in_quotes() => return Some(Event::Help),
            Key::Letter(letter) => self.insert(letter),
            Key::Control(b'\r') => {
                self.skips_line_feed = true;
                return Some(self.end_line());
            }
            Key::Control(b'\n') if skips => {}
            Key::Control(b'\n') => return Some(self.end_line()),
            Key::Control(b'\t') if self.pending.is_empty() => return Some(Event::Complete),
            // In pasted text it is what it looks like.
            Key::Control(b'\t') => self.insert(' '),
            Key::Control(0x03) => {
                self.settle();
                self.out.push_str("^C\r\n");
                return Some(Event::Interrupt);
            }
            Key::Control(0x04) if self.line.is_empty() => return Some(Event::End),
            Key::Control(0x1a) => {
                self.settle();
                self.out.push_str("\r\n");
                return Some(Event::Leave);
            }
            Key::Control(0x04) | Key::DeleteRight => self.change(|editor| {
                if editor.cursor < editor.line.len() {
                    editor.line.remove(editor.cursor);
                }
            }),
            Key::Control(0x7f | 0x08) => self.delete_left(),
            Key::Control(0x01) => self.change(|editor| editor.cursor = 0),
            Key::Control(0x05) => self.change(|editor| editor.cursor = editor.line.len()),
            Key::Control(0x02) => self.change(|editor| editor.cursor = editor.cursor.saturating_sub(1)),
            Key::Control(0x06) => self.change(|editor| editor.cursor = (editor.cursor + 1).min(editor.line.len())),
            Key::WordLeft => self.change(|editor| editor.cursor = editor.word_left()),
            Key::WordRight => self.change(|editor| editor.cursor = editor.word_right()),
            Key::Control(0x0b) => self.change(|editor| editor.killed = editor.line.split_off(editor.cursor)),
            Key::Control(0x15) => self.change(|editor| {
                editor.killed = editor.line.drain(..editor.cursor).collect();
                editor.cursor = 0;
            }),
            Key::Control(0x17) => self.change(|editor| {
                let from = editor.word_left();
                editor.killed = editor.line.drain(from..editor.cursor).collect();
                editor.cursor = from;
            }),
            Key::Control(0x19) => {
                let killed: String = self.killed.iter().collect();
                self.insert_text(&killed);
            }
            Key::Control(0x0c) => {
                self.out.push_str("\x1b[H\x1b[2J");
                self.row = 0;
                self.paint();
            }
            Key::Control(0x10) => self.recall(true),
            Key::Control(0x0e) => self.recall(false),
            Key::Control(0x12) if !self.hides => {
                self.search = Some(Search { wanted: String::new(), found: None });
                self.paint();
            }
            Key::Control(_) | Key::Other => {}
        }
        None
    }

    fn end_line(&mut self) -> Event {
        if self.cursor < self.line.len() {
            self.cursor = self.line.len();
            self.paint();
        }
        self.settle();
        self.out.push_str("\r\n");
        if std::mem::take(&mut self.is_cut) { Event::TooLong } else { Event::Line(self.line.iter().collect()) }
    }

    fn is_in_quotes(&self) -> bool {
        self.line[..self.cursor].iter().filter(|letter| **letter == '"').count() % 2 == 1
    }

    fn insert(&mut self, letter: char) {
        if self.line.len() >= LINE_LETTERS_MAX || letter.is_control() {
            self.is_cut |= !letter.is_control();
            return;
        }
        self.line.insert(self.cursor, letter);
        self.cursor += 1;
        if self.is_stale || self.hides || self.cursor < self.line.len() {
            return self.paint();
        }
        self.out.push(letter);
        self.width += letter.width().unwrap_or(0);
        let (row, column) = self.position(self.width);
        if column == 0 && row > self.row {
            // The terminal waits with the wrap for the next letter; ours is not to depend on it.
            self.out.push_str("\r\n");
        }
        self.row = row;
    }

    fn delete_left(&mut self) {
        if self.cursor == 0 {
            return;
        }
        self.cursor -= 1;
        let letter = self.line.remove(self.cursor);
        let (row, column) = self.position(self.width.saturating_sub(1));
        let is_plain = self.cursor == self.line.len() && letter.width() == Some(1) && row == self.row && column > 0;
        if !is_plain || self.is_stale || self.hides {
            return self.paint();
        }
        self.width -= 1;
        self.out.push_str("\x08 \x08");
    }

    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let before = (self.line.len(), self.cursor);
        change(self);
        if before != (self.line.len(), self.cursor) {
            self.paint();
        }
    }

    fn word_left(&self) -> usize {
        let mut at = self.cursor;
        while at > 0 && self.line[at - 1] == ' ' {
            at -= 1;
        }
        while at > 0 && self.line[at - 1] != ' ' {
            at -= 1;
        }
        at
    }

    fn word_right(&self) -> usize {
        let mut at = self.cursor;
        while at < self.line.len() && self.line[at] == ' ' {
            at += 1;
        }
        while at < self.line.len() && self.line[at] != ' ' {
            at += 1;
        }
        at
    }

    fn recall(&mut self, is_older: bool) {
        if self.hides {
            return;
        }
        let next = match (&self.recalled, is_older) {
            (None, true) => self.history.len().checked_sub(1),
            (None, false) => return,
            (Some((at, _)), true) => at.checked_sub(1),
            (Some((at, _)), false) => Some(at + 1),
        };
        let Some(next) = next else { return };
        let typed = self.recalled.take().map_or_else(|| self.line.clone(), |(_, typed)| typed);
        match self.history.get(next) {
            Some(line) => {
                self.line = line.chars().collect();
                self.recalled = Some((next, typed));
            }
            None => self.line = typed,
        }
        self.cursor = self.line.len();
        self.paint();
    }

    /// Whether the search took the key.
    fn search_key(&mut self, key: Key) -> bool {
        let Some(search) = &mut self.search else { return false };
        let below = match key {
            Key::Letter(letter) => {
                search.wanted.push(letter);
                search.found.map_or(self.history.len(), |found| found + 1)
            }
            Key::Control(0x7f | 0x08) => {
                search.wanted.pop();
                self.history.len()
            }
            Key::Control(0x12) => search.found.unwrap_or(self.history.len()),
            _ => {
                self.search = None;
                self.paint();
                // ^G and ^C give up the search, not the line.
                return matches!(key, Key::Control(0x07 | 0x03) | Key::Other);
            }
        };
        let found = (0..below).rev().find(|at| self.history[*at].contains(&search.wanted));
        if let Some(found) = found.filter(|_| !search.wanted.is_empty()) {
            search.found = Some(found);
            self.line = self.history[found].chars().collect();
            self.cursor = self.line.len();
        }
        self.paint();
        true
    }

    fn shown_prompt(&self) -> String {
        match &self.search {
            Some(search) => format!("(reverse-i-search)`{}': ", search.wanted),
            None => self.prompt.clone(),
        }
    }

    fn put_prompt(&mut self) {
        let ink = if self.has_colours { Ink::Prompt } else { Ink::Plain };
        let prompt = self.shown_prompt();
        self.out.push_str(&painted(ink, &prompt));
    }

    fn width_of_prompt(&self) -> usize {
        self.shown_prompt().chars().map(|letter| letter.width().unwrap_or(0)).sum()
    }

    fn width_of(&self, from: usize, to: usize) -> usize {
        self.line[from..to].iter().map(|letter| letter.width().unwrap_or(0)).sum()
    }

    fn position(&self, width: usize) -> (usize, usize) {
        match width.checked_div(self.columns) {
            Some(row) => (row, width % self.columns),
            None => (0, width),
        }
    }

    /// The line has to be shown anew; once, however many keys have come together.
    fn paint(&mut self) {
        self.is_stale = true;
    }

    /// The whole line again, from the row where its prompt begins.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.is_stale) || self.hides {
            return;
        }
        if self.row > 0 {
            self.out.push_str(&format!("\x1b[{}A", self.row));
        }
        self.out.push_str("\r\x1b[J");
        self.put_prompt();
        let line: String = self.line.iter().collect();
        self.out.push_str(&line);
        let prompt = self.width_of_prompt();
        let (end_row, end_column) = self.position(prompt + self.width_of(0, self.line.len()));
        if end_column == 0 && end_row > 0 {
            self.out.push_str("\r\n");
        }
        self.width = prompt + self.width_of(0, self.cursor);
        let (row, column) = self.position(self.width);
        if self.cursor < self.line.len() {
            if end_row > row {
                self.out.push_str(&format!("\x1b[{}A", end_row - row));
            }
            self.out.push('\r');
            if column > 0 {
                self.out.push_str(&format!("\x1b[{column}C"));
            }
        }
        self.row = row;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Letter(char),
    Control(u8),
    DeleteRight,
    WordLeft,
    WordRight,
    Other,
}

impl Key {
    fn or_letter(self) -> Self {
        match self {
            Key::Control(byte @ 0x20..=0x7e) => Key::Letter(char::from(byte)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(keys: &str) -> (Editor, Vec<Event>) {
        let mut editor = Editor::default();
        for line in ["show version", "show script status", "configure"] {
            editor.remember(line);
        }
        editor.begin("R#");
        editor.feed(keys.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = editor.next_event() {
            events.push(event.clone());
            if matches!(event, Event::Line(_) | Event::TooLong) {
                editor.begin("R#");
            }
        }
        (editor, events)
    }

    fn line(keys: &str) -> String {
        match typed(&format!("{keys}\r")).1.pop() {
            Some(Event::Line(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_edit_as_hands_expect() {
        for (keys, expected) in [
            ("abc", "abc"),
            ("abc\x7f\x7fx", "ax"),
            ("bc\x01a", "abc"),
            ("ac\x02b", "abc"),
            ("a\x1b[D\x1b[Cb", "ab"),
            ("one two\x17", "one "),
            ("one two\x01\x0b", ""),
            ("one two\x15\x19\x19", "one twoone two"),
            ("abc\x1b[H\x1b[3~", "bc"),
            ("one two\x1bb\x1bbx", "xone two"),
            ("\x1b[A", "configure"),
            ("\x1b[A\x1b[A\x1b[A\x1b[A", "show version"),
            ("new\x1b[A\x1b[B", "new"),
            ("\x12stat", "show script status"),
            ("\x12show\x12", "show version"),
            ("é\u{4e2d}\x7f", "é"),
            ("a\tb", "a b"),
        ] {
            assert_eq!(line(keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn what_is_typed_at_the_end_is_echoed_and_nothing_else() {
        let (mut editor, _) = typed("show é");
        assert_eq!(editor.take_output(), "R#show é");
    }

    #[test]
    fn a_question_mark_alone_asks_and_in_pasted_text_does_not() {
        assert_eq!(typed("show ?").1, [Event::Help]);
        assert_eq!(typed("get http://h/?x\r").1, [Event::Line("get http://h/?x".to_owned())]);
        assert_eq!(typed("a \"b?").1, []);
        assert_eq!(typed("sh\t").1, [Event::Complete]);
    }

    #[test]
    fn a_secret_is_edited_and_never_shown() {
        let mut editor = Editor::new(true);
        editor.remember("show version");
        editor.hides = true;
        editor.begin("Password: ");
        editor.feed(b"ecretx\x7f\x1b[A\x01s\r");
        assert_eq!(editor.next_event(), Some(Event::Line("secret".to_owned())));
        assert_eq!(editor.take_output(), "\x1b[1mPassword: \x1b[0m\r\n");
    }

    #[test]
    fn a_line_that_has_no_room_is_none() {
        let (_, events) = typed(&format!("{}\rnext\r", "x".repeat(LINE_LETTERS_MAX + 1)));
        assert_eq!(events, [Event::TooLong, Event::Line("next".to_owned())]);
    }

    #[test]
    fn keys_that_come_together_are_shown_once() {
        let (mut editor, _) = typed("");
        editor.take_output();
        editor.feed(b"ac\x02b\x01x");
        assert_eq!(editor.next_event(), None);
        assert_eq!(editor.take_output(), "ac\r\x1b[JR#xabc\r\x1b[3C");
        // As long as a line may be, in the middle of another one.
        editor.feed("y".repeat(LINE_LETTERS_MAX).as_bytes());
        assert_eq!(editor.next_event(), None);
        assert!(editor.take_output().len() < 2 * LINE_LETTERS_MAX);
    }

    #[test]
    fn a_line_ends_once_however_the_terminal_says_it() {
        let lines = |keys: &str| typed(keys).1.len();
        assert_eq!((lines("a\rb\r"), lines("a\nb\n"), lines("a\r\nb\r\n"), lines("\r\r")), (2, 2, 2, 2));
        assert_eq!(typed("x\x03").1, [Event::Interrupt]);
        assert_eq!(typed("\x04").1, [Event::End]);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_line(bytes in proptest::collection::vec(any::<u8>(), 0..80), columns in 0..20_usize) {
            let mut editor = Editor::default();
            editor.resize(columns);
            editor.begin("RP/0/RP0/CPU0:x#");
            for byte in bytes {
                editor.feed(&[byte]);
                while let Some(event) = editor.next_event() {
                    if let Event::Line(line) = event {
                        editor.remember(&line);
                        editor.begin("R#");
                    }
                }
                prop_assert!(editor.cursor <= editor.line.len());
            }
        }

        #[test]
        fn a_split_letter_is_one_letter(text in "\\PC{1,10}") {
            let plain: String = text.chars().filter(|letter| *letter != '?').collect();
            let mut editor = Editor::default();
            editor.begin("");
            for byte in plain.as_bytes() {
                editor.feed(&[*byte]);
                prop_assert_eq!(editor.next_event(), None);
            }
            prop_assert_eq!(editor.before_cursor(), plain);
        }
    }
}
