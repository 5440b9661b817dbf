//! Keys that mean something to the server: found byte by byte, anywhere in what is typed.

/// Starts a program that is down.
pub const START: u8 = 0x12;
/// Quits the server while the program is down.
pub const QUIT: u8 = 0x11;

/// `None` switches a key off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub kill: Option<u8>,
    pub toggle: Option<u8>,
    pub logout: Option<u8>,
    /// Never reach the program.
    pub ignored: Vec<u8>,
}

/// What the program is doing, as far as keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Runs,
    /// It runs, and was killed by an operator a moment ago: the quit key still means what it meant before the restart.
    RunsAfterKill,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    ToProgram(u8),
    Toggle,
    Kill,
    Start,
    Quit,
    LogOut,
    QuitAndLogOut,
    Nothing,
}

impl Default for Keys {
    fn default() -> Self {
        Self { kill: Some(0x18), toggle: Some(0x14), logout: None, ignored: Vec::new() }
    }
}

impl Keys {
    pub fn meaning(&self, byte: u8, program: Program) -> Typed {
        let is = |key: Option<u8>| key == Some(byte);
        let logs_out = is(self.logout);
        match program {
            Program::Down if byte == QUIT => return if logs_out { Typed::QuitAndLogOut } else { Typed::Quit },
            // A logout key that is the quit key only logs out while the program runs.
            Program::RunsAfterKill if byte == QUIT && !logs_out => return Typed::Quit,
            Program::Down if byte == START || is(self.kill) => return Typed::Start,
            Program::Runs | Program::RunsAfterKill | Program::Down => {}
        }
        match byte {
            _ if logs_out => Typed::LogOut,
            _ if is(self.toggle) => Typed::Toggle,
            _ if is(self.kill) => Typed::Kill,
            _ if program == Program::Down || byte == 0 || self.ignored.contains(&byte) => Typed::Nothing,
            _ => Typed::ToProgram(byte),
        }
    }
}

/// The first key of a text as procServ's options write them: `^X`, `^^` for a caret, any other character itself, nothing
/// for none.
pub fn key(text: &[u8]) -> Option<u8> {
    keys(text).first().copied()
}

/// All keys of a text, as for `--ignore`: `^D^C`.
pub fn keys(text: &[u8]) -> Vec<u8> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        (keys, rest) = match (first, more.first()) {
            (b'^', Some(b'^')) => (with(keys, b'^'), &more[1..]),
            (b'^', Some(letter @ b'A'..=b'Z')) => (with(keys, letter - 64), &more[1..]),
            _ => (with(keys, *first), more),
        };
    }
    keys
}

fn with(mut keys: Vec<u8>, key: u8) -> Vec<u8> {
    keys.push(key);
    keys
}

/// As people write it: `^X`.
pub fn name(key: u8) -> String {
    if key < 32 { format!("^{}", char::from(key + 64)) } else { char::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &Keys, bytes: &[u8], program: Program) -> Vec<Typed> {
        bytes.iter().map(|byte| keys.meaning(*byte, program)).collect()
    }

    #[test]
    fn keys_are_written_with_a_caret() {
        assert_eq!(keys(b"^D^C"), [4, 3]);
        assert_eq!(keys(b"a^^^a^"), [b'a', b'^', b'^', b'a', b'^']);
        assert_eq!((key(b"^X"), key(b""), key(b"q")), (Some(0x18), None, Some(b'q')));
        assert_eq!((name(0x18), name(b'q')), ("^X".into(), "q".into()));
    }

    #[test]
    fn start_and_quit_belong_to_the_program_while_it_runs() {
        let keys = Keys { ignored: vec![3], ..Keys::default() };
        use Typed::{Kill, Nothing, Quit, Start, ToProgram, Toggle};
        let bytes = b"\x12\x11\x14\x18\x03x\0";
        assert_eq!(
            typed(&keys, bytes, Program::Runs),
            [ToProgram(0x12), ToProgram(0x11), Toggle, Kill, Nothing, ToProgram(b'x'), Nothing]
        );
        assert_eq!(typed(&keys, bytes, Program::Down), [Start, Quit, Toggle, Start, Nothing, Nothing, Nothing]);
        assert_eq!(keys.meaning(QUIT, Program::RunsAfterKill), Quit);
        assert_eq!(keys.meaning(START, Program::RunsAfterKill), ToProgram(START));
    }

    #[test]
    fn a_logout_key_that_is_the_quit_key_never_ends_a_program_that_runs() {
        let keys = Keys { logout: Some(QUIT), ..Keys::default() };
        assert_eq!(keys.meaning(QUIT, Program::Runs), Typed::LogOut);
        assert_eq!(keys.meaning(QUIT, Program::RunsAfterKill), Typed::LogOut);
        assert_eq!(keys.meaning(QUIT, Program::Down), Typed::QuitAndLogOut);
    }

    #[test]
    fn keys_that_are_switched_off_are_plain_bytes() {
        let keys = Keys { kill: None, toggle: None, ..Keys::default() };
        assert_eq!(keys.meaning(0x18, Program::Runs), Typed::ToProgram(0x18));
        assert_eq!(keys.meaning(0x18, Program::Down), Typed::Nothing);
    }
}
