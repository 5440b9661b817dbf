//! One file over SFTP (version 3 of the protocol): read to its end, or written. One request after the other: what is copied so
//! are scripts and configurations.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const VERSION: u32 = 3;
/// An answer is a piece of a file, or a sentence.
const PACKET_BYTES_MAX: usize = 256 * 1024;
/// What every server gives or takes at once.
const PIECE_BYTES: usize = 32 * 1024;

// Kinds of packets, and of what went wrong.
const INIT: u8 = 1;
const VERSION_IS: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const OK: u32 = 0;
const END_OF_FILE: u32 = 1;

const TO_READ: u32 = 0x01;
/// Written from its beginning, made where it is not there.
const TO_WRITE: u32 = 0x02 | 0x08 | 0x10;

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Stream(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the other side does not speak SFTP")]
    NotSftp,
    #[error("larger than {bytes_max} bytes; see limits.message_bytes in procyon.toml")]
    TooBig { bytes_max: u64 },
}

pub(super) struct Client<S> {
    stream: S,
    asked: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn begin(stream: S) -> Result<Self, Trouble> {
        let mut client = Self { stream, asked: 0 };
        client.send(&[&[INIT][..], &VERSION.to_be_bytes()].concat()).await?;
        let (kind, _) = client.receive().await?;
        if kind == VERSION_IS { Ok(client) } else { Err(Trouble::NotSftp) }
    }

    pub(super) async fn read(&mut self, path: &str, bytes_max: u64) -> Result<Vec<u8>, Trouble> {
        let handle = self.open(path, TO_READ).await?;
        let mut content = Vec::new();
        let length = u32::try_from(PIECE_BYTES).unwrap_or(u32::MAX).to_be_bytes();
        loop {
            let from = (content.len() as u64).to_be_bytes();
            let (kind, answer) = self.ask(READ, &[&handle, &from, &length]).await?;
            match kind {
                DATA => content.extend_from_slice(text(&answer)?),
                STATUS if number(&answer)? == END_OF_FILE => break,
                _ => return Err(refusal(kind, &answer)),
            }
            if content.len() as u64 > bytes_max {
                return Err(Trouble::TooBig { bytes_max });
            }
        }
        self.expect_ok(CLOSE, &[&handle]).await?;
        Ok(content)
    }

    pub(super) async fn write(&mut self, path: &str, content: &[u8]) -> Result<(), Trouble> {
        let handle = self.open(path, TO_WRITE).await?;
        for (index, piece) in content.chunks(PIECE_BYTES).enumerate() {
            let at = ((index * PIECE_BYTES) as u64).to_be_bytes();
            self.expect_ok(WRITE, &[&handle, &at, &string(piece)]).await?;
        }
        // A server may tell only here that its disk is full.
        self.expect_ok(CLOSE, &[&handle]).await
    }

    /// The handle, as it is sent again.
    async fn open(&mut self, path: &str, flags: u32) -> Result<Vec<u8>, Trouble> {
        let no_attributes = [0; 4];
        let (kind, answer) = self.ask(OPEN, &[&string(path.as_bytes()), &flags.to_be_bytes(), &no_attributes]).await?;
        if kind == HANDLE { Ok(string(text(&answer)?)) } else { Err(refusal(kind, &answer)) }
    }

    async fn expect_ok(&mut self, kind: u8, fields: &[&[u8]]) -> Result<(), Trouble> {
        let (kind, answer) = self.ask(kind, fields).await?;
        if kind == STATUS && number(&answer)? == OK { Ok(()) } else { Err(refusal(kind, &answer)) }
    }

    async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> Result<(u8, Vec<u8>), Trouble> {
        self.asked += 1;
        let id = self.asked.to_be_bytes();
        self.send(&[&[kind][..], &id, &fields.concat()].concat()).await?;
        let (kind, answer) = self.receive().await?;
        match answer.strip_prefix(&id) {
            Some(rest) => Ok((kind, rest.to_vec())),
            None => Err(Trouble::NotSftp),
        }
    }

