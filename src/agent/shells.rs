//! Shells: where they run and on whose behalf.
//!
//! All of them run on one thread of their own, so that whoever shows a large configuration keeps nobody but other shells
//! waiting. Each opens a NETCONF session of its own inside of the agent, with the rights of its user.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::outside::{Lender, Lending};
use crate::netconf::driver::{ServeOptions, serve as serve_netconf};
use crate::northbound::Caller;
use crate::northbound::handle::{Access, Handle, Opening};
use crate::shell::driver::{self, Setup, Streams};
use crate::shell::grammar::Grammar;
use crate::shell::marks::Marks;
use crate::shell::relay::Window;
use crate::shell::vocabulary::Need;

/// Shells that wait to be started.
const STARTING_MAX: usize = 16;
/// Between a shell and its NETCONF session.
const PIPE_BYTES: usize = 64 * 1024;
/// The exit status when no shell can be had.
const STATUS_NONE: u32 = 255;

/// A stream both ways.
pub(super) type Reading = Box<dyn AsyncRead + Unpin + Send>;
pub(super) type Writing = Box<dyn AsyncWrite + Unpin + Send>;

/// One shell that is asked for.
pub(super) struct Call {
    pub opening: Opening,
    /// Lines to carry out; without them input is read.
    pub commands: Option<String>,
    /// Present when the user has a terminal.
    pub window: Option<watch::Receiver<Window>>,
    pub input: Reading,
    pub output: Writing,
    pub errors: Writing,
    /// Who asked wants to know where in a console it is.
    pub marks: Option<Marks>,
}

/// What every shell needs.
pub(super) struct Common {
    pub grammar: Arc<Grammar>,
    pub node: String,
    pub harddisk: PathBuf,
    pub northbound: Handle,
    pub options: ServeOptions,
    pub lender: Lender,
}

/// Starts shells. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shells {
    calls: mpsc::Sender<(Call, oneshot::Sender<u32>)>,
}

impl Shells {
    /// Starts the thread; it ends when the agent stops.
    pub(super) fn start(common: Common, stop: CancellationToken) -> io::Result<Self> {
        let (calls, mut waiting) = mpsc::channel::<(Call, oneshot::Sender<u32>)>(STARTING_MAX);
        let agent = runtime::Handle::current();
        let local = runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("shells".to_owned()).spawn(move || {
            let common = Rc::new(common);
            let set = LocalSet::new();
            set.block_on(&local, async {
                loop {
                    let (call, done) = tokio::select! {
                        call = waiting.recv() => match call {
                            Some(call) => call,
                            None => return,
                        },
                        () = stop.cancelled() => return,
                    };
                    let (common, agent) = (Rc::clone(&common), agent.clone());
                    tokio::task::spawn_local(async move {
                        let mut done = done;
                        let status = tokio::select! {
                            status = serve(&common, &agent, call) => status,
                            // Who asked has gone.
                            () = done.closed() => return,
                        };
                        let _ = done.send(status);
                    });
                }
            });
        })?;
        Ok(Self { calls })
    }

    /// Runs a shell to its end; its exit status.
    pub(super) async fn run(&self, call: Call) -> u32 {
        let (done, status) = oneshot::channel();
        if self.calls.send((call, done)).await.is_err() {
            warn!("no shell is started any more: the agent stops");
            return STATUS_NONE;
        }
        status.await.unwrap_or(STATUS_NONE)
    }
}

async fn serve(common: &Common, agent: &runtime::Handle, call: Call) -> u32 {
    let Call { opening, commands, window, input, output, errors, marks } = call;
    let caller = Caller {
        groups: opening.groups.clone(),
        ..Caller::without_session(opening.user.clone(), opening.client.clone(), &opening.origin)
    };
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let northbound = common.northbound.clone();
    let lending =
        Lending { lender: common.lender.clone(), northbound: northbound.clone(), caller: caller.clone(), marks };
    let setup = Setup {
        outside: Rc::new(lending),
        grammar: Arc::clone(&common.grammar),
        user: opening.user.clone(),
        origin: opening.origin.clone(),
        node: common.node.clone(),
        harddisk: common.harddisk.clone(),
        zone: TimeZone::system(),
        permit: Rc::new(move |need| -> Pin<Box<dyn Future<Output = Result<(), String>>>> {
            let (northbound, caller) = (northbound.clone(), caller.clone());
            let (path, access) = match need {
                Need::Nothing => return Box::pin(async { Ok(()) }),
                Need::Read(path) => (path, Access::Read),
                Need::Update(path) => (path, Access::Update),
                Need::Execute(path) => (path, Access::Execute),
            };
            Box::pin(
                async move { northbound.permits(&caller, path, access).await.map_err(|refusal| refusal.to_string()) },
            )
        }),
    };
    agent.spawn(serve_netconf(far, common.northbound.clone(), opening, common.options.clone()));
    match (commands, window) {
        (None, Some(window)) => driver::serve_terminal(near, setup, input, output, window).await,
        (None, None) => driver::serve_lines(near, setup, Streams { input, output, errors: Some(errors) }).await,
        (Some(commands), _) => {
            let streams = Streams { input, output, errors: Some(errors) };
            driver::serve_commands(near, setup, streams, &commands).await
        }
    }
}
