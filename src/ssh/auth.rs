//! Who is who: the accounts that may log in and how a proof is checked.
//!
//! An unknown user, one without a password and one with a wrong password cost the same work and get the same answer.
//! Nothing here prints a secret. Must not know: sockets, YANG, permissions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PublicKey};
use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use sha_crypt::{Params, PasswordHasher, PasswordVerifier, ShaCrypt};
use tokio::sync::watch;

/// Longer names belong to nobody.
pub const USER_BYTES_MAX: usize = 64;

/// Longer passwords are refused unread: hashing costs the square of their length.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// More rounds would let a login hold a core for seconds. OpenSSL and libc default to 5000.
pub const HASH_ROUNDS_MAX: u32 = 500_000;

/// Keys of one account that are looked at.
pub const KEYS_PER_ACCOUNT_MAX: usize = 64;

/// Verified when there is no hash to verify: the work of an ordinary account. The outcome is thrown away.
const DECOY: &str =
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";

/// The accounts as the configuration has them, swapped whole when it changes; a login reads the state of its moment.
#[derive(Debug, Clone)]
pub struct SharedAccounts(Arc<watch::Sender<Arc<Accounts>>>);

impl SharedAccounts {
    pub fn new(accounts: Accounts) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(accounts))))
    }

    pub fn replace(&self, accounts: Accounts) {
        self.0.send_replace(Arc::new(accounts));
    }

    pub fn current(&self) -> Arc<Accounts> {
        self.0.borrow().clone()
    }

    /// Tells of each replacement from now on.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Accounts>> {
        self.0.subscribe()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub users: BTreeMap<String, Account>,
    pub login: LoginPolicy,
}

/// What holds for every login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoginPolicy {
    /// Shown to whoever connects, before they prove anything.
    pub banner: Option<String>,
    /// From accept to a proven user; the limit of the settings where it is not configured.
    pub grace: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub struct Account {
    pub keys: Vec<AuthorizedKey>,
    pub password: Option<CryptHash>,
}

/// What a client has shown to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) user: String,
    pub(super) by: Proof,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Key(PublicKey),
    Password,
}

impl Accounts {
    /// Whether what let somebody in is still there. A password that is another now does not count as gone: whoever
    /// changes his own sees the answer.
    pub(super) fn still_lets_in(&self, proven: &Proven) -> bool {
        match &proven.by {
            Proof::Key(key) => self.knows_key(&proven.user, key),
            Proof::Password => self.users.get(&proven.user).is_some_and(|account| account.password.is_some()),
        }
    }

    /// Whether `key` is one of the keys of `user`.
    pub fn knows_key(&self, user: &str, key: &PublicKey) -> bool {
        self.users.get(user).is_some_and(|account| {
            account.keys.iter().take(KEYS_PER_ACCOUNT_MAX).any(|known| known.0.key_data() == key.key_data())
        })
    }

    /// The work that decides whether `password` proves `user`; run it where it may take milliseconds.
    pub fn password_check(&self, user: &str, password: &str) -> PasswordCheck {
        let hash = self.users.get(user).and_then(|account| account.password.clone());
        let fits = (1..=PASSWORD_BYTES_MAX).contains(&password.len());
        let password = if fits { password.to_owned() } else { String::new() };
        match hash.filter(|hash| fits && hash.verifiable()) {
            Some(hash) => PasswordCheck { hash: hash.0, password, real: true },
            None => PasswordCheck { hash: self.decoy(), password, real: false },
        }
    }

    /// Whether `user` has a password that nobody can prove; the log should say why logins fail.
    pub fn unverifiable(&self, user: &str) -> bool {
        let hash = self.users.get(user).and_then(|account| account.password.as_ref());
        hash.is_some_and(|hash| !hash.verifiable())
    }

    /// The costliest hash in use: a refusal for want of a hash must not be the quick one.
    fn decoy(&self) -> String {
        let hashes = self.users.values().filter_map(|account| account.password.as_ref());
        let costliest = hashes.filter(|hash| hash.verifiable()).max_by_key(|hash| hash.rounds());
        costliest.map_or_else(|| DECOY.to_owned(), |hash| hash.0.clone())
    }
}

/// A public key of a configured user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedKey(PublicKey);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    #[error("not a public key: {reason}; paste one line of a `.pub` file as `ssh-keygen` wrote it")]
    Malformed { reason: String },
    #[error("keys of type {algorithm} are not served; make another with `ssh-keygen -t ed25519`")]
    Unsupported { algorithm: String },
    #[error("the key says it is {found}, the configuration says {expected}")]
    AlgorithmDiffers { expected: String, found: String },
}

