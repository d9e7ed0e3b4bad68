//! Work: what is done to one sandbox through the engine, by whoever holds its claim.

mod claims;
mod cut_off;
mod ended;
mod heard;
mod removal;
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
pub use claims::{Claim, Claims};
use cut_off::CutOff;
use heard::Heard;

/// Whether something was done; it is not where what it was decided on no longer holds.
pub type Tried = std::result::Result<bool, Box<dyn std::error::Error + Send + Sync>>;

/// The question whether the engine is there, while it is asked.
type Asking = WeakShared<BoxFuture<'static, engine::Result<()>>>;

/// What is done to sandboxes, one at a time for each.
/// Its first fields are the parts that it stands on; each is used by itself.
pub struct Work {
    pub(super) records: Arc<Records>,
    pub(super) usage: Arc<Usage>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) next: Arc<Next>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) clock: Arc<RecordClock>,
    pub(super) settings: Arc<Settings>,
    pub(super) claims: Arc<Claims>,
    starts: Semaphore,
    removals: Semaphore,
    asking: Mutex<Option<Asking>>,
    /// What was heard of containers' present or last runs.
    heard: Mutex<HashMap<ContainerId, Heard>>,
    /// Idle stops of which nobody knows whether they were carried out.
    cut_off: Mutex<HashMap<SandboxId, CutOff>>,
    /// Sandboxes about which a step failed and has not succeeded since.
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

    /// How many sandboxes the engine fails to stop, start or remove, again and again.
    pub fn failures(&self) -> usize {
        self.failing().len()
    }

    /// A step about a sandbox failed, or did not.
    pub fn set_failing(&self, id: SandboxId, fails: bool) {
        let mut failing = self.failing();
        if fails {
            failing.insert(id);
        } else {
            failing.remove(&id);
        }
    }

    /// Makes sure that the engine is there before an intent is recorded that needs it. Who asks while it is being asked
    /// shares the answer: a whole class that is stopped at once asks once.
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

    /// Waits for a turn among those whom the engine makes or starts.
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
