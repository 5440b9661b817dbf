//! What a session is lent that is no NETCONF: a console, the Linux below, a file of another host. Whoever runs the shell
//! gives it, and decides who may.

use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use super::actions::rest_of;
use super::{Done, Output, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::relay::Window;
use crate::shell::remote::Remote;
use crate::shell::token::Token;

/// What comes of it; a refusal is a sentence.
pub type Lent<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + 'a>>;

pub trait Outside {
    /// A seat at a console; the words are those behind `procyon console`.
    fn console<'a>(&'a self, words: &'a str, seat: Seat<'a>) -> Lent<'a, ()>;

    /// A command of the host, or its shell; the exit status.
    fn linux<'a>(&'a self, command: Option<&'a str>, seat: Seat<'a>) -> Lent<'a, u32>;

    /// Writes a file of another host; without `content`, reads it.
    fn by_ssh<'a>(&'a self, remote: &'a Remote, content: Option<&'a [u8]>, proof: &'a Proof) -> Copied<'a>;

    /// What a server keeps at `url`.
    fn fetch<'a>(&'a self, url: &'a str) -> Lent<'a, Vec<u8>>;
}

/// The bytes that were read; none where some were written.
pub type Copied<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unmet>> + 'a>>;

/// What whoever sits at the terminal has said about another host.
#[derive(Clone, Default)]
pub struct Proof {
    /// The fingerprint of the host's key.
    pub trusts: Option<String>,
    pub password: Option<String>,
}

/// What stands between us and a file of another host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    #[error(
        "{host} is not known here: its key is {fingerprint}; copy from a terminal and say yes, or put its line into {known}"
    )]
    Host { host: String, fingerprint: String, known: String },
    #[error(
        "{host} does not let {user} in; copy from a terminal, where a password is asked for, or let this device's key in there:\n{public}"
    )]
    Key { host: String, user: String, public: String },
    #[error("{0}")]
    Refused(String),
}

/// The user's end, for as long as somebody else has it.
pub struct Seat<'a> {
    pub input: &'a mut (dyn AsyncRead + Unpin),
    pub output: &'a mut (dyn AsyncWrite + Unpin),
    /// Where errors go; with the output where there is no other place.
    pub errors: Option<&'a mut (dyn AsyncWrite + Unpin)>,
    /// Present when the user has a terminal.
    pub window: Option<watch::Receiver<Window>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn sit_at_console(&mut self, matched: &Matched, line: &str, tokens: &[Token]) -> Done {
        let words = rest_of(line, tokens, matched).unwrap_or("");
        let outside = std::rc::Rc::clone(&self.setup.outside);
        let mut typed_ahead = Vec::new();
        let mut nothing = tokio::io::empty();
        let seat = seat(&mut self.out, &mut typed_ahead, &mut nothing);
        match seat {
            Either::Terminal { mut input, output, window } => {
                let seat = Seat { input: &mut input, output, errors: None, window: Some(window) };
                outside.console(words, seat).await.map_err(said)
            }
            Either::Streams(seat) => outside.console(words, seat).await.map_err(said),
        }
    }

    /// `run`, and `run COMMAND`.
    pub(super) async fn run_linux(&mut self, matched: &Matched, line: &str, tokens: &[Token]) -> Done {
        let command = rest_of(line, tokens, matched).filter(|command| !command.is_empty());
        if command.is_none() && !self.out.is_terminal() {
            return Err(Trouble::Said(
                "% Without a terminal give the command: run sha256sum /harddisk:/FILE".to_owned(),
            ));
        }
        let outside = std::rc::Rc::clone(&self.setup.outside);
        let mut typed_ahead = Vec::new();
        let mut nothing = tokio::io::empty();
        let status = match seat(&mut self.out, &mut typed_ahead, &mut nothing) {
            Either::Terminal { mut input, output, window } => {
                let seat = Seat { input: &mut input, output, errors: None, window: Some(window) };
                outside.linux(command, seat).await
            }
            Either::Streams(seat) => outside.linux(command, seat).await,
        };
        let status = status.map_err(said)?;
        // How a shell ended that was typed into is nobody's business.
        if command.is_some() && status != 0 {
            self.status = status;
        }
        Ok(())
    }
}

fn said(reason: String) -> Trouble {
    Trouble::Said(format!("% {reason}"))
}

type Typed<'a> = tokio::io::Chain<&'a [u8], &'a mut (dyn AsyncRead + Unpin)>;

enum Either<'a> {
    Terminal { input: Typed<'a>, output: &'a mut (dyn AsyncWrite + Unpin), window: watch::Receiver<Window> },
    Streams(Seat<'a>),
}

/// What has been typed ahead comes first.
fn seat<'a>(out: &'a mut Output, typed_ahead: &'a mut Vec<u8>, nothing: &'a mut tokio::io::Empty) -> Either<'a> {
    match out {
        Output::Terminal(terminal) => {
            while let Some(byte) = terminal.editor.take_byte() {
                typed_ahead.push(byte);
            }
            let (input, output, window) = terminal.ends();
            Either::Terminal { input: typed_ahead.as_slice().chain(input), output, window }
        }
        Output::Streams { out, errors } => Either::Streams(Seat {
            input: nothing,
            output: out.as_mut(),
            errors: errors.as_mut().map(|errors| errors.as_mut() as _),
            window: None,
        }),
    }
}

/// Text for the user of a seat.
///
/// # Errors
/// Nobody reads any more.
pub async fn show(output: &mut (dyn AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), String> {
    output.write_all(bytes).await.map_err(|error| error.to_string())?;
    output.flush().await.map_err(|error| error.to_string())
}
