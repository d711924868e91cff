//! What one store more or less would change, by the demand of the last 28 days.
//!
//! Demand is counted as in `coverage_gaps`: delivery orders with a location, cancelled ones too, by H3 cell; a cell is in
//! reach of a store if the store's radius holds the cell's centre.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pipeline_core::error::Result;
use pipeline_transforms::session::Session;
use serde::Serialize;

use super::features::decimal;
use super::statement::{IS_OPEN, fetch, gaps};

/// Days of demand.
pub(crate) const DAYS: u32 = 28;

/// A store that might be opened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Candidate {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) radius_m: f64,
}

/// Demand of some cells.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Demand {
    pub(crate) cells: i64,
    /// Orders attempted, cancelled ones too. None, as what follows, where too few customers are behind it, or a part of it could be told.
    pub(crate) orders: Option<i64>,
    pub(crate) cancelled: Option<i64>,
    /// Different customers, without guests.
    pub(crate) customers: Option<i64>,
    /// Of completed orders, by currency: a decimal as text.
    pub(crate) revenue: Option<BTreeMap<String, String>>,
}

impl Demand {
    fn nothing() -> Self {
        Self { cells: 0, orders: Some(0), cancelled: Some(0), customers: Some(0), revenue: Some(BTreeMap::new()) }
    }

    fn is_small(&self, customers_min: i64) -> bool {
        customers_min > 1 && self.orders.unwrap_or(0) > 0 && self.customers.unwrap_or(0) < customers_min
    }

    fn hide(&mut self) {
        *self = Self { cells: self.cells, orders: None, cancelled: None, customers: None, revenue: None };
    }
}

/// Hides the parts of a whole if one of them is small, and the whole if it is small itself: the whole less one part is the other. Says whether all is shown.
fn hide_small(whole: &mut Demand, parts: [&mut Demand; 2], customers_min: i64) -> bool {
    let shows_parts = !parts.iter().any(|part| part.is_small(customers_min));
    if !shows_parts {
        parts.into_iter().for_each(Demand::hide);
    }
    if whole.is_small(customers_min) {
        whole.hide();
    }
    shows_parts
}

/// Another store beside those cells.
#[derive(Debug, Serialize)]
pub(crate) struct Neighbour {
    pub(crate) store_id: i64,
    pub(crate) name: Option<String>,
    /// Cells that it reaches too.
    pub(crate) cells: i64,
    /// Orders from those cells: those it has now where a store opens, those it could take over where one closes. None where they are of too few customers, or
    /// would tell of others that are.
    pub(crate) orders: Option<i64>,
}

/// What becomes of a gap.
#[derive(Debug, Serialize)]
pub(crate) struct Gap {
    pub(crate) cell: String,
    pub(crate) opportunity_rank: i64,
    /// None where counts of cells are not shown.
    pub(crate) attempts: Option<i64>,
    /// Different customers, without guests.
    pub(crate) customers: i64,
    /// `closes` where out of reach was all that was wrong, `comes into reach` where orders are late or cancelled besides,
    /// `one store more` where others reach it already.
    pub(crate) effect: &'static str,
}

/// What a new store would change.
#[derive(Debug, Serialize)]
pub(crate) struct Opening {
    pub(crate) store: Candidate,
    /// All that it reaches.
    pub(crate) reached: Demand,
    /// Of that, what no open store reaches.
    pub(crate) new: Demand,
    /// And what others reach already.
    pub(crate) shared: Demand,
    pub(crate) stores: Vec<Neighbour>,
    pub(crate) gaps: Vec<Gap>,
}

/// What a store that closes would leave.
#[derive(Debug, Serialize)]
pub(crate) struct Closing {
    pub(crate) store_id: i64,
    pub(crate) name: Option<String>,
    /// Its own deliveries, and the cells it reaches or delivers to.
    pub(crate) all: Demand,
    /// Of that, cells that no other open store reaches.
    pub(crate) lost: Demand,
    /// And cells that others reach.
    pub(crate) coverable: Demand,
    /// Its orders that are no deliveries to a known place; `cells` is 0.
    pub(crate) elsewhere: Demand,
    pub(crate) stores: Vec<Neighbour>,
}

