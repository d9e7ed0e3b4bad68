//! Measures: what somebody who watches the server over time wants to know, as numbers.

use std::collections::BTreeMap;

use super::{Asked, Health, rights::on_server};
use crate::{
    app::{CheckInResult, Passes, Result},
    domain::{Actor, Happened, Reports, State, Verb},
    engine::Call,
};

/// The numbers of one moment. Those that only grow begin anew with the server, but for those of events.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Whether all parts work.
    pub health: Health,
    /// How many sandboxes there are, by status and image.
    pub sandboxes: BTreeMap<(&'static str, String), u64>,
    /// How many running sandboxes have never reported, and how many no longer do.
    pub silent: (u64, u64),
    /// How often each sort of event has happened, stops by reason.
    pub events: Vec<(Happened, String, u64)>,
    /// How many sandboxes were stopped as idle though somebody had used them within ten minutes and within their limit.
    pub young_stops: u64,
    /// How many check-ins ended how.
    pub check_ins: [(CheckInResult, u64); 3],
    /// The passes.
    pub passes: Passes,
    /// What the engine was asked.
    pub calls: Vec<Call>,
    /// The bytes that connections carried, to sandboxes and from them.
    pub carried: (u64, u64),
}

impl Asked {
    /// The numbers of this moment. `by`: who asks; `None`: somebody on this machine, who may.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::app::Error::Forbidden), [`Error::DatabaseAway`](crate::app::Error::DatabaseAway).
    pub async fn figures(&self, by: Option<&Actor>) -> Result<Figures> {
        by.map_or(Ok(()), |by| on_server(by, Verb::Measure))?;
        let (known, now) = (self.records.store.all().await?, self.clock.now());
        let mut sandboxes = BTreeMap::new();
        let mut silent = (0, 0);
        for sandbox in known.iter().filter(|s| s.life.state.is_visible()) {
            let status = match sandbox.life.state {
                State::Running { .. } => "running",
                State::Stopping { .. } => "stopping",
                _ => "stopped",
            };
            *sandboxes.entry((status, sandbox.recipe.image.to_string())).or_default() += 1;
            if status == "running" {
                match Reports::of(sandbox, self.settings.report_period, now) {
                    Reports::Never => silent.0 += 1,
                    Reports::Ceased => silent.1 += 1,
                    Reports::Current => {}
                }
            }
        }
        let tally = &self.records.tally;
        Ok(Figures {
            health: self.health().await,
            sandboxes,
            silent,
            events: self.records.store.tallies().await?,
            young_stops: tally.young_stops(),
            check_ins: CheckInResult::ALL.map(|result| (result, tally.check_ins(result))),
            passes: tally.passes(),
            calls: self.engine.calls(),
            carried: tally.carried(),
        })
    }
}
