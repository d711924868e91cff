//! The statements behind a map, and their rows by column.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use chrono::NaiveDate;
use futures::TryStreamExt;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::name::TableName;
use pipeline_transforms::session::Session;

use super::read::Dates;

/// The table of cells.
pub(crate) const ORDERS: &str = "coverage_orders";

/// The same as an earlier run left it, once a session has it.
pub(crate) const EARLIER: &str = "earlier.coverage_orders";

/// Whether a store is open at the session's instant, its last day included: as in `coverage_gaps`.
pub(crate) const IS_OPEN: &str = "(opened_on IS NULL OR opened_on <= local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC'))) \
    AND (closed_on IS NULL OR closed_on >= local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC')))";

/// Stores.
pub(crate) const STORES: &str = "SELECT CAST(store_id AS BIGINT) AS store_id, name, city, country, latitude, longitude, \
    CAST(delivery_radius_m AS BIGINT) AS radius, \
    (opened_on IS NULL OR opened_on <= local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC'))) \
    AND (closed_on IS NULL OR closed_on >= local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC'))) AS is_open \
    FROM stores ORDER BY store_id";

/// Gaps by rank. Where cells of few customers are not shown, gaps have no counts of orders: less what cells show, those would be what cells do not show.
pub(crate) fn gaps(customers_min: i64) -> String {
    let (counts, rank, condition) = if customers_min <= 1 {
        ("attempts, completed, cancelled, late_orders AS late".to_owned(), "opportunity_rank", String::new())
    } else {
        let none = ["attempts", "completed", "cancelled", "late"].map(|name| format!("CAST(NULL AS BIGINT) AS {name}"));
        // An order by counts would tell of them.
        let rank = "CAST(row_number() OVER (ORDER BY customers DESC, cell) AS BIGINT)";
        (none.join(", "), rank, format!("WHERE customers >= {customers_min}"))
    };
    format!(
        "SELECT CAST(cell AS VARCHAR) AS cell, {rank} AS rank, {counts}, customers, {GAP_COLUMNS} FROM coverage_gaps {condition} ORDER BY rank, cell"
    )
}

/// What else a map shows of a gap.
const GAP_COLUMNS: &str = "is_out_of_reach AS out_of_reach, is_cancelled_often AS cancelled_often, is_late_often AS late_often, \
    CAST(nearest_store_id AS BIGINT) AS nearest_store, CAST(round(nearest_store_m) AS BIGINT) AS nearest_m, currency, \
    CAST(lost_revenue * 100 AS BIGINT) AS lost_revenue, cell_latitude AS lat, cell_longitude AS lng, boundary_wkt AS wkt";

/// The first and the last date.
pub(crate) fn span(table: &str) -> String {
    format!("SELECT min(business_date) AS first, max(business_date) AS last FROM {table}")
}

fn bucket(dates: Dates, days: u32) -> String {
    // Date arithmetic gives different types by engine; the number of a day is a number.
    let first = dates.from.signed_duration_since(NaiveDate::default()).num_days();
    format!("(CAST(CAST(business_date AS INT) AS BIGINT) - {first}) / {days}")
}

fn chosen(dates: Dates, resolutions: &[i64]) -> String {
    let mut condition = format!("business_date >= DATE '{}' AND business_date <= DATE '{}'", dates.from, dates.to);
    if !resolutions.is_empty() {
        let list: Vec<String> = resolutions.iter().map(i64::to_string).collect();
        condition.push_str(&format!(" AND resolution IN ({})", list.join(", ")));
    }
    condition
}

/// How many rows [`cells`] has, and of how many cells.
pub(crate) fn count(table: &str, dates: Dates, bucket_days: u32, resolutions: &[i64]) -> String {
    let condition = chosen(dates, resolutions);
    if bucket_days == 1 {
        return format!("SELECT count(*) AS rows, count(DISTINCT cell) AS cells FROM {table} WHERE {condition}");
    }
    let bucket = bucket(dates, bucket_days);
    format!(
        "SELECT count(*) AS rows, count(DISTINCT cell) AS cells \
         FROM (SELECT DISTINCT {bucket} AS bucket, resolution, cell, currency FROM {table} WHERE {condition})"
    )
}

