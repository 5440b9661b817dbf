//! conserver's own protocol, as its client speaks it: lines until a console is called, then bytes in which 0xff is a
//! command.
//!
//! ```text
//!  "ok"  [ssl -> "ok", and from here on it is encrypted]
//!        login U [password]  call NAME -> a port        (the first port: which consoles are where)
//!  "ok"  login U [password]  call NAME -> "[attached]"  (the second: the consoles themselves)
//!        ESC = -> "[up]"   ESC ; -> "[connected]"   from here on what is shown is sent
//! ```

/// Of a line; a longer one ends the connection.
pub const LINE_BYTES_MAX: usize = 1024;
/// What commands begin with, and a plain 0xff is doubled.
pub const COMMAND: u8 = 0xff;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Login(String),
    Call(String),
    Exit,
    /// It would encrypt all that follows.
    Encrypt,
    Help,
    Groups,
    Master,
    Pid,
    Version,
    /// Lists of all, or of one.
    Hosts(Option<String>),
    Group(Option<String>),
    Info(Option<String>),
    Examine(Option<String>),
    Broadcast(String),
    TextMessage {
        to: String,
        text: String,
    },
    Disconnect(String),
    /// Known, and nobody's right here: the agent is not run from a console's port.
    Forbidden,
    Unknown,
}

pub fn line(text: &str) -> Line {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()));
    let rest = || Some(rest.to_owned()).filter(|rest| !rest.is_empty());
    match (word, rest()) {
        ("login", Some(user)) => Line::Login(user),
        ("call", Some(name)) => Line::Call(name),
        ("exit", _) => Line::Exit,
        ("ssl", None) => Line::Encrypt,
        ("help", _) => Line::Help,
        ("groups", _) => Line::Groups,
        ("master", _) => Line::Master,
        ("pid", _) => Line::Pid,
        ("version", _) => Line::Version,
        ("hosts", which) => Line::Hosts(which),
        ("group", which) => Line::Group(which),
        ("info", which) => Line::Info(which),
        ("examine", which) => Line::Examine(which),
        ("broadcast", Some(text)) => Line::Broadcast(text),
        ("textmsg", Some(rest)) => match rest.split_once(char::is_whitespace) {
            Some((to, text)) => Line::TextMessage { to: to.to_owned(), text: text.trim().to_owned() },
            None => Line::Unknown,
        },
        ("disconnect", Some(whom)) => Line::Disconnect(whom),
        ("newlogs" | "quit" | "restart" | "reconfig" | "up", _) => Line::Forbidden,
        _ => Line::Unknown,
    }
}

/// `user@console`, of which either part may be left out.
pub fn whom(text: &str) -> (Option<&str>, Option<&str>) {
    let (user, console) = text.split_once('@').unwrap_or((text, ""));
    (Some(user).filter(|user| !user.is_empty()), Some(console).filter(|console| !console.is_empty()))
}

pub const HELP: &str = "help   this help message\r\nlogin  log in\r\ncall   connect to a console\r\nexit   disconnect\r\n\
    hosts  show state and users\r\ngroup  show users\r\ninfo   show details\r\nexamine  show places\r\n";

/// For the client: 0xff doubled.
pub fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len());
    super::telnet::escape(bytes, &mut quoted);
    quoted
}

/// What is done for a client's program, by the letters of [`super::packet::Packet::Do`].
pub const GO_TO: u8 = b';';
pub const SUSPEND: u8 = b'z';
/// It runs a command of its own, which is typed from and shown to in the user's place.
pub const RUN: u8 = b'|';
/// It ends that command.
pub const ABORT: u8 = b'.';

const LETTER_RUN: u8 = b'E';
const LETTER_ABORT: u8 = b'.';
const LETTER_GO_TO: u8 = b'G';
const LETTER_SUSPEND: u8 = b'Z';

/// A client at a console, from the answer to its call on.
///
/// ```text
///  Called --ESC ;--> Watches --ESC z, ESC ;--> Away --a byte--> Watches
///                    Watches --ESC |--> Asked --0xff E--> Runs --0xff .--> Watches
///                                         `-----0xff .--> Watches
/// ```
#[derive(Debug, Default)]
pub struct Client {
    stage: Stage,
    is_inside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// It has not said yet that it shows what comes.
    #[default]
    Called,
    Watches,
    /// Suspended, or looking for another console.
    Away,
    /// Its user is asked for a command.
    Asked,
    Runs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// By its user, with escape sequences.
    Typed(Vec<u8>),
    /// By its command, as it is.
    Printed(Vec<u8>),
    /// It is back, and what was shown meanwhile is of no interest.
    Back,
    /// Its command has begun: it wants to know whether that may type.
    Runs,
    /// Its command is over.
    Done,
}

impl Client {
    /// Whether what the console shows goes to it now.
    pub fn watches(&self) -> bool {
        matches!(self.stage, Stage::Watches | Stage::Runs)
    }

