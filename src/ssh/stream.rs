//! One channel as a service sees it: a stream of bytes each way, and a standard error.
//!
//! Must not know: what the bytes mean.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::{ERRORS, Inbox, OUTPUT};

type Sink = Pin<Box<dyn AsyncWrite + Send>>;

/// One channel as a service sees it. Writing waits for the client's window; reading ends when the client has ended,
/// closed the channel or gone.
pub struct ChannelStream {
    inbox: Arc<Inbox>,
    sink: Sink,
}

impl ChannelStream {
    pub(super) fn new(inbox: Arc<Inbox>, sink: Sink) -> Self {
        Self { inbox, sink }
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inbox.poll_read(cx, buf)
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = &mut *self;
        this.inbox.poll_written(OUTPUT, cx, |cx| this.sink.as_mut().poll_write(cx, buf))
    }

    /// What is written is on its way: only the client's window delays it.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inbox.finished() {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        ready!(this.inbox.poll_written(OUTPUT, cx, |cx| this.sink.as_mut().poll_shutdown(cx)))?;
        self.inbox.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for ChannelStream {
    fn drop(&mut self) {
        self.inbox.leave();
    }
}

/// The standard error of a channel.
pub struct ErrorStream {
    inbox: Arc<Inbox>,
    sink: Sink,
}

impl ErrorStream {
    pub(super) fn new(inbox: Arc<Inbox>, sink: Sink) -> Self {
        Self { inbox, sink }
    }
}

impl AsyncWrite for ErrorStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = &mut *self;
        this.inbox.poll_written(ERRORS, cx, |cx| this.sink.as_mut().poll_write(cx, buf))
    }

    /// Tells those who write nothing for long whether there still is a client.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if self.inbox.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) })
    }

    /// The end of a channel is said on its standard output.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for ErrorStream {
    fn drop(&mut self) {
        self.inbox.writer_waits(ERRORS, false);
    }
}
