//! Dates and times: their values, and how PostgreSQL prints them.
//!
//! Binary forms: `date_send`, `time_send`, `timetz_send` (`src/backend/utils/adt/date.c`), `timestamp_send`, `interval_send`
//! (`timestamp.c`). Text: `EncodeDateTime`, `EncodeTimezone`, `EncodeInterval` (`datetime.c`) with `DateStyle` ISO, `IntervalStyle` postgres
//! and the time zone UTC, which readings are set to.

use super::numeric::write_number;
use super::unfit::Unfit;
use super::wire::{Wire, exactly};

/// Days and microseconds from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = 946_684_800_000_000;
const DAY_US: i64 = 86_400_000_000;

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `2025-03-30 04:00:00+00`
    Text,
    /// `2025-03-30T04:00:00+00:00`, as in `to_jsonb`
    Json,
}

/// Days since 1970.
pub(super) fn date(bytes: &[u8]) -> Result<i32, Unfit> {
    match i32::from_be_bytes(exactly(bytes)?) {
        i32::MAX | i32::MIN => Err(Unfit::NotFinite),
        days => days.checked_add(EPOCH_DAYS).ok_or(Unfit::Range),
    }
}

/// Microseconds since 1970.
pub(super) fn timestamp(bytes: &[u8]) -> Result<i64, Unfit> {
    match i64::from_be_bytes(exactly(bytes)?) {
        i64::MAX | i64::MIN => Err(Unfit::NotFinite),
        microseconds => microseconds.checked_add(EPOCH_US).ok_or(Unfit::Range),
    }
}

/// Microseconds since midnight. PostgreSQL also has 24:00, which a time of day is not.
pub(super) fn time(bytes: &[u8]) -> Result<i64, Unfit> {
    let microseconds = i64::from_be_bytes(exactly(bytes)?);
    if (0..DAY_US).contains(&microseconds) { Ok(microseconds) } else { Err(Unfit::Range) }
}

pub(super) fn write_date(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    match i32::from_be_bytes(exactly(bytes)?) {
        i32::MAX => into.extend_from_slice(b"infinity"),
        i32::MIN => into.extend_from_slice(b"-infinity"),
        days => {
            let is_before_christ = write_day(i64::from(days) + i64::from(EPOCH_DAYS), into);
            if is_before_christ {
                into.extend_from_slice(b" BC");
            }
        }
    }
    Ok(())
}

/// Writes a timestamp, with an offset if it is an instant.
pub(super) fn write_timestamp(bytes: &[u8], is_instant: bool, style: Style, into: &mut Vec<u8>) -> Result<(), Unfit> {
    let microseconds = match i64::from_be_bytes(exactly(bytes)?) {
        i64::MAX => {
            into.extend_from_slice(b"infinity");
            return Ok(());
        }
        i64::MIN => {
            into.extend_from_slice(b"-infinity");
            return Ok(());
        }
        microseconds => microseconds,
    };
    let is_before_christ = write_day(microseconds.div_euclid(DAY_US) + i64::from(EPOCH_DAYS), into);
    into.push(if style == Style::Json { b'T' } else { b' ' });
    write_clock(microseconds.rem_euclid(DAY_US), into);
    if is_instant {
        into.extend_from_slice(if style == Style::Json { b"+00:00" } else { b"+00" });
    }
    if is_before_christ {
        into.extend_from_slice(b" BC");
    }
    Ok(())
}

pub(super) fn write_time(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    write_clock(clock(i64::from_be_bytes(exactly(bytes)?))?, into);
    Ok(())
}

/// A time of day as it is stored: 24:00 is one.
fn clock(microseconds: i64) -> Result<i64, Unfit> {
    if (0..=DAY_US).contains(&microseconds) { Ok(microseconds) } else { Err(Unfit::Malformed("it is no time of day")) }
}

