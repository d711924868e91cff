//! Instants and half-open windows of time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, ErrorKind, Result};

/// A date, instant, window or duration cannot be read.
pub static TIME: Code = Code {
    name: "E-TIME",
    kind: ErrorKind::Usage,
    meaning: "A date, an instant, a window or a duration could not be read, or its end is not after its start.",
    remedy: "Write dates as 2025-03-30, instants as 2025-03-30T04:00:00Z, durations as 1d (calendar), 24h, 30m or 10s.",
};

/// An instant in UTC, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// An instant from microseconds since 1970 UTC.
    #[must_use]
    pub fn from_microseconds(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// Microseconds since 1970 UTC.
    #[must_use]
    pub fn microseconds(self) -> i64 {
        self.0
    }

    /// The instant `microseconds` later, staying within what 64 bits hold.
    #[must_use]
    pub fn plus(self, microseconds: i64) -> Self {
        Self(self.0.saturating_add(microseconds))
    }

    /// As a `chrono` instant; instants outside its calendar (±262,000 years) become its nearest end.
    #[must_use]
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC })
    }

    /// Reads `2025-03-30T04:00:00Z`, the same with an offset, or a date, which is its first instant in `zone`.
    ///
    /// # Errors
    /// [`TIME`] if it is none of these.
    pub fn parse_in(text: &str, zone: Tz) -> Result<Self> {
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(instant.timestamp_micros()));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(start_of_day(date, zone));
        }
        for format in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
            if let Ok(local) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(instant_of(local, zone));
            }
        }
        Err(Error::new(&TIME, format!("\"{text}\" is not a date or an instant")))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_chrono().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse_in(text, Tz::UTC)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(instant: Timestamp) -> Self {
        instant.to_string()
    }
}

/// The instant of a wall-clock time: the earlier one where clocks are set back, the first valid one where they jump ahead.
fn instant_of(local: NaiveDateTime, zone: Tz) -> Timestamp {
    // Clock changes move by at most a few hours and in quarters of an hour, so the first valid time is near.
    const QUARTERS_MAX: i64 = 4 * 26;
    for quarters in 0..QUARTERS_MAX {
        let candidate = local + chrono::Duration::minutes(15 * quarters);
        match zone.from_local_datetime(&candidate) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
                return Timestamp(instant.timestamp_micros());
            }
            LocalResult::None => {}
        }
    }
    Timestamp(local.and_utc().timestamp_micros())
}

/// The first instant of a calendar day in a zone.
#[must_use]
pub fn start_of_day(date: NaiveDate, zone: Tz) -> Timestamp {
    instant_of(date.and_time(NaiveTime::MIN), zone)
}

/// A half-open window `[from, to)` of instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// The first instant inside.
    pub from: Timestamp,
    /// The first instant after.
    pub to: Timestamp,
}

impl Window {
    /// A window.
    ///
    /// # Errors
    /// [`TIME`] unless `from` is before `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self> {
        if from < to {
            Ok(Self { from, to })
        } else {
            Err(Error::new(&TIME, format!("window from {from} to {to} is empty or runs backwards"))
                .hint("Give --from before --to; --to itself is not part of the window."))
        }
    }

    /// Cuts the window into consecutive windows that together are exactly this one.
    ///
    /// # Errors
    /// [`TIME`] when there would be more than `windows_max`.
    pub fn cut(&self, length: WindowLength, zone: Tz, windows_max: usize) -> Result<Vec<Self>> {
        let mut windows = Vec::new();
        let mut from = self.from;
        while from < self.to {
            if windows.len() == windows_max {
                return Err(Error::new(
                    &TIME,
                    format!("window from {} to {} is cut into more than {windows_max} parts", self.from, self.to),
                )
                .hint("Give a longer --window, or a shorter range."));
            }
            let to = length.end_after(from, zone).min(self.to);
            windows.push(Self { from, to });
            from = to;
        }
        Ok(windows)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.from, self.to)
    }
}

/// How long the windows of a backfill are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowLength {
    /// So many calendar days in the pipeline's zone: 23 or 25 hours long where clocks change.
    CalendarDays(u32),
    /// So much elapsed time, in microseconds.
    Elapsed(i64),
}

impl WindowLength {
    fn end_after(self, from: Timestamp, zone: Tz) -> Timestamp {
        match self {
            Self::CalendarDays(days) => {
                let date = from.to_chrono().with_timezone(&zone).date_naive();
                date.checked_add_days(Days::new(u64::from(days))).map_or(from.plus(i64::MAX), |end| start_of_day(end, zone))
            }
            Self::Elapsed(microseconds) => from.plus(microseconds),
        }
    }
}

impl FromStr for WindowLength {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let days = text.strip_suffix('d').or_else(|| text.strip_suffix("day")).or_else(|| text.strip_suffix("days"));
        if let Some(days) = days.and_then(|days| days.trim().parse::<u32>().ok()).filter(|days| *days > 0) {
            return Ok(Self::CalendarDays(days));
        }
        match parse_duration_us(text)? {
            0 => Err(Error::new(&TIME, format!("window length \"{text}\" is zero"))),
            microseconds => Ok(Self::Elapsed(microseconds)),
        }
    }
}

/// Reads a duration such as `90s`, `15m`, `24h` or `2days` as microseconds.
///
/// # Errors
/// [`TIME`] if it cannot be read.
pub fn parse_duration_us(text: &str) -> Result<i64> {
    humantime::parse_duration(text)
        .ok()
        .and_then(|duration| i64::try_from(duration.as_micros()).ok())
        .ok_or_else(|| Error::new(&TIME, format!("\"{text}\" is not a duration")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn calendar_days_follow_the_clock_changes_and_hours_do_not() {
        let zone: Tz = "Europe/Warsaw".parse().unwrap();
        let window =
            Window::new(Timestamp::parse_in("2025-10-25", zone).unwrap(), Timestamp::parse_in("2025-10-28", zone).unwrap()).unwrap();
        let days = window.cut("1d".parse().unwrap(), zone, 100).unwrap();
        let hours: Vec<i64> = days.iter().map(|w| (w.to.microseconds() - w.from.microseconds()) / 3_600_000_000).collect();
        assert_eq!(hours, [24, 25, 24]);
        assert_eq!(window.cut("24h".parse().unwrap(), zone, 100).unwrap().len(), 4);
    }

    #[test]
    fn a_date_that_starts_in_a_gap_starts_at_the_first_valid_time() {
        let zone: Tz = "America/Santiago".parse().unwrap();
        let start = Timestamp::parse_in("2024-09-08", zone).unwrap();
        assert_eq!(start.to_string(), "2024-09-08T04:00:00Z");
    }

    #[test]
    fn windows_are_half_open_and_forward() {
        assert!(Window::new(at("2025-01-01"), at("2025-01-01")).is_err());
        assert!("1 fortnight".parse::<WindowLength>().is_err());
        assert!("0h".parse::<WindowLength>().is_err());
        let window = Window::new(at("2025-01-01"), at("2025-02-01")).unwrap();
        assert!(window.cut(WindowLength::Elapsed(1_000_000), Tz::UTC, 1000).is_err());
    }

    #[test]
    fn instants_keep_their_text() {
        for text in ["2025-03-30T04:00:00Z", "1969-12-31T23:59:59.999999Z"] {
            assert_eq!(at(text).to_string(), text);
        }
    }
}
