//! Records: the rows, and the relay's table kept in step with them.
//!
//! Every change of a row goes to the relay at once; the whole table goes whenever the relay may lack something.

mod decisions;
mod table;

use std::sync::{Arc, Mutex, MutexGuard};

use super::{Error, Result, Settings, actions::Actions, next::Next, tally::Tally, vitals::Vitals};
use crate::{
    clock::RecordClock,
    domain::{EndedBy, Fact, Happened, Sandbox, SandboxId, SandboxRef, Seen, State, Wake},
    relay::{Load, Relay, Request, Response, Unopened, Unreachable},
    store::Store,
};

/// What is known of the relay's table.
#[derive(Debug, Default)]
struct Table {
    /// The relay may lack something.
    is_stale: bool,
    /// Sandboxes' ports that cannot be opened.
    held: Vec<Unopened>,
    /// The log says that the relay is away, but not yet that it is back.
    is_missed: bool,
}

/// The rows, the record of what is done, and the relay's table.
pub struct Records {
    pub(super) store: Arc<Store>,
    pub(super) actions: Arc<Actions>,
    pub(super) tally: Tally,
    relay: Arc<Relay>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    vitals: Arc<Vitals>,
    next: Arc<Next>,
    /// Held while we tell the relay something. Rows are read under it, so no older read overwrites a newer one.
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
        let actions = Arc::new(Actions::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&settings)));
        Self {
            store,
            actions,
            tally: Tally::default(),
            relay,
            clock,
            settings,
            vitals,
            next,
            telling,
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder panics")
    }

    /// One sandbox among those that the caller `sees` (`CONTRACT.md` 13).
    ///
    /// # Errors
    /// [`Error::NoSandbox`] if `reference` means none of them, or more than one.
    pub async fn find(&self, reference: &str, sees: impl Fn(&Sandbox) -> bool) -> Result<Sandbox> {
        let mut found = self.store.meant(&SandboxRef::parse(reference)).await?;
        found.retain(sees);
        let only = if found.len() == 1 { found.pop() } else { None };
        only.ok_or_else(|| Error::NoSandbox(reference.chars().take(128).collect()))
    }

    /// The same sandbox as it is now. Its name may be another's meanwhile, so it is found by its id.
    ///
    /// # Errors
    /// [`Error::NoSandbox`] if it was deleted.
    pub async fn again(&self, seen: &Sandbox) -> Result<Sandbox> {
        let now = self.store.get(&seen.id).await?.filter(|now| now.life.state.is_visible());
        now.ok_or_else(|| Error::NoSandbox(seen.name.to_string()))
    }

    /// Which connections wake `sandbox`.
    pub fn wakes(&self, sandbox: &Sandbox) -> Wake {
        sandbox.recipe.wake.unwrap_or(self.settings.wake)
    }

    /// Moves a sandbox from the state in `seen` to `to`, and tells the relay. False, and nothing changed, if `seen` is
    /// out of date.
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

    /// As [`Records::mark`], to a state after its end.
    pub async fn mark_ended(&self, seen: &Sandbox, to: State, ended: Seen) -> Result<bool> {
        let done = self.store.mark_ended(seen, to, ended).await?;
        Ok(self.shown(seen, done).await)
    }

    /// Records who ended a sandbox, and tells the relay: this decides whether a connection may wake it.
    pub async fn set_ended_by(&self, seen: &Sandbox, by: EndedBy) -> Result<bool> {
        let done = self.store.set_ended_by(seen, by).await?;
        Ok(self.shown(seen, done).await)
    }

    /// Tells the relay of a sandbox if it was changed. Returns `done`.
    pub async fn shown(&self, changed: &Sandbox, done: bool) -> bool {
        if done {
            self.show(&changed.id).await;
        }
        done
    }

    /// Closes a sandbox's listeners, then forgets its row if `seen` is still true. In this order others get its ports
    /// only when nobody listens there any more.
    pub async fn forget_row(&self, seen: &Sandbox) -> Result<bool> {
        let _telling = self.telling.lock().await;
        self.relay.ask(Request::Remove(seen.id.clone())).await?;
        let done = self.store.forget(seen).await?;
        if !done {
            // The row has changed, and the sandbox needs its listeners again.
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
    /// If the relay does not answer.
    pub async fn relay_load(&self) -> std::result::Result<Load, Unreachable> {
        match self.relay.ask(Request::Load).await? {
            Response::Load(load) => Ok(load),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells those who follow what no row shows. If the store fails, others log it.
    pub fn tell(&self, what: Happened, on: Option<&SandboxId>, detail: &[(&str, Fact)]) {
        self.store.tell(what, on.cloned(), detail, |_| {});
    }

    /// Logs once that the relay is away, and once that it is back.
    pub fn note_relay(&self, counted: &Result<()>) {
        match counted {
            Ok(()) if std::mem::take(&mut self.table().is_missed) => {
                tracing::info!("the relay is back");
                self.tell(Happened::RelayBack, None, &[]);
            }
            Ok(()) => {}
            Err(e) if self.misses_relay(e) => {}
            Err(e) => tracing::warn!(
                error = super::chain(e),
                "the connections could not be looked at, so none is stopped for being idle"
            ),
        }
    }

    /// Whether an error only means that the relay is away. The log says so once, however much is left undone.
    pub fn misses_relay(&self, error: &Error) -> bool {
        match error {
            Error::RelayAway(why) => self.miss_relay(why),
            _ => return false,
        }
        true
    }

    /// Logs that the relay is away, unless the log says so already. During the first pass we still connect to it.
    pub fn miss_relay(&self, why: &Unreachable) {
        if self.vitals.has_begun() && !std::mem::replace(&mut self.table().is_missed, true) {
            tracing::warn!(
                error = %why,
                "the relay is away: until it is back nothing is created or started, and nobody is stopped for being idle"
            );
            self.tell(Happened::RelayLost, None, &[("why", why.to_string().into())]);
        }
    }

    /// Turns away those who wait for a sandbox.
    pub async fn refuse(&self, id: &SandboxId) {
        if let Err(e) = self.relay.ask(Request::Refuse(id.clone())).await {
            // When the relay is back it gets the whole table, and turns them away then.
            self.miss_relay(&e);
            self.tell_all_again();
        }
    }

    /// For `for_ms`, the relay counts nothing on this sandbox's connections as use (`IDLENESS.md`, rule 13).
    pub async fn overlook(&self, id: &SandboxId, for_ms: u64) {
        if let Err(e) = self.relay.ask(Request::Overlook { sandbox: id.clone(), for_ms }).await {
            // At worst our own text counts as use.
            self.miss_relay(&e);
        }
    }
}

/// An answer that belongs to another question.
pub(super) fn unexpected(answer: &Response) -> Unreachable {
    Unreachable(format!("it answers {answer:?}"))
}
