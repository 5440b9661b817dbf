//! Consoles under YANG (`procyon-console`): who is at them, and the listener for conserver's client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;

use crate::console::columns::{Condition, Listed};
use crate::console::roster::Mode;
use crate::container::console::Network;
use crate::keeper::client::Keeper;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::viewer::CONSERVER_PORT;
use crate::yang::value::Element;

const STATE: &str = "/procyon-console:consoles";
const LISTENER: &str = "/procyon-console:conserver-listener";

/// The listener for conserver's client, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub address: IpAddr,
    pub port: u16,
    pub console_port: u16,
    pub sources: Vec<Network>,
    pub trusted: Vec<Network>,
}

impl Wanted {
    fn read(proposal: &Proposal<'_>) -> Option<Self> {
        Some(Self::from_element(&proposal.config.subtree(LISTENER)?))
    }

    fn from_element(element: &Element) -> Self {
        let number = |leaf: &str| element.text_of(leaf).and_then(|text| text.parse().ok());
        let networks = |leaf: &'static str| {
            element.children_named(leaf).filter_map(|entry| Network::parse(entry.text.as_deref()?)).collect()
        };
        Self {
            address: element
                .text_of("address")
                .and_then(|text| text.parse().ok())
                .unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port: number("port").unwrap_or(CONSERVER_PORT),
            console_port: number("console-port").unwrap_or(0),
            sources: networks("source"),
            trusted: networks("trusted"),
        }
    }

    pub(super) fn admits(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        if self.sources.is_empty() { from.is_loopback() } else { self.sources.iter().any(|source| source.holds(from)) }
    }

    pub(super) fn trusts(&self, from: IpAddr) -> bool {
        self.trusted.iter().any(|source| source.holds(from))
    }

    pub(super) fn at(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

pub(super) struct ConsoleProvider {
    keeper: Keeper,
    wanted: watch::Sender<Option<Arc<Wanted>>>,
}

impl ConsoleProvider {
    pub(super) fn new(keeper: Keeper) -> (Self, watch::Receiver<Option<Arc<Wanted>>>) {
        let (wanted, watched) = watch::channel(None);
        (Self { keeper, wanted }, watched)
    }
}

impl Provider for ConsoleProvider {
    fn name(&self) -> &'static str {
        "consoles"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[LISTENER]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[STATE]
    }

    fn calls(&self) -> &'static [&'static str] {
        &[]
    }

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        match Wanted::read(proposal) {
            Some(wanted) if !wanted.address.is_loopback() && wanted.sources.is_empty() => {
                let message = format!("the listener at {} lets in other hosts", wanted.at());
                let refusal = Refusal::new(Kind::InvalidValue, message).mend("name those that may come as its sources");
                Err(vec![refusal.at(format!("{LISTENER}/source"))])
            }
            Some(_) | None => Ok(()),
        }
    }

    fn prepare(&mut self, _: &Proposal<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn abort(&mut self) {}

    fn apply(&mut self, proposal: &Proposal<'_>) {
        self.wanted.send_replace(Wanted::read(proposal).map(Arc::new));
    }

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let keeper = self.keeper.clone();
        Box::pin(async move {
            let refused = |refusal: crate::keeper::refusal::KeeperRefusal| {
                Refusal::new(Kind::OperationFailed, format!("the keeper does not tell its consoles: {refusal}"))
            };
            let consoles = keeper.consoles().await.map_err(refused)?;
            let now = crate::viewer::now_unix_s();
            let entries = consoles.iter().map(|console| entry(console, now)).collect();
            Ok(vec![Element::node("consoles", entries).in_module("procyon-console")])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        Box::pin(async move { Err(Refusal::new(Kind::OperationNotSupported, format!("{} is not an rpc", call.path))) })
    }
}

fn entry(console: &Listed, now_unix_s: u64) -> Element {
    let condition = match console.condition {
        Condition::Up => "up",
        Condition::Down => "down",
        Condition::Init => "init",
    };
    let loggers = console.seats.iter().filter(|seat| !seat.may_write).count();
    let mut children = vec![Element::leaf("name", &console.name), Element::leaf("condition", condition)];
    children.extend(Element::leaf_if("pid", console.pid.and_then(|pid| u32::try_from(pid).ok())));
    children.extend(Element::leaf_if("terminal", console.terminal.as_ref().filter(|path| !path.is_empty())));
    children.push(Element::leaf("writers", if console.one_writer { "one" } else { "shared" }));
    children.push(Element::leaf("log", &console.log));
    children.push(Element::leaf("first", console.first));
    children.push(Element::leaf("next", console.end));
    children.push(Element::leaf("users", console.seats.len() - loggers));
    children.push(Element::leaf("loggers", loggers));
    children.extend(console.seats.iter().map(|seat| {
        let mode = if seat.mode == Mode::Write { "write" } else { "watch" };
        Element::node(
            "user",
            vec![
                Element::leaf("id", seat.id),
                Element::leaf("name", &seat.user),
                Element::leaf("from", &seat.host),
                Element::leaf("mode", mode),
                Element::leaf("may-write", seat.may_write),
                Element::leaf("attached", time_of(seat.since_unix_s)),
                Element::leaf("idle", now_unix_s.saturating_sub(seat.typed_unix_s)),
            ],
        )
    }));
    children.extend(console.doors.iter().map(|door| {
        let mut listener = vec![Element::leaf("place", &door.place)];
        listener.extend(Element::leaf_if("problem", door.problem.as_ref()));
        Element::node("listener", listener)
    }));
    Element::node("console", children)
}

fn time_of(unix_s: u64) -> String {
    let at = jiff::Timestamp::from_second(i64::try_from(unix_s).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_for_this_host_and_trusts_nobody_unless_told() {
        let wanted = Wanted::from_element(&Element::node("conserver-listener", vec![]));
        let (own, other): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        assert_eq!(wanted.at(), "127.0.0.1:782".parse().unwrap());
        assert!(wanted.admits(own) && !wanted.admits(other) && !wanted.trusts(own));
        let networks = vec![Element::leaf("source", "10.0.0.0/8"), Element::leaf("trusted", "127.0.0.1")];
        let wanted = Wanted::from_element(&Element::node("conserver-listener", networks));
        assert!(!wanted.admits(own) && wanted.admits(other) && wanted.trusts(own) && !wanted.trusts(other));
    }
}
