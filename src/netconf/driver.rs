//! Serves one client over one stream: a single task that never waits on one thing alone.
//!
//! The loop reads whatever arrives, writes whatever is due, and waits for the answer under way, all at once. It never
//! stops reading to write (an SSH transport would stall with it): what that could pile up is bounded by the session.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::counters::Counters;
use super::error::Namespaces;
use super::framing::MESSAGE_BYTES_MAX;
use super::layout::Layout;
use super::outbox::Outbox;
use super::session::{Action, Input, Session, Setup};
use crate::northbound::handle::{Handle, Opening, Ticket};
use crate::northbound::mailbox::Mailbox;
use crate::northbound::{Answer, Caller, Client, Request, SessionEnd, SessionId};

/// The default for how long a client may take to say hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// One read takes at most this; an SSH packet fits.
const READ_BYTES: usize = 32 * 1024;

/// A client that is being closed and reads nothing for this long does not get its last replies.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);

/// The default for how long a half-closed client may read nothing before it counts as gone.
pub const STALLED_TIMEOUT: Duration = Duration::from_secs(60);

/// What a front end chooses for its sessions.
#[derive(Clone)]
pub struct ServeOptions {
    pub layout: Layout,
    pub message_bytes_max: usize,
    pub hello_timeout: Duration,
    pub stalled_timeout: Duration,
    /// How long a session without a subscription may ask nothing; for ever where there is none.
    pub idle_timeout: Option<Duration>,
    /// Set when the client has closed its session, before it can know of it.
    pub closed: Option<Arc<AtomicBool>>,
    pub names: Arc<dyn Namespaces>,
    pub counters: Arc<Counters>,
    /// Who reads requests that are not written in the words of the northbound.
    pub edge: Option<Arc<dyn Edge>>,
}

/// Another way to write what requests say: it is translated here, on its way in and out.
pub trait Edge: Send + Sync {
    /// Whether a request is written that way; asked of each.
    fn concerns(&self, request: &Request) -> bool;

    fn ask(&self, northbound: Handle, caller: Caller, request: Request) -> Asked;
}

impl ServeOptions {
    /// The named defaults and a compact layout.
    pub fn new(names: Arc<dyn Namespaces>, counters: Arc<Counters>) -> Self {
        Self {
            layout: Layout::Compact,
            message_bytes_max: MESSAGE_BYTES_MAX,
            hello_timeout: HELLO_TIMEOUT,
            stalled_timeout: STALLED_TIMEOUT,
            idle_timeout: None,
            closed: None,
            names,
            counters,
            edge: None,
        }
    }
}

/// Serves until the session is over, and says why it is. The northbound hears of the end exactly once, also when this
/// future is dropped.
pub async fn serve<S>(stream: S, northbound: Handle, opening: Opening, options: ServeOptions) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (user, origin) = (opening.user.clone(), opening.origin.clone());
    let Ticket { caller, killed, mailbox, capabilities } = match northbound.open(opening).await {
        Ok(ticket) => ticket,
        Err(refusal) => {
            warn!(%user, %origin, %refusal, "session refused");
            return SessionEnd::Other;
        }
    };
    let session = caller.session;
    // A script may open a session each second; people do not.
    let is_script = matches!(caller.client, Client::Script { .. } | Client::Judge { .. });
    if is_script {
        debug!(%session, %user, %origin, "session opened");
    } else {
        info!(%session, %user, %origin, "session opened");
    }
    let mut close = CloseOnce { northbound: Some(northbound.clone()), session };

    let mut outbox = Outbox::default();
    let setup = Setup {
        session,
        capabilities,
        layout: options.layout,
        message_bytes_max: options.message_bytes_max,
        names: options.names,
        counters: options.counters.open(session),
    };
    let machine = Session::new(setup, &mut outbox);
    let (reader, writer) = tokio::io::split(stream);
    let mut served = Served { machine, outbox, reader, writer, killed, mailbox, unflushed: true, readable: true };
    let ask = |request| -> Asked {
        let (northbound, caller) = (northbound.clone(), caller.clone());
        if let Some(edge) = options.edge.as_ref().filter(|edge| edge.concerns(&request)) {
            return edge.ask(northbound, caller, request);
        }
        Box::pin(async move { northbound.ask(&caller, request).await })
    };
    let end = served.run(ask, options.hello_timeout, options.stalled_timeout, options.idle_timeout).await;
    if !matches!(end, SessionEnd::Closed | SessionEnd::Killed { .. } | SessionEnd::BadHello) {
        served.machine.counters().dropped();
    }
    if is_script {
        debug!(%session, %user, ?end, "session closed");
    } else {
        info!(%session, %user, ?end, "session closed");
    }
    if let Some(closed) = options.closed.filter(|_| end == SessionEnd::Closed) {
        closed.store(true, Ordering::Relaxed);
    }
    // Locks go before the last bytes do: a client that dawdles must not keep others waiting.
    close.now(end).await;
    served.last_words().await;
    end
}

/// What comes of a request.
pub type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

struct Served<S> {
    machine: Session,
    outbox: Outbox,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    killed: watch::Receiver<Option<SessionId>>,
    mailbox: Mailbox,
    unflushed: bool,
    readable: bool,
}

