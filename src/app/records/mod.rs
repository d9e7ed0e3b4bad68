//! Records: the rows, and the relay's table kept in step with them.
//!
//! Every change of a row goes to the relay at once, and the whole table whenever the relay may not have it.

mod decisions;
mod table;

use std::sync::{Arc, Mutex, MutexGuard};

use super::{Error, Result, Settings, next::Next, vitals::Vitals};
use crate::{
    clock::RecordClock,
    domain::{EndedBy, Sandbox, SandboxId, SandboxRef, Seen, State, Wake},
    relay::{Load, Relay, Request, Response, Unopened, Unreachable},
    store::Store,
};

/// What is known of the relay's table.
#[derive(Debug, Default)]
struct Table {
    /// The relay may not know all that it should.
    is_stale: bool,
    /// Sandboxes' ports that cannot be opened.
    held: Vec<Unopened>,
    /// The log says that the relay is away, and not yet that it is back.
    is_missed: bool,
}

/// The rows, and the relay's table.
pub struct Records {
    pub(super) store: Arc<Store>,
    relay: Arc<Relay>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    vitals: Arc<Vitals>,
    next: Arc<Next>,
    /// Held while the relay is told something. Rows are read while it is held, so that what was read first never
    /// overwrites what was read later.
    telling: tokio::sync::Mutex<()>,
    table: Mutex<Table>,
}

impl Records {
    /// Puts the parts together.
    pub fn new(
        store: Arc<Store>,
        relay: Arc<Relay>,
        clock: Arc<RecordClock>,
        settings: Arc<Settings>,
        vitals: Arc<Vitals>,
        next: Arc<Next>,
    ) -> Self {
        let telling = tokio::sync::Mutex::default();
        Self { store, relay, clock, settings, vitals, next, telling, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder panics")
    }

    /// One sandbox (`CONTRACT.md` 13).
    ///
    /// # Errors
    /// [`Error::NoSandbox`] if nothing, or more than one, is meant by `reference`.
    pub async fn find(&self, reference: &str) -> Result<Sandbox> {
        let found = self.store.find(&SandboxRef::parse(reference)).await?;
        found.ok_or_else(|| Error::NoSandbox(reference.chars().take(128).collect()))
    }

    /// Which connections wake `sandbox`.
    pub fn wakes(&self, sandbox: &Sandbox) -> Wake {
        sandbox.recipe.wake.unwrap_or(self.settings.wake)
    }

    /// Moves a sandbox from what `seen` shows to `to`, for the relay too. False, and nothing changed, if it is no
    /// longer so.
    pub async fn mark(&self, seen: &Sandbox, to: State) -> Result<bool> {
        let done = self.store.mark(seen, to).await?;
        Ok(self.shown(seen, done).await)
    }

    /// As [`Records::mark`], as a new start.
    pub async fn mark_started(&self, seen: &Sandbox, to: State) -> Result<bool> {
        let done = self.store.mark_started(seen, to).await?;
        if let Some(container) = seen.container.clone().filter(|_| done) {
            self.next.look_closely_at(container);
        }
        Ok(self.shown(seen, done).await)
    }

    /// As [`Records::mark`], to a state in which it has ended.
    pub async fn mark_ended(&self, seen: &Sandbox, to: State, ended: Seen) -> Result<bool> {
        let done = self.store.mark_ended(seen, to, ended).await?;
        Ok(self.shown(seen, done).await)
    }

    /// Records who ended a sandbox, for the relay too: it may be woken, or not any more.
    pub async fn set_ended_by(&self, seen: &Sandbox, by: EndedBy) -> Result<bool> {
        let done = self.store.set_ended_by(seen, by).await?;
        Ok(self.shown(seen, done).await)
    }

    /// Sets which connections wake a sandbox.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`], [`Error::Store`].
    pub async fn set_wake(&self, id: &SandboxId, wake: Wake) -> Result<()> {
        self.store.set_wake(id, wake).await?;
        self.show(id).await;
        Ok(())
    }

    /// Passes on whether a sandbox was changed, having told the relay if it was.
    pub async fn shown(&self, changed: &Sandbox, done: bool) -> bool {
        if done {
            self.show(&changed.id).await;
        }
        done
    }

    /// Closes a sandbox's listeners, and then forgets its row if it is still as `seen` shows: its ports are given to others
    /// only when nobody listens there for it.
    pub async fn forget_row(&self, seen: &Sandbox) -> Result<bool> {
        let _telling = self.telling.lock().await;
        self.relay.ask(Request::Remove(seen.id.clone())).await?;
        let done = self.store.forget(seen).await?;
        if !done {
            // It is something else by now, and needs its listeners.
            self.tell_all_again();
        }
        Ok(done)
    }

    /// Sandboxes' ports that cannot be opened.
    pub fn held(&self) -> Vec<Unopened> {
        self.table().held.clone()
    }

    /// What the relay's process carries.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn relay_load(&self) -> std::result::Result<Load, Unreachable> {
        match self.relay.ask(Request::Load).await? {
            Response::Load(load) => Ok(load),
            other => Err(unexpected(&other)),
        }
    }

    /// Says once that the relay is away, and once that it is back.
    pub fn note_relay(&self, counted: &Result<()>) {
        match counted {
            Ok(()) if std::mem::take(&mut self.table().is_missed) => tracing::info!("the relay is back"),
            Ok(()) => {}
            Err(e) if self.misses_relay(e) => {}
            Err(e) => tracing::warn!(
                error = super::chain(e),
                "the connections could not be looked at, so none is stopped for being idle"
            ),
        }
    }

    /// Whether an error is only that the relay is away, which is said once, whatever it leaves undone.
    pub fn misses_relay(&self, error: &Error) -> bool {
        match error {
            Error::RelayAway(why) => self.miss_relay(why),
            _ => return false,
        }
        true
    }

    /// Says that the relay is away, unless that was said. While the first pass runs it is being connected to.
    pub fn miss_relay(&self, why: &Unreachable) {
        if self.vitals.has_begun() && !std::mem::replace(&mut self.table().is_missed, true) {
            tracing::warn!(
                error = %why,
                "the relay is away: until it is back nothing is created or started, and nobody is stopped for being idle"
            );
        }
    }

    /// Turns away those who wait for a sandbox.
    pub async fn refuse(&self, id: &SandboxId) {
        if let Err(e) = self.relay.ask(Request::Refuse(id.clone())).await {
            // The table is told anew when it is back, and turns them away.
            self.miss_relay(&e);
            self.tell_all_again();
        }
    }

    /// Has the relay take what a sandbox's connections carry for `for_ms` for no use (`IDLENESS.md`, rule 13).
    pub async fn overlook(&self, id: &SandboxId, for_ms: u64) {
        if let Err(e) = self.relay.ask(Request::Overlook { sandbox: id.clone(), for_ms }).await {
            // At worst what we say is taken for use.
            self.miss_relay(&e);
        }
    }
}

/// An answer that belongs to another question.
pub(super) fn unexpected(answer: &Response) -> Unreachable {
    Unreachable(format!("it answers {answer:?}"))
}
