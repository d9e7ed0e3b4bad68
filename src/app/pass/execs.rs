//! Execs: ends programs inside that nobody looks after any more, as after a crash of ours.

use std::sync::Arc;

use super::Pass;
use crate::app::chain;

impl Pass {
    /// Ends what is left, as tasks: a sandbox that hangs delays nobody.
    pub(super) async fn end_left_execs(self: &Arc<Self>) {
        let left = match self.work.left_execs().await {
            Ok(left) => left,
            Err(e) => return tracing::debug!(error = chain(&e), "the programs inside are not known"),
        };
        for running in left {
            tracing::info!(sandbox = %running.begun.sandbox, "a program inside that nobody looks after is ended");
            self.tasks.spawn(running.end());
        }
    }
}
