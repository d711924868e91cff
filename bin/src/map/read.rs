//! A map from the lake's marts.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::window::Timestamp;
use pipeline_transforms::session::Session;

use super::anonymity::{self, Showing};
use super::atlas::{Atlas, Baseline, DayRows, Gaps, Hidden, Layer, Rows, Store, StoreRows};
use super::outline;
use super::statement::{self, Table, fetch};
use super::{MAP_EMPTY, MAP_SIZE};
use crate::output::{count, plural};

/// Days that are shown unless others are asked for.
pub(crate) const DAYS_SHOWN: u64 = 90;

/// How many days may stand as one, the fewest first: weeks keep their weekdays together, and so do four of them.
const BUCKET_DAYS: [u32; 3] = [1, 7, 28];

/// A step must show so much of the orders, in parts of a hundred, of the cells that a page begins with; if it does not, it has more days.
const SHOWN_PERCENT_MIN: i64 = 50;

/// What a row takes in the page, what a cell's place takes, and all but the data: measured on the demonstration data (44, 146 and
/// 80,000), and a little more.
const ROW_BYTES: u64 = 48;
const CELL_BYTES: u64 = 160;
const PAGE_BYTES: u64 = 100_000;

/// Gaps beyond this rank are not shown.
const GAPS_MAX: usize = 2_000;

/// The window of `coverage_gaps`.
const GAP_DAYS: u32 = 28;

/// Business dates, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
}

impl Dates {
    /// How many days they are.
    pub(crate) fn days(self) -> u64 {
        u64::try_from((self.to - self.from).num_days() + 1).unwrap_or(0)
    }

    /// At most so many days, counted back from the last one.
    fn at_most(self, days: u64) -> Self {
        Self { from: self.from.max(self.to.checked_sub_days(Days::new(days.saturating_sub(1))).unwrap_or(self.from)), to: self.to }
    }

    /// Whole buckets, counted back from the last day; fewer days than one bucket are one.
    fn whole(self, bucket_days: u32) -> Self {
        self.at_most((self.days() / u64::from(bucket_days)).max(1) * u64::from(bucket_days))
    }

    fn bucket_starts(self, bucket_days: u32) -> Vec<NaiveDate> {
        self.from.iter_days().take_while(|date| *date <= self.to).step_by(bucket_days as usize).collect()
    }
}

/// What to read.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) project: String,
    pub(crate) pipeline: String,
    pub(crate) locale: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) as_of: Timestamp,
    /// None for the latest [`DAYS_SHOWN`].
    pub(crate) dates: Option<Dates>,
    /// None for all.
    pub(crate) resolutions: Vec<i64>,
    pub(crate) baseline: Option<Wish>,
    pub(crate) grouping: Grouping,
    /// How many customers a cell must have to show numbers.
    pub(crate) customers_min: i64,
}

/// What to compare with.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Other days of the same table.
    Dates(Dates),
    /// The table as this run left it, which the session has as [`statement::EARLIER`].
    Run(String),
}

/// How days are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// As few as fit in so many bytes.
    Within(u64),
    /// All of them.
    Whole,
}

