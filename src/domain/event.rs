//! Events: what happened, in order, for those who follow.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    act::one_of,
    evidence::Source,
    explain::RECENT,
    names::{ContainerId, Invalid, Label, SandboxId, SandboxRef},
    people::Ownership,
    sandbox::Sandbox,
    time::plus,
};

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// A sandbox was created.
    Created,
    /// A sandbox's lost record was rebuilt.
    Adopted,
    /// A sandbox was started.
    Started,
    /// A start failed.
    StartFailed,
    /// A sandbox was stopped, or ended.
    Stopped,
    /// A sandbox is being deleted, or others removed its container.
    Deleted,
    /// A sandbox has another container, without its files.
    Reset,
    /// A sandbox has another name.
    Renamed,
    /// Limits, policy or owner of a sandbox were changed.
    Changed,
    /// A connection woke a sandbox; [`Happened::Started`] comes too.
    Woken,
    /// A connection could not wake a sandbox.
    WakeFailed,
    /// Those inside were warned of a stop.
    Warned,
    /// A sandbox is kept for longer.
    Extended,
    /// Another class of evidence keeps a sandbox.
    Evidence,
    /// A pull goes on, or has ended.
    Pull,
    /// The engine cannot be looked at.
    EngineLost,
    /// The engine answers again.
    EngineBack,
    /// The relay is away.
    RelayLost,
    /// The relay is back.
    RelayBack,
}

impl Happened {
    /// All of them, in their order.
    pub const ALL: [Self; 19] = [
        Self::Created,
        Self::Adopted,
        Self::Started,
        Self::StartFailed,
        Self::Stopped,
        Self::Deleted,
        Self::Reset,
        Self::Renamed,
        Self::Changed,
        Self::Woken,
        Self::WakeFailed,
        Self::Warned,
        Self::Extended,
        Self::Evidence,
        Self::Pull,
        Self::EngineLost,
        Self::EngineBack,
        Self::RelayLost,
        Self::RelayBack,
    ];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            Happened::Created => "created",
            Happened::Adopted => "adopted",
            Happened::Started => "started",
            Happened::StartFailed => "start_failed",
            Happened::Stopped => "stopped",
            Happened::Deleted => "deleted",
            Happened::Reset => "reset",
            Happened::Renamed => "renamed",
            Happened::Changed => "changed",
            Happened::Woken => "woken",
            Happened::WakeFailed => "wake_failed",
            Happened::Warned => "warned",
            Happened::Extended => "extended",
            Happened::Evidence => "evidence",
            Happened::Pull => "pull",
            Happened::EngineLost => "engine_lost",
            Happened::EngineBack => "engine_back",
            Happened::RelayLost => "relay_lost",
            Happened::RelayBack => "relay_back",
        }
    }

    /// Reads [`Happened::word`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        one_of("type", text, &Self::ALL, Self::word)
    }
}

/// Who has used a sandbox lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatelyBy {
    /// A person.
    Person,
    /// Traffic or cpu alone, which no person need be behind.
    Program,
    /// Nobody.
    Nobody,
}

impl LatelyBy {
    /// Who has used `sandbox` within the time that counts as recent for it. Its start is no use.
    pub fn of(sandbox: &Sandbox, now: Timestamp) -> Self {
        let recent = RECENT.max(2 * sandbox.life.rhythm.period.unwrap_or_default());
        let is_recent = |of: fn(Source) -> bool| {
            let newest = sandbox.life.evidence.newest(|source| source != Source::Start && of(source));
            newest.is_some_and(|evidence| now <= plus(evidence.at, recent))
        };
        if is_recent(Source::is_interactive) {
            Self::Person
        } else if is_recent(|_| true) {
            Self::Program
        } else {
            Self::Nobody
        }
    }

    /// The word for it in the API.
    pub fn word(self) -> &'static str {
        match self {
            LatelyBy::Person => "person",
            LatelyBy::Program => "program",
            LatelyBy::Nobody => "nobody",
        }
    }
}

