//! Instants as OpenSearch's `strict_date_optional_time` writes them.
//!
//! Source: <https://docs.opensearch.org/latest/field-types/supported-field-types/date/>. Dates shorter than a day (`2025-03`) are not
//! read: they name no instant. Without a zone the time is UTC, as the server takes it.

use chrono::{NaiveDate, NaiveTime};

use crate::bson::unfit::Unfit;

const MICROSECONDS_PER_MINUTE: i64 = 60_000_000;

/// Microseconds since 1970 UTC.
pub(super) fn parse(text: &str) -> Result<i64, Unfit> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let date = parse_date(date).ok_or(Unfit::NotInstant)?;
    let Some(time) = time else { return microseconds(date, NaiveTime::MIN, 0, 0) };
    let (time, offset_minutes) = split_zone(time).ok_or(Unfit::NotInstant)?;
    let (clock, fraction) = time.split_once('.').map_or((time, ""), |(clock, fraction)| (clock, fraction));
    if time.contains('.') && (fraction.is_empty() || fraction.len() > 9 || clock.len() != 8) {
        return Err(Unfit::NotInstant);
    }
    let clock = parse_clock(clock).ok_or(Unfit::NotInstant)?;
    let nanoseconds = format!("{fraction:0<9}");
    if !nanoseconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Unfit::NotInstant);
    }
    let nanoseconds: i64 = nanoseconds.parse().map_err(|_| Unfit::NotInstant)?;
    if nanoseconds % 1_000 != 0 {
        return Err(Unfit::Inexact);
    }
    microseconds(date, clock, nanoseconds / 1_000, offset_minutes)
}

fn microseconds(date: NaiveDate, clock: NaiveTime, fraction_us: i64, offset_minutes: i64) -> Result<i64, Unfit> {
    let local = date.and_time(clock).and_utc().timestamp_micros();
    local.checked_add(fraction_us - offset_minutes * MICROSECONDS_PER_MINUTE).ok_or(Unfit::Range)
}

/// `YYYY-MM-DD`, and nothing else.
fn parse_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(digits(year, 4)?).ok()?, digits(month, 2)?, digits(day, 2)?)
}

/// `HH:MM:SS` or `HH:MM`.
fn parse_clock(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let (hours, minutes) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let seconds = parts.next().map_or(Some(0), |seconds| digits(seconds, 2))?;
    if parts.next().is_some() {
        return None;
    }
    NaiveTime::from_hms_opt(hours, minutes, seconds)
}

/// A time of day and the minutes that its zone is ahead of UTC.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(place) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, zone) = time.split_at_checked(place)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let zone: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = zone.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { digits(minutes, 2)? };
    let (hours, minutes) = (i64::from(digits(hours, 2)?), i64::from(minutes));
    (hours <= 18 && minutes < 60).then_some((time, sign * (hours * 60 + minutes)))
}

fn digits(text: &str, length: usize) -> Option<u32> {
    if text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_the_same_instant() {
        for text in [
            "2025-03-30T04:00:00Z",
            "2025-03-30T04:00:00",
            "2025-03-30T04:00Z",
            "2025-03-30T04:00:00.000Z",
            "2025-03-30T06:00:00+02:00",
            "2025-03-30T06:00:00+0200",
            "2025-03-29T23:00:00.000000000-05",
        ] {
            assert_eq!(parse(text), Ok(1_743_307_200_000_000), "{text}");
        }
        assert_eq!(parse("2025-03-30"), Ok(1_743_292_800_000_000));
        assert_eq!(parse("1969-12-31T23:59:59.999999Z"), Ok(-1));
    }

    #[test]
    fn what_is_no_instant_or_too_fine_is_refused() {
        for text in [
            "",
            "2025",
            "2025-03",
            "2025-02-30",
            "2025-03-30T",
            "2025-03-30T25:00Z",
            "2025-03-30 04:00",
            "1743307200000",
            "2025-03-30T04:00:00.Z",
            "2025-03-30T04:00:00.1é",
            "+025-03-30",
        ] {
            assert_eq!(parse(text), Err(Unfit::NotInstant), "{text}");
        }
        assert_eq!(parse("2025-03-30T04:00:00.123456789Z"), Err(Unfit::Inexact));
    }
}
