//! Many: the same for several sandboxes, each by itself.

use std::sync::Arc;

use futures_util::{StreamExt, future::BoxFuture, stream};

use super::{
    Asked,
    rights::{forbidden, sees},
};
use crate::{
    app::Result,
    domain::{ActedOn, Actor, Sandbox, Selection, Verb},
};

impl Asked {
    /// Those of `selection` that `by` may see.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::app::Error::Forbidden) if `by` may do `verb` to no sandbox at all.
    pub async fn select(&self, by: &Actor, verb: Verb, selection: &Selection) -> Result<Vec<Arc<Sandbox>>> {
        if by.rights.role < verb.least() || !by.rights.has(verb.scope()) {
            return Err(self.actions.of(by, verb, ActedOn::server()).refused(forbidden(by, verb)));
        }
        let mut all = self.records.store.all().await?;
        all.retain(|s| s.life.state.is_visible() && selection.has(s) && sees(by, s));
        Ok(all)
    }

    /// Does something for each of several, as many at once as the engine starts, and returns what became of each, in
    /// their order. One that fails stops no other.
    pub async fn each<'a, W, T>(&'a self, all: Vec<W>, what: impl Fn(W) -> BoxFuture<'a, T>) -> Vec<T> {
        stream::iter(all).map(what).buffered(self.settings.start_concurrency).collect().await
    }
}
