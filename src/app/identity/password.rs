//! Passwords: hashed with argon2id, slowly and one after another, so that guessing costs more than serving.

use std::thread;

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version, password_hash::SaltString,
};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use super::secret::Secret;
use crate::domain::Invalid;

/// The shortest password that a user may have, in characters.
const SHORTEST: usize = 8;

/// The longest, in bytes.
const LONGEST: usize = 512;

/// No letters or digits that look alike on paper.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";

/// 19 MiB and two rounds: OWASP's least for argon2id.
fn argon2() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).expect("the parameters are allowed");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// How much less than others hashing gets of a busy machine, as `nice` counts it.
const NICE: i32 = 15;

/// Hashes or compares on a thread of its own that leaves the cores to those who are signed in. `None` if there is no
/// thread, or it panicked.
pub async fn aside<T: Send + 'static>(hashing: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, when_done) = oneshot::channel();
    let on_it = move || {
        // Linux counts it for this thread alone. Without it others wait longer.
        let _ = setpriority_process(None, NICE);
        // Whoever asked may have gone.
        let _ = done.send(hashing());
    };
    thread::Builder::new().name("password".into()).spawn(on_it).ok()?;
    when_done.await.ok()
}

/// The hash of a password as a PHC string. It takes tens of milliseconds.
///
/// # Errors
/// If the machine gives no random numbers.
pub fn hash(password: &str) -> Result<String, getrandom::Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
    let hash = argon2().hash_password(password.as_bytes(), &salt).expect("the parameters are allowed");
    Ok(hash.to_string())
}

/// Whether `password` is the one behind `hash`. Without a hash the time is the same, and the answer no.
pub fn verify(hash: Option<&str>, password: &str) -> bool {
    /// Any password's.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c3BpbmRsZXNwaW5kbGU$3L3jwM9Ykgzvm3rQaGq1KjVTWTtGnQ5gBEjnpWYSpQM";
    let read = PasswordHash::new(hash.unwrap_or(NOBODY));
    let is_right = read.is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok());
    is_right && hash.is_some()
}

/// Whether `text` is a hash that [`verify`] reads.
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id" && hash.hash.is_some())
}

/// # Errors
/// If a user may not have that password. It is not shown.
pub fn check(password: &str) -> Result<(), Invalid> {
    if password.chars().count() < SHORTEST
        || password.len() > LONGEST
        || password.contains('\0')
        || Secret::parse(password).is_some()
    {
        let allowed = format!(
            "a password has at least {SHORTEST} characters and at most {LONGEST} bytes, none of them NUL, and is no token"
        );
        return Err(Invalid::new("password", "(not shown)", allowed));
    }
    Ok(())
}

/// A password of 80 random bits that is easy to read from paper.
///
/// # Errors
/// If the machine gives no random numbers.
pub fn generated() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)?;
    let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte % 31)]));
    let groups: Vec<String> = letters.chunks(5).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_its_passwords_and_no_others() {
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_hash(&hash) && verify(Some(&hash), "correct horse"));
        assert!(!verify(Some(&hash), "correct hors") && !verify(None, "correct horse") && !verify(Some("x"), ""));
        for bad in ["", "correct horse", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuu"] {
            assert!(!is_hash(bad), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_refused_password_is_not_repeated() {
        for bad in ["short", &"x".repeat(513), "with\0nul"] {
            let message = check(bad).unwrap_err().to_string();
            assert!(!message.contains(bad), "{message}");
        }
        let made = generated().unwrap();
        assert!(check(&made).is_ok() && made.len() == 23 && made != generated().unwrap(), "{made}");
    }
}
