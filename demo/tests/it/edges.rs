//! What was seeded on purpose is there: each defect, and each edge of the birthday segment.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use chrono_tz::Tz;
use pipeline_demo::Options;
use serde_json::json;

use crate::copy_file::{integer, ten_thousandths, text, uuid};
use crate::reading::{Order, read};
use crate::support::{generate, small};

#[test]
fn every_seeded_defect_can_be_found() {
    let directory = tempfile::tempdir().unwrap();
    let answers = generate(&small(), directory.path());
    let dump = read(directory.path());
    let read_orders: HashMap<&str, &Order> = dump.orders.iter().map(|order| (order.id.as_str(), order)).collect();
    let captures = |id: &str| -> Vec<i64> {
        dump.tables["payments.transactions"]
            .iter()
            .filter(|row| text(&row[1]).as_deref() == Some(id) && text(&row[3]).as_deref() == Some("capture"))
            .map(|row| ten_thousandths(&row[7]) / 100)
            .collect()
    };
    for defect in &answers.defects {
        let order = read_orders.get(defect.key.as_str());
        let is_read = order.is_some();
        let expected = !defect.expect.starts_with("quarantined") && defect.kind != "capture_without_order";
        assert_eq!(is_read, expected, "{}", defect.kind);
        let total = order.map_or(0, |order| order.totals[6] as i64);
        match defect.kind.as_str() {
            "capture_without_order" => assert_eq!(captures(&defect.key).len(), 1),
            "order_without_capture" => assert!(captures(&defect.key).is_empty()),
            "double_capture" => assert_eq!(captures(&defect.key), [total, total]),
            "amount_mismatch" => assert_eq!(captures(&defect.key), [total - 1]),
            "delivered_at_null" | "delivered_at_missing" => {
                assert_eq!(order.unwrap().delivered, None)
            }
            _ => {}
        }
    }
    assert!(answers.defect_counts.len() >= 28, "{:?}", answers.defect_counts);
}

/// What keeps a customer of the fixture out of the birthday segment, when it is one thing only.
#[test]
fn the_fixture_has_every_edge_of_the_birthday_segment() {
    let directory = tempfile::tempdir().unwrap();
    let answers = generate(&Options { customers: 400, stores: 14, days: 45, seed: 1, ..Options::default() }, directory.path());
    let dump = read(directory.path());
    let as_of = DateTime::parse_from_rfc3339(&answers.as_of).unwrap().to_utc();
    let ordered: BTreeSet<&String> =
        dump.orders.iter().filter(|order| order.completed()).filter_map(|order| order.customer.as_ref()).collect();
    let keys = answers.marts["segment_birthdays"].keys.as_ref().unwrap();
    let mut found: BTreeSet<String> = BTreeSet::new();
    for row in &dump.tables["admin.customers"] {
        let id = uuid(&row[0]).unwrap();
        let Some(days) = row[5].as_ref().map(|_| integer(&row[5])) else {
            continue;
        };
        let birth = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap() + TimeDelta::days(days);
        let zone = text(&row[7]);
        let parsed: Tz = zone.as_ref().map_or(chrono_tz::UTC, |zone| zone.parse().unwrap());
        let today = as_of.with_timezone(&parsed).date_naive();
        let Some(birthday) = birth.with_year(today.year()) else {
            continue;
        };
        let ahead = (birthday - today).num_days();
        let mut reasons = Vec::new();
        let checks = [
            (row[8] != Some(vec![1]), "no consent"),
            (row[12].is_some(), "deleted"),
            (today.year() - birth.year() < 16, "under age"),
            (!ordered.contains(&id), "no order"),
            (!(0..=7).contains(&ahead), "outside"),
        ];
        reasons.extend(checks.iter().filter(|(out, _)| *out).map(|(_, reason)| *reason));
        assert_eq!(reasons.is_empty(), keys.contains(&json!(id)));
        match reasons.as_slice() {
            [] if ahead == 0 => found.insert("today".to_owned()),
            [] if ahead == 7 => found.insert("last day".to_owned()),
            [] if zone.is_none() => found.insert("no time zone".to_owned()),
            [] if today.year() - birth.year() == 16 => found.insert("just sixteen".to_owned()),
            ["outside"] => found.insert(format!("outside {}", ahead.clamp(-2, 9))),
            [reason] => found.insert((*reason).to_owned()),
            _ => false,
        };
        if zone.as_deref() == Some("Pacific/Honolulu") && reasons.is_empty() {
            found.insert("still yesterday".to_owned());
        }
    }
    for edge in [
        "today",
        "last day",
        "no time zone",
        "just sixteen",
        "outside -1",
        "outside 8",
        "no consent",
        "deleted",
        "under age",
        "no order",
        "still yesterday",
    ] {
        assert!(found.contains(edge), "{edge}: {found:?}");
    }
}
