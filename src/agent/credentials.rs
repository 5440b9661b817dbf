//! What the listener for conserver's client shows of itself: certificates and their key in one file, as conserver has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::server::NoServerSessionStorage;

use crate::transport::keys::{self, KeyError};

#[derive(Debug, Error)]
pub(super) enum CredentialsRefused {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{} holds no certificate in PEM: put it before the key", path.display())]
    NoCertificate { path: PathBuf },
    #[error("certificate and key in {} do not serve TLS: {reason}", path.display())]
    Setup { path: PathBuf, reason: String },
}

/// # Errors
/// A file that is not there, that others can read, or that does not hold what it should.
pub(super) fn load(folder: &Path, name: &str) -> Result<Arc<ServerConfig>, CredentialsRefused> {
    let key = keys::tls_key(folder, name)?;
    let path = folder.join(name);
    let text = fs::read(&path).map_err(|error| KeyError::Io { path: path.clone(), error })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(CredentialsRefused::NoCertificate { path });
    }
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
    let mut config = config.map_err(|error| CredentialsRefused::Setup { path, reason: error.to_string() })?;
    // Who comes again proves himself again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn certificate_and_key_stand_in_one_file_that_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["device".to_owned()]).unwrap().self_signed(&key).unwrap();
        let write = |text: String, mode: u32| {
            let path = folder.path().join("console.pem");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            load(folder.path(), "console.pem").map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(write(certificate.pem() + &key.serialize_pem(), 0o600), Ok(()));
        assert!(write(certificate.pem() + &key.serialize_pem(), 0o644).unwrap_err().contains("chmod 600"));
        assert!(write(key.serialize_pem(), 0o600).unwrap_err().contains("no certificate"));
        assert!(write(certificate.pem(), 0o600).unwrap_err().contains("no private key"));
        let other = KeyPair::generate().unwrap();
        assert!(write(certificate.pem() + &other.serialize_pem(), 0o600).unwrap_err().contains("do not serve TLS"));
    }
}
