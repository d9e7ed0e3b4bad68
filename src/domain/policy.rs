//! The policy of stopping: limits, and which evidence counts. One for all sandboxes, and each sandbox's own values.

use std::{fmt, time::Duration};

use super::{evidence::Source, limits::Cpus, names::Invalid};

/// A length of time after which something happens, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It never happens.
    Never,
    /// After this time: whole seconds, never zero.
    After(Duration),
}

/// The least idle limit: three report periods, so that one or two lost reports do no harm (`FAILURES.md` 5).
pub fn least_idle_limit(report_period: Duration) -> Duration {
    3 * report_period
}

/// Reads a length of time: whole seconds, or a number with `s`, `m`, `h` or `d` after it. `None` for anything else, for
/// zero, and for more than [`Limit::MAX`].
pub fn parse_span(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.strip_suffix(|c: char| "smhd".contains(c)) {
        Some(digits) => (digits, text[digits.len()..].chars().next()),
        None => (text, None),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    let seconds = number.checked_mul(match unit {
        Some('d') => 86_400,
        Some('h') => 3_600,
        Some('m') => 60,
        _ => 1,
    })?;
    (1..=Limit::MAX.as_secs()).contains(&seconds).then(|| Duration::from_secs(seconds))
}

impl Limit {
    /// The longest limit that is allowed: ten years, so that no deadline leaves the calendar.
    pub const MAX: Duration = Duration::from_hours(10 * 366 * 24);

    /// Parses seconds or `never`; `field` is the caller's name for it. 0 is refused: say `never` (`FAILURES.md` 35).
    ///
    /// # Errors
    /// If it is anything else, or less than `least`.
    pub fn parse(field: &'static str, text: &str, least: Duration) -> Result<Self, Invalid> {
        Self::read(text, least).ok_or_else(|| Invalid::new(field, text, Self::allowed(least)))
    }

    /// As [`Limit::parse`]; `None` if it is not allowed.
    pub fn read(text: &str, least: Duration) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            text => parse_span(text).filter(|span| *span >= least).map(Self::After),
        }
    }

    /// What is allowed, as the end of a sentence.
    pub fn allowed(least: Duration) -> String {
        let least = least.as_secs().max(1);
        let periods = if least > 1 { " (three report periods)" } else { "" };
        format!(
            "it is \"never\", or whole seconds from {least}{periods} to {}, or such as 90m, 3h, 2d",
            Self::MAX.as_secs()
        )
    }

    /// The length, if there is one.
    pub fn span(self) -> Option<Duration> {
        match self {
            Limit::Never => None,
            Limit::After(span) => Some(span),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Never => f.write_str("never"),
            Limit::After(limit) => write!(f, "{}", limit.as_secs()),
        }
    }
}

/// Which sources of evidence count. Starts, extensions, and what people do inside through the API always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources {
    /// Reports above zero.
    pub check_in: bool,
    /// Bytes on connections.
    pub connection: bool,
    /// Use of the cpu, from this percentage of a core on.
    pub cpu: Option<u32>,
}

impl Sources {
    /// What counts unless somebody says otherwise.
    pub const DEFAULT: Sources = Sources { check_in: true, connection: true, cpu: None };

    /// Only starts and extensions.
    pub const NONE: Sources = Sources { check_in: false, connection: false, cpu: None };

    /// What is allowed, as the end of a sentence.
    pub const ALLOWED: &str =
        "it is \"none\", or a list of \"check_in\", \"connection\" and \"cpu\" or \"cpu=20\" (percent of one core)";

    /// The percentage of a core that `cpu` alone means. A program that waits for its user stays far below.
    const CPU: u32 = 20;

    /// Reads a list such as `check_in,connection,cpu=50`; `None` if it is no such list.
    pub fn read(text: &str) -> Option<Self> {
        let mut sources = Self::NONE;
        if text == "none" {
            return Some(sources);
        }
        for word in text.split(',') {
            match word.trim() {
                "check_in" => sources.check_in = true,
                "connection" => sources.connection = true,
                "cpu" => sources.cpu = Some(Self::CPU),
                other => {
                    let percent = other.strip_prefix("cpu=")?.parse().ok()?;
                    sources.cpu = Some(percent).filter(|p| (1..=100_000).contains(p));
                    sources.cpu?;
                }
            }
        }
        Some(sources)
    }

    /// As [`Sources::read`]; `field` is the caller's name for it.
    ///
    /// # Errors
    /// If it is no such list.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        Self::read(text).ok_or_else(|| Invalid::new(field, text, Self::ALLOWED))
    }

    /// Whether evidence of `source` counts.
    pub fn count(&self, source: Source) -> bool {
        match source {
            // What a person does through the API always counts.
            Source::Start | Source::Extension | Source::Terminal | Source::Exec | Source::Files | Source::Staff => true,
            Source::CheckIn => self.check_in,
            Source::Connection => self.connection,
            Source::Cpu => self.cpu.is_some(),
        }
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.check_in.then(|| "check_in".to_owned()));
        words.extend(self.connection.then(|| "connection".to_owned()));
        words.extend(self.cpu.map(|percent| format!("cpu={percent}")));
        f.write_str(if words.is_empty() { "none" } else { "" })?;
        f.write_str(&words.join(","))
    }
}

