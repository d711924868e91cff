//! SERIALIZETOJSON: any Parquet value as the JSON a SUPER column holds.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use serde_json::{Map, Number, Value};

/// The value at `row`, or none when its type has no JSON form here.
pub(crate) fn value(array: &ArrayRef, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return Some(Value::Null);
    }
    Some(match array.data_type() {
        ArrowType::Boolean => Value::Bool(array.as_boolean().value(row)),
        ArrowType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        ArrowType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        ArrowType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        ArrowType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        ArrowType::Float32 => {
            Number::from_f64(f64::from(array.as_primitive::<Float32Type>().value(row))).map_or(Value::Null, Value::Number)
        }
        ArrowType::Float64 => Number::from_f64(array.as_primitive::<Float64Type>().value(row)).map_or(Value::Null, Value::Number),
        ArrowType::Decimal128(_, _) => {
            let text = array.as_primitive::<Decimal128Type>().value_as_string(row);
            Value::Number(text.parse().ok()?)
        }
        ArrowType::Utf8 => Value::String(array.as_string::<i32>().value(row).to_owned()),
        ArrowType::Binary => Value::String(hex::encode(array.as_binary::<i32>().value(row))),
        ArrowType::Date32 => Value::String(array.as_primitive::<Date32Type>().value_as_date(row)?.to_string()),
        ArrowType::Timestamp(TimeUnit::Microsecond, zone) => {
            time(array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row)?, zone.is_some())
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, zone) => {
            time(array.as_primitive::<TimestampMillisecondType>().value_as_datetime(row)?, zone.is_some())
        }
        ArrowType::List(_) => elements(&array.as_list::<i32>().value(row))?,
        ArrowType::Struct(fields) => {
            let columns = array.as_struct();
            let mut object = Map::new();
            for (field, column) in fields.iter().zip(columns.columns()) {
                object.insert(field.name().clone(), value(column, row)?);
            }
            Value::Object(object)
        }
        ArrowType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.columns().first()?, entries.columns().get(1)?);
            let mut object = Map::new();
            for entry in 0..entries.len() {
                let key = match value(keys, entry)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                object.insert(key, value(values, entry)?);
            }
            Value::Object(object)
        }
        _ => return None,
    })
}

fn elements(array: &ArrayRef) -> Option<Value> {
    (0..array.len()).map(|element| value(array, element)).collect::<Option<Vec<Value>>>().map(Value::Array)
}

fn time(at: chrono::NaiveDateTime, zoned: bool) -> Value {
    let zone = if zoned { "+00" } else { "" };
    Value::String(format!("{}{zone}", at.format("%Y-%m-%d %H:%M:%S%.f")))
}

/// The longest string inside, in bytes.
pub(crate) fn longest_string(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(longest_string).max().unwrap_or(0),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len().max(longest_string(value))).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int64Array, StringArray, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn structs_become_objects_and_decimals_stay_exact() {
        let amount = Decimal128Array::from(vec![12_345_678_901_234_567_890_i128]).with_precision_and_scale(38, 2).unwrap();
        let fields: Vec<(Arc<Field>, ArrayRef)> = vec![
            (Arc::new(Field::new("id", ArrowType::Int64, true)), Arc::new(Int64Array::from(vec![7]))),
            (Arc::new(Field::new("amount", ArrowType::Decimal128(38, 2), true)), Arc::new(amount)),
            (Arc::new(Field::new("note", ArrowType::Utf8, true)), Arc::new(StringArray::from(vec![None::<&str>]))),
        ];
        let array: ArrayRef = Arc::new(StructArray::from(fields));
        assert_eq!(value(&array, 0).unwrap().to_string(), r#"{"amount":123456789012345678.90,"id":7,"note":null}"#);
    }
}
