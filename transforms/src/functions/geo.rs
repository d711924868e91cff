//! Cells of the H3 grid and distances on the sphere.
//!
//! Cells are H3 indexes as 15 lower-case hexadecimal digits (<https://h3geo.org/docs/core-library/h3Indexing>). A point that
//! is not finite or lies outside ±90° of latitude or ±180° of longitude has no cell and no distance: the result is NULL, as it
//! is for a text that is no cell. A resolution that is not 0 to 15 is an error, because it comes from the model, not from data.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use h3o::LatLng;
/// An H3 cell and a resolution, for those who find cells in results (h3geo.org, "H3 Index").
pub use h3o::{CellIndex, Resolution};

use super::{Description, FunctionError, function};

/// The earth's mean radius R₁ in metres, (2a + b) / 3 of GRS 80 (Moritz, *Geodetic Reference System 1980*).
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// The farthest that `h3_disk` reaches, in cells: 100 make 30,301 cells a row.
pub const DISK_DISTANCE_MAX: u32 = 100;

/// The functions of this subject.
pub const DESCRIPTIONS: &[Description] = &[
    Description {
        name: "h3_cell",
        signature: "h3_cell(latitude double, longitude double, resolution bigint) -> text",
        meaning: "The H3 cell that holds a point given in degrees. NULL if there is no such point.",
    },
    Description {
        name: "h3_parent",
        signature: "h3_parent(cell text, resolution bigint) -> text",
        meaning: "The cell's ancestor at a coarser resolution, or itself at its own. NULL at a finer one.",
    },
    Description {
        name: "h3_center_lat",
        signature: "h3_center_lat(cell text) -> double",
        meaning: "The latitude of the cell's centre in degrees.",
    },
    Description {
        name: "h3_center_lng",
        signature: "h3_center_lng(cell text) -> double",
        meaning: "The longitude of the cell's centre in degrees.",
    },
    Description {
        name: "h3_boundary_wkt",
        signature: "h3_boundary_wkt(cell text) -> text",
        meaning: "The cell's outline as a closed WKT polygon, longitude before latitude, counter-clockwise. A cell across the 180th \
                  meridian keeps its shape by longitudes beyond ±180; a cell around a pole is closed along the pole.",
    },
    Description {
        name: "h3_disk",
        signature: "h3_disk(cell text, distance bigint) -> list<text>",
        meaning: "The cells at most so many steps away, itself included, in ascending order. The distance is 0 to 100.",
    },
    Description {
        name: "distance_m",
        signature: "distance_m(latitude double, longitude double, latitude double, longitude double) -> double",
        meaning: "The great-circle distance in metres by the haversine formula on a sphere of radius 6,371,008.8 m.",
    },
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    use DataType::{Float64, Int64, Utf8};
    let cells = DataType::List(Arc::new(Field::new("element", Utf8, true)));
    vec![
        function("h3_cell", vec![Float64, Float64, Int64], Utf8, |columns| {
            let (latitudes, longitudes) = (doubles(columns, 0), doubles(columns, 1));
            let mut resolutions = Resolutions::new("h3_cell", columns[2].as_primitive());
            texts(latitudes.len(), |row| {
                let resolution = resolutions.at(row)?;
                let point = point(double(latitudes, row), double(longitudes, row));
                Ok(resolution.zip(point).map(|(resolution, point)| point.to_cell(resolution)))
            })
        }),
        function("h3_parent", vec![Utf8, Int64], Utf8, |columns| {
            let cells = columns[0].as_string::<i32>();
            let mut resolutions = Resolutions::new("h3_parent", columns[1].as_primitive());
            texts(cells.len(), |row| {
                let resolution = resolutions.at(row)?;
                Ok(resolution.zip(cell(cells, row)).and_then(|(resolution, cell)| cell.parent(resolution)))
            })
        }),
        function("h3_center_lat", vec![Utf8], Float64, |columns| Ok(centers(columns, LatLng::lat))),
        function("h3_center_lng", vec![Utf8], Float64, |columns| Ok(centers(columns, LatLng::lng))),
        function("h3_boundary_wkt", vec![Utf8], Utf8, |columns| {
            let cells = columns[0].as_string::<i32>();
            texts(cells.len(), |row| Ok(cell(cells, row).map(Outline)))
        }),
        function("h3_disk", vec![Utf8, Int64], cells, |columns| disks(columns[0].as_string(), columns[1].as_primitive())),
        function("distance_m", vec![Float64; 4], Float64, |columns| Ok(Arc::new(distances(columns)) as ArrayRef)),
    ]
}

