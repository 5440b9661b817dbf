//! What stands behind SSH channels, signals and the custodian: glue, no decisions.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::alarms::Bell;
use super::console::{self, Consoles};
use super::custody::Custody;
use super::shells::{Call, Shells};
use super::{lines, news};

use crate::appmgr::driver::Usage;
use crate::netconf::driver::{ServeOptions, serve as serve_netconf};
use crate::northbound::handle::{Access, Handle, Opening};
use crate::northbound::{Caller, Client};
use crate::script;
use crate::script::name::{ScriptName, ScriptType};
use crate::script::repository::ScriptEvent;
use crate::shell::relay::Window;
use crate::ssh::{ChannelStream, Colours, ServiceFuture, ShellCall, Terminal, no_shell};
use crate::system::SystemLog;
use crate::transport::{Front, Manner, TlsStream};

/// The NACM handle of the files that sftp serves.
const FILES: &str = "/procyon-files:harddisk";

/// What is behind every connection.
#[derive(Clone)]
pub(super) struct Services {
    pub consoles: Consoles,
    pub northbound: Handle,
    pub options: ServeOptions,
    pub shells: Shells,
}

impl Services {
    fn serving<S>(&self, stream: S, opening: Opening) -> ServiceFuture<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { northbound, options, .. } = self.clone();
        Box::pin(async move {
            serve_netconf(stream, northbound, opening, options).await;
        })
    }

    fn in_manner(&self, manner: Manner) -> Self {
        let options = ServeOptions { idle_timeout: manner.idle, closed: manner.closed, ..self.options.clone() };
        Self {
            options,
            consoles: self.consoles.clone(),
            northbound: self.northbound.clone(),
            shells: self.shells.clone(),
        }
    }
}

impl Front for Services {
    fn services(&self, manner: Manner) -> Arc<dyn crate::ssh::Services> {
        Arc::new(self.in_manner(manner))
    }

    fn netconf(&self, stream: TlsStream, user: String, peer: SocketAddr, manner: Manner) -> ServiceFuture<()> {
        let opening = Opening { user, groups: Vec::new(), client: Client::Tls, origin: peer.to_string() };
        self.in_manner(manner).serving(stream, opening)
    }
}

impl crate::ssh::Services for Services {
    fn netconf(&self, stream: ChannelStream, user: String, peer: SocketAddr) -> ServiceFuture<()> {
        let opening = Opening { user, groups: Vec::new(), client: Client::Netconf, origin: peer.to_string() };
        self.serving(stream, opening)
    }

    fn shell(&self, call: ShellCall) -> ServiceFuture<u32> {
        if let Some(words) = call.command.as_deref().and_then(console::words) {
            let words = words.to_owned();
            return Box::pin(self.consoles.clone().serve(call, words));
        }
        if call.command.as_deref().is_some_and(|command| command.starts_with("scp ")) {
            return no_shell(call);
        }
        let shells = self.shells.clone();
        Box::pin(async move {
            let opening =
                Opening { user: call.user, groups: Vec::new(), client: Client::Shell, origin: call.peer.to_string() };
            let (input, output) = tokio::io::split(call.stream);
            let (input, output, errors) = (Box::new(input), Box::new(output), Box::new(call.errors));
            let window = call.terminal.map(windows);
            shells.run(Call { opening, commands: call.command, window, input, output, errors, marks: None }).await
        })
    }

    fn file_access(&self, user: &str, _: &str, access: Access) -> ServiceFuture<Result<(), String>> {
        let caller = Caller::without_session(user, Client::Netconf, "sftp");
        let northbound = self.northbound.clone();
        Box::pin(async move { northbound.permits(&caller, FILES, access).await.map_err(|refusal| refusal.to_string()) })
    }
}

