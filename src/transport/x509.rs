//! Certificates: out of the forms in which they are configured, and to the user whom they mean (RFC 7407).
//!
//! Nothing here trusts: whoever asks who a certificate means has verified it. Must not know: TLS, files.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use data_encoding::HEXLOWER_PERMISSIVE;
use sha2::Digest as _;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Longer names belong to nobody, by TLS as by SSH.
const USER_BYTES_MAX: usize = 64;

/// A chain longer than this is no chain.
pub(super) const CERTIFICATES_MAX: usize = 16;

/// 1.2.840.113549.1.7.2, signed data.
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
/// `[0]`, constructed.
const FIRST: u8 = 0xa0;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateRefused {
    #[error("this is neither a DER certificate nor a CMS structure with certificates")]
    Unreadable,
    #[error("the CMS structure holds no certificate")]
    None,
    #[error("more than {CERTIFICATES_MAX} certificates")]
    TooMany,
    #[error("no certificate of these belongs to the private key")]
    NotOfThisKey,
}

/// The certificates of a `cert-data` leaf: a CMS SignedData that only carries certificates (RFC 9640), or one X.509
/// certificate as such.
pub(super) fn certificates(data: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateRefused> {
    if is_certificate(data) {
        return Ok(vec![CertificateDer::from(data.to_vec())]);
    }
    let mut rest = carried(data).ok_or(CertificateRefused::Unreadable)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (whole, after) = element(rest).ok_or(CertificateRefused::Unreadable)?;
        if !is_certificate(whole) {
            return Err(CertificateRefused::Unreadable);
        }
        if found.len() == CERTIFICATES_MAX {
            return Err(CertificateRefused::TooMany);
        }
        found.push(CertificateDer::from(whole.to_vec()));
        rest = after;
    }
    if found.is_empty() { Err(CertificateRefused::None) } else { Ok(found) }
}

fn is_certificate(data: &[u8]) -> bool {
    X509Certificate::from_der(data).is_ok_and(|(rest, _)| rest.is_empty())
}

/// The content of the certificates field of a SignedData (RFC 5652 section 5.1).
fn carried(data: &[u8]) -> Option<&[u8]> {
    let (outer, rest) = content(data, SEQUENCE)?;
    if !rest.is_empty() {
        return None;
    }
    let (kind, outer) = content(outer, OID)?;
    if kind != SIGNED_DATA {
        return None;
    }
    let (explicit, _) = content(outer, FIRST)?;
    let (signed, _) = content(explicit, SEQUENCE)?;
    // Version, digest algorithms, what is signed: of no interest, there are no signers.
    let (_, signed) = element(signed)?;
    let (_, signed) = element(signed)?;
    let (_, signed) = element(signed)?;
    content(signed, FIRST).map(|(certificates, _)| certificates)
}

/// The content of the element that `data` begins with, if it is of this kind, and what follows it.
fn content(data: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, length) = header(data)?;
    if data[0] != tag {
        return None;
    }
    Some((&data[head..head + length], &data[head + length..]))
}

/// The element that `data` begins with, its header included, and what follows it.
fn element(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, length) = header(data)?;
    Some(data.split_at(head + length))
}

/// The lengths of an element's header and content, both within `data`.
fn header(data: &[u8]) -> Option<(usize, usize)> {
    let first = *data.get(1)?;
    let (head, length) = if first < 0x80 {
        (2, usize::from(first))
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let digits = data.get(2..2 + count)?;
        (2 + count, digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
    };
    let end = head.checked_add(length)?;
    (end <= data.len()).then_some((head, length))
}

/// One entry of `cert-to-name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) id: u32,
    /// Without one every certificate matches.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) name: Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Specified(String),
    Mail,
    Dns,
    Address,
    AnyAlternative,
    Common,
}

/// A hash of a certificate, headed by its number in TLS (RFC 5246 section 7.4.1.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    hash: Hash,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FingerprintRefused {
    #[error("`{0}` is not hexadecimal digits, two by two, with colons between")]
    Malformed(String),
    #[error("hash {0:02x} is not known here; 04 (SHA-256) is, and 02, 03, 05 and 06")]
    UnknownHash(u8),
    #[error("a hash of this kind has {wanted} bytes, not {found}")]
    Length { wanted: usize, found: usize },
}

