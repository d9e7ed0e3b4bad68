//! Figures: how much a sandbox uses, and which processes run in it. Looking is never evidence.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

use super::Asked;
use crate::{
    app::{Error, Result},
    domain::{Actor, ContainerId, Sandbox, State, Verb},
    engine::{EngineError, Figures, Process},
};

/// Over how long the present use of the cpu is measured for one sample, and how often there is one in a stream.
const MEASURED: Duration = Duration::from_millis(200);
const EVERY: Duration = Duration::from_secs(1);

/// How many processes are shown, and how much of each one's words.
const MOST: usize = 1_000;
const LONGEST: usize = 4_096;

/// How much a sandbox uses.
pub struct Sample {
    /// When it was measured.
    pub at: Timestamp,
    /// How many cores it used just before.
    pub cores: f64,
    /// What the machine counts.
    pub figures: Figures,
    /// The bytes that its ports have carried in and out.
    pub carried: (u64, u64),
}

/// The processes in a sandbox.
pub struct Processes {
    /// They themselves.
    pub shown: Vec<Process>,
    /// There are more.
    pub is_cut: bool,
}

/// Samples as they come. An error is the last item.
pub type Samples = BoxStream<'static, Result<Sample>>;

/// A reading, by the steady clock.
type Reading = (Figures, Duration);

impl Asked {
    /// How much a running sandbox uses now.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::EngineAway`], [`Error::Engine`].
    pub async fn sample(&self, by: &Actor, reference: &str) -> Result<Sample> {
        let sandbox = self.allowed(by, Verb::See, reference).await?;
        let before = self.reading(&sandbox).await?;
        tokio::time::sleep(MEASURED).await;
        let (sample, _) = self.next_sample(&sandbox, before).await?;
        Ok(sample)
    }

    /// The same each second, until the sandbox, the right to see it or the server ends.
    ///
    /// # Errors
    /// Those of [`Asked::sample`].
    pub async fn samples(self: &Arc<Self>, by: &Actor, reference: &str) -> Result<Samples> {
        let sandbox = self.allowed(by, Verb::See, reference).await?;
        let before = self.reading(&sandbox).await?;
        let barred = Arc::clone(self).until_may_not(self.standing(by).await?, Verb::See, sandbox.id.clone());
        let begun = Some((Arc::clone(self), sandbox, before, MEASURED));
        let samples = stream::unfold(begun, |state| async move {
            let (asked, sandbox, before, wait) = state?;
            tokio::time::sleep(wait).await;
            match asked.next_sample(&sandbox, before).await {
                Ok((sample, now)) => Some((Ok(sample), Some((asked, sandbox, now, EVERY)))),
                // It has ended.
                Err(Error::NotRunning | Error::NoSandbox(_)) => None,
                Err(e) => Some((Err(e), None)),
            }
        });
        Ok(samples.take_until(self.closing.clone().cancelled_owned()).take_until(Box::pin(barred)).boxed())
    }

    async fn reading(&self, sandbox: &Sandbox) -> Result<Reading> {
        let (container, pid) = running(sandbox)?;
        let figures = self.engine.figures(container, pid).await.map_err(failed)?;
        Ok((figures, self.clock.steady()))
    }

    async fn next_sample(&self, sandbox: &Sandbox, (before, then): Reading) -> Result<(Sample, Reading)> {
        let sandbox = self.records.again(sandbox).await?;
        let (figures, steady) = self.reading(&sandbox).await?;
        // After a start the count begins anew.
        let used = figures.cpu.checked_sub(before.cpu).unwrap_or(figures.cpu).as_secs_f64();
        let passed = steady.saturating_sub(then).as_secs_f64();
        let at = self.clock.now();
        let counts = self.usage.glance(&sandbox, at).ports.into_iter().filter_map(|(_, count)| count);
        let carried = counts.fold((0, 0), |(came, went), count| (came + count.bytes_in, went + count.bytes_out));
        let cores = if passed > 0.0 { used / passed } else { 0.0 };
        Ok((Sample { at, cores, figures: figures.clone(), carried }, (figures, steady)))
    }

    /// The processes in a running sandbox. Who may not enter it does not see its secret among their words.
    ///
    /// # Errors
    /// Those of [`Asked::sample`].
    pub async fn processes(&self, by: &Actor, reference: &str) -> Result<Processes> {
        let sandbox = self.allowed(by, Verb::Logs, reference).await?;
        let (container, _) = running(&sandbox)?;
        let mut shown = self.engine.processes(container).await.map_err(failed)?;
        let is_cut = shown.len() > MOST;
        shown.truncate(MOST);
        let hidden = (!Self::may_enter(by, &sandbox)).then(|| sandbox.token.reveal());
        for process in &mut shown {
            process.command = process.command.chars().take(LONGEST).collect();
            if let Some(secret) = hidden {
                process.command = process.command.replace(secret, &"*".repeat(secret.len()));
            }
        }
        Ok(Processes { shown, is_cut })
    }
}

fn failed(why: EngineError) -> Error {
    match why {
        // It has just ended.
        EngineError::Refused(_) | EngineError::NoContainer => Error::NotRunning,
        why => Error::engine("what it uses cannot be looked at", why),
    }
}

/// The container, and its first process.
fn running(sandbox: &Sandbox) -> Result<(&ContainerId, Option<u32>)> {
    match (&sandbox.life.state, &sandbox.container) {
        (State::Running { reach, .. }, Some(container)) => Ok((container, reach.pid)),
        (State::Stopping { .. }, Some(container)) => Ok((container, None)),
        _ => Err(Error::NotRunning),
    }
}
