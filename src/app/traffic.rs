//! Traffic: what the relay is told of the sandboxes, and what it tells of their connections.
//!
//! Every change of a row goes to the relay at once, and the whole table whenever the relay may not have it. Rows are
//! read while the table is locked, so that what was read first never overwrites what was read later.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::SignedDuration;

use super::{App, Error, Result, chain};
use crate::{
    domain::{
        Boot, EndedBy, Evidence, Life, PortMapping, PortSpec, Protocol, Sandbox, SandboxId, Seen, Source, State, Wake,
        WakeFailure,
    },
    relay::{Count, Event, Listen, Load, Request, Response, Route, Target, Unopened, Unreachable},
};

/// How much newer use must be to be recorded while nothing is decided on it: connections come and go many times a
/// second, and each record is a write to the disk.
const STEP: SignedDuration = SignedDuration::from_millis(900);

/// How long the connections of a sandbox that has stopped may take to deliver what it said last.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl App {
    /// Which connections wake `sandbox`.
    pub fn wakes(&self, sandbox: &Sandbox) -> Wake {
        sandbox.recipe.wake.unwrap_or(self.settings.wake)
    }

    /// What one of a sandbox's ports has carried, as far as the relay has told.
    pub fn traffic(&self, sandbox: &SandboxId, inside: PortSpec) -> Option<Count> {
        let key = (sandbox.clone(), inside.port);
        self.pulse().traffic.get(&key).filter(|_| inside.protocol == Protocol::Tcp).cloned()
    }

    /// Sets which connections wake a sandbox.
    ///
    /// # Errors
    /// [`Error::NoSandbox`].
    pub async fn set_wake(&self, reference: &str, wake: Wake) -> Result<()> {
        let sandbox = self.get(reference).await?;
        self.store.set_wake(&sandbox.id, wake).await?;
        self.show(&sandbox.id).await;
        Ok(())
    }

    /// Moves a sandbox from what `seen` shows to `to`, for the relay too. False, and nothing changed, if it is no
    /// longer so.
    pub(super) async fn mark(&self, seen: &Sandbox, to: State) -> Result<bool> {
        let done = self.store.mark(seen, to).await?;
        Ok(self.shown(seen, done).await)
    }

    /// As [`App::mark`], as a new start.
    pub(super) async fn mark_started(&self, seen: &Sandbox, to: State) -> Result<bool> {
        let done = self.store.mark_started(seen, to).await?;
        if let Some(container) = seen.container.clone().filter(|_| done) {
            self.look_closely_soon(container);
        }
        Ok(self.shown(seen, done).await)
    }

    /// As [`App::mark`], to a state in which it has ended.
    pub(super) async fn mark_ended(&self, seen: &Sandbox, to: State, ended: Seen) -> Result<bool> {
        let done = self.store.mark_ended(seen, to, ended).await?;
        Ok(self.shown(seen, done).await)
    }

    /// Records who ended a sandbox, for the relay too: it may be woken, or not any more.
    pub(super) async fn set_ended_by(&self, seen: &Sandbox, by: EndedBy) -> Result<bool> {
        let done = self.store.set_ended_by(seen, by).await?;
        Ok(self.shown(seen, done).await)
    }

    /// Passes on whether a sandbox was changed, having told the relay if it was.
    pub(super) async fn shown(&self, changed: &Sandbox, done: bool) -> bool {
        if done {
            self.show(&changed.id).await;
        }
        done
    }

    /// Closes a sandbox's listeners, and then forgets it if it is still as `seen` shows: its ports are given to others
    /// only when nobody listens there for it.
    pub(super) async fn forget(&self, seen: &Sandbox) -> Result<bool> {
        let _table = self.table.lock().await;
        self.relay.ask(Request::Remove(seen.id.clone())).await?;
        let done = self.store.forget(seen).await?;
        let mut pulse = self.pulse();
        pulse.traffic.retain(|(id, _), _| *id != seen.id);
        pulse.awaited.remove(&seen.id);
        pulse.cpu.remove(&seen.id);
        pulse.cut_off.remove(&seen.id);
        pulse.failing.remove(&seen.id);
        pulse.heard.retain(|container, _| Some(container) != seen.container.as_ref());
        // It is something else by now, and needs its listeners.
        pulse.table_is_stale |= !done;
        Ok(done)
    }

    /// Whether connections to a sandbox may be carried where nobody counts them for us.
    pub(super) fn is_unseen(&self, sandbox: &Sandbox) -> bool {
        let pulse = self.pulse();
        sandbox.relayed().any(|p| pulse.held.iter().any(|h| h.at == p.outside.into()))
    }

    /// Makes the relay listen on a sandbox's ports.
    ///
    /// # Errors
    /// [`Error::PortHeld`] if somebody else does, [`Error::RelayAway`].
    pub(super) async fn listen(&self, id: &SandboxId) -> Result<()> {
        match self.publish(id).await? {
            held if held.is_empty() => Ok(()),
            held if held.iter().all(|h| h.why.is_none()) => Err(Error::PortHeld(join(&held))),
            held => Err(Error::CannotListen(join(&held))),
        }
    }

    /// Tells the relay of one sandbox as it is now. What cannot be told now is told by the next pass.
    async fn show(&self, id: &SandboxId) {
        let stale = match self.publish(id).await {
            Ok(held) => !held.is_empty(),
            Err(e) => {
                if !self.misses_relay(&e) {
                    tracing::warn!(sandbox = %id, error = chain(&e), "the relay is told later");
                }
                true
            }
        };
        self.pulse().table_is_stale |= stale;
    }

    async fn publish(&self, id: &SandboxId) -> Result<Vec<Unopened>> {
        let _table = self.table.lock().await;
        match self.store.get(id).await? {
            // Whoever deletes it is answered when this is done.
            Some(Sandbox { life: Life { state: State::Deleting, .. }, .. }) => {
                self.relay.ask(Request::Remove(id.clone())).await?;
                Ok(Vec::new())
            }
            Some(sandbox) => held(self.relay.ask(Request::Put(self.route(&sandbox))).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Tells the relay everything, if it may not know it, and again while ports are held by others.
    pub(super) async fn publish_all(&self) -> Result<()> {
        if !std::mem::take(&mut self.pulse().table_is_stale) {
            return Ok(());
        }
        let told = async {
            let _table = self.table.lock().await;
            let known = self.store.all().await?;
            let routes = known.iter().filter(|s| s.life.state != State::Deleting).map(|s| self.route(s)).collect();
            held(self.relay.ask(Request::Table(routes)).await?)
        };
        let told = told.await;
        let mut pulse = self.pulse();
        let held = told.as_ref().cloned().unwrap_or_default();
        if !held.is_empty() && pulse.held != held {
            let ports = join(&held);
            tracing::error!(
                ports,
                "sandboxes' ports cannot be opened, so none of these is stopped for being idle; if another program listens \
                 there, is it a `spindle relay` that SPINDLE_RELAY_SOCKET does not name?"
            );
        }
        pulse.table_is_stale |= told.is_err() || !held.is_empty();
        pulse.held = held;
        told.map(drop)
    }

    fn route(&self, sandbox: &Sandbox) -> Route {
        let target = match sandbox.life.state {
            State::Running { address: Some(address), pid, ref boot, .. } if self.is_believed(boot.as_ref(), pid) => {
                Target::Open { address, pid }
            }
            _ if self.wakes(sandbox).allows(sandbox) => Target::Asleep,
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

    /// Whether what a row says of a running sandbox can be true: not what it said before the machine was started, and
    /// before our first look only what the relay can see for itself.
    fn is_believed(&self, boot: Option<&Boot>, pid: Option<u32>) -> bool {
        boot.is_none_or(|boot| *boot == self.clock.boot()) && (pid.is_some() || self.pulse().passed)
    }

    /// Reads what the relay has counted, and records what of it is evidence.
    ///
    /// # Errors
    /// [`Error::RelayAway`]; [`Error::Store`], and then it is recorded next time.
    pub(super) async fn collect(&self) -> Result<()> {
        match self.relay.ask(Request::Counts).await? {
            Response::Counts(counts) => self.record(counts, SignedDuration::ZERO).await,
            other => Err(unexpected(&other).into()),
        }
    }

    /// Says once that the relay is away, and once that it is back.
    pub(super) fn note_relay(&self, counted: &Result<()>) {
        match counted {
            Ok(()) if std::mem::take(&mut self.pulse().relay_is_missed) => tracing::info!("the relay is back"),
            Ok(()) => {}
            Err(e) if self.misses_relay(e) => {}
            Err(e) => tracing::warn!(
                error = chain(e),
                "the connections could not be looked at, so none is stopped for being idle"
            ),
        }
    }

    /// Whether an error is only that the relay is away, which is said once, whatever it leaves undone.
    pub(super) fn misses_relay(&self, error: &Error) -> bool {
        match error {
            Error::RelayAway(why) => self.miss_relay(why),
            _ => return false,
        }
        true
    }

    /// Says that the relay is away, unless that was said. While the first pass runs it is being connected to.
    pub(super) fn miss_relay(&self, why: &Unreachable) {
        let mut pulse = self.pulse();
        if pulse.passed && !std::mem::replace(&mut pulse.relay_is_missed, true) {
            tracing::warn!(
                error = %why,
                "the relay is away: until it is back nothing is created or started, and nobody is stopped for being idle"
            );
        }
    }

    /// Takes up counts, and records use that is newer by `step` than what is recorded.
    async fn record(&self, mut counts: Vec<Count>, step: SignedDuration) -> Result<()> {
        let mut uses: Vec<(SandboxId, u64, Evidence)> = Vec::new();
        {
            let pulse = self.pulse();
            for count in &mut counts {
                let known = pulse.traffic.get(&(count.sandbox.clone(), count.inside)).and_then(|c| c.last_use);
                let Some((generation, at)) = count.last_use.filter(|last| Some(*last) != known) else { continue };
                let is_little = |before| (SignedDuration::ZERO..step).contains(&at.duration_since(before));
                if known.is_some_and(|(g, before)| g == generation && is_little(before)) {
                    count.last_use = known;
                } else {
                    uses.push((
                        count.sandbox.clone(),
                        generation,
                        Evidence { source: Source::Connection, at: self.clock.of_late(at) },
                    ));
                }
            }
        }
        if !uses.is_empty() {
            self.store.record_use(uses).await?;
        }
        let mut pulse = self.pulse();
        for count in counts {
            pulse.traffic.insert((count.sandbox.clone(), count.inside), count);
        }
        Ok(())
    }

    /// Counts what connections carry. Never ends by itself.
    pub async fn keep_relay(&self) {
        self.relay.run().await;
    }

    /// Listens to the relay until it falls silent, which it does not do by itself.
    pub async fn follow_relay(self: &Arc<Self>) {
        while let Some(event) = self.relay.event().await {
            match event {
                Event::Fresh => {
                    let mut pulse = self.pulse();
                    pulse.table_is_stale = true;
                    // What is still open is told anew.
                    pulse.traffic.values_mut().for_each(|count| count.open = 0);
                    drop(pulse);
                    self.wake();
                }
                Event::Counts(counts) => {
                    if let Err(e) = self.record(counts, STEP).await {
                        tracing::warn!(error = chain(&e), "what connections carried is recorded later");
                    }
                }
                Event::Wake { sandbox, peer, inside } => {
                    let app = Arc::clone(self);
                    self.tasks.spawn(async move { app.wake_up(&sandbox, peer, inside).await });
                }
            }
        }
    }

    /// What the relay's process carries.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) async fn relay_load(&self) -> std::result::Result<Load, Unreachable> {
        match self.relay.ask(Request::Load).await? {
            Response::Load(load) => Ok(load),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts a sandbox to which somebody has connected, if that may be.
    async fn wake_up(self: &Arc<Self>, id: &SandboxId, peer: SocketAddr, inside: u16) {
        let woken = self.try_wake(id).await;
        match woken {
            Ok(true) => tracing::info!(sandbox = %id, %peer, port = inside, "woken by a connection"),
            Ok(false) => self.refuse(id).await,
            // Another server may do it in a moment.
            Err(Error::ShuttingDown) => {}
            Err(e) => {
                let why = chain(&e);
                tracing::warn!(sandbox = %id, %peer, port = inside, error = why, "could not be woken");
                let failure = WakeFailure { at: self.clock.now(), why };
                if let Err(e) = self.store.set_wake_failure(id, failure).await {
                    tracing::error!(sandbox = %id, error = chain(&e), "that it could not be woken is not recorded");
                }
                self.refuse(id).await;
            }
        }
    }

    async fn try_wake(self: &Arc<Self>, id: &SandboxId) -> Result<bool> {
        let Some(sandbox) = self.store.get(id).await? else { return Ok(false) };
        if matches!(sandbox.life.state, State::Running { .. }) {
            self.show(id).await;
            return Ok(true);
        }
        let may = |sandbox: &Sandbox| self.wakes(sandbox).allows(sandbox);
        let Some(container) = sandbox.container.as_ref().filter(|_| may(&sandbox)) else { return Ok(false) };
        // Whoever stops it meanwhile on purpose wins.
        let now = self.start_if(container.as_str(), may, false).await?;
        Ok(matches!(now.life.state, State::Running { .. }))
    }

    async fn refuse(&self, id: &SandboxId) {
        if let Err(e) = self.relay.ask(Request::Refuse(id.clone())).await {
            // The table is told anew when it is back, and turns them away.
            self.miss_relay(&e);
            self.pulse().table_is_stale = true;
        }
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

fn unexpected(answer: &Response) -> Unreachable {
    Unreachable(format!("it answers {answer:?}"))
}

fn join(ports: &[Unopened]) -> String {
    let one = |p: &Unopened| match &p.why {
        None => p.at.to_string(),
        Some(why) => format!("{}: {why}", p.at),
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}
