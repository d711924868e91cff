//! Counts everything in the answers again, from the dump's bytes alone, the slow and obvious way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use chrono_tz::Tz;
use h3o::{LatLng, Resolution};
use pipeline_demo::{Answers, Options};
use serde_json::json;

use crate::copy_file::{integer, ten_thousandths, text, uuid};
use crate::reading::{Dump, read};
use crate::support::{generate, small};

type Sums = BTreeMap<String, i128>;

fn plain(value: i128, scale: usize) -> String {
    if scale == 0 {
        return value.to_string();
    }
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" })
}

fn check(what: &str, expected: &BTreeMap<String, String>, counted: &Sums, scale: impl Fn(&str) -> usize) {
    let counted: BTreeMap<String, String> = counted.iter().map(|(name, value)| (name.clone(), plain(*value, scale(name)))).collect();
    assert_eq!(expected, &counted, "{what}");
}

fn is_count(name: &str) -> bool {
    [
        "item_count",
        "promotion_count",
        "quantity",
        "orders",
        "completed",
        "cancelled",
        "late_orders",
        "customers",
        "new_customers",
        "stores",
        "cells",
    ]
    .contains(&name)
}

fn money(name: &str) -> usize {
    if is_count(name) { 0 } else { 2 }
}

fn add(sums: &mut Sums, values: &[(&str, i128)]) {
    for (name, value) in values {
        *sums.entry((*name).to_owned()).or_default() += value;
    }
}

/// Succeeded refunds of an order in its currency, by order and currency.
fn refunds(dump: &Dump) -> HashMap<(String, String), i128> {
    let mut refunds = HashMap::new();
    for row in &dump.tables["payments.transactions"] {
        if text(&row[3]).as_deref() == Some("refund") && text(&row[4]).as_deref() == Some("succeeded") {
            let key = (text(&row[1]).unwrap(), text(&row[9]).unwrap());
            *refunds.entry(key).or_default() += i128::from(ten_thousandths(&row[7]) / 100);
        }
    }
    refunds
}

fn verify(directory: &Path, answers: &Answers) {
    let dump = read(directory);
    let figures = &answers.tables["shop.orders"];
    assert_eq!(figures.rows as usize, dump.orders.len());
    assert_eq!(figures.rejected as usize, dump.rejected);
    assert_eq!(dump.documents as u64, figures.rows + figures.rejected + figures.duplicates);
    assert!(figures.duplicates > 0 && figures.rejected > 0);
    verify_tables(&dump, answers);
    verify_marts(&dump, answers);
    let as_of = DateTime::parse_from_rfc3339(&answers.as_of).unwrap().timestamp_millis();
    assert!(dump.orders.iter().all(|order| order.updated < as_of), "everything lies before the as-of");
}

