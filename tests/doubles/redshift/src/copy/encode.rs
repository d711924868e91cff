//! Arrow values as rows of PostgreSQL's binary COPY format (PostgreSQL documentation, "COPY", "Binary Format").

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};

use super::compatibility::Target;
use super::failure::{CODE_SCAN, CODE_SUPER, LoadFailure};
use super::json;
use crate::sql::data_type::{DataType, VARCHAR_BYTES_MAX};

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's day 0.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// The first bytes of a binary COPY.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The last bytes.
pub(crate) const TRAILER: &[u8] = &[0xff, 0xff];

/// What one file's rows are written with.
pub(crate) struct Encoding<'a> {
    /// The file, for failures.
    pub(crate) path: &'a str,
    pub(crate) accept_invalid: Option<char>,
    /// NULL columns after the file's own: FILLRECORD.
    pub(crate) filled: usize,
}

impl Encoding<'_> {
    /// Appends the rows of `columns` to `out`. `first_line` is the first row's number in the file, from 1.
    pub(crate) fn rows(
        &self,
        columns: &[ArrayRef],
        targets: &[Target],
        rows: usize,
        first_line: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadFailure> {
        let fields = i16::try_from(columns.len() + self.filled).unwrap_or(i16::MAX).to_be_bytes();
        for row in 0..rows {
            let line = first_line + row as u64;
            out.extend_from_slice(&fields);
            for (array, target) in columns.iter().zip(targets) {
                if array.is_null(row) {
                    if target.not_null {
                        let text = format!("Cannot insert a NULL value into column {}", target.name);
                        return Err(self.failure(CODE_SCAN, &text, target).at_line(line));
                    }
                    out.extend_from_slice(&(-1_i32).to_be_bytes());
                } else {
                    let start = out.len();
                    out.extend_from_slice(&[0; 4]);
                    self.value(array, row, target, out).map_err(|failure| failure.at_line(line))?;
                    let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
                    if let Some(place) = out.get_mut(start..start + 4) {
                        place.copy_from_slice(&length.to_be_bytes());
                    }
                }
            }
            for _ in 0..self.filled {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
            }
        }
        Ok(())
    }

    fn failure(&self, code: i32, text: &str, target: &Target) -> LoadFailure {
        LoadFailure::scan(code, self.path, text).on_column(&target.name, &target.short_type(), target.length())
    }

    fn value(&self, array: &ArrayRef, row: usize, target: &Target, out: &mut Vec<u8>) -> Result<(), LoadFailure> {
        let unreadable = || self.failure(CODE_SCAN, &format!("column '{}' cannot be read as {}", target.name, target.short_type()), target);
        match (&target.kind, array.data_type()) {
            (DataType::Boolean, ArrowType::Boolean) => out.push(u8::from(array.as_boolean().value(row))),
            (DataType::SmallInt, ArrowType::Int16) => out.extend_from_slice(&array.as_primitive::<Int16Type>().value(row).to_be_bytes()),
            (DataType::Integer, ArrowType::Int32) => out.extend_from_slice(&array.as_primitive::<Int32Type>().value(row).to_be_bytes()),
            (DataType::BigInt, ArrowType::Int64) => out.extend_from_slice(&array.as_primitive::<Int64Type>().value(row).to_be_bytes()),
            (DataType::Real, ArrowType::Float32) => out.extend_from_slice(&array.as_primitive::<Float32Type>().value(row).to_be_bytes()),
            (DataType::Double, ArrowType::Float64) => out.extend_from_slice(&array.as_primitive::<Float64Type>().value(row).to_be_bytes()),
            (DataType::Decimal { .. }, ArrowType::Decimal128(_, scale)) => {
                numeric(array.as_primitive::<Decimal128Type>().value(row), u16::try_from(*scale).map_err(|_| unreadable())?, out)
            }
            (DataType::Date, ArrowType::Date32) => {
                let days = array.as_primitive::<Date32Type>().value(row).checked_sub(EPOCH_DAYS).ok_or_else(unreadable)?;
                out.extend_from_slice(&days.to_be_bytes());
            }
            (DataType::Timestamp | DataType::TimestampTz, ArrowType::Timestamp(unit, _)) => {
                let microseconds =
                    microseconds(array, row, *unit).and_then(|value| value.checked_sub(EPOCH_MICROSECONDS)).ok_or_else(unreadable)?;
                out.extend_from_slice(&microseconds.to_be_bytes());
            }
            (DataType::Varchar { bytes } | DataType::Char { bytes }, ArrowType::Utf8) => {
                self.text(array.as_string::<i32>().value(row).as_bytes(), *bytes, target, out)?
            }
            (DataType::Varchar { bytes } | DataType::Char { bytes }, ArrowType::Binary) => {
                self.text(array.as_binary::<i32>().value(row), *bytes, target, out)?
            }
            (DataType::Varbyte { bytes, .. }, ArrowType::Binary) => {
                let value = array.as_binary::<i32>().value(row);
                self.fits(value.len(), *bytes, target)?;
                out.extend_from_slice(value);
            }
            (DataType::Super, _) => self.json(array, row, target, out)?,
            _ => return Err(unreadable()),
        }
        Ok(())
    }

    fn fits(&self, bytes: usize, bytes_max: u32, target: &Target) -> Result<(), LoadFailure> {
        if bytes <= bytes_max as usize {
            return Ok(());
        }
        let text = format!(
            "The length of the data column {} is longer than the length defined in the table. Table: {bytes_max}, Data: {bytes}",
            target.name
        );
        Err(self.failure(CODE_SCAN, &text, target))
    }

    /// Lengths are in bytes, CHAR is of one byte a character, and invalid UTF-8 fails unless something replaces it.
    fn text(&self, value: &[u8], bytes_max: u32, target: &Target, out: &mut Vec<u8>) -> Result<(), LoadFailure> {
        self.fits(value.len(), bytes_max, target)?;
        let invalid = || self.failure(CODE_SCAN, &format!("column '{}' has an invalid UTF-8 sequence", target.name), target);
        let one_byte = matches!(target.kind, DataType::Char { .. });
        match std::str::from_utf8(value) {
            Ok(text) if one_byte && !text.is_ascii() => {
                Err(self.failure(CODE_SCAN, &format!("CHAR column '{}' has a multibyte character", target.name), target))
            }
            Ok(text) if !text.contains('\0') => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Ok(text) => {
                let replacement = self.accept_invalid.ok_or_else(invalid)?;
                out.extend_from_slice(text.replace('\0', &replacement.to_string()).as_bytes());
                Ok(())
            }
            Err(_) => {
                let replacement = self.accept_invalid.ok_or_else(invalid)?;
                for chunk in value.utf8_chunks() {
                    out.extend_from_slice(chunk.valid().as_bytes());
                    // Redshift writes a replacement of the invalid sequence's own length.
                    out.extend(std::iter::repeat_n(replacement as u8, chunk.invalid().len()));
                }
                Ok(())
            }
        }
    }

    /// SERIALIZETOJSON: strings stay strings, also when they hold JSON.
    fn json(&self, array: &ArrayRef, row: usize, target: &Target, out: &mut Vec<u8>) -> Result<(), LoadFailure> {
        let value = json::value(array, row).ok_or_else(|| {
            self.failure(CODE_SCAN, &format!("column '{}' has a type that SERIALIZETOJSON does not take", target.name), target)
        })?;
        if json::longest_string(&value) > VARCHAR_BYTES_MAX as usize {
            return Err(self.failure(CODE_SUPER, &format!("String value exceeds the max size of {VARCHAR_BYTES_MAX} bytes"), target));
        }
        out.push(1);
        out.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }
}

