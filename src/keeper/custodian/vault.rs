//! What one ward has left: bytes and descriptors under keys, within bounds. Knows no sockets and no meanings.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::fd::OwnedFd;

use super::super::deposit::{DEPOSIT_BYTES_MAX, KEY_BYTES_MAX};

/// Thousands of containers with a few deposits each.
const DEPOSITS_MAX: usize = 65_536;
/// State records are small; this is what the custodian's memory may grow to.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

#[derive(Debug)]
pub(super) struct Vault {
    held: BTreeMap<String, Held>,
    bytes: usize,
    descriptors: usize,
    descriptors_max: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum VaultError {
    #[error("a deposit holds at most {DEPOSIT_BYTES_MAX} bytes under a key of at most {KEY_BYTES_MAX}")]
    TooBig,
    #[error("{DEPOSITS_MAX} deposits are held already")]
    TooMany,
    #[error("deposits hold {BYTES_MAX} bytes already")]
    Full,
    #[error("{max} descriptors are held already; raise the limit of open files (ulimit -Hn) of the custodian")]
    NoDescriptors { max: usize },
}

impl Vault {
    pub(super) fn new(descriptors_max: usize) -> Self {
        Self { held: BTreeMap::new(), bytes: 0, descriptors: 0, descriptors_max }
    }

    /// Keeps the deposit in place of what was under `key`. A refused one leaves the old where it is.
    pub(super) fn put(&mut self, key: String, bytes: Vec<u8>, fds: Vec<OwnedFd>) -> Result<(), VaultError> {
        if bytes.len() > DEPOSIT_BYTES_MAX || key.len() > KEY_BYTES_MAX {
            return Err(VaultError::TooBig);
        }
        let (old_bytes, old_descriptors) =
            self.held.get(&key).map_or((0, 0), |old| (old.bytes.len() + key.len(), old.fds.len()));
        let count = self.held.len() + usize::from(!self.held.contains_key(&key));
        let total = self.bytes - old_bytes + bytes.len() + key.len();
        let descriptors = self.descriptors - old_descriptors + fds.len();
        if count > DEPOSITS_MAX {
            return Err(VaultError::TooMany);
        }
        if total > BYTES_MAX {
            return Err(VaultError::Full);
        }
        if descriptors > self.descriptors_max {
            return Err(VaultError::NoDescriptors { max: self.descriptors_max });
        }
        self.bytes = total;
        self.descriptors = descriptors;
        self.held.insert(key, Held { bytes, fds });
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(old) = self.held.remove(key) {
            self.bytes -= old.bytes.len() + key.len();
            self.descriptors -= old.fds.len();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.descriptors_max);
    }

    /// The first deposit whose key follows `after`: a fetch goes from key to key, whatever changes meanwhile.
    pub(super) fn next(&self, after: Option<&str>) -> Option<(&str, &Held)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.held.range::<str, _>((from, Bound::Unbounded)).next().map(|(key, held)| (key.as_str(), held))
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    fn keys(vault: &Vault) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        while let Some((key, _)) = vault.next(keys.last().map(String::as_str)) {
            keys.push(key.to_owned());
        }
        keys
    }

    #[test]
    fn a_deposit_replaces_the_one_under_its_key_and_its_descriptors_count_once() {
        let mut vault = Vault::new(3);
        vault.put("b".into(), vec![1], descriptors(2)).unwrap();
        vault.put("a".into(), vec![], descriptors(1)).unwrap();
        assert_eq!(vault.put("c".into(), vec![], descriptors(1)), Err(VaultError::NoDescriptors { max: 3 }));
        vault.put("b".into(), vec![2, 3], descriptors(1)).unwrap();
        vault.put("c".into(), vec![], descriptors(1)).unwrap();
        assert_eq!(keys(&vault), ["a", "b", "c"]);
        vault.remove("b");
        vault.remove("b");
        vault.put("d".into(), vec![], descriptors(1)).unwrap();
        assert_eq!((keys(&vault).len(), vault.len()), (3, 3));
    }

    #[test]
    fn what_is_too_big_is_refused_and_the_old_stays() {
        let mut vault = Vault::new(1);
        vault.put("a".into(), vec![7], Vec::new()).unwrap();
        assert_eq!(vault.put("a".into(), vec![0; DEPOSIT_BYTES_MAX + 1], Vec::new()), Err(VaultError::TooBig));
        assert_eq!(vault.next(None).unwrap().1.bytes, [7]);
        vault.clear();
        assert!(vault.next(None).is_none());
    }
}
