//! `ssh DEVICE console ...`: the command `procyon console` over SSH, under the access rules. Reading a console is reading,
//! typing to it is updating, the path `/procyon-console:consoles/console[name='NAME']`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tracing::info;

use crate::console::columns::Listed;
use crate::console::packet::Packet;
use crate::console::roster::Wish;
use crate::console::wire;
use crate::container::spec::ContainerName;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::Entering;
use crate::keeper::refusal::KeeperRefusal;
use crate::northbound::handle::{Access, Handle};
use crate::northbound::{Caller, Client};
use crate::shell::marks::{Mark, Marks};
use crate::ssh::ShellCall;
use crate::sys::fdpass;
use crate::viewer::{self, What};

const TYPED_BYTES_MAX: usize = 4096;
/// How long a keeper may take to be followed by the next.
const AWAY_MAX: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where `ssh DEVICE console` finds everything.
#[derive(Clone)]
pub(super) struct Consoles {
    pub keeper: Keeper,
    pub keeper_socket: PathBuf,
    pub northbound: Handle,
}

/// The words behind `console`, if that is what the command is.
pub(super) fn words(command: &str) -> Option<&str> {
    let rest = command.trim_start().strip_prefix("console")?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(rest)
}

/// Who asks, and where from and whereto.
pub(super) struct Sitter<R, W> {
    /// With `ADDRESS:PORT` as the origin, or what is said of somebody on the box.
    pub caller: Caller,
    pub has_terminal: bool,
    pub input: R,
    pub output: W,
    /// Who watches goes on by itself should we end: it is told where it is.
    pub marks: Option<Marks>,
}

impl<R, W> Sitter<R, W> {
    fn host(&self) -> String {
        let address = self.caller.origin.parse::<std::net::SocketAddr>();
        address.map_or_else(|_| "localhost".to_owned(), |address| address.ip().to_canonical().to_string())
    }
}

impl Consoles {
    /// The exit status.
    pub(super) async fn serve(self, call: ShellCall, words: String) -> u32 {
        let ShellCall { user, peer, terminal, stream, mut errors, .. } = call;
        let (input, output) = tokio::io::split(stream);
        let caller = Caller::without_session(user, Client::Netconf, peer);
        let mut sitter = Sitter { caller, has_terminal: terminal.is_some(), input, output, marks: None };
        match self.carry_out(&mut sitter, &words).await {
            Ok(()) => 0,
            Err(problem) => {
                // A client that does not want to read the reason still gets the exit status.
                let _ = errors.write_all(format!("error: {problem}\n").as_bytes()).await;
                1
            }
        }
    }

    pub(super) async fn carry_out<R, W>(&self, call: &mut Sitter<R, W>, words: &str) -> Result<(), String>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let asked = viewer::parse(words).map_err(|error| error.to_string().trim_end().to_owned())?;
        let caller = call.caller.clone();
        let host = call.host();
        let who = format!("{}@{host}", caller.user);
        match asked.what() {
            What::Defaults => show(call, viewer::defaults().as_bytes()).await,
            What::List(list) => {
                let consoles = self.readable(&caller).await?;
                let begins =
                    |console: &Listed| asked.name.as_ref().is_none_or(|name| console.shown().starts_with(name));
                let consoles: Vec<Listed> = consoles.into_iter().filter(begins).collect();
                show(call, viewer::lines(list, &consoles, viewer::now_unix_s()).as_bytes()).await
            }
            What::Broadcast(text) => {
                let told = match &asked.name {
                    Some(name) => {
                        let name = self.find(&caller, name).await?;
                        self.may_write(&caller, &name).await?;
                        self.keeper.broadcast(Some(name), who, text).await
                    }
                    None => return Err("name the console: console -b TEXT NAME".to_owned()),
                };
                show(call, format!("told {}\n", told.map_err(in_words)?).as_bytes()).await
            }
            What::Disconnect { user, console } => {
                let Some(console) = console else { return Err("name the console: console -d USER@CONSOLE".to_owned()) };
                let name = self.find(&caller, &console).await?;
                self.may_write(&caller, &name).await?;
                let ended = self.keeper.disconnect(Some(name), user, who).await.map_err(in_words)?;
                show(call, format!("disconnected {ended}\n").as_bytes()).await
            }
            What::Sit { wish, replay_lines } => {
                let Some(name) = &asked.name else { return Err("name a console; `console -u` lists them".to_owned()) };
                let name = self.find(&caller, name).await?;
                let may_write = wish != Wish::Spy && self.may_write(&caller, &name).await.is_ok();
                let escape = asked.escape().map_err(|error| error.to_string())?;
                let user = caller.user.clone();
                let entering = Entering { user, host, may_write, wish, from: None, replay_lines, escape, quiet: false };
                self.sit(call, name, entering).await
            }
        }
    }

    pub(super) async fn readable(&self, caller: &Caller) -> Result<Vec<Listed>, String> {
        let mut readable = Vec::new();
        for console in self.keeper.consoles().await.map_err(in_words)? {
            if self.northbound.permits(caller, &path(&console.name), Access::Read).await.is_ok() {
                readable.push(console);
            }
        }
        Ok(readable)
    }

    pub(super) async fn find(&self, caller: &Caller, asked: &str) -> Result<ContainerName, String> {
        let names: Vec<String> = self.readable(caller).await?.into_iter().map(|console| console.name).collect();
        ContainerName::parse(viewer::find(&names, asked)?).map_err(|error| error.to_string())
    }

    pub(super) async fn may_write(&self, caller: &Caller, name: &ContainerName) -> Result<(), String> {
        let path = path(name.as_str());
        self.northbound.permits(caller, &path, Access::Update).await.map_err(|refusal| refusal.to_string())
    }

    async fn sit<R, W>(
        &self,
        call: &mut Sitter<R, W>,
        name: ContainerName,
        mut entering: Entering,
    ) -> Result<(), String>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut socket = self.keeper.console(name.clone(), entering.clone()).await.map_err(in_words)?;
        let seat = serde_json::to_string(&(&name, &entering)).unwrap_or_default();
        mark(call, Mark::Sits(seat)).await?;
        info!(user = entering.user, peer = %call.caller.origin, %name, write = entering.may_write, "at a console");
        loop {
            let mut offset = entering.from;
            match pump(call, socket, &mut offset).await? {
                Some(why) => {
                    mark(call, Mark::Left).await?;
                    return match why.as_str() {
                        "disconnected" => Ok(()),
                        _ => Err(format!("the console `{name}` has gone: {why}")),
                    };
                }
                None => {
                    entering = Entering { from: offset, quiet: true, ..entering };
                    socket = resume(&self.keeper_socket, &name, &entering).await?;
                }
            }
        }
    }
}

