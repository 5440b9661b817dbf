//! The bytes of one connection between the socket and its services, within bounds and without deadlock.
//!
//! The SSH library gives window back when bytes arrive, not when they are read, and stops everything while a reader is
//! full. So bytes go to an [`Inbox`] that never blocks, and its bounds are kept one layer below: while a service lags
//! by more than `pause` bytes, [`Transport`] leaves the rest in the socket and TCP slows the client down.
//!
//! ```text
//!            unread > pause, writer free                unread > max
//!   reading ----------------------------> paused      -------------> overflow: the connection ends
//!      ^                                     |         (only reached while the writer waits for the client,
//!      +-------------------------------------+          whose window update may be behind that data)
//!         unread <= pause, or writer waits
//! ```
//!
//! Must not know: what the bytes mean, who the user is.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An inbox that has been larger than this gives its memory back when it is empty.
const IDLE_CAPACITY_MAX: usize = 64 * 1024;

/// The switch of one connection: pauses its reading, or ends it whatever it waits for.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    /// How many inboxes ask for a pause.
    pausing: usize,
    /// Bytes in all inboxes.
    unread: usize,
    /// Bytes that the client has sent.
    heard: u64,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Gate {
    /// Ends the connection now: every read and write of its transport fails.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        wake(&mut state.reader);
        wake(&mut state.writer);
    }

    /// How many bytes the client has sent so far.
    pub(super) fn heard(&self) -> u64 {
        lock(&self.state).heard
    }

    /// Whether we are not listening just now: then the client's silence says nothing about it.
    pub(super) fn paused(&self) -> bool {
        lock(&self.state).pausing > 0
    }

    fn take(&self, count: usize, max: usize) -> Result<(), Overflow> {
        let mut state = lock(&self.state);
        if state.unread + count > max {
            return Err(Overflow);
        }
        state.unread += count;
        Ok(())
    }

    fn release(&self, count: usize) {
        lock(&self.state).unread -= count;
    }

    fn pause(&self, on: bool) {
        let mut state = lock(&self.state);
        if on {
            state.pausing += 1;
        } else {
            state.pausing -= 1;
            if state.pausing == 0 {
                wake(&mut state.reader);
            }
        }
    }
}

/// The socket under the SSH session, read only while the [`Gate`] is open.
pub(super) struct Transport<S> {
    socket: S,
    gate: Arc<Gate>,
}