/// Different customers of cells by bucket, counted from orders: those of several days do not add up.
pub(crate) fn customers(dates: Dates, bucket_days: u32, resolutions: &[i64]) -> String {
    let (bucket, condition) = (bucket(dates, bucket_days), chosen(dates, resolutions));
    format!(
        "SELECT {bucket} AS bucket, CAST(resolution AS BIGINT) AS resolution, CAST(h3_parent(finest, resolution) AS VARCHAR) AS cell, code AS currency, \
         count(DISTINCT customer_id) AS customers FROM (\
             SELECT business_date, customer_id, coalesce(currency, 'XXX') AS code, \
                 h3_cell(latitude, longitude, array_max(parameter_ints('resolutions', '7,8,9'))) AS finest, \
                 unnest(parameter_ints('resolutions', '7,8,9')) AS resolution \
             FROM orders WHERE fulfilment = 'delivery' AND latitude IS NOT NULL AND longitude IS NOT NULL AND business_date IS NOT NULL\
         ) WHERE finest IS NOT NULL AND {condition} GROUP BY {bucket}, resolution, h3_parent(finest, resolution), code"
    )
}

/// Measures of cells by bucket. The customers of several days are at least those of the day with most. Of means over several days, the weights are the orders they were taken of.
pub(crate) fn cells(table: &str, dates: Dates, bucket_days: u32, resolutions: &[i64]) -> String {
    let (bucket, condition) = (bucket(dates, bucket_days), chosen(dates, resolutions));
    let keys = format!("{bucket} AS bucket, CAST(resolution AS BIGINT) AS resolution, CAST(cell AS VARCHAR) AS cell, currency");
    if bucket_days == 1 {
        return format!(
            "SELECT {keys}, orders, completed, cancelled, late_orders AS late, new_customers, CAST(revenue * 100 AS BIGINT) AS revenue, \
             CAST(round(delivery_minutes_mean * 10) AS BIGINT) AS minutes, CAST(round(store_distance_mean_m) AS BIGINT) AS distance, \
             CAST(round(delivery_minutes_p50 * 10) AS BIGINT) AS minutes_p50, CAST(round(delivery_minutes_p90 * 10) AS BIGINT) AS minutes_p90, \
             customers, stores FROM {table} WHERE {condition} ORDER BY resolution, bucket, cell, currency"
        );
    }
    // In decimals, because sums of doubles depend on the order of the rows.
    let mean = |column: &str, weight: &str, scale: u32| {
        format!(
            "CAST(round(CAST(sum(CAST({column} AS DECIMAL(18, 6)) * CAST({weight} AS DECIMAL(10, 0))) AS DOUBLE) * {scale} \
             / CAST(nullif(sum({weight}) FILTER (WHERE {column} IS NOT NULL), 0) AS DOUBLE)) AS BIGINT)"
        )
    };
    let (minutes, distance) = (mean("delivery_minutes_mean", "completed", 10), mean("store_distance_mean_m", "orders", 1));
    format!(
        "SELECT {keys}, sum(orders) AS orders, sum(completed) AS completed, sum(cancelled) AS cancelled, sum(late_orders) AS late, \
         sum(new_customers) AS new_customers, max(customers) AS customers, CAST(sum(revenue) * 100 AS BIGINT) AS revenue, {minutes} AS minutes, {distance} AS distance \
         FROM {table} WHERE {condition} GROUP BY {bucket}, resolution, cell, currency ORDER BY resolution, bucket, cell, currency"
    )
}

/// Where the cells of tables lie, each cell once.
pub(crate) fn shapes(tables: &[(&str, Dates)], resolutions: &[i64]) -> String {
    let selects: Vec<String> =
        tables.iter().map(|(table, dates)| format!("SELECT resolution, cell FROM {table} WHERE {}", chosen(*dates, resolutions))).collect();
    format!(
        "SELECT CAST(resolution AS BIGINT) AS resolution, cell, h3_center_lat(cell) AS lat, h3_center_lng(cell) AS lng, \
         h3_boundary_wkt(cell) AS wkt FROM (SELECT DISTINCT resolution, CAST(cell AS VARCHAR) AS cell FROM ({}))",
        selects.join(" UNION ALL ")
    )
}

