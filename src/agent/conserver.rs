//! The listener for conserver's own client: its protocol (`console::wire`) in front, the keeper's consoles behind, accounts
//! and access rules between.
//!
//! ```text
//!  wanted --> two ports --> connection: greeted -> logged in -> (first port) told where
//!                                                            `-> (second port) handed to the keeper, with its console
//! ```
//! Ports that stay the same go on over a change of who may come. Whoever is at a console is the keeper's guest, and does not
//! notice that the agent is restarted; but what is encrypted goes through the agent, which alone can do that.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf,
    copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::alarms::Bell;
use super::console::Consoles;
use super::consoles::{Ports, Wanted};
use crate::console::columns::Listed;
use crate::console::escape;
use crate::console::roster::Wish;
use crate::console::wire::{self, LINE_BYTES_MAX, Line};
use crate::container::spec::ContainerName;
use crate::keeper::protocol::Entering;
use crate::northbound::{Caller, Client};
use crate::ssh::SharedAccounts;
use crate::sys::tcp;
use crate::viewer::{self, List};

/// Connections to both ports together that the keeper does not have; a further one waits in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// A client that says nothing before it is at a console is let go.
const LINE_TIME_MAX: Duration = Duration::from_secs(30);
/// What a wrong password costs; connections of others are not kept waiting.
const WRONG_PASSWORD_WAIT: Duration = Duration::from_secs(2);
/// Between tries to open a port.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// After such a silence a client is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

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
pub(super) async fn serve(
    desk: Desk,
    mut wanted: watch::Receiver<Option<Arc<Wanted>>>,
    (ports, bell): (Ports, Bell),
    stop: CancellationToken,
) {
    // What an earlier life has raised may be over.
    let mut is_told = false;
    let mut open: Option<(SocketAddr, u16, TcpListener, TcpListener)> = None;
    let mut connections = JoinSet::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        let mut problem = None;
        let same = |wanted: &Arc<Wanted>| {
            open.as_ref().is_some_and(|(at, port, ..)| (*at, *port) == (wanted.at(), wanted.console_port))
        };
        if !now.as_ref().is_some_and(same) {
            open = None;
            ports.keep_only(now.as_deref());
        }
        if let (Some(wanted), None) = (&now, &open) {
            match listen(wanted, &ports) {
                Ok((first, second)) => {
                    info!(address = %wanted.at(), "conserver's clients are served");
                    open = Some((wanted.at(), wanted.console_port, first, second));
                }
                Err(error) => {
                    problem = Some(format!("{}: {error}", wanted.at()));
                }
            }
        }
        if ports.note(problem.as_deref()) || !is_told {
            if let Some(problem) = &problem {
                warn!(problem, "the port for conserver's clients cannot be opened; it is tried again");
            }
            bell.conserver(problem.as_deref()).await;
            is_told = true;
        }
        ports.hand_over().await;
        loop {
            let may_accept = open.is_some() && connections.len() < CONNECTIONS_MAX;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = wanted.changed() => if changed.is_err() { return } else { break },
                () = sleep(TRY_AGAIN), if problem.is_some() => break,
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

fn listen(wanted: &Wanted, ports: &Ports) -> io::Result<(TcpListener, TcpListener)> {
    let [first, second] = wanted.places();
    Ok((TcpListener::from_std(ports.open(first)?)?, TcpListener::from_std(ports.open(second)?)?))
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
    // Without it, one that has vanished is noticed by the next byte for it.
    let _ = tcp::keep_alive(&stream, KEEP_ALIVE);
    let stream = BufReader::new(Wires::Plain(stream));
    let connection = Connection { stream, desk, peer: peer.ip().to_canonical() };
    if let Err(error) = connection.serve(&wanted, port, &local).await {
        info!(%peer, %error, "a client of conserver's protocol has gone");
    }
}

struct Connection {
    stream: BufReader<Wires>,
    desk: Desk,
    peer: IpAddr,
}

impl Connection {
    async fn serve(mut self, wanted: &Wanted, port: Port, local: &str) -> io::Result<()> {
        self.say("ok").await?;
        let user = loop {
            match self.log_in(wanted).await? {
                LogIn::User(user) => break user,
                LogIn::Over => return Ok(()),
                LogIn::Encrypts(encryption) => self = self.encrypt(encryption).await?,
            }
        };
        let caller = Caller::without_session(user, Client::Netconf, self.peer);
        while let Some(text) = self.line().await? {
            match (wire::line(&text), port) {
                (Line::Exit, _) => return self.say("goodbye").await,
                (Line::Help, _) => self.stream.write_all(wire::HELP.as_bytes()).await?,
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

    async fn log_in(&mut self, wanted: &Wanted) -> io::Result<LogIn> {
        let is_plain = matches!(self.stream.get_ref(), Wires::Plain(_));
        loop {
            let Some(text) = self.line().await? else { return Ok(LogIn::Over) };
            match (wire::line(&text), &wanted.encryption) {
                (Line::Encrypt, Some(encryption)) if is_plain => {
                    self.say("ok").await?;
                    return Ok(LogIn::Encrypts(Arc::clone(encryption)));
                }
                (Line::Login(_), _) if is_plain && !wanted.clear_text => {
                    self.say("encryption required").await?;
                    return Ok(LogIn::Over);
                }
                (Line::Login(user), _) if wanted.trusts(self.peer) => {
                    info!(user, peer = %self.peer, "a user is believed at the port for conserver's clients");
                    self.say("ok").await?;
                    return Ok(LogIn::User(user));
                }
                (Line::Login(user), _) => {
                    self.say(&format!("passwd? {}", self.desk.host)).await?;
                    let Some(password) = self.line().await? else { return Ok(LogIn::Over) };
                    if self.proves(&user, password.trim_end_matches(['\r', '\n'])).await {
                        info!(user, peer = %self.peer, "logged in at the port for conserver's clients");
                        self.say("ok").await?;
                        return Ok(LogIn::User(user));
                    }
                    info!(user, peer = %self.peer, "a wrong password at the port for conserver's clients");
                    sleep(WRONG_PASSWORD_WAIT).await;
                    self.say("invalid password").await?;
                    return Ok(LogIn::Over);
                }
                (Line::Exit, _) => {
                    self.say("goodbye").await?;
                    return Ok(LogIn::Over);
                }
                (Line::Help, _) => self.stream.write_all(wire::HELP.as_bytes()).await?,
                _ => self.say("unknown command").await?,
            }
        }
    }

    async fn encrypt(self, encryption: Arc<ServerConfig>) -> io::Result<Self> {
        let Wires::Plain(plain) = self.stream.into_inner() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let accepted = timeout(LINE_TIME_MAX, TlsAcceptor::from(encryption).accept(plain)).await;
        let encrypted = accepted.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Self { stream: BufReader::new(Wires::Encrypted(Box::new(encrypted))), ..self })
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
        self.stream.write_all(text.as_bytes()).await
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

    async fn sit(self, caller: &Caller, name: ContainerName) -> io::Result<()> {
        let may_write = self.desk.consoles.may_write(caller, &name).await.is_ok();
        let entering = Entering {
            user: caller.user.clone(),
            host: self.peer.to_string(),
            may_write,
            wish: if may_write { Wish::Attach } else { Wish::Spy },
            from: None,
            replay_lines: 0,
            escape: escape::DEFAULT,
            quiet: true,
        };
        let said = self.stream.buffer().to_vec();
        info!(user = caller.user, peer = %self.peer, %name, write = may_write, "goes to a console");
        let keeper = &self.desk.consoles.keeper;
        match self.stream.into_inner() {
            Wires::Plain(stream) => {
                let connection = stream.into_std()?.into();
                keeper.seat(name, entering, said, connection).await.map_err(io::Error::other)
            }
            // The keeper knows nothing of encryption: what is shown and typed goes through here.
            Wires::Encrypted(mut stream) => {
                let (mut ours, theirs) = UnixStream::pair()?;
                let connection = theirs.into_std()?.into();
                keeper.seat(name, entering, said, connection).await.map_err(io::Error::other)?;
                copy_bidirectional(&mut stream, &mut ours).await.map(drop)
            }
        }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await
    }

    /// `None` when there are no more, or none that is worth waiting for.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bounded = (&mut self.stream).take(limit);
        let Ok(read) = timeout(LINE_TIME_MAX, bounded.read_until(b'\n', &mut line)).await else { return Ok(None) };
        read?;
        Ok(Some(line).filter(|line| line.ends_with(b"\n")).and_then(|line| String::from_utf8(line).ok()))
    }
}

enum LogIn {
    /// Whose name is proven.
    User(String),
    Encrypts(Arc<ServerConfig>),
    Over,
}

enum Wires {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wires {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Wires {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
