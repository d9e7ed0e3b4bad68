//! Check in: a sandbox says how much it is used. It can do one thing: record evidence for one live sandbox.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{App, Result};
use crate::domain::{State, StopReason, Token, rules::broken};

impl App {
    /// Records a report of `value` from the sandbox that bears `token`, else from the running one at
    /// `peer` (`contract.md` 26 and 27). From anybody else it changes nothing, and says nothing.
    ///
    /// # Errors
    /// [`super::Error::Store`] if it could not be written; then the reporter may try again.
    pub async fn check_in(&self, token: Option<&str>, peer: Option<IpAddr>, value: u64) -> Result<()> {
        // A server that listens on IPv6 sees IPv4 peers in their mapped form.
        let peer = peer.map(|p| p.to_canonical());
        let now = self.clock.now();
        let done = self.store.check_in(token.and_then(Token::parse), peer, value, now).await?;
        if broken(5)
            && value == 0
            && let Some(done) = &done
            && let Some(seen) = self.store.get(&done.id).await?
        {
            self.mark(&seen, State::Stopping { since: now, reason: StopReason::Idle }).await?;
        }
        if done.is_none() && value > 0 {
            self.hear_of_stopping(token, now).await?;
        }
        match done {
            Some(done) if done.first => tracing::info!(sandbox = %done.id, value, "first check-in"),
            Some(done) => tracing::debug!(sandbox = %done.id, value, "check-in"),
            None => tracing::debug!(?peer, "check-in from no running sandbox"),
        }
        Ok(())
    }

    /// What is heard of a sandbox while nobody knows whether its idle stop was carried out counts if it was not.
    async fn hear_of_stopping(&self, token: Option<&str>, now: Timestamp) -> Result<()> {
        let starts = self.cut_off();
        if let Some(token) = token.and_then(Token::parse)
            && !starts.is_empty()
            && self.store.check_in_of_stopping(token, starts, now).await?
        {
            tracing::debug!("check-in of one that is being stopped");
        }
        Ok(())
    }
}