impl AuthorizedKey {
    /// From the two leafs of a key: its algorithm (`ssh-ed25519`) and its base64 data.
    pub fn new(algorithm: &str, data: &str) -> Result<Self, KeyRefused> {
        let compact: String = data.split_ascii_whitespace().collect();
        let key: Self = format!("{} {compact}", algorithm.trim()).parse()?;
        let found = key.algorithm();
        if found == algorithm.trim() {
            Ok(key)
        } else {
            Err(KeyRefused::AlgorithmDiffers { expected: algorithm.to_owned(), found })
        }
    }

    pub fn algorithm(&self) -> String {
        self.0.algorithm().to_string()
    }

    /// The base64 text, as a `.pub` file has it between the algorithm and the comment.
    pub fn data(&self) -> String {
        let line = self.0.to_openssh().unwrap_or_default();
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

/// A line of a `.pub` or `authorized_keys` file (without options).
impl FromStr for AuthorizedKey {
    type Err = KeyRefused;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let key = PublicKey::from_openssh(line.trim())
            .map_err(|error| KeyRefused::Malformed { reason: error.to_string() })?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
                Ok(Self(key))
            }
            other => Err(KeyRefused::Unsupported { algorithm: other.to_string() }),
        }
    }
}

/// A `crypt-hash` (RFC 7317) that the configuration holds: `$5$` and `$6$` can be verified, `$1$` never matches.
#[derive(Clone, PartialEq, Eq)]
pub struct CryptHash(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashNotMade {
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    #[error("the password is empty")]
    Empty,
    #[error("no random bytes: {reason}")]
    NoRandomness { reason: String },
}

impl CryptHash {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Hashes a password for the configuration: `$6$` with a random salt.
    pub fn of_password(password: &str) -> Result<Self, HashNotMade> {
        if password.is_empty() {
            return Err(HashNotMade::Empty);
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(HashNotMade::TooLong);
        }
        let mut random = [0_u8; 12];
        getrandom::fill(&mut random).map_err(|error| HashNotMade::NoRandomness { reason: error.to_string() })?;
        let hasher = ShaCrypt::new(sha_crypt::Algorithm::Sha512Crypt, Params::RECOMMENDED);
        // The hasher writes the salt as base64 of these bytes: 16 letters, the most that the format has.
        let hash = hasher.hash_password_with_salt(password.as_bytes(), &random);
        hash.map(|hash| Self(hash.as_str().to_owned()))
            .map_err(|error| HashNotMade::NoRandomness { reason: error.to_string() })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a password can ever match.
    pub fn verifiable(&self) -> bool {
        let hash_letters = match self.0.get(..3) {
            Some("$5$") => 43,
            Some("$6$") => 86,
            _ => return false,
        };
        let hash = self.0.rsplit('$').next().unwrap_or_default();
        let fields = if self.0.contains("$rounds=") { 5 } else { 4 };
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '/';
        hash.len() == hash_letters
            && hash.chars().all(letter)
            && self.0.split('$').count() == fields
            && (Params::ROUNDS_MIN..=HASH_ROUNDS_MAX).contains(&self.rounds())
    }

    fn rounds(&self) -> u32 {
        let field = self.0.split('$').nth(2).and_then(|field| field.strip_prefix("rounds="));
        field.map_or(Params::RECOMMENDED_ROUNDS, |rounds| rounds.parse().unwrap_or(u32::MAX))
    }
}

/// A hash is as good as a password to somebody patient.
impl fmt::Debug for CryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CryptHash(..)")
    }
}

/// See [`Accounts::password_check`].
pub struct PasswordCheck {
    hash: String,
    password: String,
    real: bool,
}

impl PasswordCheck {
    pub fn matches(self) -> bool {
        let verified = ShaCrypt::SHA512.verify_password(self.password.as_bytes(), self.hash.as_str()).is_ok();
        self.real && verified
    }
}

/// Says the same to everybody, and leaves every method open: a mistyped password may be typed again.
pub(super) fn reject() -> Auth {
    Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false }
}

