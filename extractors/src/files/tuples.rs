//! The frame of PostgreSQL's COPY files in binary format, as far as one column of each row: what planning needs.
//!
//! Format: PostgreSQL 15 documentation, COPY, "Binary Format". Decoding whole rows is [`crate::postgres`]'s.

use pipeline_core::contract::ColumnType;
use pipeline_core::error::Result;

use super::input::Input;

/// What every such file begins with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Microseconds and days from 1970 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_US: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i64 = 10_957;
const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Longest field that PostgreSQL stores (1 GiB), which a wrong length exceeds soon.
const FIELD_BYTES_MAX: usize = 1 << 30;

/// Checks the head of a file.
pub(super) fn head(input: &mut Input) -> Result<()> {
    let signature = input.exactly(SIGNATURE.len(), "is not a COPY file in binary format")?;
    if signature != SIGNATURE {
        return Err(input.cut("is not a COPY file in binary format"));
    }
    let flags = int32(input)?;
    let extension = int32(input)?;
    if flags != 0 || extension < 0 {
        return Err(input.cut("has a COPY header with flags that are not known"));
    }
    input.exactly(usize::try_from(extension).unwrap_or(0), "ends within its header").map(drop)
}

/// What stands between two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tuple {
    /// A row with this cursor; None where its field is NULL, infinite or of another width.
    Row(Option<i64>),
    /// The trailer, behind which nothing stands.
    End,
}

/// The next row.
pub(super) fn next(input: &mut Input, place: usize, data_type: &ColumnType) -> Result<Tuple> {
    let count = input.exactly(2, "ends without its trailer")?;
    let fields = count.first_chunk().copied().map_or(0, i16::from_be_bytes);
    if fields == -1 {
        return if input.chunk()?.is_empty() { Ok(Tuple::End) } else { Err(input.cut("goes on behind its trailer")) };
    }
    let Ok(fields) = usize::try_from(fields) else { return Err(input.cut("has a row with an impossible number of columns")) };
    let mut cursor = None;
    for field in 0..fields {
        let length = int32(input)?;
        if length == -1 {
            continue;
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= FIELD_BYTES_MAX);
        let Some(length) = length else { return Err(input.cut("has a value of an impossible length")) };
        let bytes = input.exactly(length, "ends within a row")?;
        if field == place {
            cursor = value(bytes, data_type);
        }
    }
    Ok(Tuple::Row(cursor))
}

fn int32(input: &mut Input) -> Result<i32> {
    Ok(input.exactly(4, "ends within a row")?.first_chunk().copied().map_or(0, i32::from_be_bytes))
}

/// Microseconds since 1970, or a number, as the column's declared type and the field's width say.
pub(super) fn value(bytes: &[u8], data_type: &ColumnType) -> Option<i64> {
    let number = match *bytes {
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        _ => i64::from_be_bytes(bytes.try_into().ok()?),
    };
    match (data_type, bytes.len()) {
        // The ends of the range stand for the infinities.
        (ColumnType::Timestamp | ColumnType::LocalTimestamp, 8) if number != i64::MAX && number != i64::MIN => number.checked_add(EPOCH_US),
        (ColumnType::Date, 4) if number != i64::from(i32::MAX) && number != i64::from(i32::MIN) => {
            (number + EPOCH_DAYS).checked_mul(MICROSECONDS_PER_DAY)
        }
        (ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64, _) => Some(number),
        _ => None,
    }
}