/// Demand by cell, and the open stores.
fn base() -> String {
    format!(
        "WITH attempts AS (\
            SELECT customer_id, CAST(store_id AS BIGINT) AS store_id, coalesce(currency, 'XXX') AS currency, is_completed, is_cancelled, revenue, \
                CASE WHEN fulfilment = 'delivery' THEN h3_cell(latitude, longitude, parameter_int('gap_resolution', 8)) END AS cell \
            FROM orders WHERE placed_at <= as_of() AND placed_at > as_of() - INTERVAL '{DAYS} days'), \
        demand AS (SELECT * FROM attempts WHERE cell IS NOT NULL), \
        cells AS (SELECT cell, h3_center_lat(cell) AS lat, h3_center_lng(cell) AS lng FROM (SELECT DISTINCT cell FROM demand)), \
        open_stores AS (\
            SELECT CAST(store_id AS BIGINT) AS store_id, name, latitude, longitude, delivery_radius_m FROM stores \
            WHERE latitude IS NOT NULL AND longitude IS NOT NULL AND {IS_OPEN}), \
        reach AS (\
            SELECT c.cell, s.store_id, s.name FROM cells AS c CROSS JOIN open_stores AS s \
            WHERE distance_m(s.latitude, s.longitude, c.lat, c.lng) <= s.delivery_radius_m)"
    )
}

/// Sums of `chosen` (orders of `side_cells`, with `side`) by side and over both. Cells count whether or not they have orders.
fn sums(side_cells: &str, chosen: &str) -> String {
    format!(
        "SELECT side, sum(cells) AS cells, sum(orders) AS orders, sum(cancelled) AS cancelled, sum(customers) AS customers FROM (\
            SELECT side, count(*) AS cells, 0 AS orders, 0 AS cancelled, 0 AS customers FROM {side_cells} GROUP BY side \
            UNION ALL SELECT 'all', count(*), 0, 0, 0 FROM {side_cells} \
            UNION ALL SELECT side, 0, count(*), count(*) FILTER (WHERE is_cancelled), count(DISTINCT customer_id) FROM {chosen} GROUP BY side \
            UNION ALL SELECT 'all', 0, count(*), count(*) FILTER (WHERE is_cancelled), count(DISTINCT customer_id) FROM {chosen}\
        ) GROUP BY side"
    )
}

fn revenue(chosen: &str) -> String {
    format!(
        "SELECT side, currency, CAST(sum(revenue) * 100 AS BIGINT) AS revenue FROM (\
            SELECT side, currency, revenue FROM {chosen} WHERE is_completed \
            UNION ALL SELECT 'all', currency, revenue FROM {chosen} WHERE is_completed\
        ) GROUP BY side, currency ORDER BY side, currency"
    )
}

/// Demand by side.
async fn demand(session: &Session, with: &str, side_cells: &str, chosen: &str) -> Result<BTreeMap<String, Demand>> {
    let mut sides: BTreeMap<String, Demand> = BTreeMap::new();
    let found = fetch(session, &format!("{with} {}", sums(side_cells, chosen))).await?;
    for row in 0..found.rows() {
        let number = |name: &str| Ok::<_, pipeline_core::error::Error>(found.integer(name, row)?.unwrap_or(0));
        let demand = Demand {
            cells: number("cells")?,
            orders: Some(number("orders")?),
            cancelled: Some(number("cancelled")?),
            customers: Some(number("customers")?),
            revenue: Some(BTreeMap::new()),
        };
        sides.insert(found.text("side", row)?.unwrap_or_default(), demand);
    }
    let found = fetch(session, &format!("{with} {}", revenue(chosen))).await?;
    for row in 0..found.rows() {
        let (side, currency) = (found.text("side", row)?.unwrap_or_default(), found.text("currency", row)?.unwrap_or_default());
        if let (Some(demand), Some(amount)) = (sides.get_mut(&side), found.integer("revenue", row)?) {
            demand.revenue.get_or_insert_default().insert(currency, decimal(amount));
        }
    }
    Ok(sides)
}

