//! Sandboxes for the tests of pure decisions.

use std::time::Duration;

use jiff::Timestamp;

use super::*;

/// A limit of two and a half hours, no cap, no age, no warnings.
pub const POLICY: Policy = Policy {
    idle_limit: Limit::After(Duration::from_secs(9_000)),
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
    Sandbox {
        container: ContainerId::parse(&"a".repeat(64)),
        name: SandboxName::generated(&id),
        image: ImageRef::parse("lab").expect("a plain name"),
        created_at: at(since),
        state: State::Running { since: at(since), address: None, mark: "m1".into(), pid: None, boot: Some("b".into()) },
        generation: 1,
        ports: vec![],
        app_port: None,
        active: 0,
        last_report: None,
        rhythm: Rhythm::default(),
        evidence: EvidenceLog::of(Source::Start, at(since)),
        own: OwnPolicy::default(),
        keep_until: None,
        spared_until: None,
        warned_for: None,
        extension: None,
        memory: Memory::parse("512m").expect("plain"),
        cpus: Cpus::parse("1").expect("plain"),
        labels: vec![],
        token: Token::from_bytes([2; 16]),
        wake: None,
        wake_failure: None,
        zone: Zone::default(),
        traffic: Traffic::default(),
        access: None,
        seen: Seen::default(),
        id,
    }
}