/// Reads a map.
///
/// # Errors
/// [`MAP_EMPTY`] if there is nothing to draw, [`MAP_SIZE`] if it would be too large, or an error of the query engine.
pub(crate) async fn read(session: &Session, wanted: &Wanted) -> Result<Atlas> {
    let there = span(session, statement::ORDERS).await?.ok_or_else(|| Error::new(&MAP_EMPTY, "table \"coverage_orders\" has no rows"))?;
    let dates = wanted.dates.unwrap_or_else(|| there.at_most(DAYS_SHOWN));
    let before = match &wanted.baseline {
        None => None,
        Some(Wish::Dates(dates)) => Some((statement::ORDERS, *dates)),
        Some(Wish::Run(run)) => {
            let then = span(session, statement::EARLIER).await?;
            let then = then.ok_or_else(|| Error::new(&MAP_EMPTY, format!("table \"coverage_orders\" had no rows after run \"{run}\"")))?;
            Some((statement::EARLIER, then.at_most(dates.days())))
        }
    };
    let mut notes = Vec::new();
    let Steps { bucket_days, dates, before, now } = steps(session, wanted, dates, before, &mut notes).await?;
    let mut currencies = Names::default();
    let then = match before {
        Some((table, dates)) => Some(cells(session, wanted, table, dates, bucket_days).await?),
        None => None,
    };
    if now.table.is_empty() && then.as_ref().is_none_or(|then| then.table.is_empty()) {
        return Err(Error::new(&MAP_EMPTY, format!("table \"coverage_orders\" has no rows from {} to {}", dates.from, dates.to)));
    }
    let listed = listed(&[Some(&now), then.as_ref()])?;
    if listed.is_empty() {
        let few = format!("no cell has {} customers from {} to {}, so that none can be shown", wanted.customers_min, dates.from, dates.to);
        return Err(Error::new(&MAP_EMPTY, few)
            .hint("Choose more days; `k_anonymity` in [parameters] is the number of customers that a cell must have."));
    }
    let mut shapes = shapes(session, wanted, dates, before).await?;
    shapes.values_mut().for_each(|cells| cells.retain(|cell, _| listed.contains(cell)));
    shapes.retain(|_, cells| !cells.is_empty());
    let codes = currency_codes(session, dates, &[Some(&now.table), then.as_ref().map(|then| &then.table)]).await?;
    for code in &codes {
        currencies.position(code);
    }
    let layers = layers(shapes, &now, then.as_ref(), bucket_days, &mut currencies)?;
    let stores = stores(session, &mut notes).await?;
    let store_rows = store_rows(session, &stores, dates, bucket_days, &mut currencies).await?;
    let gaps = gaps(session, wanted.customers_min, &mut notes).await?;
    let baseline = before.map(|(_, dates)| Baseline {
        label: match &wanted.baseline {
            Some(Wish::Run(run)) => format!("run {run}"),
            _ => format!("{} to {}", dates.from, dates.to),
        },
        from: dates.from,
        to: dates.to,
        dates: dates.bucket_starts(bucket_days),
    });
    Ok(Atlas {
        schema_version: 1,
        project: wanted.project.clone(),
        pipeline: wanted.pipeline.clone(),
        locale: wanted.locale.clone(),
        run: wanted.run.clone(),
        as_of: wanted.as_of.to_string(),
        from: dates.from,
        to: dates.to,
        k_anonymity: wanted.customers_min.max(1),
        bucket_days,
        dates: dates.bucket_starts(bucket_days),
        currencies: currencies.names,
        layers,
        stores,
        store_rows,
        gaps,
        gap_days: GAP_DAYS,
        baseline,
        notes,
    })
}

/// Names in the order they are met.
#[derive(Debug, Default)]
struct Names {
    names: Vec<String>,
    positions: BTreeMap<String, usize>,
}

