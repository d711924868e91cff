//! Dates as people count them: in a time zone, from a given time of day, by birthdays.
//!
//! Time zones are IANA names. An unknown one is an error that does not quote it; SQL that must live with unknown names says
//! `coalesce(known_time_zone(zone), 'UTC')`. Instants beyond the calendar's years (±262,000) give NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::{Description, FunctionError, function, instant};

/// The functions of this subject.
pub const DESCRIPTIONS: &[Description] = &[
    Description {
        name: "business_date",
        signature: "business_date(instant timestamp, time_zone text, starts_at text) -> date",
        meaning: "The local date of the instant when days begin at starts_at (such as 04:00): the wall clock's time less that of \
                  starts_at. Changes to and from summer time do not move the limit on the wall clock.",
    },
    Description {
        name: "local_date",
        signature: "local_date(instant timestamp, time_zone text) -> date",
        meaning: "The date on the wall clock of that time zone.",
    },
    Description {
        name: "local_hour",
        signature: "local_hour(instant timestamp, time_zone text) -> bigint",
        meaning: "The hour, 0 to 23, on the wall clock of that time zone.",
    },
    Description {
        name: "known_time_zone",
        signature: "known_time_zone(time_zone text) -> text",
        meaning: "The same name if the IANA database knows it, else NULL.",
    },
    Description {
        name: "next_birthday",
        signature: "next_birthday(birth_date date, today date, leap_day text) -> date",
        meaning: "The first birthday on or after today. Whoever was born on 29 February has it, in years without one, on 28 February \
                  (leap_day feb28) or 1 March (mar1).",
    },
    Description {
        name: "plus_days",
        signature: "plus_days(date date, days bigint) -> date",
        meaning: "The date so many days later, or earlier if negative; NULL beyond the calendar's years.",
    },
    Description {
        name: "minutes_between",
        signature: "minutes_between(from timestamp, to timestamp) -> double",
        meaning: "The minutes from one instant to another; negative if the other is earlier.",
    },
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    use DataType::{Date32, Float64, Int64, Utf8};
    vec![
        function("business_date", vec![instant(), Utf8, Utf8], Date32, |columns| {
            let starts = columns[2].as_string::<i32>();
            let mut last: Option<(&str, TimeDelta)> = None;
            let dates = local("business_date", columns, |row, local| {
                if starts.is_null(row) {
                    return Ok(None);
                }
                let text = starts.value(row);
                let shift = match last.filter(|(known, _)| *known == text) {
                    Some((_, shift)) => shift,
                    None => {
                        let time = NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| FunctionError::TimeOfDay)?;
                        let shift = time - NaiveTime::MIN;
                        last = Some((text, shift));
                        shift
                    }
                };
                Ok(local.checked_sub_signed(shift).map(|local| days_of(local.date())))
            })?;
            Ok(Arc::new(dates.into_iter().collect::<Date32Array>()) as ArrayRef)
        }),
        function("local_date", vec![instant(), Utf8], Date32, |columns| {
            let dates = local("local_date", columns, |_, local| Ok(Some(days_of(local.date()))))?;
            Ok(Arc::new(dates.into_iter().collect::<Date32Array>()) as ArrayRef)
        }),
        function("local_hour", vec![instant(), Utf8], Int64, |columns| {
            let hours = local("local_hour", columns, |_, local| Ok(Some(i64::from(local.hour()))))?;
            Ok(Arc::new(hours.into_iter().collect::<Int64Array>()) as ArrayRef)
        }),
        function("known_time_zone", vec![Utf8], Utf8, |columns| Ok(known_time_zones(columns[0].as_string()))),
        function("next_birthday", vec![Date32, Date32, Utf8], Date32, |columns| {
            next_birthdays(columns[0].as_primitive(), columns[1].as_primitive(), columns[2].as_string())
        }),
        function("plus_days", vec![Date32, Int64], Date32, |columns| {
            let (dates, days) = (columns[0].as_primitive::<Date32Type>(), columns[1].as_primitive::<Int64Type>());
            let later = dates.iter().zip(days.iter()).map(|pair| match pair {
                (Some(date), Some(days)) => i64::from(date).checked_add(days).and_then(|date| i32::try_from(date).ok()),
                _ => None,
            });
            Ok(Arc::new(later.collect::<Date32Array>()) as ArrayRef)
        }),
        function("minutes_between", vec![instant(), instant()], Float64, |columns| {
            let (from, to) = (columns[0].as_primitive::<TimestampMicrosecondType>(), columns[1].as_primitive::<TimestampMicrosecondType>());
            let minutes = from.iter().zip(to.iter()).map(|pair| match pair {
                (Some(from), Some(to)) => to.checked_sub(from).map(|microseconds| microseconds as f64 / 60e6),
                _ => None,
            });
            Ok(Arc::new(minutes.collect::<Float64Array>()) as ArrayRef)
        }),
    ]
}