/// The client's window as a shell wants it.
fn windows(mut terminal: watch::Receiver<Terminal>) -> watch::Receiver<Window> {
    let of = |terminal: &Terminal| Window {
        kind: terminal.kind.clone(),
        columns: terminal.columns,
        rows: terminal.rows,
        has_colours: terminal.colours == Colours::Wanted,
    };
    let (sender, window) = watch::channel(of(&terminal.borrow_and_update()));
    tokio::spawn(async move {
        // Ends with the channel, or with the shell that looks at it.
        loop {
            tokio::select! {
                changed = terminal.changed() => match changed {
                    Ok(()) => drop(sender.send(of(&terminal.borrow_and_update()))),
                    // The window stays as it was; what has ended is told by the streams.
                    Err(_) => return sender.closed().await,
                },
                () = sender.closed() => return,
            }
        }
    });
    window
}

/// What tells the agent to end. It is listened to before anybody is told that the agent serves.
pub(super) struct Orders {
    terminate: Signal,
    interrupt: Signal,
}

impl Orders {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Says so when the custodian is gone: everything goes on, but nothing restarts what dies.
/// `socket` is readable when there is something to hear.
pub(super) async fn watch_custodian(
    custody: Custody,
    socket: OwnedFd,
    syslog: SystemLog,
    bell: Bell,
    stop: CancellationToken,
) {
    bell.custodian(false).await;
    // Only its readiness is used: what there is to read is read there.
    let Ok(socket) = UnixStream::from_std(socket.into()) else { return };
    loop {
        let received = socket.async_io(Interest::READABLE, || match custody.receive() {
            Ok(None) => Err(ErrorKind::WouldBlock.into()),
            Ok(Some(_)) => Ok(true),
            Err(_) => Ok(false),
        });
        let is_there = tokio::select! {
            received = received => received.unwrap_or(false),
            () = stop.cancelled() => return,
        };
        if !is_there {
            error!("the custodian is gone: agent and keeper go on, but nobody restarts them");
            syslog.log(lines::custodian_gone());
            bell.custodian(true).await;
            return;
        }
    }
}

/// Repository events as lines of the system log, and as notifications.
pub(super) async fn script_events(
    mut events: mpsc::Receiver<ScriptEvent>,
    northbound: Handle,
    syslog: SystemLog,
    bell: Bell,
) {
    bell.forget_scripts().await;
    while let Some(event) = events.recv().await {
        let (text, is_trouble) = in_words(&event);
        if is_trouble {
            warn!("{text}");
        } else {
            info!("{text}");
        }
        syslog.log(lines::script(text, is_trouble));
        if let Some(notification) = news::script(&event) {
            northbound.tell(news::event(notification)).await;
        }
        bell.script(&event).await;
    }
}

fn in_words(event: &ScriptEvent) -> (String, bool) {
    match event {
        ScriptEvent::Added { key, sum } => {
            (format!("{} script {} added, sha256 {sum}", key.script_type, key.name), false)
        }
        ScriptEvent::Modified { key, sum } => {
            (format!("{} script {} modified, sha256 {sum}", key.script_type, key.name), false)
        }
        ScriptEvent::Deleted { key } => (format!("{} script {} deleted", key.script_type, key.name), false),
        ScriptEvent::StatusChanged { key, status } => {
            (format!("{} script {} is now: {status}", key.script_type, key.name), false)
        }
        ScriptEvent::ChecksumMismatch { key, expected, found } => (
            format!(
                "Checksum Mismatch: {} script {} has sha256 {found}, the configuration says {expected}",
                key.script_type, key.name
            ),
            true,
        ),
    }
}

/// Which scripts apps run: asked by the repository, known by the app manager, and neither knows the other.
pub(super) struct InUse(pub Arc<Usage>);

impl script::plan::InUse for InUse {
    fn apps_using(&self, script_type: ScriptType, name: &ScriptName) -> Vec<String> {
        match script_type {
            ScriptType::Process => self.0.apps_using(name.as_str()),
            ScriptType::Config | ScriptType::Exec | ScriptType::Eem | ScriptType::Precommit => Vec::new(),
        }
    }
}
