//! Private keys: files in the folder `keys`, called by the names that the keystore has for them.
//!
//! A key is read when the configuration that names it is judged and applied, and kept nowhere else. Must not know: who shows it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// A private key file is a few thousand bytes; more is something else.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the private key {} is not there; make one with `openssl genpkey -algorithm ed25519 -out {}`",
        path.display(),
        path.display()
    )]
    Absent { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is readable by others (mode {mode:04o}); type `chmod 600 {}`", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} holds no private key in PEM without a passphrase (PKCS #8, SEC 1 or PKCS #1)", path.display())]
    Malformed { path: PathBuf },
}

/// The key for TLS that is called `name`.
pub fn tls_key(folder: &Path, name: &str) -> Result<PrivateKeyDer<'static>, KeyError> {
    let path = folder.join(name);
    let at = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Absent { path: path.clone() },
        _ => KeyError::Io { path: path.clone(), error },
    };
    let file = File::open(&path).map_err(at)?;
    // Asked of the open file: the name may change its meaning in between.
    let mode = file.metadata().map_err(at)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path, mode });
    }
    let mut text = Vec::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text).map_err(at)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| KeyError::Malformed { path })
}
