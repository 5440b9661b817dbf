//! Doors: how a script on the box opens NETCONF sessions.
//!
//! Each run inherits one end of a socket pair, its door. Through it the script sends one half of a fresh stream socket;
//! what comes through this door is that run, and has the rights of its account. Nothing that the script says counts.
//! A packet without a socket is a line for the system log.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::appmgr;
use crate::appmgr::registration::AppName;
use crate::eem::happening::Happening;
use crate::netconf::driver::{ServeOptions, serve as serve_netconf};
use crate::netconf::layout::Layout;
use crate::northbound::Client;
use crate::northbound::handle::{Handle, Opening};
use crate::request;
use crate::request::run::{Account, RequestId};
use crate::sys::fdpass;
use crate::system::{Record, SystemLog};
use crate::validation;
use crate::validation::driver::Streams;

use super::events::Teller;
use super::shells::Shells;
use super::{lines, news, shell_socket};

/// What a script that looks at commits says with the stream on which it is asked.
const FOR_JUDGING: &[u8] = b"judge";
/// What a script says with a stream on which it wants a shell.
const FOR_A_SHELL: &[u8] = b"shell";
/// Sessions that one run may have open at once.
const SESSIONS_PER_RUN_MAX: usize = 16;
/// The account of a script whose registration names no `username`, and its group.
const DEFAULT_ACCOUNT: &str = "script";
const DEFAULT_GROUP: &str = "scripts";

/// Who tells of runs: the app manager and those who run scripts on request.
pub(super) struct Hearing {
    pub teller: Teller,
    pub apps: mpsc::Receiver<appmgr::driver::Heard>,
    pub requests: mpsc::Receiver<request::driver::Heard>,
    pub judges: mpsc::Receiver<validation::driver::Heard>,
}

/// What is behind doors.
#[derive(Clone)]
pub(super) struct Behind {
    pub northbound: Handle,
    pub options: ServeOptions,
    pub shells: Shells,
    pub syslog: SystemLog,
}

/// Serves the doors of all runs, and passes on what is told of apps and requests.
pub(super) async fn serve(hearing: Hearing, behind: Behind, stop: CancellationToken) {
    let (northbound, syslog) = (behind.northbound.clone(), behind.syslog.clone());
    let Hearing { teller, mut apps, mut requests, mut judges } = hearing;
    let mut doors = JoinSet::new();
    let run =
        |opening: Opening, streams, door| Run { opening, streams, behind: behind.clone() }.attend(door, stop.clone());
    loop {
        tokio::select! {
            heard = apps.recv() => match heard {
                Some(appmgr::driver::Heard::Door { app, run_id, account, door }) => {
                    doors.spawn(run(of_app(&app, run_id, account), None, door));
                }
                Some(appmgr::driver::Heard::Changed { app, status, why, notification }) => {
                    syslog.log(lines::app_changed(app.as_str(), status, why.as_deref()));
                    teller.tell(Happening::App { name: app.to_string(), status: status.to_owned() });
                    northbound.tell(news::event(notification)).await;
                }
                None => return,
            },
            heard = requests.recv() => match heard {
                Some(request::driver::Heard::Door { id, script, account, door }) => {
                    doors.spawn(run(of_request(id, script, account), None, door));
                }
                Some(request::driver::Heard::Changed(changed)) => syslog.log(lines::request_changed(&changed)),
                None => return,
            },
            heard = judges.recv() => match heard {
                Some(validation::driver::Heard::Door { script, door, streams }) => {
                    doors.spawn(run(of_judge(script), Some(streams), door));
                }
                Some(validation::driver::Heard::Said { text, is_trouble }) => {
                    syslog.log(lines::commit_script(text, is_trouble));
                }
                None => return,
            },
            () = stop.cancelled() => return,
            Some(_) = doors.join_next() => {}
        }
    }
}

