//! Passwords of the configuration: those that are compared are hashed, those that servers want to see are sealed with a key
//! of this device.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::northbound::{Conceal, Secret};
use crate::system::sealed::{KEY_BYTES, Seal};
use crate::system::users;

/// Beside the host keys.
const FILE: &str = "secrets.key";
/// The key as digits, and a little air.
const FILE_BYTES_MAX: u64 = 1024;

pub(super) fn conceal(seal: Arc<Seal>) -> Conceal {
    Box::new(move |secret, value| match secret {
        Secret::Compared => hash_clear_text(value),
        Secret::Shown => seal.seal(value),
    })
}

/// The key of this device, made where there is none.
pub(super) fn load(keys: &Path) -> anyhow::Result<Seal> {
    let path = keys.join(FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return make(keys, &path).with_context(|| format!("{} cannot be made", path.display()));
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let shown = path.display();
    let mode = file.metadata().with_context(|| format!("{shown} cannot be read"))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("{shown} is readable by others (mode {mode:04o}); type `chmod 600 {shown}`");
    }
    let mut text = String::new();
    (&mut file).take(FILE_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("{shown} cannot be read"))?;
    let key = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    match key {
        Some(key) => Ok(Seal::new(&key)),
        None => bail!(
            "{shown} does not hold a key of {KEY_BYTES} bytes as digits; put it back from a backup, or remove it: \
             passwords that were sealed with it must then be written anew"
        ),
    }
}

/// Whole and on disk before it is used: what it seals can be opened with nothing else.
fn make(keys: &Path, path: &Path) -> io::Result<Seal> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).expect("the system gives random bytes");
    fs::create_dir_all(keys)?;
    let unfinished = path.with_extension("new");
    // What an earlier start may have left.
    let _ = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{}", HEXLOWER_PERMISSIVE.encode(&key))?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(keys)?.sync_all()?;
    Ok(Seal::new(&key))
}

/// With a salt of its own.
fn hash_clear_text(value: &str) -> Option<String> {
    users::clear_text(value)?;
    let mut salt = [0; users::SALT_BYTES];
    getrandom::fill(&mut salt).expect("the system gives random bytes");
    users::hash_clear_text(value, salt)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = load(folder.path()).unwrap().seal("secret").unwrap();
        assert_eq!(load(folder.path()).unwrap().open(&sealed).as_deref(), Some("secret"));
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let said = |keys| load(keys).map(drop).unwrap_err().to_string();
        assert!(said(folder.path()).contains("readable by others (mode 0644)"));
        fs::write(&path, "12\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(said(folder.path()).contains("put it back from a backup"));
    }
}
