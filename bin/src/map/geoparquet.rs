//! GeoParquet 1.1 (geoparquet.org/releases/v1.1.0): WKB in a column `geometry`, and what it means in the file's metadata `geo`.
//!
//! Degrees are those of OGC:CRS84, the format's default, so no reference system is named. Edges are planar: cells are cut at
//! the 180th meridian and closed along the poles, which are lines only on the plane.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use pipeline_core::error::{BUG, Error, Result};
use serde_json::json;

use super::features::{Features, Shape, Values};
use super::outline::Position;

/// Codes of well-known binary (OGC 06-103r4, 8.2.3).
const POINT: u32 = 1;
const POLYGON: u32 = 3;
const MULTI_POLYGON: u32 = 6;
const LITTLE_ENDIAN: u8 = 1;

/// Digits of money, as marts have it.
const MONEY: (u8, i8) = (18, 2);

/// The file's bytes.
///
/// # Errors
/// Only on an error of ours.
pub(crate) fn bytes(features: &Features) -> Result<Vec<u8>> {
    let geometries: Vec<Option<Vec<u8>>> = features.shapes.iter().map(well_known_binary).collect();
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, values) in &features.columns {
        let array = array(values)?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    fields.push(Field::new("geometry", DataType::Binary, true));
    arrays.push(Arc::new(BinaryArray::from_iter(geometries)));
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a zstd level")))
        .set_key_value_metadata(Some(vec![KeyValue::new("geo".to_owned(), metadata(features).to_string())]))
        .build();
    let failed = |_| Error::new(&BUG, "a Parquet file could not be written to memory");
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(failed)?;
    writer.write(&RecordBatch::try_new(schema, arrays)?).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn metadata(features: &Features) -> serde_json::Value {
    let mut types: Vec<&str> = features.shapes.iter().filter_map(type_of).collect();
    types.sort_unstable();
    types.dedup();
    let mut column = json!({ "encoding": "WKB", "geometry_types": types, "orientation": "counterclockwise", "edges": "planar" });
    let positions = features.shapes.iter().flat_map(Shape::positions);
    let bounds = positions.fold(None, |bounds: Option<[f64; 4]>, [x, y]| {
        let [west, south, east, north] = bounds.unwrap_or([x, y, x, y]);
        Some([west.min(x), south.min(y), east.max(x), north.max(y)])
    });
    if let Some(bounds) = bounds {
        column["bbox"] = json!(bounds);
    }
    json!({ "version": "1.1.0", "primary_column": "geometry", "columns": { "geometry": column } })
}

fn type_of(shape: &Shape) -> Option<&'static str> {
    match shape {
        Shape::Point(_) => Some("Point"),
        Shape::Area(rings) => match rings.len() {
            0 => None,
            1 => Some("Polygon"),
            _ => Some("MultiPolygon"),
        },
    }
}

fn well_known_binary(shape: &Shape) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match shape {
        Shape::Point(position) => {
            begin(&mut bytes, POINT);
            push(&mut bytes, position);
        }
        Shape::Area(rings) => match rings.as_slice() {
            [] => return None,
            [only] => polygon(&mut bytes, only),
            several => {
                begin(&mut bytes, MULTI_POLYGON);
                length(&mut bytes, several.len());
                several.iter().for_each(|ring| polygon(&mut bytes, ring));
            }
        },
    }
    Some(bytes)
}

fn polygon(bytes: &mut Vec<u8>, ring: &[Position]) {
    begin(bytes, POLYGON);
    length(bytes, 1);
    length(bytes, ring.len());
    ring.iter().for_each(|position| push(bytes, position));
}

fn begin(bytes: &mut Vec<u8>, kind: u32) {
    bytes.push(LITTLE_ENDIAN);
    bytes.extend(kind.to_le_bytes());
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend(u32::try_from(length).expect("a cell has a handful of corners").to_le_bytes());
}

fn push(bytes: &mut Vec<u8>, position: &Position) {
    position.iter().for_each(|degrees| bytes.extend(degrees.to_le_bytes()));
}

fn array(values: &Values) -> Result<ArrayRef> {
    Ok(match values {
        Values::Text(values) => Arc::new(StringArray::from_iter(values.iter().map(Option::as_deref))),
        Values::Integer(values) => Arc::new(Int64Array::from(values.clone())),
        Values::Number(values) => Arc::new(Float64Array::from(values.clone())),
        Values::Truth(values) => Arc::new(BooleanArray::from(values.clone())),
        Values::Money(values) => {
            let amounts = Decimal128Array::from_iter(values.iter().map(|amount| amount.map(i128::from)));
            Arc::new(amounts.with_precision_and_scale(MONEY.0, MONEY.1)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_binary_has_its_bytes() {
        let point = well_known_binary(&Shape::Point([1.0, -2.0])).unwrap();
        assert_eq!(point, [&[1, 1, 0, 0, 0][..], &1.0_f64.to_le_bytes(), &(-2.0_f64).to_le_bytes()].concat());
        let area = well_known_binary(&Shape::of_wkt("POLYGON ((0 0, 1 0, 1 1, 0 0))")).unwrap();
        assert_eq!((area.len(), &area[..13]), (13 + 4 * 16, &[1, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0][..]));
        assert_eq!(well_known_binary(&Shape::Area(Vec::new())), None);
    }

    #[test]
    fn the_metadata_is_what_the_standard_asks_for() {
        let across = Shape::of_wkt("POLYGON ((179.9 0, 180.1 0, 180.1 0.1, 179.9 0.1, 179.9 0))");
        let features = Features { shapes: vec![across, Shape::of_wkt("POLYGON ((1 2, 3 2, 3 4, 1 2))")], columns: Vec::new() };
        let found = metadata(&features);
        assert_eq!(found["version"], "1.1.0");
        assert_eq!(found["columns"]["geometry"]["geometry_types"], json!(["MultiPolygon", "Polygon"]));
        assert_eq!(found["columns"]["geometry"]["bbox"], json!([-180.0, 0.0, 180.0, 4.0]));
        assert!(found["columns"]["geometry"].get("crs").is_none(), "OGC:CRS84");
    }
}
