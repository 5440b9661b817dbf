//! What conserver says to who is attached, in its words.

/// How many lines `r` and `p` show.
pub const REPLAY_LINES: usize = 20;
pub const PLAYBACK_LINES: usize = 60;

/// Two to a line.
const HELP: &[(&str, &str)] = &[
    (".", "disconnect"),
    (";", "move to another console"),
    ("a", "attach read/write"),
    ("b", "send broadcast message"),
    ("c", "toggle flow control"),
    ("d", "down a console"),
    ("e", "change escape sequence"),
    ("f", "force attach read/write"),
    ("g", "group info"),
    ("i", "information dump"),
    ("L", "toggle logging on/off"),
    ("l?", "break sequence list"),
    ("l0", "send break per config file"),
    ("l1-9a-z", "send specific break sequence"),
    ("m", "display message of the day"),
    ("n", "write a note to the logfile"),
    ("o", "(re)open the tty and log file"),
    ("p", "playback the last 60 lines"),
    ("P", "set number of playback lines"),
    ("r", "replay the last 20 lines"),
    ("R", "set number of replay lines"),
    ("s", "spy mode (read only)"),
    ("u", "show host status"),
    ("v", "show version info"),
    ("w", "who is on this console"),
    ("x", "show console baud info"),
    ("z", "suspend the connection"),
    ("!", "invoke task"),
    ("|", "attach local command"),
    ("?", "print this message"),
    ("<cr>", "ignore/abort command"),
    ("^R", "replay the last line"),
    ("\\ooo", "send character by octal code"),
];

pub fn help() -> String {
    let line = |pair: &[(&str, &str)]| match pair {
        [(key, meaning), (other, its)] => format!(" {key:<7} {meaning:<30} {other:<7} {its}\r\n"),
        [(key, meaning), ..] => format!(" {key:<7} {meaning}\r\n"),
        [] => String::new(),
    };
    format!("[help]\r\n{}", HELP.chunks(2).map(line).collect::<String>())
}

/// The first line of an attachment: programs wait for it.
pub fn greeting(escape: [u8; 2]) -> String {
    format!("[Enter `{}?' for help]\r\n", keys(escape))
}

pub fn motd(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("[-- MOTD -- {text}]\r\n") }
}

pub fn down(name: &str) -> String {
    format!("[`{name}' -- console is down]\r\n")
}

pub fn keys(escape: [u8; 2]) -> String {
    escape.map(key).concat()
}

pub(super) fn key(byte: u8) -> String {
    match byte {
        0..32 => format!("^{}", char::from(byte + 64)),
        127 => "^?".to_owned(),
        32..127 => char::from(byte).to_string(),
        128.. => format!("\\{byte:03o}"),
    }
}

/// Two keys as `-e` writes them: `^Ec`.
pub fn parse_keys(text: &str) -> Option<[u8; 2]> {
    super::keys::keys(text.as_bytes()).try_into().ok()
}

/// A broadcast, as everybody on the console reads it.
pub fn broadcast(who: &str, text: &str) -> String {
    format!("[{who}: {text}]\r\n")
}

/// The version whose ways are followed, for its client.
pub const VERSION_NUMBER: &str = "[8002007]\r\n";
pub const UNKNOWN: &str = "[unknown -- use `?']\r\n";
pub const DISCONNECT: &str = "[disconnect]\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_stands_in_conservers_columns() {
        let help = help();
        let second = " a       attach read/write              b       send broadcast message";
        assert_eq!(help.lines().nth(2), Some(second));
    }

    #[test]
    fn keys_read_back_as_they_are_written() {
        for text in ["^Ec", "^A^B", "xy"] {
            assert_eq!(keys(parse_keys(text).unwrap()), text);
        }
        assert_eq!(parse_keys("^E"), None);
        assert_eq!(greeting(crate::console::escape::DEFAULT), "[Enter `^Ec?' for help]\r\n");
    }
}
