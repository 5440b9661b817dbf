//! The listener for conserver's own client: its protocol (`console::wire`) in front, the keeper's consoles behind, accounts
//! and access rules between.
//!
//! ```text
//!  wanted --> two ports --> connection: greeted -> logged in -> (first port) told where | (second port) at a console
//! ```
//! Ports that stay the same go on over a change of who may come; a connection that stands is judged no more.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::console::{Consoles, resume};
use super::consoles::Wanted;
use crate::console::columns::Listed;
use crate::console::escape;
use crate::console::packet::Packet;
use crate::console::roster::Wish;
use crate::console::wire::{self, LINE_BYTES_MAX, Line, Unquote};
use crate::container::spec::ContainerName;
use crate::keeper::protocol::Entering;
use crate::northbound::{Caller, Client, SessionId};
use crate::ssh::SharedAccounts;
use crate::sys::fdpass;
use crate::viewer::{self, List};

/// Connections to both ports together; a further one waits in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// A client that says nothing before it is at a console is let go.
const LINE_TIME_MAX: Duration = Duration::from_secs(30);
/// What a wrong password costs; connections of others are not kept waiting.
const WRONG_PASSWORD_WAIT: Duration = Duration::from_secs(2);
/// Between tries to open a port.
const TRY_AGAIN: Duration = Duration::from_secs(5);
const TYPED_BYTES_MAX: usize = 4096;

#[derive(Clone)]
pub(super) struct Desk {
    pub consoles: Consoles,
    pub accounts: SharedAccounts,
    pub host: String,
    /// One password at a time: each costs processor time.
    pub checking: Arc<Mutex<()>>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    /// Tells where consoles are.
    First {
        console_port: u16,
    },
    Second,
}

/// Serves what is wanted until `stop`.
pub(super) async fn serve(desk: Desk, mut wanted: watch::Receiver<Option<Arc<Wanted>>>, stop: CancellationToken) {
    let mut open: Option<(SocketAddr, u16, TcpListener, TcpListener)> = None;
    let mut connections = JoinSet::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        let mut failed = false;
        match &now {
            None => open = None,
            Some(wanted)
                if open.as_ref().is_some_and(|(at, port, ..)| (*at, *port) == (wanted.at(), wanted.console_port)) => {}
            Some(wanted) => {
                open = None;
                match bind(wanted).await {
                    Ok((first, second)) => {
                        info!(address = %wanted.at(), "conserver's clients are served");
                        open = Some((wanted.at(), wanted.console_port, first, second));
                    }
                    Err(error) => {
                        warn!(address = %wanted.at(), %error, "the port for conserver's clients cannot be opened");
                        failed = true;
                    }
                }
            }
        }
        loop {
            let may_accept = open.is_some() && connections.len() < CONNECTIONS_MAX;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = wanted.changed() => if changed.is_err() { return } else { break },
                () = sleep(TRY_AGAIN), if failed => break,
                Some(_) = connections.join_next() => {}
                (port, stream) = accept(open.as_ref()), if may_accept => {
                    let (Some(wanted), Ok((stream, peer))) = (now.clone(), stream) else { continue };
                    if wanted.admits(peer.ip()) {
                        connections.spawn(attend(desk.clone(), wanted, port, stream, peer));
                    } else {
                        info!(%peer, "a client of conserver's protocol was turned away");
                    }
                }
            }
        }
    }
}

async fn bind(wanted: &Wanted) -> io::Result<(TcpListener, TcpListener)> {
    let first = TcpListener::bind(wanted.at()).await?;
    let second = TcpListener::bind(SocketAddr::new(wanted.address, wanted.console_port)).await?;
    Ok((first, second))
}

async fn accept(
    open: Option<&(SocketAddr, u16, TcpListener, TcpListener)>,
) -> (Port, io::Result<(TcpStream, SocketAddr)>) {
    let Some((_, _, first, second)) = open else { return std::future::pending().await };
    let console_port = second.local_addr().map_or(0, |at| at.port());
    tokio::select! {
        stream = first.accept() => (Port::First { console_port }, stream),
        stream = second.accept() => (Port::Second, stream),
    }
}

