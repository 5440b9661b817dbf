//! conserver's own protocol, as its client speaks it: lines until a console is called, then bytes in which 0xff is a
//! command.
//!
//! ```text
//!  "ok"  login U [password]  call NAME -> a port        (the first port: which consoles are where)
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

/// What the client types, with its commands taken out.
#[derive(Debug, Default)]
pub struct Unquote {
    inside: bool,
}

impl Unquote {
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut typed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match (self.inside, *byte) {
                (false, COMMAND) => self.inside = true,
                (true, COMMAND) => {
                    self.inside = false;
                    typed.push(COMMAND);
                }
                // Its commands are about a program of its own, of which nothing is known here.
                (true, _) => self.inside = false,
                (false, byte) => typed.push(byte),
            }
        }
        typed
    }
}

/// The words with which the keeper welcomes somebody, as the answer to a call: what became of the wish to type. The client
/// knows these answers and no others.
pub fn answer_to_call(welcome: &str) -> &'static str {
    let last = welcome.trim_end().lines().last().unwrap_or_default();
    match last {
        "[read-only]" => "[console is read-only]",
        "[spying]" => "[spy]",
        _ if last.starts_with("[no, ") => "[spy]",
        _ if last.ends_with("-- console is down]") => "[line to console is down]",
        _ => "[attached]",
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
            (Line::Forbidden, Line::Unknown, Line::Unknown, Line::Unknown)
        );
        assert_eq!(whom("bob@e1"), (Some("bob"), Some("e1")));
        assert_eq!((whom("@e1"), whom("bob")), ((None, Some("e1")), (Some("bob"), None)));
    }

    #[test]
    fn a_call_is_answered_by_what_became_of_it() {
        assert_eq!(answer_to_call("[Enter `^Ec?' for help]\r\n[-- MOTD -- hi]\r\n"), "[attached]");
        assert_eq!(answer_to_call("[Enter `^Ec?' for help]\r\n[no, a@b is attached]\r\n"), "[spy]");
        assert_eq!(answer_to_call("[Enter]\r\n[read-only]\r\n"), "[console is read-only]");
        assert_eq!(answer_to_call("[Enter]\r\n[`x' -- console is down]\r\n"), "[line to console is down]");
        assert_eq!(answer_to_call(""), "[attached]");
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_comes_back_however_it_is_cut(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
            at in 0_usize..100,
        ) {
            let wire = quoted(&bytes);
            let (one, two) = wire.split_at(at.min(wire.len()));
            let mut unquote = Unquote::default();
            let mut back = unquote.take(one);
            back.extend(unquote.take(two));
            proptest::prop_assert_eq!(back, bytes);
        }
    }
}
