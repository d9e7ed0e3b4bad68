//! Follow: listen to the engine's events, so that what happens behind our back shows at once.

use futures_util::StreamExt;
use jiff::Timestamp;

use super::App;
use crate::domain::rules::broken;

impl App {
    /// Follows the engine's events until the stream ends or fails, and tells until when it was heard.
    ///
    /// Subscribes first; the pass that it wakes then lists, so that nothing falls between
    /// (`idleness.md`, rule 10).
    pub async fn follow(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let mut heard = since.unwrap_or_else(|| self.clock.now());
        let mut events = match self.engine.watch(heard).await {
            Ok(events) => events,
            Err(e) => {
                tracing::debug!(error = %e, "the engine's events cannot be followed");
                return Some(heard);
            }
        };
        if !broken(10) {
            self.pulse().suspect_all = true;
            self.wake();
        }
        while let Some(event) = events.next().await {
            match event {
                Ok(container) => {
                    heard = self.clock.now();
                    self.pulse().suspects.insert(container);
                    self.wake();
                }
                Err(e) => {
                    tracing::debug!(error = %e, "the engine's events broke off");
                    break;
                }
            }
        }
        self.wake();
        Some(heard)
    }
}