fn doubles(columns: &[ArrayRef], index: usize) -> &Float64Array {
    columns[index].as_primitive::<Float64Type>()
}

fn double(column: &Float64Array, row: usize) -> Option<f64> {
    column.is_valid(row).then(|| column.value(row))
}

fn cell(column: &StringArray, row: usize) -> Option<CellIndex> {
    if column.is_null(row) {
        return None;
    }
    column.value(row).parse().ok()
}

fn point(latitude: Option<f64>, longitude: Option<f64>) -> Option<LatLng> {
    let (latitude, longitude) = (latitude?, longitude?);
    // NaN is in no range.
    let exists = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
    if exists { LatLng::new(latitude, longitude).ok() } else { None }
}

/// Reads resolutions, of which a batch usually has only one.
struct Resolutions<'a> {
    function: &'static str,
    column: &'a Int64Array,
    last: Option<(i64, Resolution)>,
}

impl<'a> Resolutions<'a> {
    fn new(function: &'static str, column: &'a Int64Array) -> Self {
        Self { function, column, last: None }
    }

    fn at(&mut self, row: usize) -> Result<Option<Resolution>> {
        if self.column.is_null(row) {
            return Ok(None);
        }
        let value = self.column.value(row);
        if let Some((_, resolution)) = self.last.filter(|(last, _)| *last == value) {
            return Ok(Some(resolution));
        }
        let resolution = u8::try_from(value).ok().and_then(|value| Resolution::try_from(value).ok());
        let resolution = resolution.ok_or(FunctionError::Resolution { function: self.function })?;
        self.last = Some((value, resolution));
        Ok(Some(resolution))
    }
}

