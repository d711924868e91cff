//! The marts' figures, counted from the generated facts while they pass by.
//!
//! What has a business date in its key is closed city by city and date by date, because no cell and no store belongs to two cities.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{Datelike, NaiveDate};
use h3o::{CellIndex, LatLng, Resolution};
use serde_json::{Value, json};

use crate::answers::Figures;
use crate::calendar::{self, DAY_MS};
use crate::customer::{Customer, with_year};
use crate::order::{Fulfilment, Order};
use crate::payment::{Delivery, Transaction};
use crate::store::Store;
use crate::tally::{Bitmap, Sheet, divide};
use crate::world::World;

/// Rows up to which keys are listed.
const KEYS_MAX: usize = 200_000;

/// The models' parameters.
const HORIZON_DAYS: u64 = 7;
const MINIMUM_AGE: i32 = 16;

const ORDERS: &[(&str, u8)] = &[
    ("item_count", 0),
    ("subtotal", 2),
    ("discount", 2),
    ("delivery_fee", 2),
    ("service_fee", 2),
    ("tip", 2),
    ("tax", 2),
    ("total", 2),
    ("refunded", 2),
    ("revenue", 2),
    ("promotion_count", 0),
];
const ORDER_ITEMS: &[(&str, u8)] = &[("quantity", 0), ("unit_price", 2), ("modifiers_amount", 2), ("discount", 2), ("line_total", 2)];
const PAYMENTS: &[(&str, u8)] = &[("amount", 2), ("fee", 4)];
const DELIVERIES: &[(&str, u8)] = &[("distance_m", 0), ("cost", 2)];
const CUSTOMERS: &[(&str, u8)] = &[("points_balance", 0)];
const STORES: &[(&str, u8)] = &[("delivery_radius_m", 0)];
const COVERAGE_ORDERS: &[(&str, u8)] = &[
    ("orders", 0),
    ("completed", 0),
    ("cancelled", 0),
    ("late_orders", 0),
    ("revenue", 2),
    ("customers", 0),
    ("new_customers", 0),
    ("stores", 0),
];
const COVERAGE_STORES: &[(&str, u8)] =
    &[("orders", 0), ("completed", 0), ("cancelled", 0), ("late_orders", 0), ("revenue", 2), ("average_order_value", 2), ("cells", 0)];
const SEGMENT_BIRTHDAYS: &[(&str, u8)] = &[("age_turned", 0)];

/// Counts of orders.
#[derive(Debug, Default)]
struct Counts {
    orders: i64,
    completed: i64,
    cancelled: i64,
    late: i64,
    revenue: i64,
    new_customers: i64,
    customers: HashSet<u64>,
    stores: HashSet<usize>,
    cells: HashSet<CellIndex>,
}

impl Counts {
    fn add(&mut self, order: &Order, is_new: bool) {
        self.orders += 1;
        self.completed += i64::from(order.status.is_completed());
        self.cancelled += i64::from(order.status.is_cancelled());
        self.late += i64::from(order.is_late());
        self.revenue += order.revenue();
        self.new_customers += i64::from(is_new);
        self.customers.extend(order.customer);
        self.stores.insert(order.store);
    }
}

/// Keys of rows, until they are too many.
#[derive(Debug, Default)]
struct Keys {
    rows: Vec<Value>,
    over: bool,
}

impl Keys {
    fn push(&mut self, row: Value) {
        if self.rows.len() >= KEYS_MAX {
            self.over = true;
            self.rows = Vec::new();
        }
        if !self.over {
            self.rows.push(row);
        }
    }

    /// The keys in order: by their columns from left to right.
    fn finish(mut self) -> Option<Vec<Value>> {
        fn sort_key(row: &Value) -> Vec<(u64, String)> {
            let cell = |value: &Value| (value.as_u64().unwrap_or(0), value.as_str().unwrap_or("").to_owned());
            row.as_array().map_or_else(|| vec![cell(row)], |columns| columns.iter().map(cell).collect())
        }
        self.rows.sort_by_cached_key(sort_key);
        (!self.over).then_some(self.rows)
    }
}

