//! The face of the scripts that are kept up to date to the northbound: what is configured, and the rpc `update`.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::config::{self, Entries, Key};
use super::driver::{Check, Handle, Message, Which, gone};
pub use super::plan::Fetched;
use super::plan::Outcome;
use super::view;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

const ACTIONS: &str = "Cisco-IOS-XR-infra-script-mgmt-act";
const UPDATE: &str = "/Cisco-IOS-XR-infra-script-mgmt-act:update";
const CHECKSUMS: &str = "/Cisco-IOS-XR-um-script-cfg:script";

/// Where a commit leaves what it says, and the driver finds it: the newest counts.
#[derive(Debug, Default)]
pub(super) struct Committed {
    left: Mutex<Option<Entries>>,
    arrived: Notify,
}

impl Committed {
    pub(super) fn fetch(&self) -> Option<Entries> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the next commit of this, or of a checksum.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

pub struct UpdateProvider {
    handle: Handle,
    check: Check,
    committed: Arc<Committed>,
}

impl UpdateProvider {
    pub(super) fn new(handle: Handle, check: Check, committed: Arc<Committed>) -> Self {
        Self { handle, check, committed }
    }

    fn read(&self, proposal: &Proposal<'_>) -> (Entries, Vec<Refusal>) {
        config::read(proposal.config.subtree(config::ROOT).as_ref(), &*self.check)
    }
}

impl Provider for UpdateProvider {
    fn name(&self) -> &'static str {
        "update"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[config::ROOT]
    }

    fn watched_roots(&self) -> &'static [&'static str] {
        &[CHECKSUMS]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[view::ROOT]
    }

    fn calls(&self) -> &'static [&'static str] {
        &[UPDATE]
    }

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (_, refusals) = self.read(proposal);
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let (entries, refusals) = self.read(proposal);
        for refusal in refusals {
            tracing::error!(%refusal, "a script cannot be kept up to date as it is configured");
        }
        *self.committed.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(entries);
        self.committed.arrived.notify_one();
    }

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let messages = self.handle.messages.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            messages.send(Message::View { reply }).await.map_err(|_| gone())?;
            Ok(vec![answer.await.map_err(|_| gone())?])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let handle = self.handle.clone();
        Box::pin(async move {
            let script_type = call.input.text_of("script-type").unwrap_or_default().to_owned();
            let script = call.input.text_of("script-name").map(str::to_owned);
            if script_type == "snmp" {
                let message = "snmp scripts are not supported; use exec, process, eem, config, precommit or all";
                return Err(Refusal::new(Kind::InvalidValue, message));
            }
            let wanted = (script_type != "all").then(|| script_type.clone());
            let which = Which::OnRequest { script_type: wanted, script: script.clone() };
            let outcomes = handle.want(which, call.caller.user).await?;
            match outcomes.as_slice() {
                [] => Err(nothing(&script_type, script.as_deref())),
                // Who asks for one wants to know why it is not to be had.
                [(key, _, Err(refusal))] if script.is_some() => Err(not_updated(key, refusal)),
                _ => Ok(responses(&outcomes)),
            }
        })
    }
}

fn nothing(script_type: &str, script: Option<&str>) -> Refusal {
    let of_type = if script_type == "all" { String::new() } else { format!("{script_type} ") };
    let (message, name) = match script {
        Some(script) => (format!("it is not configured from where {of_type}script `{script}` is updated"), script),
        None => (format!("no {of_type}script is updated on request"), "SCRIPT.py"),
    };
    let shelf = if script_type == "all" { "exec" } else { script_type };
    let remedy = format!("configure `scripts {shelf} {name} condition-manual url URL vrf default` and commit");
    Refusal::new(Kind::DataMissing, message).mend(remedy)
}

fn not_updated(key: &Key, refusal: &Refusal) -> Refusal {
    Refusal { message: format!("{} is not updated: {}", key.script, refusal.message), ..refusal.clone() }
}

fn responses(outcomes: &[(Key, bool, Outcome)]) -> Vec<Element> {
    let response = |(key, _, outcome): &(Key, bool, Outcome)| {
        let (sentence, status) = match outcome {
            Ok(Fetched::New) => (format!("{} has been updated in the script repository", key.script), "True"),
            Ok(Fetched::Same) => (format!("{} is up to date", key.script), "True"),
            Err(refusal) => (format!("{} is not updated: {refusal}", key.script), "False"),
        };
        let leaves = vec![
            Element::leaf("script-name", &key.script),
            Element::leaf("script-type", key.script_type),
            Element::leaf("response", sentence),
            Element::leaf("status", status),
        ];
        Element::node("responses", leaves)
    };
    let rows = outcomes.iter().map(response).collect();
    vec![Element::node("script-update-response", rows).in_module(ACTIONS)]
}