/// When a sandbox is stopped, and what keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// After how much time without evidence it is idle.
    pub idle_limit: Limit,
    /// How long connections and cpu count after the last interactive evidence.
    pub connection_cap: Limit,
    /// How long after its start it is stopped, even if it is used.
    pub max_age: Limit,
    /// How long before a stop those inside are warned; at most half of the idle limit.
    pub warn_before: Limit,
    /// Which evidence counts.
    pub evidence: Sources,
}

impl Policy {
    /// How long before a stop the warning comes. A lead as long as the limit would warn at every report.
    pub fn lead(&self) -> Option<Duration> {
        let lead = self.warn_before.span()?;
        Some(self.idle_limit.span().map_or(lead, |limit| lead.min(limit / 2)))
    }
}

/// A sandbox's own values of a [`Policy`]; `None`: the configured value applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnPolicy {
    /// Its idle limit.
    pub idle_limit: Option<Limit>,
    /// Its cap.
    pub connection_cap: Option<Limit>,
    /// Its greatest age.
    pub max_age: Option<Limit>,
    /// Its lead.
    pub warn_before: Option<Limit>,
    /// What counts for it.
    pub evidence: Option<Sources>,
}

/// Each field's name, its label, and what an error calls that label on an image.
macro_rules! keys {
    ($($key:literal),*) => {
        /// What the fields are called.
        pub const KEYS: [&str; 5] = [$($key),*];

        /// The labels that carry the fields on a container; on an image they apply to its sandboxes.
        pub const LABELS: [&str; 5] = [$(concat!("spindle.", $key)),*];

        const OF_IMAGE: [&str; 5] = [$(concat!("the image's label spindle.", $key)),*];
    };
}

impl OwnPolicy {
    /// Reads the fields that `value` has, under the names that the API, the store and image labels use. `names` are
    /// what errors call them, in the order of [`OwnPolicy::KEYS`].
    ///
    /// # Errors
    /// The field that is not allowed.
    pub fn parse<'v>(
        names: [&'static str; 5],
        least_idle_limit: Duration,
        value: impl Fn(&'static str) -> Option<&'v str>,
    ) -> Result<Self, Invalid> {
        let limit = |at: usize, least| value(Self::KEYS[at]).map(|v| Limit::parse(names[at], v, least)).transpose();
        let any = Duration::from_secs(1);
        Ok(Self {
            idle_limit: limit(0, least_idle_limit)?,
            connection_cap: limit(1, any)?,
            max_age: limit(2, any)?,
            warn_before: limit(3, any)?,
            evidence: value(Self::KEYS[4]).map(|v| Sources::parse(names[4], v)).transpose()?,
        })
    }

    /// Checks that a sandbox with so many `cpus` can reach the cpu use that counts here.
    ///
    /// # Errors
    /// The field that asks for more.
    pub fn fits(&self, cpus: Cpus) -> Result<(), Invalid> {
        match self.evidence.and_then(|e| e.cpu).filter(|percent| f64::from(*percent) > cpus.cores() * 100.0) {
            None => Ok(()),
            Some(percent) => {
                let allowed = format!("the container has {cpus} cpus, so that it never uses as much");
                Err(Invalid::new("evidence", &format!("cpu={percent}"), allowed))
            }
        }
    }

    keys!["idle_timeout", "connection_cap", "max_age", "warn_before", "evidence"];

    /// Reads an image's labels, without their `spindle.`; an empty one counts as absent.
    ///
    /// # Errors
    /// The field that is not allowed.
    pub fn of_labels<'a>(label: impl Fn(&str) -> Option<&'a str>, least_idle_limit: Duration) -> Result<Self, Invalid> {
        Self::parse(Self::OF_IMAGE, least_idle_limit, label)
    }

    /// The values in words, as [`OwnPolicy::parse`] reads them, in the order of [`OwnPolicy::KEYS`].
    pub fn words(&self) -> [Option<String>; 5] {
        let limit = |l: Option<Limit>| l.map(|l| l.to_string());
        [
            limit(self.idle_limit),
            limit(self.connection_cap),
            limit(self.max_age),
            limit(self.warn_before),
            self.evidence.map(|e| e.to_string()),
        ]
    }

    /// The same without the field `key`, one of [`OwnPolicy::KEYS`].
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        let [idle_limit, connection_cap, max_age, warn_before, _] = Self::KEYS;
        match key {
            key if key == idle_limit => self.idle_limit = None,
            key if key == connection_cap => self.connection_cap = None,
            key if key == max_age => self.max_age = None,
            key if key == warn_before => self.warn_before = None,
            _ => self.evidence = None,
        }
        self
    }

    /// These values, and those of `other` where this has none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            idle_limit: self.idle_limit.or(other.idle_limit),
            connection_cap: self.connection_cap.or(other.connection_cap),
            max_age: self.max_age.or(other.max_age),
            warn_before: self.warn_before.or(other.warn_before),
            evidence: self.evidence.or(other.evidence),
        }
    }
}

#[cfg(test)]
mod tests;
