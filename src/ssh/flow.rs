//! The bytes of one connection between the socket and its services, within bounds and without deadlock.
//!
//! The SSH library gives window back when bytes arrive, not when they are read, and stops everything while a reader is
//! full. So bytes go to an [`Inbox`] that never blocks, and its bounds are kept one layer below: while a service lags
//! by more than `pause` bytes, the transport of `gate.rs` leaves the rest in the socket and TCP slows the client down.
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
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::gate::{Gate, Overflow, lock, wake};

/// An inbox that has been larger than this gives its memory back when it is empty.
const IDLE_CAPACITY_MAX: usize = 64 * 1024;

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

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::gate::Transport;
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
        assert_eq!(gate.unread(), 0);
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
}