impl<S> Transport<S> {
    pub(super) fn new(socket: S, gate: Arc<Gate>) -> Self {
        Self { socket, gate }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = lock(&self.gate.state);
            if state.ended {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            state.reader = Some(cx.waker().clone());
            if state.pausing > 0 {
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        lock(&self.gate.state).heard += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Transport<S> {
    fn when_open(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut state = lock(&self.gate.state);
        if state.ended {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        state.writer = Some(cx.waker().clone());
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.when_open(cx)?;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.when_open(cx)?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.when_open(cx)?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The client has sent more than `unread_max` bytes that its services could not take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// What the client has sent on one channel and the service has not read.
pub(super) struct Inbox {
    gate: Arc<Gate>,
    pause_above: usize,
    max: usize,
    state: Mutex<InboxState>,
}

#[derive(Default)]
struct InboxState {
    unread: BytesMut,
    /// The client sends no more.
    ended: bool,
    /// The channel is gone, or the connection: nothing can be written.
    closed: bool,
    /// The service has dropped its end.
    deaf: bool,
    /// We have said that we send no more.
    finished: bool,
    pausing: bool,
    reader: Option<Waker>,
    writers: [Writer; 2],
}

#[derive(Default)]
struct Writer {
    waits: bool,
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn new(gate: Arc<Gate>, pause_above: usize, max: usize) -> Arc<Self> {
        Arc::new(Self { gate, pause_above, max, state: Mutex::default() })
    }

    /// Takes what has arrived. Never waits.
    pub(super) fn push(&self, bytes: &[u8]) -> Result<(), Overflow> {
        let mut state = lock(&self.state);
        if state.deaf || state.closed || state.ended {
            return Ok(());
        }
        self.gate.take(bytes.len(), self.max)?;
        state.unread.extend_from_slice(bytes);
        wake(&mut state.reader);
        self.settle(&mut state);
        Ok(())
    }

    /// The client sends no more.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        wake(&mut state.reader);
    }

    /// The channel is gone: what has arrived can still be read, nothing can be written.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.closed = true;
        wake(&mut state.reader);
        for writer in &mut state.writers {
            wake(&mut writer.waker);
        }
        self.settle(&mut state);
    }

    /// We have said that we send no more.
    pub(super) fn finish(&self) {
        lock(&self.state).finished = true;
    }

    pub(super) fn finished(&self) -> bool {
        lock(&self.state).finished
    }

    fn settle(&self, state: &mut InboxState) {
        let writer_waits = state.writers.iter().any(|writer| writer.waits);
        let pause = state.unread.len() > self.pause_above && !writer_waits && !state.closed && !state.deaf;
        if pause != state.pausing {
            state.pausing = pause;
            self.gate.pause(pause);
        }
    }

    pub(super) fn poll_read(&self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.state);
        if state.unread.is_empty() {
            if state.ended {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buf.remaining().min(state.unread.len());
        buf.put_slice(&state.unread[..count]);
        state.unread.advance(count);
        self.gate.release(count);
        if state.unread.is_empty() && state.unread.capacity() > IDLE_CAPACITY_MAX {
            state.unread = BytesMut::new();
        }
        self.settle(&mut state);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_written<T>(
        &self,
        index: usize,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        {
            let mut state = lock(&self.state);
            if state.closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            state.writers[index].waker = Some(cx.waker().clone());
        }
        let written = write(cx);
        self.writer_waits(index, written.is_pending());
        written
    }

    pub(super) fn writer_waits(&self, index: usize, waits: bool) {
        let mut state = lock(&self.state);
        if state.writers[index].waits != waits {
            state.writers[index].waits = waits;
            self.settle(&mut state);
        }
    }

    pub(super) fn leave(&self) {
        let mut state = lock(&self.state);
        state.deaf = true;
        self.gate.release(state.unread.len());
        state.unread = BytesMut::new();
        state.writers[OUTPUT].waits = false;
        self.settle(&mut state);
    }
}

/// What nobody has read counts no longer.
impl Drop for Inbox {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The writers of a channel.
pub(super) const OUTPUT: usize = 0;
pub(super) const ERRORS: usize = 1;

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A panic elsewhere must not take the connection's bookkeeping with it: every change here is complete in itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::stream::ChannelStream;
    use super::*;

    fn inbox(gate: &Arc<Gate>) -> Arc<Inbox> {
        Inbox::new(gate.clone(), 10, 20)
    }

    #[tokio::test]
    async fn a_lagging_reader_pauses_the_socket_until_it_catches_up() {
        let gate = Arc::new(Gate::default());
        let inbox = inbox(&gate);
        let mut stream = ChannelStream::new(inbox.clone(), Box::pin(tokio::io::sink()));
        inbox.push(&[1; 11]).unwrap();
        assert!(gate.paused());
        stream.read_exact(&mut [0; 5]).await.unwrap();
        assert!(!gate.paused());
    }

    #[tokio::test]
    async fn a_paused_transport_reads_again_when_the_pause_ends() {
        let gate = Arc::new(Gate::default());
        let inbox = inbox(&gate);
        let (near, mut far) = tokio::io::duplex(64);
        let mut transport = Transport::new(near, gate.clone());
        inbox.push(&[1; 11]).unwrap();
        far.write_all(b"later").await.unwrap();
        let reading = tokio::spawn(async move {
            let mut text = [0; 5];
            transport.read_exact(&mut text).await.map(|_| text)
        });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        inbox.leave();
        assert_eq!(&reading.await.unwrap().unwrap(), b"later");
        assert_eq!(gate.heard(), 5);
    }

    #[tokio::test]
    async fn a_waiting_writer_keeps_the_socket_read_up_to_the_hard_bound() {
        let gate = Arc::new(Gate::default());
        let inbox = inbox(&gate);
        let (full, _unread) = tokio::io::duplex(1);
        let mut stream = ChannelStream::new(inbox.clone(), Box::pin(full));
        let writing = tokio::spawn(async move { stream.write_all(b"more than one").await.map(|()| stream) });
        tokio::task::yield_now().await;
        inbox.push(&[1; 15]).unwrap();
        assert!(!gate.paused(), "the client's window update may be next in the socket");
        assert_eq!(inbox.push(&[1; 6]), Err(Overflow));
        inbox.close();
        assert_eq!(writing.await.unwrap().err().map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
    }

    #[tokio::test]
    async fn the_hard_bound_is_of_the_connection_and_what_goes_unread_is_released() {
        let gate = Arc::new(Gate::default());
        let (one, other) = (inbox(&gate), inbox(&gate));
        one.push(&[1; 10]).unwrap();
        other.push(&[1; 10]).unwrap();
        assert_eq!(other.push(&[1; 1]), Err(Overflow));
        drop(one);
        other.push(&[1; 10]).unwrap();
        assert!(gate.paused());
        drop(other);
        assert!(!gate.paused());
        assert_eq!(lock(&gate.state).unread, 0);
    }

    #[tokio::test]
    async fn what_arrived_before_the_end_is_read_first() {
        let gate = Arc::new(Gate::default());
        let inbox = inbox(&gate);
        let mut stream = ChannelStream::new(inbox.clone(), Box::pin(tokio::io::sink()));
        inbox.push(b"last").unwrap();
        inbox.close();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"last");
    }

    #[tokio::test]
    async fn an_ended_connection_fails_a_read_that_waits() {
        let gate = Arc::new(Gate::default());
        let (near, _far) = tokio::io::duplex(64);
        let mut transport = Transport::new(near, gate.clone());
        let reading = tokio::spawn(async move { transport.read_u8().await });
        tokio::task::yield_now().await;
        gate.end();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
