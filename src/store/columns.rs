//! Columns: convert the value of one column, and read a row's columns in their order.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Row, types::FromSql};

use super::{Result, StoreError};

/// An instant as its milliseconds since the epoch.
pub fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A length of time from its milliseconds; `None` stays `None`.
pub fn length(millis: Option<i64>) -> Option<Duration> {
    millis.map(|m| Duration::from_millis(m.unsigned_abs()))
}

/// The error for a value in the database that cannot be read.
pub fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

/// An instant from its milliseconds since the epoch.
///
/// # Errors
/// [`StoreError::Corrupt`] outside the calendar.
pub fn instant(millis: i64) -> Result<Timestamp> {
    // The calendar's last second is an instant, and its milliseconds are none.
    let read = Timestamp::from_millisecond(millis).or_else(|_| Timestamp::from_second(millis.div_euclid(1_000)));
    read.map_err(|_| corrupt("an instant outside the calendar"))
}

/// A value that must be there.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is not.
pub fn required<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| corrupt(what))
}

/// Reads a row's columns in their order; their names are not needed.
pub struct Columns<'r>(pub &'r Row<'r>, pub usize);

impl<'r> Columns<'r> {
    pub fn next<T: FromSql>(&mut self) -> Result<T> {
        self.1 += 1;
        Ok(self.0.get(self.1 - 1)?)
    }

    pub fn text(&mut self) -> Result<Option<&'r str>> {
        self.1 += 1;
        Ok(self.0.get_ref(self.1 - 1)?.as_str_or_null().map_err(rusqlite::Error::from)?)
    }

    /// A text that is there, read by `parse`.
    pub fn read<T>(&mut self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        required(self.text()?.and_then(parse), what)
    }

    /// A text that may be absent, read by `parse`.
    pub fn maybe<T>(&mut self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        self.text()?.map(|t| required(parse(t), what)).transpose()
    }

    pub fn instant(&mut self) -> Result<Option<Timestamp>> {
        self.next::<Option<i64>>()?.map(instant).transpose()
    }
}
