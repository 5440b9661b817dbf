//! One client's requests: logins, channels and what is started on them.
//!
//! ```text
//!   channel:  opened --netconf, sftp, shell, exec--> serving --the service ends--> exit status, end, close
//!                |                                      |
//!                +------ closed by the client ----------+--> the service reads the end
//! ```
//!
//! Nothing in a handler waits for a service: the SSH library stops the whole connection meanwhile.
//! Must not know: sockets, how accounts are configured.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Pty};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::auth::{Proof, Proven, SharedAccounts, USER_BYTES_MAX, reject};
use super::backoff::Backoff;
use super::driver::now;
use super::flow::Inbox;
use super::gate::{Gate, lock};
use super::stream::{ChannelStream, ErrorStream};
use super::{Colours, Limits, Services, ShellCall, Terminal, sftp};
use crate::sys::beneath::Root;

/// Keys that a client may offer without knowing one of ours; an agent full of keys is a dozen.
const OFFERED_KEYS_MAX: usize = 32;

/// Of a terminal's kind, a command or a user name, what is kept or logged.
const TEXT_BYTES_MAX: usize = 4096;

/// The exit status when a service has failed in a way it should not.
const STATUS_BROKEN: u32 = 255;

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) accounts: SharedAccounts,
    pub(super) services: Arc<dyn Services>,
    pub(super) root: Arc<Root>,
    pub(super) password_checks: Arc<Semaphore>,
    pub(super) backoff: Arc<Mutex<Backoff>>,
    pub(super) tasks: TaskTracker,
}

/// How far a login has come, for those who watch from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    Asked,
    Proven(Arc<Proven>),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    #[error("the client sent {0} bytes that its service could not take while it read no reply")]
    Overflow(usize),
    #[error("the client offered more than {OFFERED_KEYS_MAX} keys")]
    TooManyKeys,
}

/// The handler of one connection. Its end closes every channel.
pub(super) struct Connection {
    peer: SocketAddr,
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    progress: watch::Sender<Option<Login>>,
    keys_refused: usize,
    proven: Option<Arc<Proven>>,
    channels: Channels,
}

type Channels = Arc<Mutex<HashMap<ChannelId, Opened>>>;

struct Opened {
    inbox: Arc<Inbox>,
    /// Taken by the service that is started on the channel; one channel serves once.
    write: Option<ChannelWriteHalf<Msg>>,
    terminal: Option<watch::Sender<Terminal>>,
}

impl Connection {
    pub(super) fn new(
        peer: SocketAddr,
        shared: Arc<Shared>,
        gate: Arc<Gate>,
    ) -> (Self, watch::Receiver<Option<Login>>) {
        let (progress, watched) = watch::channel(None);
        let channels = Channels::default();
        (Self { peer, shared, gate, progress, keys_refused: 0, proven: None, channels }, watched)
    }

    fn knows(&self, user: &str, key: &PublicKey) -> bool {
        user.len() <= USER_BYTES_MAX && self.shared.accounts.current().knows_key(user, key)
    }

    fn proven(&mut self, user: &str, by: Proof, method: &str) -> Auth {
        info!(user, peer = %self.peer, method, "logged in");
        self.proven = Some(Arc::new(Proven { user: user.to_owned(), by }));
        Auth::Accept
    }

    fn refused(&self, user: &str, method: &str) -> Auth {
        info!(user = cut(user, USER_BYTES_MAX), peer = %self.peer, method, "login failed");
        reject()
    }

    fn asked(&self) {
        self.progress.send_replace(Some(Login::Asked));
    }

