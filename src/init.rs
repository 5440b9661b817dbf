//! `procyon init`: makes a root. The tree, the host keys, and the first configuration, which the agent commits at its
//! first start.
//!
//! Everything is checked before anything is made, the configuration is written last, and what was made goes again when
//! a step fails: a root is there wholly or not at all. Must not know: the datastore.

mod first_config;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::rand_core::UnwrapErr;
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey, PublicKey};
use sha_crypt::{PasswordHasher, ShaCrypt};

use self::first_config::{AuthorizedKey, FirstUser};
pub use self::first_config::{InitialConfigError, read_initial};
use crate::settings::layout::SCRIPT_KINDS;
use crate::settings::{Layout, LayoutError};

/// RFC 7317 sets no bound; a name is also a group member and part of log lines.
const NAME_BYTES_MAX: usize = 64;
/// An authorized_keys file of a person.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
const AUTHORIZED_KEYS_MAX: usize = 64;
/// What crypt(3) of common systems takes.
const PASSWORD_BYTES_MAX: usize = 511;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub root: PathBuf,
    pub admin: String,
    pub authorized_keys: Vec<PathBuf>,
    pub password: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("{root} is already initialised; remove it to begin anew, or start it: procyon agent --root {root}")]
    AlreadyInitialised { root: PathBuf },
    #[error("{root} is there and is not an empty folder; choose another place or empty it")]
    NotEmpty { root: PathBuf },
    #[error(
        "the administrator has no way to log in; add --authorized-key FILE (a public key, as ~/.ssh/id_ed25519.pub) or --password-stdin"
    )]
    NoCredential,
    #[error(
        "`{name}` cannot be a user name; use 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` or `-`, beginning with a letter or `_`"
    )]
    BadName { name: String },
    #[error("`script` is the account that on-box scripts run under; choose another name for the administrator")]
    NameTaken,
    #[error(
        "the password is empty or longer than {PASSWORD_BYTES_MAX} bytes, or holds a control character; choose another"
    )]
    BadPassword,
    #[error("{path}:{line}: not a public key of OpenSSH ({error}); expected a line such as `ssh-ed25519 AAAA... name`")]
    BadKey { path: PathBuf, line: usize, error: russh::keys::ssh_key::Error },
    #[error("{path} holds a private key; give the public one, {path}.pub")]
    PrivateKeyGiven { path: PathBuf },
    #[error("{path} holds no public key; expected a line such as `ssh-ed25519 AAAA... name`")]
    NoKey { path: PathBuf },
    #[error("more than {AUTHORIZED_KEYS_MAX} authorized keys; add the others by configuration later")]
    TooManyKeys,
    #[error("cannot make a host key: {error}")]
    HostKey { error: russh::keys::ssh_key::Error },
    #[error("cannot hash the password: {error}")]
    Hash { error: sha_crypt::password_hash::Error },
    #[error("{path}: {error}; check that the folder above exists and is writable, and that the disk is not full")]
    Io { path: PathBuf, error: io::Error },
}

/// Makes the root.
pub fn init(request: &Request) -> Result<Layout, InitError> {
    let layout = Layout::at(&request.root)?;
    check_vacant(&layout)?;
    let user = first_user(request)?;
    let mut made = Made::default();
    match make(&layout, &user, &mut made) {
        Ok(()) => Ok(layout),
        Err(error) => {
            made.undo();
            Err(error)
        }
    }
}