/// Figures of all marts so far.
#[derive(Debug)]
pub(crate) struct Marts {
    orders: Sheet,
    order_items: Sheet,
    payments: Sheet,
    deliveries: Sheet,
    customers: Sheet,
    stores: Sheet,
    coverage_orders: Sheet,
    coverage_stores: Sheet,
    segment_birthdays: Sheet,
    coverage_orders_keys: Keys,
    coverage_stores_keys: Keys,
    birthdays: Vec<String>,
    /// Who has completed an order.
    completed_ever: Bitmap,
    /// Who has in the 365 days up to the as-of.
    completed_lately: Bitmap,
    /// The open city and date.
    cells: HashMap<(CellIndex, &'static str), Counts>,
    by_store: HashMap<(usize, &'static str), Counts>,
}

impl Marts {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            orders: Sheet::new(ORDERS),
            order_items: Sheet::new(ORDER_ITEMS),
            payments: Sheet::new(PAYMENTS),
            deliveries: Sheet::new(DELIVERIES),
            customers: Sheet::new(CUSTOMERS),
            stores: Sheet::new(STORES),
            coverage_orders: Sheet::new(COVERAGE_ORDERS),
            coverage_stores: Sheet::new(COVERAGE_STORES),
            segment_birthdays: Sheet::new(SEGMENT_BIRTHDAYS),
            coverage_orders_keys: Keys::default(),
            coverage_stores_keys: Keys::default(),
            birthdays: Vec::new(),
            completed_ever: Bitmap::new(world.options.customers),
            completed_lately: Bitmap::new(world.options.customers),
            cells: HashMap::new(),
            by_store: HashMap::new(),
        }
    }

    /// Counts an order. Orders of one customer must come by the time they were placed, then by id.
    pub(crate) fn order(&mut self, world: &World, order: &Order) {
        let mut is_new = false;
        if let Some(customer) = order.customer.filter(|_| order.status.is_completed()) {
            is_new = !self.completed_ever.set(customer);
            let as_of_ms = world.as_of_ms();
            if order.placed_ms > as_of_ms - 365 * DAY_MS && order.placed_ms <= as_of_ms {
                self.completed_lately.set(customer);
            }
        }
        let totals = &order.totals;
        self.orders.add(&[
            order.lines.iter().map(|line| i64::from(line.quantity)).sum(),
            totals.subtotal,
            totals.discount,
            totals.delivery_fee,
            totals.service_fee,
            totals.tip,
            totals.tax,
            totals.total,
            order.refunded(),
            order.revenue(),
            order.promotions.len() as i64,
        ]);
        for line in &order.lines {
            let quantity = i64::from(line.quantity);
            self.order_items.add(&[quantity, line.unit_price, line.modifiers_amount(), line.discount, line.total()]);
        }
        let currency = order.currency.code;
        let by_store = self.by_store.entry((order.store, currency)).or_default();
        by_store.add(order, is_new);
        let place = order.delivery.as_ref().filter(|_| order.fulfilment == Fulfilment::Delivery).and_then(|delivery| delivery.place);
        let Some(place) = place else { return };
        let point = LatLng::new(place.latitude, place.longitude).expect("a city's places are finite");
        let finest = point.to_cell(Resolution::Nine);
        for resolution in [Resolution::Seven, Resolution::Eight, Resolution::Nine] {
            let cell = finest.parent(resolution).expect("the resolution is not finer");
            self.cells.entry((cell, currency)).or_default().add(order, is_new);
            if resolution == Resolution::Eight {
                by_store.cells.insert(cell);
            }
        }
    }

    /// Closes a city's business date.
    pub(crate) fn close(&mut self, world: &World, date: NaiveDate) {
        let date = date.to_string();
        for ((cell, currency), counts) in self.cells.drain() {
            self.coverage_orders.add(&[
                counts.orders,
                counts.completed,
                counts.cancelled,
                counts.late,
                counts.revenue,
                counts.customers.len() as i64,
                counts.new_customers,
                counts.stores.len() as i64,
            ]);
            let resolution = u8::from(cell.resolution());
            self.coverage_orders_keys.push(json!([date, resolution, cell.to_string(), currency, counts.orders]));
        }
        for ((store, currency), counts) in self.by_store.drain() {
            let average = if counts.completed > 0 { divide(counts.revenue, counts.completed) } else { 0 };
            self.coverage_stores.add(&[
                counts.orders,
                counts.completed,
                counts.cancelled,
                counts.late,
                counts.revenue,
                average,
                counts.cells.len() as i64,
            ]);
            self.coverage_stores_keys.push(json!([date, world.stores[store].id, currency, counts.orders]));
        }
    }

