//! The switch between a connection's socket and its SSH session: pauses reading, counts what is unread, ends it all.
//!
//! Must not know: channels, what the bytes mean.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

    #[cfg(test)]
    pub(super) fn unread(&self) -> usize {
        lock(&self.state).unread
    }

    pub(super) fn take(&self, count: usize, max: usize) -> Result<(), Overflow> {
        let mut state = lock(&self.state);
        if state.unread + count > max {
            return Err(Overflow);
        }
        state.unread += count;
        Ok(())
    }

    pub(super) fn release(&self, count: usize) {
        lock(&self.state).unread -= count;
    }

    pub(super) fn pause(&self, on: bool) {
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

pub(super) fn wake(waker: &mut Option<Waker>) {
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
    use tokio::io::AsyncReadExt;

    use super::*;

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
