//! The northbound's face of the host: the name and the users are configured here, the rest is state.
//!
//! Decides nothing about who may log in: that is for the doors, which read the users themselves. The name it publishes.

use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Input;
use super::users::{refuse_users, users_of};
use crate::northbound::filter::{Content, Selection};
use crate::northbound::provider::{Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal, provider::Call};
use crate::yang::value::Element;

pub const HOSTNAME: &str = "/Cisco-IOS-XR-um-hostname-cfg:hostname";
pub const SYSTEM: &str = "/ietf-system:system";
pub const SYSTEM_STATE: &str = "/ietf-system:system-state";
pub const MONITORING: &str = "/Cisco-IOS-XR-wdsysmon-fd-oper:system-monitoring";
pub const MEMORY: &str = "/Cisco-IOS-XR-nto-misc-oper:memory-summary";
pub const SYSTEM_TIME: &str = "/Cisco-IOS-XR-shellutil-oper:system-time";
pub const SYSLOG: &str = "/Cisco-IOS-XR-infra-syslog-oper:syslog";
pub const HARDDISK: &str = "/procyon-files:harddisk";

pub struct SystemProvider {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) host_name: watch::Sender<String>,
    /// What the kernel is called: shown where nothing is configured.
    pub(super) kernel_host_name: String,
}

impl Provider for SystemProvider {
    fn name(&self) -> &'static str {
        "system"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[HOSTNAME, SYSTEM]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[SYSTEM_STATE, MONITORING, MEMORY, SYSTEM_TIME, SYSLOG, HARDDISK]
    }

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        refuse_users(&users_of(proposal.config.subtree(SYSTEM).as_ref()))
    }

    fn prepare(&mut self, _proposal: &Proposal<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let touches = |root: &str| proposal.changes.iter().any(|change| change.path.starts_with(root));
        if touches(HOSTNAME) {
            let hostname = proposal.config.subtree(HOSTNAME);
            let name = hostname.as_ref().and_then(|hostname| hostname.text_of("system-network-name"));
            self.host_name.send_replace(name.unwrap_or(&self.kernel_host_name).to_owned());
        }
    }

    fn state(&self, root: &'static str, query: StateQuery) -> Later<Vec<Element>> {
        let inputs = self.inputs.clone();
        Box::pin(async move {
            if root == HARDDISK {
                return Ok(vec![Element::node("harddisk", Vec::new()).in_module("procyon-files")]);
            }
            let (reply, answer) = oneshot::channel();
            let with_processes = wants(query.selection.as_ref(), &["cpu-utilization", "process-cpu"]);
            inputs.send(Input::State { root, with_processes, reply }).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let refusal = Refusal::new(Kind::OperationNotSupported, format!("the system carries out no `{}`", call.path));
        Box::pin(async move { Err(refusal) })
    }
}

fn stopping() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the agent is shutting down").mend("try again when it serves")
}

/// Whether a filter asks for the node that is reached by `names`. May say yes too often, never no wrongly.
fn wants(selection: Option<&Selection>, names: &[&str]) -> bool {
    let (Some(selection), Some((name, rest))) = (selection, names.split_first()) else { return true };
    match &selection.content {
        Content::Selected => true,
        Content::Match(_) => false,
        Content::Within(children) => {
            // RFC 6241 section 6.2.5: content match nodes alone select everything beside them.
            let only_matches = children.iter().all(|child| matches!(child.content, Content::Match(_)));
            only_matches || children.iter().any(|child| child.name == *name && wants(Some(child), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::provider::{Change, Configuration, Edit};

    fn selection(name: &str, content: Content) -> Selection {
        Selection { namespace: None, name: name.to_owned(), attributes: Vec::new(), content }
    }

    #[test]
    fn processes_are_read_only_for_those_who_ask() {
        let leaf = |name| selection(name, Content::Selected);
        let within = |children| {
            selection(
                "system-monitoring",
                Content::Within(vec![selection("cpu-utilization", Content::Within(children))]),
            )
        };
        let node = || selection("node-name", Content::Match("0/RP0/CPU0".to_owned()));
        let path = ["cpu-utilization", "process-cpu"];
        assert!(wants(None, &path));
        assert!(wants(Some(&leaf("system-monitoring")), &path));
        assert!(wants(Some(&within(vec![node()])), &path));
        assert!(wants(Some(&within(vec![node(), leaf("process-cpu")])), &path));
        assert!(!wants(Some(&within(vec![node(), leaf("total-cpu-one-minute")])), &path));
    }

    struct Config(Option<Element>);

    impl Configuration for Config {
        fn subtree(&self, path: &str) -> Option<Element> {
            self.0.clone().filter(|_| path == HOSTNAME)
        }
    }

    #[test]
    fn the_configured_name_is_shown_and_without_it_the_kernel_s() {
        let (inputs, _kept) = mpsc::channel(1);
        let (host_name, shown) = watch::channel("kernel".to_owned());
        let mut provider = SystemProvider { inputs, host_name, kernel_host_name: "kernel".to_owned() };
        let changes = [Change { path: format!("{HOSTNAME}/system-network-name"), edit: Edit::Delete }];
        let name = Element::node("hostname", vec![Element::leaf("system-network-name", "north")]);
        for (config, expected) in [(Config(Some(name)), "north"), (Config(None), "kernel")] {
            provider.apply(&Proposal { changes: &changes, config: &config });
            assert_eq!(*shown.borrow(), expected);
        }
    }
}
