//! Check in: a sandbox says how much it is used. It can do one thing: record evidence for one live sandbox.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{App, Result};
use crate::domain::{
    State, StopReason, Token,
    rules::{Rule, broken},
};

impl App {
    /// Records a report of `value` from the sandbox that bears `token`, else from the running one at
    /// `peer` (`CONTRACT.md` 26 and 27). From anybody else it changes nothing, and says nothing.
    ///
    /// # Errors
    /// [`super::Error::Store`] if it could not be written; then the reporter may try again.
    pub async fn check_in(&self, token: Option<&str>, peer: Option<IpAddr>, value: u64) -> Result<()> {
        // A server that listens on IPv6 sees IPv4 peers in their mapped form.
        let peer = peer.map(|p| p.to_canonical());
        let now = self.clock.now();
        let token = token.and_then(Token::parse);
        let record = || self.store.check_in(token.clone(), peer, value, now);
        let mut done = record().await?;
        if done.is_none() && value > 0 && !self.hear_of_stopping(token.clone(), now).await? {
            // Its stop may have been taken back in between.
            done = record().await?;
        }
        if broken(Rule::OneAuthority)
            && value == 0
            && let Some(done) = &done
            && let Some(seen) = self.store.get(&done.id).await?
        {
            self.mark(&seen, State::Stopping { since: now, reason: StopReason::Idle }).await?;
        }
        match done {
            Some(done) if done.first => tracing::info!(sandbox = %done.id, value, "first check-in"),
            Some(done) => tracing::debug!(sandbox = %done.id, value, "check-in"),
            None => tracing::debug!(?peer, "check-in from no running sandbox"),
        }
        Ok(())
    }

    /// What is heard of a sandbox while nobody knows whether its idle stop was carried out is remembered, and counts if it
    /// was not. The late report of one that does stop changes nothing (`CONTRACT.md` 32). Whether it is remembered.
    async fn hear_of_stopping(&self, token: Option<Token>, now: Timestamp) -> Result<bool> {
        let Some(token) = token.filter(|_| !self.pulse().cut_off.is_empty()) else {
            return Ok(false);
        };
        let Some((id, generation)) = self.store.stopping(token).await? else { return Ok(false) };
        let mut pulse = self.pulse();
        let Some(cut) = pulse.cut_off.get_mut(&id).filter(|cut| cut.generation == generation) else {
            return Ok(false);
        };
        cut.heard = Some(now);
        tracing::debug!(sandbox = %id, "check-in of one that is being stopped");
        Ok(true)
    }
}
