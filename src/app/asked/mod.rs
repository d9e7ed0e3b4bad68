//! Asked: what callers want, one file per verb.

mod actions;
mod activity;
mod again;
mod change;
mod check_in;
mod configuration;
mod create;
mod credentials;
mod events;
mod exec;
mod figures;
mod files;
mod health;
mod images;
mod lifecycle;
mod logs;
mod look;
mod many;
mod measures;
mod message;
mod names;
mod namespaces;
mod once;
mod policy;
mod rights;
mod standing;
mod terminals;
mod users;
mod view;
mod wake;
mod wanted;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Settings, actions::Actions, identity::Identity, next::Next, records::Records, spool::Spool, usage::Usage,
    vitals::Vitals, work::Work,
};
use crate::{clock::RecordClock, engine::Engine, relay::Relay};

pub use activity::Activity;
pub use change::Power;
pub use credentials::{Given, NewToken, SignIn};
pub use events::Told;
pub use exec::{ExecWish, Executed, LONGEST, Written};
pub use figures::Sample;
pub use files::{Listed, ListedEntry, Manner, PutIn, Taken};
pub use health::Health;
use images::Pulling;
pub use images::{Ensured, Image, Pull, PullEnd, PullState};
pub use logs::{LogLine, LogLines};
pub use measures::Figures;
pub use namespaces::CourseChange;
use terminals::Terminals;
pub use terminals::{Ended, STALL, Seat, Terminal, TerminalWish, Viewing};
pub use users::{NewPassword, NewUser, UserChange};
pub use view::{Page, PortView, View};
pub use wanted::{CreateSpec, MOST as MOST_AT_ONCE};

/// How many programs somebody may wait for at once. Each may cost 2 MiB.
const PROGRAMS: usize = 64;

/// The verbs for all callers: people, programs, sandboxes, and connections that wake a sandbox. Its first fields are
/// the parts that it uses, each by itself.
pub struct Asked {
    work: Arc<Work>,
    records: Arc<Records>,
    pub(super) identity: Arc<Identity>,
    actions: Arc<Actions>,
    usage: Arc<Usage>,
    vitals: Arc<Vitals>,
    next: Arc<Next>,
    engine: Arc<dyn Engine>,
    relay: Arc<Relay>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    /// Cancelled when the server is being shut down.
    closing: CancellationToken,
    tasks: TaskTracker,
    /// How many programs somebody may wait for at once.
    programs: Semaphore,
    terminals: Terminals,
    /// Images that are being pulled, by tag.
    pulls: Mutex<HashMap<String, Pulling>>,
    /// Files on their way in and out.
    spool: Spool,
}

impl Asked {
    /// Puts the parts together. `closing` is cancelled when the server is being shut down.
    pub fn new(work: &Arc<Work>, relay: Arc<Relay>, closing: CancellationToken, tasks: TaskTracker) -> Arc<Self> {
        let (store, clock, admin) = (work.records.store.clone(), work.clock.clone(), work.settings.admin.clone());
        let identity = Arc::new(Identity::new(store, clock, admin, tasks.clone()));
        Arc::new(Self {
            work: Arc::clone(work),
            records: Arc::clone(&work.records),
            actions: Arc::clone(&work.records.actions),
            usage: Arc::clone(&work.usage),
            vitals: Arc::clone(&work.vitals),
            next: Arc::clone(&work.next),
            engine: Arc::clone(&work.engine),
            identity,
            relay,
            clock: Arc::clone(&work.clock),
            settings: Arc::clone(&work.settings),
            closing,
            spool: Spool::new(&work.settings, tasks.clone()),
            tasks,
            programs: Semaphore::new(PROGRAMS),
            terminals: Mutex::default(),
            pulls: Mutex::default(),
        })
    }
}
