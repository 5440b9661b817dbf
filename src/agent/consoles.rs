//! Consoles under YANG (`procyon-console`): who is at them, and the listener for conserver's client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tracing::error;

use super::credentials::{self, CredentialsRefused};
use crate::console::columns::{Condition, Listed};
use crate::console::roster::Mode;
use crate::container::console::Network;
use crate::keeper::client::Keeper;
use crate::northbound::provider::{Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::transport::Holder;
use crate::transport::sockets::Sockets;
use crate::viewer::CONSERVER_PORT;
use crate::yang::value::Element;

const STATE: &str = "/procyon-console:consoles";
const LISTENER: &str = "/procyon-console:conserver-listener";

/// The listener for conserver's client, as it is configured.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub address: IpAddr,
    pub port: u16,
    pub console_port: u16,
    pub sources: Vec<Network>,
    pub trusted: Vec<Network>,
    /// The file of certificates and key, by its name.
    credentials: Option<String>,
    /// Who does not encrypt is served too.
    pub clear_text: bool,
    /// What those credentials are, once they have been read.
    pub encryption: Option<Arc<ServerConfig>>,
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
            credentials: element.text_of("credentials").map(str::to_owned),
            clear_text: element.text_of("clear-text") == Some("true") || element.text_of("credentials").is_none(),
            encryption: None,
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

    /// Where it listens: the port that clients know, and the one of consoles.
    pub(super) fn places(&self) -> [SocketAddr; 2] {
        [self.at(), SocketAddr::new(self.address, self.console_port)]
    }
}

/// The ports of that listener, which the custodian holds too: nobody is refused while the agent is restarted.
#[derive(Clone)]
pub(super) struct Ports {
    sockets: Sockets,
    /// Why they are not open although they are wanted.
    problem: Arc<Mutex<Option<String>>>,
}

impl Ports {
    /// With what an earlier life of the agent has left.
    pub(super) fn new(left: Vec<(SocketAddr, TcpListener)>, holder: Arc<dyn Holder>) -> Self {
        Self { sockets: Sockets::new(left, holder), problem: Arc::default() }
    }

    pub(super) fn open(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.sockets.open(address)
    }

    /// All others are closed.
    pub(super) fn keep_only(&self, wanted: Option<&Wanted>) {
        self.sockets.keep_only(wanted.map(Wanted::places).into_iter().flatten().collect());
    }

    /// Remembers why they are not open, or that they are; whether that is news.
    pub(super) fn note(&self, problem: Option<&str>) -> bool {
        let mut noted = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = noted.as_deref() != problem;
        *noted = problem.map(str::to_owned);
        is_news
    }

    fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the custodian what is bound; it may keep us waiting, and must not keep others.
    pub(super) async fn hand_over(&self) {
        let sockets = self.sockets.clone();
        // A thread that panics has held nothing, which is noticed only by the next life of this process.
        let _ = tokio::task::spawn_blocking(move || sockets.hand_over()).await;
    }
}

pub(super) struct ConsoleProvider {
    keeper: Keeper,
    keys: PathBuf,
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    ports: Ports,
    /// Bound for the commit that is under way.
    reserved: Vec<SocketAddr>,
}

impl ConsoleProvider {
    /// `keys` is the folder of the private keys.
    pub(super) fn new(keeper: Keeper, ports: Ports, keys: PathBuf) -> (Self, watch::Receiver<Option<Arc<Wanted>>>) {
        let (wanted, watched) = watch::channel(None);
        (Self { keeper, keys, wanted, ports, reserved: Vec::new() }, watched)
    }

    fn read(&self, proposal: &Proposal<'_>) -> Result<Option<Wanted>, Refusal> {
        let Some(mut wanted) = Wanted::read(proposal) else { return Ok(None) };
        if let Some(name) = &wanted.credentials {
            let refused = |error: CredentialsRefused| {
                Refusal::new(Kind::InvalidValue, error.to_string()).at(format!("{LISTENER}/credentials"))
            };
            wanted.encryption = Some(credentials::load(&self.keys, name).map_err(refused)?);
        }
        Ok(Some(wanted))
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

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        match self.read(proposal).map_err(|refusal| vec![refusal])? {
            Some(wanted) if !wanted.address.is_loopback() && wanted.sources.is_empty() => {
                let message = format!("the listener at {} lets in other hosts", wanted.at());
                let refusal = Refusal::new(Kind::InvalidValue, message).mend("name those that may come as its sources");
                Err(vec![refusal.at(format!("{LISTENER}/source"))])
            }
            Some(_) | None => Ok(()),
        }
    }

    fn prepare(&mut self, proposal: &Proposal<'_>) -> Result<(), Refusal> {
        let places = Wanted::read(proposal).map(|wanted| wanted.places());
        let places = places.into_iter().flatten().collect();
        self.reserved = self.ports.sockets.reserve(&places).map_err(|(address, error)| {
            Refusal::new(Kind::ResourceDenied, format!("conserver's clients cannot be served on {address}: {error}"))
                .at(LISTENER)
                .mend("choose another address or port, or end what has it (`ss -ltnp` names it)")
        })?;
        Ok(())
    }

    fn abort(&mut self) {
        self.ports.sockets.release(&std::mem::take(&mut self.reserved));
    }

    /// What is not wanted any more is closed by whoever accepts there.
    fn apply(&mut self, proposal: &Proposal<'_>) {
        self.reserved.clear();
        let wanted = self.read(proposal).unwrap_or_else(|refusal| {
            // The file was there when this was committed; without it nobody is served who would have to encrypt.
            error!(path = refusal.path, %refusal, "clients of conserver's protocol cannot encrypt");
            Wanted::read(proposal)
        });
        self.wanted.send_replace(wanted.map(Arc::new));
    }

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let keeper = self.keeper.clone();
        let wanted = self.wanted.borrow().as_ref().map(|wanted| wanted.at().to_string());
        let listener = wanted.map(|place| {
            let mut told = vec![Element::leaf("place", place)];
            told.extend(Element::leaf_if("problem", self.ports.problem()));
            Element::node("conserver-listener", told)
        });
        Box::pin(async move {
            let refused = |refusal: crate::keeper::refusal::KeeperRefusal| {
                Refusal::new(Kind::OperationFailed, format!("the keeper does not tell its consoles: {refusal}"))
            };
            let consoles = keeper.consoles().await.map_err(refused)?;
            let now = crate::viewer::now_unix_s();
            let entries = consoles.iter().map(|console| entry(console, now)).chain(listener).collect();
            Ok(vec![Element::node("consoles", entries).in_module("procyon-console")])
        })
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