impl Fingerprint {
    pub(super) fn parse(text: &str) -> Result<Self, FingerprintRefused> {
        let malformed = || FingerprintRefused::Malformed(text.chars().take(200).collect());
        let byte = |pair: &str| {
            let decoded = HEXLOWER_PERMISSIVE.decode(pair.as_bytes()).ok()?;
            <[u8; 1]>::try_from(decoded).ok().map(|[byte]| byte)
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let bytes = bytes.ok_or_else(malformed)?;
        let (number, bytes) = bytes.split_first().ok_or_else(malformed)?;
        let (hash, wanted) = match number {
            2 => (Hash::Sha1, 20),
            3 => (Hash::Sha224, 28),
            4 => (Hash::Sha256, 32),
            5 => (Hash::Sha384, 48),
            6 => (Hash::Sha512, 64),
            other => return Err(FingerprintRefused::UnknownHash(*other)),
        };
        if bytes.len() != wanted {
            return Err(FingerprintRefused::Length { wanted, found: bytes.len() });
        }
        Ok(Self { hash, bytes: bytes.to_vec() })
    }

    fn matches(&self, certificate: &[u8]) -> bool {
        self.bytes
            == match self.hash {
                Hash::Sha1 => sha1::Sha1::digest(certificate).to_vec(),
                Hash::Sha224 => sha2::Sha224::digest(certificate).to_vec(),
                Hash::Sha256 => sha2::Sha256::digest(certificate).to_vec(),
                Hash::Sha384 => sha2::Sha384::digest(certificate).to_vec(),
                Hash::Sha512 => sha2::Sha512::digest(certificate).to_vec(),
            }
    }
}

/// Who has shown `chain`, the client's own certificate first; `anchors` are the authorities by which it was verified.
/// The entries are asked in the order of their numbers, and one that yields no name is passed over.
pub(super) fn user_of(
    mappings: &[Mapping],
    chain: &[CertificateDer<'_>],
    anchors: &[&CertificateDer<'_>],
) -> Option<String> {
    let own = chain.first()?;
    let (_, certificate) = X509Certificate::from_der(own).ok()?;
    let mut ordered: Vec<&Mapping> = mappings.iter().collect();
    ordered.sort_by_key(|mapping| mapping.id);
    let meant = |mapping: &&&Mapping| {
        mapping.fingerprint.as_ref().is_none_or(|fingerprint| {
            chain.iter().chain(anchors.iter().copied()).any(|certificate| fingerprint.matches(certificate))
        })
    };
    ordered.iter().filter(meant).find_map(|mapping| name_in(&certificate, &mapping.name).filter(|name| is_user(name)))
}

fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn name_in(certificate: &X509Certificate<'_>, wanted: &Name) -> Option<String> {
    match wanted {
        Name::Specified(name) => return Some(name.clone()),
        Name::Common => {
            let common = certificate.subject().iter_common_name().next()?;
            return common.as_str().ok().map(str::to_owned);
        }
        Name::Mail | Name::Dns | Name::Address | Name::AnyAlternative => {}
    }
    let alternatives = certificate.subject_alternative_name().ok()??;
    alternatives.value.general_names.iter().find_map(|name| match (wanted, name) {
        (Name::Mail | Name::AnyAlternative, GeneralName::RFC822Name(mail)) => {
            let (local, host) = mail.rsplit_once('@')?;
            Some(format!("{local}@{}", host.to_lowercase()))
        }
        (Name::Dns | Name::AnyAlternative, GeneralName::DNSName(name)) => Some(name.to_lowercase()),
        (Name::Address | Name::AnyAlternative, GeneralName::IPAddress(bytes)) => address(bytes),
        _ => None,
    })
}

/// RFC 7407: an IPv4 address dotted, an IPv6 address as 32 digits.
fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
        16 => Some(bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: &str, alternatives: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn alternatives() -> Vec<SanType> {
        vec![
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::DnsName("Manager.Example.ORG".try_into().unwrap()),
            SanType::Rfc822Name("Fred@Example.ORG".try_into().unwrap()),
        ]
    }

    fn mapping(id: u32, name: Name) -> Mapping {
        Mapping { id, fingerprint: None, name }
    }

    fn sha256(certificate: &CertificateDer<'_>) -> String {
        let digits: Vec<String> = sha2::Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
        format!("04:{}", digits.join(":"))
    }

    /// The structure that `openssl crl2pkcs7 -nocrl` makes, in DER.
    fn cms(certificates: &[&CertificateDer<'_>]) -> Vec<u8> {
        fn put(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
            let content = parts.concat();
            let mut whole = vec![tag];
            match content.len() {
                short @ 0..0x80 => whole.push(u8::try_from(short).unwrap()),
                long => {
                    whole.push(0x83);
                    whole.extend_from_slice(&u32::try_from(long).unwrap().to_be_bytes()[1..]);
                }
            }
            whole.extend_from_slice(&content);
            whole
        }
        let parts: Vec<&[u8]> = certificates.iter().map(|certificate| certificate.as_ref()).collect();
        let data = put(SEQUENCE, &[&put(OID, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01]])]);
        let signed = put(SEQUENCE, &[&put(2, &[&[1]]), &put(0x31, &[]), &data, &put(FIRST, &parts), &put(0x31, &[])]);
        put(SEQUENCE, &[&put(OID, &[&SIGNED_DATA]), &put(FIRST, &[&signed])])
    }

    #[test]
    fn each_way_to_a_name_finds_its_own() {
        let chain = [certificate("fred", alternatives())];
        for (way, expected) in [
            (Name::Specified("operator".to_owned()), "operator"),
            (Name::Common, "fred"),
            (Name::Mail, "Fred@example.org"),
            (Name::Dns, "manager.example.org"),
            (Name::Address, "20010db8000000000000000000000001"),
            (Name::AnyAlternative, "20010db8000000000000000000000001"),
        ] {
            assert_eq!(user_of(&[mapping(1, way)], &chain, &[]).as_deref(), Some(expected));
        }
        let v4 = certificate("x", vec![SanType::IpAddress("192.0.2.7".parse().unwrap())]);
        assert_eq!(user_of(&[mapping(1, Name::Address)], &[v4], &[]).as_deref(), Some("192.0.2.7"));
    }

    #[test]
    fn entries_are_asked_by_number_and_one_without_a_name_is_passed_over() {
        let chain = [certificate("fred", Vec::new())];
        let entries =
            [mapping(30, Name::Specified("last".to_owned())), mapping(20, Name::Common), mapping(10, Name::Dns)];
        assert_eq!(user_of(&entries, &chain, &[]).as_deref(), Some("fred"));
        assert_eq!(user_of(&entries[2..], &chain, &[]), None);
        assert_eq!(user_of(&entries, &[], &[]), None);
    }

    #[test]
    fn a_fingerprint_means_the_certificate_or_one_above_it() {
        let (own, above, other) = (certificate("a", vec![]), certificate("b", vec![]), certificate("c", vec![]));
        let of = |certificate: &CertificateDer<'_>| {
            let fingerprint = Some(Fingerprint::parse(&sha256(certificate)).unwrap());
            [Mapping { id: 1, fingerprint, name: Name::Common }]
        };
        for known in [&own, &above] {
            assert_eq!(user_of(&of(known), std::slice::from_ref(&own), &[&above]).as_deref(), Some("a"));
        }
        assert_eq!(user_of(&of(&other), std::slice::from_ref(&own), &[&above]), None);
    }

    #[test]
    fn a_fingerprint_that_nothing_could_match_is_refused() {
        assert_eq!(Fingerprint::parse("01:00"), Err(FingerprintRefused::UnknownHash(1)));
        assert_eq!(Fingerprint::parse("04:00"), Err(FingerprintRefused::Length { wanted: 32, found: 1 }));
        assert!(matches!(Fingerprint::parse("04:+1"), Err(FingerprintRefused::Malformed(_))));
        assert!(matches!(Fingerprint::parse(""), Err(FingerprintRefused::Malformed(_))));
    }

    #[test]
    fn a_name_that_is_no_user_s_is_none() {
        for common in ["", "a\nb", &"x".repeat(65)] {
            assert_eq!(user_of(&[mapping(1, Name::Common)], &[certificate(common, vec![])], &[]), None, "{common:?}");
        }
    }

    #[test]
    fn certificates_come_bare_or_in_cms() {
        let (one, two) = (certificate("one", vec![]), certificate("two", vec![]));
        assert_eq!(certificates(&one), Ok(vec![one.clone()]));
        assert_eq!(certificates(&cms(&[&one, &two])), Ok(vec![one.clone(), two]));
        assert_eq!(certificates(&cms(&[])), Err(CertificateRefused::None));
        assert_eq!(certificates(&cms(&[&one; 17])), Err(CertificateRefused::TooMany));
        assert_eq!(certificates(b"noise"), Err(CertificateRefused::Unreadable));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut in 0_usize..400, at in 0_usize..400, with: u8) {
            let _ = certificates(&bytes);
            let mut broken = cms(&[&certificate("one", vec![])]);
            broken.truncate(broken.len().saturating_sub(cut));
            if let Some(byte) = broken.get_mut(at) {
                *byte = with;
            }
            let _ = certificates(&broken);
        }
    }
}
