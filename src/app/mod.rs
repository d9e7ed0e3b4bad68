//! The use cases. A request goes to [`Asked`], a tick to [`Pass`].
//!
//! The two storeys never import each other. Both use the same parts: `records` (rows, and the relay's table), `usage`
//! (counts and cpu into evidence), `vitals` (whether idle stops are allowed), `next` (what wakes the pass), and `work`
//! (what is done to one claimed sandbox). `actions` records what is done.

mod actions;
mod asked;
mod error;
mod identity;
mod next;
mod pass;
mod records;
mod settings;
mod spool;
mod tally;
mod usage;
mod vitals;
mod work;

use std::{sync::Arc, time::Duration};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    clock::{Clock, RecordClock},
    domain::Actor,
    engine::Engine,
    relay::Relay,
    store::Store,
};
use identity::Identity;
use next::Next;
use records::Records;
use usage::Usage;
use work::Work;

pub use crate::{
    clock::Stopwatch,
    domain::Change,
    engine::{Announced, LogsWanted, Mounted, Outlet, Process},
    store::Claimed,
};
pub use actions::Actions;
pub use asked::{
    Activity, Asked, CourseChange, CreateSpec, Ended, Ensured, ExecWish, Executed, Figures, Given, Health, Image,
    LONGEST, Listed, ListedEntry, LogLine, LogLines, MOST_AT_ONCE, Manner, NewPassword, NewToken, NewUser, Page,
    PortView, Power, Pull, PullEnd, PullState, PutIn, STALL, Sample, Seat, SignIn, Taken, Terminal, TerminalWish, Told,
    UserChange, View, Viewing, Written,
};
pub use error::{Error, chain};
pub use identity::{new_id, password};
pub use pass::Pass;
pub use settings::{AdminLogin, ReachSettings, Settings};
pub use tally::{CheckInResult, Passes};
pub use vitals::{CheckInDoor, ConvergeReport, Vitals};

#[cfg(test)]
mod tests;

/// The use cases' result.
pub type Result<T> = std::result::Result<T, Error>;

/// A token: something is under way while it exists.
pub struct UnderWay(#[allow(dead_code, reason = "it is there to be dropped")] TaskTrackerToken);

/// Builds the parts on which both storeys stand.
fn ground(
    store: Arc<Store>,
    engine: Arc<dyn Engine>,
    relay: &Arc<Relay>,
    clock: Arc<RecordClock>,
    settings: Settings,
    tasks: &TaskTracker,
) -> Arc<Work> {
    let (settings, next) = (Arc::new(settings), Arc::new(Next::default()));
    let vitals = Arc::new(Vitals::new(store.clone(), clock.clone(), settings.clone(), next.clone()));
    let records = Records::new(store, relay.clone(), clock.clone(), settings.clone(), vitals.clone(), next.clone());
    let records = Arc::new(records);
    let usage = Usage::new(
        records.clone(),
        vitals.clone(),
        engine.clone(),
        relay.clone(),
        clock.clone(),
        settings.clone(),
        tasks.clone(),
    );
    Arc::new(Work::new(records, Arc::new(usage), vitals, next, engine, clock, settings))
}

/// The use cases, put together.
pub struct App {
    /// What callers ask for.
    pub asked: Arc<Asked>,
    /// What a tick does.
    pub pass: Arc<Pass>,
    /// Whether the engine, the store and the door work.
    pub vitals: Arc<Vitals>,
    /// Who callers are.
    pub identity: Arc<Identity>,
    /// What was done.
    pub actions: Arc<Actions>,
    next: Arc<Next>,
    work: Arc<Work>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Puts the parts together. Nothing runs until somebody calls.
    pub fn new(
        store: Arc<Store>,
        engine: Arc<dyn Engine>,
        relay: Arc<Relay>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        let scale = store.scale().filter(|scale| scale.boot == clock.boot());
        let clock = Arc::new(RecordClock::new(clock, scale.map(|scale| scale.ahead)));
        let of_events = Arc::clone(&clock);
        store.tell_time_by(move || of_events.now());
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let work = ground(store, engine, &relay, clock, settings, &tasks);
        let asked = Asked::new(&work, relay, closing.clone(), tasks.clone());
        let pass = Pass::new(&work, tasks.clone());
        let (vitals, next) = (Arc::clone(&work.vitals), Arc::clone(&work.next));
        let (identity, actions) = (Arc::clone(&asked.identity), Arc::clone(&work.records.actions));
        Arc::new(Self { asked, pass, vitals, identity, actions, next, work, closing, tasks })
    }

    /// Waits until somebody wants a pass.
    pub async fn woken(&self) {
        self.next.woken().await;
    }

    /// Asks for a pass soon.
    pub fn wake(&self) {
        self.next.wake();
    }

    /// Looks at every container again before an answer (`CONTRACT.md` 15). It is an ordinary pass: it shortens no life.
    ///
    /// # Errors
    /// [`Error::EngineAway`] if the engine does not answer; [`Error::Forbidden`].
    pub async fn audit(&self, by: &Actor) -> Result<()> {
        self.asked.may_audit(by)?;
        self.next.look_at_all();
        self.pass.converge().await.has_looked("the containers could not be looked at")
    }

    /// A token for something that is under way: [`App::drain`] waits until it is dropped.
    pub fn under_way(&self) -> UnderWay {
        UnderWay(self.tasks.token())
    }

    /// Begins no more creations or starts, and waits until the work under way has ended, for at most `deadline`. The
    /// next server's first pass finishes the rest.
    pub async fn drain(&self, deadline: Duration) {
        self.closing.cancel();
        self.work.close();
        self.pass.close();
        self.tasks.close();
        let done = async {
            self.tasks.wait().await;
            self.actions.written().await;
        };
        if tokio::time::timeout(deadline, done).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "ended with work under way; the next start finishes it");
        }
    }
}
