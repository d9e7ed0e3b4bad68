//! Follow: listen to the engine's events, so that what happens behind our back shows at once, and that it is known who
//! ended what has ended.

use futures_util::StreamExt;
use jiff::Timestamp;

use super::Pass;
use crate::domain::rules::{Rule, broken};

impl Pass {
    /// Follows the engine's events until the stream ends or fails, and tells until when it was heard.
    ///
    /// Subscribes first; the pass that it wakes then lists, so that nothing falls between
    /// (`IDLENESS.md`, rule 10).
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
                    // What was on its way when the stream broke off is told again: twice is as good as once.
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
