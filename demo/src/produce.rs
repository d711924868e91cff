//! The one walk over a data set: makes each row once, counts it, and hands its bytes on.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::answers::{Answers, SeededDefect, SourceTable};
use crate::calendar::{self, BusinessDay};
use crate::catalogue::{PRODUCTS, PROMOTIONS};
use crate::city::CITIES;
use crate::defect::Defect;
use crate::error::Result;
use crate::loyalty::Balances;
use crate::marts::Marts;
use crate::order::Order;
use crate::placing::{self, Position};
use crate::schema::{RELATIONS, TABLES, Table};
use crate::store::COURIERS_PER_STORE;
use crate::tally::Sheet;
use crate::world::World;
use crate::{change, customer, order_document, payment, rows, store};

/// Bytes of a table that are gathered before they are handed on: large enough that handing on costs nothing, small beside the memory a
/// run may use.
const CHUNK_BYTES: usize = 1 << 20;

/// Defects of one kind that are listed.
const LISTED_MAX: u64 = 1_000;

/// What is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Orders, and what belongs to them.
    Orders,
    /// Customers and their loyalty accounts.
    Customers,
    /// Indexes, and whatever waits to be written.
    Finishing,
}

/// How far the work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being written.
    pub phase: Phase,
    /// Orders made so far.
    pub orders_done: u64,
    /// Orders there will be.
    pub orders_total: u64,
    /// Customers made so far.
    pub customers_done: u64,
    /// Customers there will be.
    pub customers_total: u64,
    /// Bytes made so far, before compression.
    pub bytes: u64,
}

/// Complete rows of one table, in its wire format: BSON documents, or COPY tuples without header and trailer.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) table: Table,
    pub(crate) bytes: Vec<u8>,
    /// Whether rows with these keys may be there and are to be replaced.
    pub(crate) upsert: bool,
}

/// What the rows are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Files that hold everything, duplicates too.
    Dump,
    /// Empty servers; the states of a duplicated order are written one after the other.
    Load,
    /// Servers that hold the base data set; only what changed is written.
    Changes,
}

/// Gathers rows into chunks.
struct Output<'emit> {
    purpose: Purpose,
    buffers: [Vec<u8>; TABLES],
    bytes: u64,
    emit: &'emit mut dyn FnMut(Chunk) -> Result<()>,
}

impl Output<'_> {
    /// Appends a row, unless only changes are wanted and it is none.
    fn row(&mut self, table: Table, changed: bool, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        if self.purpose == Purpose::Changes && !changed {
            return Ok(());
        }
        let buffer = &mut self.buffers[table as usize];
        let before = buffer.len();
        write(buffer);
        self.bytes += (buffer.len() - before) as u64;
        if buffer.len() >= CHUNK_BYTES { self.flush(table) } else { Ok(()) }
    }

    fn flush(&mut self, table: Table) -> Result<()> {
        let bytes = std::mem::take(&mut self.buffers[table as usize]);
        if bytes.is_empty() {
            return Ok(());
        }
        (self.emit)(Chunk { table, bytes, upsert: self.purpose == Purpose::Changes })
    }

    /// Writes a state of an order over the one that is there.
    fn replace(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.flush(Table::Orders)?;
        self.bytes += bytes.len() as u64;
        (self.emit)(Chunk { table: Table::Orders, bytes, upsert: self.purpose != Purpose::Dump })
    }
}

const ORDER_COLUMNS: &[(&str, u8)] = &[
    ("totals.subtotal", 2),
    ("totals.discount", 2),
    ("totals.delivery_fee", 2),
    ("totals.service_fee", 2),
    ("totals.tip", 2),
    ("totals.tax", 2),
    ("totals.total", 2),
];