async fn attend(desk: Desk, wanted: Arc<Wanted>, port: Port, stream: TcpStream, peer: SocketAddr) {
    let local = stream.local_addr().map_or_else(|_| desk.host.clone(), |at| at.ip().to_string());
    let (reader, writer) = stream.into_split();
    let mut connection = Connection { reader: BufReader::new(reader), writer, desk, peer: peer.ip().to_canonical() };
    if let Err(error) = connection.serve(&wanted, port, &local).await {
        info!(%peer, %error, "a client of conserver's protocol has gone");
    }
}

struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    desk: Desk,
    peer: IpAddr,
}

impl Connection {
    async fn serve(&mut self, wanted: &Wanted, port: Port, local: &str) -> io::Result<()> {
        self.say("ok").await?;
        let Some(user) = self.log_in(wanted).await? else { return Ok(()) };
        let caller = Caller {
            session: SessionId(0),
            user,
            groups: Vec::new(),
            client: Client::Netconf,
            origin: self.peer.to_string(),
        };
        while let Some(text) = self.line().await? {
            match (wire::line(&text), port) {
                (Line::Exit, _) => return self.say("goodbye").await,
                (Line::Help, _) => self.writer.write_all(wire::HELP.as_bytes()).await?,
                (Line::Call(name), Port::First { console_port }) => match self.find(&caller, &name).await {
                    Ok(_) => self.say(&console_port.to_string()).await?,
                    Err(why) => self.say(&why).await?,
                },
                (Line::Groups, Port::First { console_port }) => self.say(&console_port.to_string()).await?,
                (Line::Master, Port::First { .. }) => self.say(&format!("@{local}")).await?,
                (Line::Pid, Port::First { .. }) => self.say(&std::process::id().to_string()).await?,
                (Line::Version, Port::First { .. }) => {
                    self.say(&format!("version `procyon {}'", env!("CARGO_PKG_VERSION"))).await?;
                }
                (Line::Call(name), Port::Second) => match self.find(&caller, &name).await {
                    Ok(name) => return self.sit(&caller, name).await,
                    Err(why) => self.say(&why).await?,
                },
                (Line::Hosts(which), Port::Second) => self.list(&caller, List::Users, which).await?,
                (Line::Group(which), Port::Second) => self.list(&caller, List::Who, which).await?,
                (Line::Info(which), Port::Second) => self.list(&caller, List::Info, which).await?,
                (Line::Examine(which), Port::Second) => self.list(&caller, List::Places, which).await?,
                (Line::Broadcast(text), Port::Second) => {
                    let said = self.tell(&caller, None, None, &text).await;
                    self.say(&said).await?;
                }
                (Line::TextMessage { to, text }, Port::Second) => {
                    let (user, console) = wire::whom(&to);
                    let said = self.tell(&caller, user, console, &text).await;
                    self.say(&said).await?;
                }
                (Line::Disconnect(whom), Port::Second) => {
                    let said = self.disconnect(&caller, &whom).await;
                    self.say(&said).await?;
                }
                (Line::Forbidden, _) => self.say("unauthorized command").await?,
                _ => self.say("unknown command").await?,
            }
        }
        Ok(())
    }

    /// The user's name, once it is proven.
    async fn log_in(&mut self, wanted: &Wanted) -> io::Result<Option<String>> {
        loop {
            let Some(text) = self.line().await? else { return Ok(None) };
            match wire::line(&text) {
                Line::Login(user) if wanted.trusts(self.peer) => {
                    info!(user, peer = %self.peer, "a user is believed at the port for conserver's clients");
                    self.say("ok").await?;
                    return Ok(Some(user));
                }
                Line::Login(user) => {
                    self.say(&format!("passwd? {}", self.desk.host)).await?;
                    let Some(password) = self.line().await? else { return Ok(None) };
                    if self.proves(&user, password.trim_end_matches(['\r', '\n'])).await {
                        info!(user, peer = %self.peer, "logged in at the port for conserver's clients");
                        self.say("ok").await?;
                        return Ok(Some(user));
                    }
                    info!(user, peer = %self.peer, "a wrong password at the port for conserver's clients");
                    sleep(WRONG_PASSWORD_WAIT).await;
                    self.say("invalid password").await?;
                    return Ok(None);
                }
                Line::Exit => {
                    self.say("goodbye").await?;
                    return Ok(None);
                }
                Line::Help => self.writer.write_all(wire::HELP.as_bytes()).await?,
                _ => self.say("unknown command").await?,
            }
        }
    }