    async fn send(&mut self, packet: &[u8]) -> Result<(), Trouble> {
        self.stream.write_all(&string(packet)).await?;
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> Result<(u8, Vec<u8>), Trouble> {
        let length = self.stream.read_u32().await? as usize;
        if length == 0 || length > PACKET_BYTES_MAX {
            return Err(Trouble::NotSftp);
        }
        let kind = self.stream.read_u8().await?;
        let mut rest = vec![0; length - 1];
        self.stream.read_exact(&mut rest).await?;
        Ok((kind, rest))
    }
}

/// What a server said instead of what was asked for.
fn refusal(kind: u8, answer: &[u8]) -> Trouble {
    let said = answer.get(4..).and_then(|rest| text(rest).ok()).map(String::from_utf8_lossy);
    match said {
        Some(said) if kind == STATUS && !said.is_empty() => Trouble::Refused(said.into_owned()),
        _ if kind == STATUS => Trouble::Refused("the other side refuses, and does not say why".to_owned()),
        _ => Trouble::NotSftp,
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()[..], text].concat()
}

fn number(bytes: &[u8]) -> Result<u32, Trouble> {
    let first = bytes.get(..4).and_then(|bytes| bytes.try_into().ok());
    first.map(u32::from_be_bytes).ok_or(Trouble::NotSftp)
}

fn text(bytes: &[u8]) -> Result<&[u8], Trouble> {
    let length = number(bytes)? as usize;
    bytes.get(4..4 + length).ok_or(Trouble::NotSftp)
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    /// A server that answers with what it was told to, whatever is asked; and what it was asked.
    async fn serve(mut stream: DuplexStream, answers: Vec<Vec<u8>>) -> Vec<u8> {
        let mut asked = Vec::new();
        for answer in answers {
            let length = stream.read_u32().await.unwrap() as usize;
            let mut packet = vec![0; length];
            stream.read_exact(&mut packet).await.unwrap();
            asked.push(packet[0]);
            stream.write_all(&string(&answer)).await.unwrap();
        }
        asked
    }

    fn answer(kind: u8, id: u8, fields: &[&[u8]]) -> Vec<u8> {
        [&[kind, 0, 0, 0, id][..], &fields.concat()].concat()
    }

    fn status(id: u8, code: u8, said: &str) -> Vec<u8> {
        answer(STATUS, id, &[&[0, 0, 0, code], &string(said.as_bytes()), &string(b"en")])
    }

    async fn read(answers: Vec<Vec<u8>>, bytes_max: u64) -> (Result<Vec<u8>, String>, Vec<u8>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let answers = [vec![vec![VERSION_IS, 0, 0, 0, 3]], answers].concat();
        let client = async {
            let mut client = Client::begin(near).await?;
            client.read("/x", bytes_max).await
        };
        let (read, asked) = tokio::join!(client, serve(far, answers));
        (read.map_err(|trouble| trouble.to_string()), asked)
    }

    #[tokio::test]
    async fn a_file_is_read_to_its_end() {
        let answers = vec![
            answer(HANDLE, 1, &[&string(b"h")]),
            answer(DATA, 2, &[&string(b"one ")]),
            answer(DATA, 3, &[&string(b"two")]),
            status(4, 1, "End of file"),
            status(5, 0, ""),
        ];
        assert_eq!(read(answers, 7).await, (Ok(b"one two".to_vec()), vec![INIT, OPEN, READ, READ, READ, CLOSE]));
    }

    #[tokio::test]
    async fn a_server_is_believed_no_further_than_it_has_to_be() {
        let refused = read(vec![status(1, 2, "No such file")], 9).await.0;
        assert_eq!(refused, Err("No such file".to_owned()));
        let opened = || answer(HANDLE, 1, &[&string(b"h")]);
        let large = read(vec![opened(), answer(DATA, 2, &[&string(&[b'x'; 10])])], 9).await.0;
        assert!(large.unwrap_err().starts_with("larger than 9 bytes"));
        // An answer to another question, a length that is none, a field that is cut off.
        for wrong in [answer(HANDLE, 7, &[&string(b"h")]), vec![], answer(HANDLE, 1, &[&[0, 0, 0, 9]])] {
            assert_eq!(read(vec![wrong], 9).await.0, Err("the other side does not speak SFTP".to_owned()));
        }
    }
}