fn microseconds(array: &ArrayRef, row: usize, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Microsecond => Some(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1000),
        TimeUnit::Nanosecond => Some(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1000)),
        TimeUnit::Second => None,
    }
}

/// PostgreSQL's binary numeric: groups of four decimal digits, the first group's weight, sign and scale.
fn numeric(value: i128, scale: u16, out: &mut Vec<u8>) {
    let mut digits = value.unsigned_abs().to_string();
    let scale_digits = usize::from(scale);
    while digits.len() <= scale_digits {
        digits.insert(0, '0');
    }
    let split = digits.len() - scale_digits;
    let (whole, fraction) = digits.split_at(split);
    let mut groups: Vec<u16> = Vec::new();
    let padded_whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let padded_fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    for group in padded_whole.as_bytes().chunks(4).chain(padded_fraction.as_bytes().chunks(4)) {
        groups.push(group.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')));
    }
    let mut weight = i16::try_from(padded_whole.len() / 4).unwrap_or(i16::MAX) - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= i16::try_from(leading).unwrap_or(0);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&u16::try_from(groups.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int64Array, StringArray};

    use super::*;

    fn numeric_words(value: i128, scale: u16) -> Vec<i16> {
        let mut out = Vec::new();
        numeric(value, scale, &mut out);
        out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numerics_are_in_groups_of_four_digits() {
        assert_eq!(numeric_words(1_234_567, 2), [3, 1, 0, 2, 1, 2345, 6700]);
        assert_eq!(numeric_words(-5, 2), [1, -1, 0x4000, 2, 500]);
        assert_eq!(numeric_words(0, 2), [0, 0, 0, 2]);
        assert_eq!(numeric_words(10_000, 0), [1, 1, 0, 0, 1]);
        assert_eq!(numeric_words(1, 6), [1, -2, 0, 6, 100]);
    }

    fn encode(array: ArrayRef, kind: DataType, not_null: bool, accept_invalid: Option<char>) -> Result<Vec<u8>, LoadFailure> {
        let mut out = Vec::new();
        let target = Target { name: "c".into(), kind, not_null };
        let rows = array.len();
        Encoding { path: "s3://b/k", accept_invalid, filled: 0 }.rows(&[array], &[target], rows, 1, &mut out)?;
        Ok(out)
    }

    #[test]
    fn text_is_measured_in_bytes() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["ok", "żółw"]));
        let failure = encode(Arc::clone(&array), DataType::Varchar { bytes: 6 }, false, None).unwrap_err();
        assert_eq!(failure.context, "The length of the data column c is longer than the length defined in the table. Table: 6, Data: 7");
        assert_eq!(failure.line_number, 2);
        assert!(encode(Arc::clone(&array), DataType::Varchar { bytes: 7 }, false, None).is_ok());
        assert!(encode(array, DataType::Char { bytes: 7 }, false, None).is_err());
    }

    #[test]
    fn nulls_do_not_go_where_they_must_not() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(
            encode(Arc::clone(&array), DataType::BigInt, false, None).unwrap(),
            [0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 255, 255, 255, 255]
        );
        assert!(encode(array, DataType::BigInt, true, None).unwrap_err().context.contains("NULL"));
    }

    #[test]
    fn invalid_text_fails_or_is_replaced() {
        let array: ArrayRef = Arc::new(BinaryArray::from(vec![&b"a\xff\xfeb"[..]]));
        assert!(encode(Arc::clone(&array), DataType::Varchar { bytes: 9 }, false, None).is_err());
        assert!(encode(array, DataType::Varchar { bytes: 9 }, false, Some('?')).unwrap().ends_with(b"a??b"));
    }

    #[test]
    fn strings_in_super_stay_strings() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["{\"a\":1}"]));
        assert!(encode(array, DataType::Super, false, None).unwrap().ends_with(br#""{\"a\":1}""#));
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(65_536)]));
        assert_eq!(encode(long, DataType::Super, false, None).unwrap_err().code, 1224);
    }
}
