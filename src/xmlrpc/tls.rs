//! The listener's side of TLS, and the names of whoever shows a certificate.
//!
//! Nobody is turned away in the handshake: who shows no certificate of the authorities is answered with the fault that
//! clients know, whatever is asked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

#[derive(Debug, thiserror::Error)]
pub enum TlsRefused {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("an authority for callers cannot be used: {0}")]
    Authority(String),
    #[error("certificate and key do not serve TLS: {0}")]
    Setup(String),
}

/// # Errors
/// Certificates or a key that TLS cannot use.
pub fn config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Arc<ServerConfig>, TlsRefused> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| TlsRefused::Authority(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsRefused::Authority(error.to_string()))?;
    let setup = |error: tokio_rustls::rustls::Error| TlsRefused::Setup(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)
        .map_err(setup)?;
    // Who comes again proves himself again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The names of the host that a verified certificate is for, in small letters.
pub fn names(certificate: &CertificateDer<'_>) -> BTreeSet<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return BTreeSet::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: BTreeSet<String> = common.map(str::to_lowercase).collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_lowercase()),
            _ => None,
        }));
    }
    names
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_for_its_common_name_and_its_hosts() {
        let mut parameters = CertificateParams::new(vec!["Config.example".to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "primary");
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(names(certificate.der()).into_iter().collect::<Vec<_>>(), ["config.example", "primary"]);
        assert!(names(&CertificateDer::from(vec![1, 2, 3])).is_empty());
    }
}