/// A keeper that follows another needs a moment to take everything over.
pub(super) async fn resume(path: &Path, name: &ContainerName, entering: &Entering) -> Result<OwnedFd, String> {
    let again = async {
        loop {
            let (keeper, _events) = Keeper::connect(path.to_owned());
            if keeper.pid(LOOK_AGAIN).await.is_some() {
                match keeper.console(name.clone(), entering.clone()).await {
                    Err(KeeperRefusal::Lost | KeeperRefusal::NoAnswer { .. }) => {}
                    answer => return answer.map_err(in_words),
                }
            }
        }
    };
    let answer = tokio::time::timeout(AWAY_MAX, again).await;
    answer.map_err(|_| "the keeper is gone and no other has followed it".to_owned())?
}

/// Why it is over, or `None` where the keeper is gone without a word.
async fn pump<R, W>(
    call: &mut Sitter<R, W>,
    socket: OwnedFd,
    offset: &mut Option<u64>,
) -> Result<Option<String>, String>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    crate::sys::spawn::set_nonblocking(&socket).map_err(|error| error.to_string())?;
    // A packet socket in a stream's clothes: only its readiness is used.
    let socket = UnixStream::from_std(socket.into()).map_err(|error| error.to_string())?;
    let mut typed = [0; TYPED_BYTES_MAX];
    let mut hears = true;
    loop {
        tokio::select! {
            frame = socket.async_io(Interest::READABLE, || fdpass::receive(&socket).map_err(Into::into)) => {
                let Ok(Some(frame)) = frame else { return Ok(None) };
                match Packet::read(&frame.bytes) {
                    Some(Packet::Shown { offset: at, bytes }) => {
                        mark(call, Mark::Shown(at)).await?;
                        show(call, bytes).await?;
                        *offset = Some(at + bytes.len() as u64);
                    }
                    Some(Packet::Words(words)) => {
                        mark(call, Mark::Words).await?;
                        show(call, words).await?;
                    }
                    Some(Packet::Over(why)) => return Ok(Some(String::from_utf8_lossy(why).into_owned())),
                    // It is not run in the first place.
                    Some(Packet::Do(wire::ABORT)) => {}
                    // There is no local program here that could be suspended, or ask for another console, or run another.
                    Some(Packet::Do(_) | Packet::Run { .. }) => {
                        mark(call, Mark::Words).await?;
                        show(call, b"[not over SSH]\r\n").await?;
                    }
                    None => {}
                }
            }
            count = call.input.read(&mut typed), if hears => match count {
                // Who has typed all may go on reading; who has gone is noticed by the next byte for it.
                Ok(0) if !call.has_terminal => hears = false,
                Ok(0) | Err(_) => return Ok(Some("disconnected".to_owned())),
                Ok(count) => {
                    let none: [OwnedFd; 0] = [];
                    let send = || fdpass::send(&socket, &typed[..count], &none).map_err(Into::into);
                    if socket.async_io(Interest::WRITABLE, send).await.is_err() {
                        return Ok(None);
                    }
                }
            },
        }
    }
}

async fn mark<R, W: AsyncWrite + Unpin>(call: &mut Sitter<R, W>, mark: Mark) -> Result<(), String> {
    let Some(bytes) = call.marks.as_ref().map(|marks| marks.encode(&mark)) else { return Ok(()) };
    call.output.write_all(&bytes).await.map_err(|error| error.to_string())
}

async fn show<R, W: AsyncWrite + Unpin>(call: &mut Sitter<R, W>, bytes: &[u8]) -> Result<(), String> {
    call.output.write_all(bytes).await.map_err(|error| error.to_string())?;
    call.output.flush().await.map_err(|error| error.to_string())
}

fn in_words(refusal: KeeperRefusal) -> String {
    refusal.to_string()
}

fn path(name: &str) -> String {
    format!("/procyon-console:consoles/console[name='{name}']")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_command_console_is_one() {
        assert_eq!(words("console"), Some(""));
        assert_eq!(words(" console -u"), Some(" -u"));
        assert_eq!(words("consoles"), None);
        assert_eq!(words("show console"), None);
    }
}
