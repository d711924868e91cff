//! Business dates and the instants that lie in them.
//!
//! A business date begins at 04:00 of the store's wall clock and ends at 04:00 of the next date's, so on the days when the clocks change
//! it has 23 or 25 hours.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// Milliseconds in a minute, an hour and a day.
pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// 04:00, when a business date begins.
const DAY_STARTS_AT: NaiveTime = match NaiveTime::from_hms_opt(4, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// The instant up to which the base data set goes, in milliseconds since 1970: 06:00 UTC on the day after the last business date.
pub(crate) fn as_of_ms(until: NaiveDate) -> i64 {
    let morning = NaiveTime::from_hms_opt(6, 0, 0).expect("the time exists");
    next(until).and_time(morning).and_utc().timestamp_millis()
}

/// The date after this one.
pub(crate) fn next(date: NaiveDate) -> NaiveDate {
    plus(date, 1)
}

/// A date some days later.
pub(crate) fn plus(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_add_days(Days::new(days)).expect("options keep dates between 2000 and 2100")
}

/// A date some days earlier.
pub(crate) fn minus(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_sub_days(Days::new(days)).expect("options keep dates between 2000 and 2100")
}

/// 00:00 UTC of a date, in milliseconds since 1970.
pub(crate) fn midnight_ms(date: NaiveDate) -> i64 {
    date.and_time(NaiveTime::MIN).and_utc().timestamp_millis()
}

/// The date an instant has on the wall clocks of a time zone.
pub(crate) fn local_date(instant_ms: i64, zone: Tz) -> NaiveDate {
    instant(instant_ms).with_timezone(&zone).date_naive()
}

/// An instant as RFC 3339 text in UTC with milliseconds.
pub(crate) fn text(instant_ms: i64) -> String {
    instant(instant_ms).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

fn instant(instant_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(instant_ms).expect("options keep dates between 2000 and 2100")
}

/// Turns wall-clock times of one business date in one time zone into instants.
#[derive(Debug)]
pub(crate) struct BusinessDay {
    zone: Tz,
    start: NaiveDateTime,
    /// The zone's distance from UTC, if it is the same all day: the common case, which needs no search in the zone's table.
    offset_ms: Option<i64>,
}

impl BusinessDay {
    pub(crate) fn new(date: NaiveDate, zone: Tz) -> Self {
        let start = date.and_time(DAY_STARTS_AT);
        let offset_ms = |at: NaiveDateTime| {
            let offset = zone.offset_from_local_datetime(&at).earliest()?;
            Some(i64::from(offset.fix().local_minus_utc()) * 1_000)
        };
        let first = offset_ms(start);
        let last = offset_ms(start + TimeDelta::days(1));
        Self { zone, start, offset_ms: if first == last { first } else { None } }
    }

    /// The instant when the wall clock shows 04:00 plus `after_ms` (0 to 24 hours). A time that comes twice is its `later` occurrence if so
    /// asked; one that is skipped is the time an hour on.
    pub(crate) fn instant_ms(&self, after_ms: i64, later: bool) -> i64 {
        let local = self.start + TimeDelta::milliseconds(after_ms);
        if let Some(offset_ms) = self.offset_ms {
            return local.and_utc().timestamp_millis() - offset_ms;
        }
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) => at.timestamp_millis(),
            LocalResult::Ambiguous(first, second) => if later { second } else { first }.timestamp_millis(),
            LocalResult::None => {
                let moved = self.zone.from_local_datetime(&(local + TimeDelta::hours(1))).earliest();
                moved.map_or_else(|| local.and_utc().timestamp_millis(), |at| at.timestamp_millis())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    /// The business date of an instant, the way a reader would find it: the wall clock less four hours.
    fn business_date(instant_ms: i64, zone: Tz) -> NaiveDate {
        let local = instant(instant_ms).with_timezone(&zone).naive_local();
        (local - TimeDelta::hours(4)).date()
    }

    #[test]
    fn every_instant_lies_in_its_business_date() {
        let zones = [chrono_tz::Europe::Warsaw, chrono_tz::America::New_York, chrono_tz::Europe::London];
        let dates = [date(2025, 3, 8), date(2025, 3, 29), date(2025, 3, 30), date(2025, 10, 25), date(2025, 11, 1), date(2025, 11, 3)];
        for zone in zones {
            for date in dates {
                let day = BusinessDay::new(date, zone);
                for minute in 0..24 * 60 {
                    for later in [false, true] {
                        let at = day.instant_ms(minute * MINUTE_MS, later);
                        assert_eq!(business_date(at, zone), date, "{zone} {date} minute {minute}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_repeated_hour_has_two_instants() {
        let day = BusinessDay::new(date(2025, 10, 25), chrono_tz::Europe::Warsaw);
        let half_past_two = 22 * HOUR_MS + 30 * MINUTE_MS;
        assert_eq!(day.instant_ms(half_past_two, true) - day.instant_ms(half_past_two, false), HOUR_MS);
    }

    #[test]
    fn as_of_is_the_morning_after() {
        assert_eq!(text(as_of_ms(date(2025, 11, 3))), "2025-11-04T06:00:00.000Z");
    }
}