/// The columns whose sums are told for a source table.
fn summed(table: Table) -> &'static [(&'static str, u8)] {
    match table {
        Table::Orders => ORDER_COLUMNS,
        Table::Stores => &[("delivery_radius_m", 0)],
        Table::Products => &[("price", 2)],
        Table::Promotions => &[("value", 2), ("min_basket", 2), ("budget", 2)],
        Table::Couriers | Table::Customers => &[],
        Table::Transactions => &[("amount", 2), ("fee", 4)],
        Table::Deliveries => &[("distance_m", 0), ("cost", 2)],
        Table::Ledger => &[("points", 0)],
        Table::Accounts => &[("points_balance", 0)],
    }
}

struct Production<'run> {
    world: &'run World,
    output: Output<'run>,
    marts: Marts,
    balances: Balances,
    sheets: HashMap<Table, Sheet>,
    rejected: u64,
    duplicates: u64,
    defects: Vec<SeededDefect>,
    defect_counts: BTreeMap<String, u64>,
}

/// Makes the whole data set.
pub(crate) fn produce(
    world: &World,
    purpose: Purpose,
    emit: &mut dyn FnMut(Chunk) -> Result<()>,
    report: &mut dyn FnMut(Progress),
) -> Result<Answers> {
    let output = Output { purpose, buffers: Default::default(), bytes: 0, emit };
    let tables = RELATIONS.into_iter().chain([Table::Orders]);
    let mut production = Production {
        world,
        output,
        marts: Marts::new(world),
        balances: Balances::new(world),
        sheets: tables.map(|table| (table, Sheet::new(summed(table)))).collect(),
        rejected: 0,
        duplicates: 0,
        defects: Vec::new(),
        defect_counts: BTreeMap::new(),
    };
    production.catalogue()?;
    production.orders(report)?;
    production.customers(report)?;
    for table in RELATIONS.into_iter().chain([Table::Orders]) {
        production.output.flush(table)?;
    }
    Ok(production.finish())
}