    pub(crate) fn transaction(&mut self, transaction: &Transaction) {
        self.payments.add(&[transaction.amount, transaction.fee]);
    }

    pub(crate) fn delivery(&mut self, delivery: &Delivery) {
        self.deliveries.add(&[i64::from(delivery.distance_m), delivery.cost]);
    }

    pub(crate) fn store(&mut self, store: &Store) {
        self.stores.add(&[i64::from(store.delivery_radius_m)]);
    }

    /// Counts a customer, when all orders have been.
    pub(crate) fn customer(&mut self, world: &World, number: u64, customer: &Customer, points: Option<i32>) {
        self.customers.add(&[i64::from(points.unwrap_or(0))]);
        if !customer.marketing_opt_in || customer.deleted_ms.is_some() || !self.completed_lately.get(number) {
            return;
        }
        let Some(birth_date) = customer.birth_date else {
            return;
        };
        let today = calendar::local_date(world.as_of_ms(), customer.time_zone.unwrap_or(chrono_tz::UTC));
        let Some(birthday) = next_birthday(birth_date, today) else {
            return;
        };
        let age = birthday.year() - birth_date.year();
        if birthday <= calendar::plus(today, HORIZON_DAYS) && age >= MINIMUM_AGE {
            self.segment_birthdays.add(&[i64::from(age)]);
            self.birthdays.push(uuid::Uuid::from_bytes(customer.id).to_string());
        }
    }

    /// The figures of all marts.
    pub(crate) fn finish(mut self) -> BTreeMap<String, Figures> {
        self.birthdays.sort();
        let birthdays = self.birthdays.into_iter().map(Value::from).collect();
        [
            ("orders", self.orders, None),
            ("order_items", self.order_items, None),
            ("payments", self.payments, None),
            ("deliveries", self.deliveries, None),
            ("customers", self.customers, None),
            ("stores", self.stores, None),
            ("coverage_orders", self.coverage_orders, self.coverage_orders_keys.finish()),
            ("coverage_stores", self.coverage_stores, self.coverage_stores_keys.finish()),
            ("segment_birthdays", self.segment_birthdays, Some(birthdays)),
        ]
        .into_iter()
        .map(|(name, sheet, keys)| (name.to_owned(), Figures { rows: sheet.rows, sums: sheet.sums(), keys }))
        .collect()
    }
}

/// The first birthday on or after a date; 29 February is the 28th in common years.
fn next_birthday(birth_date: NaiveDate, today: NaiveDate) -> Option<NaiveDate> {
    let this_year = with_year(birth_date, today.year())?;
    if this_year >= today { Some(this_year) } else { with_year(birth_date, today.year() + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn birthdays_come_next() {
        assert_eq!(next_birthday(date("1990-01-02"), date("2025-12-31")), Some(date("2026-01-02")));
        assert_eq!(next_birthday(date("1990-12-31"), date("2025-12-31")), Some(date("2025-12-31")));
        assert_eq!(next_birthday(date("1996-02-29"), date("2025-02-28")), Some(date("2025-02-28")));
        assert_eq!(next_birthday(date("1996-02-29"), date("2028-02-28")), Some(date("2028-02-29")));
        assert_eq!(next_birthday(date("1996-02-29"), date("2025-03-01")), Some(date("2026-02-28")));
    }

    #[test]
    fn keys_are_dropped_when_too_many() {
        let mut keys = Keys::default();
        for row in 0..=KEYS_MAX {
            keys.push(json!([row]));
        }
        assert_eq!(keys.finish(), None);
        let mut keys = Keys::default();
        keys.push(json!(["2025-01-02", 10]));
        keys.push(json!(["2025-01-02", 9]));
        assert_eq!(keys.finish(), Some(vec![json!(["2025-01-02", 9]), json!(["2025-01-02", 10])]));
    }
}
