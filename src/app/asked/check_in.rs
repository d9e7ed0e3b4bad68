//! Check in: a sandbox reports how much it is used. A report can do one thing: record evidence for one live sandbox.

use std::net::IpAddr;

use super::Asked;
use crate::{
    app::{CheckInResult, Result},
    domain::{
        State, StopReason, Token,
        rules::{Rule, broken},
    },
};

impl Asked {
    /// Records a report of `value` from the sandbox that bears `token`, else from the running one at `peer`
    /// (`CONTRACT.md` 26 and 27). A report from anybody else changes nothing, and gets no explanation.
    ///
    /// # Errors
    /// [`Error::Store`](crate::app::Error::Store) if the report could not be written; the reporter may try again.
    pub async fn check_in(&self, token: Option<&str>, peer: Option<IpAddr>, value: u64) -> Result<()> {
        let checked_in = self.try_check_in(token, peer, value).await;
        self.records.tally.checked_in(match &checked_in {
            Ok(true) => CheckInResult::Recorded,
            Ok(false) => CheckInResult::Unknown,
            Err(_) => CheckInResult::Failed,
        });
        checked_in.map(drop)
    }

    /// Whether a running sandbox reported.
    async fn try_check_in(&self, token: Option<&str>, peer: Option<IpAddr>, value: u64) -> Result<bool> {
        // A server that listens on IPv6 sees IPv4 peers in their mapped form.
        let peer = peer.map(|p| p.to_canonical());
        let now = self.clock.now();
        let token = token.and_then(Token::parse);
        let record = || self.records.store.check_in(token.clone(), peer, value, now);
        let mut done = record().await?;
        if done.is_none() && value > 0 && !self.work.hear_of_stopping(token.clone(), now).await? {
            // Meanwhile its stop may have been taken back.
            done = record().await?;
        }
        if broken(Rule::OneAuthority)
            && value == 0
            && let Some(done) = &done
            && let Some(seen) = self.records.store.get(&done.id).await?
        {
            self.records.mark(&seen, State::Stopping { since: now, reason: StopReason::Idle }).await?;
        }
        match &done {
            Some(done) if done.first => tracing::info!(sandbox = %done.id, value, "first check-in"),
            Some(done) => tracing::debug!(sandbox = %done.id, value, "check-in"),
            None => tracing::debug!(?peer, "check-in from no running sandbox"),
        }
        Ok(done.is_some())
    }
}
