//! Evidence: that somebody or something used a sandbox at a time.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The sandbox was started, by request, by adoption, or behind our back.
    Start,
    /// The sandbox reported a value above zero.
    CheckIn,
    /// Bytes moved on a connection through the relay, more than it needs to stay alive.
    Connection,
}

impl Source {
    /// All sources, in the order in which they are shown.
    pub const ALL: [Source; 3] = [Source::Start, Source::CheckIn, Source::Connection];

    /// The word for it in the API and in the log.
    pub fn word(self) -> &'static str {
        match self {
            Source::Start => "start",
            Source::CheckIn => "check_in",
            Source::Connection => "connection",
        }
    }

    /// Whether it shows a person or a program at work, and not only an open connection (`idleness.md`, Words).
    pub fn is_interactive(self) -> bool {
        match self {
            Source::Start | Source::CheckIn => true,
            Source::Connection => false,
        }
    }
}

/// One piece of evidence about one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Where it comes from.
    pub source: Source,
    /// When the sandbox was used.
    pub at: Timestamp,
}

/// The newest evidence of each source. It only ever moves forward (`idleness.md`, rule 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceLog(BTreeMap<Source, Timestamp>);

impl EvidenceLog {
    /// A log that holds one piece.
    pub fn of(source: Source, at: Timestamp) -> Self {
        let mut log = Self::default();
        log.record(Evidence { source, at });
        log
    }

    /// Records a piece, unless newer evidence of the same source is there.
    pub fn record(&mut self, evidence: Evidence) {
        let at = self.0.entry(evidence.source).or_insert(evidence.at);
        *at = (*at).max(evidence.at);
    }

    /// The newest evidence of one source.
    pub fn last_of(&self, source: Source) -> Option<Timestamp> {
        self.0.get(&source).copied()
    }

    /// The newest evidence of those sources of which `of` holds.
    pub fn newest(&self, of: impl Fn(Source) -> bool) -> Option<Evidence> {
        self.0.iter().filter(|(s, _)| of(**s)).map(|(&source, &at)| Evidence { source, at }).max_by_key(|e| e.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_never_moves_back() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut log = EvidenceLog::of(Source::CheckIn, at(50));
        log.record(Evidence { source: Source::CheckIn, at: at(10) });
        log.record(Evidence { source: Source::Start, at: at(20) });
        assert_eq!(log.newest(|_| true), Some(Evidence { source: Source::CheckIn, at: at(50) }));
        assert_eq!(log.last_of(Source::Start), Some(at(20)));
    }
}