impl Names {
    fn position(&mut self, name: &str) -> usize {
        if let Some(position) = self.positions.get(name) {
            return *position;
        }
        self.names.push(name.to_owned());
        self.positions.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

/// The first and the last business date of a table.
async fn span(session: &Session, table: &str) -> Result<Option<Dates>> {
    let found = fetch(session, &statement::span(table)).await?;
    Ok(match (found.date("first", 0)?, found.date("last", 0)?) {
        (Some(from), Some(to)) => Some(Dates { from, to }),
        _ => None,
    })
}

/// The fewest days a bucket can have for the page to stay within so many bytes.
async fn bucket_days(session: &Session, wanted: &Wanted, dates: Dates, before: Option<(&str, Dates)>, bytes: u64) -> Result<u32> {
    let mut needed = 0;
    for days in BUCKET_DAYS {
        needed = PAGE_BYTES;
        for (table, dates) in [Some((statement::ORDERS, dates)), before].into_iter().flatten() {
            let found = fetch(session, &statement::count(table, dates.whole(days), days, &wanted.resolutions)).await?;
            let number = |name: &str| Ok::<_, Error>(found.integer(name, 0)?.and_then(|number| u64::try_from(number).ok()).unwrap_or(0));
            needed += number("rows")?.saturating_mul(ROW_BYTES) + number("cells")?.saturating_mul(CELL_BYTES);
        }
        if needed <= bytes {
            return Ok(days);
        }
    }
    Err(too_large(needed, bytes))
}

/// What is said of a page that would be too large.
pub(crate) fn too_large(bytes: u64, bytes_max: u64) -> Error {
    let megabytes = |bytes: u64| count(bytes.div_ceil(1_000_000));
    Error::new(&MAP_SIZE, format!("the page would have about {} MB, and {} MB are allowed", megabytes(bytes), megabytes(bytes_max)))
}

/// What is shown of which days.
struct Steps<'a> {
    bucket_days: u32,
    dates: Dates,
    before: Option<(&'a str, Dates)>,
    now: Cells,
}

/// Puts as few days together as are small enough and show enough; all of them if nothing else does.
async fn steps<'a>(
    session: &Session,
    wanted: &Wanted,
    dates: Dates,
    before: Option<(&'a str, Dates)>,
    notes: &mut Vec<String>,
) -> Result<Steps<'a>> {
    let all = u32::try_from(dates.days()).unwrap_or(u32::MAX);
    let Grouping::Within(bytes) = wanted.grouping else {
        let now = cells(session, wanted, statement::ORDERS, dates, all).await?;
        return Ok(Steps { bucket_days: all, dates, before, now });
    };
    let fewest = bucket_days(session, wanted, dates, before, bytes).await?;
    if fewest > 1 {
        notes.push(format!("Days are put together by {fewest}, so that the file stays small; choose fewer days to see single ones."));
    }
    let more = BUCKET_DAYS.into_iter().filter(|days| *days > fewest && *days < all).chain((fewest < all).then_some(all));
    let mut choices = std::iter::once(fewest).chain(more).peekable();
    while let Some(bucket_days) = choices.next() {
        let whole = dates.whole(bucket_days);
        let now = cells(session, wanted, statement::ORDERS, whole, bucket_days).await?;
        if choices.peek().is_some() && !now.shows_enough(wanted)? {
            continue;
        }
        if bucket_days > fewest {
            let together = if bucket_days == all { "as one step".to_owned() } else { format!("by {bucket_days}") };
            notes.push(format!(
                "Days are put together {together}, because fewer days have too few cells with {} customers.",
                wanted.customers_min
            ));
        }
        let before = before.map(|(table, dates)| (table, dates.whole(bucket_days)));
        return Ok(Steps { bucket_days, dates: whole, before, now });
    }
    Err(Error::new(&BUG, "a map has no step of days"))
}

/// Cells with their measures, and what is shown of each.
struct Cells {
    table: Table,
    showing: Vec<Showing>,
}

impl Cells {
    fn shows_enough(&self, wanted: &Wanted) -> Result<bool> {
        if wanted.customers_min <= 1 {
            return Ok(true);
        }
        let mut orders: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for (row, showing) in self.showing.iter().enumerate() {
            let (resolution, number) =
                (self.table.integer("resolution", row)?.unwrap_or(0), self.table.integer("orders", row)?.unwrap_or(0));
            let (shown, all) = orders.entry(resolution).or_default();
            *all += number;
            *shown += if *showing == Showing::Shown { number } else { 0 };
        }
        // The one in the middle is what a page begins with.
        let middle = orders.values().nth(orders.len() / 2);
        Ok(middle.is_none_or(|(shown, all)| shown * 100 >= all * SHOWN_PERCENT_MIN))
    }
}

async fn cells(session: &Session, wanted: &Wanted, table: &str, dates: Dates, bucket_days: u32) -> Result<Cells> {
    let found = fetch(session, &statement::cells(table, dates, bucket_days, &wanted.resolutions)).await?;
    let mut showing = vec![Showing::Shown; found.rows()];
    if wanted.customers_min <= 1 {
        return Ok(Cells { table: found, showing });
    }
    // Of an earlier state there are no orders: of several days, the one with most customers counts.
    let counts_orders = bucket_days > 1 && table == statement::ORDERS && statement::exists(session, "orders").await?;
    let counted = if counts_orders { customers(session, wanted, dates, bucket_days).await? } else { BTreeMap::new() };
    let mut groups: BTreeMap<(i64, String), Vec<(usize, anonymity::Cell)>> = BTreeMap::new();
    for row in 0..found.rows() {
        let key = key(&found, row)?;
        let least = found.integer("customers", row)?.unwrap_or(0);
        let cell = anonymity::Cell {
            index: key.2.parse().map_err(|_| Error::new(&BUG, "a cell of a map is no H3 cell"))?,
            orders: found.integer("orders", row)?.unwrap_or(0),
            customers: counted.get(&key).copied().unwrap_or(least),
        };
        groups.entry((key.0, key.3)).or_default().push((row, cell));
    }
    for group in groups.into_values() {
        let cells: Vec<anonymity::Cell> = group.iter().map(|(_, cell)| *cell).collect();
        for ((row, _), judged) in group.iter().zip(anonymity::judge(&cells, wanted.customers_min)) {
            showing[*row] = judged;
        }
    }
    Ok(Cells { table: found, showing })
}

/// Bucket, resolution, cell and currency of a row.
type CellKey = (i64, i64, String, String);

fn key(table: &Table, row: usize) -> Result<CellKey> {
    let number = |name: &str| Ok::<_, Error>(table.integer(name, row)?.unwrap_or(0));
    let text = |name: &str| Ok::<_, Error>(table.text(name, row)?.unwrap_or_default());
    Ok((number("bucket")?, number("resolution")?, text("cell")?, text("currency")?))
}

/// Different customers by bucket, resolution, cell and currency.
async fn customers(session: &Session, wanted: &Wanted, dates: Dates, bucket_days: u32) -> Result<BTreeMap<CellKey, i64>> {
    let found = fetch(session, &statement::customers(dates, bucket_days, &wanted.resolutions)).await?;
    (0..found.rows()).map(|row| Ok((key(&found, row)?, found.integer("customers", row)?.unwrap_or(0)))).collect()
}

/// The cells that are shown, or shown to be there.
fn listed(tables: &[Option<&Cells>]) -> Result<BTreeSet<String>> {
    let mut listed = BTreeSet::new();
    for cells in tables.iter().flatten() {
        for (row, showing) in cells.showing.iter().enumerate() {
            if *showing != Showing::Unlisted {
                listed.extend(cells.table.text("cell", row)?);
            }
        }
    }
    Ok(listed)
}

/// All currencies, sorted, those of stores that deliver nothing too.
async fn currency_codes(session: &Session, dates: Dates, tables: &[Option<&Table>]) -> Result<BTreeSet<String>> {
    let mut codes = BTreeSet::new();
    for table in tables.iter().flatten() {
        for row in 0..table.rows() {
            codes.insert(table.text("currency", row)?.unwrap_or_default());
        }
    }
    if statement::exists(session, "coverage_stores").await? {
        let found = fetch(session, &statement::store_currencies(dates)).await?;
        for row in 0..found.rows() {
            codes.insert(found.text("currency", row)?.unwrap_or_default());
        }
    }
    Ok(codes)
}

/// Every cell of the map with where it lies: by resolution, then by name.
async fn shapes(
    session: &Session,
    wanted: &Wanted,
    dates: Dates,
    before: Option<(&str, Dates)>,
) -> Result<BTreeMap<i64, BTreeMap<String, Shape>>> {
    let mut tables = vec![(statement::ORDERS, dates)];
    tables.extend(before);
    let found = fetch(session, &statement::shapes(&tables, &wanted.resolutions)).await?;
    let mut shapes: BTreeMap<i64, BTreeMap<String, Shape>> = BTreeMap::new();
    for row in 0..found.rows() {
        let place = (found.integer("resolution", row)?, found.text("cell", row)?, found.text("wkt", row)?);
        let (Some(resolution), Some(cell), Some(wkt)) = place else { continue };
        let center = [found.number("lat", row)?.unwrap_or(0.0), found.number("lng", row)?.unwrap_or(0.0)];
        shapes.entry(resolution).or_default().insert(cell, Shape { center, wkt });
    }
    Ok(shapes)
}

#[derive(Debug)]
struct Shape {
    center: [f64; 2],
    wkt: String,
}

#[expect(clippy::cast_possible_truncation, reason = "degrees times a million are far within 64 bits")]
fn millionths(degrees: f64) -> i64 {
    (degrees * 1e6).round() as i64
}

/// Corners without the closing one, which is the first again.
fn corners(wkt: &str) -> Vec<i64> {
    let ring = outline::ring(wkt).unwrap_or_default();
    ring.split_last().map_or(&[][..], |(_, open)| open).iter().flatten().map(|degrees| millionths(*degrees)).collect()
}

fn layers(
    shapes: BTreeMap<i64, BTreeMap<String, Shape>>,
    now: &Cells,
    then: Option<&Cells>,
    bucket_days: u32,
    currencies: &mut Names,
) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let mut positions: BTreeMap<i64, BTreeMap<String, usize>> = BTreeMap::new();
    for (resolution, cells) in shapes {
        positions.insert(resolution, cells.keys().cloned().enumerate().map(|(position, cell)| (cell, position)).collect());
        layers.push(Layer {
            resolution,
            centers: cells.values().flat_map(|shape| shape.center.map(millionths)).collect(),
            outlines: cells.values().map(|shape| corners(&shape.wkt)).collect(),
            wkt: cells.values().map(|shape| shape.wkt.clone()).collect(),
            cells: cells.into_keys().collect(),
            rows: Rows { day: (bucket_days == 1).then(DayRows::default), ..Rows::default() },
            hidden: Hidden::default(),
            baseline: then.map(|_| Rows::default()),
            baseline_hidden: then.map(|_| Hidden::default()),
        });
    }
    for (cells, is_baseline) in [(Some(now), false), (then, true)] {
        let Some(Cells { table, showing }) = cells else { continue };
        for (row, showing) in showing.iter().enumerate() {
            let (Some(resolution), Some(cell)) = (table.integer("resolution", row)?, table.text("cell", row)?) else { continue };
            let layer = layers.iter_mut().find(|layer| layer.resolution == resolution);
            let position = positions.get(&resolution).and_then(|cells| cells.get(&cell));
            let (Some(layer), Some(position)) = (layer, position) else { continue };
            let currency = currencies.position(&table.text("currency", row)?.unwrap_or_default());
            match showing {
                Showing::Shown => {
                    let rows = if is_baseline { layer.baseline.get_or_insert_default() } else { &mut layer.rows };
                    push(rows, table, row, *position, currency)?;
                }
                Showing::Hidden => {
                    let hidden = if is_baseline { layer.baseline_hidden.get_or_insert_default() } else { &mut layer.hidden };
                    hidden.bucket.push(table.integer("bucket", row)?.unwrap_or(0));
                    hidden.cell.push(*position);
                    hidden.currency.push(currency);
                }
                Showing::Unlisted => {}
            }
        }
    }
    Ok(layers)
}

