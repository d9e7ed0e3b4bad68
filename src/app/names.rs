//! Names: whose one is, and which one could be taken for another.

use std::sync::Arc;

use super::{App, Error, Result};
use crate::domain::{Sandbox, SandboxName, State};

impl App {
    /// The sandboxes whose names differ from that of `sandbox` in nothing but case.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn namesakes(&self, sandbox: &Sandbox) -> Result<Vec<Arc<Sandbox>>> {
        let same = |s: &Arc<Sandbox>| {
            s.state != State::Deleting
                && s.id != sandbox.id
                && s.name.as_str().eq_ignore_ascii_case(sandbox.name.as_str())
        };
        Ok(self.store.all().await?.into_iter().filter(same).collect())
    }

    /// Says of a name that one of ours has it: whose it is, since when, and what that one does.
    pub(super) async fn name_taken(&self, name: SandboxName) -> Error {
        let known = self.store.all().await.unwrap_or_default();
        let Some(holder) = known.iter().find(|s| s.name == name && s.state != State::Deleting) else {
            return Error::NameTaken(name, "another container, which has just gone; try again".into());
        };
        let id = holder.container.as_ref().map(|id| format!(" {}", &id.as_str()[..12])).unwrap_or_default();
        let doing = match holder.state {
            State::Creating => "being created",
            State::Running { .. } => "running",
            State::Stopping { .. } => "stopping",
            State::Stopped { .. } => "stopped",
            State::Starting { .. } => "being started",
            State::Deleting => "being deleted",
        };
        Error::NameTaken(name, format!("container{id}, created {:.0}, {doing}", holder.created_at))
    }

    /// Says of a name that a container has it which is none of ours. `holder`: its id, as far as the engine told it.
    pub(super) fn name_taken_by_stranger(name: SandboxName, holder: &str) -> Error {
        let id: String = holder.chars().take(12).collect();
        Error::NameTaken(
            name,
            format!("container {id} of Docker's, which is not this server's (docker ps -a shows it)"),
        )
    }
}
