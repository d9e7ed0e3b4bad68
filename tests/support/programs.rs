//! Waiting for what programs inside do, on the scripted engine.

use std::time::Duration;

use spindle::app::ReachSettings;

use super::scripted::Scripted;

/// How long programs and terminals last in a scripted world.
pub const REACH: ReachSettings = ReachSettings {
    exec_timeout: Duration::from_secs(20),
    terminal_patience: Duration::from_secs(2),
    terminal_look: Duration::from_millis(100),
};

/// How long a test waits for what must come. Generous: the other tests load the machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `holds`, passes being made meanwhile.
pub async fn until(w: &Scripted, what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            w.app.pass.converge().await;
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// Waits until no program runs inside, and none is recorded.
pub async fn nothing_is_left(w: &Scripted) {
    until(w, "nothing is left", async || w.engine.running_programs() == 0 && w.store.execs().await.unwrap().is_empty())
        .await;
}

/// How many descriptors this process has.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