    /// Starts a service on a channel, once. The reply to the client goes first, then whatever the service writes.
    fn start<F>(
        &self,
        id: ChannelId,
        session: &mut Session,
        service: impl FnOnce(Start) -> F,
    ) -> Result<(), ConnectionError>
    where
        F: Future<Output = u32> + Send + 'static,
    {
        let (start, write, inbox) = {
            let mut channels = lock(&self.channels);
            let taken = channels.get_mut(&id).and_then(|opened| opened.write.take().map(|write| (write, opened)));
            let (Some((write, opened)), Some(proven)) = (taken, &self.proven) else {
                drop(channels);
                return Ok(session.channel_failure(id)?);
            };
            let stream = ChannelStream::new(opened.inbox.clone(), Box::pin(write.make_writer()));
            let errors = ErrorStream::new(opened.inbox.clone(), Box::pin(write.make_writer_ext(Some(1))));
            let terminal = opened.terminal.as_ref().map(watch::Sender::subscribe);
            (
                Start { user: proven.user.clone(), peer: self.peer, stream, errors, terminal },
                write,
                opened.inbox.clone(),
            )
        };
        session.channel_success(id)?;
        // A task of its own, so that even a service that panics ends with a status.
        let service = self.shared.tasks.spawn(service(start));
        let channels = self.channels.clone();
        self.shared.tasks.spawn(async move {
            let status = service.await.unwrap_or_else(|broken| {
                error!(%broken, "the service on a channel has failed");
                STATUS_BROKEN
            });
            finish(&write, &inbox, status).await;
            lock(&channels).remove(&id);
        });
        Ok(())
    }

    fn call(&self, id: ChannelId, command: Option<String>, session: &mut Session) -> Result<(), ConnectionError> {
        let services = self.shared.services.clone();
        self.start(id, session, move |start| {
            let Start { user, peer, stream, errors, terminal } = start;
            services.shell(ShellCall { user, peer, command, terminal, stream, errors })
        })
    }
}

/// What a service is given when it starts.
struct Start {
    user: String,
    peer: SocketAddr,
    stream: ChannelStream,
    errors: ErrorStream,
    terminal: Option<watch::Receiver<Terminal>>,
}

/// All that was written is queued before this, in order, so nothing is lost by closing. An error means that the
/// connection is gone and nobody is left to tell.
async fn finish(write: &ChannelWriteHalf<Msg>, inbox: &Inbox, status: u32) {
    if write.exit_status(status).await.is_err() {
        return;
    }
    if !inbox.finished() {
        let _ = write.eof().await;
    }
    let _ = write.close().await;
}

impl Drop for Connection {
    fn drop(&mut self) {
        for opened in lock(&self.channels).values() {
            opened.inbox.close();
        }
    }
}

