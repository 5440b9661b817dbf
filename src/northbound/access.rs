//! NACM at the front door: who asks, what the rules say, and how a denial is worded.
//!
//! The rules themselves are `nacm.rs`, which knows no schema; here a request, a node or a change is put to them. Must not
//! know: how a request is carried out.

use std::cell::Cell;
use std::sync::Arc;

use super::handle;
use super::nacm::{self, Counters, DataPath, DefaultDeny, Nacm, Step, Subject};
use super::notifications::Rights;
use super::provider::{Change, Edit};
use super::refusal::Layer;
use super::sight::{Masks, Reader};
use super::{Caller, Client, Kind, Refusal, Request};
use crate::datastore::edit::{self, Touch};
use crate::yang::rpc;
use crate::yang::schema::{NacmDefault, Schema, SchemaNode};
use crate::yang::tree::Tree;
use crate::yang::value::Element;

pub(super) const NACM_ROOT: &str = "/ietf-netconf-acm:nacm";

/// The rules in force, and how often they said no.
pub(super) struct Access {
    schema: &'static Schema,
    nacm: Arc<Nacm>,
    masks: Masks,
    counters: Cell<Counters>,
}

impl Access {
    /// The rules as running has them.
    pub(super) fn read(schema: &'static Schema, running: &Tree) -> Self {
        Self { schema, nacm: compiled(running).into(), masks: Masks::default(), counters: Cell::default() }
    }

    /// After a commit: rules that changed hold for the next request of every session.
    pub(super) fn refresh(&mut self, running: &Tree, changed: &[Change]) {
        if changed.iter().any(|change| change.path.starts_with(NACM_ROOT)) {
            self.nacm = compiled(running).into();
            self.masks.forget();
        }
    }

    /// The counters of `/ietf-netconf-acm:nacm`.
    pub(super) fn state(&self) -> Element {
        self.counters.get().state()
    }

    /// May `caller` call this operation at all? What it touches is asked for later.
    pub(super) fn may_ask(&self, caller: &Caller, request: &Request) -> Result<(), Refusal> {
        let (module, operation) = match request {
            Request::Get { .. } => ("ietf-netconf", "get"),
            Request::GetConfig { .. } => ("ietf-netconf", "get-config"),
            Request::EditConfig { .. } => ("ietf-netconf", "edit-config"),
            Request::CopyConfig { .. } => ("ietf-netconf", "copy-config"),
            Request::DeleteConfig { .. } => ("ietf-netconf", "delete-config"),
            Request::Lock { .. } => ("ietf-netconf", "lock"),
            Request::Unlock { .. } => ("ietf-netconf", "unlock"),
            Request::Validate { .. } => ("ietf-netconf", "validate"),
            Request::Commit(_) => ("ietf-netconf", "commit"),
            Request::CancelCommit { .. } => ("ietf-netconf", "cancel-commit"),
            Request::DiscardChanges => ("ietf-netconf", "discard-changes"),
            Request::KillSession { .. } => ("ietf-netconf", "kill-session"),
            Request::GetData(_) => ("ietf-netconf-nmda", "get-data"),
            Request::EditData { .. } => ("ietf-netconf-nmda", "edit-data"),
            Request::WithUrl { then, .. } => return self.may_ask(caller, then),
            Request::CopyToUrl { .. } => ("ietf-netconf", "copy-config"),
            Request::DeleteUrl { .. } => ("ietf-netconf", "delete-config"),
            Request::PartialLock { .. } => ("ietf-netconf-partial-lock", "partial-lock"),
            Request::PartialUnlock { .. } => ("ietf-netconf-partial-lock", "partial-unlock"),
            Request::CreateSubscription(_) => ("notifications", "create-subscription"),
            Request::GetSchema { .. } => ("ietf-netconf-monitoring", "get-schema"),
            // Asked when the operation is parsed and its name is known.
            Request::Invoke { .. } | Request::Action { .. } => return Ok(()),
            // Not an operation: a part of opening the session.
            Request::UsePrivateCandidate => return Ok(()),
        };
        self.may_exec(caller, module, operation)
    }

