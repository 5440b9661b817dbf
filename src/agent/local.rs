//! NETCONF on the box: a Unix socket whose mode lets in the agent's own account (and root) only. Who connects is known
//! from the kernel, not from what is said.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::netconf::driver::{ServeOptions, serve as serve_netconf};
use crate::northbound::Client;
use crate::northbound::handle::{Handle, Opening};

/// Connections at once; a further one waits in the backlog.
const CONNECTIONS_MAX: usize = 256;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // The folder lets in nobody else, so there is no moment in which the socket is open to others.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

pub(super) async fn serve(listener: UnixListener, northbound: Handle, options: ServeOptions, stop: CancellationToken) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = sessions.join_next() => {}
            stream = accept(&listener), if sessions.len() < CONNECTIONS_MAX => {
                let Some(stream) = stream else { continue };
                match opening(&stream, Client::Local) {
                    Ok(opening) => {
                        sessions.spawn(serve_netconf(stream, northbound.clone(), opening, options.clone()));
                    }
                    Err(trouble) => warn!(%trouble, "a local connection without credentials was closed"),
                }
            }
        }
    }
}

/// The next connection; nothing, after a pause, where there is none to be had.
pub(super) async fn accept(listener: &UnixListener) -> Option<UnixStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(trouble) => {
            warn!(%trouble, "a local connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Who is at the other end, as the kernel says.
pub(super) fn opening(stream: &UnixStream, client: Client) -> io::Result<Opening> {
    let credentials = stream.peer_cred()?;
    let user = User::from_uid(Uid::from_raw(credentials.uid()))
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {}", credentials.uid()), |user| user.name);
    let origin = credentials.pid().map_or_else(|| "local".to_owned(), |pid| format!("local pid {pid}"));
    Ok(Opening { user, groups: Vec::new(), client, origin })
}
