//! Names: who has a name, and which names look alike.

use std::sync::Arc;

use super::{Asked, rights::sees};
use crate::{
    app::{Error, Result},
    domain::{Actor, Sandbox, SandboxName, State},
};

impl Asked {
    /// The sandboxes that `by` may see whose names differ from the name of `sandbox` only in case.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn namesakes(&self, by: &Actor, sandbox: &Sandbox) -> Result<Vec<Arc<Sandbox>>> {
        let same = |s: &Arc<Sandbox>| {
            s.life.state != State::Deleting
                && s.id != sandbox.id
                && s.name.as_str().eq_ignore_ascii_case(sandbox.name.as_str())
        };
        Ok(Self::seen_by(by, self.records.store.all().await?.into_iter().filter(same).collect()))
    }

    /// An error that says who has a name: `container`, if the engine told it, or a sandbox. Whoever may not see that
    /// sandbox hears only that the name is taken.
    pub async fn name_taken(&self, by: &Actor, name: SandboxName, container: Option<&str>) -> Error {
        let known = match self.records.store.all().await {
            Ok(known) => known,
            Err(e) => return e.into(),
        };
        let has_it = |s: &&Arc<Sandbox>| match container {
            Some(id) => s.container.as_ref().is_some_and(|c| c.as_str() == id),
            None => s.name == name && s.life.state != State::Deleting,
        };
        let short = |id: &str| id.chars().take(12).collect::<String>();
        let whose = match (known.iter().find(has_it), container) {
            (Some(holder), _) if !sees(by, holder) => "a container that you may not see".into(),
            (Some(holder), _) => {
                let id = holder.container.as_ref().map(|id| format!(" {}", short(id.as_str()))).unwrap_or_default();
                format!("container{id}, created {:.0}, {}", holder.created_at, doing(&holder.life.state))
            }
            (None, Some(id)) => {
                format!("container {} of Docker's, which is not this server's (docker ps -a shows it)", short(id))
            }
            (None, None) => "another container, which has just gone; try again".into(),
        };
        Error::NameTaken(name, whose)
    }
}

fn doing(state: &State) -> &'static str {
    match state {
        State::Creating => "being created",
        State::Running { .. } => "running",
        State::Stopping { .. } => "stopping",
        State::Stopped { .. } => "stopped",
        State::Starting { .. } => "being started",
        State::Resetting { .. } => "being made anew",
        State::Deleting => "being deleted",
    }
}
