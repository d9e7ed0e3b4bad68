//! Evidence: records that somebody or something used a sandbox, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The sandbox was started, by request, by adoption, or behind our back.
    Start,
    /// The sandbox reported a value above zero.
    CheckIn,
    /// A person extended its life, through the API or from inside.
    Extension,
    /// More bytes moved on a connection through the relay than it needs to stay alive.
    Connection,
    /// Its processes used more cpu than processes that only wait.
    Cpu,
    /// Its own people typed in a terminal of the API's.
    Terminal,
    /// Its own people ran a program through the API.
    Exec,
    /// Its own people put files into it through the API.
    Files,
    /// Somebody else did one of these: an instructor, say. That is use, and not its learner's work.
    Staff,
}

impl Source {
    /// All sources, in the order in which they are shown.
    pub const ALL: [Source; 9] = [
        Source::Start,
        Source::CheckIn,
        Source::Extension,
        Source::Connection,
        Source::Cpu,
        Source::Terminal,
        Source::Exec,
        Source::Files,
        Source::Staff,
    ];

    /// The word for it in the API and in the log.
    pub fn word(self) -> &'static str {
        match self {
            Source::Start => "start",
            Source::CheckIn => "check_in",
            Source::Extension => "extension",
            Source::Connection => "connection",
            Source::Cpu => "cpu",
            Source::Terminal => "terminal",
            Source::Exec => "exec",
            Source::Files => "files",
            Source::Staff => "staff",
        }
    }

    /// Whether it shows that the sandbox's own people, or its programs, used it.
    pub fn is_use(self) -> bool {
        !matches!(self, Source::Start | Source::Staff)
    }

    /// Whether a person's intent is behind it. Traffic and cpu show none: a forgotten tab or an endless loop makes them
    /// too (`IDLENESS.md`).
    pub fn is_interactive(self) -> bool {
        match self {
            Source::Start
            | Source::CheckIn
            | Source::Extension
            | Source::Terminal
            | Source::Exec
            | Source::Files
            | Source::Staff => true,
            Source::Connection | Source::Cpu => false,
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

/// The newest evidence of each source, and its count. It only ever moves forward (`IDLENESS.md`, rule 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceLog(BTreeMap<Source, (Timestamp, u64)>);

impl EvidenceLog {
    /// A log that holds one piece.
    pub fn of(source: Source, at: Timestamp) -> Self {
        let mut log = Self::default();
        log.record(Evidence { source, at });
        log
    }

    /// Records a piece; if newer evidence of the same source is there, it is only counted.
    pub fn record(&mut self, evidence: Evidence) {
        self.restore(evidence, 1);
    }

    /// Records the newest of `count` pieces.
    pub fn restore(&mut self, evidence: Evidence, count: u64) {
        let (at, known) = self.0.entry(evidence.source).or_insert((evidence.at, 0));
        *at = (*at).max(evidence.at);
        *known += count;
    }

    /// The newest evidence of one source.
    pub fn last_of(&self, source: Source) -> Option<Timestamp> {
        self.0.get(&source).map(|(at, _)| *at)
    }

    /// How many pieces of one source there have been.
    pub fn count_of(&self, source: Source) -> u64 {
        self.0.get(&source).map_or(0, |(_, count)| *count)
    }

    /// The newest evidence among the sources that `of` accepts.
    pub fn newest(&self, of: impl Fn(Source) -> bool) -> Option<Evidence> {
        let pieces = self.0.iter().map(|(&source, &(at, _))| Evidence { source, at });
        pieces.filter(|e| of(e.source)).max_by_key(|e| e.at)
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
        assert_eq!((log.last_of(Source::Start), log.count_of(Source::CheckIn)), (Some(at(20)), 2));
    }
}
