//! conserver's escape sequences: `^Ec` and a letter, found in what is typed however it is cut.
//!
//! ```text
//!  Text --first key--> First --second key--> Letter --a letter--> a Command, and Text again
//!    ^                   | another: both to the program      | l: Break, b n: Line, e: two keys, \: Octal
//!    +-------------------+-----------------------------------+
//! ```

use super::conserver;

/// `^Ec`.
pub const DEFAULT: [u8; 2] = [0x05, b'c'];
/// Of a message or a note; what is typed beyond is left out.
pub const LINE_BYTES_MAX: usize = 512;
/// That a replay may be told to show.
pub const LINES_MAX: usize = 9999;

/// What `r` shows, and what `p` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Replay,
    Playback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Disconnect,
    /// Another console; asked by the client's own program.
    GoTo,
    Attach,
    Force,
    Spy,
    Down,
    Open,
    Who,
    Hosts,
    Examine,
    Info,
    Group,
    Version,
    /// Whether the console is up; asked by conserver's client.
    Condition,
    /// Its server's version as a number; asked by the same.
    VersionNumber,
    Motd,
    Replay,
    Playback,
    /// How many lines a replay (or the longer playback) shows from now on.
    AskLines(Span),
    Lines(Span, usize),
    /// As many as before, which the client is to be told.
    KeepLines(Span),
    LastLine,
    Help,
    BreakList,
    Break(u8),
    TaskList,
    Task(u8),
    Suspend,
    /// A command of the client's, in its user's place.
    Run,
    FlowControl,
    ToggleLog,
    /// A carriage return: nothing.
    Abort,
    EscapeIs([u8; 2]),
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Type(Vec<u8>),
    Command(Command),
    /// To everybody on the console.
    Broadcast(String),
    /// Into the log.
    Note(String),
    /// What the client is to be told at once: a prompt, or what it types of a message.
    Echo(Vec<u8>),
}

#[derive(Debug)]
pub struct Escape {
    keys: [u8; 2],
    state: State,
}

#[derive(Debug)]
enum State {
    Text,
    First,
    Letter,
    Break,
    Key(Option<u8>),
    Octal(u8, u32),
    Task,
    Lines(Span, Option<usize>),
    Line { note: bool, bytes: Vec<u8> },
}

impl Default for Escape {
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}

impl Escape {
    pub fn new(keys: [u8; 2]) -> Self {
        Self { keys, state: State::Text }
    }

    pub fn keys(&self) -> [u8; 2] {
        self.keys
    }

