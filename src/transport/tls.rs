//! One endpoint's side of TLS: the certificate it shows, whom it trusts, and who they are.
//!
//! A client is trusted because an authority has certified it, or because its very certificate is configured. Nothing is
//! resumed: who comes again proves himself again, by what is configured then. Must not know: sockets, key files.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use super::config::Tls;
use super::x509::{self, CertificateRefused, Mapping};

#[derive(Debug, thiserror::Error)]
pub(super) enum TlsRefused {
    #[error(transparent)]
    Certificate(#[from] CertificateRefused),
    #[error("a certificate of the truststore cannot be an authority: {0}")]
    Authority(String),
    #[error("TLS cannot be set up: {0}")]
    Setup(Error),
}

/// Ready to serve.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) config: Arc<ServerConfig>,
    verifier: Arc<Clients>,
    mappings: Vec<Mapping>,
}

impl Side {
    pub(super) fn new(tls: &Tls, key: PrivateKeyDer<'static>) -> Result<Self, TlsRefused> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Clients::new(tls, &provider)?);
        let resolver = SingleKey(Arc::new(certified(tls, key, &provider)?));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsRefused::Setup)?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(resolver));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), verifier, mappings: tls.mappings.clone() })
    }

    /// Who shows these certificates, if they are trusted at this time and mean somebody.
    pub(super) fn user_of(&self, shown: &[CertificateDer<'_>], now: UnixTime) -> Option<String> {
        let (own, above) = shown.split_first()?;
        self.verifier.verify_client_cert(own, above, now).ok()?;
        x509::user_of(&self.mappings, shown, &self.verifier.authorities_of(own, above, now))
    }
}

/// The key with the certificate among the configured ones that belongs to it, and the others behind it.
fn certified(tls: &Tls, key: PrivateKeyDer<'static>, provider: &CryptoProvider) -> Result<CertifiedKey, TlsRefused> {
    let key = provider.key_provider.load_private_key(key).map_err(TlsRefused::Setup)?;
    for own in &tls.certificate {
        let others = tls.certificate.iter().filter(|other| *other != own);
        let chain = std::iter::once(own).chain(others).cloned().collect();
        let certified = CertifiedKey::new(chain, key.clone());
        if certified.keys_match().is_ok() {
            return Ok(certified);
        }
    }
    Err(CertificateRefused::NotOfThisKey.into())
}

#[derive(Debug)]
struct SingleKey(Arc<CertifiedKey>);

impl tokio_rustls::rustls::server::ResolvesServerCert for SingleKey {
    fn resolve(&self, _: tokio_rustls::rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Whose certificates are good.
#[derive(Debug)]
struct Clients {
    pinned: Vec<CertificateDer<'static>>,
    /// Each with a verifier that trusts it alone, which tells by whom somebody is certified.
    authorities: Vec<(CertificateDer<'static>, Arc<dyn ClientCertVerifier>)>,
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, TlsRefused> {
        let refused = |error: &dyn std::fmt::Display| TlsRefused::Authority(error.to_string());
        let mut authorities: Vec<(CertificateDer<'static>, Arc<dyn ClientCertVerifier>)> = Vec::new();
        let mut hints = Vec::new();
        for authority in &tls.authorities {
            let mut roots = RootCertStore::empty();
            roots.add(authority.clone()).map_err(|error| refused(&error))?;
            hints.extend(roots.subjects());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            authorities.push((authority.clone(), verifier.map_err(|error| refused(&error))?));
        }
        // Whoever has a certificate of its own must not be told to show another: with pins no authority is hinted at.
        if !tls.clients.is_empty() {
            hints.clear();
        }
        Ok(Self { pinned: tls.clients.clone(), authorities, hints, provider: provider.clone() })
    }

    /// The authorities that certify `own`.
    fn authorities_of(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Vec<&CertificateDer<'static>> {
        let certifies = |verifier: &Arc<dyn ClientCertVerifier>| verifier.verify_client_cert(own, above, now).is_ok();
        self.authorities.iter().filter(|(_, verifier)| certifies(verifier)).map(|(authority, _)| authority).collect()
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if above.len() >= x509::CERTIFICATES_MAX {
            return Err(Error::General(format!("more than {} certificates", x509::CERTIFICATES_MAX)));
        }
        if self.pinned.iter().any(|pinned| pinned == own) {
            return in_time(own, now).map(|()| ClientCertVerified::assertion());
        }
        let mut refused = Error::from(CertificateError::UnknownIssuer);
        for (_, verifier) in &self.authorities {
            match verifier.verify_client_cert(own, above, now) {
                Ok(verified) => return Ok(verified),
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate that is trusted by itself is still no good after its time.
fn in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.validity();
    if now < validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
