//! Touch: what people do inside through the API is evidence.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{STEP, Usage};
use crate::{
    app::Result,
    domain::{Actor, Evidence, Sandbox, SandboxId, Source, Who},
};

/// What somebody did, and whether it is recorded.
#[derive(Debug, Clone)]
struct Touch {
    generation: u64,
    /// By the clock, and by the time since the machine's start: the clock may be set before it is recorded.
    at: Timestamp,
    steady: Duration,
    staff: Option<Who>,
    is_recorded: bool,
}

/// The newest of each sandbox, by its source.
#[derive(Debug, Default)]
pub(super) struct Touches(HashMap<(SandboxId, Source), Touch>);

impl Usage {
    /// Notes that `by` works in a sandbox: it is recorded now, or, if the last record is a moment old, before the next
    /// pass decides. What others than its own people do is marked as theirs.
    ///
    /// # Errors
    /// Those of the store; then the next call records it.
    pub async fn touch(&self, sandbox: &Sandbox, source: Source, by: &Actor) -> Result<()> {
        let at = self.clock.now();
        let is_own = by.owns(&sandbox.ownership);
        let (source, staff) = if is_own { (source, None) } else { (Source::Staff, Some(by.who.clone())) };
        let (generation, steady) = (sandbox.life.generation, self.clock.steady());
        let touch = Touch { generation, at, steady, staff, is_recorded: false };
        let is_new = {
            let mut touches = self.touches.lock().expect("no holder panics");
            let before = touches.0.get(&(sandbox.id.clone(), source));
            // One that is not recorded yet waits no longer because of a newer one.
            let is_little = |before: &Touch| {
                before.is_recorded && (SignedDuration::ZERO..STEP).contains(&at.duration_since(before.at))
            };
            let is_new =
                before.is_none_or(|b| b.generation != touch.generation || b.staff != touch.staff || !is_little(b));
            if is_new || before.is_none_or(|b| b.at != at) {
                touches.0.insert((sandbox.id.clone(), source), touch);
            }
            is_new
        };
        if is_new { self.record_touches().await } else { Ok(()) }
    }

    /// Records what is not recorded yet.
    pub(super) async fn record_touches(&self) -> Result<()> {
        let due: Vec<_> = {
            let touches = self.touches.lock().expect("no holder panics");
            let due = touches.0.iter().filter(|(_, touch)| !touch.is_recorded);
            due.map(|(key, touch)| (key.clone(), touch.clone())).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let (now, steady) = (self.clock.now(), self.clock.steady());
        let touched = due.iter().map(|((id, source), touch)| {
            let ago = SignedDuration::try_from(steady.saturating_sub(touch.steady)).unwrap_or_default();
            let at = now.checked_sub(ago).unwrap_or(touch.at);
            ((id.clone(), touch.generation, Evidence { source: *source, at }), touch.staff.clone())
        });
        self.records.store.record_touches(touched.collect()).await?;
        let mut touches = self.touches.lock().expect("no holder panics");
        for (key, written) in due {
            if let Some(touch) = touches.0.get_mut(&key).filter(|touch| touch.steady == written.steady) {
                touch.is_recorded = true;
            }
        }
        Ok(())
    }

    /// Forgets a sandbox that is gone.
    pub(super) fn forget_touches(&self, id: &SandboxId) {
        self.touches.lock().expect("no holder panics").0.retain(|(sandbox, _), _| sandbox != id);
    }
}