impl Production<'_> {
    fn count(&mut self, table: Table, values: &[i64]) {
        self.sheets.get_mut(&table).expect("every table has a sheet").add(values);
    }

    /// Stores, couriers, products and promotions: the same all the time.
    fn catalogue(&mut self) -> Result<()> {
        let world = self.world;
        for (number, store) in world.stores.iter().enumerate() {
            self.count(Table::Stores, &[i64::from(store.delivery_radius_m)]);
            self.marts.store(store);
            self.output.row(Table::Stores, false, |bytes| rows::store(bytes, store))?;
            for courier in 0..COURIERS_PER_STORE {
                let courier = store::courier(&world.options, &world.stores, number, courier);
                self.count(Table::Couriers, &[]);
                self.output.row(Table::Couriers, false, |bytes| rows::courier(bytes, &courier))?;
            }
        }
        for (number, product) in PRODUCTS.iter().enumerate() {
            self.count(Table::Products, &[product.price]);
            self.output.row(Table::Products, false, |bytes| rows::product(bytes, world, number))?;
        }
        for number in 0..PROMOTIONS.len() {
            let (value, basket_min, budget) = rows::promotion_amounts(number);
            self.count(Table::Promotions, &[value.unwrap_or(0), basket_min, budget.unwrap_or(0)]);
            self.output.row(Table::Promotions, false, |bytes| rows::promotion(bytes, world, number))?;
        }
        Ok(())
    }

    fn orders(&mut self, report: &mut dyn FnMut(Progress)) -> Result<()> {
        let world = self.world;
        let mut done = 0;
        for (day, counts) in (0..).zip(world.counts()) {
            let date = world.date(day);
            for (city, facts) in CITIES.iter().enumerate() {
                let clock = BusinessDay::new(date, facts.zone);
                let mut orders = Vec::new();
                for (store, (first, count)) in counts.iter().copied().enumerate() {
                    if world.stores[store].city != city {
                        continue;
                    }
                    for sequence in 0..count {
                        let position = Position { ordinal: first + sequence, sequence, store, day, date, clock: &clock };
                        let mut order = placing::order(world, position);
                        change::apply(world, &mut order);
                        orders.push(order);
                    }
                }
                orders.sort_by_key(|order: &Order| (order.placed_ms, order.id));
                done += orders.len() as u64;
                self.city_day(&orders)?;
                self.marts.close(world, date);
            }
            report(Progress {
                phase: Phase::Orders,
                orders_done: done,
                orders_total: world.orders + world.late_orders,
                customers_done: 0,
                customers_total: world.options.customers,
                bytes: self.output.bytes,
            });
        }
        Ok(())
    }

    /// Writes and counts a city's orders of a business date, and what belongs to them.
    fn city_day(&mut self, orders: &[Order]) -> Result<()> {
        let world = self.world;
        let mut afterwards = Vec::new();
        for order in orders {
            self.document(order, &mut afterwards)?;
            if order.is_quarantined() {
                self.rejected += 1;
            } else {
                let totals = &order.totals;
                self.count(
                    Table::Orders,
                    &[totals.subtotal, totals.discount, totals.delivery_fee, totals.service_fee, totals.tip, totals.tax, totals.total],
                );
                self.marts.order(world, order);
            }
            for row in payment::transactions(world, order) {
                self.count(Table::Transactions, &[row.amount, row.fee]);
                self.marts.transaction(&row);
                self.output.row(Table::Transactions, row.changed, |bytes| rows::transaction(bytes, world, &row))?;
            }
            if let Some(row) = payment::delivery(world, order) {
                self.count(Table::Deliveries, &[i64::from(row.distance_m), row.cost]);
                self.marts.delivery(&row);
                self.output.row(Table::Deliveries, row.changed, |bytes| rows::delivery(bytes, &row))?;
            }
            for row in self.balances.post(world, order) {
                self.count(Table::Ledger, &[i64::from(row.points)]);
                self.output.row(Table::Ledger, row.changed, |bytes| rows::ledger_entry(bytes, world, &row))?;
            }
        }
        if afterwards.is_empty() { Ok(()) } else { self.output.replace(afterwards) }
    }

    /// Writes an order's document, and the other states of it that a dump holds. `afterwards` are documents that follow the day's others.
    fn document(&mut self, order: &Order, afterwards: &mut Vec<u8>) -> Result<()> {
        let world = self.world;
        let purpose = self.output.purpose;
        if let Some(defect) = order.defect {
            self.note(order, defect);
        }
        let encoded = |order: &Order| {
            let mut bytes = Vec::new();
            order_document::write(&mut bytes, world, order);
            bytes
        };
        match order.defect.filter(|defect| defect.is_duplicated() && purpose != Purpose::Changes) {
            None => self.output.row(Table::Orders, order.changed, |bytes| order_document::write(bytes, world, order)),
            Some(defect) => {
                self.duplicates += u64::from(purpose == Purpose::Dump);
                let earlier = match defect {
                    Defect::SameInstantDuplicate => order_document::same_instant(order),
                    Defect::ExactRepeat => order.clone(),
                    _ => order_document::stale(order),
                };
                if defect == Defect::StaleDuplicateAfter && purpose == Purpose::Dump {
                    self.output.row(Table::Orders, true, |bytes| order_document::write(bytes, world, order))?;
                    afterwards.extend(encoded(&earlier));
                    return Ok(());
                }
                self.output.row(Table::Orders, true, |bytes| order_document::write(bytes, world, &earlier))?;
                self.output.replace(encoded(order))
            }
        }
    }

    fn note(&mut self, order: &Order, defect: Defect) {
        let count = self.defect_counts.entry(defect.kind().to_owned()).or_default();
        *count += 1;
        if *count > LISTED_MAX {
            return;
        }
        let key = if defect == Defect::OrphanCapture { payment::orphan_id(self.world, order) } else { order.id_text() };
        self.defects.push(SeededDefect {
            kind: defect.kind().to_owned(),
            table: defect.table().to_owned(),
            key,
            expect: defect.expect().to_owned(),
        });
    }

    fn customers(&mut self, report: &mut dyn FnMut(Progress)) -> Result<()> {
        let world = self.world;
        let total = world.options.customers;
        for number in 0..total {
            let row = customer::customer(&world.options, &world.population, number, world.later_as_of_ms);
            let account = self.balances.account(world, number);
            self.count(Table::Customers, &[]);
            self.marts.customer(world, number, &row, account.as_ref().map(|account| account.points));
            self.output.row(Table::Customers, row.changed, |bytes| rows::customer(bytes, &row))?;
            if let Some(account) = account {
                self.count(Table::Accounts, &[i64::from(account.points)]);
                self.output.row(Table::Accounts, account.changed, |bytes| rows::account(bytes, world, &account))?;
            }
            if number.is_multiple_of(16_384) || number + 1 == total {
                report(Progress {
                    phase: Phase::Customers,
                    orders_done: world.orders + world.late_orders,
                    orders_total: world.orders + world.late_orders,
                    customers_done: number + 1,
                    customers_total: total,
                    bytes: self.output.bytes,
                });
            }
        }
        Ok(())
    }

    fn finish(self) -> Answers {
        let mut tables = BTreeMap::new();
        for (table, sheet) in self.sheets {
            let is_orders = table == Table::Orders;
            let figures = SourceTable {
                rows: sheet.rows,
                rejected: if is_orders { self.rejected } else { 0 },
                duplicates: if is_orders { self.duplicates } else { 0 },
                sums: sheet.sums(),
            };
            tables.insert(table.lake_name().to_owned(), figures);
        }
        Answers {
            as_of: calendar::text(self.world.as_of_ms()),
            options: options(self.world),
            tables,
            marts: self.marts.finish(),
            defects: self.defects,
            defect_counts: self.defect_counts,
        }
    }
}

