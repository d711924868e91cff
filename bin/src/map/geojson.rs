//! GeoJSON (RFC 7946): longitude before latitude in WGS 84, rings counter-clockwise, cut at the 180th meridian. Money is a
//! number with its cents as they are.

use serde_json::{Map, Number, Value, json};

use super::features::{Features, Shape, Values, decimal};

/// Decimal places of degrees: a hundred-millionth is a millimetre.
const PLACES: f64 = 1e8;

/// A FeatureCollection, a feature a line.
pub(crate) fn text(features: &Features) -> String {
    let mut text = "{\"type\":\"FeatureCollection\",\"features\":[".to_owned();
    for (row, shape) in features.shapes.iter().enumerate() {
        let properties: Map<String, Value> = features.columns.iter().map(|(name, values)| (name.clone(), property(values, row))).collect();
        let feature = json!({ "type": "Feature", "geometry": geometry(shape), "properties": properties });
        text.push_str(if row == 0 { "\n" } else { ",\n" });
        text.push_str(&feature.to_string());
    }
    text.push_str("\n]}\n");
    text
}

fn geometry(shape: &Shape) -> Value {
    let position = |position: &[f64; 2]| json!(position.map(|degrees| (degrees * PLACES).round() / PLACES));
    let ring = |ring: &Vec<[f64; 2]>| Value::Array(ring.iter().map(position).collect());
    match shape {
        Shape::Point(at) => json!({ "type": "Point", "coordinates": position(at) }),
        Shape::Area(rings) => match rings.as_slice() {
            // A feature without a place has no geometry (3.2).
            [] => Value::Null,
            [only] => json!({ "type": "Polygon", "coordinates": [ring(only)] }),
            several => json!({ "type": "MultiPolygon", "coordinates": several.iter().map(|part| json!([ring(part)])).collect::<Vec<_>>() }),
        },
    }
}

fn property(values: &Values, row: usize) -> Value {
    match values {
        Values::Text(values) => json!(values[row]),
        Values::Integer(values) => json!(values[row]),
        Values::Number(values) => json!(values[row]),
        Values::Truth(values) => json!(values[row]),
        Values::Money(values) => values[row].map_or(Value::Null, |amount| Value::Number(exact(amount))),
    }
}

fn exact(hundredths: i64) -> Number {
    decimal(hundredths).parse().expect("digits with a point are a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_follow_the_standard() {
        let features = Features {
            shapes: vec![
                Shape::of_wkt("POLYGON ((179.9 0, 180.1 0, 180.1 0.1, 179.9 0.1, 179.9 0))"),
                Shape::of_wkt("POLYGON ((21 52, 21.1 52, 21.1 52.1, 21 52))"),
                Shape::Point([21.0, 52.0]),
            ],
            columns: vec![
                ("name".to_owned(), Values::Text(vec![Some("a \"b\"".to_owned()), None, None])),
                ("revenue_PLN".to_owned(), Values::Money(vec![Some(1_234_567_890_123_456_789), None, Some(-5)])),
            ],
        };
        let written = text(&features);
        let read: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["type"], "FeatureCollection");
        assert_eq!(read["features"][0]["geometry"]["type"], "MultiPolygon");
        assert_eq!(
            read["features"][1]["geometry"],
            json!({ "type": "Polygon", "coordinates": [[[21.0, 52.0], [21.1, 52.0], [21.1, 52.1], [21.0, 52.0]]] })
        );
        assert_eq!(read["features"][2]["geometry"]["coordinates"], json!([21.0, 52.0]));
        assert!(written.contains("\"revenue_PLN\":12345678901234567.89}"), "{written}");
        assert!(written.contains("\"revenue_PLN\":-0.05}"), "{written}");
    }
}
