//! `ietf-netconf-server` with keystore and truststore, as plain values: where to listen, whom to call, with which keys.
//!
//! Must not know: sockets, key files, what the certificates will be used for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::reconnect::{Connection, Policy, StartWith};
use super::x509::{Fingerprint, Mapping, Name, certificates};
use crate::northbound::provider::Configuration;
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

pub(super) const SERVER: &str = "/ietf-netconf-server:netconf-server";
pub(super) const KEYSTORE: &str = "/ietf-keystore:keystore";
pub(super) const TRUSTSTORE: &str = "/ietf-truststore:truststore";

/// The defaults of the module, for leafs that nobody has set.
const IDLE_SECONDS: u64 = 180;
const MAX_WAIT_SECONDS: u64 = 5;
const ATTEMPTS: u8 = 3;
const PERIOD_MINUTES: u64 = 60;
const KEEPALIVE_SECONDS: u64 = 30;
const KEEPALIVE_ATTEMPTS: usize = 3;

/// Everything that is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub(super) listen: BTreeMap<String, Endpoint>,
    pub(super) call: BTreeMap<String, Client>,
}

/// Where clients may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) binds: Vec<SocketAddr>,
    pub(super) idle: Option<Duration>,
    pub(super) transport: Transport,
}

/// A client that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) remotes: Vec<Remote>,
    pub(super) policy: Policy,
    pub(super) idle: Option<Duration>,
    pub(super) max_wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// The name of the endpoint.
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    Ssh(Ssh),
    Tls(Tls),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ssh {
    /// Names of key files, the preferred one first.
    pub(super) host_keys: Vec<String>,
    /// How long a silence, and how many unanswered questions.
    pub(super) keepalive: Option<(Duration, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// The name of the key file.
    pub(super) key: String,
    pub(super) certificate: Vec<CertificateDer<'static>>,
    /// Authorities whose certificates are trusted...
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// ... and certificates that are trusted by themselves.
    pub(super) clients: Vec<CertificateDer<'static>>,
    pub(super) mappings: Vec<Mapping>,
}

/// The plan, as far as it can be read, and what cannot.
pub(super) fn read(config: &dyn Configuration) -> (Plan, Vec<Refusal>) {
    let mut reader =
        Reader { keystore: config.subtree(KEYSTORE), truststore: config.subtree(TRUSTSTORE), refusals: Vec::new() };
    let server = config.subtree(SERVER);
    let mut plan = Plan::default();
    if let Some(listen) = server.as_ref().and_then(|server| server.child("listen")) {
        reader.listen(listen, &mut plan);
    }
    if let Some(call) = server.as_ref().and_then(|server| server.child("call-home")) {
        reader.call(call, &mut plan);
    }
    reader.judge_certificates();
    (plan, reader.refusals)
}

struct Reader {
    keystore: Option<Element>,
    truststore: Option<Element>,
    refusals: Vec<Refusal>,
}

impl Reader {
    fn listen(&mut self, listen: &Element, plan: &mut Plan) {
        let idle = seconds(listen, "idle-timeout", IDLE_SECONDS);
        let mut taken: BTreeMap<SocketAddr, String> = BTreeMap::new();
        for endpoint in entries(listen, "endpoints", "endpoint") {
            let Some(name) = endpoint.text_of("name") else { continue };
            let at = format!("{SERVER}/listen/endpoints/endpoint{}", key(name));
            let Some((side, transport)) = self.transport(endpoint, &at) else { continue };
            let mut binds = Vec::new();
            for bind in entries(side, "tcp-server-parameters", "local-bind") {
                let Some(text) = bind.text_of("local-address") else { continue };
                let Ok(address) = text.parse::<IpAddr>() else {
                    let message = format!("the device cannot listen on `{text}`: an address with a zone is not served");
                    self.refuse(Refusal::new(Kind::InvalidValue, message).at(&at));
                    continue;
                };
                let default = if matches!(transport, Transport::Ssh(_)) { 830 } else { 6513 };
                let bind = SocketAddr::new(address, number(bind, "local-port").unwrap_or(default));
                if let Some(other) = taken.insert(bind, name.to_owned()) {
                    let message = format!("the endpoints `{other}` and `{name}` both listen on {bind}");
                    self.refuse(
                        Refusal::new(Kind::InvalidValue, message).at(&at).mend("give one of them another port"),
                    );
                }
                binds.push(bind);
            }
            let idle = (!idle.is_zero()).then_some(idle);
            plan.listen.insert(name.to_owned(), Endpoint { binds, idle, transport });
        }
    }

    fn call(&mut self, call: &Element, plan: &mut Plan) {
        for client in call.children_named("netconf-client") {
            let Some(name) = client.text_of("name") else { continue };
            let at = format!("{SERVER}/call-home/netconf-client{}", key(name));
            let mut remotes = Vec::new();
            for endpoint in entries(client, "endpoints", "endpoint") {
                let name = endpoint.text_of("name").unwrap_or_default().to_owned();
                let at = format!("{at}/endpoints/endpoint{}", key(&name));
                let Some((side, transport)) = self.transport(endpoint, &at) else { continue };
                let Some(tcp) = side.child("tcp-client-parameters") else { continue };
                let default = if matches!(transport, Transport::Ssh(_)) { 4334 } else { 4335 };
                let port = number(tcp, "remote-port").unwrap_or(default);
                let host = tcp.text_of("remote-address").unwrap_or_default().to_owned();
                if port == 0 {
                    let message = "a client cannot be called on port 0";
                    self.refuse(Refusal::new(Kind::InvalidValue, message).at(&at));
                }
                remotes.push(Remote { name, host, port, transport });
            }
            if remotes.is_empty() {
                continue;
            }
            let periodic = client.child("connection-type").and_then(|kind| kind.child("periodic"));
            let idle = periodic.map_or(Duration::ZERO, |periodic| seconds(periodic, "idle-timeout", IDLE_SECONDS));
            let connection = periodic.map_or(Connection::Persistent, |periodic| self.periodic(periodic, &at));
            let strategy = client.child("reconnect-strategy");
            let policy = Policy {
                start_with: match strategy.and_then(|strategy| strategy.text_of("start-with")) {
                    Some("last-connected") => StartWith::LastConnected,
                    Some("random-selection") => StartWith::Random,
                    Some(_) | None => StartWith::FirstListed,
                },
                attempts: strategy.and_then(|strategy| number(strategy, "max-attempts")).unwrap_or(ATTEMPTS),
                connection,
            };
            let max_wait = strategy.and_then(|strategy| number(strategy, "max-wait")).unwrap_or(MAX_WAIT_SECONDS);
            let idle = (!idle.is_zero()).then_some(idle);
            let max_wait = Duration::from_secs(max_wait);
            plan.call.insert(name.to_owned(), Client { remotes, policy, idle, max_wait });
        }
    }

    fn periodic(&mut self, periodic: &Element, at: &str) -> Connection {
        let minutes = number(periodic, "period").unwrap_or(PERIOD_MINUTES);
        if minutes == 0 {
            let message = "a period of 0 minutes is none";
            self.refuse(Refusal::new(Kind::InvalidValue, message).at(at).mend("give 1 or more, or choose persistent"));
        }
        let anchor = periodic.text_of("anchor-time").and_then(|text| text.parse::<Timestamp>().ok());
        let period = Duration::from_secs(60 * minutes.max(1));
        Connection::Periodic { period, anchor_unix: anchor.map(Timestamp::as_second) }
    }

    /// The container of the transport that an endpoint has, and what it says.
    fn transport<'e>(&mut self, endpoint: &'e Element, at: &str) -> Option<(&'e Element, Transport)> {
        if let Some(side) = endpoint.child("ssh") {
            let ssh = self.ssh(side, at);
            return Some((side, Transport::Ssh(ssh)));
        }
        let side = endpoint.child("tls")?;
        let tls = self.tls(side, at)?;
        Some((side, Transport::Tls(tls)))
    }

    fn ssh(&mut self, side: &Element, at: &str) -> Ssh {
        let parameters = side.child("ssh-server-parameters");
        let identity = parameters.and_then(|parameters| parameters.child("server-identity"));
        let mut host_keys = Vec::new();
        for host_key in identity.into_iter().flat_map(|identity| identity.children_named("host-key")) {
            let reference = host_key.descend(&["public-key", "central-keystore-reference"]);
            host_keys
                .extend(reference.and_then(|reference| reference.text.clone()).filter(|name| self.is_file(name, at)));
        }
        let keepalives = parameters.and_then(|parameters| parameters.child("keepalives"));
        let keepalive = keepalives.map(|keepalives| {
            let wait = seconds(keepalives, "max-wait", KEEPALIVE_SECONDS);
            (wait, number(keepalives, "max-attempts").unwrap_or(KEEPALIVE_ATTEMPTS))
        });
        Ssh { host_keys, keepalive }
    }

    fn tls(&mut self, side: &Element, at: &str) -> Option<Tls> {
        let parameters = side.child("tls-server-parameters")?;
        let reference = parameters.descend(&["server-identity", "certificate", "central-keystore-reference"]);
        let Some((key, certificate)) =
            reference.and_then(|reference| reference.text_of("asymmetric-key").zip(reference.text_of("certificate")))
        else {
            let kind = Kind::MissingElement { element: "asymmetric-key".to_owned() };
            self.refuse(Refusal::new(kind, "TLS needs a key and a certificate").at(at));
            return None;
        };
        let Some(authentication) = parameters.child("client-authentication") else {
            let kind = Kind::MissingElement { element: "client-authentication".to_owned() };
            let refusal = Refusal::new(kind, "NETCONF over TLS knows its users by their certificates");
            self.refuse(refusal.at(at).mend("add client-authentication with ca-certs or ee-certs"));
            return None;
        };
        let authorities = self.bag(authentication.child("ca-certs"));
        let clients = self.bag(authentication.child("ee-certs"));
        if authorities.is_empty() && clients.is_empty() {
            let refusal =
                Refusal::new(Kind::InvalidValue, "the bags of trusted certificates are empty: nobody could come in");
            self.refuse(refusal.at(at).mend("put a certificate into the truststore"));
        }
        if !self.is_file(key, at) {
            return None;
        }
        let certificate = self.certificate(key, certificate);
        let mappings = self.mappings(side, at);
        Some(Tls { key: key.to_owned(), certificate, authorities, clients, mappings })
    }

    fn mappings(&mut self, side: &Element, at: &str) -> Vec<Mapping> {
        let mappings = side.descend(&["netconf-server-parameters", "client-identity-mappings"]);
        let mut read = Vec::new();
        for entry in mappings.into_iter().flat_map(|mappings| mappings.children_named("cert-to-name")) {
            let Some(id) = number(entry, "id") else { continue };
            let fingerprint = match entry.text_of("fingerprint").map(Fingerprint::parse).transpose() {
                Ok(fingerprint) => fingerprint,
                Err(trouble) => {
                    let message = format!("the fingerprint of entry {id} cannot be used: {trouble}");
                    self.refuse(Refusal::new(Kind::InvalidValue, message).at(at));
                    continue;
                }
            };
            // An identity may come with the name of its module.
            let name = match entry.text_of("map-type").map(|text| text.rsplit(':').next().unwrap_or_default()) {
                Some("specified") => Name::Specified(entry.text_of("name").unwrap_or_default().to_owned()),
                Some("san-rfc822-name") => Name::Mail,
                Some("san-dns-name") => Name::Dns,
                Some("san-ip-address") => Name::Address,
                Some("san-any") => Name::AnyAlternative,
                Some("common-name") => Name::Common,
                other => {
                    let message =
                        format!("entry {id} has no way to a name that is known: {}", other.unwrap_or_default());
                    self.refuse(Refusal::new(Kind::InvalidValue, message).at(at));
                    continue;
                }
            };
            read.push(Mapping { id, fingerprint, name });
        }
        read
    }

    /// Every certificate that is configured can be read, also one that nothing refers to yet.
    fn judge_certificates(&mut self) {
        let mut found = Vec::new();
        for key_entry in
            self.keystore.iter().flat_map(|keystore| entries(keystore, "asymmetric-keys", "asymmetric-key"))
        {
            let at = format!(
                "{KEYSTORE}/asymmetric-keys/asymmetric-key{}",
                key(key_entry.text_of("name").unwrap_or_default())
            );
            for certificate in entries(key_entry, "certificates", "certificate") {
                found.push((format!("{at}/certificates"), certificate));
            }
        }
        for bag in
            self.truststore.iter().flat_map(|truststore| entries(truststore, "certificate-bags", "certificate-bag"))
        {
            let at = format!(
                "{TRUSTSTORE}/certificate-bags/certificate-bag{}",
                key(bag.text_of("name").unwrap_or_default())
            );
            found.extend(bag.children_named("certificate").map(|certificate| (at.clone(), certificate)));
        }
        let mut refusals = Vec::new();
        for (at, certificate) in found {
            let name = certificate.text_of("name").unwrap_or_default();
            if let Err(trouble) = certificates(&bytes_of(certificate)) {
                let path = format!("{at}/certificate{}/cert-data", key(name));
                let refusal =
                    Refusal::new(Kind::InvalidValue, format!("the certificate `{name}` cannot be used: {trouble}"));
                refusals.push(refusal.at(path).mend("give what `openssl x509 -outform der | base64` prints"));
            }
        }
        self.refusals.extend(refusals);
    }

    /// The chain of a key's certificate; what cannot be read is refused elsewhere.
    fn certificate(&self, wanted_key: &str, wanted: &str) -> Vec<CertificateDer<'static>> {
        let keys = self.keystore.iter().flat_map(|keystore| entries(keystore, "asymmetric-keys", "asymmetric-key"));
        keys.filter(|key| key.text_of("name") == Some(wanted_key))
            .flat_map(|key| entries(key, "certificates", "certificate"))
            .filter(|certificate| certificate.text_of("name") == Some(wanted))
            .flat_map(|certificate| certificates(&bytes_of(certificate)).unwrap_or_default())
            .collect()
    }

    fn bag(&self, reference: Option<&Element>) -> Vec<CertificateDer<'static>> {
        let wanted = reference.and_then(|reference| reference.text_of("central-truststore-reference"));
        let bags =
            self.truststore.iter().flat_map(|truststore| entries(truststore, "certificate-bags", "certificate-bag"));
        bags.filter(|bag| wanted.is_some() && bag.text_of("name") == wanted)
            .flat_map(|bag| bag.children_named("certificate"))
            .flat_map(|certificate| certificates(&bytes_of(certificate)).unwrap_or_default())
            .collect()
    }

    /// Whether the name of a key can be the name of a file of its own.
    fn is_file(&mut self, name: &str, at: &str) -> bool {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if !name.is_empty() && !name.starts_with('.') && name.len() <= 128 && name.chars().all(plain) {
            return true;
        }
        let message = format!("the key `{name}` cannot be a file in the folder keys");
        self.refuse(Refusal::new(Kind::InvalidValue, message).at(at).mend("use letters, digits, `.`, `_` and `-`"));
        false
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusals.push(refusal);
    }
}

fn entries<'e>(parent: &'e Element, container: &str, list: &'e str) -> impl Iterator<Item = &'e Element> {
    parent.child(container).into_iter().flat_map(move |container| container.children_named(list))
}

fn number<T: std::str::FromStr>(parent: &Element, leaf: &str) -> Option<T> {
    parent.text_of(leaf)?.parse().ok()
}

fn seconds(parent: &Element, leaf: &str, default: u64) -> Duration {
    Duration::from_secs(number(parent, leaf).unwrap_or(default))
}

/// The value of `cert-data`; the schema has seen that it is base64.
fn bytes_of(certificate: &Element) -> Vec<u8> {
    let text = certificate.text_of("cert-data").unwrap_or_default();
    let compact: String = text.split_ascii_whitespace().collect();
    BASE64.decode(compact.as_bytes()).unwrap_or_default()
}

/// The predicate of a list entry's only key.
fn key(name: &str) -> String {
    let quote = if name.contains('\'') { '"' } else { '\'' };
    format!("[name={quote}{name}{quote}]")
}

#[cfg(test)]
mod tests;
