//! Work: what is done to one sandbox through the engine, by the holder of its claim.

mod amending;
mod claims;
mod cut_off;
mod ended;
mod execs;
mod heard;
mod removal;
mod resetting;
mod settling;
mod starting;
mod stopping;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, WeakShared},
};
use tokio::sync::Semaphore;

use super::{Error, Result, Settings, next::Next, records::Records, usage::Usage, vitals::Vitals};
use crate::{
    clock::RecordClock,
    domain::{ContainerId, SandboxId},
    engine::{self, Engine},
};
use amending::Amending;
pub use claims::{Claim, Claims};
use cut_off::CutOff;
use execs::Execs;
pub use execs::Running;
use heard::Heard;

/// Whether something was done; false where the facts behind the decision no longer hold.
pub type Tried = std::result::Result<bool, Box<dyn std::error::Error + Send + Sync>>;

/// The shared question to the engine whether it is there.
type Asking = WeakShared<BoxFuture<'static, engine::Result<()>>>;

/// What is done to sandboxes, one thing at a time for each. Its first fields are the parts that it uses, each by
/// itself.
pub struct Work {
    pub(super) records: Arc<Records>,
    pub(super) usage: Arc<Usage>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) next: Arc<Next>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) clock: Arc<RecordClock>,
    pub(super) settings: Arc<Settings>,
    pub(super) claims: Arc<Claims>,
    pub(super) amending: Amending,
    execs: Execs,
    starts: Semaphore,
    removals: Semaphore,
    asking: Mutex<Option<Asking>>,
    /// What we heard of each container's present or last run.
    heard: Mutex<HashMap<ContainerId, Heard>>,
    /// Idle stops that may or may not have been carried out.
    cut_off: Mutex<HashMap<SandboxId, CutOff>>,
    /// Sandboxes whose last step failed.
    failing: Mutex<HashSet<SandboxId>>,
}

impl Work {
    /// Puts the parts together.
    pub fn new(
        records: Arc<Records>,
        usage: Arc<Usage>,
        vitals: Arc<Vitals>,
        next: Arc<Next>,
        engine: Arc<dyn Engine>,
        clock: Arc<RecordClock>,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            records,
            usage,
            vitals,
            next,
            engine,
            clock,
            claims: Arc::default(),
            amending: Amending::default(),
            execs: Execs::default(),
            starts: Semaphore::new(settings.start_concurrency),
            removals: Semaphore::new(settings.start_concurrency),
            settings,
            asking: Mutex::default(),
            heard: Mutex::default(),
            cut_off: Mutex::default(),
            failing: Mutex::default(),
        }
    }

    fn failing(&self) -> MutexGuard<'_, HashSet<SandboxId>> {
        self.failing.lock().expect("no holder panics")
    }

    /// How many sandboxes the engine repeatedly fails to stop, start or remove.
    pub fn failures(&self) -> usize {
        self.failing().len()
    }

    /// Notes whether a step about a sandbox failed.
    pub fn set_failing(&self, id: SandboxId, fails: bool) {
        let mut failing = self.failing();
        if fails {
            failing.insert(id);
        } else {
            failing.remove(&id);
        }
    }

    /// Checks that the engine answers, before an intent that needs it is recorded. Callers at the same time share one
    /// question: a whole class that stops at once asks once.
    ///
    /// # Errors
    /// [`Error::EngineAway`], [`Error::Engine`].
    pub async fn engine_answers(&self) -> Result<()> {
        let asking = {
            let mut asked = self.asking.lock().expect("no holder panics");
            let under_way = asked.as_ref().and_then(WeakShared::upgrade).filter(|asking| asking.peek().is_none());
            under_way.unwrap_or_else(|| {
                let engine = Arc::clone(&self.engine);
                let asking = async move { engine.answers().await }.boxed().shared();
                *asked = asking.downgrade();
                asking
            })
        };
        asking.await.map_err(|e| Error::engine("the container could not be changed", e))
    }

    /// Waits for a turn to create or start.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`].
    pub async fn turn_to_start(&self) -> Result<impl Drop + '_> {
        self.starts.acquire().await.map_err(|_| Error::ShuttingDown)
    }

    /// Starts nothing more.
    pub fn close(&self) {
        self.starts.close();
    }
}
