//! The values of settings as text, and a parser for each setting.

use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr, time::Duration};

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::{ConfigError, LogFormat};
use crate::domain::nearest;

/// A scalar of a TOML file as text, or a list of such texts.
pub struct Text(Vec<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string, a number, true, false or a list of strings was expected")]
        enum Scalar {
            Text(String),
            Flag(bool),
            Integer(i64),
            Float(f64),
            List(Vec<String>),
        }
        Ok(Text(match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => vec![text],
            Scalar::Flag(flag) => vec![flag.to_string()],
            Scalar::Integer(number) => vec![number.to_string()],
            Scalar::Float(number) => vec![number.to_string()],
            Scalar::List(list) => list,
        }))
    }
}

/// The values that were set, each taken out once.
pub struct Values {
    set: BTreeMap<String, Text>,
    /// All keys that were asked for.
    known: Vec<String>,
}

impl Values {
    /// The values of one source, or of several merged.
    pub fn new(values: BTreeMap<String, Text>) -> Self {
        Self { set: values, known: Vec::new() }
    }

    /// A key that was set and that nobody took, with the key that was probably meant.
    pub fn left_over(&self) -> Option<(&str, Option<&str>)> {
        let key = self.set.keys().next()?;
        Some((key, nearest(key, self.known.iter().map(String::as_str))))
    }

    fn remove(&mut self, key: &str) -> Option<Vec<String>> {
        self.known.push(key.to_owned());
        self.set.remove(key).map(|text| text.0)
    }

    /// A text of several lines, or a list of lines; empty if it is not set.
    pub fn lines(&mut self, key: &str) -> String {
        self.remove(key).unwrap_or_default().join("\n").trim().to_owned()
    }

    /// Reads a yes or no.
    pub fn flag(&mut self, key: &str, default: &str) -> Result<bool, ConfigError> {
        self.take(key, default, "it is true or false", |text| text.to_ascii_lowercase().parse().ok())
    }

    pub fn take<T>(
        &mut self,
        key: &str,
        default: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        self.exact(key, default, allowed, |text| parse(text.trim()))
    }

    /// As [`Values::take`], but keeps the spaces around the value.
    pub fn exact<T>(
        &mut self,
        key: &str,
        default: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let text = self.remove(key).map_or_else(|| default.to_owned(), |parts| parts.join(","));
        parse(&text).ok_or_else(|| {
            ConfigError(format!("SPINDLE_{}: {text:?} is not allowed; {allowed}", key.to_ascii_uppercase()))
        })
    }

    pub fn plain<T: FromStr>(&mut self, key: &str, default: &str, allowed: &str) -> Result<T, ConfigError> {
        self.take(key, default, allowed, |t| t.parse().ok())
    }

    pub fn seconds(&mut self, key: &str, default: &str, least: u64) -> Result<Duration, ConfigError> {
        let allowed = format!("it is whole seconds, {least} to 604800");
        let parse = |t: &str| t.parse().ok().filter(|s| (least..=604_800).contains(s)).map(Duration::from_secs);
        self.take(key, default, &allowed, parse)
    }

    pub fn days(&mut self, key: &str, default: &str) -> Result<Duration, ConfigError> {
        let parse = |t: &str| t.parse().ok().filter(|days| (1..=36_500).contains(days));
        let days: u64 = self.take(key, default, "it is whole days, 1 to 36500", parse)?;
        Ok(Duration::from_hours(days * 24))
    }

    pub fn at_least_one<T: FromStr + PartialOrd + From<u8>>(
        &mut self,
        key: &str,
        default: &str,
    ) -> Result<T, ConfigError> {
        self.take(key, default, "it is a whole number, 1 or more", |t| t.parse().ok().filter(|n| *n >= T::from(1)))
    }
}

pub fn word(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    // Docker has networks of these names.
    let own = !["bridge", "host", "none", "default"].contains(&text);
    (head && own && text.len() <= 40 && text.bytes().all(plain)).then(|| text.to_owned())
}

pub fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.split_once('-')?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (low >= 1024 && low <= high).then_some(low..=high)
}

pub fn capabilities(text: &str) -> Option<Vec<String>> {
    let names = text.split([',', ' ']).filter(|c| !c.is_empty()).map(str::to_ascii_uppercase);
    let names: Vec<String> = names.map(|c| c.strip_prefix("CAP_").map(str::to_owned).unwrap_or(c)).collect();
    names.iter().all(|c| c.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).then_some(names)
}

pub fn log_size(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let ok = digits.parse::<u64>().is_ok_and(|n| n > 0) && text.len() - digits.len() <= 1;
    ok.then(|| text.to_owned())
}

/// A level, or a filter in which every part names its target: a misspelt level would silence the log.
pub fn log_filter(text: &str) -> Option<String> {
    let level = |t: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&t.to_ascii_lowercase().as_str());
    let part = |t: &str| level(t) || t.rsplit_once('=').is_some_and(|(_, l)| level(l));
    text.split(',').all(|t| part(t.trim())).then(|| text.to_owned())
}

pub fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// The engine's own client does not wait longer than this for an answer.
pub fn stop_grace(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|seconds| *seconds <= 100).map(Duration::from_secs)
}

pub fn subnet(text: &str) -> Option<Ipv4Net> {
    let net: Ipv4Net = text.parse().ok()?;
    let special = net.addr().is_loopback() || net.addr().is_multicast() || net.addr().is_unspecified();
    (net.addr() == net.network() && !special).then_some(net)
}
