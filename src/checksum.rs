//! SHA-256 sums: parsed as people paste them, kept in one form, computed while bytes stream past.
//!
//! Does not know where bytes come from or go to.

use std::fmt;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::shown::shown;

/// How much is read at a time when a file is summed.
const CHUNK_BYTES: usize = 64 * 1024;

const HEX_DIGITS: usize = 64;

/// 32 bytes; shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sha256([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    #[error("the checksum is empty; give the 64 hexadecimal digits that `sha256sum FILE` prints")]
    Empty,
    #[error("checksum `{shown}` has {length} digits; a SHA-256 sum has 64, as `sha256sum FILE` prints them")]
    WrongLength { shown: String, length: usize },
    #[error("checksum `{shown}` holds {character:?}, which is no hexadecimal digit; copy what `sha256sum FILE` prints")]
    NotHexadecimal { shown: String, character: char },
}

impl Sha256 {
    /// Takes 64 digits in either case, also with the file name that `sha256sum` prints behind them.
    pub fn parse(text: &str) -> Result<Self, ChecksumError> {
        // `sha256sum` puts a backslash before sums of files whose names it had to escape.
        let first = text.split_whitespace().next().unwrap_or_default();
        let digits = first.strip_prefix('\\').unwrap_or(first);
        if digits.is_empty() {
            return Err(ChecksumError::Empty);
        }
        if let Some(character) = digits.chars().find(|character| !character.is_ascii_hexdigit()) {
            return Err(ChecksumError::NotHexadecimal { shown: shown(digits), character });
        }
        if digits.len() != HEX_DIGITS {
            return Err(ChecksumError::WrongLength { shown: shown(digits), length: digits.len() });
        }
        let mut sum = [0; 32];
        for (byte, pair) in sum.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = (value(pair[0]) << 4) | value(pair[1]);
        }
        Ok(Self(sum))
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Sums a stream without holding more than a chunk of it; also says how long it was.
    pub fn of_stream(mut from: impl Read) -> io::Result<(Self, u64)> {
        let mut summing = Summing::new(io::sink());
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return Ok(summing.finish()),
                Ok(length) => summing.write_all(&chunk[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// A writer that passes on what it gets and sums it on the way.
pub struct Summing<W> {
    to: W,
    digest: sha2::Sha256,
    length: u64,
}

impl<W: Write> Summing<W> {
    pub fn new(to: W) -> Self {
        Self { to, digest: sha2::Sha256::new(), length: 0 }
    }

    /// The sum and the length of what went through.
    pub fn finish(self) -> (Sha256, u64) {
        (Sha256(self.digest.finalize().into()), self.length)
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_sum_is_read_as_people_paste_it() {
        let sum = Sha256::of(b"abc");
        assert_eq!(sum.to_string(), ABC);
        let pasted = [
            ABC.to_owned(),
            ABC.to_uppercase(),
            format!("  {ABC}\n"),
            format!("{ABC}  /harddisk:/mirror/script-mgmt/process/process-script.py"),
            format!("{ABC} *x.py"),
            format!("{ABC}\n/harddisk:/x.py"),
            format!("\\{ABC}  a\\nb"),
        ];
        for text in pasted {
            assert_eq!(Sha256::parse(&text), Ok(sum), "{text}");
        }
    }

    #[test]
    fn a_wrong_sum_is_told_what_is_wrong() {
        let text = |wrong: &str| Sha256::parse(wrong).unwrap_err().to_string();
        insta::assert_snapshot!(text("  "), @"the checksum is empty; give the 64 hexadecimal digits that `sha256sum FILE` prints");
        insta::assert_snapshot!(text("abcd"), @"checksum `abcd` has 4 digits; a SHA-256 sum has 64, as `sha256sum FILE` prints them");
        insta::assert_snapshot!(text("xyz"), @"checksum `xyz` holds 'x', which is no hexadecimal digit; copy what `sha256sum FILE` prints");
        assert_eq!(
            Sha256::parse(&format!("{ABC}0")),
            Err(ChecksumError::WrongLength { shown: format!("{ABC}..."), length: 65 })
        );
    }

    #[test]
    fn a_stream_is_summed_in_pieces() {
        let bytes = vec![7; CHUNK_BYTES * 2 + 5];
        let (sum, length) = Sha256::of_stream(bytes.as_slice()).unwrap();
        assert_eq!((sum, length), (Sha256::of(&bytes), bytes.len() as u64));
    }
}
