//! `procyon shell` on the box: a Unix socket whose mode lets in the agent's own account (and root) only. The command at the
//! other end has a terminal and nothing else; the shell runs here, with the rights of the account that the kernel names.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::local::{accept, opening};
use super::shells::{Call, Shells};
use crate::northbound::Client;
use crate::northbound::handle::Opening;
use crate::shell::marks::Marks;
use crate::shell::relay::{ASKING_BYTES_MAX, Asking, Frame, Window};

/// Shells at once; a further one waits in the backlog.
const CONNECTIONS_MAX: usize = 64;
const PIPE_BYTES: usize = 64 * 1024;
/// Frames on their way to the command.
const FRAMES_WAITING_MAX: usize = 16;

pub(super) async fn serve(listener: UnixListener, shells: Shells, stop: CancellationToken) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = sessions.join_next() => {}
            stream = accept(&listener), if sessions.len() < CONNECTIONS_MAX => {
                if let Some(stream) = stream {
                    sessions.spawn(attend(stream, shells.clone()));
                }
            }
        }
    }
}

async fn attend(stream: UnixStream, shells: Shells) {
    let opening = match opening(&stream, Client::LocalShell) {
        Ok(opening) => opening,
        Err(trouble) => return warn!(%trouble, "a local shell without credentials was closed"),
    };
    converse(stream, opening, shells).await;
}

/// A shell for whoever is at the other end, on behalf of `opening`.
pub(super) async fn converse(stream: UnixStream, opening: Opening, shells: Shells) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let asked = (&mut reader).take(ASKING_BYTES_MAX).read_line(&mut line).await;
    let asking: Asking = match asked.map(|_| serde_json::from_str(&line)) {
        Ok(Ok(asking)) => asking,
        Ok(Err(trouble)) => return warn!(%trouble, "what came to the shell's socket does not ask for one"),
        Err(trouble) => return warn!(%trouble, "a local shell could not be asked for"),
    };
    let (input, typed) = tokio::io::duplex(PIPE_BYTES);
    let (output, shown) = tokio::io::duplex(PIPE_BYTES);
    let (errors, wrong) = tokio::io::duplex(PIPE_BYTES);
    let (frames, mut waiting) = mpsc::channel::<Frame>(FRAMES_WAITING_MAX);
    let (resized, window) = match asking.terminal {
        Some(window) => {
            let (resized, watched) = watch::channel(window);
            (Some(resized), Some(watched))
        }
        None => (None, None),
    };
    let (stays, gone) = oneshot::channel::<()>();
    let taking = tokio::spawn(take_frames(reader, input, resized, stays));
    let telling = tokio::spawn(async move {
        while let Some(frame) = waiting.recv().await {
            if writer.write_all(&frame.encode()).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    let pumps = [
        tokio::spawn(pump(output, frames.clone(), Frame::Output)),
        tokio::spawn(pump(errors, frames.clone(), Frame::Errors)),
    ];
    let call = Call {
        opening,
        commands: asking.commands,
        window,
        input: Box::new(typed),
        output: Box::new(shown),
        errors: Box::new(wrong),
        marks: asking.marks.as_deref().map(Marks::new),
    };
    let status = tokio::select! {
        status = shells.run(call) => status,
        // The command has been killed, or its terminal has gone: nobody waits for a status.
        _ = gone => return pumps.iter().for_each(|pump| pump.abort()),
    };
    for pump in pumps {
        // All that was written goes before the status.
        let _ = pump.await;
    }
    let _ = frames.send(Frame::Exit(status)).await;
    drop(frames);
    let _ = telling.await;
    taking.abort();
}

async fn pump(mut from: DuplexStream, frames: mpsc::Sender<Frame>, frame: fn(Vec<u8>) -> Frame) {
    let mut buffer = vec![0; PIPE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if frames.send(frame(buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

/// What is typed, until the command has gone; then `stays` is dropped.
async fn take_frames(
    mut reader: impl AsyncRead + Unpin,
    input: impl AsyncWrite + Unpin,
    resized: Option<watch::Sender<Window>>,
    stays: oneshot::Sender<()>,
) {
    let mut input = Some(input);
    let mut bytes = Vec::new();
    loop {
        let mut taken = 0;
        while let Ok(Some((frame, length))) = Frame::decode(&bytes[taken..]) {
            taken += length;
            match frame {
                Frame::Input(typed) => {
                    if let Some(open) = &mut input
                        && open.write_all(&typed).await.is_err()
                    {
                        input = None;
                    }
                }
                Frame::EndOfInput => input = None,
                Frame::Resized { columns, rows } => {
                    if let Some(resized) = &resized {
                        resized.send_modify(|window| (window.columns, window.rows) = (columns, rows));
                    }
                }
                Frame::Output(_) | Frame::Errors(_) | Frame::Exit(_) => {}
            }
        }
        if Frame::decode(&bytes[taken..]).is_err() {
            return drop(stays);
        }
        bytes.drain(..taken);
        let mut buffer = [0; 16 * 1024];
        match reader.read(&mut buffer).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            _ => return drop(stays),
        }
    }
}