    /// In the order in which it was typed.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for byte in bytes {
            self.byte(*byte, &mut heard);
        }
        heard
    }

    fn byte(&mut self, byte: u8, heard: &mut Vec<Heard>) {
        let state = std::mem::replace(&mut self.state, State::Text);
        self.state = match state {
            State::Text if byte == self.keys[0] => State::First,
            State::Text => text(heard, &[byte]),
            State::First if byte == self.keys[1] => State::Letter,
            State::First if byte == self.keys[0] => {
                text(heard, &[self.keys[0]]);
                State::First
            }
            State::First => text(heard, &[self.keys[0], byte]),
            State::Letter => self.letter(byte, heard),
            State::Break => command(heard, if byte == b'?' { Command::BreakList } else { Command::Break(byte) }),
            State::Key(None) => {
                heard.push(Heard::Echo(shown(byte)));
                State::Key(Some(byte))
            }
            State::Key(Some(first)) => {
                self.keys = [first, byte];
                heard.push(Heard::Echo(shown(byte)));
                command(heard, Command::EscapeIs(self.keys))
            }
            State::Octal(digits, value) => match byte {
                b'0'..=b'7' => {
                    let value = value * 8 + u32::from(byte - b'0');
                    heard.push(Heard::Echo(vec![byte]));
                    if digits == 2 {
                        heard.push(Heard::Echo(b"]".to_vec()));
                        text(heard, &[low_byte(value)])
                    } else {
                        State::Octal(digits + 1, value)
                    }
                }
                _ => {
                    heard.push(Heard::Echo(b" aborted]\r\n".to_vec()));
                    State::Text
                }
            },
            State::Task => command(heard, if byte == b'?' { Command::TaskList } else { Command::Task(byte) }),
            State::Lines(span, count) => match byte {
                b'0'..=b'9' => {
                    heard.push(Heard::Echo(vec![byte]));
                    let before = count.unwrap_or_default();
                    State::Lines(span, Some((before * 10 + usize::from(byte - b'0')).min(LINES_MAX)))
                }
                b'\r' | b'\n' => match count {
                    Some(count) => {
                        heard.push(Heard::Echo(b"]\r\n".to_vec()));
                        command(heard, Command::Lines(span, count))
                    }
                    None => command(heard, Command::KeepLines(span)),
                },
                _ => State::Lines(span, count),
            },
            State::Line { note, bytes } => line(note, bytes, byte, heard),
        };
    }

    fn letter(&self, byte: u8, heard: &mut Vec<Heard>) -> State {
        let simple = match byte {
            b'.' => Command::Disconnect,
            b';' => Command::GoTo,
            b'a' => Command::Attach,
            b'f' => Command::Force,
            b's' => Command::Spy,
            b'd' => Command::Down,
            b'o' => Command::Open,
            b'w' => Command::Who,
            b'u' => Command::Hosts,
            b'x' => Command::Examine,
            b'i' => Command::Info,
            b'g' => Command::Group,
            b'v' => Command::Version,
            b'=' => Command::Condition,
            0xd6 => Command::VersionNumber,
            b'm' => Command::Motd,
            b'r' => Command::Replay,
            b'p' => Command::Playback,
            0x12 => Command::LastLine,
            b'?' => Command::Help,
            b'z' | 0x1a => Command::Suspend,
            b'|' => Command::Run,
            b'c' => Command::FlowControl,
            b'L' => Command::ToggleLog,
            b'\r' | b'\n' => Command::Abort,
            b'l' => {
                heard.push(Heard::Echo(b"[halt ".to_vec()));
                return State::Break;
            }
            b'e' => {
                heard.push(Heard::Echo(b"[redef: ".to_vec()));
                return State::Key(None);
            }
            b'\\' => {
                heard.push(Heard::Echo(b"[quote \\".to_vec()));
                return State::Octal(0, 0);
            }
            b'!' => {
                heard.push(Heard::Echo(b"[task ".to_vec()));
                return State::Task;
            }
            b'P' | b'R' => {
                let span = if byte == b'P' { Span::Playback } else { Span::Replay };
                command(heard, Command::AskLines(span));
                return State::Lines(span, None);
            }
            b'b' | b'n' => {
                let prompt: &[u8] = if byte == b'n' { b"[Enter note: " } else { b"[Enter message: " };
                heard.push(Heard::Echo(prompt.to_vec()));
                return State::Line { note: byte == b'n', bytes: Vec::new() };
            }
            // The first key once more: it is meant for the program.
            byte if byte == self.keys[0] => return text(heard, &[byte]),
            _ => Command::Unknown,
        };
        command(heard, simple)
    }
}

fn text(heard: &mut Vec<Heard>, bytes: &[u8]) -> State {
    match heard.last_mut() {
        Some(Heard::Type(typed)) => typed.extend_from_slice(bytes),
        _ => heard.push(Heard::Type(bytes.to_vec())),
    }
    State::Text
}

fn command(heard: &mut Vec<Heard>, command: Command) -> State {
    heard.push(Heard::Command(command));
    State::Text
}

fn line(note: bool, mut bytes: Vec<u8>, byte: u8, heard: &mut Vec<Heard>) -> State {
    match byte {
        b'\r' | b'\n' => {
            heard.push(Heard::Echo(b"]\r\n".to_vec()));
            let said: String = String::from_utf8_lossy(&bytes).chars().filter(|letter| !letter.is_control()).collect();
            if !said.is_empty() {
                heard.push(if note { Heard::Note(said) } else { Heard::Broadcast(said) });
            }
            return State::Text;
        }
        0x08 | 0x7f if bytes.pop().is_some() => heard.push(Heard::Echo(b"\x08 \x08".to_vec())),
        0x08 | 0x7f => {}
        _ if bytes.len() < LINE_BYTES_MAX => {
            bytes.push(byte);
            heard.push(Heard::Echo(vec![byte]));
        }
        _ => {}
    }
    State::Line { note, bytes }
}

fn shown(key: u8) -> Vec<u8> {
    format!("{} ", conserver::key(key)).into_bytes()
}

