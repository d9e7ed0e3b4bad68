//! Secrets that are given out: 32 random bytes, recorded only as a hash.

use sha2::{Digest, Sha256};

use crate::domain::names::hex;

/// With what every secret begins, so that a search finds one that was published by mistake.
const PREFIX: &str = "spindle_";

/// A secret that is given out.
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the machine gives no random numbers.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", hex(&bytes))))
    }

    /// Reads what a caller sends; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let is_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (digits.len() == 64 && is_hex).then(|| Self(text.to_owned()))
    }

    /// The secret itself, to be told once.
    pub fn reveal(self) -> String {
        self.0
    }

    /// What is recorded of it. It needs no salt: nobody guesses 256 bits.
    pub fn hash(&self) -> [u8; 32] {
        digest(&[self.0.as_bytes()])
    }

    /// A digest of it and of a password's `hash`. Without the secret it says nothing about that.
    pub fn with_password(&self, hash: &str) -> Vec<u8> {
        digest(&[self.0.as_bytes(), hash.as_bytes()]).to_vec()
    }
}

/// A digest of several texts, each with its length before it.
pub fn digest(texts: &[&[u8]]) -> [u8; 32] {
    let mut all = Sha256::new();
    for text in texts {
        all.update((text.len() as u64).to_be_bytes());
        all.update(text);
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_again_and_nothing_else_is() {
        let secret = Secret::new().unwrap();
        let (hash, text) = (secret.hash(), secret.reveal());
        assert_eq!(text.len(), 72);
        assert_eq!(Secret::parse(&text).unwrap().hash(), hash);
        for bad in ["", "spindle_", &text[..71], &text.to_uppercase(), &format!("{text}0"), &text[8..]] {
            assert!(Secret::parse(bad).is_none(), "{bad:?} was taken");
        }
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