fn texts<T: std::fmt::Display>(rows: usize, mut text: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
    let mut builder = StringBuilder::with_capacity(rows, rows * 15);
    for row in 0..rows {
        match text(row)? {
            Some(text) => {
                write!(builder, "{text}").expect("a builder in memory takes any text");
                builder.append_value("");
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn centers(columns: &[ArrayRef], coordinate: fn(LatLng) -> f64) -> ArrayRef {
    let cells = columns[0].as_string::<i32>();
    let centers = (0..cells.len()).map(|row| cell(cells, row).map(|cell| coordinate(LatLng::from(cell))));
    Arc::new(centers.collect::<Float64Array>())
}

fn disks(cells: &StringArray, distances: &Int64Array) -> Result<ArrayRef> {
    let element = Arc::new(Field::new("element", DataType::Utf8, true));
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(element);
    for row in 0..cells.len() {
        let distance = distances.is_valid(row).then(|| distances.value(row));
        let distance = match distance {
            Some(distance) => {
                let distance = u32::try_from(distance).ok().filter(|distance| *distance <= DISK_DISTANCE_MAX);
                Some(distance.ok_or(FunctionError::DiskDistance)?)
            }
            None => None,
        };
        match cell(cells, row).zip(distance) {
            Some((cell, distance)) => {
                let mut disk: Vec<CellIndex> = cell.grid_disk(distance);
                disk.sort_unstable();
                for cell in disk {
                    builder.values().append_value(cell.to_string());
                }
                builder.append(true);
            }
            None => builder.append(false),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn distances(columns: &[ArrayRef]) -> Float64Array {
    let [from_latitudes, from_longitudes, to_latitudes, to_longitudes] = [0, 1, 2, 3].map(|index| doubles(columns, index));
    let distance = |row| {
        let from = point(double(from_latitudes, row), double(from_longitudes, row))?;
        let to = point(double(to_latitudes, row), double(to_longitudes, row))?;
        Some(distance_m(from, to))
    };
    (0..from_latitudes.len()).map(distance).collect()
}

/// The haversine formula; its square root is held below 1, which rounding passes for opposite points.
fn distance_m(from: LatLng, to: LatLng) -> f64 {
    let half_latitude = (to.lat_radians() - from.lat_radians()) / 2.0;
    let half_longitude = (to.lng_radians() - from.lng_radians()) / 2.0;
    let square = half_longitude.sin().powi(2).mul_add(from.lat_radians().cos() * to.lat_radians().cos(), half_latitude.sin().powi(2));
    2.0 * EARTH_RADIUS_M * square.sqrt().min(1.0).asin()
}

/// A cell's outline, written as WKT.
struct Outline(CellIndex);

impl std::fmt::Display for Outline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let boundary = self.0.boundary();
        let mut ring: Vec<(f64, f64)> = Vec::with_capacity(boundary.len() + 3);
        for vertex in boundary.iter() {
            // The next vertex is less than half the world away, so a longer step means that the meridian of ±180° was passed.
            let longitude = match ring.last() {
                Some((before, _)) => vertex.lng() - 360.0 * ((vertex.lng() - before) / 360.0).round(),
                None => vertex.lng(),
            };
            ring.push((longitude, vertex.lat()));
        }
        let (first, last) = (ring[0], ring[ring.len() - 1]);
        let turns = ((last.0 - first.0) / 360.0).round();
        if turns != 0.0 {
            // The ring went around a pole: it is closed along the pole, which is a line in longitude and latitude.
            let pole = if first.1 > 0.0 { 90.0 } else { -90.0 };
            let end = first.0 + 360.0 * turns;
            ring.extend([(end, first.1), (end, pole), (first.0, pole)]);
        }
        ring.push(first);
        f.write_str("POLYGON ((")?;
        for (index, (longitude, latitude)) in ring.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Nine decimals are a tenth of a millimetre.
            write!(f, "{comma}{longitude:.9} {latitude:.9}")?;
        }
        f.write_str("))")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, refuses, value};
    use super::*;

    #[tokio::test]
    async fn cells_agree_with_the_reference_implementation() {
        // The example of https://h3geo.org/docs/quickstart: latLngToCell(37.775938728915946, -122.41795063018799, 9).
        check("h3_cell(37.775938728915946, -122.41795063018799, 9)", "8928308280fffff").await;
        check("h3_parent('8928308280fffff', 8)", "8828308281fffff").await;
        check("h3_parent('8928308280fffff', 9)", "8928308280fffff").await;
        check("h3_parent('8928308280fffff', 10)", "NULL").await;
    }

    #[tokio::test]
    async fn what_is_no_place_has_no_cell() {
        for expression in [
            "h3_cell(90.0001, 0.0, 9)",
            "h3_cell(0.0, 180.5, 9)",
            "h3_cell('NaN'::double, 0.0, 9)",
            "h3_cell(NULL, 0.0, 9)",
            "h3_cell(0.0, 0.0, NULL)",
            "h3_parent('not a cell', 7)",
            "h3_center_lat('')",
            "h3_boundary_wkt(NULL)",
            "h3_disk('ffffffffffffffff', 1)",
            "distance_m(0.0, 0.0, NULL, 0.0)",
            "distance_m(0.0, 0.0, 91.0, 0.0)",
        ] {
            check(expression, "NULL").await;
        }
        refuses("h3_cell(0.0, 0.0, 16)", "\"h3_cell\"").await;
        refuses("h3_parent('8928308280fffff', -1)", "resolution").await;
        refuses("h3_disk('8928308280fffff', 101)", "0 to 100").await;
    }

    #[tokio::test]
    async fn poles_and_the_antimeridian_have_cells() {
        for expression in ["h3_cell(90.0, 0.0, 7)", "h3_cell(-90.0, 12.0, 7)", "h3_cell(0.0, 180.0, 7)"] {
            assert_eq!(value(expression).await.unwrap().len(), 15, "{expression}");
        }
        assert_eq!(value("h3_cell(52.0, 180.0, 7)").await, value("h3_cell(52.0, -180.0, 7)").await);
    }

    #[tokio::test]
    async fn a_disk_of_one_step_has_seven_cells() {
        check("cardinality(h3_disk('8928308280fffff', 1))", "7").await;
        check("array_has(h3_disk('8928308280fffff', 1), '8928308280fffff')", "true").await;
    }

    #[tokio::test]
    async fn distances_are_of_the_sphere() {
        // A quarter of the circumference, half of it, and a kilometre-sized case computed by hand from the radius.
        check(
            "round(distance_m(0.0, 0.0, 0.0, 90.0) * 1000)",
            &format!("{:.1}", (EARTH_RADIUS_M * std::f64::consts::FRAC_PI_2 * 1000.0).round()),
        )
        .await;
        check("round(distance_m(0.0, 0.0, 0.0, 180.0))", &format!("{:.1}", (EARTH_RADIUS_M * std::f64::consts::PI).round())).await;
        check("round(distance_m(0.0, 179.9, 0.0, -179.9) - distance_m(0.0, 0.0, 0.0, 0.2), 3)", "0.0").await;
        check("distance_m(52.2, 21.0, 52.2, 21.0)", "0.0").await;
    }

    fn ring(wkt: &str) -> Vec<(f64, f64)> {
        let inner = wkt.strip_prefix("POLYGON ((").and_then(|rest| rest.strip_suffix("))")).unwrap();
        let vertices = inner.split(", ").map(|pair| pair.split_once(' ').unwrap());
        vertices.map(|(longitude, latitude)| (longitude.parse().unwrap(), latitude.parse().unwrap())).collect()
    }

    fn area(ring: &[(f64, f64)]) -> f64 {
        ring.windows(2).map(|pair| pair[0].0.mul_add(pair[1].1, -(pair[1].0 * pair[0].1))).sum::<f64>() / 2.0
    }

    #[tokio::test]
    async fn boundaries_are_closed_counter_clockwise_rings() {
        for (latitude, longitude) in [(52.2, 21.0), (0.0, 180.0), (-17.0, -180.0), (52.0, 179.999)] {
            let wkt = value(&format!("h3_boundary_wkt(h3_cell({latitude}, {longitude}, 7))")).await.unwrap();
            let ring = ring(&wkt);
            assert_eq!(ring.first(), ring.last());
            assert!((7..=8).contains(&ring.len()), "{wkt}");
            assert!(area(&ring) > 0.0, "{wkt}");
            let longitudes = ring.iter().map(|vertex| vertex.0);
            let width = longitudes.clone().fold(f64::MIN, f64::max) - longitudes.fold(f64::MAX, f64::min);
            assert!(width < 0.1, "a cell of some 3 km is narrow: {wkt}");
        }
    }

    #[tokio::test]
    async fn a_boundary_around_a_pole_is_closed_along_the_pole() {
        for (latitude, pole) in [("90.0", 90.0), ("-90.0", -90.0)] {
            let wkt = value(&format!("h3_boundary_wkt(h3_cell({latitude}, 0.0, 3))")).await.unwrap();
            let ring = ring(&wkt);
            assert_eq!(ring.first(), ring.last());
            assert_eq!(ring.iter().filter(|vertex| vertex.1 == pole).count(), 2, "{wkt}");
            assert!(area(&ring) > 0.0, "{wkt}");
        }
    }
}
