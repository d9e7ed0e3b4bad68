//! Reads the configured admin's password: as it is, or as a hash.

use super::{ConfigError, DEFAULT_PASSWORD, values::Values};
use crate::domain::Password;

/// `SPINDLE_ADMIN_PASSWORD` or `SPINDLE_ADMIN_PASSWORD_HASH`.
pub fn password(v: &mut Values) -> Result<Password, ConfigError> {
    let hash = v.exact("admin_password_hash", "", "it is what spindle hash-password writes", |text| {
        let is_hash = text.is_empty() || text.starts_with("$argon2id$v=19$");
        is_hash.then(|| text.trim().to_owned())
    })?;
    let plain = v.exact("admin_password", DEFAULT_PASSWORD, "it must not be empty", |text| {
        (!text.is_empty()).then(|| text.to_owned())
    })?;
    match (plain == DEFAULT_PASSWORD, hash.is_empty()) {
        (_, true) => Ok(Password::Plain(plain)),
        (true, false) => Ok(Password::Hash(hash)),
        (false, false) => Err(ConfigError(
            "SPINDLE_ADMIN_PASSWORD and SPINDLE_ADMIN_PASSWORD_HASH are both set; keep one of them".into(),
        )),
    }
}

/// Whether it is spin-docker's default.
pub fn is_default(password: &Password) -> bool {
    password.plain() == Some(DEFAULT_PASSWORD)
}