impl Handler for Connection {
    type Error = ConnectionError;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        let banner = self.shared.accounts.current().login.banner.clone();
        // RFC 4252 section 5.4: lines end with CR LF, and clients print it as it comes.
        Ok(banner.map(|text| text.lines().flat_map(|line| [line, "\r\n"]).collect()))
    }

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        self.asked();
        Ok(reject())
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        self.asked();
        if self.knows(user, offer.public_key) {
            return Ok(Auth::Accept);
        }
        self.keys_refused += 1;
        if self.keys_refused > OFFERED_KEYS_MAX {
            return Err(ConnectionError::TooManyKeys);
        }
        Ok(self.refused(user, "publickey"))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        // Asked again: the offer may be older than the configuration.
        if self.knows(user, key.public_key) {
            let by = Proof::Key(key.public_key.clone());
            Ok(self.proven(user, by, "publickey"))
        } else {
            Ok(self.refused(user, "publickey"))
        }
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.asked();
        let accounts = self.shared.accounts.current();
        if accounts.unverifiable(user) {
            warn!(
                user,
                "this password cannot be verified: its hash is none of $5$ and $6$, or asks for too many rounds"
            );
        }
        let check = accounts.password_check(user, password);
        let source = self.peer.ip();
        let wait = lock(&self.shared.backoff).wait(source, now().into_std());
        let Some(wait) = wait else {
            info!(peer = %self.peer, "a password was not looked at: too many of this source wait");
            return Ok(self.refused(user, "password"));
        };
        tokio::time::sleep(wait).await;
        let place = self.shared.password_checks.acquire().await;
        let matches = tokio::task::spawn_blocking(move || check.matches()).await.unwrap_or(false);
        drop(place);
        if matches {
            return Ok(self.proven(user, Proof::Password, "password"));
        }
        lock(&self.shared.backoff).failed(source, now().into_std());
        Ok(self.refused(user, "password"))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.progress.send_replace(self.proven.clone().map(Login::Proven));
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let limits = &self.shared.limits;
        if lock(&self.channels).len() >= limits.channels_per_connection {
            info!(peer = %self.peer, limit = limits.channels_per_connection, "channel refused: too many are open");
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        // The library's own queue blocks the connection when it is full. Without a reader it is never filled; what
        // arrives comes to `data` below.
        let (read, write) = channel.split();
        drop(read);
        let inbox = Inbox::new(self.gate.clone(), limits.unread_pause, limits.unread_max);
        lock(&self.channels).insert(id, Opened { inbox, write: Some(write), terminal: None });
        reply.accept().await;
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _session: &mut Session) -> Result<(), Self::Error> {
        // Before a service is started nobody can read, and nobody decent writes.
        let started = |opened: &&Opened| opened.write.is_none();
        let serving = lock(&self.channels).get(&channel).filter(started).map(|opened| opened.inbox.clone());
        let Some(inbox) = serving else { return Ok(()) };
        let max = self.shared.limits.unread_max;
        inbox.push(data).map_err(|_| {
            warn!(peer = %self.peer, user = self.proven.as_ref().map(|proven| &*proven.user), max, "connection ended: the client sends and does not read");
            ConnectionError::Overflow(max)
        })
    }

    async fn channel_eof(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        if let Some(opened) = lock(&self.channels).get(&channel) {
            opened.inbox.end();
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        let opened = lock(&self.channels).remove(&channel);
        if let Some(opened) = opened {
            opened.inbox.close();
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let services = self.shared.services.clone();
        match name {
            "netconf" => self.start(channel, session, |start| {
                let serving = services.netconf(start.stream, start.user, start.peer);
                async move {
                    serving.await;
                    0
                }
            }),
            "sftp" => {
                let root = self.shared.root.clone();
                self.start(channel, session, |start| sftp::run(start.stream, root, services, start.user))
            }
            other => {
                info!(peer = %self.peer, subsystem = cut(other, USER_BYTES_MAX), "no such subsystem; there are netconf and sftp");
                Ok(session.channel_failure(channel)?)
            }
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.call(channel, None, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match str::from_utf8(data) {
            Ok(command) if command.len() <= TEXT_BYTES_MAX => self.call(channel, Some(command.to_owned()), session),
            _ => {
                debug!(peer = %self.peer, "command refused: too long or not UTF-8");
                Ok(session.channel_failure(channel)?)
            }
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        col_width: u32,
        row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let kind = cut(term, TEXT_BYTES_MAX).to_owned();
        let terminal = Terminal { kind, columns: col_width, rows: row_height, colours: Colours::default() };
        if let Some(opened) = lock(&self.channels).get_mut(&channel) {
            opened.terminal = Some(watch::Sender::new(terminal));
        }
        Ok(session.channel_success(channel)?)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        col_width: u32,
        row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(Opened { terminal: Some(terminal), .. }) = lock(&self.channels).get(&channel) {
            terminal.send_modify(|terminal| {
                terminal.columns = col_width;
                terminal.rows = row_height;
            });
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let said = match name {
            "COLORTERM" => Colours::Wanted,
            "NO_COLOR" => Colours::Refused,
            _ => return Ok(session.channel_failure(channel)?),
        };
        if !value.is_empty()
            && let Some(Opened { terminal: Some(terminal), .. }) = lock(&self.channels).get(&channel)
        {
            terminal.send_modify(|terminal| terminal.colours = terminal.colours.max(said));
        }
        Ok(session.channel_success(channel)?)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _x11_auth_protocol: &str,
        _x11_auth_cookie: &str,
        _x11_screen_number: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(session.channel_failure(channel)?)
    }
}

/// At most `max` bytes of `text`, for logs and memory.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
