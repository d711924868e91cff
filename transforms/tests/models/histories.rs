//! Random histories: tables that are edited night after night. Each night every incremental model is computed for its touched units, and
//! must be, row by row in all columns, what computing it whole gives.

use std::collections::BTreeMap;
use std::fmt::Write;

use pipeline_core::name::TableName;
use serde_json::{Value, json};

use crate::runner::Runner;
use crate::{config, models, sources};

const HISTORIES: u64 = 3;
const NIGHTS: u64 = 5;

/// A row as it is given, by its key.
type Table = BTreeMap<String, Value>;

const ORDERS: &str = "shop.orders";
const TRANSACTIONS: &str = "platform.transactions";
const DELIVERIES: &str = "platform.deliveries";
const LEDGER: &str = "platform.loyalty_ledger";
const CUSTOMERS: &str = "platform.customers";
const ACCOUNTS: &str = "platform.loyalty_accounts";
const STORES: &str = "platform.stores";

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()].clone()
    }

    /// An instant within four days in which the clocks of Warsaw go back.
    fn instant(&mut self) -> String {
        let minutes = self.below(4 * 24 * 12) * 5;
        format!("2025-10-{:02}T{:02}:{:02}:00Z", 24 + minutes / 1440, minutes / 60 % 24, minutes % 60)
    }

    fn money(&mut self) -> String {
        format!("{}.{:02}", self.below(60), self.below(100))
    }
}

/// The sources of a small chain.
struct World {
    random: Random,
    tables: BTreeMap<&'static str, Table>,
    made: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self { random: Random(seed), tables: BTreeMap::new(), made: 0 };
        for id in 1..=4 {
            world.put(STORES, id.to_string());
        }
        for id in 0..7 {
            world.put(CUSTOMERS, format!("c{id}"));
            world.put(ACCOUNTS, format!("c{id}"));
        }
        for _ in 0..30 {
            world.add(ORDERS);
        }
        for table in [TRANSACTIONS, DELIVERIES, LEDGER] {
            for _ in 0..25 {
                world.add(table);
            }
        }
        world
    }

    fn add(&mut self, table: &'static str) {
        self.made += 1;
        let key = if table == ORDERS { format!("o{:03}", self.made) } else { self.made.to_string() };
        self.put(table, key);
    }

    fn put(&mut self, table: &'static str, key: String) {
        let row = self.row(table, &key);
        self.tables.entry(table).or_default().insert(key, row);
    }

    fn any_order(&mut self) -> Value {
        let known: Vec<String> = self.tables.get(ORDERS).map(|orders| orders.keys().cloned().collect()).unwrap_or_default();
        match self.random.below(12) {
            0 => Value::Null,
            // An order that may come later.
            1 => json!(format!("o{:03}", self.made + self.random.below(4))),
            _ if known.is_empty() => Value::Null,
            _ => json!(self.random.pick(&known)),
        }
    }

    fn row(&mut self, table: &str, key: &str) -> Value {
        let order = if table == ORDERS { Value::Null } else { self.any_order() };
        let random = &mut self.random;
        let arrival = json!(random.instant());
        let customer = random.pick(&["c0", "c1", "c2", "c3", "c4", "c5", "c6", "unknown"]);
        let currency = random.pick(&[json!("PLN"), json!("PLN"), json!("EUR"), Value::Null]);
        let store = random.pick(&[json!(1), json!(2), json!(3), json!(404), Value::Null]);
        match table {
            ORDERS => {
                let place = random.pick(&[
                    json!({"latitude": 52.2397, "longitude": 21.0122}),
                    json!({"latitude": 52.24, "longitude": 21.013}),
                    json!({"latitude": 52.3, "longitude": 20.9, "address": {"city": "Łódź"}}),
                    Value::Null,
                ]);
                let mut items = Vec::new();
                for _ in 0..random.below(3) {
                    items.push(json!({"sku": "s", "category": random.pick(&["pizza", "soup"]), "quantity": random.below(4), "unit_price": random.money(), "modifiers": [{"name": "m", "price": "0.50"}], "discount": random.pick(&[Value::Null, json!("0.10")])}));
                }
                let history: Vec<Value> =
                    ["placed", "accepted", "on_the_way"].iter().map(|status| json!({"status": status, "at": random.instant()})).collect();
                json!({
                    "order_id": key,
                    "customer_id": if random.one_in(5) { Value::Null } else { json!(customer) },
                    "store_id": store,
                    "channel": "web",
                    "fulfilment": random.pick(&["delivery", "delivery", "delivery", "pickup"]),
                    "status": random.pick(&[json!("delivered"), json!("delivered"), json!("picked_up"), json!("cancelled"), json!("placed"), json!("refunded"), Value::Null]),
                    "placed_at": if random.one_in(12) { Value::Null } else { json!(random.instant()) },
                    "promised_at": random.instant(),
                    "delivered_at": if random.one_in(4) { Value::Null } else { json!(random.instant()) },
                    "items": items,
                    "status_history": history,
                    "totals": if random.one_in(10) { Value::Null } else { json!({"total": random.money(), "tip": random.pick(&[Value::Null, json!("1.00")]), "currency": currency}) },
                    "delivery": place,
                    "rating": random.pick(&[Value::Null, json!({"stars": 4}), json!({"stars": 1})]),
                })
            }
            TRANSACTIONS => json!({
                "id": key.parse::<i64>().unwrap(), "order_id": order, "customer_id": customer, "currency": currency,
                "kind": random.pick(&["capture", "capture", "refund", "authorization"]),
                "status": random.pick(&["succeeded", "succeeded", "failed"]), "method": random.pick(&["card", "blik"]), "provider": "p",
                "amount": random.money(), "fee": "0.1000", "created_at": random.instant(),
            }),
            DELIVERIES => json!({
                "id": key.parse::<i64>().unwrap(), "order_id": order, "store_id": store, "courier_id": random.pick(&[json!(1), json!(2), json!(3), Value::Null]),
                "status": "done", "picked_up_at": random.instant(), "delivered_at": random.pick(&[Value::Null, arrival]),
                "distance_m": random.below(5000), "cost": random.money(),
            }),
            LEDGER => json!({
                "id": key.parse::<i64>().unwrap(), "customer_id": customer, "order_id": order, "points": random.below(100), "reason": "order",
                "created_at": random.instant(),
            }),
            CUSTOMERS => json!({"id": key, "email": random.money(), "marketing_opt_in": random.one_in(2), "created_at": random.instant()}),
            ACCOUNTS => json!({"customer_id": key, "tier": random.pick(&["gold", "silver"]), "points_balance": random.below(9)}),
            STORES => json!({
                "id": key.parse::<i64>().unwrap(), "name": random.pick(&["A", "B"]),
                "time_zone": random.pick(&["Europe/Warsaw", "America/New_York", "Mars/Olympus", "Asia/Kolkata"]),
                "lat": 52.2297, "lng": random.pick(&[21.0122, 20.9]), "delivery_radius_m": random.pick(&[Value::Null, json!(1000), json!(9000)]),
            }),
            other => panic!("no table {other}"),
        }
    }

    /// One night's edits: mostly a few rows, sometimes none. Says which tables have changed.
    fn edit(&mut self) -> Vec<&'static str> {
        let mut edited = Vec::new();
        if self.random.one_in(6) {
            return edited;
        }
        for table in [ORDERS, TRANSACTIONS, DELIVERIES, LEDGER, CUSTOMERS, ACCOUNTS, STORES] {
            let edits = match table {
                ORDERS => self.random.below(4),
                STORES | CUSTOMERS | ACCOUNTS => u64::from(self.random.one_in(4)),
                _ => self.random.below(3),
            };
            for _ in 0..edits {
                self.edit_one(table);
                edited.push(table);
            }
        }
        edited.dedup();
        edited
    }

    fn edit_one(&mut self, table: &'static str) {
        let known: Vec<String> = self.tables[table].keys().cloned().collect();
        let key = (!known.is_empty()).then(|| self.random.pick(&known));
        match (self.random.below(6), key) {
            (0, Some(key)) => {
                self.tables.get_mut(table).unwrap().remove(&key);
            }
            // What was gone may come back.
            (1, _) | (_, None) => match table {
                STORES => {
                    let id = 1 + self.random.below(4);
                    self.put(table, id.to_string());
                }
                CUSTOMERS | ACCOUNTS => {
                    let id = self.random.below(7);
                    self.put(table, format!("c{id}"));
                }
                _ => self.add(table),
            },
            // The whole row anew: an order goes to another store, day, customer, cell and currency.
            (2, Some(key)) => self.put(table, key),
            // One of its columns: each way for itself.
            (_, Some(key)) => {
                let other = self.row(table, &key);
                let columns: Vec<String> = other.as_object().unwrap().keys().cloned().collect();
                let column = self.random.pick(&columns);
                self.tables.get_mut(table).unwrap().get_mut(&key).unwrap()[&column] = other[&column].clone();
            }
        }
    }
}

