//! Heard: who ended a container, as far as the engine's events tell.

use std::{collections::HashMap, sync::MutexGuard, time::Duration};

use super::Work;
use crate::{
    domain::{ContainerId, EndedBy},
    engine::{Event, Happening},
};

/// How long after a signal an end counts as the signal's doing. Later, the program handled the signal and went on, as
/// many do on QUIT, and ended for another reason.
const DYING: Duration = Duration::from_mins(1);

/// What we heard of one run of a container. Events come in order, and a start resets this. So a missed event makes us
/// claim less, never more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    /// When the signal was heard, by the steady clock.
    signalled: Option<Duration>,
    ended: bool,
    /// We start it. Until its own start is heard, late events are about the run before.
    awaits_start: bool,
}

impl Heard {
    /// Takes up what was heard `now`, by the steady clock.
    fn take(&mut self, what: Happening, now: Duration) {
        if self.awaits_start {
            return;
        }
        match what {
            Happening::Signalled => self.signalled = Some(now),
            Happening::Ended => {
                self.signalled = self.signalled.filter(|signal| now.saturating_sub(*signal) <= DYING);
                self.ended = true;
            }
            Happening::Started | Happening::Removed | Happening::Changed => {}
        }
    }

    /// Who ended the run. If its end was not heard, a signal may have been missed too.
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

    /// Takes up an event, and makes the next pass look closely.
    pub fn hear(&self, Event { container, what, .. }: Event) {
        let now = self.clock.steady();
        let mut all = self.heard();
        match what {
            Happening::Started => drop(all.insert(container.clone(), Heard::default())),
            Happening::Signalled | Happening::Ended => all.entry(container.clone()).or_default().take(what, now),
            Happening::Removed => drop(all.remove(&container)),
            Happening::Changed => {}
        }
        drop(all);
        self.next.look_closely_at(container);
    }

    /// Who ended a container's last run, as far as we heard.
    pub fn ended_by(&self, container: &ContainerId) -> EndedBy {
        self.heard().get(container).copied().unwrap_or_default().ended_by()
    }

    /// A container is about to be started. What was heard of the run before says nothing of the next.
    pub fn await_start(&self, container: &ContainerId) {
        self.heard().insert(container.clone(), Heard { awaits_start: true, ..Heard::default() });
    }

    /// A container is gone.
    pub fn forget_heard(&self, container: &ContainerId) {
        self.heard().remove(container);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_of_the_run_before_is_not_the_end_of_this_one() {
        let mut heard = Heard { awaits_start: true, ..Heard::default() };
        heard.take(Happening::Ended, Duration::from_secs(1));
        assert_eq!(heard.ended_by(), EndedBy::Unheard);
        let mut heard = Heard::default();
        heard.take(Happening::Ended, Duration::from_secs(1));
        assert_eq!(heard.ended_by(), EndedBy::Itself);
        let mut heard = Heard::default();
        heard.take(Happening::Signalled, Duration::from_secs(1));
        heard.take(Happening::Ended, Duration::from_secs(2));
        assert_eq!(heard.ended_by(), EndedBy::Signal);
        heard.take(Happening::Ended, Duration::from_secs(90));
        assert_eq!(heard.ended_by(), EndedBy::Itself, "the signal was long ago");
    }
}
