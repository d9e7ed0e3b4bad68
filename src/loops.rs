//! The loops of the server: one wakes the pass, others follow the engine's and the relay's events.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// The least time between two passes: a burst of events costs one pass, not one each.
const REST: Duration = Duration::from_millis(200);

/// How late the schedule may wake the pass. After that the pass runs without it.
const LATE: Duration = Duration::from_secs(1);

/// How long to wait before following the engine's events anew.
const RECONNECT: Duration = Duration::from_secs(1);

/// The tasks of the server that serve no request.
pub struct Loops {
    scheduler: JobScheduler,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Loops {
    /// Starts the loops, and the schedule, which only wakes the pass.
    ///
    /// # Errors
    /// If the scheduler cannot be started.
    pub async fn start(app: &Arc<App>, every: Duration) -> Result<Self, JobSchedulerError> {
        let shutdown = CancellationToken::new();
        let scheduler = JobScheduler::new().await?;
        let woken = Arc::clone(app);
        let job = Job::new_repeated_async(every, move |_, _| {
            woken.wake();
            Box::pin(async {})
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(converge_when_woken(Arc::clone(app), every, shutdown.clone()));
        tasks.spawn(follow_events(Arc::clone(app), shutdown.clone()));
        tasks.spawn(keep_relay(Arc::clone(app), shutdown.clone()));
        tasks.spawn(follow_relay(Arc::clone(app), shutdown.clone()));
        app.wake();
        Ok(Self { scheduler, tasks, shutdown })
    }

    /// Ends each loop after its present pass, and waits for them at most `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        self.shutdown.cancel();
        if let Err(e) = self.scheduler.shutdown().await {
            tracing::warn!(error = %e, "the scheduler did not shut down");
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::warn!("a loop did not end in time");
        }
    }
}

/// Runs `pass`, and survives a panic in it.
async fn caught<T>(name: &'static str, pass: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(pass).catch_unwind().await {
        Ok(value) => Some(value),
        Err(_) => {
            tracing::error!(name, "a pass panicked; the next one goes on");
            None
        }
    }
}

/// Runs a pass when somebody wakes it, at the next deadline, and at least every `every`. It does not rely on the
/// schedule, which falls silent when the clock is set.
pub(crate) async fn converge_when_woken(app: Arc<App>, every: Duration, shutdown: CancellationToken) {
    let longest = every + LATE;
    let mut next = longest;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = app.woken() => {}
            () = tokio::time::sleep(next) => {}
        }
        let wake_in = caught("converge", app.pass.converge()).await.and_then(|report| report.wake_in);
        next = wake_in.unwrap_or(longest).min(longest);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(REST) => {}
        }
    }
}

async fn keep_relay(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(caught("relay", app.asked.keep_relay())).await == Some(None) {}
}

pub(crate) async fn follow_relay(app: Arc<App>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(caught("follow relay", app.asked.follow_relay())).await == Some(None) {}
}

pub(crate) async fn follow_events(app: Arc<App>, shutdown: CancellationToken) {
    let mut since = None;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            heard = caught("follow", app.pass.follow(since)) => since = heard.flatten(),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}