#[tokio::test]
async fn an_incremental_model_is_what_computing_it_whole_gives() {
    let config = config();
    let (models, sources) = (models(&config), sources(&config));
    let chosen: Vec<TableName> =
        models.models().iter().filter(|model| model.incremental.is_some()).map(|model| model.table().clone()).collect();
    assert!(chosen.len() >= 12, "{chosen:?}");
    // There are few customers here, and what nobody may see does not differ.
    let parameters = BTreeMap::from([("k_anonymity".to_owned(), "2".to_owned())]);
    let parameters: BTreeMap<String, String> = config.parameters.clone().into_iter().chain(parameters).collect();
    let (mut in_parts, mut untouched) = (0, 0);
    for history in 0..HISTORIES {
        let mut world = World::new(history);
        let mut runner = Runner::new(&models, &sources, &parameters);
        runner.is_brief = true;
        let mut edited: Vec<&str> = world.tables.keys().copied().collect();
        let mut story = String::new();
        for night in 0..NIGHTS {
            for name in &edited {
                let rows: Vec<Value> = world.tables[name].values().cloned().collect();
                runner.give(&name.parse().unwrap(), &json!({}), &rows).unwrap();
            }
            writeln!(story, "night {night}: {edited:?}").unwrap();
            for table in models.models().iter().filter(|model| model.incremental.is_some() || model.table().table() == "stores") {
                let made = runner.model(table.table()).await;
                made.unwrap_or_else(|problem| panic!("history {history}, {}: {problem}\n{story}", table.table()));
            }
            edited = world.edit();
        }
        in_parts += runner.in_parts;
        untouched += runner.untouched;
    }
    println!("{HISTORIES} histories of {NIGHTS} nights, {} models: {in_parts} times in parts, {untouched} times untouched", chosen.len());
    assert!(in_parts > 50 && untouched > 30, "{in_parts} {untouched}");
}
