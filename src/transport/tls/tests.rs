use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;
use crate::transport::x509::Name;

fn params(common: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

fn authority(common: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(common);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certified_by(authority: &CertifiedIssuer<'static, KeyPair>, common: &str) -> CertificateDer<'static> {
    params(common).signed_by(&KeyPair::generate().unwrap(), authority).unwrap().der().clone()
}

fn own() -> (PrivateKeyDer<'static>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = params("device").self_signed(&key).unwrap().der().clone();
    (PrivatePkcs8KeyDer::from(key.serialize_der()).into(), certificate)
}

fn side(authorities: Vec<CertificateDer<'static>>, clients: Vec<CertificateDer<'static>>) -> Side {
    let (key, certificate) = own();
    let mappings = vec![Mapping { id: 1, fingerprint: None, name: Name::Common }];
    let tls = Tls { key: "k".to_owned(), certificate: vec![certificate], authorities, clients, mappings };
    Side::new(&tls, key).unwrap()
}

/// Within the time of the certificates that are made here: 1975 to 4096.
fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

const NOW: u64 = 1_795_000_000;

#[test]
fn who_is_certified_by_a_trusted_authority_is_known_by_name() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let side = side(vec![ours.der().clone()], vec![]);
    assert_eq!(side.user_of(&[certified_by(&ours, "fred")], at(NOW)).as_deref(), Some("fred"));
    assert_eq!(side.user_of(&[certified_by(&theirs, "fred")], at(NOW)), None);
    assert_eq!(side.user_of(&[], at(NOW)), None);
}

#[test]
fn a_chain_is_followed_up_to_the_trusted_one() {
    let root = authority("root");
    let mut middle = params("middle");
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), &root).unwrap();
    let fred = certified_by(&middle, "fred");
    let side = side(vec![root.der().clone()], vec![]);
    assert_eq!(side.user_of(&[fred.clone(), middle.der().clone()], at(NOW)).as_deref(), Some("fred"));
    assert_eq!(side.user_of(&[fred], at(NOW)), None);
}

#[test]
fn a_certificate_may_be_trusted_by_itself_within_its_time() {
    let (_, pinned) = own();
    let (_, other) = own();
    let side = side(vec![], vec![pinned.clone()]);
    assert_eq!(side.user_of(std::slice::from_ref(&pinned), at(NOW)).as_deref(), Some("device"));
    assert_eq!(side.user_of(&[other], at(NOW)), None);
    assert_eq!(side.user_of(std::slice::from_ref(&pinned), at(1000)), None);
    assert_eq!(side.user_of(&[pinned], at(67_200_000_000)), None);
}

#[test]
fn a_key_without_its_certificate_is_refused() {
    let ((key, _), (_, other)) = (own(), own());
    let tls =
        Tls { key: "k".to_owned(), certificate: vec![other], authorities: vec![], clients: vec![], mappings: vec![] };
    let refused = Side::new(&tls, key).unwrap_err();
    assert!(matches!(refused, TlsRefused::Certificate(CertificateRefused::NotOfThisKey)), "{refused}");
}

#[test]
fn an_authority_is_told_apart_by_its_key_and_not_by_its_name() {
    let (one, two) = (authority("same"), authority("same"));
    let side = side(vec![one.der().clone(), two.der().clone()], vec![]);
    let fred = certified_by(&two, "fred");
    let found = side.verifier.authorities_of(&fred, &[], at(NOW));
    assert_eq!(found, [two.der()]);
}