pub(super) fn write_zoned_time(bytes: &[u8], style: Style, into: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut wire = Wire(bytes);
    let microseconds = wire.i64()?;
    // Seconds west of Greenwich.
    let west = wire.i32()?;
    wire.end()?;
    write_clock(clock(microseconds)?, into);
    into.push(if west <= 0 { b'+' } else { b'-' });
    let seconds = i64::from(west).abs();
    write_two(seconds / 3600, into);
    if seconds % 3600 != 0 || style == Style::Json {
        into.push(b':');
        write_two(seconds / 60 % 60, into);
    }
    if seconds % 60 != 0 {
        into.push(b':');
        write_two(seconds % 60, into);
    }
    Ok(())
}

pub(super) fn write_interval(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut wire = Wire(bytes);
    let (microseconds, days, months) = (wire.i64()?, wire.i32()?, wire.i32()?);
    wire.end()?;
    let mut is_first = true;
    let mut was_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if !is_first {
            into.push(b' ');
        }
        if was_negative && value > 0 {
            into.push(b'+');
        }
        write_number(into, i64::from(value));
        into.push(b' ');
        into.extend_from_slice(unit.as_bytes());
        if value != 1 {
            into.push(b's');
        }
        was_negative = value < 0;
        is_first = false;
    }
    if is_first || microseconds != 0 {
        if !is_first {
            into.push(b' ');
        }
        if microseconds < 0 {
            into.push(b'-');
        } else if was_negative {
            into.push(b'+');
        }
        let microseconds = microseconds.unsigned_abs();
        // Hours are not limited to a day.
        let hours = i64::try_from(microseconds / 3_600_000_000).unwrap_or(i64::MAX);
        if hours < 10 {
            into.push(b'0');
        }
        write_number(into, hours);
        let rest = i64::try_from(microseconds % 3_600_000_000).unwrap_or(0);
        into.push(b':');
        write_two(rest / 60_000_000, into);
        into.push(b':');
        write_seconds(rest % 60_000_000, into);
    }
    Ok(())
}

/// Writes a day since 1970 without its era. True if that is before Christ.
fn write_day(days: i64, into: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil(days);
    // There is no year 0: it is 1 BC.
    let is_before_christ = year <= 0;
    let shown = if is_before_christ { 1 - year } else { year };
    if shown < 1000 {
        for limit in [1000, 100, 10] {
            if shown < limit {
                into.push(b'0');
            }
        }
    }
    write_number(into, shown);
    into.push(b'-');
    write_two(month, into);
    into.push(b'-');
    write_two(day, into);
    is_before_christ
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, also before its introduction, as PostgreSQL counts.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March end with the leap day, so months have fixed starts; 400 of them have 146,097 days.
    const DAYS_400_YEARS: i64 = 146_097;
    let since = days + 719_468;
    let (era, day_of_era) = (since.div_euclid(DAYS_400_YEARS), since.rem_euclid(DAYS_400_YEARS));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year_of_era, month + 3) } else { (year_of_era + 1, month - 9) };
    (year + era * 400, month, day)
}

fn write_clock(microseconds: i64, into: &mut Vec<u8>) {
    write_two(microseconds / 3_600_000_000, into);
    into.push(b':');
    write_two(microseconds / 60_000_000 % 60, into);
    into.push(b':');
    write_seconds(microseconds % 60_000_000, into);
}

/// Seconds, with as many digits of the fraction as are not trailing zeros.
fn write_seconds(microseconds: i64, into: &mut Vec<u8>) {
    write_two(microseconds / 1_000_000, into);
    let fraction = microseconds % 1_000_000;
    if fraction != 0 {
        into.push(b'.');
        let mut divisor = 100_000;
        let mut rest = fraction;
        while rest != 0 {
            into.push(digit(rest / divisor));
            rest %= divisor;
            divisor /= 10;
        }
    }
}

fn write_two(number: i64, into: &mut Vec<u8>) {
    into.extend_from_slice(&[digit(number / 10), digit(number)]);
}

fn digit(number: i64) -> u8 {
    b'0' + u8::try_from(number.rem_euclid(10)).unwrap_or(0)
}
