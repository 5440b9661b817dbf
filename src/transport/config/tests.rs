use rcgen::{CertificateParams, KeyPair};

use super::*;

/// The configuration, as the trees of its roots.
struct Config(Vec<Element>);

impl Configuration for Config {
    fn subtree(&self, path: &str) -> Option<Element> {
        self.0.iter().find(|tree| path.rsplit(':').next() == Some(&*tree.name)).cloned()
    }
}

fn node(name: &'static str, children: Vec<Element>) -> Element {
    Element::node(name, children)
}

fn leaf(name: &'static str, value: impl std::fmt::Display) -> Element {
    Element::leaf(name, value)
}

fn within(names: &[&'static str], inside: Vec<Element>) -> Element {
    let (last, above) = names.split_last().unwrap();
    above.iter().rev().fold(node(last, inside), |inner, name| node(name, vec![inner]))
}

fn cert_data() -> String {
    let made = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
    BASE64.encode(made.der())
}

fn stores(cert_data: &str) -> Vec<Element> {
    let certificate = || vec![leaf("name", "own"), leaf("cert-data", cert_data)];
    let key = vec![leaf("name", "tls-key"), within(&["certificates", "certificate"], certificate())];
    let bag = vec![leaf("name", "clients"), node("certificate", certificate())];
    vec![
        within(&["keystore", "asymmetric-keys", "asymmetric-key"], key),
        within(&["truststore", "certificate-bags", "certificate-bag"], bag),
    ]
}

fn tls(key: &str, mapping: Vec<Element>) -> Vec<Element> {
    let reference = vec![leaf("asymmetric-key", key), leaf("certificate", "own")];
    let clients = vec![leaf("central-truststore-reference", "clients")];
    vec![
        node(
            "tls-server-parameters",
            vec![
                within(&["server-identity", "certificate", "central-keystore-reference"], reference),
                within(&["client-authentication", "ca-certs"], clients),
            ],
        ),
        within(&["netconf-server-parameters", "client-identity-mappings", "cert-to-name"], mapping),
    ]
}

fn mapping(more: Vec<Element>) -> Vec<Element> {
    let mut mapping = vec![leaf("id", 1), leaf("map-type", "ietf-x509-cert-to-name:common-name")];
    mapping.extend(more);
    mapping
}

fn endpoint(name: &str, port: u16, transport: &'static str, mut side: Vec<Element>) -> Element {
    let bind = vec![leaf("local-address", "192.0.2.1"), leaf("local-port", port)];
    side.push(within(&["tcp-server-parameters", "local-bind"], bind));
    node("endpoint", vec![leaf("name", name), node(transport, side)])
}

fn listening(endpoints: Vec<Element>, cert_data: &str) -> (Plan, Vec<String>) {
    let mut trees = stores(cert_data);
    trees.push(within(&["netconf-server", "listen", "endpoints"], endpoints));
    let (plan, refusals) = read(&Config(trees));
    (plan, refusals.iter().map(ToString::to_string).collect())
}

#[test]
fn an_endpoint_is_read_with_its_keys_and_its_clients() {
    let host_key = vec![leaf("name", "a"), within(&["public-key", "central-keystore-reference"], vec![])];
    let mut host_key = node("host-key", host_key);
    host_key.children[1].children[0].text = Some("ssh_host_ed25519_key".to_owned());
    let keepalives = node("keepalives", vec![leaf("max-wait", 7), leaf("max-attempts", 2)]);
    let ssh = vec![node("ssh-server-parameters", vec![node("server-identity", vec![host_key]), keepalives])];
    let endpoints = vec![endpoint("s", 830, "ssh", ssh), endpoint("t", 6513, "tls", tls("tls-key", mapping(vec![])))];
    let (plan, refusals) = listening(endpoints, &cert_data());
    assert_eq!(refusals, Vec::<String>::new());
    let (ssh, tls) = (&plan.listen["s"], &plan.listen["t"]);
    assert_eq!(ssh.binds, ["192.0.2.1:830".parse().unwrap()]);
    assert_eq!(ssh.idle, Some(Duration::from_secs(180)));
    let keepalive = Some((Duration::from_secs(7), 2));
    let expected = Ssh { host_keys: vec!["ssh_host_ed25519_key".to_owned()], keepalive };
    assert_eq!(ssh.transport, Transport::Ssh(expected));
    let Transport::Tls(tls) = &tls.transport else { panic!("it is TLS") };
    assert_eq!((tls.key.as_str(), tls.certificate.len(), tls.authorities.len()), ("tls-key", 1, 1));
    assert_eq!(tls.mappings, [Mapping { id: 1, fingerprint: None, name: Name::Common }]);
}

#[test]
fn what_cannot_be_is_refused_and_says_where() {
    let good = cert_data();
    let one = |side| vec![endpoint("t", 6513, "tls", side)];
    let fingerprint = || mapping(vec![leaf("fingerprint", "01:02")]);
    let twice =
        || vec![endpoint("a", 1, "tls", tls("k", mapping(vec![]))), endpoint("b", 1, "tls", tls("k", mapping(vec![])))];
    let mut said = Vec::new();
    for (endpoints, cert_data) in [
        (one(tls("../escape", mapping(vec![]))), &good),
        (one(tls("tls-key", fingerprint())), &good),
        (twice(), &good),
        (one(tls("tls-key", mapping(vec![]))), &"AAAA".to_owned()),
        (one(vec![]), &good),
    ] {
        said.extend(listening(endpoints, cert_data).1);
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    the key `../escape` cannot be a file in the folder keys; use letters, digits, `.`, `_` and `-`
    the fingerprint of entry 1 cannot be used: hash 01 is not known here; 04 (SHA-256) is, and 02, 03, 05 and 06
    the endpoints `a` and `b` both listen on 192.0.2.1:1; give one of them another port
    the bags of trusted certificates are empty: nobody could come in; put a certificate into the truststore
    the certificate `own` cannot be used: this is neither a DER certificate nor a CMS structure with certificates; give what `openssl x509 -outform der | base64` prints
    the certificate `own` cannot be used: this is neither a DER certificate nor a CMS structure with certificates; give what `openssl x509 -outform der | base64` prints
    ");
}

#[test]
fn a_client_is_called_as_its_strategy_says() {
    let remote = |name: &str, port| {
        let tcp = vec![leaf("remote-address", "manager.example"), leaf("remote-port", port)];
        node("endpoint", vec![leaf("name", name), node("ssh", vec![node("tcp-client-parameters", tcp)])])
    };
    let periodic = vec![leaf("period", 15), leaf("anchor-time", "2026-11-21T00:00:00Z")];
    let strategy = vec![leaf("start-with", "random-selection"), leaf("max-wait", 9), leaf("max-attempts", 4)];
    let client = vec![
        leaf("name", "noc"),
        node("endpoints", vec![remote("b", 4334), remote("a", 4444)]),
        within(&["connection-type", "periodic"], periodic),
        node("reconnect-strategy", strategy),
    ];
    let (plan, refusals) = read(&Config(vec![within(&["netconf-server", "call-home", "netconf-client"], client)]));
    assert!(refusals.is_empty(), "{refusals:?}");
    let client = &plan.call["noc"];
    let ports: Vec<u16> = client.remotes.iter().map(|remote| remote.port).collect();
    assert_eq!(ports, [4334, 4444], "in the order of the user");
    let connection = Connection::Periodic { period: Duration::from_secs(900), anchor_unix: Some(1_795_219_200) };
    assert_eq!(client.policy, Policy { start_with: StartWith::Random, attempts: 4, connection });
    assert_eq!((client.max_wait, client.idle), (Duration::from_secs(9), Some(Duration::from_secs(180))));
}
