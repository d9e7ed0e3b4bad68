//! Configuration: what a sandbox was asked to be, and what the engine has made of that. Secrets are left out.

use super::{Asked, View};
use crate::{
    app::{Error, Result},
    domain::{Actor, Verb},
    engine::Configuration,
};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Words in the names of variables whose values are secrets.
const SECRET: [&str; 9] = ["pass", "secret", "token", "key", "credential", "private", "auth", "cookie", "salt"];

/// What a sandbox was asked to be, and what it is.
pub struct Configured {
    /// What was asked for.
    pub asked: View,
    /// What the engine has made of it.
    pub effective: Configuration,
}

impl Asked {
    /// What a sandbox was asked to be, and what it is, without secrets.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`], [`Error::EngineAway`], [`Error::Engine`].
    pub async fn configuration(&self, by: &Actor, reference: &str) -> Result<Configured> {
        let sandbox = self.allowed(by, Verb::SeeConfiguration, reference).await?;
        let Some(container) = &sandbox.container else { return Err(Error::NoSandbox(reference.to_owned())) };
        let shown = self.engine.configuration(container).await;
        let mut effective = shown.map_err(|e| Error::engine("its configuration cannot be looked at", e))?;
        let token = sandbox.token.reveal().to_owned();
        for (name, value) in &mut effective.env {
            *value = shown_value(name, value).replace(&token, HIDDEN);
        }
        for word in effective.entrypoint.iter_mut().chain(&mut effective.command) {
            *word = word.replace(&token, HIDDEN);
        }
        Ok(Configured { asked: self.view(sandbox), effective })
    }
}

/// The value of a variable as it is shown.
fn shown_value(name: &str, value: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if SECRET.iter().any(|word| lower.contains(word)) && !value.is_empty() {
        return HIDDEN.to_owned();
    }
    without_password(value)
}

/// `postgres://user:password@host` without the password.
fn without_password(value: &str) -> String {
    let hidden = || {
        let (scheme, rest) = value.split_once("://")?;
        let (before, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, host) = before.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}@{host}{after}"))
    };
    hidden().unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_by_their_names_and_in_addresses() {
        for name in ["DB_PASSWORD", "API_KEY", "secret", "GITHUB_TOKEN", "AWS_CREDENTIALS", "MYSQL_PASS"] {
            assert_eq!(shown_value(name, "x"), HIDDEN, "{name}");
        }
        assert_eq!(shown_value("COURSE", "databases"), "databases");
        assert_eq!(shown_value("API_KEY", ""), "");
        let url = "postgres://ann:hun@ter2@db:5432/x?y=1";
        assert_eq!(shown_value("DATABASE_URL", url), "postgres://ann:***@db:5432/x?y=1");
        assert_eq!(shown_value("URL", "https://host/a:b@c"), "https://host/a:b@c");
    }
}
