//! Follow: listen to the engine's events, so that what happens behind our back shows at once, and that it is known who
//! ended what has ended.

use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;

use super::App;
use crate::{
    domain::{
        ContainerId, EndedBy,
        rules::{Rule, broken},
    },
    engine::{Event, Happening},
};

/// How long after a signal an end is its doing. Beyond that the program has heard it and gone on, as many do that are told
/// to show what they are at (QUIT), and has ended for another reason.
const DYING: Duration = Duration::from_secs(60);

/// What was heard of one run of a container. Events come in the order in which things happened, and a start begins anew,
/// so that of a run of which not all was heard less is claimed and never more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// When it was heard of, by the steady clock.
    signalled: Option<Duration>,
    ended: bool,
}

impl Heard {
    /// Who ended the run. Nobody heard of its end: then somebody may have ended it of which nobody heard either.
    pub(super) fn ended_by(self) -> EndedBy {
        match self {
            Self { signalled: Some(_), .. } => EndedBy::Signal,
            Self { ended: true, .. } => EndedBy::Itself,
            Self { .. } => EndedBy::Unheard,
        }
    }
}

impl App {
    /// Follows the engine's events until the stream ends or fails, and tells until when it was heard.
    ///
    /// Subscribes first; the pass that it wakes then lists, so that nothing falls between
    /// (`IDLENESS.md`, rule 10).
    pub async fn follow(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let mut heard = since.unwrap_or_else(|| self.clock.now());
        let mut events = match self.engine.watch(heard).await {
            Ok(events) => events,
            Err(e) => {
                tracing::debug!(error = %e, "the engine's events cannot be followed");
                return Some(heard);
            }
        };
        if !broken(Rule::SubscribeThenList) {
            self.pulse().suspect_all = true;
            self.wake();
        }
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // What was on its way when the stream broke off is told again: twice is as good as once.
                    heard = event.at.unwrap_or_else(|| self.clock.now());
                    self.hear(event);
                    self.wake();
                }
                Err(e) => {
                    tracing::debug!(error = %e, "the engine's events broke off");
                    break;
                }
            }
        }
        self.wake();
        Some(heard)
    }

    fn hear(&self, Event { container, what, .. }: Event) {
        let now = self.clock.steady();
        let mut pulse = self.pulse();
        match what {
            Happening::Started => drop(pulse.heard.insert(container.clone(), Heard::default())),
            Happening::Signalled => pulse.heard.entry(container.clone()).or_default().signalled = Some(now),
            Happening::Ended => {
                let heard = pulse.heard.entry(container.clone()).or_default();
                heard.signalled = heard.signalled.filter(|signal| now.saturating_sub(*signal) <= DYING);
                heard.ended = true;
            }
            Happening::Removed => drop(pulse.heard.remove(&container)),
            Happening::Changed => {}
        }
        pulse.suspects.insert(container);
    }

    /// Who ended a container's last run, as far as was heard.
    pub(super) fn ended_by(&self, container: &ContainerId) -> EndedBy {
        self.pulse().heard.get(container).copied().unwrap_or_default().ended_by()
    }
}