    async fn proves(&self, user: &str, password: &str) -> bool {
        let _one_at_a_time = self.desk.checking.lock().await;
        let check = self.desk.accounts.current().password_check(user, password);
        tokio::task::spawn_blocking(|| check.matches()).await.unwrap_or(false)
    }

    async fn find(&self, caller: &Caller, asked: &str) -> Result<ContainerName, String> {
        let not_found = |_| format!("console `{asked}' not found");
        self.desk.consoles.find(caller, asked).await.map_err(not_found)
    }

    async fn list(&mut self, caller: &Caller, list: List, which: Option<String>) -> io::Result<()> {
        let text = match self.desk.consoles.readable(caller).await {
            Ok(consoles) => {
                let is_meant = |console: &Listed| which.as_ref().is_none_or(|name| console.shown() == name);
                let consoles: Vec<Listed> = consoles.into_iter().filter(is_meant).collect();
                viewer::lines(list, &consoles, viewer::now_unix_s()).replace('\n', "\r\n")
            }
            Err(why) => format!("{why}\r\n"),
        };
        self.writer.write_all(text.as_bytes()).await
    }

    /// Words for those who are at consoles to which the caller may type.
    async fn tell(&self, caller: &Caller, user: Option<&str>, console: Option<&str>, text: &str) -> String {
        let from = format!("{}@{}", caller.user, self.peer);
        let all = match self.desk.consoles.readable(caller).await {
            Ok(all) => all,
            Err(why) => return why,
        };
        for each in all.iter().filter(|each| console.is_none_or(|name| each.shown() == name)) {
            let is_there = user.is_none_or(|user| each.seats.iter().any(|seat| seat.user == user));
            let Some(name) = ContainerName::parse(&each.name).ok().filter(|_| is_there && !each.seats.is_empty())
            else {
                continue;
            };
            if self.desk.consoles.may_write(caller, &name).await.is_ok() {
                // Who has gone meanwhile need not be told.
                let _ = self.desk.consoles.keeper.broadcast(Some(name), from.clone(), text.to_owned()).await;
            }
        }
        "ok".to_owned()
    }

    async fn disconnect(&self, caller: &Caller, whom: &str) -> String {
        let (user, console) = wire::whom(whom);
        let by = format!("{}@{}", caller.user, self.peer);
        let all = match self.desk.consoles.readable(caller).await {
            Ok(all) => all,
            Err(why) => return why,
        };
        let mut ended = 0;
        for each in all.iter().filter(|each| console.is_none_or(|name| each.shown() == name)) {
            let Ok(name) = ContainerName::parse(&each.name) else { continue };
            let mut users: Vec<&str> = each.seats.iter().map(|seat| seat.user.as_str()).collect();
            users.retain(|seated| user.is_none_or(|user| user == *seated));
            users.dedup();
            if users.is_empty() {
                continue;
            }
            if self.desk.consoles.may_write(caller, &name).await.is_err() {
                return "unauthorized command".to_owned();
            }
            for user in users {
                let counted =
                    self.desk.consoles.keeper.disconnect(Some(name.clone()), user.to_owned(), by.clone()).await;
                ended += counted.unwrap_or(0);
            }
        }
        format!("ok -- disconnected {ended} users")
    }

