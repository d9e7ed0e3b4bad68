//! Actions of others on containers, behind our back.

use super::{actions::Action, subject::Ended, world::World};
use crate::domain::{ContainerId, Phase};

impl World {
    /// Does one such action to a sandbox.
    pub fn meddle(&self, action: Action) {
        let Some(aim) = self.aim() else { return };
        let Some(container) = self.oracle().subject(&aim.id).map(|s| s.container.clone()) else { return };
        let phase = self.phase(&container);
        self.oracle().tell(|| format!("behind our back: {action:?} {}", aim.name));
        match (action, phase) {
            (Action::EndBehindBack, Some(Phase::Running)) => self.end_behind_back(&container),
            (Action::KillBehindBack, Some(Phase::Running)) => self.kill_behind_back(&container),
            (Action::StartBehindBack, Some(Phase::Exited)) => self.start_behind_back(&container),
            (Action::RestartBehindBack, Some(Phase::Running)) => {
                self.start_behind_back(&container);
            }
            (Action::RemoveBehindBack, Some(Phase::Exited | Phase::Running)) => self.remove_behind_back(&container),
            _ => {}
        }
    }

    pub fn end_behind_back(&self, container: &ContainerId) {
        if self.phase(container) == Some(Phase::Running) {
            self.oracle().ended(container, Ended::Others);
            self.engine.force(container, Phase::Exited);
        }
    }

    pub fn kill_behind_back(&self, container: &ContainerId) {
        if self.phase(container) == Some(Phase::Running) {
            // If a run began and ended while nobody looked, nobody can tell who ended it.
            let was_seen = self.row_of(container).is_some_and(|row| self.has_seen(&row));
            self.oracle().ended(container, if was_seen { Ended::Killed } else { Ended::Others });
            self.engine.kill(container);
        }
    }

    pub fn start_behind_back(&self, container: &ContainerId) {
        if self.phase(container).is_some_and(|p| matches!(p, Phase::Exited | Phase::Running)) {
            self.oracle().runs(container);
            self.engine.force(container, Phase::Running);
        }
    }

    pub fn remove_behind_back(&self, container: &ContainerId) {
        let row = self.row_of(container);
        self.oracle().gone(container, row.as_ref(), false);
        self.engine.vanish(container);
    }
}
