//! The event manager's face to the northbound.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};

use super::config::{self, Config};
use super::driver::Message;
use super::view;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

/// Where a commit leaves what it says, and the driver finds it: the newest counts.
#[derive(Debug, Default)]
pub(super) struct Committed {
    left: Mutex<Option<Config>>,
    arrived: Notify,
}

impl Committed {
    pub(super) fn fetch(&self) -> Option<Config> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

pub struct EventManager {
    pub(super) committed: Arc<Committed>,
    pub(super) driver: mpsc::Sender<Message>,
}

impl Provider for EventManager {
    fn name(&self) -> &'static str {
        "eem"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[config::ROOT]
    }

    fn augmented_by(&self) -> &'static [&'static str] {
        &["Cisco-IOS-XR-um-event-manager-policy-map-cfg", "Cisco-IOS-XR-event-manager-policy-map-oper", "procyon-eem"]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[view::ROOT]
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (_, refusals) = config::read(proposal.config.subtree(config::ROOT).as_ref());
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let (config, refusals) = config::read(proposal.config.subtree(config::ROOT).as_ref());
        for refusal in refusals {
            tracing::error!(%refusal, "a part of the event manager's configuration cannot be read");
        }
        *self.committed.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
        self.committed.arrived.notify_one();
    }

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        Box::pin(async move {
            let gone = || Refusal::new(Kind::ResourceDenied, "the event manager is shutting down");
            let (reply, answer) = oneshot::channel();
            driver.send(Message::View { reply }).await.map_err(|_| gone())?;
            Ok(vec![answer.await.map_err(|_| gone())?])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let refusal = Refusal::new(Kind::OperationNotSupported, format!("`{}` is not for events", call.path));
        Box::pin(async move { Err(refusal) })
    }
}
