//! Sandboxes for the tests of pure decisions.

use std::time::Duration;

use jiff::Timestamp;

use super::*;

/// A limit of two and a half hours, no cap, no age, no warnings.
pub const POLICY: Policy = Policy {
    idle_limit: Limit::After(Duration::from_mins(150)),
    connection_cap: Limit::Never,
    max_age: Limit::Never,
    warn_before: Limit::Never,
    evidence: Sources::DEFAULT,
};

/// An instant, in seconds since the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a small number")
}

/// A sandbox that was started at `since` and has reported nothing.
pub fn running(since: i64) -> Sandbox {
    let id = SandboxId::from_bytes([1; 16]);
    let started = State::Running {
        since: at(since),
        mark: "m1".into(),
        reach: Reach { boot: Some("b".into()), ..Reach::default() },
    };
    let image = ImageRef::parse("lab").expect("a plain name");
    let (memory, cpus) = (Memory::parse("512m").expect("plain"), Cpus::parse("1").expect("plain"));
    Sandbox {
        container: ContainerId::parse(&"a".repeat(64)),
        name: SandboxName::generated(&id),
        token: Token::from_bytes([2; 16]),
        created_at: at(since),
        former: vec![],
        ports: vec![],
        ownership: Ownership::default(),
        recipe: Recipe::of(image, memory, cpus),
        life: Life {
            state: started,
            generation: 1,
            evidence: EvidenceLog::of(Source::Start, at(since)),
            ..Life::default()
        },
        id,
    }
}
