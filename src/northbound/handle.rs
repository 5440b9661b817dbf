//! The way in: what front ends hold. One bounded queue leads to the northbound's task (`driver.rs`).

use tokio::sync::{mpsc, oneshot, watch};

use super::mailbox::Mailbox;
use super::{Answer, Caller, Client, Kind, Refusal, Request, SessionEnd, SessionId};
use crate::yang::value::Element;

/// Requests that wait for the northbound; a front end that finds the queue full waits its turn.
pub const REQUESTS_WAITING_MAX: usize = 1024;

/// Everything that can wake the northbound.
#[derive(Debug)]
pub enum Input {
    Open {
        opening: Opening,
        reply: oneshot::Sender<Result<Ticket, Refusal>>,
    },
    Ask {
        caller: Caller,
        request: Request,
        reply: oneshot::Sender<Answer>,
    },
    Permit {
        caller: Caller,
        path: String,
        access: Access,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Close {
        session: SessionId,
        end: SessionEnd,
    },
    /// Something happened that subscribers may want to hear of.
    Event(Event),
    /// A provider has answered; the closure goes on where the request left off, in the northbound's own turn.
    Resume(Continuation),
    Stop {
        reply: oneshot::Sender<()>,
    },
}

impl Input {
    /// Whether it may end a session, its locks or its candidate: a commit that was asked before comes before it.
    pub(super) fn may_end_what_waits(&self) -> bool {
        match self {
            Self::Close { .. } | Self::Stop { .. } => true,
            Self::Ask { request, .. } => !matches!(
                request,
                Request::Get { .. }
                    | Request::GetConfig { .. }
                    | Request::GetSchema { .. }
                    | Request::EditConfig { .. }
            ),
            Self::Open { .. } | Self::Permit { .. } | Self::Event(_) | Self::Resume(_) => false,
        }
    }
}

/// Work that goes on after a provider's future is done. Runs in the northbound's turn.
pub struct Continuation(pub Box<dyn FnOnce(&mut super::driver::Northbound) + Send>);

impl std::fmt::Debug for Continuation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Continuation")
    }
}

/// What happened, as a notification of some module, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: jiff::Timestamp,
    pub element: Element,
}

/// What a transport knows of a new session.
#[derive(Debug, Clone)]
pub struct Opening {
    pub user: String,
    pub groups: Vec<String>,
    pub client: Client,
    pub origin: String,
}

/// What a session holds while it is open.
#[derive(Debug)]
pub struct Ticket {
    pub caller: Caller,
    /// Turns to the killer when somebody has killed this session; the front end then ends it.
    pub killed: watch::Receiver<Option<SessionId>>,
    /// Notifications for this session, once it has subscribed.
    pub mailbox: Mailbox,
    /// The capabilities to say in hello, base ones included.
    pub capabilities: Vec<String>,
}

/// RFC 8341 access to one data path, asked by doors that are not NETCONF (sftp, consoles).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Update,
    /// Of an rpc.
    Execute,
}

/// A front end's end of the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
}

impl Handle {
    pub fn new() -> (Self, mpsc::Receiver<Input>) {
        let (inputs, receiver) = mpsc::channel(REQUESTS_WAITING_MAX);
        (Self { inputs }, receiver)
    }

    pub(super) fn sender(&self) -> mpsc::Sender<Input> {
        self.inputs.clone()
    }

    /// Opens a session. Refused (resource-denied) when the session limit is reached.
    pub async fn open(&self, opening: Opening) -> Result<Ticket, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Open { opening, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Asks and waits for the answer. Callers that pipeline ask one at a time: RFC 6241 wants replies in order.
    pub async fn ask(&self, caller: &Caller, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Ask { caller: caller.clone(), request, reply }).await.map_err(|_| vec![stopping()])?;
        answer.await.map_err(|_| vec![stopping()])?
    }

    /// Whether `caller` may read or update the data at `path` (NACM).
    pub async fn permits(&self, caller: &Caller, path: &str, access: Access) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Permit { caller: caller.clone(), path: path.to_owned(), access, reply };
        self.inputs.send(input).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Tells subscribers, and the log, of something that happened.
    pub async fn tell(&self, event: Event) {
        // A northbound that is gone has nobody to tell.
        let _ = self.inputs.send(Input::Event(event)).await;
    }

    /// Ends a session: its locks go, its candidate edits too where RFC 6241 says so.
    pub async fn close(&self, session: SessionId, end: SessionEnd) {
        // A northbound that is gone has no locks to release.
        let _ = self.inputs.send(Input::Close { session, end }).await;
    }

    /// Waits until everything asked before is done, then ends the northbound.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Stop { reply }).await.is_ok() {
            let _ = answer.await;
        }
    }
}

fn stopping() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the agent is shutting down").mend("try again when it serves")
}
