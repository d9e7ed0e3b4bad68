//! The relay's table: what we tell the relay about sandboxes.

use std::time::Duration;

use super::{Records, unexpected};
use crate::{
    app::{Error, Result, chain},
    domain::{Life, PortMapping, PortSpec, Reach, Sandbox, SandboxId, State},
    relay::{Listen, Request, Response, Route, Target, Unopened},
};

/// After a stop, how long connections may take to deliver the sandbox's last bytes.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Records {
    /// Makes the relay listen on a sandbox's ports.
    ///
    /// # Errors
    /// [`Error::PortHeld`] if another program does, [`Error::RelayAway`].
    pub async fn listen(&self, id: &SandboxId) -> Result<()> {
        match self.publish(id).await? {
            held if held.is_empty() => Ok(()),
            held if held.iter().all(|h| h.why.is_none()) => Err(Error::PortHeld(join(&held))),
            held => Err(Error::CannotListen(join(&held))),
        }
    }

    /// Tells the relay how one sandbox is now. If that fails, the next pass does it.
    pub async fn show(&self, id: &SandboxId) {
        let is_stale = match self.publish(id).await {
            Ok(held) => !held.is_empty(),
            Err(e) => {
                if !self.misses_relay(&e) {
                    tracing::warn!(sandbox = %id, error = chain(&e), "the relay is told later");
                }
                true
            }
        };
        self.table().is_stale |= is_stale;
    }

    async fn publish(&self, id: &SandboxId) -> Result<Vec<Unopened>> {
        let _telling = self.telling.lock().await;
        match self.store.get(id).await? {
            // The caller of the deletion gets an answer when this is done.
            Some(Sandbox { life: Life { state: State::Deleting, .. }, .. }) => {
                self.relay.ask(Request::Remove(id.clone())).await?;
                Ok(Vec::new())
            }
            Some(sandbox) => held(self.relay.ask(Request::Put(self.route(&sandbox))).await?),
            None => Ok(Vec::new()),
        }
    }

    /// The relay may lack something: the next pass tells it everything.
    pub fn tell_all_again(&self) {
        self.table().is_stale = true;
    }

    /// Tells the relay everything if it may lack something, and again while others hold ports.
    pub async fn publish_all(&self) {
        if !std::mem::take(&mut self.table().is_stale) {
            return;
        }
        let told = self.try_publish_all().await;
        let mut table = self.table();
        let held = told.as_ref().cloned().unwrap_or_default();
        if !held.is_empty() && table.held != held {
            let ports = join(&held);
            tracing::error!(
                ports,
                "sandboxes' ports cannot be opened, so none of these is stopped for being idle; if another program listens \
                 there, is it a `spindle relay` that SPINDLE_RELAY_SOCKET does not name?"
            );
        }
        table.is_stale |= told.is_err() || !held.is_empty();
        table.held = held;
        drop(table);
        if let Err(e) = told
            && !self.misses_relay(&e)
        {
            tracing::warn!(error = chain(&e), "the relay is told in the next pass");
        }
    }

    async fn try_publish_all(&self) -> Result<Vec<Unopened>> {
        let _telling = self.telling.lock().await;
        let known = self.store.all().await?;
        let routes = known.iter().filter(|s| s.life.state != State::Deleting).map(|s| self.route(s)).collect();
        held(self.relay.ask(Request::Table(routes)).await?)
    }

    fn route(&self, sandbox: &Sandbox) -> Route {
        let target = match sandbox.life.state {
            State::Running { reach: ref reach @ Reach { address: Some(address), pid, .. }, .. }
                if self.is_believed(reach) =>
            {
                Target::Open { address, pid }
            }
            _ if sandbox.is_woken(self.wakes(sandbox)) => Target::Asleep,
            _ => Target::Shut,
        };
        let cut_after = match sandbox.life.state {
            State::Stopping { .. } => self.settings.stop_grace,
            _ => LAST_WORDS,
        };
        Route {
            sandbox: sandbox.id.clone(),
            name: sandbox.name.to_string(),
            generation: sandbox.life.generation,
            target,
            cut_after_ms: cut_after.as_millis() as u64,
            ports: sandbox.relayed().map(|p| listen(sandbox, p)).collect(),
        }
    }

    /// Whether to believe where a row says a sandbox runs. Not if the row is from before the machine's start; before
    /// our first look, only if the relay can check it itself.
    fn is_believed(&self, reach: &Reach) -> bool {
        let is_of_this_boot = reach.boot.as_ref().is_none_or(|boot| *boot == self.clock.boot());
        is_of_this_boot && (reach.pid.is_some() || self.vitals.has_begun())
    }
}

fn listen(sandbox: &Sandbox, port: &PortMapping) -> Listen {
    let traffic = &sandbox.recipe.traffic;
    Listen {
        outside: port.outside.into(),
        inside: port.inside.port,
        wakes_silent: traffic.wakes_silent && port.inside != PortSpec::SSH,
        http: traffic.app_http != Some(false) || sandbox.recipe.app_port != Some(port.inside),
        proxy_protocol: traffic.proxy_protocol.contains(&port.inside.port),
    }
}

fn held(answer: Response) -> Result<Vec<Unopened>> {
    match answer {
        Response::Held(held) => Ok(held),
        other => Err(unexpected(&other).into()),
    }
}

fn join(ports: &[Unopened]) -> String {
    let one = |p: &Unopened| match &p.why {
        None => p.at.to_string(),
        Some(why) => format!("{}: {why}", p.at),
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}
