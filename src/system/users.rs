//! Local users (RFC 7317) as plain values, and the hashing of passwords that arrive in clear text.

use sha_crypt::{PasswordHasher, ShaCrypt};

use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

/// Bytes of salt: 96 bits, sixteen characters of the hash.
pub const SALT_BYTES: usize = 12;

/// One user of `/ietf-system:system/authentication`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEntry {
    pub name: String,
    /// Algorithm and base64 key data, as in an OpenSSH public key file.
    pub keys: Vec<(String, String)>,
    /// A crypt hash; `None` means that no password opens this account.
    pub password: Option<String>,
}

/// A hash is not for logs.
impl std::fmt::Debug for UserEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(|(algorithm, _)| algorithm.as_str()).collect();
        f.debug_struct("UserEntry")
            .field("name", &self.name)
            .field("keys", &keys)
            .field("has_password", &self.password.is_some())
            .finish()
    }
}

/// The users below `/ietf-system:system`.
pub fn users_of(system: Option<&Element>) -> Vec<UserEntry> {
    let authentication = system.and_then(|system| system.child("authentication"));
    let users = authentication.into_iter().flat_map(|authentication| authentication.children_named("user"));
    users
        .filter_map(|user| {
            let keys = user.children_named("authorized-key").filter_map(|key| {
                let data: String = key.text_of("key-data")?.split_whitespace().collect();
                Some((key.text_of("algorithm")?.to_owned(), data))
            });
            Some(UserEntry {
                name: user.text_of("name")?.to_owned(),
                keys: keys.collect(),
                password: user.text_of("password").map(str::to_owned),
            })
        })
        .collect()
}

/// Passwords that could never open their account: hashes by MD5, which is not offered.
pub fn refuse_users(users: &[UserEntry]) -> Result<(), Vec<Refusal>> {
    let is_md5 = |user: &&UserEntry| user.password.as_deref().is_some_and(|hash| hash.starts_with("$1$"));
    let refusals: Vec<Refusal> = users
        .iter()
        .filter(is_md5)
        .map(|user| {
            let quote = if user.name.contains('\'') { '"' } else { '\'' };
            Refusal::new(Kind::InvalidValue, format!("the password of user `{}` is an MD5 hash", user.name))
                .at(format!("/ietf-system:system/authentication/user[name={quote}{}{quote}]/password", user.name))
                .mend("give it as $0$ and the password, or as a $5$ or $6$ hash")
        })
        .collect();
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// The password behind `$0$`, if the value is one in clear text.
pub fn clear_text(value: &str) -> Option<&str> {
    value.strip_prefix("$0$")
}

/// The `$6$` hash of a value that begins with `$0$`; `None` where the value is a hash already. `salt` must be fresh
/// random bytes.
pub fn hash_clear_text(value: &str, salt: [u8; SALT_BYTES]) -> Option<String> {
    let password = clear_text(value)?;
    let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &salt);
    Some(hash.expect("SHA-512-crypt takes any password and this salt").to_string())
}

#[cfg(test)]
mod tests {
    use sha_crypt::PasswordVerifier;

    use super::*;

    #[test]
    fn users_are_read_with_their_keys() {
        let key = Element::node(
            "authorized-key",
            vec![
                Element::leaf("name", "laptop"),
                Element::leaf("algorithm", "ssh-ed25519"),
                Element::leaf("key-data", "AAAA\n BBBB"),
            ],
        );
        let with_key = Element::node("user", vec![Element::leaf("name", "fred"), key]);
        let with_password =
            Element::node("user", vec![Element::leaf("name", "joan"), Element::leaf("password", "$6$x")]);
        let system = Element::node("system", vec![Element::node("authentication", vec![with_key, with_password])]);
        let users = users_of(Some(&system));
        assert_eq!(users[0].keys, [("ssh-ed25519".to_owned(), "AAAABBBB".to_owned())]);
        assert_eq!(users[0].password, None);
        assert_eq!(users[1].password.as_deref(), Some("$6$x"));
        assert!(!format!("{users:?}").contains("$6$"), "a hash is shown");
        assert_eq!(users_of(None), []);
    }

    #[test]
    fn a_hash_that_nobody_can_check_is_refused() {
        let user =
            |hash: &str| UserEntry { name: "fred".to_owned(), keys: Vec::new(), password: Some(hash.to_owned()) };
        assert_eq!(refuse_users(&[user("$6$salt$sum"), user("$5$salt$sum")]), Ok(()));
        let refusals = refuse_users(&[user("$1$salt$sum")]).unwrap_err();
        assert_eq!(
            refusals[0].to_string(),
            "the password of user `fred` is an MD5 hash; give it as $0$ and the password, or as a $5$ or $6$ hash"
        );
        assert_eq!(refusals[0].path.as_deref(), Some("/ietf-system:system/authentication/user[name='fred']/password"));
    }

    #[test]
    fn clear_text_becomes_a_hash_that_the_password_opens() {
        let hash = hash_clear_text("$0$correct horse", [7; SALT_BYTES]).unwrap();
        assert!(hash.starts_with("$6$"), "{hash}");
        let salt_and_sum: Vec<&str> = hash.rsplit('$').take(2).collect();
        assert_eq!((salt_and_sum[1].len(), salt_and_sum[0].len()), (16, 86));
        let verify = |password: &str| ShaCrypt::SHA512.verify_password(password.as_bytes(), hash.as_str()).is_ok();
        assert!(verify("correct horse"));
        assert!(!verify("battery staple"));
        assert_eq!(hash_clear_text(&hash, [7; SALT_BYTES]), None);
    }
}