    /// What it has said, in its order, however it was cut.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        for byte in bytes {
            match (std::mem::take(&mut self.is_inside), *byte) {
                (false, COMMAND) => self.is_inside = true,
                (true, COMMAND) | (false, _) => self.byte(*byte, &mut said),
                (true, LETTER_RUN) if self.stage == Stage::Asked => {
                    self.stage = Stage::Runs;
                    said.push(Said::Runs);
                }
                (true, LETTER_ABORT) if matches!(self.stage, Stage::Asked | Stage::Runs) => {
                    self.stage = Stage::Watches;
                    said.push(Said::Done);
                }
                (true, _) => {}
            }
        }
        said
    }

    fn byte(&mut self, byte: u8, said: &mut Vec<Said>) {
        match (self.stage, said.last_mut()) {
            // It says that it is back, and nothing else.
            (Stage::Away, _) => {
                self.stage = Stage::Watches;
                said.push(Said::Back);
            }
            (Stage::Asked, _) => {}
            (Stage::Runs, Some(Said::Printed(printed))) => printed.push(byte),
            (Stage::Runs, _) => said.push(Said::Printed(vec![byte])),
            (Stage::Called | Stage::Watches, Some(Said::Typed(typed))) => typed.push(byte),
            (Stage::Called | Stage::Watches, _) => said.push(Said::Typed(vec![byte])),
        }
    }

    /// The bytes that have it do something.
    pub fn told(&mut self, what: u8) -> Vec<u8> {
        let (stage, letter) = match (self.stage, what) {
            (Stage::Called, GO_TO) => {
                self.stage = Stage::Watches;
                return b"[connected]\r\n".to_vec();
            }
            (Stage::Watches, GO_TO) => (Stage::Away, LETTER_GO_TO),
            (Stage::Watches, SUSPEND) => (Stage::Away, LETTER_SUSPEND),
            (Stage::Watches, RUN) => (Stage::Asked, LETTER_RUN),
            // It says when it has ended it.
            (Stage::Runs, ABORT) => return vec![COMMAND, LETTER_ABORT],
            _ => return Vec::new(),
        };
        self.stage = stage;
        vec![b'[', COMMAND, letter]
    }
}

/// The answer to a call: how somebody is at the console now. The client knows these answers and no others.
pub fn answer_to_call(is_up: bool, may_write: bool, writes: bool) -> &'static str {
    match (is_up, may_write, writes) {
        (false, ..) => "[line to console is down]\r\n",
        (true, false, _) => "[console is read-only]\r\n",
        (true, true, false) => "[spy]\r\n",
        (true, true, true) => "[attached]\r\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_client_writes_them() {
        assert_eq!(line("login carol\r\n"), Line::Login("carol".into()));
        assert_eq!(line("call e1\r\n"), Line::Call("e1".into()));
        assert_eq!((line("hosts\r\n"), line("info e1")), (Line::Hosts(None), Line::Info(Some("e1".into()))));
        assert_eq!(
            line("textmsg bob@e1 hey you\r\n"),
            Line::TextMessage { to: "bob@e1".into(), text: "hey you".into() }
        );
        assert_eq!(
            (line("quit"), line("ssl"), line("login"), line("")),
            (Line::Forbidden, Line::Encrypt, Line::Unknown, Line::Unknown)
        );
        assert_eq!(whom("bob@e1"), (Some("bob"), Some("e1")));
        assert_eq!((whom("@e1"), whom("bob")), ((None, Some("e1")), (Some("bob"), None)));
    }

    #[test]
    fn a_client_that_is_away_comes_back_with_a_byte() {
        let mut client = Client::default();
        assert!(!client.watches());
        assert_eq!(client.told(GO_TO), b"[connected]\r\n");
        assert!(client.watches());
        assert_eq!(client.told(SUSPEND), b"[\xffZ");
        assert!(!client.watches() && client.told(RUN).is_empty());
        assert_eq!(client.hear(b"\nls"), [Said::Back, Said::Typed(b"ls".to_vec())]);
        assert_eq!(client.told(GO_TO), b"[\xffG");
    }

    #[test]
    fn a_command_of_the_client_types_in_the_users_place_until_it_is_over() {
        let mut client = Client::default();
        client.told(GO_TO);
        assert_eq!(client.told(RUN), b"[\xffE");
        assert!(!client.watches());
        assert_eq!(client.hear(b"lost\xffE"), [Said::Runs]);
        assert!(client.watches());
        let heard = client.hear(b"a\x05c.\xff\xff\xff.b");
        assert_eq!(heard, [Said::Printed(b"a\x05c.\xff".to_vec()), Said::Done, Said::Typed(b"b".to_vec())]);
        client.told(RUN);
        assert_eq!(client.hear(b"\xff."), [Said::Done]);
        client.told(RUN);
        client.hear(b"\xffE");
        assert_eq!((client.told(ABORT), client.told(SUSPEND)), (b"\xff.".to_vec(), vec![]));
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_comes_back_however_it_is_cut(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
            at in 0_usize..100,
        ) {
            let wire = quoted(&bytes);
            let (one, two) = wire.split_at(at.min(wire.len()));
            let mut client = Client::default();
            let mut back = Vec::new();
            for said in client.hear(one).into_iter().chain(client.hear(two)) {
                if let Said::Typed(typed) = said { back.extend(typed); }
            }
            proptest::prop_assert_eq!(back, bytes);
        }
    }
}