    async fn sit(&mut self, caller: &Caller, name: ContainerName) -> io::Result<()> {
        let may_write = self.desk.consoles.may_write(caller, &name).await.is_ok();
        let mut entering = Entering {
            user: caller.user.clone(),
            host: self.peer.to_string(),
            may_write,
            wish: if may_write { Wish::Attach } else { Wish::Spy },
            from: None,
            replay_lines: 0,
            escape: escape::DEFAULT,
            quiet: false,
        };
        let mut socket = match self.desk.consoles.keeper.console(name.clone(), entering.clone()).await {
            Ok(socket) => socket,
            Err(refusal) => return self.say(&refusal.to_string()).await,
        };
        info!(user = caller.user, peer = %self.peer, %name, write = may_write, "at a console");
        let mut at = Seated { is_welcomed: false, is_connected: false, is_paused: false, unquote: Unquote::default() };
        loop {
            let mut offset = entering.from;
            if let Over::Yes = self.pump(socket, &mut at, &mut offset).await? {
                return Ok(());
            }
            entering = Entering { from: offset, quiet: true, ..entering };
            socket = match resume(&self.desk.consoles.keeper_socket, &name, &entering).await {
                Ok(socket) => socket,
                Err(_) => return Ok(()),
            };
        }
    }

    async fn pump(&mut self, socket: OwnedFd, at: &mut Seated, offset: &mut Option<u64>) -> io::Result<Over> {
        crate::sys::spawn::set_nonblocking(&socket)?;
        // A packet socket in a stream's clothes: only its readiness is used.
        let socket = UnixStream::from_std(socket.into())?;
        let mut typed = [0; TYPED_BYTES_MAX];
        loop {
            tokio::select! {
                frame = socket.async_io(Interest::READABLE, || fdpass::receive(&socket).map_err(Into::into)) => {
                    let Ok(Some(frame)) = frame else { return Ok(Over::Keeper) };
                    match Packet::read(&frame.bytes) {
                        Some(Packet::Shown { offset: from, bytes }) => {
                            if at.is_connected && !at.is_paused {
                                self.writer.write_all(&wire::quoted(bytes)).await?;
                            }
                            *offset = Some(from + bytes.len() as u64);
                        }
                        Some(Packet::Words(words)) if !at.is_welcomed => {
                            at.is_welcomed = true;
                            self.say(wire::answer_to_call(&String::from_utf8_lossy(words))).await?;
                        }
                        Some(Packet::Words(words)) => self.writer.write_all(&wire::quoted(words)).await?,
                        Some(Packet::Do(b';')) if !at.is_connected => {
                            at.is_connected = true;
                            self.say("[connected]").await?;
                        }
                        Some(Packet::Do(what @ (b';' | b'z'))) => {
                            at.is_paused = true;
                            let word = if what == b';' { b'G' } else { b'Z' };
                            self.writer.write_all(&[b'[', wire::COMMAND, word]).await?;
                        }
                        Some(Packet::Over(_)) => return Ok(Over::Yes),
                        Some(Packet::Do(_)) | None => {}
                    }
                }
                count = self.reader.read(&mut typed) => {
                    let count = count?;
                    if count == 0 {
                        return Ok(Over::Yes);
                    }
                    let mut typed = at.unquote.take(&typed[..count]);
                    if at.is_paused && !typed.is_empty() {
                        // The first byte says that the client is back, and nothing else.
                        at.is_paused = false;
                        typed.remove(0);
                        self.say(" -- attached]").await?;
                    }
                    if typed.is_empty() {
                        continue;
                    }
                    let none: [OwnedFd; 0] = [];
                    let send = || fdpass::send(&socket, &typed, &none).map_err(Into::into);
                    if socket.async_io(Interest::WRITABLE, send).await.is_err() {
                        return Ok(Over::Keeper);
                    }
                }
            }
        }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(format!("{text}\r\n").as_bytes()).await
    }

    /// `None` when there are no more, or none that is worth waiting for.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bounded = (&mut self.reader).take(limit);
        let Ok(read) = timeout(LINE_TIME_MAX, bounded.read_until(b'\n', &mut line)).await else { return Ok(None) };
        read?;
        Ok(Some(line).filter(|line| line.ends_with(b"\n")).and_then(|line| String::from_utf8(line).ok()))
    }
}

/// How far a client at a console has come.
struct Seated {
    is_welcomed: bool,
    /// It has said that it shows what comes.
    is_connected: bool,
    is_paused: bool,
    unquote: Unquote,
}

enum Over {
    Yes,
    /// The keeper is gone without a word; another may follow.
    Keeper,
}
