//! Many: the same for several sandboxes, each by itself.

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt, future::BoxFuture, stream};

use super::{
    Asked, CreateSpec,
    rights::{forbidden, sees},
};
use crate::{
    app::Result,
    domain::{ActedOn, Actor, Invalid, Sandbox, SandboxName, Selection, Verb},
};

/// The most sandboxes that one request makes.
pub const MOST: usize = 1_000;

impl CreateSpec {
    /// As many of it as `names`, or `count` of them: with a name, they are called `name-1`, `name-2` and so on.
    ///
    /// # Errors
    /// If a name is not allowed, or there twice, or there are too many.
    pub fn several(self, names: Vec<String>, count: Option<usize>) -> std::result::Result<Vec<Self>, Invalid> {
        let names = match (&self.name, count) {
            (Some(name), Some(count)) => (1..=count).map(|n| format!("{name}-{n}")).collect(),
            (None, Some(count)) => return Ok(vec![self; count]),
            (_, None) => names,
        };
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Invalid::new("names", twice, "each name is there once"));
        }
        if names.is_empty() || names.len() > MOST {
            let allowed = format!("there are 1 to {MOST}");
            return Err(Invalid::new("names", &format!("{} names", names.len()), allowed));
        }
        let called = |name: &String| {
            let name = SandboxName::parse(name).map_err(|e| Invalid { field: "names", ..e })?;
            Ok(Self { name: Some(name), ..self.clone() })
        };
        names.iter().map(called).collect()
    }
}

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
