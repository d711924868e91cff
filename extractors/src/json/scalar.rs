//! One JSON value into one column, exactly or not at all.

use crate::bson::column::{Data, Strings};
use crate::bson::number::Decimal;
use crate::bson::scalar::{uuid_of_text, write_uuid};
use crate::bson::unfit::Unfit;

use super::instant;
use super::scan::{Kind, Value};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Digits after the point that turn milliseconds into whole microseconds.
const MILLISECONDS_SCALE: i8 = 3;

/// Appends a value that is neither NULL nor nested.
pub(super) fn append(data: &mut Data, value: Value<'_>) -> Result<(), Unfit> {
    match (data, value.kind) {
        (Data::Boolean(values), Kind::Boolean) => values.append(value.text == "true"),
        (Data::Int16(values), Kind::Number) => values.push(i16::try_from(whole(value)?).map_err(|_| Unfit::Range)?),
        (Data::Int32(values), Kind::Number) => values.push(i32::try_from(whole(value)?).map_err(|_| Unfit::Range)?),
        (Data::Int64(values), Kind::Number) => values.push(whole(value)?),
        (Data::Float32(values), Kind::Number) => {
            let number: f32 = value.text.parse().map_err(|_| Unfit::Kind)?;
            is_same(value, number.is_finite(), &format!("{number:e}"))?;
            values.push(number);
        }
        (Data::Float64(values), Kind::Number) => {
            let number: f64 = value.text.parse().map_err(|_| Unfit::Kind)?;
            is_same(value, number.is_finite(), &format!("{number:e}"))?;
            values.push(number);
        }
        (Data::Decimal { values, precision, scale }, Kind::Number) => {
            values.push(Decimal::parse(value.text)?.scaled(*precision, *scale)?);
        }
        (Data::WideDecimal { values, precision, scale }, Kind::Number) => {
            values.push(Decimal::parse(value.text)?.scaled_wide(*precision, *scale)?);
        }
        (Data::Text(strings), Kind::String) => {
            strings.bytes.extend_from_slice(value.string()?.as_bytes());
            ended(strings)?;
        }
        (Data::Json(strings), _) => {
            value.write(&mut strings.bytes);
            ended(strings)?;
        }
        (Data::Uuid(strings), Kind::String) => {
            write_uuid(&uuid_of_text(value.string()?.as_bytes())?, &mut strings.bytes);
            ended(strings)?;
        }
        (Data::Timestamp(values), Kind::String | Kind::Number) => values.push(microseconds(value)?),
        (Data::Date(values), Kind::String | Kind::Number) => {
            let microseconds = microseconds(value)?;
            if microseconds.rem_euclid(MICROSECONDS_PER_DAY) != 0 {
                return Err(Unfit::NotMidnight);
            }
            values.push(i32::try_from(microseconds.div_euclid(MICROSECONDS_PER_DAY)).map_err(|_| Unfit::Range)?);
        }
        _ => return Err(Unfit::Kind),
    }
    Ok(())
}

fn ended(strings: &mut Strings) -> Result<(), Unfit> {
    if strings.end() { Ok(()) } else { Err(Unfit::Full) }
}

fn whole(value: Value<'_>) -> Result<i64, Unfit> {
    i64::try_from(Decimal::parse(value.text)?.scaled(38, 0)?).map_err(|_| Unfit::Range)
}

/// Microseconds since 1970 UTC, of a text or of milliseconds (`epoch_millis`, which `date` fields take unless their mapping says otherwise).
pub(super) fn microseconds(value: Value<'_>) -> Result<i64, Unfit> {
    match value.kind {
        Kind::String => instant::parse(&value.string()?),
        Kind::Number => i64::try_from(Decimal::parse(value.text)?.scaled(38, MILLISECONDS_SCALE)?).map_err(|_| Unfit::Range),
        _ => Err(Unfit::Kind),
    }
}

/// That a floating-point number, as its shortest digits, is the very number that the text writes.
fn is_same(value: Value<'_>, is_finite: bool, shortest: &str) -> Result<(), Unfit> {
    if !is_finite {
        return Err(Unfit::Range);
    }
    match (Decimal::parse(value.text), Decimal::parse(shortest)) {
        (Ok(text), Ok(number)) if text.normal() == number.normal() => Ok(()),
        _ => Err(Unfit::Inexact),
    }
}
