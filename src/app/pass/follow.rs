//! Follow: listen to the engine's events, to see at once what happens behind our back, and who ended a container.

use futures_util::StreamExt;
use jiff::Timestamp;

use super::Pass;
use crate::domain::rules::{Rule, broken};

impl Pass {
    /// Follows the engine's events until the stream ends or fails. Returns until when it was heard.
    ///
    /// It subscribes first, then wakes a pass that lists, so that no change is missed (`IDLENESS.md`, rule 10).
    pub async fn follow(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let mut heard = since.unwrap_or_else(|| self.clock.now());
        let mut events = match self.engine.watch(heard).await {
            Ok(events) => events,
            Err(e) => {
                tracing::debug!(error = %e, "the engine's events cannot be followed");
                return Some(heard);
            }
        };
        if !broken(Rule::SubscribeThenList) {
            self.next.look_at_all();
            self.next.wake();
        }
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // After a break the engine repeats the events that were on their way. To hear one twice is
                    // harmless.
                    heard = event.at.unwrap_or_else(|| self.clock.now());
                    self.work.hear(event);
                    self.next.wake();
                }
                Err(e) => {
                    tracing::debug!(error = %e, "the engine's events broke off");
                    break;
                }
            }
        }
        self.next.wake();
        Some(heard)
    }
}
