//! What a map shows, in columns: the form that the page reads, and the exports are made from.

use chrono::NaiveDate;
use serde::Serialize;

/// A map.
#[derive(Debug, Serialize)]
pub(crate) struct Atlas {
    pub(crate) schema_version: u32,
    pub(crate) project: String,
    pub(crate) pipeline: String,
    /// The locale of numbers and dates; that of the browser if there is none.
    pub(crate) locale: Option<String>,
    /// The run whose marts these are.
    pub(crate) run: Option<String>,
    /// The instant that run called now.
    pub(crate) as_of: String,
    /// The first business date.
    pub(crate) from: NaiveDate,
    /// The last one.
    pub(crate) to: NaiveDate,
    /// Cells of fewer customers, and some beside them, show no numbers; 1 if all do.
    pub(crate) k_anonymity: i64,
    /// So many days are one bucket.
    pub(crate) bucket_days: u32,
    /// The first day of each bucket.
    pub(crate) dates: Vec<NaiveDate>,
    /// ISO 4217 codes.
    pub(crate) currencies: Vec<String>,
    /// One for each resolution, the coarsest first.
    pub(crate) layers: Vec<Layer>,
    pub(crate) stores: Vec<Store>,
    pub(crate) store_rows: StoreRows,
    pub(crate) gaps: Gaps,
    /// Over how many days gaps are counted.
    pub(crate) gap_days: u32,
    pub(crate) baseline: Option<Baseline>,
    /// What readers have to know besides.
    pub(crate) notes: Vec<String>,
}

/// The cells of one resolution.
#[derive(Debug, Serialize)]
pub(crate) struct Layer {
    pub(crate) resolution: i64,
    pub(crate) cells: Vec<String>,
    /// Latitude and longitude of each cell's centre, in millionths of a degree.
    pub(crate) centers: Vec<i64>,
    /// Longitude and latitude of each corner, in millionths of a degree, not closed; longitudes may go beyond ±180°.
    pub(crate) outlines: Vec<Vec<i64>>,
    pub(crate) rows: Rows,
    /// Cells whose numbers are not shown.
    pub(crate) hidden: Hidden,
    /// What it is compared with, about the same cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) baseline: Option<Rows>,
    /// Of that, what is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) baseline_hidden: Option<Hidden>,
    /// The exact outlines, as WKT.
    #[serde(skip)]
    pub(crate) wkt: Vec<String>,
}

/// Measures by bucket, cell and currency, in this order. Cells and currencies are positions in their lists.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rows {
    pub(crate) bucket: Vec<i64>,
    pub(crate) cell: Vec<usize>,
    pub(crate) currency: Vec<usize>,
    pub(crate) orders: Vec<Option<i64>>,
    pub(crate) completed: Vec<Option<i64>>,
    pub(crate) cancelled: Vec<Option<i64>>,
    pub(crate) late: Vec<Option<i64>>,
    pub(crate) new_customers: Vec<Option<i64>>,
    /// In hundredths.
    pub(crate) revenue: Vec<Option<i64>>,
    /// The mean delivery time in tenths of a minute.
    pub(crate) minutes: Vec<Option<i64>>,
    /// The mean distance from the store in metres.
    pub(crate) distance: Vec<Option<i64>>,
    /// What holds for single days only.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<DayRows>,
}

/// Where something was ordered, and how much is not shown: by bucket, cell and currency, as rows are.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Hidden {
    pub(crate) bucket: Vec<i64>,
    pub(crate) cell: Vec<usize>,
    pub(crate) currency: Vec<usize>,
}

/// Measures that cannot be combined over days.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DayRows {
    pub(crate) minutes_p50: Vec<Option<i64>>,
    pub(crate) minutes_p90: Vec<Option<i64>>,
    pub(crate) customers: Vec<Option<i64>>,
    pub(crate) stores: Vec<Option<i64>>,
}

/// A store that has a place.
#[derive(Debug, Serialize)]
pub(crate) struct Store {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) city: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) lat: f64,
    pub(crate) lng: f64,
    /// How far it delivers, in metres.
    pub(crate) radius: Option<i64>,
    /// Whether it is not open at that instant.
    pub(crate) closed: bool,
}

/// Measures by bucket, store and currency. Stores are positions in their list.
#[derive(Debug, Default, Serialize)]
pub(crate) struct StoreRows {
    pub(crate) bucket: Vec<i64>,
    pub(crate) store: Vec<usize>,
    pub(crate) currency: Vec<usize>,
    pub(crate) orders: Vec<Option<i64>>,
    pub(crate) completed: Vec<Option<i64>>,
    pub(crate) cancelled: Vec<Option<i64>>,
    pub(crate) late: Vec<Option<i64>>,
    pub(crate) revenue: Vec<Option<i64>>,
}

/// Gaps, the most promising first.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Gaps {
    pub(crate) cell: Vec<String>,
    pub(crate) rank: Vec<i64>,
    pub(crate) attempts: Vec<Option<i64>>,
    pub(crate) completed: Vec<Option<i64>>,
    pub(crate) cancelled: Vec<Option<i64>>,
    pub(crate) late: Vec<Option<i64>>,
    pub(crate) customers: Vec<Option<i64>>,
    pub(crate) out_of_reach: Vec<bool>,
    pub(crate) cancelled_often: Vec<bool>,
    pub(crate) late_often: Vec<bool>,
    pub(crate) nearest_store: Vec<Option<i64>>,
    pub(crate) nearest_m: Vec<Option<i64>>,
    pub(crate) currency: Vec<String>,
    /// In hundredths.
    pub(crate) lost_revenue: Vec<Option<i64>>,
    pub(crate) lat: Vec<f64>,
    pub(crate) lng: Vec<f64>,
    pub(crate) outline: Vec<Vec<i64>>,
    #[serde(skip)]
    pub(crate) wkt: Vec<String>,
}

/// What a map is compared with.
#[derive(Debug, Serialize)]
pub(crate) struct Baseline {
    /// In words.
    pub(crate) label: String,
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
    pub(crate) dates: Vec<NaiveDate>,
}
