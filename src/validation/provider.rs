//! The face of the scripts that look at commits to the northbound: what is committed, and how they stand.

use std::sync::Arc;

use super::config;
use super::driver::{Committed, Desk};
use super::execution;
use super::report;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, refusal};
use crate::yang::value::Element;

pub struct ValidationProvider {
    desk: Arc<Desk>,
    committed: Arc<Committed>,
}

impl ValidationProvider {
    pub(super) fn new(desk: Arc<Desk>, committed: Arc<Committed>) -> Self {
        Self { desk, committed }
    }
}

impl Provider for ValidationProvider {
    fn name(&self) -> &'static str {
        "validation"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[config::ROOT]
    }

    fn watched_roots(&self) -> &'static [&'static str] {
        &[config::SCRIPTS]
    }

    fn augmented_by(&self) -> &'static [&'static str] {
        &["Cisco-IOS-XR-um-config-validation-cfg", "Cisco-IOS-XR-config-valid-ccv-oper"]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[report::ROOT, execution::ROOT]
    }

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    /// The repository looks at names and checksums.
    fn apply(&mut self, proposal: &Proposal<'_>) {
        let subtree = |path| proposal.config.subtree(path);
        self.committed.put(config::active(subtree(config::SCRIPTS).as_ref(), subtree(config::ROOT).as_ref()));
    }

    fn state(&self, root: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let desk = Arc::clone(&self.desk);
        Box::pin(async move {
            Ok(match root {
                execution::ROOT => execution::state(&desk.standings(), &desk.active()),
                _ => report::state(&desk.standings()),
            })
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let refused = refusal::Refusal::new(Kind::OperationNotSupported, format!("`{}` is nobody's here", call.path));
        Box::pin(async move { Err(refused) })
    }
}
