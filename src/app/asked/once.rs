//! Once: a request that is repeated with its key is not done again.

use sha2::{Digest, Sha256};

use super::Asked;
use crate::{
    app::{Result, chain},
    domain::{Actor, Sandbox, names::hex},
    store::{Claimed, Key},
};

impl Asked {
    /// Claims the request of `by`, who calls it `key`; `what` is all that is asked.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`](crate::app::Error::DatabaseAway).
    pub async fn claim_once(&self, by: &Actor, key: &str, what: &[&[u8]]) -> Result<Claimed> {
        // A body may have a password, and its digest is fast: without the key nobody can guess at it.
        let digest = Self::digest(&[&[key.as_bytes()], what].concat());
        let named = hex(&Self::digest(&[b"key", key.as_bytes()]));
        let key = Key { actor: by.to_string(), key: named, digest };
        let request = by.request.clone().unwrap_or_default();
        Ok(self.records.store.claim(key, request, self.clock.now()).await?)
    }

    /// A digest of all that is asked.
    fn digest(what: &[&[u8]]) -> Vec<u8> {
        let mut digest = Sha256::new();
        for part in what {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().to_vec()
    }

    /// Records that a claimed request is done, and what it was about; `None`: it was refused.
    pub async fn finish_once(&self, by: &Actor, about: Option<String>) {
        let request = by.request.as_deref().unwrap_or_default();
        if let Err(e) = self.records.store.finish(request, about).await {
            tracing::warn!(
                request_id = request,
                error = chain(&e),
                "that a request was done is not recorded; repeated, it is done again"
            );
        }
    }

    /// What the request of `by` has made already, before a server was killed amid it.
    ///
    /// # Errors
    /// Those of the first pass, which removes what was not finished.
    pub async fn made_before(&self, by: &Actor) -> Result<Vec<Sandbox>> {
        let Some(request) = &by.request else { return Ok(Vec::new()) };
        if !self.vitals.has_begun() {
            self.vitals.begun("the container could not be created").await?;
        }
        Ok(self.records.store.made_by(request).await?)
    }
}
