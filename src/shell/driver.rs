//! One shell session: lines in, text out, and a NETCONF session to the agent for everything else.
//!
//! ```text
//!            configure                      a word that opens a mode
//!  exec  ----------------> config  ------------------------------------> config-process ...
//!    ^   end, abort, exit     ^                 exit, root, `!`              |
//!    +------------------------+----------------------------------------------+
//! ```
//! Lines of configuration that arrive together go to the agent together; every other command waits for its answer.

mod actions;
pub(crate) mod client;
mod commit;
mod config;
mod copying;
mod exec;
mod files;
mod helping;
mod logs;
mod output;
mod outside;
mod runs;
mod terminal;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tracing::info;

use self::client::{AskError, Client, Reply, RpcError};
use self::output::Output;
pub use self::outside::{Copied, Lent, Outside, Proof, Seat, Unmet, show};
pub use self::terminal::serve_terminal;
use super::data::{self, Item};
use super::grammar::Grammar;
use super::line::Edit;
use super::load::Modes;
use super::token::Fault;
use super::values::Question;
use super::vocabulary::{FILES, Need};

/// A line that is longer is no line that people type.
const LINE_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 64 * 1024;

/// Whether the user has what a command needs; the refusal is a sentence.
pub type Permit = Rc<dyn Fn(Need) -> Pin<Box<dyn Future<Output = Result<(), String>>>>>;

/// What a session is given.
pub struct Setup {
    pub grammar: Arc<Grammar>,
    pub user: String,
    /// Where from, for the log.
    pub origin: String,
    /// As prompts name it: `RP/0/RP0/CPU0`.
    pub node: String,
    /// What device paths call `/harddisk:/`.
    pub harddisk: PathBuf,
    pub zone: TimeZone,
    pub permit: Permit,
    pub outside: Rc<dyn Outside>,
}

/// Where lines come from and text goes.
pub struct Streams {
    pub input: Box<dyn AsyncRead + Unpin>,
    pub output: Box<dyn AsyncWrite + Unpin>,
    pub errors: Option<Box<dyn AsyncWrite + Unpin>>,
}

/// What ends a session early: the agent is gone, or nobody reads what is written.
#[derive(Debug)]
pub(super) struct Gone;

/// The last words of a command that did not come off.
pub(super) enum Trouble {
    Gone,
    /// Said to the user; the exit status is not 0.
    Said(String),
    Fault(Fault),
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Self {
        Trouble::Gone
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Trouble::Fault(fault)
    }
}

impl From<AskError> for Trouble {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Gone(_) => Trouble::Gone,
            AskError::Refused(_) | AskError::Interrupted => Trouble::Said(format!("% {error}")),
        }
    }
}

pub(super) type Done = Result<(), Trouble>;

/// Configuration mode.
#[derive(Default)]
struct Configuring {
    modes: Modes,
    /// Lines that the agent has not been told of yet, with their edits.
    waiting: Vec<(String, Vec<Edit>)>,
    is_exclusive: bool,
    /// Edits were made since the last commit.
    is_dirty: bool,
    /// The newest commit when this began, or the last own one.
    since: Option<String>,
}

struct Shell<S> {
    setup: Setup,
    client: Client<S>,
    out: Output,
    config: Option<Configuring>,
    /// What the last commit or validation of this session could not do.
    failed: Vec<RpcError>,
    host: String,
    with_stamp: bool,
    /// A confirmed commit of this session waits for its confirmation.
    is_unconfirmed: bool,
    status: u32,
    is_over: bool,
    /// Where lines come from when there is no terminal.
    lines: Option<Lines>,
    /// Requests that may have changed something, counted.
    changes: u64,
    offered: Option<Offered>,
}

/// Values that TAB has offered, and what they were true for.
struct Offered {
    question: Question,
    newest: Option<String>,
    changes: u64,
    values: Rc<Vec<String>>,
}

/// Lines of a stream that is no terminal.
struct Lines {
    reader: BufReader<Box<dyn AsyncRead + Unpin>>,
}

impl Lines {
    async fn next(&mut self) -> std::io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut is_cut = false;
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(available.len(), |end| end + 1);
            is_cut |= bytes.len() + length > LINE_BYTES_MAX;
            if !is_cut {
                bytes.extend_from_slice(&available[..length]);
            }
            self.reader.consume(length);
            if end.is_some() {
                break;
            }
        }
        if is_cut {
            return Err(std::io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// Whether another whole line has arrived already.
    fn has_more(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }
}

/// Carries out lines until they end; the exit status.
pub async fn serve_lines<S>(netconf: S, setup: Setup, streams: Streams) -> u32
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Streams { input, output, errors } = streams;
    let Some(mut shell) = Shell::open(netconf, setup, Output::Streams { out: output, errors }).await else { return 1 };
    shell.lines = Some(Lines { reader: BufReader::with_capacity(READ_BYTES, input) });
    while let Some(lines) = &mut shell.lines {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => break,
            // Half a line is another command, perhaps.
            Err(error) => {
                let _ = shell.out.error(&format!("% {error}; neither it nor what follows is carried out\n")).await;
                shell.status = 1;
                break;
            }
        };
        let more = lines.has_more();
        if shell.line(&line, more).await.is_err() || shell.is_over {
            break;
        }
        if shell.status != 0 {
            // What follows may count on what failed.
            break;
        }
    }
    shell.finish().await
}

