//! The host keys: made once, kept private, loaded at every start.
//!
//! Files are named as OpenSSH names them (`ssh_host_ed25519_key`, with the public half in `.pub`), so that its tools
//! can read them. Must not know: listeners, users.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};

/// A private key file is a few hundred bytes; more is something else.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

const KINDS: [(&str, Algorithm); 2] =
    [("ed25519", Algorithm::Ed25519), ("ecdsa", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })];

#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is readable by others (mode {mode:04o}); type `chmod 600 {}`", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is not an OpenSSH private key: {source}; make one with `ssh-keygen -t ed25519 -N '' -f FILE`", path.display())]
    Malformed { path: PathBuf, source: russh::keys::Error },
    #[error("{} is protected by a passphrase; type `ssh-keygen -p -N '' -f {}`", path.display(), path.display())]
    Encrypted { path: PathBuf },
    #[error("{} has a key of type {algorithm}, which is not served; use ed25519 or ecdsa", path.display())]
    Unsupported { path: PathBuf, algorithm: String },
    #[error("no host keys (ssh_host_*_key) in {}; type `procyon init --root DIR`, which makes them", dir.display())]
    NoneFound { dir: PathBuf },
    #[error("cannot make a {algorithm} key: {reason}")]
    NotMade { algorithm: String, reason: String },
}

/// A host key as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    pub path: PathBuf,
    pub algorithm: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// Loads every `ssh_host_*_key` in `dir`, in the order of their names.
pub fn load(dir: &Path) -> Result<Vec<PrivateKey>, HostKeyError> {
    let at_dir = |source| HostKeyError::Io { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(at_dir)? {
        let path = entry.map_err(at_dir)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") && name.ends_with("_key") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(HostKeyError::NoneFound { dir: dir.to_owned() });
    }
    // Backwards by name: ed25519 before ecdsa.
    paths.sort_unstable_by(|a, b| b.cmp(a));
    paths.iter().map(|path| load_one(path)).collect()
}

/// Makes the keys that `dir` does not have yet: ed25519 and ECDSA P-256, each with its `.pub`. Keys that exist stay as
/// they are: clients know them.
pub fn generate(dir: &Path) -> Result<Vec<HostKey>, HostKeyError> {
    let at_dir = |source| HostKeyError::Io { path: dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at_dir)?;
    let mut keys = Vec::new();
    for (name, algorithm) in KINDS {
        let path = dir.join(format!("ssh_host_{name}_key"));
        let key = if path.exists() { load_one(&path)? } else { make_one(&path, algorithm)? };
        let public = key.public_key();
        keys.push(HostKey {
            path,
            algorithm: public.algorithm().to_string(),
            fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        });
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at_dir)?;
    Ok(keys)
}

/// Loads the key that is called `name` in `dir`, whatever that name is.
pub fn load_named(dir: &Path, name: &str) -> Result<PrivateKey, HostKeyError> {
    load_one(&dir.join(name))
}

/// Loads the ed25519 key that is called `name` in `dir`; the first time it is made, with its `.pub`.
pub fn load_or_make(dir: &Path, name: &str) -> Result<PrivateKey, HostKeyError> {
    let path = dir.join(name);
    if path.exists() { load_one(&path) } else { make_one(&path, Algorithm::Ed25519) }
}

fn load_one(path: &Path) -> Result<PrivateKey, HostKeyError> {
    let at = |source| HostKeyError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(at)?;
    // Asked of the open file: the name may change its meaning in between.
    let mode = file.metadata().map_err(at)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(at)?;
    let key = match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => key,
        Err(russh::keys::Error::KeyIsEncrypted) => return Err(HostKeyError::Encrypted { path: path.to_owned() }),
        Err(source) => return Err(HostKeyError::Malformed { path: path.to_owned(), source }),
    };
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        other => Err(HostKeyError::Unsupported { path: path.to_owned(), algorithm: other.to_string() }),
    }
}

fn make_one(path: &Path, algorithm: Algorithm) -> Result<PrivateKey, HostKeyError> {
    let not_made = |error: &dyn std::fmt::Display| HostKeyError::NotMade {
        algorithm: algorithm.to_string(),
        reason: error.to_string(),
    };
    let key =
        PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm.clone()).map_err(|error| not_made(&error))?;
    let private = key.to_openssh(LineEnding::LF).map_err(|error| not_made(&error))?;
    let public = key.public_key().to_openssh().map_err(|error| not_made(&error))?;
    // The public half first: a private key that is there is complete.
    write_whole(&path.with_extension("pub"), format!("{public}\n").as_bytes(), 0o644)?;
    write_whole(path, private.as_bytes(), 0o600)?;
    Ok(key)
}

/// Under its final name a file is whole or absent, whenever the power goes.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), HostKeyError> {
    let fresh = path.with_extension("new");
    let at = |source| HostKeyError::Io { path: path.to_owned(), source };
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(at)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at)?;
    fs::rename(&fresh, path).map_err(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn generated_keys_are_private_and_load_again() {
        let dir = tempfile::tempdir().unwrap();
        let keys = generate(dir.path()).unwrap();
        assert_eq!(
            keys.iter().map(|key| key.algorithm.as_str()).collect::<Vec<_>>(),
            ["ssh-ed25519", "ecdsa-sha2-nistp256"]
        );
        for key in &keys {
            assert_eq!(fs::metadata(&key.path).unwrap().mode() & 0o777, 0o600);
            let public = fs::read_to_string(key.path.with_extension("pub")).unwrap();
            assert!(public.starts_with(&format!("{} ", key.algorithm)), "{public}");
        }
        assert_eq!(load(dir.path()).unwrap().len(), 2);
        assert_eq!(load(dir.path()).unwrap()[0].algorithm(), Algorithm::Ed25519);
    }

    #[test]
    fn generating_again_keeps_the_keys_that_clients_know() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(generate(dir.path()).unwrap(), generate(dir.path()).unwrap());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = generate(dir.path()).unwrap()[0].path.clone();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let message = load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("mode 0640") && message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn an_empty_folder_and_a_file_of_noise_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("procyon init"));
        let path = dir.path().join("ssh_host_noise_key");
        write_whole(&path, b"noise", 0o600).unwrap();
        assert!(matches!(load(dir.path()), Err(HostKeyError::Malformed { .. })));
    }
}
