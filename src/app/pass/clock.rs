//! The clock: a pass corrects the records after the clock was set.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Pass;
use crate::{
    app::Result,
    domain::{
        Sandbox,
        hold::JUMP,
        rules::{Rule, broken},
        time::plus,
    },
    store::Scale,
};

impl Pass {
    /// If the clock was set, moves the clock and the records together, so that every length of time stays the same.
    pub(super) async fn follow_clock(&self) -> Result<()> {
        let (to, by) = (Scale { boot: self.clock.boot(), ahead: self.clock.shown() }, self.clock.was_set_by());
        if by.is_zero()
            && self.records.store.scale().is_some_and(|s| s.boot == to.boot && s.ahead == self.clock.ahead())
        {
            return Ok(());
        }
        let (clock, before, ahead) = (Arc::clone(&self.clock), self.clock.ahead(), to.ahead);
        if by.abs() > JUMP {
            self.vitals.impair();
        }
        let by = if broken(Rule::LengthsArePassedTime) { SignedDuration::ZERO } else { by };
        let take_up = move |is_new: bool| clock.take_up(if is_new { ahead } else { before });
        let sandboxes = self.records.store.rescale(to, by, take_up).await?;
        self.vitals.shift(by);
        self.work.shift(by);
        self.work.amending.doubt_all();
        self.own().awaiting.clear();
        if by.abs() > JUMP {
            tracing::warn!(%by, sandboxes, "the clock was set; how long sandboxes have run and been used stays what it was");
        }
        Ok(())
    }

    /// All rows, with no record in the future. After the clock was set back, such a record would keep its sandbox until
    /// the clock reaches it again; its time becomes now instead.
    pub(super) async fn known(&self) -> Result<Vec<Arc<Sandbox>>> {
        let known = self.records.store.all().await?;
        let now = self.clock.now();
        let grace_end = plus(now, self.settings.resume_grace);
        let is_after = |at: Timestamp, end| at.duration_since(end) > JUMP;
        let is_ahead =
            |s: &Sandbox| is_after(s.latest(), now) || s.life.spared_until.is_some_and(|at| is_after(at, grace_end));
        if !known.iter().any(|s| is_ahead(s)) {
            return Ok(known);
        }
        let sandboxes = self.records.store.clamp(now, JUMP, grace_end).await?;
        self.work.amending.doubt_all();
        tracing::warn!(sandboxes, "records were ahead of the clock and are as of now; was it set back?");
        Ok(self.records.store.all().await?)
    }
}
