//! What a break sequence sends, as it is written in configuration: conserver's escapes.

use crate::container::console::Sent;

/// How long `\d` waits where nothing is said, in milliseconds.
pub const PAUSE_MILLIS: u16 = 250;

/// What `l0` sends where nothing is configured.
pub fn plain() -> Vec<Sent> {
    vec![Sent::Break]
}

/// How long its pauses are.
pub fn pause(pieces: &[Sent]) -> u16 {
    let pauses =
        pieces.iter().filter_map(|piece| if let Sent::Pause { millis } = piece { Some(*millis) } else { None });
    pauses.max().unwrap_or(PAUSE_MILLIS)
}

/// `\z` is a break, `\d` a pause, `\r` and so on control characters, `\ooo` any byte, `^X` a control key; `\\` and `\^`
/// themselves.
///
/// # Errors
/// What is not understood.
pub fn parse(text: &str, pause_millis: u16) -> Result<Vec<Sent>, String> {
    let mut pieces = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        match first {
            b'\\' => rest = escaped(more, pause_millis, &mut pieces)?,
            b'^' => {
                let (key, more) = more.split_first().ok_or("a key is missing behind the last ^")?;
                rest = more;
                match key {
                    b'?' => push(&mut pieces, 0x7f),
                    b'@'..=b'_' => push(&mut pieces, key - b'@'),
                    b'a'..=b'z' => push(&mut pieces, key - b'a' + 1),
                    _ => return Err(format!("^{} is no key", char::from(*key))),
                }
            }
            byte => push(&mut pieces, *byte),
        }
    }
    Ok(pieces)
}

fn escaped<'t>(text: &'t [u8], pause_millis: u16, pieces: &mut Vec<Sent>) -> Result<&'t [u8], String> {
    let (letter, rest) = text.split_first().ok_or("a letter is missing behind the last \\")?;
    let byte = match letter {
        b'z' => {
            pieces.push(Sent::Break);
            return Ok(rest);
        }
        b'd' => {
            pieces.push(Sent::Pause { millis: pause_millis });
            return Ok(rest);
        }
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'^' => *letter,
        b'0'..=b'7' => {
            let digits = text.iter().take(3).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
            let value = text[..digits].iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            push(pieces, u8::try_from(value).map_err(|_| format!("\\{value:o} is no byte"))?);
            return Ok(&text[digits..]);
        }
        other => return Err(format!("\\{} stands for nothing", char::from(*other))),
    };
    push(pieces, byte);
    Ok(rest)
}

fn push(pieces: &mut Vec<Sent>, byte: u8) {
    match pieces.last_mut() {
        Some(Sent::Bytes(bytes)) => bytes.push(byte),
        _ => pieces.push(Sent::Bytes(vec![byte])),
    }
}

/// As lists of breaks show it; reads back.
pub fn shown(pieces: &[Sent]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Sent::Break => "\\z".to_owned(),
            Sent::Pause { .. } => "\\d".to_owned(),
            Sent::Bytes(bytes) => bytes.iter().map(|byte| shown_byte(*byte)).collect(),
        })
        .collect()
}

fn shown_byte(byte: u8) -> String {
    match byte {
        b'\r' => "\\r".into(),
        b'\n' => "\\n".into(),
        b'\\' | b'^' => format!("\\{}", char::from(byte)),
        0..32 => format!("^{}", char::from(byte + b'@')),
        32..127 => char::from(byte).to_string(),
        127.. => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Sent>, String> {
        parse(text, PAUSE_MILLIS)
    }

    fn pause(millis: u16) -> Sent {
        Sent::Pause { millis }
    }

    #[test]
    fn escapes_are_conservers() {
        let bytes = |text: &[u8]| Sent::Bytes(text.to_vec());
        assert_eq!(parsed(r"\z"), Ok(plain()));
        assert_eq!(parsed(r"\r~^b\z#."), Ok(vec![bytes(b"\r~\x02"), Sent::Break, bytes(b"#.")]));
        assert_eq!(parsed(r"\0\377\\\^^^?"), Ok(vec![bytes(b"\x00\xff\\^\x1e?")]));
        assert_eq!(parsed(r"\777"), Err("\\777 is no byte".into()));
        assert_eq!(parsed(r"\q"), Err("\\q stands for nothing".into()));
        assert_eq!(parse(r"\d~\d", 600), Ok(vec![pause(600), bytes(b"~"), pause(600)]));
        assert_eq!(parsed(r"\d"), Ok(vec![pause(250)]));
        assert_eq!([super::pause(&plain()), super::pause(&parse(r"~\d", 600).unwrap())], [250, 600]);
        assert!(parsed("x^").is_err() && parsed("x\\").is_err() && parsed("^1").is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..20)) {
            let pieces = vec![Sent::Bytes(bytes), Sent::Break, pause(PAUSE_MILLIS)];
            proptest::prop_assert_eq!(parsed(&shown(&pieces)), Ok(pieces));
        }
    }
}
