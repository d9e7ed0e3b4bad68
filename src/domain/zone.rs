//! Zone: the time zone of those inside a sandbox. They are told times in it; the API uses UTC.

use jiff::{Timestamp, tz::TimeZone};

use super::names::Invalid;

/// A time zone of the tz database, which is built in: the host and the image do not need one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// What is allowed, as the end of a sentence.
    pub const ALLOWED: &str = "it is a name of the tz database, such as Europe/Berlin, Asia/Kolkata or UTC";

    /// Reads a zone's name, in any case; `None` if there is no such zone.
    pub fn read(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some() && !zone.is_unknown()).map(Self)
    }

    /// As [`Zone::read`]; `field` is the caller's name for it.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn parse(field: &'static str, name: &str) -> Result<Self, Invalid> {
        Self::read(name).ok_or_else(|| Invalid::new(field, name, Self::ALLOWED))
    }

    /// Its name, as programs inside want it in `TZ`.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// An instant, with its day and the zone.
    pub fn date_and_time(&self, at: Timestamp) -> String {
        at.to_zoned(self.0.clone()).strftime("%F %T %Z").to_string()
    }

    /// An instant in this zone, with its day only if that is not today.
    pub fn clock_time(&self, at: Timestamp, now: Timestamp) -> String {
        let local = |at: Timestamp| at.to_zoned(self.0.clone());
        if local(at).date() == local(now).date() {
            local(at).strftime("%T %Z").to_string()
        } else {
            self.date_and_time(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_zone_has_a_name_that_programs_know() {
        for (text, name) in [("Europe/Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("UTC", "UTC")] {
            assert_eq!(Zone::read(text).map(|zone| zone.name().to_owned()).as_deref(), Some(name));
        }
        assert_eq!(Zone::default(), Zone::read("UTC").unwrap());
        for bad in
            ["", "Berlin", "Europe/Berln", "CET-1CEST", ":Europe/Berlin", "../../etc/passwd", "Etc/Unknown", "UTC+1"]
        {
            assert_eq!(Zone::read(bad), None, "{bad:?} was taken");
        }
        let told = Zone::parse("tz", "Mars/Olympus").unwrap_err().to_string();
        assert!(told.contains("tz: \"Mars/Olympus\"") && told.contains("Europe/Berlin"), "{told}");
    }

    #[test]
    fn times_are_those_of_the_wall_and_name_their_zone() {
        let (berlin, kolkata) = (Zone::read("Europe/Berlin").unwrap(), Zone::read("Asia/Kolkata").unwrap());
        let (winter, summer) = (at("2026-11-20T13:30:00Z"), at("2026-07-20T13:30:00Z"));
        assert_eq!(berlin.clock_time(winter, winter), "14:30:00 CET");
        assert_eq!(berlin.clock_time(summer, summer), "15:30:00 CEST");
        assert_eq!(kolkata.date_and_time(winter), "2026-11-20 19:00:00 IST");
        assert_eq!(Zone::default().clock_time(winter, winter), "13:30:00 UTC");
        // Two hours of the same day in UTC, and of two days in Berlin.
        let (evening, night) = (at("2026-11-20T22:30:00Z"), at("2026-11-20T23:30:00Z"));
        assert_eq!(berlin.clock_time(night, evening), "2026-11-21 00:30:00 CET");
        assert_eq!(Zone::default().clock_time(night, evening), "23:30:00 UTC");
    }
}