/// Carries out commands that were given at once; the exit status.
pub async fn serve_commands<S>(netconf: S, setup: Setup, streams: Streams, commands: &str) -> u32
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Streams { output, errors, .. } = streams;
    let Some(mut shell) = Shell::open(netconf, setup, Output::Streams { out: output, errors }).await else { return 1 };
    let mut commands = commands.lines().peekable();
    while let Some(command) = commands.next() {
        let more = commands.peek().is_some();
        if shell.line(command, more).await.is_err() || shell.is_over || shell.status != 0 {
            break;
        }
    }
    shell.finish().await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    async fn open(netconf: S, setup: Setup, mut out: Output) -> Option<Self> {
        let client = match Client::open(netconf).await {
            Ok(client) => client,
            Err(error) => {
                let _ = out.error(&format!("% {error}\n")).await;
                return None;
            }
        };
        let mut shell = Self {
            setup,
            client,
            out,
            config: None,
            failed: Vec::new(),
            host: "router".to_owned(),
            with_stamp: true,
            is_unconfirmed: false,
            status: 0,
            is_over: false,
            lines: None,
            changes: 0,
            offered: None,
        };
        shell.learn_host().await;
        Some(shell)
    }

    /// One line that was typed. `more` tells that another one is there already.
    async fn line(&mut self, line: &str, more: bool) -> Result<(), Gone> {
        let line = line.trim_end();
        if line.trim().is_empty() {
            return if more { Ok(()) } else { self.flush_and_tell().await };
        }
        if !line.trim_start().starts_with('!') {
            info!(user = %self.setup.user, origin = %self.setup.origin, session = self.client.session, command = secretless(line), "shell");
        }
        let done = if self.config.is_some() { self.config_line(line, more).await } else { self.exec_line(line).await };
        self.tell(line, done).await
    }

    async fn flush_and_tell(&mut self) -> Result<(), Gone> {
        let done = self.flush().await;
        self.tell("", done).await
    }

    async fn tell(&mut self, line: &str, done: Done) -> Result<(), Gone> {
        let text = match done {
            Ok(()) => return Ok(()),
            Err(Trouble::Gone) => {
                let _ = self.out.error("% The session with the agent is over\n").await;
                self.status = 1;
                return Err(Gone);
            }
            Err(Trouble::Said(text)) => text,
            Err(Trouble::Fault(fault)) => {
                let column = line.get(..fault.at).map_or(0, |before| before.chars().count());
                let marker = if self.out.is_terminal() {
                    " ".repeat(self.prompt().chars().count() + column)
                } else {
                    format!("{line}\n{}", " ".repeat(column))
                };
                format!("{marker}^\n{fault}")
            }
        };
        self.status = 1;
        self.out.error(&format!("{text}\n")).await
    }

    /// What is not committed is forgotten, and said.
    async fn finish(mut self) -> u32 {
        if self.config.is_some() && self.flush_and_tell().await.is_ok() {
            let is_dirty = self.config.as_ref().is_some_and(|config| config.is_dirty);
            if is_dirty && !self.out.is_terminal() && self.status == 0 && self.has_changes().await {
                let _ = self.out.error("% Uncommitted changes are discarded: the input ended without `commit`\n").await;
                self.status = 1;
            }
        }
        if self.is_unconfirmed && !self.out.is_terminal() {
            let said = "% The commit is undone: the session has ended, and nobody has confirmed it\n";
            let _ = self.out.error(said).await;
            self.status = self.status.max(1);
        }
        let _ = self.client.ask("<close-session/>").await;
        self.out.finish().await;
        self.status
    }

    /// Asks the agent; somebody at a terminal may give up waiting.
    async fn ask(&mut self, operation: &str) -> Result<Reply, AskError> {
        self.changes += u64::from(!operation.starts_with("<get"));
        self.client.begin(operation).await?;
        let Self { client, out, .. } = self;
        match out.terminal() {
            Some(terminal) => terminal.while_waiting(client.answer()).await.unwrap_or(Err(AskError::Interrupted)),
            None => client.answer().await,
        }
    }

    /// Asks for data that is read as it comes.
    async fn ask_for_message(&mut self, operation: &str) -> Result<bytes::Bytes, AskError> {
        self.client.begin(operation).await?;
        let Self { client, out, .. } = self;
        match out.terminal() {
            Some(terminal) => terminal.while_waiting(client.message()).await.unwrap_or(Err(AskError::Interrupted)),
            None => client.message().await,
        }
    }

    /// Asks what may take its time; nothing shows that it does.
    async fn ask_in_silence(&mut self, operation: &str) -> Result<Reply, AskError> {
        self.client.begin(operation).await?;
        let Self { client, out, .. } = self;
        match out.terminal() {
            Some(terminal) => terminal.unless_interrupted(client.answer()).await.unwrap_or(Err(AskError::Interrupted)),
            None => client.answer().await,
        }
    }

    /// Asks what is carried out to its end once it is asked for.
    async fn ask_to_the_end(&mut self, operation: &str) -> Result<Reply, AskError> {
        self.changes += 1;
        self.client.ask(operation).await
    }

    /// Data of a reply, known to the grammar.
    fn items(&self, reply: &Reply) -> Result<Vec<Item>, Trouble> {
        data::read_elements(&self.setup.grammar, None, reply).map_err(|error| Trouble::Said(format!("% {error}")))
    }

    async fn get(&mut self, filter: &str) -> Result<Vec<Item>, Trouble> {
        let reply = self.ask(&format!("<get><filter>{filter}</filter></get>")).await?;
        self.items(&reply)
    }

    async fn get_config(&mut self, source: &str, filter: Option<&str>) -> Result<Vec<Item>, Trouble> {
        let filter = filter.map(|filter| format!("<filter>{filter}</filter>")).unwrap_or_default();
        let reply = self.ask(&format!("<get-config><source><{source}/></source>{filter}</get-config>")).await?;
        self.items(&reply)
    }

    async fn learn_host(&mut self) {
        const HOST: &str = r#"<system-time xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-shellutil-oper"><uptime><host-name/></uptime></system-time>"#;
        let Ok(items) = self.get(HOST).await else { return };
        let grammar = &self.setup.grammar;
        let uptime = items.first().and_then(|time| time.child(grammar, "uptime"));
        if let Some(name) = uptime.and_then(|uptime| uptime.text(grammar, "host-name")) {
            name.clone_into(&mut self.host);
        }
    }

    fn prompt(&self) -> String {
        let Self { host, setup, config, .. } = self;
        match config {
            None => format!("{}:{host}#", setup.node),
            Some(config) => {
                let words: Vec<&str> = config
                    .modes
                    .paths()
                    .filter_map(|path| path.last())
                    .map(|item| setup.grammar.node(item.node).typed.prompt.as_str())
                    .collect();
                // A router names the innermost mode only.
                let word = words.last().map(|word| format!("-{word}")).unwrap_or_default();
                format!("{}:{host}(config{word})#", setup.node)
            }
        }
    }

    /// The line that stands before what commands tell.
    async fn stamp(&mut self) -> Result<(), Gone> {
        if !self.with_stamp {
            return Ok(());
        }
        let now = now().to_zoned(self.setup.zone.clone());
        self.out.print(&format!("{}\n", now.strftime("%a %b %e %H:%M:%S%.3f %Z"))).await?;
        if let Some(terminal) = self.out.terminal() {
            terminal.begun = 1;
        }
        Ok(())
    }

    /// Asks the user; without a terminal the default is the answer.
    async fn question(&mut self, text: &str, default: &str) -> Result<String, Gone> {
        if let Some(terminal) = self.out.terminal() {
            let answer = terminal.answer(text).await?.unwrap_or_default();
            return Ok(if answer.is_empty() { default.to_owned() } else { answer });
        }
        self.out.print(&format!("{text}{default}\n")).await?;
        self.status = 1;
        Ok(default.to_owned())
    }
}

/// A line for the log: what follows a word that means a secret is not written down.
fn secretless(line: &str) -> String {
    const SECRETS: [&str; 3] = ["password", "secret", "key-data"];
    let mut hides = false;
    let words = line.split_whitespace().map(|word| {
        let shown = if hides { "***".to_owned() } else { without_password(word) };
        hides = hides || SECRETS.contains(&word);
        shown
    });
    words.collect::<Vec<_>>().join(" ")
}

/// An address without the password that may be in it.
fn without_password(word: &str) -> String {
    let parts = word.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
    match parts {
        Some((scheme, (named, rest))) if named.contains(':') => {
            let user = named.split(':').next().unwrap_or("");
            format!("{scheme}://{user}:***@{rest}")
        }
        _ => word.to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::secretless;

    #[test]
    fn the_log_has_lines_without_their_secrets() {
        assert_eq!(secretless("user ann password $0$x y"), "user ann password *** ***");
        assert_eq!(secretless("copy https://ann:s3@h/x harddisk:/x"), "copy https://ann:***@h/x harddisk:/x");
        assert_eq!(secretless("copy scp://ann@h/x harddisk:/x"), "copy scp://ann@h/x harddisk:/x");
    }
}