    /// May `caller` invoke this rpc, or this action where it stands?
    pub(super) fn may_invoke(&self, caller: &Caller, node: SchemaNode, of: Option<&str>) -> Result<(), Refusal> {
        let Some(above) = of else {
            return self.may_exec(caller, node.module().name(), node.name());
        };
        // RFC 8341 section 3.1.3: an action needs read access to all the nodes it stands on, and exec access to itself.
        let subject = self.subject(caller);
        let mut path = DataPath::parse(above).map_err(|_| unreadable(above))?;
        let readable = self.is_readable_down_to(&subject, &path);
        path.push(Step::new(node.module().name(), node.name()));
        let executable = self.nacm.data(&subject, nacm::Access::Exec, &path, deny_of(node));
        if readable && executable.is_permit() {
            return Ok(());
        }
        self.count(Counters::operation_denied);
        Err(denied(caller, &subject, &format!("action {}", rpc::operation_path(node, of)), Layer::Application)
            .at(above))
    }

    /// RFC 8341 access for a door that is not NETCONF.
    pub(super) fn permits(&self, caller: &Caller, path: &str, access: handle::Access) -> Result<(), Refusal> {
        let (wanted, verb) = match access {
            handle::Access::Read => (nacm::Access::Read, "read"),
            handle::Access::Update => (nacm::Access::Update, "update"),
            handle::Access::Execute => {
                let (module, operation) =
                    path.trim_start_matches('/').split_once(':').ok_or_else(|| unreadable(path))?;
                // Asking whether one might is no attempt.
                return self.is_executable(caller, module, operation);
            }
        };
        let target = DataPath::parse(path).map_err(|_| unreadable(path))?;
        let deny = deny_above(self.schema.node(path));
        if self.nacm.data(&self.subject(caller), wanted, &target, deny).is_permit() {
            return Ok(());
        }
        if access == handle::Access::Update {
            self.count(Counters::data_write_denied);
        }
        Err(denied(caller, &self.subject(caller), &format!("{verb} access to {path}"), Layer::Application).at(path))
    }

    /// Who decides what `caller` sees; `None` when nothing is hidden.
    pub(super) fn reader(&self, caller: &Caller) -> Option<Reader> {
        Reader::new(&self.nacm, self.subject(caller), &self.masks)
    }

    /// Who decides what `caller` may change; `None` when that is everything.
    pub(super) fn writer<'a>(&'a self, caller: &'a Caller) -> Option<Writer<'a>> {
        if is_recovery(caller) {
            return None;
        }
        let subject = self.subject(caller);
        (!self.nacm.permits_all_writes(&subject)).then_some(Writer { access: self, caller, subject })
    }

    /// The node at `path` and all those above it.
    fn is_readable_down_to(&self, subject: &Subject, path: &DataPath) -> bool {
        let mut at: Option<SchemaNode> = None;
        let mut above = DataPath::default();
        path.steps.iter().all(|step| {
            let module = self.schema.module(&step.module);
            let node = module.and_then(|module| match at {
                None => module.child(&step.name),
                Some(parent) => parent.child(module, &step.name),
            });
            let Some(node) = node else { return false };
            at = Some(node);
            above.push(step.clone());
            self.nacm.data(subject, nacm::Access::Read, &above, deny_of(node)).is_permit()
        })
    }

    fn may_exec(&self, caller: &Caller, module: &str, operation: &str) -> Result<(), Refusal> {
        let permitted = self.is_executable(caller, module, operation);
        if permitted.is_err() {
            self.count(Counters::operation_denied);
        }
        permitted
    }

    fn is_executable(&self, caller: &Caller, module: &str, operation: &str) -> Result<(), Refusal> {
        let deny = self.schema.top(module, operation).map_or(DefaultDeny::Nothing, deny_of);
        if self.nacm.exec(&self.subject(caller), module, operation, deny).is_permit() {
            return Ok(());
        }
        Err(denied(caller, &self.subject(caller), &format!("operation {operation}"), Layer::Protocol))
    }

    fn subject(&self, caller: &Caller) -> Subject {
        self.nacm.subject(&caller.user, &caller.groups, is_recovery(caller))
    }

    fn count(&self, what: fn(&mut Counters)) {
        let mut counters = self.counters.get();
        what(&mut counters);
        self.counters.set(counters);
    }
}

impl Rights for Access {
    /// RFC 8341 section 3.4.6.
    fn may_hear(&self, caller: &Caller, notification: SchemaNode, owner: Option<&str>) -> bool {
        let (module, name) = (notification.module().name(), notification.name());
        let subject = self.subject(caller);
        // Where it belongs to a data node, that and those above it must be readable as well.
        let (place, readable) = match owner.map(DataPath::parse) {
            None => (None, true),
            Some(Err(_)) => (None, false),
            Some(Ok(mut path)) => {
                let readable = self.is_readable_down_to(&subject, &path);
                path.push(Step::new(module, name));
                (Some(path), readable)
            }
        };
        let heard = self.nacm.notification(&subject, module, name, place.as_ref(), deny_of(notification));
        let permitted = readable && heard.is_permit();
        if !permitted {
            self.count(Counters::notification_denied);
        }
        permitted
    }