fn of_app(app: &AppName, run_id: u32, account: Option<String>) -> Opening {
    let groups = if account.is_none() { vec![DEFAULT_GROUP.to_owned()] } else { Vec::new() };
    Opening {
        user: account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned()),
        groups,
        client: Client::Script { app: app.to_string(), run_id },
        origin: format!("app {app} run {run_id}"),
    }
}

/// A script that somebody runs has that person's rights.
fn of_request(id: RequestId, script: String, account: Account) -> Opening {
    let origin = format!("{script} request {id}");
    Opening { user: account.user, groups: account.groups, client: Client::Script { app: script, run_id: id.0 }, origin }
}

/// A script that looks at commits reads what scripts may read, and changes nothing but what it looks at.
fn of_judge(script: String) -> Opening {
    let origin = script.clone();
    let client = Client::Judge { script };
    Opening { user: DEFAULT_ACCOUNT.to_owned(), groups: vec![DEFAULT_GROUP.to_owned()], client, origin }
}

/// One run and what comes through its door.
struct Run {
    opening: Opening,
    /// Where the streams of a script go that looks at commits.
    streams: Option<Streams>,
    behind: Behind,
}

impl Run {
    /// Opens a session for each socket that comes through the door, until the run and all its children are gone.
    async fn attend(self, door: OwnedFd, stop: CancellationToken) {
        // A packet socket in a stream's clothes: only its readiness is used.
        let door = match packets(door) {
            Ok(door) => door,
            Err(trouble) => return warn!(run = self.opening.origin, %trouble, "the run's door cannot be attended"),
        };
        let mut sessions = JoinSet::new();
        loop {
            let received = tokio::select! {
                received = door.async_io(Interest::READABLE, || fdpass::receive(&door).map_err(Into::into)) => received,
                () = stop.cancelled() => break,
                Some(_) = sessions.join_next() => continue,
            };
            let frame = match received {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(trouble) => {
                    warn!(run = self.opening.origin, %trouble, "the run's door broke");
                    break;
                }
            };
            if frame.fds.is_empty() {
                self.line(&frame.bytes);
                continue;
            }
            if sessions.len() >= SESSIONS_PER_RUN_MAX {
                // Dropping the socket ends the script's connection at once.
                warn!(run = self.opening.origin, "all {SESSIONS_PER_RUN_MAX} sessions of this run are in use");
                continue;
            }
            for socket in frame.fds.into_iter().take(1) {
                let stream = StdUnixStream::from(socket);
                let stream = match stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)) {
                    Ok(stream) => stream,
                    Err(trouble) => {
                        debug!(run = self.opening.origin, %trouble, "what came through a door is no stream socket");
                        continue;
                    }
                };
                if let Some(streams) = self.streams.clone().filter(|_| frame.bytes == FOR_JUDGING) {
                    if let Ok(stream) = stream.into_std() {
                        sessions.spawn(served(streams.take(stream)));
                    }
                    continue;
                }
                let Behind { northbound, options, shells, .. } = self.behind.clone();
                if frame.bytes == FOR_A_SHELL {
                    sessions.spawn(shell_socket::converse(stream, self.opening.clone(), shells));
                    continue;
                }
                let options = ServeOptions { layout: Layout::Indented, ..options };
                let serving = serve_netconf(stream, northbound, self.opening.clone(), options);
                sessions.spawn(served(serving));
            }
        }
        // Sessions that are open end by themselves: their other half is closed with the run.
        while sessions.join_next().await.is_some() {}
    }

    /// A packet without a socket is a line for the system log.
    fn line(&self, bytes: &[u8]) {
        match Record::from_packet(bytes) {
            Ok(record) => self.behind.syslog.log(record),
            Err(trouble) => {
                debug!(run = self.opening.origin, %trouble, "a line came through a door that is none")
            }
        }
    }
}

async fn served<T>(serving: impl Future<Output = T>) {
    drop(serving.await);
}

fn packets(socket: OwnedFd) -> std::io::Result<UnixStream> {
    let socket = StdUnixStream::from(socket);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