/// A value in an event's detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A word or a sentence.
    Text(String),
    /// A number.
    Number(u64),
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// A sandbox, as it was when something happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOn {
    /// Its id.
    pub id: SandboxId,
    /// Its name.
    pub name: String,
    /// Its container, if it had one.
    pub container: Option<ContainerId>,
    /// The image that it was made from.
    pub image: String,
    /// Whose it was.
    pub ownership: Ownership,
    /// Its labels.
    pub labels: Vec<Label>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number: later events have greater ones.
    pub id: u64,
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// What.
    pub what: Happened,
    /// To which sandbox; `None`: to the server.
    pub on: Option<EventOn>,
    /// What else is known of it.
    pub detail: BTreeMap<String, Fact>,
}

/// Which events somebody wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these sorts; empty: of all.
    pub what: Vec<Happened>,
    /// Of sandboxes that have this name, or whose container has this id.
    pub object: Option<SandboxRef>,
    /// Of sandboxes with all of these labels.
    pub labels: Vec<Label>,
}

impl EventFilter {
    /// Whether `event` is wanted.
    pub fn wants(&self, event: &Event) -> bool {
        let is_sort = self.what.is_empty() || self.what.contains(&event.what);
        let is_of = |wanted: &SandboxRef| {
            event.on.as_ref().is_some_and(|on| match wanted {
                SandboxRef::Prefix(id) => on.container.as_ref().is_some_and(|c| c.as_str().starts_with(id)),
                SandboxRef::Name(name) => on.name == *name,
            })
        };
        let has = |label: &Label| event.on.as_ref().is_some_and(|on| on.labels.contains(label));
        is_sort && self.object.as_ref().is_none_or(is_of) && self.labels.iter().all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Evidence,
        fixtures::{at, running},
    };

    #[test]
    fn a_filter_wants_what_fits_all_of_it() {
        let sandbox = running(0);
        let group = |value| Label::parse("group", value).unwrap();
        let on = EventOn {
            id: sandbox.id.clone(),
            name: "alice".into(),
            container: sandbox.container.clone(),
            image: sandbox.recipe.image.to_string(),
            ownership: sandbox.ownership.clone(),
            labels: vec![group("a")],
        };
        let detail = BTreeMap::new();
        let event = Event { id: 1, at: Timestamp::UNIX_EPOCH, what: Happened::Stopped, on: Some(on), detail };
        let lost = Event { what: Happened::EngineLost, on: None, ..event.clone() };
        let all = EventFilter::default();
        assert!(all.wants(&event) && all.wants(&lost));
        let stops = EventFilter { what: vec![Happened::Stopped], ..all.clone() };
        assert!(stops.wants(&event) && !stops.wants(&lost));
        let container = sandbox.container.unwrap().to_string();
        for (object, wanted) in [("alice", true), ("bob", false), (&container[..12], true), (&container[..3], false)] {
            let of = EventFilter { object: Some(SandboxRef::parse(object)), ..all.clone() };
            assert_eq!((of.wants(&event), of.wants(&lost)), (wanted, false), "{object}");
        }
        for (labels, wanted) in [(vec![group("a")], true), (vec![group("a"), group("b")], false)] {
            assert_eq!(EventFilter { labels, ..all.clone() }.wants(&event), wanted);
        }
    }

    #[test]
    fn who_used_it_lately() {
        let now = at(10_000);
        let used = |source, ago: i64| {
            let mut sandbox = running(9_990);
            sandbox.life.evidence.record(Evidence { source, at: at(10_000 - ago) });
            LatelyBy::of(&sandbox, now)
        };
        assert_eq!(LatelyBy::of(&running(9_990), now), LatelyBy::Nobody, "it was only started");
        assert_eq!(used(Source::CheckIn, 120), LatelyBy::Person);
        assert_eq!(used(Source::CheckIn, 121), LatelyBy::Nobody);
        assert_eq!(used(Source::Connection, 1), LatelyBy::Program);
    }

    #[test]
    fn every_word_reads() {
        for what in Happened::ALL {
            assert_eq!(Happened::parse(what.word()), Ok(what));
        }
        assert!(Happened::parse("stoped").unwrap_err().to_string().contains("stopped"));
    }
}