/// Time zones by name; a batch has few, and neighbouring rows often share one.
#[derive(Default)]
struct Zones<'a> {
    seen: Vec<(&'a str, Option<Tz>)>,
    last: usize,
}

impl<'a> Zones<'a> {
    fn get(&mut self, name: &'a str) -> Option<Tz> {
        if self.seen.get(self.last).is_none_or(|(known, _)| *known != name) {
            self.last = match self.seen.iter().position(|(known, _)| *known == name) {
                Some(position) => position,
                None => {
                    self.seen.push((name, name.parse().ok()));
                    self.seen.len() - 1
                }
            };
        }
        self.seen[self.last].1
    }
}

/// Calls `of` with the wall clock's date and time of each row that has an instant and a zone.
fn local<T>(
    function: &'static str,
    columns: &[ArrayRef],
    mut of: impl FnMut(usize, NaiveDateTime) -> Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    let instants = columns[0].as_primitive::<TimestampMicrosecondType>();
    let names = columns[1].as_string::<i32>();
    let mut zones = Zones::default();
    let mut values = Vec::with_capacity(instants.len());
    for row in 0..instants.len() {
        if instants.is_null(row) || names.is_null(row) {
            values.push(None);
            continue;
        }
        let zone = zones.get(names.value(row)).ok_or(FunctionError::TimeZone { function })?;
        values.push(match DateTime::from_timestamp_micros(instants.value(row)) {
            Some(instant) => of(row, instant.with_timezone(&zone).naive_local())?,
            None => None,
        });
    }
    Ok(values)
}

fn days_of(date: NaiveDate) -> i32 {
    Date32Type::from_naive_date(date)
}

fn known_time_zones(names: &StringArray) -> ArrayRef {
    let mut zones = Zones::default();
    let mut builder = StringBuilder::with_capacity(names.len(), names.value_data().len());
    for name in names {
        builder.append_option(name.filter(|name| zones.get(name).is_some()));
    }
    Arc::new(builder.finish())
}

#[derive(Clone, Copy)]
enum LeapDay {
    February28,
    March1,
}

fn next_birthdays(births: &Date32Array, todays: &Date32Array, rules: &StringArray) -> Result<ArrayRef> {
    let mut birthdays = Vec::with_capacity(births.len());
    for row in 0..births.len() {
        if births.is_null(row) || todays.is_null(row) || rules.is_null(row) {
            birthdays.push(None);
            continue;
        }
        let leap_day = match rules.value(row) {
            "feb28" => LeapDay::February28,
            "mar1" => LeapDay::March1,
            _ => return Err(FunctionError::LeapDay.into()),
        };
        let dates = births.value_as_date(row).zip(todays.value_as_date(row));
        birthdays.push(dates.and_then(|(birth, today)| next_birthday(birth, today, leap_day)).map(days_of));
    }
    Ok(Arc::new(Date32Array::from(birthdays)))
}

