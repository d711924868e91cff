//! One value into one column, exactly or not at all.

use super::column::{Data, Strings};
use super::element::{Value, kind};
use super::json;
use super::number::{to_decimal, to_double, to_float, to_int64, to_wide_decimal};
use super::unfit::Unfit;

const MICROSECONDS_PER_MILLISECOND: i64 = 1_000;
const MILLISECONDS_PER_DAY: i64 = 86_400_000;

/// Binary subtypes that hold a UUID (BSON specification 1.1). The bytes of the older one are taken in the order they stand.
const SUBTYPES_UUID: [u8; 2] = [3, 4];

impl Data {
    /// Appends a value that is neither NULL nor nested.
    pub(super) fn append(&mut self, value: Value<'_>, depth: usize) -> Result<(), Unfit> {
        match self {
            Self::Boolean(values) if value.kind == kind::BOOLEAN => values.append(json::boolean(value)?),
            Self::Int16(values) => values.push(i16::try_from(to_int64(value)?).map_err(|_| Unfit::Range)?),
            Self::Int32(values) => values.push(i32::try_from(to_int64(value)?).map_err(|_| Unfit::Range)?),
            Self::Int64(values) => values.push(to_int64(value)?),
            Self::Float32(values) => values.push(to_float(value)?),
            Self::Float64(values) => values.push(to_double(value)?),
            Self::Decimal { values, precision, scale } => values.push(to_decimal(value, *precision, *scale)?),
            Self::WideDecimal { values, precision, scale } => values.push(to_wide_decimal(value, *precision, *scale)?),
            Self::Text(strings) => {
                match value.kind {
                    kind::STRING | kind::SYMBOL => strings.bytes.extend_from_slice(value.text()?.as_bytes()),
                    kind::OBJECT_ID => json::write_hex(value.bytes, &mut strings.bytes),
                    _ => return Err(Unfit::Kind),
                }
                ended(strings)?;
            }
            Self::Json(strings) => {
                json::write(value, depth, &mut strings.bytes)?;
                ended(strings)?;
            }
            Self::Uuid(strings) => {
                write_uuid(&uuid(value)?, &mut strings.bytes);
                ended(strings)?;
            }
            Self::Bytes(strings) if value.kind == kind::BINARY => {
                strings.bytes.extend_from_slice(value.binary()?.1);
                ended(strings)?;
            }
            Self::Timestamp(values) if value.kind == kind::DATE => {
                values.push(value.int64().checked_mul(MICROSECONDS_PER_MILLISECOND).ok_or(Unfit::Range)?);
            }
            Self::Date(values) if value.kind == kind::DATE => {
                let milliseconds = value.int64();
                if milliseconds.rem_euclid(MILLISECONDS_PER_DAY) != 0 {
                    return Err(Unfit::NotMidnight);
                }
                values.push(i32::try_from(milliseconds.div_euclid(MILLISECONDS_PER_DAY)).map_err(|_| Unfit::Range)?);
            }
            _ => return Err(Unfit::Kind),
        }
        Ok(())
    }

    /// The first value as text, for hashing; None for nested values.
    pub(crate) fn shown(&self) -> Option<Vec<u8>> {
        let text = match self {
            Self::Boolean(values) => if values.get_bit(0) { "true" } else { "false" }.to_owned(),
            Self::Int16(values) => values.first()?.to_string(),
            Self::Int32(values) => values.first()?.to_string(),
            Self::Int64(values) => values.first()?.to_string(),
            Self::Float32(values) => values.first()?.to_string(),
            Self::Float64(values) => values.first()?.to_string(),
            Self::Decimal { values, scale, .. } => pointed(&values.first()?.to_string(), *scale),
            Self::WideDecimal { values, scale, .. } => pointed(&values.first()?.to_string(), *scale),
            Self::Text(strings) | Self::Json(strings) | Self::Uuid(strings) | Self::Bytes(strings) => return Some(strings.bytes.clone()),
            Self::Date(values) => chrono::DateTime::from_timestamp(i64::from(*values.first()?) * 86_400, 0)?.date_naive().to_string(),
            Self::Timestamp(values) => {
                chrono::DateTime::from_timestamp_micros(*values.first()?)?.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
            }
            Self::Time(_) | Self::LocalTimestamp(_) | Self::List { .. } | Self::Struct(_) | Self::Secret { .. } | Self::Dropped { .. } => {
                return None;
            }
        };
        Some(text.into_bytes())
    }
}

/// Digits with a point before the last `scale` of them.
fn pointed(digits: &str, scale: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits}"),
    }
}

fn ended(strings: &mut Strings) -> Result<(), Unfit> {
    if strings.end() { Ok(()) } else { Err(Unfit::Full) }
}

/// The sixteen bytes of a UUID: a binary value of a UUID subtype, or text of 32 hexadecimal digits with or without the usual hyphens.
fn uuid(value: Value<'_>) -> Result<[u8; 16], Unfit> {
    match value.kind {
        kind::BINARY => {
            let (subtype, content) = value.binary()?;
            if !SUBTYPES_UUID.contains(&subtype) {
                return Err(Unfit::Kind);
            }
            content.try_into().map_err(|_| Unfit::NotUuid)
        }
        kind::STRING => uuid_of_text(value.text()?.as_bytes()),
        _ => Err(Unfit::Kind),
    }
}

/// The sixteen bytes that 32 hexadecimal digits write, with or without the usual hyphens.
pub(crate) fn uuid_of_text(text: &[u8]) -> Result<[u8; 16], Unfit> {
    let mut bytes = [0_u8; 16];
    let mut digits = 0_usize;
    for (place, byte) in text.iter().enumerate() {
        if text.len() == 36 && matches!(place, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return Err(Unfit::NotUuid);
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(Unfit::NotUuid),
        };
        let slot = bytes.get_mut(digits / 2).ok_or(Unfit::NotUuid)?;
        *slot = *slot << 4 | digit;
        digits += 1;
    }
    if digits == 32 { Ok(bytes) } else { Err(Unfit::NotUuid) }
}

pub(crate) fn write_uuid(bytes: &[u8; 16], into: &mut Vec<u8>) {
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            into.push(b'-');
        }
        json::write_hex(&[*byte], into);
    }
}