fn low_byte(value: u32) -> u8 {
    u8::try_from(value & 0xff).expect("masked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Heard {
        Heard::Type(bytes.to_vec())
    }

    #[test]
    fn a_sequence_is_found_however_it_is_cut_and_the_rest_goes_to_the_program() {
        let whole = Escape::default().hear(b"ls\r\x05c.more");
        assert_eq!(whole, [typed(b"ls\r"), Heard::Command(Command::Disconnect), typed(b"more")]);
        let mut escape = Escape::default();
        let cut: Vec<Heard> = b"\x05cw".iter().flat_map(|byte| escape.hear(&[*byte])).collect();
        assert_eq!(cut, [Heard::Command(Command::Who)]);
    }

    #[test]
    fn the_first_key_alone_is_the_programs() {
        assert_eq!(Escape::default().hear(b"\x05x"), [typed(b"\x05x")]);
        assert_eq!(Escape::default().hear(b"\x05\x05cw"), [typed(b"\x05"), Heard::Command(Command::Who)]);
        assert_eq!(Escape::default().hear(b"\x05c\x05"), [typed(b"\x05")]);
    }

    #[test]
    fn the_sequence_can_be_changed() {
        let mut escape = Escape::default();
        let heard = escape.hear(b"\x05ce\x01x\x05cw\x01xw");
        assert_eq!(
            heard,
            [
                Heard::Echo(b"[redef: ".to_vec()),
                Heard::Echo(b"^A ".to_vec()),
                Heard::Echo(b"x ".to_vec()),
                Heard::Command(Command::EscapeIs([1, b'x'])),
                typed(b"\x05cw"),
                Heard::Command(Command::Who)
            ]
        );
    }

    #[test]
    fn octal_codes_breaks_and_messages() {
        let mut heard = Escape::default().hear(b"\x05c\\101b");
        let echoed: Vec<u8> = heard
            .iter()
            .filter_map(|heard| if let Heard::Echo(echo) = heard { Some(echo.clone()) } else { None })
            .flatten()
            .collect();
        assert_eq!(echoed, b"[quote \\101]");
        heard.retain(|heard| !matches!(heard, Heard::Echo(_)));
        assert_eq!(heard, [typed(b"Ab")]);
        assert_eq!(
            Escape::default().hear(b"\x05cl0"),
            [Heard::Echo(b"[halt ".to_vec()), Heard::Command(Command::Break(b'0'))]
        );
        let mut heard = Escape::default().hear(b"\x05cbhellp\x08o\rx");
        heard.retain(|heard| !matches!(heard, Heard::Echo(_)));
        assert_eq!(heard, [Heard::Broadcast("hello".into()), typed(b"x")]);
    }

    #[test]
    fn lines_of_a_replay_are_counted_and_tasks_are_asked_for() {
        let heard = |bytes: &[u8]| {
            let mut heard = Escape::default().hear(bytes);
            heard.retain(|heard| !matches!(heard, Heard::Echo(_)));
            heard
        };
        let commands = |commands: &[Command]| commands.iter().map(|each| Heard::Command(*each)).collect::<Vec<_>>();
        assert_eq!(
            heard(b"\x05cR12\r\x05cPx\r"),
            commands(&[
                Command::AskLines(Span::Replay),
                Command::Lines(Span::Replay, 12),
                Command::AskLines(Span::Playback),
                Command::KeepLines(Span::Playback)
            ])
        );
        let Some(Heard::Command(Command::Lines(_, count))) = heard(b"\x05cP99999999\r").pop() else {
            panic!("no count")
        };
        assert_eq!(count, LINES_MAX);
        assert_eq!(heard(b"\x05c!?\x05c!a"), commands(&[Command::TaskList, Command::Task(b'a')]));
    }

    #[test]
    fn an_unknown_letter_is_said_to_be_one() {
        assert_eq!(Escape::default().hear(b"\x05cQ"), [Heard::Command(Command::Unknown)]);
        assert_eq!(Escape::default().hear(b"\x05c\r"), [Heard::Command(Command::Abort)]);
    }

    proptest::proptest! {
        #[test]
        fn what_holds_no_sequence_reaches_the_program_whole(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>().prop_filter("no key", |byte| *byte != 5), 0..200),
            cut in 1_usize..9,
        ) {
            let mut escape = Escape::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                for heard in escape.hear(piece) {
                    if let Heard::Type(typed) = heard { got.extend(typed); }
                }
            }
            proptest::prop_assert_eq!(got, bytes);
        }
    }

    use proptest::strategy::Strategy as _;
}