    fn may_read_all(&self, caller: &Caller) -> bool {
        self.reader(caller).is_none()
    }

    fn may_read(&self, caller: &Caller, path: &str) -> bool {
        self.permits(caller, path, handle::Access::Read).is_ok()
    }
}

/// Sees for one caller which changes are permitted.
pub(super) struct Writer<'a> {
    access: &'a Access,
    caller: &'a Caller,
    subject: Subject,
}

impl Writer<'_> {
    pub(super) fn may_touch(&self, touch: &Touch<'_>) -> Result<(), Refusal> {
        let access = match touch.access {
            edit::Access::Create => nacm::Access::Create,
            edit::Access::Update => nacm::Access::Update,
            edit::Access::Delete => nacm::Access::Delete,
        };
        self.decide(access, &touch.node.path(), deny_of(touch.node.schema()))
    }

    pub(super) fn may_change(&self, change: &Change) -> Result<(), Refusal> {
        let access = match &change.edit {
            Edit::Create { .. } => nacm::Access::Create,
            Edit::Delete => nacm::Access::Delete,
            Edit::Modify { .. } | Edit::Move => nacm::Access::Update,
        };
        self.decide(access, &change.path, deny_above(self.access.schema.node(&change.path)))
    }

    fn decide(&self, access: nacm::Access, path: &str, deny: DefaultDeny) -> Result<(), Refusal> {
        let target = DataPath::parse(path).map_err(|_| unreadable(path))?;
        if self.access.nacm.data(&self.subject, access, &target, deny).is_permit() {
            return Ok(());
        }
        self.access.count(Counters::data_write_denied);
        let verb = match access {
            nacm::Access::Create => "create",
            nacm::Access::Update => "update",
            nacm::Access::Delete => "delete",
            nacm::Access::Read => "read",
            nacm::Access::Exec => "exec",
        };
        Err(denied(self.caller, &self.subject, &format!("{verb} access to {path}"), Layer::Application).at(path))
    }
}

fn compiled(running: &Tree) -> Nacm {
    let nacm = Nacm::from_element(running.to_element(NACM_ROOT).as_ref());
    for problem in nacm.problems() {
        tracing::warn!("{problem}");
    }
    nacm
}

/// The local socket lets in the account that could read and write all files of this agent anyway.
fn is_recovery(caller: &Caller) -> bool {
    matches!(caller.client, Client::Local | Client::LocalShell | Client::Agent)
}

fn denied(caller: &Caller, subject: &Subject, what: &str, layer: Layer) -> Refusal {
    let refusal =
        Refusal::new(Kind::AccessDenied, format!("{what} is denied to user `{}`", caller.user)).at_layer(layer);
    match &caller.client {
        Client::Script { app, .. } if caller.groups.iter().any(|group| group == "scripts") => refusal.mend(format!(
            "configure `appmgr process-script {app} username NAME` with the name of a user who may, commit, and activate again"
        )),
        // RFC 8341 section 3.4.4: for a user without groups no rule is ever looked at.
        Client::Script { .. } | Client::Judge { .. } | Client::Netconf | Client::Tls | Client::Shell | Client::LocalShell | Client::Local | Client::Agent if subject.groups().next().is_none() => refusal
            .mend("the user is in no group of /ietf-netconf-acm:nacm/groups: put it into one that a rule permits this to"),
        Client::Script { .. } | Client::Judge { .. } | Client::Netconf | Client::Tls | Client::Shell | Client::LocalShell | Client::Local | Client::Agent => {
            refusal.mend("a rule in /ietf-netconf-acm:nacm must permit it")
        }
    }
}

fn unreadable(path: &str) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("the path {path} cannot be judged"))
}

fn deny_above(node: Option<SchemaNode>) -> DefaultDeny {
    node.map_or(DefaultDeny::Nothing, deny_of)
}

/// What the schema says of this node and of those above it; the strictest word counts.
pub(super) fn deny_of(node: SchemaNode) -> DefaultDeny {
    let mut strictest = DefaultDeny::Nothing;
    let mut at = Some(node);
    while let Some(node) = at {
        match node.nacm() {
            NacmDefault::DenyAll => return DefaultDeny::All,
            NacmDefault::DenyWrite => strictest = DefaultDeny::Write,
            NacmDefault::None => {}
        }
        at = node.parent();
    }
    strictest
}
