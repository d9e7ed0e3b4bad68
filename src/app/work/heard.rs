//! Heard: who ended what has ended, as far as the engine's events told.

use std::{collections::HashMap, sync::MutexGuard, time::Duration};

use super::Work;
use crate::{
    domain::{ContainerId, EndedBy},
    engine::{Event, Happening},
};

/// How long after a signal an end is its doing. Beyond that the program has heard it and gone on, as many do that are told
/// to show what they are at (QUIT), and has ended for another reason.
const DYING: Duration = Duration::from_mins(1);

/// What was heard of one run of a container. Events come in the order in which things happened, and a start begins anew,
/// so that of a run of which not all was heard less is claimed and never more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    /// When it was heard of, by the steady clock.
    signalled: Option<Duration>,
    ended: bool,
}

impl Heard {
    /// Who ended the run. Nobody heard of its end: then somebody may have ended it of which nobody heard either.
    pub fn ended_by(self) -> EndedBy {
        match self {
            Self { signalled: Some(_), .. } => EndedBy::Signal,
            Self { ended: true, .. } => EndedBy::Itself,
            Self { .. } => EndedBy::Unheard,
        }
    }
}

impl Work {
    fn heard(&self) -> MutexGuard<'_, HashMap<ContainerId, Heard>> {
        self.heard.lock().expect("no holder panics")
    }

    /// Takes up an event, and has the next pass look closely.
    pub fn hear(&self, Event { container, what, .. }: Event) {
        let now = self.clock.steady();
        let mut all = self.heard();
        match what {
            Happening::Started => drop(all.insert(container.clone(), Heard::default())),
            Happening::Signalled => all.entry(container.clone()).or_default().signalled = Some(now),
            Happening::Ended => {
                let heard = all.entry(container.clone()).or_default();
                heard.signalled = heard.signalled.filter(|signal| now.saturating_sub(*signal) <= DYING);
                heard.ended = true;
            }
            Happening::Removed => drop(all.remove(&container)),
            Happening::Changed => {}
        }
        drop(all);
        self.next.look_closely_at(container);
    }

    /// Who ended a container's last run, as far as was heard.
    pub fn ended_by(&self, container: &ContainerId) -> EndedBy {
        self.heard().get(container).copied().unwrap_or_default().ended_by()
    }

    /// What was heard of a run says nothing of the next.
    pub fn forget_heard(&self, container: &ContainerId) {
        self.heard().remove(container);
    }
}