/// The currencies of stores.
pub(crate) fn store_currencies(dates: Dates) -> String {
    format!("SELECT DISTINCT currency FROM coverage_stores WHERE {}", chosen(dates, &[]))
}

/// Measures of stores by bucket.
pub(crate) fn store_days(dates: Dates, bucket_days: u32) -> String {
    let (bucket, condition) = (bucket(dates, bucket_days), chosen(dates, &[]));
    format!(
        "SELECT {bucket} AS bucket, CAST(store_id AS BIGINT) AS store_id, currency, sum(orders) AS orders, sum(completed) AS completed, \
         sum(cancelled) AS cancelled, sum(late_orders) AS late, CAST(sum(revenue) * 100 AS BIGINT) AS revenue \
         FROM coverage_stores WHERE {condition} GROUP BY {bucket}, store_id, currency ORDER BY bucket, store_id, currency"
    )
}

/// Whether the session has a mart of this name.
pub(crate) async fn exists(session: &Session, table: &str) -> Result<bool> {
    session.has(&TableName::new(TableName::MARTS, table)?).await
}

/// The rows of a statement.
pub(crate) async fn fetch(session: &Session, sql: &str) -> Result<Table> {
    let stream = Box::pin(session.query(sql)).await?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(Table(concat_batches(&schema, &batches)?))
}

/// Rows, by column and position.
#[derive(Debug)]
pub(crate) struct Table(RecordBatch);

impl Table {
    /// How many.
    pub(crate) fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    fn column(&self, name: &str, wanted: &DataType) -> Result<&dyn Array> {
        let found = self.0.column_by_name(name).filter(|column| column.data_type() == wanted);
        found.map(AsRef::as_ref).ok_or_else(|| Error::new(&BUG, format!("a statement gives no column \"{name}\" of type {wanted}")))
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str, row: usize) -> Result<Option<i64>> {
        let column = self.column(name, &DataType::Int64)?;
        Ok(column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row)))
    }

    /// A number.
    pub(crate) fn number(&self, name: &str, row: usize) -> Result<Option<f64>> {
        let column = self.column(name, &DataType::Float64)?;
        Ok(column.is_valid(row).then(|| column.as_primitive::<Float64Type>().value(row)))
    }

    /// A truth value.
    pub(crate) fn boolean(&self, name: &str, row: usize) -> Result<Option<bool>> {
        let column = self.column(name, &DataType::Boolean)?;
        Ok(column.is_valid(row).then(|| column.as_boolean().value(row)))
    }

    /// A text.
    pub(crate) fn text(&self, name: &str, row: usize) -> Result<Option<String>> {
        let column = self.column(name, &DataType::Utf8)?;
        Ok(column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned()))
    }

    /// A date.
    pub(crate) fn date(&self, name: &str, row: usize) -> Result<Option<NaiveDate>> {
        let column = self.column(name, &DataType::Date32)?;
        Ok(if column.is_valid(row) { column.as_primitive::<Date32Type>().value_as_date(row) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_counted_from_the_first_day() {
        let dates = Dates { from: NaiveDate::from_ymd_opt(1970, 1, 8).unwrap(), to: NaiveDate::from_ymd_opt(1970, 2, 1).unwrap() };
        assert_eq!(bucket(dates, 7), "(CAST(CAST(business_date AS INT) AS BIGINT) - 7) / 7");
        assert_eq!(
            chosen(dates, &[7, 9]),
            "business_date >= DATE '1970-01-08' AND business_date <= DATE '1970-02-01' AND resolution IN (7, 9)"
        );
    }

    #[test]
    fn open_means_the_same_everywhere() {
        assert!(STORES.contains(IS_OPEN));
    }
}
