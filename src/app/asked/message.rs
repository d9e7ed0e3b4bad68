//! Message: a person writes on the terminals inside a sandbox.

use super::Asked;
use crate::{
    app::{Error, Result},
    domain::{Actor, Invalid, Sandbox, State, Verb},
    engine::Announced,
};

/// The most characters of a message.
const LONGEST: usize = 1_000;

/// For how long what our text moves on connections is nobody's use, in milliseconds.
const SAYING: u64 = 5_000;

impl Asked {
    /// Checks a message.
    ///
    /// # Errors
    /// If nothing of it can be shown, or it is too long.
    pub fn message_text(text: &str) -> std::result::Result<String, Invalid> {
        let shown = text.trim();
        let is_empty = shown.chars().all(|c| c.is_control() || c.is_whitespace());
        if is_empty || shown.chars().count() > LONGEST {
            let allowed = format!("it is a text of 1 to {LONGEST} characters; control characters are left out");
            return Err(Invalid::new("text", text, allowed));
        }
        Ok(shown.to_owned())
    }

    /// Writes `text` on every terminal inside a sandbox, and says from whom it is. Nobody's use. Returns on how many
    /// terminals it is shown.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`], [`Error::NotRunning`], [`Error::EngineAway`]; [`Error::Engine`] if
    /// nothing can be written there.
    pub async fn message(&self, by: &Actor, reference: &str, text: &str) -> Result<(Sandbox, Announced)> {
        let found = self.allowed(by, Verb::Message, reference).await?;
        self.actions.of(by, Verb::Message, &found).around(self.say(by, &found, text)).await
    }

    async fn say(&self, by: &Actor, found: &Sandbox, text: &str) -> Result<(Sandbox, Announced)> {
        let sandbox = self.records.again(found).await?;
        let (State::Running { .. }, Some(container)) = (&sandbox.life.state, &sandbox.container) else {
            return Err(Error::NotRunning);
        };
        self.records.overlook(&sandbox.id, SAYING).await;
        let said = self.engine.announce(container, &format!("Message from {by}: {text}")).await;
        let announced = said.map_err(|e| Error::engine("the message could not be shown", e))?;
        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, terminals = announced.reached, %by, "message");
        Ok((sandbox, announced))
    }
}
