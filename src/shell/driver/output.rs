//! Where a session's text goes: a terminal with pages, or streams.

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Gone;
use super::terminal::Terminal;
use crate::shell::paint::{Ink, painted};

pub(super) enum Output {
    Streams { out: Box<dyn AsyncWrite + Unpin>, errors: Option<Box<dyn AsyncWrite + Unpin>> },
    Terminal(Box<Terminal>),
}

impl Output {
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Output::Terminal(_))
    }

    pub(super) fn terminal(&mut self) -> Option<&mut Terminal> {
        match self {
            Output::Terminal(terminal) => Some(terminal),
            Output::Streams { .. } => None,
        }
    }

    pub(super) async fn print(&mut self, text: &str) -> Result<(), Gone> {
        self.print_in(Ink::Plain, text).await
    }

    pub(super) async fn print_in(&mut self, ink: Ink, text: &str) -> Result<(), Gone> {
        match self {
            Output::Streams { out, .. } => {
                out.write_all(text.as_bytes()).await.map_err(|_| Gone)?;
                out.flush().await.map_err(|_| Gone)
            }
            // Whether it was read to the end is the user's business.
            Output::Terminal(terminal) => {
                let ink = if terminal.editor.has_colours { ink } else { Ink::Plain };
                terminal.print(&painted(ink, text)).await.map(|_| ())
            }
        }
    }

    /// What went wrong: apart from what was asked for, where there is a place for it.
    pub(super) async fn error(&mut self, text: &str) -> Result<(), Gone> {
        match self {
            Output::Streams { errors: Some(errors), .. } => {
                errors.write_all(text.as_bytes()).await.map_err(|_| Gone)?;
                errors.flush().await.map_err(|_| Gone)
            }
            Output::Streams { errors: None, .. } | Output::Terminal(_) => self.print_in(Ink::Error, text).await,
        }
    }

    /// Waits a while; true at once when the user has had enough of waiting.
    pub(super) async fn rests(&mut self, time: Duration) -> Result<bool, Gone> {
        match self {
            Output::Streams { out, errors } => {
                tokio::time::sleep(time).await;
                // Who has gone is noticed here.
                errors.as_mut().unwrap_or(out).flush().await.map_err(|_| Gone)?;
                Ok(false)
            }
            Output::Terminal(terminal) => tokio::select! {
                interrupted = terminal.interrupted() => interrupted.map(|()| true),
                () = tokio::time::sleep(time) => Ok(false),
            },
        }
    }

    pub(super) async fn finish(&mut self) {
        if let Output::Streams { out, .. } = self {
            // Whoever does not read any more misses nothing.
            let _ = out.flush().await;
        }
    }
}