/// Stores with their orders: of all of them, or of none. What they could take over is what others reach, as often as not, and their reaches overlap: one
/// number would tell of another.
async fn neighbours(session: &Session, sql: &str, shows_orders: bool, customers_min: i64) -> Result<Vec<Neighbour>> {
    let found = fetch(session, sql).await?;
    let mut shows_orders = shows_orders;
    let mut stores = Vec::with_capacity(found.rows());
    for row in 0..found.rows() {
        let (orders, customers) = (found.integer("orders", row)?.unwrap_or(0), found.integer("customers", row)?.unwrap_or(0));
        shows_orders &= customers_min <= 1 || orders == 0 || customers >= customers_min;
        stores.push(Neighbour {
            store_id: found.integer("store_id", row)?.unwrap_or(0),
            name: found.text("name", row)?,
            cells: found.integer("cells", row)?.unwrap_or(0),
            orders: Some(orders),
        });
    }
    if !shows_orders {
        stores.iter_mut().for_each(|store| store.orders = None);
    }
    Ok(stores)
}

/// A number as SQL has it: never in words such as NaN, which arguments are checked for.
fn literal(number: f64) -> String {
    format!("CAST('{number}' AS DOUBLE)")
}

/// What a new store would change.
///
/// # Errors
/// Those of the query engine.
pub(crate) async fn open(session: &Session, store: Candidate, customers_min: i64) -> Result<Opening> {
    let (latitude, longitude, radius) = (literal(store.latitude), literal(store.longitude), literal(store.radius_m));
    let with = format!(
        "{}, side_cells AS (\
            SELECT c.cell, CASE WHEN r.cell IS NULL THEN 'new' ELSE 'shared' END AS side \
            FROM cells AS c LEFT JOIN (SELECT DISTINCT cell FROM reach) AS r ON c.cell = r.cell \
            WHERE distance_m({latitude}, {longitude}, c.lat, c.lng) <= {radius}), \
        chosen AS (SELECT d.*, s.side FROM demand AS d JOIN side_cells AS s ON d.cell = s.cell)",
        base()
    );
    let mut sides = demand(session, &with, "side_cells", "chosen").await?;
    let mut take = |side: &str| sides.remove(side).unwrap_or_else(Demand::nothing);
    let (mut reached, mut new, mut shared) = (take("all"), take("new"), take("shared"));
    let shows_parts = hide_small(&mut reached, [&mut new, &mut shared], customers_min);
    let stores = neighbours(
        session,
        &format!(
            "{with} SELECT r.store_id, r.name, r.cells, coalesce(o.orders, 0) AS orders, coalesce(o.customers, 0) AS customers FROM (\
                SELECT r.store_id, r.name, count(*) AS cells FROM reach AS r JOIN side_cells AS s ON r.cell = s.cell GROUP BY r.store_id, r.name\
            ) AS r LEFT JOIN (\
                SELECT store_id, count(*) AS orders, count(DISTINCT customer_id) AS customers FROM chosen GROUP BY store_id\
            ) AS o ON r.store_id = o.store_id ORDER BY r.cells DESC, r.store_id"
        ),
        shows_parts,
        customers_min,
    )
    .await?;
    let found = fetch(
        session,
        &format!(
            "SELECT cell, rank, attempts, customers, out_of_reach, cancelled_often OR late_often AS is_bad \
             FROM ({}) WHERE distance_m({latitude}, {longitude}, lat, lng) <= {radius} ORDER BY rank, cell",
            gaps(customers_min)
        ),
    )
    .await?;
    let mut near = Vec::new();
    for row in 0..found.rows() {
        let effect = match (found.boolean("out_of_reach", row)?.unwrap_or(false), found.boolean("is_bad", row)?.unwrap_or(false)) {
            (true, false) => "closes",
            (true, true) => "comes into reach",
            (false, _) => "one store more",
        };
        near.push(Gap {
            cell: found.text("cell", row)?.unwrap_or_default(),
            opportunity_rank: found.integer("rank", row)?.unwrap_or(0),
            attempts: found.integer("attempts", row)?,
            customers: found.integer("customers", row)?.unwrap_or(0),
            effect,
        });
    }
    Ok(Opening { store, reached, new, shared, stores, gaps: near })
}

