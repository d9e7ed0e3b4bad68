//! Warn: tell those inside, on their terminals, that their sandbox is about to be stopped, and how to stay.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{App, chain};
use crate::{
    domain::{Deadline, Decided, Sandbox, explain::warning_text},
    relay::Request,
};

/// How long it may take until what is said on terminals has reached those who sit at them; at most half of what is left.
const SAYING: Duration = Duration::from_secs(15);

impl App {
    /// Warns those inside once of a deadline, as a task that [`App::drain`] owns. It claims nothing: a sandbox that does
    /// not answer must not delay who wants to stop or start it. What cannot be told keeps nothing from being stopped.
    pub(super) fn warn(self: &Arc<Self>, sandbox: Sandbox, deadline: Deadline, stop: Timestamp) {
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            match app.store.mark_warned(&sandbox, deadline.at).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => {
                    tracing::error!(sandbox = %sandbox.id, error = chain(&e), "a warning is given later");
                    return;
                }
            }
            let Some(container) = &sandbox.container else { return };
            let Ok(_voice) = app.voices.acquire().await else { return };
            // What we say there ourselves must not keep it (`idleness.md`, rule 13).
            let left = Duration::try_from(stop.duration_since(app.clock.now())).unwrap_or_default();
            let for_ms = SAYING.min(left / 2).as_millis() as u64;
            let overlook = Request::Overlook { sandbox: sandbox.id.clone(), for_ms };
            if let Err(e) = app.relay.ask(overlook).await {
                tracing::warn!(sandbox = %sandbox.id, error = %e, "a warning may be taken for use");
            }
            let text = warning_text(&app.settings.policy, &sandbox, &deadline, stop, app.clock.now());
            let told = match app.engine.announce(container, &text).await {
                Ok(0) => "nobody is logged in".to_owned(),
                Ok(1) => "1 terminal was told".to_owned(),
                Ok(terminals) => format!("{terminals} terminals were told"),
                Err(e) => format!("nobody could be told: {e}"),
            };
            tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, told, stop = %stop, "warned");
            let why = format!("{}; {told}", app.why(&sandbox));
            app.decided(&sandbox, Decided::Warned, why).await;
        });
    }
}