/// What a user has configured is not for strangers to learn, so it does not show here.
pub(super) fn methods() -> MethodSet {
    MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn accounts(password: &str) -> Accounts {
        let key = AuthorizedKey::new("ssh-ed25519", KEY).unwrap();
        let account = Account { keys: vec![key], password: Some(CryptHash::new(password)) };
        Accounts { users: BTreeMap::from([("alice".to_owned(), account)]), ..Accounts::default() }
    }

    #[test]
    fn only_the_very_key_of_the_very_user_is_known() {
        let accounts = accounts(DECOY);
        let key: AuthorizedKey = format!("ssh-ed25519 {KEY} alice@somewhere").parse().unwrap();
        let other = AuthorizedKey::new("ssh-ed25519", OTHER).unwrap();
        assert!(accounts.knows_key("alice", &key.0));
        assert!(!accounts.knows_key("alice", &other.0));
        assert!(!accounts.knows_key("bob", &key.0));
        assert_eq!(key.data(), KEY);
    }

    #[test]
    fn who_came_in_stays_as_long_as_what_let_him_in_is_there() {
        let before = accounts(DECOY);
        let key: AuthorizedKey = format!("ssh-ed25519 {KEY}").parse().unwrap();
        let proven = |by| Proven { user: "alice".to_owned(), by };
        let (by_key, by_password) = (proven(Proof::Key(key.0)), proven(Proof::Password));
        assert!(before.still_lets_in(&by_key) && before.still_lets_in(&by_password));
        let another = accounts("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
        assert!(another.still_lets_in(&by_password));
        let mut bare = before;
        bare.users.get_mut("alice").unwrap().keys.clear();
        assert!(!bare.still_lets_in(&by_key) && bare.still_lets_in(&by_password));
        bare.users.get_mut("alice").unwrap().password = None;
        assert!(!bare.still_lets_in(&by_password));
        assert!(!Accounts::default().still_lets_in(&by_key));
    }

    #[test]
    fn a_key_under_another_algorithm_or_of_noise_is_refused() {
        assert!(matches!(
            AuthorizedKey::new("ecdsa-sha2-nistp256", KEY),
            Err(KeyRefused::Malformed { .. } | KeyRefused::AlgorithmDiffers { .. })
        ));
        assert!(matches!(AuthorizedKey::new("ssh-ed25519", "noise!"), Err(KeyRefused::Malformed { .. })));
    }

    #[test]
    fn a_key_that_could_never_log_in_is_refused_when_it_is_configured() {
        const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQD2umK6OMsX+OXQfDvjT1yT7aLlL+k5d68IoVpj4S6u15o81/NwxQ+9junFYnv+zY3nC/UAaz+I8YHE1mtIelZU59fTKfiXRTMkU2bRJySgIopXnIIf6RgpSnp5KdJhtH+rXyWJY6F7UahWGPRdNlIyBdwvHLPT6VHH+jGJKd1QK09hH8hQyivt6cSSMiunDyv2nPiiFb+NAC9XW78epIt4/N3A8rOPUau+DXdB7mjBTiTzfPiOeNnyjkkMFRRGVBRaUquzWUx8mTID5jSlvfNl5Xs6OzP9WmDYZ2Ex3+lKmydrMv3BSMyeTLO+mp41mdJC1Dy0sTTJaDYuj/lYwprJ";
        let refused = RSA.parse::<AuthorizedKey>().unwrap_err();
        assert!(matches!(&refused, KeyRefused::Unsupported { algorithm } if algorithm == "ssh-rsa"), "{refused}");
    }

    #[test]
    fn hashes_that_libc_makes_are_verified() {
        // The published vectors of the algorithms.
        for (hash, password) in [
            ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                "Hello world!",
            ),
        ] {
            assert!(accounts(hash).password_check("alice", password).matches(), "{hash}");
            assert!(!accounts(hash).password_check("alice", "hello world!").matches(), "{hash}");
        }
    }

    #[test]
    fn a_hash_we_make_is_one_we_verify() {
        let hash = CryptHash::of_password("correct horse").unwrap();
        assert!(hash.as_str().starts_with("$6$") && hash.verifiable());
        assert!(accounts(hash.as_str()).password_check("alice", "correct horse").matches());
        assert_ne!(hash, CryptHash::of_password("correct horse").unwrap());
        assert_eq!(CryptHash::of_password(""), Err(HashNotMade::Empty));
    }

    #[test]
    fn what_cannot_be_verified_never_matches_and_still_costs_a_verification() {
        let md5 = "$1$saltstri$YMyguxXMBpd2TEZ.vS/3q1";
        let slow = &DECOY.replace("$saltstring", "$rounds=999999999$saltstring");
        let cut = &DECOY[..40];
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        for (hash, user, password) in [
            (md5, "alice", "Hello world!"),
            (slow, "alice", "x"),
            (cut, "alice", "x"),
            (md5, "nobody", "x"),
            ("", "alice", ""),
            (md5, "alice", &long),
        ] {
            let check = accounts(hash).password_check(user, password);
            assert_eq!(accounts(hash).unverifiable(user), user == "alice");
            assert_eq!(check.hash, DECOY);
            assert!(!check.matches(), "{hash}");
        }
        assert!(!CryptHash::new(md5).verifiable() && !CryptHash::new(slow).verifiable());
    }

    #[test]
    fn the_decoy_can_be_verified_and_is_as_slow_as_the_slowest_account() {
        let slow = "$5$rounds=9000$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        assert_eq!(accounts(slow).password_check("nobody", "x").hash, slow);
        let decoy = ShaCrypt::SHA512.verify_password(b"Hello world!", DECOY);
        assert!(decoy.is_ok(), "it must get as far as the comparison");
    }

    #[test]
    fn debug_output_has_no_hash() {
        assert!(!format!("{:?}", accounts("$6$secret$secret")).contains("secret"));
    }
}
