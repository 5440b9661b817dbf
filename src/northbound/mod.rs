//! The front door: everything a front end may ask, and every answer.
//!
//! A front end (NETCONF session, shell, script) turns bytes into a [`Request`]; the northbound authorises it (NACM),
//! carries it out on the datastores, asks the providers, and answers with a [`Response`] or with [`Refusal`]s.
//!
//! Must not know: framing, SSH, process ids, ptys.

pub mod abilities;
mod access;
mod best_effort;
mod calling;
mod candidates;
mod committing;
mod confirming;
mod direct;
pub mod driver;
pub mod filter;
mod getting;
mod grouping;
pub mod handle;
mod history;
mod history_state;
pub mod judging;
pub mod mailbox;
pub mod nacm;
pub mod nmda;
pub mod notifications;
pub mod own_state;
mod partial_locking;
pub mod provider;
mod pushing;
mod reading;
pub mod refusal;
pub mod router;
mod secrets;
pub mod sessions;
mod sight;
pub mod startup;
mod subscribing;
pub mod subscriptions;
#[cfg(test)]
mod testing;
pub mod url;
pub mod urls;
pub mod wanted;
mod writing;

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

pub use self::candidates::Candidates;
use self::filter::{Filter, XPath};
pub use self::refusal::{Kind, Refusal};
pub use self::secrets::{Conceal, Secret};
use crate::datastore::confirmed;
use crate::datastore::recovery::NotPlaced;

/// RFC 6241 section 8.1: a positive number, unique among the sessions of this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u32);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who asks. Made by a front end after authentication, handed over with [`Request`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub session: SessionId,
    pub user: String,
    /// Groups that the transport vouches for, beside those that NACM is configured with.
    pub groups: Vec<String>,
    pub client: Client,
    /// Where from, for people: `192.0.2.7:40122`, `local`, `app my-process-app run 1632914459`.
    pub origin: String,
}

impl Caller {
    /// One who comes by a door that opens no NETCONF session: without a number, and without locks.
    pub fn without_session(user: impl Into<String>, client: Client, origin: impl fmt::Display) -> Self {
        let (user, origin) = (user.into(), origin.to_string());
        Self { session: SessionId(0), user, groups: Vec::new(), client, origin }
    }
}

/// By which door a caller came in; the commit history shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// NETCONF over SSH.
    Netconf,
    /// NETCONF over TLS.
    Tls,
    /// The commit-based shell.
    Shell,
    /// The same on the box, with the rights of [`Client::Local`].
    LocalShell,
    /// A script on the box, named by the app (or request) it runs for.
    Script { app: String, run_id: u32 },
    /// A script that looks at commits.
    Judge { script: String },
    /// A program on the box with the agent's own account, over the local socket.
    Local,
    /// The agent itself, at start.
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datastore {
    Running,
    Candidate,
    Startup,
}

/// Stored configuration that the modules have no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub nodes: Vec<NotPlaced>,
    /// The folder that the files which hold it were copied to.
    pub kept_in: PathBuf,
}

/// Where a configuration comes from in copy-config and validate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Datastore(Datastore),
    /// The XML of the children of `<config>`; see [`Fragment`].
    Inline(Fragment),
}

/// A piece of XML cut out of a message: zero or more sibling elements. The namespace declarations that were in scope
/// around it have been added to each of its top elements, so it can be parsed alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment(pub Bytes);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultOperation {
    #[default]
    Merge,
    Replace,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TestOption {
    #[default]
    TestThenSet,
    Set,
    TestOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorOption {
    #[default]
    StopOnError,
    ContinueOnError,
    RollbackOnError,
}

/// The parameters of commit: RFC 6241 section 8.4.5, and the notes of `procyon-history`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitOptions {
    pub confirm: confirmed::Asked,
    pub label: Option<String>,
    pub comment: Option<String>,
    /// What is refused stays in the candidate and is named; all else is committed.
    pub best_effort: bool,
}

/// RFC 6243 retrieval modes; our basic mode is explicit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithDefaults {
    #[default]
    Explicit,
    ReportAll,
    ReportAllTagged,
    Trim,
}

impl WithDefaults {
    /// Also what nobody has set.
    pub fn tells_all(self) -> bool {
        matches!(self, Self::ReportAll | Self::ReportAllTagged)
    }
}

/// An RFC 6241 operation, or an rpc or action that some YANG module defines.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Get {
        filter: Option<Filter>,
        with_defaults: WithDefaults,
    },
    GetConfig {
        source: Datastore,
        filter: Option<Filter>,
        with_defaults: WithDefaults,
    },
    EditConfig {
        target: Datastore,
        default_operation: DefaultOperation,
        test_option: TestOption,
        error_option: ErrorOption,
        config: Fragment,
    },
    CopyConfig {
        target: Datastore,
        source: Source,
    },
    DeleteConfig {
        target: Datastore,
    },
    Lock {
        target: Datastore,
    },
    Unlock {
        target: Datastore,
    },
    Validate {
        source: Source,
    },
    Commit(CommitOptions),
    /// RFC 6241 section 8.4.4.1.
    CancelCommit {
        persist_id: Option<String>,
    },
    DiscardChanges,
    /// From now on the session edits a candidate of its own; a front end asks for it before anything else.
    UsePrivateCandidate,
    KillSession {
        session: SessionId,
    },
    GetSchema {
        identifier: String,
        version: Option<String>,
        format: Option<String>,
    },
    /// RFC 8526.
    GetData(nmda::Asked),
    EditData {
        target: Datastore,
        default_operation: DefaultOperation,
        config: Fragment,
    },
    /// RFC 6241 section 8.8: `then` lacks its configuration, which is at `url`.
    WithUrl {
        url: url::Url,
        then: Box<Request>,
    },
    /// copy-config with a URL as its target.
    CopyToUrl {
        url: url::Url,
        source: Source,
        with_defaults: WithDefaults,
    },
    DeleteUrl {
        url: url::Url,
    },
    /// RFC 5717.
    PartialLock {
        selects: Vec<XPath>,
    },
    PartialUnlock {
        id: u32,
    },
    /// RFC 5277: from the answer on, notifications come to the session's mailbox.
    CreateSubscription(notifications::Wish),
    /// An rpc of any other module: the operation element itself.
    Invoke {
        operation: Fragment,
    },
    /// RFC 7950 section 7.15: the content of the `<action>` element.
    Action {
        action: Fragment,
    },
}

impl Request {
    /// Whether a commit may come of it at once; rpcs of modules aside.
    pub(super) fn may_commit(&self) -> bool {
        match self {
            Self::Commit(_) => true,
            Self::EditConfig { target, .. } | Self::EditData { target, .. } | Self::CopyConfig { target, .. } => {
                *target == Datastore::Running
            }
            _ => false,
        }
    }
}

/// What a front end is answered when nothing was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    Ok,
    /// The children of `<data>`: compact XML, default namespaces, no prefixes except in values that need them.
    Data(Bytes),
    /// The children of `<rpc-reply>`: what an rpc or action returned, as compact XML.
    Output(Bytes),
    /// The text of a YANG module (RFC 6022 get-schema); the front end escapes it.
    Schema(String),
}

/// Several refusals may answer one request (RFC 6241 section 4.3). Never empty.
pub type Answer = Result<Response, Vec<Refusal>>;

/// Why a session is over; counted by monitoring (RFC 6022) and told by netconf-session-end (RFC 6470).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    Closed,
    Killed { by: SessionId },
    Dropped,
    Timeout,
    BadHello,
    Other,
}