fn push(rows: &mut Rows, table: &Table, row: usize, cell: usize, currency: usize) -> Result<()> {
    rows.bucket.push(table.integer("bucket", row)?.unwrap_or(0));
    rows.cell.push(cell);
    rows.currency.push(currency);
    for (column, name) in [
        (&mut rows.orders, "orders"),
        (&mut rows.completed, "completed"),
        (&mut rows.cancelled, "cancelled"),
        (&mut rows.late, "late"),
        (&mut rows.new_customers, "new_customers"),
        (&mut rows.revenue, "revenue"),
        (&mut rows.minutes, "minutes"),
        (&mut rows.distance, "distance"),
    ] {
        column.push(table.integer(name, row)?);
    }
    if let Some(day) = &mut rows.day {
        for (column, name) in [
            (&mut day.minutes_p50, "minutes_p50"),
            (&mut day.minutes_p90, "minutes_p90"),
            (&mut day.customers, "customers"),
            (&mut day.stores, "stores"),
        ] {
            column.push(table.integer(name, row)?);
        }
    }
    Ok(())
}

async fn stores(session: &Session, notes: &mut Vec<String>) -> Result<Vec<Store>> {
    if !statement::exists(session, "stores").await? {
        notes.push("Stores are not shown: table \"stores\" is not in the lake.".to_owned());
        return Ok(Vec::new());
    }
    let found = fetch(session, statement::STORES).await?;
    let mut stores = Vec::new();
    for row in 0..found.rows() {
        let place = (found.integer("store_id", row)?, found.number("latitude", row)?, found.number("longitude", row)?);
        let (Some(id), Some(lat), Some(lng)) = place else { continue };
        stores.push(Store {
            id,
            name: found.text("name", row)?.unwrap_or_else(|| format!("Store {id}")),
            city: found.text("city", row)?,
            country: found.text("country", row)?,
            lat,
            lng,
            radius: found.integer("radius", row)?,
            closed: !found.boolean("is_open", row)?.unwrap_or(true),
        });
    }
    let missing = found.rows() - stores.len();
    if missing > 0 {
        notes.push(format!("Without a location, and so not shown: {}.", plural(missing, "store")));
    }
    Ok(stores)
}

