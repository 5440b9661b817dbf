//! Passwords that must be said again to a server, and so cannot be hashed: sealed with a key of this device, they may stand
//! in a configuration that is read, recorded and sent about.
//!
//! The same password gives the same text, so that writing it once more changes nothing. Values only: where the key is kept
//! is the caller's affair.

use data_encoding::BASE64URL_NOPAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

pub const KEY_BYTES: usize = 32;

/// What a sealed text begins with.
const MARK: &str = "sealed:1:";
/// What clear text may begin with, which is then no part of it.
const CLEAR: char = '!';

pub struct Seal {
    cipher: LessSafeKey,
    /// Makes the nonce of a text, so that no two texts have the same.
    nonces: hmac::Key,
}

impl Seal {
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, hmac::sign(&key, b"cipher").as_ref());
        Self {
            cipher: LessSafeKey::new(cipher.expect("a sum of SHA-256 has the length of this key")),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, b"nonces").as_ref()),
        }
    }

    /// The sealed text of a password in clear; `None` where it is sealed already.
    pub fn seal(&self, value: &str) -> Option<String> {
        let clear = match value.strip_prefix(CLEAR) {
            Some(clear) => clear,
            None if value.starts_with(MARK) => return None,
            None => value,
        };
        let sum = hmac::sign(&self.nonces, clear.as_bytes());
        let nonce: [u8; NONCE_LEN] = sum.as_ref()[..NONCE_LEN].try_into().expect("a sum is longer than a nonce");
        let mut text = clear.as_bytes().to_vec();
        self.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .expect("a password is short enough to be sealed");
        Some(format!("{MARK}{}", BASE64URL_NOPAD.encode(&[&nonce[..], &text].concat())))
    }

    /// The password; `None` where this key has not sealed it.
    pub fn open(&self, sealed: &str) -> Option<String> {
        let mut bytes = BASE64URL_NOPAD.decode(sealed.strip_prefix(MARK)?.as_bytes()).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let clear = self.cipher.open_in_place(nonce, Aad::empty(), text).ok()?;
        String::from_utf8(clear.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(&[byte; KEY_BYTES])
    }

    #[test]
    fn a_password_is_opened_by_the_key_that_sealed_it_and_by_no_other() {
        let sealed = seal(1).seal("!correct horse").unwrap();
        assert!(sealed.starts_with(MARK) && !sealed.contains("horse"), "{sealed}");
        assert_eq!(seal(1).open(&sealed).as_deref(), Some("correct horse"));
        assert_eq!(seal(2).open(&sealed), None);
        assert_eq!(seal(1).open(&sealed[..sealed.len() - 1]), None);
        assert_eq!(seal(1).open("sealed:1:"), None);
        assert_eq!(seal(1).open("plain"), None);
    }

    #[test]
    fn what_is_sealed_is_not_sealed_again() {
        let sealed = seal(1).seal("secret").unwrap();
        assert_eq!(seal(1).seal(&sealed), None);
        assert_eq!(seal(1).seal("!secret"), Some(sealed), "the mark of clear text is no part of it");
    }

    proptest! {
        #[test]
        fn every_password_comes_back_as_it_was(clear in ".{1,200}", other in ".{1,200}") {
            let key = seal(7);
            let sealed = key.seal(&format!("!{clear}")).unwrap();
            prop_assert_eq!(key.open(&sealed), Some(clear.clone()));
            prop_assert_eq!(key.seal(&format!("!{other}")).unwrap() == sealed, other == clear);
        }
    }
}
