//! What conserver says to who is attached, in its words.

/// How many lines `r` and `p` show.
pub const REPLAY_LINES: usize = 20;
pub const PLAYBACK_LINES: usize = 60;

const HELP: &[(&str, &str)] = &[
    (".", "disconnect"),
    (";", "move to another console"),
    ("a", "attach read/write"),
    ("b", "send broadcast message"),
    ("d", "down a console"),
    ("e", "change escape sequence"),
    ("f", "force attach read/write"),
    ("g", "group info"),
    ("i", "information dump"),
    ("l?", "break sequence list"),
    ("l0", "send break per config file"),
    ("l1-9a-z", "send specific break sequence"),
    ("m", "display message of the day"),
    ("n", "write a note to the logfile"),
    ("o", "(re)open the tty and log file"),
    ("p", "playback the last 60 lines"),
    ("r", "replay the last 20 lines"),
    ("s", "spy mode"),
    ("u", "show host status"),
    ("v", "show version info"),
    ("w", "who is on this console"),
    ("x", "show console baud info"),
    ("z", "suspend the connection"),
    ("<cr>", "ignore/abort command"),
    ("?", "print this message"),
    ("^R", "replay the last line"),
    ("\\ooo", "send character by octal code"),
];

pub fn help() -> String {
    let line = |(key, meaning): &(&str, &str)| format!(" {key:<8} {meaning}\r\n");
    format!("[help]\r\n{}", HELP.iter().map(line).collect::<String>())
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

fn key(byte: u8) -> String {
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

pub const UNKNOWN: &str = "[unknown -- use `?']\r\n";
pub const DISCONNECT: &str = "[disconnect]\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_they_are_written() {
        for text in ["^Ec", "^A^B", "xy"] {
            assert_eq!(keys(parse_keys(text).unwrap()), text);
        }
        assert_eq!(parse_keys("^E"), None);
        assert_eq!(greeting(crate::console::escape::DEFAULT), "[Enter `^Ec?' for help]\r\n");
    }
}