async fn store_rows(session: &Session, stores: &[Store], dates: Dates, bucket_days: u32, currencies: &mut Names) -> Result<StoreRows> {
    let mut rows = StoreRows::default();
    if !statement::exists(session, "coverage_stores").await? {
        return Ok(rows);
    }
    let positions: BTreeMap<i64, usize> = stores.iter().enumerate().map(|(position, store)| (store.id, position)).collect();
    let found = fetch(session, &statement::store_days(dates, bucket_days)).await?;
    for row in 0..found.rows() {
        let Some(store) = found.integer("store_id", row)?.and_then(|id| positions.get(&id)) else { continue };
        rows.bucket.push(found.integer("bucket", row)?.unwrap_or(0));
        rows.store.push(*store);
        rows.currency.push(currencies.position(&found.text("currency", row)?.unwrap_or_default()));
        rows.orders.push(found.integer("orders", row)?);
        rows.completed.push(found.integer("completed", row)?);
        rows.cancelled.push(found.integer("cancelled", row)?);
        rows.late.push(found.integer("late", row)?);
        rows.revenue.push(found.integer("revenue", row)?);
    }
    Ok(rows)
}

async fn gaps(session: &Session, customers_min: i64, notes: &mut Vec<String>) -> Result<Gaps> {
    let mut gaps = Gaps::default();
    if !statement::exists(session, "coverage_gaps").await? {
        notes.push("Gaps are not shown: table \"coverage_gaps\" is not in the lake.".to_owned());
        return Ok(gaps);
    }
    let found = fetch(session, &statement::gaps(customers_min)).await?;
    for row in 0..found.rows().min(GAPS_MAX) {
        let (Some(cell), Some(wkt)) = (found.text("cell", row)?, found.text("wkt", row)?) else { continue };
        gaps.cell.push(cell);
        gaps.rank.push(found.integer("rank", row)?.unwrap_or(0));
        gaps.attempts.push(found.integer("attempts", row)?);
        gaps.completed.push(found.integer("completed", row)?);
        gaps.cancelled.push(found.integer("cancelled", row)?);
        gaps.late.push(found.integer("late", row)?);
        gaps.customers.push(found.integer("customers", row)?);
        gaps.out_of_reach.push(found.boolean("out_of_reach", row)?.unwrap_or(false));
        gaps.cancelled_often.push(found.boolean("cancelled_often", row)?.unwrap_or(false));
        gaps.late_often.push(found.boolean("late_often", row)?.unwrap_or(false));
        gaps.nearest_store.push(found.integer("nearest_store", row)?);
        gaps.nearest_m.push(found.integer("nearest_m", row)?);
        gaps.currency.push(found.text("currency", row)?.unwrap_or_default());
        gaps.lost_revenue.push(found.integer("lost_revenue", row)?);
        gaps.lat.push(found.number("lat", row)?.unwrap_or(0.0));
        gaps.lng.push(found.number("lng", row)?.unwrap_or(0.0));
        gaps.outline.push(corners(&wkt));
        gaps.wkt.push(wkt);
    }
    if found.rows() > GAPS_MAX {
        notes.push(format!("Of {}, the first {} are shown.", plural(found.rows(), "gap"), count(GAPS_MAX as u64)));
    }
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn buckets_are_whole_and_end_with_the_last_day() {
        let dates = Dates { from: date("2025-09-20"), to: date("2025-11-03") };
        assert_eq!(dates.days(), 45);
        assert_eq!(dates.whole(1), dates);
        let weeks = dates.whole(7);
        assert_eq!(weeks, Dates { from: date("2025-09-23"), to: dates.to }, "42 days are six weeks");
        assert_eq!(weeks.bucket_starts(7).len(), 6);
        assert_eq!(dates.whole(28).bucket_starts(28), [date("2025-10-07")]);
        let short = Dates { from: date("2025-11-01"), to: date("2025-11-03") };
        assert_eq!(short.whole(7), short, "fewer days than a bucket stay as they are");
    }

    #[test]
    fn corners_are_whole_numbers_and_not_closed() {
        assert_eq!(
            corners("POLYGON ((180.5 1, 181 1, 181 2.0000004, 180.5 1))"),
            [180_500_000, 1_000_000, 181_000_000, 1_000_000, 181_000_000, 2_000_000]
        );
        assert!(corners("POINT (1 2)").is_empty());
    }
}
