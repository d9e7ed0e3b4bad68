//! Usage: turn traffic and cpu time into evidence, and know whether we can see them.

mod cpu;
mod glance;
mod touch;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::SignedDuration;
use tokio_util::task::TaskTracker;

use super::{
    Result, Settings,
    records::{Records, unexpected},
    vitals::Vitals,
};
use crate::{
    clock::RecordClock,
    domain::{
        Evidence, SandboxId, Source,
        rules::{Rule, broken},
    },
    engine::Engine,
    relay::{Count, Relay, Request, Response},
};
use cpu::Samples;
pub use glance::Glance;
use touch::Touches;

/// Between passes, use is recorded only if it is newer by this much: connections come and go many times a second, and
/// each record is a write to the disk.
const STEP: SignedDuration = SignedDuration::from_millis(900);

/// What we know of the use of sandboxes, besides their reports.
pub struct Usage {
    records: Arc<Records>,
    vitals: Arc<Vitals>,
    engine: Arc<dyn Engine>,
    relay: Arc<Relay>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    tasks: TaskTracker,
    /// What each port has carried.
    counts: Mutex<HashMap<(SandboxId, u16), Count>>,
    /// The relay's counts could not be read.
    is_relay_away: AtomicBool,
    /// The last cpu measurement of each sandbox for which cpu counts.
    cpu: Mutex<Samples>,
    /// What people did inside through the API.
    touches: Mutex<Touches>,
    /// Held while somebody measures cpu use.
    cpu_looks: Arc<tokio::sync::Mutex<()>>,
}

impl Usage {
    /// Puts the parts together.
    pub fn new(
        records: Arc<Records>,
        vitals: Arc<Vitals>,
        engine: Arc<dyn Engine>,
        relay: Arc<Relay>,
        clock: Arc<RecordClock>,
        settings: Arc<Settings>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            records,
            vitals,
            engine,
            relay,
            clock,
            settings,
            tasks,
            counts: Mutex::default(),
            is_relay_away: AtomicBool::new(false),
            cpu: Mutex::default(),
            touches: Mutex::default(),
            cpu_looks: Arc::default(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<(SandboxId, u16), Count>> {
        self.counts.lock().expect("no holder panics")
    }

    fn cpu(&self) -> MutexGuard<'_, Samples> {
        self.cpu.lock().expect("no holder panics")
    }

    /// Reads the relay's counts, and records the evidence in them.
    ///
    /// # Errors
    /// [`Error::RelayAway`](super::Error::RelayAway); those of the store; then the next call records it.
    pub async fn collect(&self) -> Result<()> {
        match self.relay.ask(Request::Counts).await? {
            Response::Counts(counts) => self.record(counts, SignedDuration::ZERO).await,
            other => Err(unexpected(&other).into()),
        }
    }

    /// As [`Usage::collect`], for a pass, which remembers whether it could look.
    pub async fn collect_for_pass(&self) -> Result<()> {
        self.record_touches().await?;
        let counted = if broken(Rule::NewestEvidence) { Ok(()) } else { self.collect().await };
        self.records.note_relay(&counted);
        self.is_relay_away.store(counted.is_err(), Ordering::Relaxed);
        counted
    }

    /// Takes up counts that the relay sends unasked.
    ///
    /// # Errors
    /// Those of the store; then the next call records it.
    pub async fn take_up(&self, counts: Vec<Count>) -> Result<()> {
        self.record(counts, STEP).await
    }

    /// Takes up counts, and records use that is newer than the recorded use by `step`.
    async fn record(&self, mut counts: Vec<Count>, step: SignedDuration) -> Result<()> {
        let mut uses: Vec<(SandboxId, u64, Evidence)> = Vec::new();
        {
            let before = self.counts();
            for count in &mut counts {
                let known = before.get(&(count.sandbox.clone(), count.inside));
                self.carry(known, count);
                let known = known.and_then(|c| c.last_use);
                let Some((generation, at)) = count.last_use.filter(|last| Some(*last) != known) else { continue };
                let is_little = |before| (SignedDuration::ZERO..step).contains(&at.duration_since(before));
                if known.is_some_and(|(g, before)| g == generation && is_little(before)) {
                    count.last_use = known;
                } else {
                    let evidence = Evidence { source: Source::Connection, at: self.clock.of_late(at) };
                    uses.push((count.sandbox.clone(), generation, evidence));
                }
            }
        }
        if !uses.is_empty() {
            self.records.store.record_use(uses).await?;
        }
        self.counts().extend(counts.into_iter().map(|count| ((count.sandbox.clone(), count.inside), count)));
        Ok(())
    }

    /// Adds what was carried since the count `before`. A relay that begins anew counts from zero.
    fn carry(&self, before: Option<&Count>, now: &Count) {
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let (was_in, was_out) = before.map_or((0, 0), |before| (before.bytes_in, before.bytes_out));
        self.records.tally.carry(more(now.bytes_in, was_in), more(now.bytes_out, was_out));
    }

    /// Another relay answers: forget which connections are open; it tells them itself.
    pub fn begin_anew(&self) {
        self.counts().values_mut().for_each(|count| count.open = 0);
    }

    /// Forgets a sandbox's counts, so that use that was not recorded is taken up again.
    pub fn forget_counts(&self, id: &SandboxId) {
        self.counts().retain(|(sandbox, _), _| sandbox != id);
    }

    /// Forgets a sandbox that is gone.
    pub fn forget(&self, id: &SandboxId) {
        self.forget_counts(id);
        self.forget_touches(id);
        self.cpu().remove(id);
    }

    /// The newest start (generation) of a sandbox for which the relay has counted use.
    pub fn newest_generation(&self, id: &SandboxId) -> Option<u64> {
        let counts = self.counts();
        let used = counts.values().filter(|c| c.sandbox == *id).filter_map(|c| c.last_use);
        used.map(|(generation, _)| generation).max()
    }
}
