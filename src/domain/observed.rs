//! Observed: what the engine shows of one container, in our words.

use jiff::Timestamp;

use super::{
    limits::{Cpus, Memory},
    names::{ContainerId, SandboxId},
    reach::{Boot, Reach},
    sandbox::State,
    seen::{EndedBy, Exit},
};

/// What a container is doing, as the engine shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started.
    Created,
    /// Running, or paused, which counts as running.
    Running,
    /// It ran, and has ended.
    Exited,
    /// The engine is removing it.
    Removing,
    /// It is there, and the engine does not say more.
    Unclear,
}

/// One container of ours, as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The engine's id.
    pub container: ContainerId,
    /// Our id, from its label; `None` if the label is missing or spoiled.
    pub sandbox: Option<SandboxId>,
    /// What it is doing.
    pub phase: Phase,
    /// Where it is found while it runs, without the machine's start; its process only after a close look.
    pub reach: Reach,
    /// The engine's mark of its last start; `None` where the look was too shallow to tell.
    pub mark: Option<String>,
    /// What the engine calls it.
    pub name: Option<String>,
    /// It runs, and its processes stand still.
    pub paused: bool,
    /// The memory limit in force; `None` where there is none, or the look was too shallow to tell.
    pub memory: Option<Memory>,
    /// The cpu limit in force; `None` for the same reasons.
    pub cpus: Option<Cpus>,
    /// How its last run ended, if it does not run; `None` where the look was too shallow to tell.
    pub exit: Option<Exit>,
    /// Who ended its last run, as far as the engine's events tell.
    pub ended_by: Option<EndedBy>,
}

impl Observed {
    /// The state of a sandbox that was just seen running: since `since`, in the machine's start `boot`.
    pub fn running(self, since: Timestamp, boot: Boot) -> State {
        let mark = self.mark.unwrap_or_default();
        State::Running { since, mark, reach: Reach { boot: Some(boot), ..self.reach } }
    }

    /// A container of which we only know whose it is and what it is doing.
    pub fn shallow(container: ContainerId, sandbox: Option<SandboxId>, phase: Phase) -> Self {
        Self {
            container,
            sandbox,
            phase,
            reach: Reach::default(),
            mark: None,
            name: None,
            paused: false,
            memory: None,
            cpus: None,
            exit: None,
            ended_by: None,
        }
    }
}
