//! Wake: follow the relay, and start a sandbox when somebody connects to it.

use std::{net::SocketAddr, sync::Arc};

use super::Asked;
use crate::{
    app::{Error, Result, chain},
    domain::{Actor, Happened, Sandbox, SandboxId, State, Verb, WakeFailure},
    relay::Event,
};

impl Asked {
    /// Counts what connections carry. Never ends by itself.
    pub async fn keep_relay(&self) {
        self.relay.run().await;
    }

    /// Handles the relay's events. It ends only when the relay's event stream does.
    pub async fn follow_relay(self: &Arc<Self>) {
        while let Some(event) = self.relay.event().await {
            match event {
                Event::Fresh => {
                    self.records.tell_all_again();
                    self.usage.begin_anew();
                    self.next.wake();
                }
                Event::Counts(counts) => {
                    if let Err(e) = self.usage.take_up(counts).await {
                        tracing::warn!(error = chain(&e), "what connections carried is recorded later");
                    }
                }
                Event::Wake { sandbox, peer, inside } => {
                    let asked = Arc::clone(self);
                    self.tasks.spawn(async move { asked.wake_up(&sandbox, peer, inside).await });
                }
            }
        }
    }

    /// Starts a sandbox to which somebody connects, if a connection may wake it.
    async fn wake_up(self: &Arc<Self>, id: &SandboxId, peer: SocketAddr, inside: u16) {
        let woken = self.try_wake(id, peer).await;
        match woken {
            Ok(true) => tracing::info!(sandbox = %id, %peer, port = inside, "woken by a connection"),
            Ok(false) => self.records.refuse(id).await,
            // The next server may do it in a moment.
            Err(Error::ShuttingDown) => {}
            Err(e) => {
                let why = chain(&e);
                tracing::warn!(sandbox = %id, %peer, port = inside, error = why, "could not be woken");
                let failure = WakeFailure { at: self.clock.now(), why };
                if let Err(e) = self.records.store.set_wake_failure(id, failure).await {
                    tracing::error!(sandbox = %id, error = chain(&e), "that it could not be woken is not recorded");
                }
                self.records.refuse(id).await;
            }
        }
    }

    async fn try_wake(self: &Arc<Self>, id: &SandboxId, peer: SocketAddr) -> Result<bool> {
        let Some(sandbox) = self.records.store.get(id).await? else { return Ok(false) };
        if matches!(sandbox.life.state, State::Running { .. }) {
            self.records.show(id).await;
            return Ok(true);
        }
        let may = |sandbox: &Sandbox| sandbox.is_woken(self.records.wakes(sandbox));
        if !may(&sandbox) {
            return Ok(false);
        }
        let by = Actor::wake(peer);
        let mut waking = self.actions.of(&by, Verb::Start, &sandbox);
        waking.begin();
        // A requested stop that comes meanwhile wins.
        match self.start_if(&by, &sandbox, may).await {
            Ok(now) if !matches!(now.life.state, State::Running { .. }) => {
                waking.cancelled("it may not be woken any more");
                Ok(false)
            }
            started => {
                waking.end(started)?;
                self.records.tell(Happened::Woken, Some(id), &[]);
                Ok(true)
            }
        }
    }
}