fn make(layout: &Layout, user: &FirstUser, made: &mut Made) -> Result<(), InitError> {
    const OPEN: u32 = 0o755;
    const PRIVATE: u32 = 0o700;
    made.folder(layout.root(), OPEN)?;
    for (folder, mode) in [
        (layout.harddisk(), OPEN),
        (layout.harddisk().join("mirror"), OPEN),
        (layout.harddisk().join("mirror/script-mgmt"), OPEN),
        // What one app prints is not for the script of another.
        (layout.logs(), 0o750),
        (layout.process_d(), OPEN),
        (layout.run(), OPEN),
        (layout.config(), PRIVATE),
        // The private folders of the apps are below it: others may pass, not look.
        (layout.state(), 0o711),
        (layout.state().join("work"), 0o711),
        (layout.keeper_state(), PRIVATE),
        (layout.keys(), PRIVATE),
    ] {
        made.folder(&folder, mode)?;
    }
    for kind in SCRIPT_KINDS {
        made.folder(&layout.repository(kind), OPEN)?;
    }
    for (path, algorithm) in [
        (layout.host_key_ed25519(), Algorithm::Ed25519),
        (layout.host_key_ecdsa(), Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
    ] {
        let (private, public) = host_key(algorithm)?;
        made.file(&path, private.as_bytes(), 0o600)?;
        made.file(&path.with_added_extension("pub"), public.as_bytes(), 0o644)?;
    }
    made.file(&layout.initial_config(), user.to_xml().as_bytes(), 0o600)?;
    sync_folders(layout)
}

fn check_vacant(layout: &Layout) -> Result<(), InitError> {
    let root = layout.root().to_owned();
    if [layout.keys(), layout.config(), layout.state()].iter().any(|folder| folder.exists()) {
        return Err(InitError::AlreadyInitialised { root });
    }
    match fs::read_dir(&root) {
        Ok(mut entries) => match entries.next() {
            // A settings file may be put there beforehand, and a file system of its own brings lost+found.
            None => Ok(()),
            Some(_) if only_expected(&root) => Ok(()),
            Some(_) => Err(InitError::NotEmpty { root }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(InitError::NotEmpty { root }),
        Err(error) => Err(InitError::Io { path: root, error }),
    }
}

fn only_expected(root: &Path) -> bool {
    fs::read_dir(root).is_ok_and(|entries| {
        entries.flatten().all(|entry| ["procyon.toml", "lost+found"].map(Into::into).contains(&entry.file_name()))
    })
}

fn first_user(request: &Request) -> Result<FirstUser, InitError> {
    let name = request.admin.clone();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !begins_well || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(InitError::BadName { name });
    }
    if name == first_config::SCRIPT_USER {
        return Err(InitError::NameTaken);
    }
    if request.authorized_keys.is_empty() && request.password.is_none() {
        return Err(InitError::NoCredential);
    }
    let mut keys = Vec::new();
    for path in &request.authorized_keys {
        keys.extend(read_keys(path)?);
    }
    if keys.len() > AUTHORIZED_KEYS_MAX {
        return Err(InitError::TooManyKeys);
    }
    let password_hash = request.password.as_deref().map(hash).transpose()?;
    Ok(FirstUser::new(name, password_hash, keys))
}

fn hash(password: &str) -> Result<String, InitError> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.chars().any(char::is_control) {
        return Err(InitError::BadPassword);
    }
    let mut salt = [0_u8; 12];
    getrandom::fill(&mut salt).expect("the system gives random bytes");
    let hash = ShaCrypt::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| InitError::Hash { error })?;
    Ok(hash.as_str().to_owned())
}

/// The keys of a `.pub` or authorized_keys file; options before a key are not ours to honour, so they are refused.
fn read_keys(path: &Path) -> Result<Vec<AuthorizedKey>, InitError> {
    let io_error = |error| InitError::Io { path: path.to_owned(), error };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(io_error)?;
    io::Read::read_to_string(&mut io::Read::take(file, KEY_FILE_BYTES_MAX), &mut text).map_err(io_error)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(InitError::PrivateKeyGiven { path: path.to_owned() });
    }
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |error| InitError::BadKey { path: path.to_owned(), line: index + 1, error };
        let key = PublicKey::from_openssh(line).map_err(bad)?;
        let base64 = line.split_ascii_whitespace().nth(1).expect("a key that was parsed has its data");
        keys.push(AuthorizedKey {
            name: key.comment().as_str().unwrap_or_default().trim().to_owned(),
            algorithm: key.algorithm().as_str().to_owned(),
            data: base64.to_owned(),
        });
    }
    if keys.is_empty() { Err(InitError::NoKey { path: path.to_owned() }) } else { Ok(keys) }
}

fn host_key(algorithm: Algorithm) -> Result<(String, String), InitError> {
    let key = PrivateKey::random(&mut UnwrapErr(getrandom::SysRng), algorithm)
        .map_err(|error| InitError::HostKey { error })?;
    let private = key.to_openssh(LineEnding::LF).map_err(|error| InitError::HostKey { error })?;
    let public = key.public_key().to_openssh().map_err(|error| InitError::HostKey { error })?;
    Ok((private.to_string(), format!("{public}\n")))
}

fn sync_folders(layout: &Layout) -> Result<(), InitError> {
    for folder in [layout.keys(), layout.config(), layout.root().to_owned()] {
        let synced = fs::File::open(&folder).and_then(|file| file.sync_all());
        synced.map_err(|error| InitError::Io { path: folder, error })?;
    }
    Ok(())
}

/// What has been made so far, to be undone in reverse.
#[derive(Debug, Default)]
struct Made {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    fn folder(&mut self, path: &Path, mode: u32) -> Result<(), InitError> {
        let io_error = |error| InitError::Io { path: path.to_owned(), error };
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => {
                self.folders.push(path.to_owned());
                // The umask of whoever calls must neither open nor close it.
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io_error)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(io_error(error)),
        }
    }

    fn file(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<(), InitError> {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            file.write_all(content)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        self.files.push(path.to_owned());
        write().map_err(|error| InitError::Io { path: path.to_owned(), error })
    }

    fn undo(&self) {
        // What cannot be removed stays; the next attempt names it.
        for file in self.files.iter().rev() {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests;
