//! Warn: tell those inside, on their terminals, that their sandbox is about to be stopped, and how to stay.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::Pass;
use crate::{
    app::{Result, chain},
    domain::{Decided, Sandbox, SandboxId, Warning, tell::warning_text, warning},
    engine::{Announced, EngineError},
};

/// How long our text may take to reach the terminals; at most half of the time that is left.
const SAYING: Duration = Duration::from_secs(15);

impl Pass {
    /// Warns those inside, once for each planned moment of a stop, as a task that
    /// [`App::drain`](crate::app::App::drain) owns. It claims nothing: a sandbox that does not answer must not delay a
    /// stop or a start.
    pub(super) fn warn(self: &Arc<Self>, id: SandboxId) {
        if !self.own().being_warned.insert(id.clone()) {
            return;
        }
        let pass = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(e) = pass.try_warn(&id).await {
                tracing::error!(sandbox = %id, error = chain(&e), "a warning is given later");
            }
            pass.own().being_warned.remove(&id);
        });
    }

    /// Warns if the warning is still due when its turn comes: the sandbox may be used by then.
    async fn try_warn(&self, id: &SandboxId) -> Result<()> {
        let Ok(_voice) = self.voices.acquire().await else { return Ok(()) };
        let Some(sandbox) = self.records.store.get(id).await? else { return Ok(()) };
        let now = self.clock.now();
        let grace = self.vitals.grace(now);
        let Warning::Due { deadline, stop } = warning(&self.settings.policy, grace, &sandbox, now) else {
            return Ok(());
        };
        let Some(container) = sandbox.container.clone().filter(|_| !self.vitals.is_impaired()) else { return Ok(()) };
        if !self.records.store.mark_warned(&sandbox, Some(stop)).await? {
            return Ok(());
        }
        self.overlook(&sandbox, stop, now).await;
        let text = warning_text(&self.settings.policy, &sandbox, &deadline, stop, self.settings.keep_max, now);
        let told = match self.engine.announce(&container, &text).await {
            Ok(announced) => told(announced),
            Err(e @ (EngineError::Unavailable(_) | EngineError::Timeout { .. })) => {
                tracing::debug!(sandbox = %id, error = %e, "a warning is given later");
                self.records.store.mark_warned(&sandbox, None).await?;
                return Ok(());
            }
            Err(e) => format!("nobody could be told: {e}"),
        };
        tracing::info!(sandbox = %id, name = %sandbox.name, told, stop = %stop, "warned");
        let why = format!("{}; {told}", self.usage.why(&sandbox, self.clock.now()));
        self.records.decided(&sandbox, Decided::Warned, why).await;
        Ok(())
    }

    /// Our own words on its terminals must not keep it (`IDLENESS.md`, rule 13).
    async fn overlook(&self, sandbox: &Sandbox, stop: Timestamp, now: Timestamp) {
        let left = Duration::try_from(stop.duration_since(now)).unwrap_or_default();
        self.records.overlook(&sandbox.id, SAYING.min(left / 2).as_millis() as u64).await;
    }
}

/// Who was told, as a part of a sentence.
fn told(Announced { reached, stopped }: Announced) -> String {
    let terminals = |n: u32| if n == 1 { "1 terminal".to_owned() } else { format!("{n} terminals") };
    match (reached, stopped) {
        (0, 0) => "nobody is logged in".into(),
        (0, _) => format!("nobody could be told: {} stopped (Ctrl-S)", terminals(stopped)),
        (_, 0) => format!("told on {}", terminals(reached)),
        _ => format!("told on {}, {} stopped (Ctrl-S)", terminals(reached), terminals(stopped)),
    }
}