/// The open stores' numbers and names.
///
/// # Errors
/// Those of the query engine.
pub(crate) async fn open_stores(session: &Session) -> Result<BTreeMap<i64, Option<String>>> {
    let sql = format!("SELECT CAST(store_id AS BIGINT) AS store_id, name FROM stores WHERE {IS_OPEN} ORDER BY store_id");
    let found = fetch(session, &sql).await?;
    let mut stores = BTreeMap::new();
    for row in 0..found.rows() {
        stores.extend(
            found.integer("store_id", row)?.map(|id| Ok::<_, pipeline_core::error::Error>((id, found.text("name", row)?))).transpose()?,
        );
    }
    Ok(stores)
}

/// What a store that closes would leave. It has to be open.
///
/// # Errors
/// Those of the query engine.
pub(crate) async fn close(session: &Session, store_id: i64, name: Option<String>, customers_min: i64) -> Result<Closing> {
    let with = format!(
        "{}, its_cells AS (\
            SELECT cell FROM reach WHERE store_id = {store_id} UNION SELECT cell FROM demand WHERE store_id = {store_id}), \
        side_cells AS (\
            SELECT c.cell, CASE WHEN r.cell IS NULL THEN 'lost' ELSE 'coverable' END AS side \
            FROM its_cells AS c LEFT JOIN (SELECT DISTINCT cell FROM reach WHERE store_id <> {store_id}) AS r ON c.cell = r.cell), \
        chosen AS (SELECT d.*, s.side FROM demand AS d JOIN side_cells AS s ON d.cell = s.cell WHERE d.store_id = {store_id}), \
        no_cells AS (SELECT cell, 'none' AS side FROM cells WHERE false), \
        unplaced AS (SELECT *, 'none' AS side FROM attempts WHERE store_id = {store_id} AND cell IS NULL)",
        base()
    );
    let mut sides = demand(session, &with, "side_cells", "chosen").await?;
    let mut take = |side: &str| sides.remove(side).unwrap_or_else(Demand::nothing);
    let (mut all, mut lost, mut coverable) = (take("all"), take("lost"), take("coverable"));
    let shows_parts = hide_small(&mut all, [&mut lost, &mut coverable], customers_min);
    let mut elsewhere = demand(session, &with, "no_cells", "unplaced").await?;
    let mut stores = neighbours(
        session,
        &format!(
            "{with} SELECT r.store_id, r.name, count(DISTINCT r.cell) AS cells, count(c.cell) AS orders, count(DISTINCT c.customer_id) AS customers \
             FROM reach AS r JOIN side_cells AS s ON r.cell = s.cell LEFT JOIN chosen AS c ON r.cell = c.cell \
             WHERE r.store_id <> {store_id} GROUP BY r.store_id, r.name"
        ),
        shows_parts,
        customers_min,
    )
    .await?;
    // Not by the statement: the order would tell of numbers that are not shown.
    stores.sort_by_key(|store| (Reverse(store.orders), Reverse(store.cells), store.store_id));
    let mut elsewhere = elsewhere.remove("all").unwrap_or_else(Demand::nothing);
    if elsewhere.is_small(customers_min) {
        elsewhere.hide();
    }
    Ok(Closing { store_id, name, all, lost, coverable, elsewhere, stores })
}
