//! The telnet protocol as procServ speaks it: two requests after the banner, every other option declined.

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;
const BRK: u8 = 243;
const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;
const LINEMODE: u8 = 34;
/// Answers to one client; a peer that asks more is a peer that plays.
const ANSWERS_MAX: u32 = 256;

/// `WILL ECHO`, `DO LINEMODE`: the client neither echoes nor keeps lines back.
pub const REQUESTS: [u8; 6] = [IAC, WILL, ECHO, IAC, DO, LINEMODE];

/// What a client sends for a break.
pub const BREAK: [u8; 2] = [IAC, BRK];

/// Doubles each 0xff.
pub fn escape(bytes: &[u8], into: &mut Vec<u8>) {
    for byte in bytes {
        into.push(*byte);
        if *byte == IAC {
            into.push(IAC);
        }
    }
}

/// Takes commands out of what a client sends, wherever the pieces are cut.
#[derive(Debug, Default)]
pub struct Receiver {
    state: State,
    answers: u32,
    is_client: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Command,
    /// `WILL`, `WONT`, `DO` or `DONT` has come; its option follows.
    Option(u8),
    Parameters,
    ParametersCommand,
}

impl Receiver {
    /// For the side that has connected: it lets the other side echo.
    pub fn of_a_client() -> Self {
        Self { is_client: true, ..Self::default() }
    }

    /// What was typed; answers to the client are added to `answers`.
    pub fn receive(&mut self, bytes: &[u8], answers: &mut Vec<u8>) -> Vec<u8> {
        let mut typed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Text, IAC) => State::Command,
                (State::Text, _) => {
                    typed.push(byte);
                    State::Text
                }
                (State::Command, IAC) => {
                    typed.push(IAC);
                    State::Text
                }
                (State::Command, WILL | WONT | DO | DONT) => State::Option(byte),
                (State::Command, SB) => State::Parameters,
                (State::Command, _) => State::Text,
                (State::Option(verb), option) => {
                    self.answer(verb, option, answers);
                    State::Text
                }
                (State::Parameters, IAC) => State::ParametersCommand,
                (State::ParametersCommand, SE) => State::Text,
                (State::Parameters | State::ParametersCommand, _) => State::Parameters,
            };
        }
        typed
    }

    /// What we asked for needs no answer; what the client wants beyond that is declined.
    fn answer(&mut self, verb: u8, option: u8, answers: &mut Vec<u8>) {
        let refusal = match (verb, option) {
            (WILL, ECHO | SUPPRESS_GO_AHEAD) if self.is_client => DO,
            (DO, SUPPRESS_GO_AHEAD) if self.is_client => WILL,
            (DO, _) if self.is_client => WONT,
            (WILL, _) if self.is_client => DONT,
            (DO, ECHO) | (WILL, LINEMODE) => return,
            (DO, _) => WONT,
            (WILL, _) => DONT,
            _ => return,
        };
        if self.answers < ANSWERS_MAX {
            self.answers += 1;
            answers.extend_from_slice(&[IAC, refusal, option]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let (mut receiver, mut answers) = (Receiver::default(), Vec::new());
        let typed = pieces.iter().flat_map(|piece| receiver.receive(piece, &mut answers)).collect();
        (typed, answers)
    }

    #[test]
    fn commands_never_reach_the_program_however_they_are_cut() {
        let whole: &[u8] = b"a\xff\xffb\xff\xfd\x01c\xff\xfa\x22\x01\xff\xff\x18\xff\xf0d\xff\xf3e";
        assert_eq!(receive(&[whole]).0, b"a\xffbcde");
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(receive(&bytes).0, b"a\xffbcde");
    }

    #[test]
    fn what_was_not_asked_for_is_declined_once_each() {
        let (typed, answers) = receive(&[b"\xff\xfd\x01\xff\xfb\x22\xff\xfd\x03\xff\xfb\x1f\xff\xfe\x03"]);
        assert!(typed.is_empty());
        assert_eq!(answers, b"\xff\xfc\x03\xff\xfe\x1f");
    }

    #[test]
    fn a_client_lets_the_server_echo_and_keeps_to_characters() {
        let (mut receiver, mut answers) = (Receiver::of_a_client(), Vec::new());
        let shown = receiver.receive(&[&REQUESTS[..], b"\xff\xfb\x03\xff\xfd\x03hi"].concat(), &mut answers);
        assert_eq!(shown, b"hi");
        assert_eq!(answers, b"\xff\xfd\x01\xff\xfc\x22\xff\xfd\x03\xff\xfb\x03");
    }

    #[test]
    fn a_peer_that_never_stops_asking_is_answered_no_more() {
        let asking: Vec<u8> = b"\xff\xfd\x03".repeat(1000);
        assert_eq!(receive(&[&asking]).1.len(), ANSWERS_MAX as usize * 3);
    }
}