/// A summed column: its name, its place in the tuple, its scale.
type Summed = (&'static str, usize, usize);

fn verify_tables(dump: &Dump, answers: &Answers) {
    let columns: [(&str, &str, &[Summed]); 9] = [
        ("payments.transactions", "platform.transactions", &[("amount", 7, 2), ("fee", 8, 4)]),
        ("delivery.deliveries", "platform.deliveries", &[("distance_m", 9, 0), ("cost", 11, 2)]),
        ("delivery.couriers", "platform.couriers", &[]),
        ("loyalty.accounts", "platform.loyalty_accounts", &[("points_balance", 2, 0)]),
        ("loyalty.ledger", "platform.loyalty_ledger", &[("points", 3, 0)]),
        ("admin.customers", "platform.customers", &[]),
        ("admin.stores", "platform.stores", &[("delivery_radius_m", 8, 0)]),
        ("admin.products", "platform.products", &[("price", 3, 2)]),
        ("admin.promotions", "platform.promotions", &[("value", 2, 2), ("min_basket", 3, 2), ("budget", 6, 2)]),
    ];
    for (source, name, columns) in columns {
        let rows = &dump.tables[source];
        assert_eq!(answers.tables[name].rows, rows.len() as u64, "{name}");
        assert_eq!(answers.tables[name].sums.len(), columns.len(), "{name}");
        for (column, position, scale) in columns {
            let sum: i128 = rows
                .iter()
                .filter(|row| row[*position].is_some())
                .map(|row| match scale {
                    0 => i128::from(integer(&row[*position])),
                    scale => i128::from(ten_thousandths(&row[*position])) / 10_i128.pow(4 - *scale as u32),
                })
                .sum();
            assert_eq!(answers.tables[name].sums[*column], plain(sum, *scale), "{name}.{column}");
        }
    }
    // A balance is the sum of its entries.
    let mut balances: HashMap<String, i64> = HashMap::new();
    for row in &dump.tables["loyalty.ledger"] {
        *balances.entry(uuid(&row[1]).unwrap()).or_default() += integer(&row[3]);
    }
    for row in &dump.tables["loyalty.accounts"] {
        assert_eq!(balances.get(&uuid(&row[0]).unwrap()).copied().unwrap_or(0), integer(&row[2]));
    }
}

#[derive(Default)]
struct Group {
    sums: Sums,
    customers: BTreeSet<String>,
    stores: BTreeSet<i64>,
    cells: BTreeSet<String>,
}

fn verify_marts(dump: &Dump, answers: &Answers) {
    let zones: HashMap<i64, Tz> =
        dump.tables["admin.stores"].iter().map(|row| (integer(&row[0]), text(&row[5]).unwrap().parse().unwrap())).collect();
    let refunds = refunds(dump);
    let (mut sums, mut items) = (Sums::new(), Sums::new());
    let mut seen = BTreeSet::new();
    let mut cells: BTreeMap<(String, u8, String, String), Group> = BTreeMap::new();
    let mut by_store: BTreeMap<(String, i64, String), Group> = BTreeMap::new();
    let mut lines = 0;
    for order in &dump.orders {
        let refunded = refunds.get(&(order.id.clone(), order.currency.clone())).copied().unwrap_or(0);
        let [subtotal, discount, delivery_fee, service_fee, tip, tax, total] = order.totals;
        let revenue = if order.completed() { total - tip - refunded } else { 0 };
        let quantity = order.items.iter().map(|item| item[0]).sum();
        add(
            &mut sums,
            &[
                ("item_count", quantity),
                ("subtotal", subtotal),
                ("discount", discount),
                ("delivery_fee", delivery_fee),
                ("service_fee", service_fee),
                ("tip", tip),
                ("tax", tax),
                ("total", total),
                ("refunded", refunded),
                ("revenue", revenue),
                ("promotion_count", order.promotions as i128),
            ],
        );
        for [quantity, unit_price, modifiers, discount] in &order.items {
            lines += 1;
            let line_total = quantity * (unit_price + modifiers) - discount;
            add(
                &mut items,
                &[
                    ("quantity", *quantity),
                    ("unit_price", *unit_price),
                    ("modifiers_amount", *modifiers),
                    ("discount", *discount),
                    ("line_total", line_total),
                ],
            );
        }
        let is_new = order.completed() && order.customer.as_ref().is_some_and(|customer| seen.insert(customer.clone()));
        let local = order.placed.with_timezone(&zones[&order.store]).naive_local();
        let date = (local - TimeDelta::hours(4)).date().to_string();
        let counts = [
            ("orders", 1),
            ("completed", order.completed().into()),
            ("cancelled", order.cancelled().into()),
            ("late_orders", order.late().into()),
            ("revenue", revenue),
        ];
        let store = by_store.entry((date.clone(), order.store, order.currency.clone())).or_default();
        add(&mut store.sums, &counts);
        let Some((latitude, longitude)) = order.place.filter(|_| order.fulfilment == "delivery") else {
            continue;
        };
        let finest = LatLng::new(latitude, longitude).unwrap().to_cell(Resolution::Nine);
        store.cells.insert(finest.parent(Resolution::Eight).unwrap().to_string());
        for resolution in [Resolution::Seven, Resolution::Eight, Resolution::Nine] {
            let cell = finest.parent(resolution).unwrap().to_string();
            let group = cells.entry((date.clone(), resolution.into(), cell, order.currency.clone())).or_default();
            add(&mut group.sums, &counts);
            add(&mut group.sums, &[("new_customers", is_new.into())]);
            group.customers.extend(order.customer.clone());
            group.stores.insert(order.store);
        }
    }
    let marts = &answers.marts;
    assert_eq!(marts["orders"].rows as usize, dump.orders.len());
    check("orders", &marts["orders"].sums, &sums, money);
    assert_eq!(marts["order_items"].rows, lines);
    check("order_items", &marts["order_items"].sums, &items, money);

    let mut sums = Sums::new();
    let mut keys = Vec::new();
    for ((date, resolution, cell, currency), group) in &cells {
        for (name, value) in &group.sums {
            add(&mut sums, &[(name.as_str(), *value)]);
        }
        add(&mut sums, &[("customers", group.customers.len() as i128), ("stores", group.stores.len() as i128)]);
        keys.push(json!([date, resolution, cell, currency, group.sums["orders"] as u64]));
    }
    assert_eq!(marts["coverage_orders"].rows as usize, cells.len());
    check("coverage_orders", &marts["coverage_orders"].sums, &sums, money);
    assert_eq!(marts["coverage_orders"].keys, Some(keys));

    let mut sums = Sums::new();
    let mut keys = Vec::new();
    for ((date, store, currency), group) in &by_store {
        for (name, value) in &group.sums {
            add(&mut sums, &[(name.as_str(), *value)]);
        }
        let (revenue, completed) = (group.sums["revenue"], group.sums["completed"]);
        // Half away from zero, in whole numbers: floor(|r| / c + 1/2) with the sign put back.
        let average = if completed == 0 { 0 } else { revenue.signum() * ((2 * revenue.abs() + completed) / (2 * completed)) };
        add(&mut sums, &[("average_order_value", average), ("cells", group.cells.len() as i128)]);
        keys.push(json!([date, store, currency, group.sums["orders"] as u64]));
    }
    assert_eq!(marts["coverage_stores"].rows as usize, by_store.len());
    check("coverage_stores", &marts["coverage_stores"].sums, &sums, money);
    assert_eq!(marts["coverage_stores"].keys, Some(keys));
    verify_birthdays(dump, answers);
}

fn verify_birthdays(dump: &Dump, answers: &Answers) {
    let as_of = DateTime::parse_from_rfc3339(&answers.as_of).unwrap().to_utc();
    let lately: BTreeSet<&String> = dump
        .orders
        .iter()
        .filter(|order| order.completed() && order.placed > as_of - TimeDelta::days(365) && order.placed <= as_of)
        .filter_map(|order| order.customer.as_ref())
        .collect();
    let mut ids = Vec::new();
    let mut ages = 0;
    for row in &dump.tables["admin.customers"] {
        let id = uuid(&row[0]).unwrap();
        let Some(days) = row[5].as_ref().map(|_| integer(&row[5])) else {
            continue;
        };
        let birth = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap() + TimeDelta::days(days);
        let zone: Tz = text(&row[7]).map_or(chrono_tz::UTC, |zone| zone.parse().unwrap());
        let today = as_of.with_timezone(&zone).date_naive();
        let opted_in = row[8] == Some(vec![1]);
        if !opted_in || row[12].is_some() || !lately.contains(&id) {
            continue;
        }
        for ahead in 0..=7 {
            let day = today + TimeDelta::days(ahead);
            let leap = (birth.month(), birth.day()) == (2, 29) && (day.month(), day.day()) == (2, 28) && !day.leap_year();
            let is_birthday = leap || (birth.month(), birth.day()) == (day.month(), day.day());
            if is_birthday && day.year() - birth.year() >= 16 {
                ids.push(id.clone());
                ages += day.year() - birth.year();
            }
        }
    }
    ids.sort();
    let figures = &answers.marts["segment_birthdays"];
    assert_eq!(figures.rows as usize, ids.len());
    assert_eq!(figures.sums["age_turned"], ages.to_string());
    assert_eq!(figures.keys, Some(ids.into_iter().map(serde_json::Value::from).collect()));
}

#[test]
fn answers_agree_with_a_recount() {
    let directory = tempfile::tempdir().unwrap();
    let answers = generate(&small(), directory.path());
    verify(directory.path(), &answers);
    assert!(answers.marts["segment_birthdays"].rows >= 5);
}

#[test]
fn answers_agree_after_changes() {
    let directory = tempfile::tempdir().unwrap();
    let before = generate(&small(), directory.path());
    let options = Options { change_share: 0.02, replace: true, ..small() };
    let after = generate(&options, directory.path());
    verify(directory.path(), &after);
    assert!(after.as_of > before.as_of);
    assert_ne!(before.marts["orders"].sums["revenue"], after.marts["orders"].sums["revenue"]);
    assert!(after.tables["platform.transactions"].rows > before.tables["platform.transactions"].rows);
}

#[test]
fn answers_agree_over_both_changes_of_the_clocks_and_a_leap_day() {
    let directory = tempfile::tempdir().unwrap();
    let until = NaiveDate::from_ymd_opt(2027, 2, 25).unwrap();
    let options = Options { customers: 900, days: 400, orders: Some(3_000), until, ..small() };
    let answers = generate(&options, directory.path());
    verify(directory.path(), &answers);
    // 28 February 2027 lies within seven days of the as-of: somebody born on the 29th is among them.
    let leap = read(directory.path()).tables["admin.customers"]
        .iter()
        .filter(|row| row[5].is_some() && answers.marts["segment_birthdays"].keys.as_ref().unwrap().contains(&json!(uuid(&row[0]))))
        .any(|row| {
            let birth = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap() + TimeDelta::days(integer(&row[5]));
            (birth.month(), birth.day()) == (2, 29)
        });
    assert!(leap);
}