fn options(world: &World) -> BTreeMap<String, Value> {
    let options = &world.options;
    [
        ("customers", json!(options.customers)),
        ("stores", json!(options.stores)),
        ("days", json!(options.days)),
        ("seed", json!(options.seed)),
        ("orders", json!(world.orders)),
        ("until", json!(options.until.to_string())),
        ("change_share", json!(options.change_share)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    /// What waits inside is bounded however many orders there are: chunks keep their size, and only their number grows.
    #[test]
    fn chunks_do_not_grow_with_orders() {
        let mut seen = Vec::new();
        for orders in [6_000, 24_000] {
            let world = World::new(&Options { customers: 500, orders: Some(orders), ..Options::default() });
            let (mut largest, mut total) = (0, 0);
            let mut emit = |chunk: Chunk| {
                largest = largest.max(chunk.bytes.len());
                total += chunk.bytes.len();
                Ok(())
            };
            produce(&world, Purpose::Dump, &mut emit, &mut |_| {}).unwrap();
            assert!(largest < CHUNK_BYTES + 16_384, "{largest}");
            seen.push(total);
        }
        assert!(seen[1] > 3 * seen[0], "{seen:?}");
    }

    #[test]
    fn progress_ends_where_it_should() {
        let world = World::new(&Options { customers: 20, days: 3, ..Options::default() });
        let mut reports = Vec::new();
        produce(&world, Purpose::Dump, &mut |_| Ok(()), &mut |report| reports.push(report)).unwrap();
        assert!(reports.windows(2).all(|pair| pair[0].orders_done <= pair[1].orders_done && pair[0].bytes <= pair[1].bytes));
        let last = reports.last().unwrap();
        assert_eq!((last.phase, last.orders_done, last.customers_done), (Phase::Customers, last.orders_total, last.customers_total));
    }

    #[test]
    fn a_writer_that_stops_stops_the_maker() {
        let world = World::new(&Options::default());
        let stopped = produce(&world, Purpose::Dump, &mut |_| Err(crate::Error::Stopped), &mut |_| {});
        assert!(matches!(stopped, Err(crate::Error::Stopped)));
    }
}
