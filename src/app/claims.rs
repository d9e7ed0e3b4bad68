//! Who works on which sandbox: one at a time, so that a pass and a request never cross.

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
            // Enabled before the attempt, so that a release in between is not missed.
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