impl<S: AsyncRead + AsyncWrite> Served<S> {
    async fn run(
        &mut self,
        ask: impl Fn(Request) -> Asked,
        hello_timeout: Duration,
        stalled_timeout: Duration,
        idle_timeout: Option<Duration>,
    ) -> SessionEnd {
        let mut buffer = vec![0; READ_BYTES];
        let mut under_way: Option<Asked> = None;
        let mut deadline = pin!(sleep(hello_timeout));
        let mut silence = pin!(sleep(idle_timeout.unwrap_or_default()));
        loop {
            let timed = self.machine.awaits_hello() || (self.machine.is_draining() && under_way.is_none());
            let listens = self.machine.listens(&self.outbox);
            let notice;
            // In this order nothing starves: what waits to be answered and written is finite while nothing is read.
            let input = tokio::select! {
                biased;
                by = killer(&mut self.killed) => Input::Killed(by),
                answer = answered(&mut under_way) => Input::Answer(answer),
                written = write_some(&mut self.writer, &mut self.outbox), if self.unflushed || !self.outbox.is_empty() => {
                    match written {
                        Ok(wrote) => self.unflushed = wrote == Wrote::Bytes,
                        Err(error) => {
                            debug!(%error, "the client cannot be written to");
                            return SessionEnd::Dropped;
                        }
                    }
                    Input::Room
                }
                read = self.reader.read(&mut buffer), if self.readable => match read {
                    Ok(0) => {
                        self.readable = false;
                        Input::PeerClosed
                    }
                    Ok(length) => Input::Bytes(&buffer[..length]),
                    Err(error) => {
                        debug!(%error, "the client cannot be read from");
                        return SessionEnd::Dropped;
                    }
                },
                next = self.mailbox.next(), if listens => {
                    notice = next;
                    Input::Notice(&notice)
                }
                () = deadline.as_mut(), if timed => Input::Timeout,
                () = silence.as_mut(), if idle_timeout.is_some() && self.machine.is_idle() => Input::Idle,
            };
            let progressed = !matches!(input, Input::Bytes(_)) || !self.machine.is_draining();
            match self.machine.on(input, &mut self.outbox) {
                Some(Action::Deliver(request)) => under_way = Some(ask(request)),
                Some(Action::End(end)) => return end,
                None => {}
            }
            if let Some(idle_timeout) = idle_timeout {
                silence.as_mut().reset(Instant::now() + idle_timeout);
            }
            if progressed && self.machine.is_draining() {
                deadline.as_mut().reset(Instant::now() + stalled_timeout);
            }
        }
    }

    /// Writes what is left and closes our side, while what the client still sends is read and forgotten.
    async fn last_words(mut self) {
        let writing = async {
            let slow = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
            loop {
                let wrote = timeout(LAST_WORDS_TIMEOUT, write_some(&mut self.writer, &mut self.outbox));
                if wrote.await.map_err(slow)?? == Wrote::Flushed {
                    break;
                }
            }
            timeout(LAST_WORDS_TIMEOUT, self.writer.shutdown()).await.map_err(slow)?
        };
        let forgetting = async {
            let mut buffer = vec![0; READ_BYTES];
            while self.readable && self.reader.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
            pending::<()>().await;
        };
        let written = tokio::select! {
            written = writing => written,
            () = forgetting => Ok(()),
        };
        if let Err(error) = written {
            debug!(%error, "the client did not take its last replies");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Bytes,
    /// There was nothing to write; what had been written is on its way.
    Flushed,
}

/// One write, or a flush when there is nothing to write. May be dropped at any time without losing count.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), outbox: &mut Outbox) -> std::io::Result<Wrote> {
    let front = outbox.front();
    if front.is_empty() {
        writer.flush().await?;
        return Ok(Wrote::Flushed);
    }
    let length = writer.write(front).await?;
    if length == 0 {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    outbox.advance(length);
    Ok(Wrote::Bytes)
}

/// Who kills the session; waits for ever where nobody can any more.
async fn killer(killed: &mut watch::Receiver<Option<SessionId>>) -> SessionId {
    match killed.wait_for(Option::is_some).await.ok().and_then(|by| *by) {
        Some(by) => by,
        None => pending().await,
    }
}

async fn answered(under_way: &mut Option<Asked>) -> Answer {
    let Some(asked) = under_way else { return pending().await };
    let answer = asked.await;
    *under_way = None;
    answer
}

/// Tells the northbound that the session is over, even when the task is torn down.
struct CloseOnce {
    northbound: Option<Handle>,
    session: SessionId,
}

impl CloseOnce {
    async fn now(&mut self, end: SessionEnd) {
        if let Some(northbound) = &self.northbound {
            northbound.close(self.session, end).await;
        }
        self.northbound = None;
    }
}

impl Drop for CloseOnce {
    fn drop(&mut self) {
        let Some(northbound) = self.northbound.take() else { return };
        let session = self.session;
        // Outside of a runtime there is no northbound to hear it either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { northbound.close(session, SessionEnd::Dropped).await });
        }
    }
}

#[cfg(test)]
mod tests;