/// None only beyond the calendar's last year.
fn next_birthday(birth: NaiveDate, today: NaiveDate, leap_day: LeapDay) -> Option<NaiveDate> {
    let birthday_in = |year: i32| match birth.with_year(year) {
        Some(birthday) => Some(birthday),
        None => {
            let last_of_february = NaiveDate::from_ymd_opt(year, 2, 28)?;
            match leap_day {
                LeapDay::February28 => Some(last_of_february),
                LeapDay::March1 => last_of_february.checked_add_days(Days::new(1)),
            }
        }
    };
    let this_year = birthday_in(today.year())?;
    if this_year >= today { Some(this_year) } else { birthday_in(today.checked_add_months(Months::new(12))?.year()) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, refuses, value};

    fn business_date(instant: &str, zone: &str) -> String {
        format!("business_date(arrow_cast('{instant}', 'Timestamp(Microsecond, Some(\"UTC\"))'), '{zone}', '04:00')")
    }

    fn instant(text: &str) -> String {
        format!("arrow_cast('{text}', 'Timestamp(Microsecond, Some(\"UTC\"))')")
    }

    #[tokio::test]
    async fn a_business_day_begins_at_four_on_the_wall_clock() {
        for (at, zone, date) in [
            ("2025-06-15T01:59:59.999999Z", "Europe/Warsaw", "2025-06-14"),
            ("2025-06-15T02:00:00Z", "Europe/Warsaw", "2025-06-15"),
            ("2025-01-01T02:59:59Z", "Europe/Warsaw", "2024-12-31"),
            ("2025-01-01T03:00:00Z", "Europe/Warsaw", "2025-01-01"),
            ("2025-01-01T03:59:59Z", "UTC", "2024-12-31"),
            ("2025-03-01T08:30:00Z", "America/New_York", "2025-02-28"),
            // The night summer time begins: 02:00 becomes 03:00, and 04:00 is 02:00 UTC.
            ("2025-03-30T01:59:59Z", "Europe/Warsaw", "2025-03-29"),
            ("2025-03-30T02:00:00Z", "Europe/Warsaw", "2025-03-30"),
            // The night it ends: 03:00 becomes 02:00, and 04:00 is 03:00 UTC.
            ("2025-10-26T02:59:59Z", "Europe/Warsaw", "2025-10-25"),
            ("2025-10-26T03:00:00Z", "Europe/Warsaw", "2025-10-26"),
            ("2025-03-09T07:59:59Z", "America/New_York", "2025-03-08"),
            ("2025-03-09T08:00:00Z", "America/New_York", "2025-03-09"),
        ] {
            check(&business_date(at, zone), date).await;
        }
    }

    #[tokio::test]
    async fn an_unknown_zone_is_refused_without_being_quoted() {
        let error = value(&business_date("2025-06-15T00:00:00Z", "Mars/Olympus")).await.unwrap_err();
        assert!(error.contains("\"business_date\"") && !error.contains("Olympus"), "{error}");
        check("known_time_zone('Mars/Olympus')", "NULL").await;
        check("known_time_zone('Europe/Prague')", "Europe/Prague").await;
        check("known_time_zone(NULL)", "NULL").await;
        let at = instant("2025-06-15T00:00:00Z");
        refuses(&format!("business_date({at}, 'UTC', 'four')"), "04:00").await;
        check(&format!("business_date({at}, NULL, '04:00')"), "NULL").await;
        check("business_date(NULL, 'UTC', '04:00')", "NULL").await;
    }

    #[tokio::test]
    async fn local_dates_and_hours() {
        let at = instant("2025-12-31T23:30:00Z");
        check(&format!("local_date({at}, 'Europe/Lisbon')"), "2025-12-31").await;
        check(&format!("local_date({at}, 'Europe/Berlin')"), "2026-01-01").await;
        check(&format!("local_hour({at}, 'Europe/Berlin')"), "0").await;
        check(&format!("local_hour({at}, 'America/New_York')"), "18").await;
    }

    #[tokio::test]
    async fn birthdays_come_next() {
        for (birth, today, leap_day, birthday) in [
            ("1990-11-04", "2025-11-04", "feb28", "2025-11-04"),
            ("1990-11-03", "2025-11-04", "feb28", "2026-11-03"),
            ("1990-01-02", "2025-12-30", "feb28", "2026-01-02"),
            ("2000-02-29", "2025-02-28", "feb28", "2025-02-28"),
            ("2000-02-29", "2025-02-28", "mar1", "2025-03-01"),
            ("2000-02-29", "2025-03-01", "feb28", "2026-02-28"),
            ("2000-02-29", "2025-03-01", "mar1", "2025-03-01"),
            ("2000-02-29", "2024-02-28", "feb28", "2024-02-29"),
            ("2000-02-29", "2024-02-29", "mar1", "2024-02-29"),
            ("2000-02-29", "2100-02-27", "feb28", "2100-02-28"),
            ("1990-12-31", "2024-02-29", "feb28", "2024-12-31"),
            ("1990-02-28", "2024-02-29", "feb28", "2025-02-28"),
        ] {
            check(&format!("next_birthday('{birth}'::date, '{today}'::date, '{leap_day}')"), birthday).await;
        }
        check("next_birthday(NULL, '2025-01-01'::date, 'feb28')", "NULL").await;
        refuses("next_birthday('2000-02-29'::date, '2025-01-01'::date, 'never')", "feb28 or mar1").await;
    }

    #[tokio::test]
    async fn days_are_counted_over_months_and_years() {
        check("plus_days('2024-02-28'::date, 2)", "2024-03-01").await;
        check("plus_days('2026-01-01'::date, -1)", "2025-12-31").await;
        check("plus_days(NULL, 1)", "NULL").await;
        check("plus_days('2024-02-28'::date, 9223372036854775807)", "NULL").await;
    }

    #[tokio::test]
    async fn minutes_are_exact_to_the_microsecond() {
        let (from, to) = (instant("2025-06-15T10:00:00Z"), instant("2025-06-15T10:30:00.000030Z"));
        check(&format!("minutes_between({from}, {to})"), "30.0000005").await;
        check(&format!("minutes_between({to}, {from})"), "-30.0000005").await;
        check(&format!("minutes_between({from}, NULL)"), "NULL").await;
    }
}
