//! Areas and points with their properties, as geographic files have them: the atlas' cells summed up over all days, its stores,
//! or its gaps.

use std::collections::BTreeMap;

use super::atlas::{Atlas, Layer};
use super::outline::{Position, cut_at_antimeridian, ring};

/// Which things are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Cells with their measures.
    Cells,
    /// Stores.
    Stores,
    /// Gaps.
    Gaps,
}

/// Where a thing is. Areas do not cross the 180th meridian, and their rings go counter-clockwise (RFC 7946, 3.1.6 and 3.1.9).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Point(Position),
    /// Rings without holes; usually one.
    Area(Vec<Vec<Position>>),
}

impl Shape {
    /// The ring of a cell's WKT. A shape that cannot be read is an area of no rings.
    pub(crate) fn of_wkt(wkt: &str) -> Self {
        Self::Area(ring(wkt).map_or_else(Vec::new, |ring| cut_at_antimeridian(&ring)))
    }

    /// Its corners.
    pub(crate) fn positions(&self) -> Vec<Position> {
        match self {
            Self::Point(position) => vec![*position],
            Self::Area(rings) => rings.iter().flatten().copied().collect(),
        }
    }
}

/// One property of all things.
#[derive(Debug)]
pub(crate) enum Values {
    Text(Vec<Option<String>>),
    Integer(Vec<Option<i64>>),
    Number(Vec<Option<f64>>),
    Truth(Vec<Option<bool>>),
    /// In hundredths.
    Money(Vec<Option<i64>>),
}

/// Things of one kind.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) shapes: Vec<Shape>,
    /// Names and values, as many as there are shapes.
    pub(crate) columns: Vec<(String, Values)>,
}

/// The things of a kind. The atlas has all of its days in one bucket.
pub(crate) fn features(atlas: &Atlas, kind: Kind) -> Features {
    match kind {
        Kind::Cells => cells(atlas),
        Kind::Stores => stores(atlas),
        Kind::Gaps => gaps(atlas),
    }
}

/// Sums of one cell over days and currencies.
#[derive(Debug, Default, Clone)]
struct Sums {
    counts: [i64; 5],
    minutes: (i64, i64),
    distance: (i64, i64),
    revenue: BTreeMap<usize, i64>,
    /// Some of it is not shown: what adds up would be too little.
    is_suppressed: bool,
}

fn sums(layer: &Layer) -> Vec<Sums> {
    let mut cells = vec![Sums::default(); layer.cells.len()];
    let rows = &layer.rows;
    for (row, cell) in rows.cell.iter().enumerate() {
        let sums = &mut cells[*cell];
        for (sum, column) in sums.counts.iter_mut().zip([&rows.orders, &rows.completed, &rows.cancelled, &rows.late, &rows.new_customers]) {
            *sum += column[row].unwrap_or(0);
        }
        for (mean, value, weight) in
            [(&mut sums.minutes, rows.minutes[row], rows.completed[row]), (&mut sums.distance, rows.distance[row], rows.orders[row])]
        {
            if let (Some(value), Some(weight)) = (value, weight) {
                *mean = (mean.0 + value * weight, mean.1 + weight);
            }
        }
        if let Some(revenue) = rows.revenue[row] {
            *sums.revenue.entry(rows.currency[row]).or_default() += revenue;
        }
    }
    layer.hidden.cell.iter().for_each(|cell| cells[*cell].is_suppressed = true);
    cells
}

#[expect(clippy::cast_precision_loss, reason = "orders times metres of one cell are far below 2^53")]
fn mean((weighted, weights): (i64, i64), scale: f64) -> Option<f64> {
    // To a tenth, which is what the atlas knows.
    (weights > 0).then(|| (weighted as f64 / weights as f64 / scale * 10.0).round() / 10.0)
}

