//! Ended: record the end of a sandbox, and changes that others made through the engine.

use std::time::Duration;

use super::{Tried, Work};
use crate::{
    app::chain,
    domain::{
        ContainerId, Decided, EndedBy, Ending, Observed, Phase, Reach, Sandbox, Seen, State, StopReason, explain,
        seen::{QUICK, last_lines},
    },
    engine::EngineError,
};

/// How long to wait for a sandbox's last output before its stop is recorded.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Work {
    /// Records that a sandbox has stopped, if the engine shows it so.
    pub async fn record_stopped(&self, known: &Sandbox, engine_was_away: bool) -> Tried {
        let Some(container) = &known.container else { return Ok(false) };
        let shown = match self.engine.inspect(container).await {
            Ok(shown) if shown.phase == Phase::Running => return Ok(false),
            Ok(shown) => shown,
            Err(EngineError::NoContainer) => return self.forget_gone(known).await,
            Err(e) => return Err(e.into()),
        };
        // Meanwhile a request may have taken over the idle stop.
        let Some(now) = self.records.store.get(&known.id).await? else { return Ok(false) };
        let reason = match now.life.state {
            State::Stopping { reason, .. } => reason,
            State::Running { reach: Reach { boot: Some(ref boot), .. }, .. } if *boot != self.clock.boot() => {
                StopReason::Reboot
            }
            _ if engine_was_away => StopReason::Engine,
            _ => StopReason::Exited,
        };
        let is_news = matches!(now.life.state, State::Running { .. });
        let ended = self.how_it_ended(&now, container, &shown, reason).await;
        if reason == StopReason::Restart {
            // It is to run, whoever is left to start it.
            let to = State::Starting { stopped_at: self.clock.now(), reason: StopReason::Requested };
            return Ok(self.records.mark(known, to).await?);
        }
        let to = State::Stopped { at: self.clock.now(), reason };
        if !self.records.mark_ended(known, to, ended).await? {
            return Ok(false);
        }
        self.cut_off().remove(&known.id);
        tracing::info!(sandbox = %known.id, name = %known.name, reason = reason.word(), "stopped");
        if let Some(ended) = self.records.store.get(&known.id).await?.filter(|_| is_news) {
            let why = explain::ended(&self.settings.policy, &ended, reason, self.clock.now());
            if ended.life.seen.keeps_ending() {
                tracing::warn!(sandbox = %ended.id, name = %ended.name, why, "it is not woken any more");
            }
            self.records.decided(&ended, Decided::Stopped, why).await;
        }
        Ok(true)
    }

    /// How a sandbox ended, and how many quick ends in a row that makes.
    async fn how_it_ended(
        &self,
        sandbox: &Sandbox,
        container: &ContainerId,
        shown: &Observed,
        reason: StopReason,
    ) -> Seen {
        let by = self.ended_by(container);
        let unasked = reason == StopReason::Exited;
        let ran = match sandbox.life.state {
            State::Running { since, .. } => {
                Duration::try_from(self.clock.now().duration_since(since)).unwrap_or_default()
            }
            _ => Duration::MAX,
        };
        let is_quick = unasked && by != EndedBy::Signal && ran < QUICK;
        let quick_ends = if is_quick { sandbox.life.seen.quick_ends.saturating_add(1) } else { 0 };
        let words = if unasked { self.words(container).await } else { Vec::new() };
        let ending = Ending { exit: shown.exit, by, last_lines: last_lines(&words) };
        Seen { ending: Some(ending), quick_ends, ..sandbox.life.seen.clone() }
    }

    /// A sandbox's last output; empty if that takes too long, because the record of the stop must not wait.
    async fn words(&self, container: &ContainerId) -> Vec<u8> {
        match tokio::time::timeout(LAST_WORDS, self.engine.last_words(container)).await {
            Ok(Ok(words)) => words,
            Ok(Err(e)) => {
                tracing::debug!(%container, error = chain(&e), "what it wrote last is not known");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Records who ended a sandbox, when that is heard after its end.
    pub async fn record_ended_by(&self, known: &Sandbox, by: EndedBy) -> Tried {
        let done = self.records.set_ended_by(known, by).await?;
        if let Some(ended) = self.records.store.get(&known.id).await?.filter(|_| done)
            && let State::Stopped { reason, .. } = ended.life.state
        {
            let why = explain::ended(&self.settings.policy, &ended, reason, self.clock.now());
            self.records.decided(&ended, Decided::Stopped, why).await;
        }
        Ok(done)
    }

    /// Records what others changed on a sandbox through the engine.
    pub async fn record_shown(&self, known: &Sandbox, shown: &Observed) -> Tried {
        let done = self.records.store.record_shown(known, shown).await?;
        if done {
            self.write_down(&known.id).await;
            let (called, paused) = (shown.name.as_deref(), shown.paused);
            let (memory, cpus) = (shown.memory.map(|m| m.to_string()), shown.cpus.map(|c| c.to_string()));
            tracing::info!(sandbox = %known.id, name = %known.name, called, paused, memory, cpus, "changed by others");
        }
        Ok(done)
    }
}
