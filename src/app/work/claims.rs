//! Claims: one worker for each sandbox at a time, so that a pass and a request never collide.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use crate::domain::SandboxId;

/// The claims that are out.
#[derive(Debug, Default)]
pub struct Claims {
    held: Mutex<HashSet<SandboxId>>,
    released: Notify,
}

/// The right to call the engine about one sandbox, until dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    id: SandboxId,
}

impl Claims {
    /// Claims a sandbox, unless somebody has it.
    pub fn try_claim(self: &Arc<Self>, id: &SandboxId) -> Option<Claim> {
        let fresh = self.held.lock().expect("no holder panics").insert(id.clone());
        fresh.then(|| Claim { claims: Arc::clone(self), id: id.clone() })
    }

    /// Claims a sandbox as soon as nobody has it.
    pub async fn claim(self: &Arc<Self>, id: &SandboxId) -> Claim {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Listen before the attempt, so that no release in between is missed.
            released.as_mut().enable();
            if let Some(claim) = self.try_claim(id) {
                return claim;
            }
            released.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held.lock().expect("no holder panics").remove(&self.id);
        self.claims.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_the_next_when_it_is_dropped() {
        let claims = Arc::new(Claims::default());
        let (one, other) = (SandboxId::from_bytes([1; 16]), SandboxId::from_bytes([2; 16]));
        let held = claims.try_claim(&one).expect("nobody has it");
        assert!(claims.try_claim(&one).is_none());
        assert!(claims.try_claim(&other).is_some(), "another sandbox is another matter");
        let waiting = tokio::spawn({
            let (claims, one) = (Arc::clone(&claims), one.clone());
            async move { claims.claim(&one).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        let next = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("it was released").unwrap();
        assert!(claims.try_claim(&one).is_none());
        drop(next);
        assert!(claims.try_claim(&one).is_some());
    }
}