fn cells(atlas: &Atlas) -> Features {
    let mut shapes = Vec::new();
    let (mut resolution, mut names, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for layer in &atlas.layers {
        shapes.extend(layer.wkt.iter().map(|wkt| Shape::of_wkt(wkt)));
        resolution.extend(layer.cells.iter().map(|_| Some(layer.resolution)));
        names.extend(layer.cells.iter().cloned().map(Some));
        all.extend(sums(layer));
    }
    let count = |index: usize| Values::Integer(all.iter().map(|sums| (!sums.is_suppressed).then_some(sums.counts[index])).collect());
    let means = |of: fn(&Sums) -> (i64, i64), scale: f64| {
        Values::Number(all.iter().map(|sums| if sums.is_suppressed { None } else { mean(of(sums), scale) }).collect())
    };
    let mut columns = vec![
        ("cell".to_owned(), Values::Text(names)),
        ("resolution".to_owned(), Values::Integer(resolution)),
        ("first_date".to_owned(), Values::Text(vec![Some(atlas.from.to_string()); shapes.len()])),
        ("last_date".to_owned(), Values::Text(vec![Some(atlas.to.to_string()); shapes.len()])),
        ("orders".to_owned(), count(0)),
        ("completed".to_owned(), count(1)),
        ("cancelled".to_owned(), count(2)),
        ("late_orders".to_owned(), count(3)),
        ("new_customers".to_owned(), count(4)),
        ("delivery_minutes_mean".to_owned(), means(|sums| sums.minutes, 10.0)),
        ("store_distance_mean_m".to_owned(), means(|sums| sums.distance, 1.0)),
    ];
    // A column for each currency: amounts of different ones are never added.
    for (position, code) in atlas.currencies.iter().enumerate() {
        let amounts: Vec<Option<i64>> = all.iter().map(|sums| sums.revenue.get(&position).copied()).collect();
        if amounts.iter().any(Option::is_some) {
            columns.push((format!("revenue_{code}"), Values::Money(amounts)));
        }
    }
    columns.push(("suppressed".to_owned(), Values::Truth(all.iter().map(|sums| Some(sums.is_suppressed)).collect())));
    Features { shapes, columns }
}

fn stores(atlas: &Atlas) -> Features {
    let all = &atlas.stores;
    Features {
        shapes: all.iter().map(|store| Shape::Point([store.lng, store.lat])).collect(),
        columns: vec![
            ("store_id".to_owned(), Values::Integer(all.iter().map(|store| Some(store.id)).collect())),
            ("name".to_owned(), Values::Text(all.iter().map(|store| Some(store.name.clone())).collect())),
            ("city".to_owned(), Values::Text(all.iter().map(|store| store.city.clone()).collect())),
            ("country".to_owned(), Values::Text(all.iter().map(|store| store.country.clone()).collect())),
            ("delivery_radius_m".to_owned(), Values::Integer(all.iter().map(|store| store.radius).collect())),
            ("is_open".to_owned(), Values::Truth(all.iter().map(|store| Some(!store.closed)).collect())),
        ],
    }
}

fn gaps(atlas: &Atlas) -> Features {
    let gaps = &atlas.gaps;
    let truth = |values: &[bool]| Values::Truth(values.iter().copied().map(Some).collect());
    Features {
        shapes: gaps.wkt.iter().map(|wkt| Shape::of_wkt(wkt)).collect(),
        columns: vec![
            ("cell".to_owned(), Values::Text(gaps.cell.iter().cloned().map(Some).collect())),
            ("opportunity_rank".to_owned(), Values::Integer(gaps.rank.iter().copied().map(Some).collect())),
            ("attempts".to_owned(), Values::Integer(gaps.attempts.clone())),
            ("completed".to_owned(), Values::Integer(gaps.completed.clone())),
            ("cancelled".to_owned(), Values::Integer(gaps.cancelled.clone())),
            ("late_orders".to_owned(), Values::Integer(gaps.late.clone())),
            ("customers".to_owned(), Values::Integer(gaps.customers.clone())),
            ("is_out_of_reach".to_owned(), truth(&gaps.out_of_reach)),
            ("is_cancelled_often".to_owned(), truth(&gaps.cancelled_often)),
            ("is_late_often".to_owned(), truth(&gaps.late_often)),
            ("nearest_store_id".to_owned(), Values::Integer(gaps.nearest_store.clone())),
            ("nearest_store_m".to_owned(), Values::Integer(gaps.nearest_m.clone())),
            ("currency".to_owned(), Values::Text(gaps.currency.iter().cloned().map(Some).collect())),
            ("lost_revenue".to_owned(), Values::Money(gaps.lost_revenue.clone())),
        ],
    }
}

/// Hundredths as a decimal number: `-0.05`, `12.50`.
pub(crate) fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let size = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_are_decimals() {
        assert_eq!([decimal(0), decimal(-5), decimal(1250), decimal(i64::MIN)], ["0.00", "-0.05", "12.50", "-92233720368547758.08"]);
    }

    #[test]
    fn a_shape_across_the_antimeridian_has_two_rings() {
        let Shape::Area(rings) = Shape::of_wkt("POLYGON ((179.9 0, 180.1 0, 180.1 0.1, 179.9 0.1, 179.9 0))") else { panic!("no area") };
        assert_eq!(rings.len(), 2);
        assert_eq!(Shape::of_wkt("nonsense"), Shape::Area(Vec::new()));
    }
}
