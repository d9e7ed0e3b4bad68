//! The settings of when sandboxes are stopped, and what keeps them.

use std::time::Duration;

use super::{ConfigError, Values};
use crate::domain::{Limit, Policy, Sources, policy::least_idle_limit};

/// A day: how long connections alone keep a sandbox, unless its limit is longer.
const CAP: Duration = Duration::from_hours(24);

/// How many seconds before a stop users are warned, unless the idle limit is short.
const LEAD: u64 = 600;

/// When sandboxes are stopped.
#[derive(Debug, Clone)]
pub struct PolicyConfig {
    /// `SPINDLE_IDLE_TIMEOUT`: after how many seconds without evidence a sandbox is stopped, or `never`.
    /// `SPINDLE_CONNECTION_CAP`: how many seconds connections count after the last interactive evidence, or `never`:
    /// they count without end. `SPINDLE_MAX_AGE`: how many seconds after its start it is stopped, used or not, or
    /// `never`. `SPINDLE_WARN_BEFORE`: how many seconds before a stop its users are warned, or `never`.
    /// `SPINDLE_EVIDENCE`: which evidence counts.
    pub policy: Policy,
    /// `SPINDLE_KEEP_MAX`: the most seconds for which somebody inside may keep a sandbox at a time.
    pub keep_max: Duration,
    /// `SPINDLE_EXEC_TIMEOUT`: for how many seconds a program may run that somebody waits for, unless the request says.
    pub exec_timeout: Duration,
}

impl PolicyConfig {
    pub(super) fn from_values(v: &mut Values, report_period: Duration) -> Result<Self, ConfigError> {
        let least = least_idle_limit(report_period);
        let idle_limit = v.take("idle_timeout", "9000", &Limit::allowed(least), |t| Limit::read(t, least))?;
        let mut limit = |key, default: &str| {
            v.take(key, default, &Limit::allowed(Duration::ZERO), |t| Limit::read(t, Duration::ZERO))
        };
        let cap = idle_limit.span().map_or(CAP, |limit| limit.max(CAP));
        let lead = idle_limit.span().map_or(LEAD, |limit| LEAD.min(limit.as_secs() / 2)).max(1);
        Ok(Self {
            policy: Policy {
                idle_limit,
                connection_cap: limit("connection_cap", &cap.as_secs().to_string())?,
                max_age: limit("max_age", "never")?,
                warn_before: limit("warn_before", &lead.to_string())?,
                evidence: v.take("evidence", &Sources::DEFAULT.to_string(), Sources::ALLOWED, Sources::read)?,
            },
            keep_max: v.seconds("keep_max", "28800", 1)?,
            exec_timeout: v.take("exec_timeout", "60", "it is whole seconds, 1 to 3600", |t| {
                t.parse().ok().filter(|s| (1..=3_600).contains(s)).map(Duration::from_secs)
            })?,
        })
    }

    /// Refuses settings that contradict each other (`IDLENESS.md`, rule 12).
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Policy { idle_limit, connection_cap, max_age, warn_before, .. } = self.policy;
        let Some(limit) = idle_limit.span() else { return Ok(()) };
        let refuse = |name: &str, span: Duration, why: &str| {
            let (is, limit) = (span.as_secs(), limit.as_secs());
            Err(ConfigError(format!("SPINDLE_{name} ({is} s) is shorter than SPINDLE_IDLE_TIMEOUT ({limit} s): {why}")))
        };
        if let Some(cap) = connection_cap.span().filter(|cap| *cap < limit) {
            return refuse("CONNECTION_CAP", cap, "connections would never count");
        }
        if let Some(age) = max_age.span().filter(|age| *age < limit) {
            return refuse("MAX_AGE", age, "no sandbox would ever be idle; make the idle timeout shorter too");
        }
        if let Some(lead) = warn_before.span().filter(|lead| *lead > limit / 2) {
            return Err(ConfigError(format!(
                "SPINDLE_WARN_BEFORE ({} s) is more than half of SPINDLE_IDLE_TIMEOUT ({} s): those who work would be warned",
                lead.as_secs(),
                limit.as_secs()
            )));
        }
        Ok(())
    }

    /// The settings in force, as lines of a TOML file.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let text = |t: &dyn std::fmt::Display| format!("{:?}", t.to_string());
        vec![
            ("idle_timeout", text(&self.policy.idle_limit)),
            ("connection_cap", text(&self.policy.connection_cap)),
            ("max_age", text(&self.policy.max_age)),
            ("warn_before", text(&self.policy.warn_before)),
            ("evidence", text(&self.policy.evidence)),
            ("keep_max", self.keep_max.as_secs().to_string()),
            ("exec_timeout", self.exec_timeout.as_secs().to_string()),
        ]
    }
}
