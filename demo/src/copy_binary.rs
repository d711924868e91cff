//! Writes PostgreSQL's binary COPY format (documentation of COPY, "Binary Format"; the values as the types' send functions write them).

use chrono::NaiveDate;

/// What a file begins with: signature, flags, no header extension.
pub(crate) const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What a file ends with: a tuple of −1 fields.
pub(crate) const TRAILER: [u8; 2] = [0xff, 0xff];

/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Days from the common era's first day to 2000-01-01.
const EPOCH_DAYS: i32 = 730_120;

/// The object identifier of `text`, which an array names as its elements' type (`pg_type.dat`).
const TEXT_OID: i32 = 25;

/// Builds one tuple at the end of a buffer.
#[derive(Debug)]
pub(crate) struct TupleWriter<'buffer> {
    bytes: &'buffer mut Vec<u8>,
}

impl<'buffer> TupleWriter<'buffer> {
    /// Starts a tuple of so many fields.
    pub(crate) fn new(bytes: &'buffer mut Vec<u8>, fields: i16) -> Self {
        bytes.extend_from_slice(&fields.to_be_bytes());
        Self { bytes }
    }

    fn field(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    fn length(&mut self, length: usize) {
        let length = i32::try_from(length).expect("values are short");
        self.bytes.extend_from_slice(&length.to_be_bytes());
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    /// Writes the value with `write`, or NULL.
    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.field(&[u8::from(value)]);
    }

    pub(crate) fn integer(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    pub(crate) fn bigint(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    pub(crate) fn double(&mut self, value: f64) {
        self.field(&value.to_be_bytes());
    }

    /// `text`, `char(n)` and enums.
    pub(crate) fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    pub(crate) fn uuid(&mut self, value: [u8; 16]) {
        self.field(&value);
    }

    /// `jsonb`, version 1.
    pub(crate) fn jsonb(&mut self, value: &str) {
        self.length(value.len() + 1);
        self.bytes.push(1);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn date(&mut self, value: NaiveDate) {
        self.integer(chrono::Datelike::num_days_from_ce(&value) - EPOCH_DAYS);
    }

    /// `timestamptz`, from microseconds since 1970.
    pub(crate) fn timestamp_us(&mut self, instant_us: i64) {
        self.bigint(instant_us - EPOCH_US);
    }

    /// `timestamptz`, from milliseconds since 1970.
    pub(crate) fn timestamp_ms(&mut self, instant_ms: i64) {
        self.timestamp_us(instant_ms * 1_000);
    }

    pub(crate) fn point(&mut self, (x, y): (f64, f64)) {
        self.length(16);
        self.bytes.extend_from_slice(&x.to_be_bytes());
        self.bytes.extend_from_slice(&y.to_be_bytes());
    }

    /// `numeric`: `coefficient × 10^-scale`, scale 0 to 4. Digits are groups of four decimal ones.
    pub(crate) fn numeric(&mut self, coefficient: i64, scale: u16) {
        let divisor = 10_u64.pow(u32::from(scale));
        let magnitude = coefficient.unsigned_abs();
        let mut whole = magnitude / divisor;
        let fraction = magnitude % divisor * 10_u64.pow(4 - u32::from(scale));
        // Least significant first; a 64-bit integer has at most five groups.
        let mut groups = [0_u16; 6];
        groups[0] = fraction as u16;
        let mut used = 1;
        while whole > 0 {
            groups[used] = (whole % 10_000) as u16;
            whole /= 10_000;
            used += 1;
        }
        let mut weight = used as i16 - 2;
        let mut digits = &groups[..used];
        while let [rest @ .., 0] = digits {
            digits = rest;
            weight -= 1;
        }
        while let [0, rest @ ..] = digits {
            digits = rest;
        }
        if digits.is_empty() {
            weight = 0;
        }
        let sign = if coefficient < 0 { 0x4000_u16 } else { 0 };
        self.length(8 + 2 * digits.len());
        self.bytes.extend_from_slice(&(digits.len() as i16).to_be_bytes());
        self.bytes.extend_from_slice(&weight.to_be_bytes());
        self.bytes.extend_from_slice(&sign.to_be_bytes());
        self.bytes.extend_from_slice(&scale.to_be_bytes());
        for digit in digits.iter().rev() {
            self.bytes.extend_from_slice(&digit.to_be_bytes());
        }
    }

    /// `text[]` with lower bound 1; an empty array has no dimension.
    pub(crate) fn text_array(&mut self, values: &[&str]) {
        let elements: usize = values.iter().map(|value| 4 + value.len()).sum();
        let dimensions = i32::from(!values.is_empty());
        self.length(12 + 8 * dimensions as usize + elements);
        for header in [dimensions, 0, TEXT_OID] {
            self.bytes.extend_from_slice(&header.to_be_bytes());
        }
        if dimensions == 1 {
            let count = i32::try_from(values.len()).expect("arrays are short");
            self.bytes.extend_from_slice(&count.to_be_bytes());
            self.bytes.extend_from_slice(&1_i32.to_be_bytes());
        }
        for value in values {
            self.text(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(coefficient: i64, scale: u16) -> Vec<i16> {
        let mut bytes = Vec::new();
        TupleWriter::new(&mut bytes, 1).numeric(coefficient, scale);
        bytes[6..].chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numerics_have_postgresql_groups() {
        // Count of digits, weight, sign, scale, digits: what numeric_send gives for the same values.
        assert_eq!(numeric(0, 2), [0, 0, 0, 2]);
        assert_eq!(numeric(1_234, 2), [2, 0, 0, 2, 12, 3_400]);
        assert_eq!(numeric(-5, 2), [1, -1, 0x4000, 2, 500]);
        assert_eq!(numeric(1_000_000, 2), [1, 1, 0, 2, 1]);
        assert_eq!(numeric(123_456_789, 4), [3, 1, 0, 4, 1, 2_345, 6_789]);
        assert_eq!(numeric(100_000_000_000, 0), [1, 2, 0, 0, 1_000]);
    }

    #[test]
    fn dates_count_from_2000() {
        let mut bytes = Vec::new();
        TupleWriter::new(&mut bytes, 1).date(NaiveDate::from_ymd_opt(2000, 1, 2).unwrap());
        assert_eq!(bytes, [0, 1, 0, 0, 0, 4, 0, 0, 0, 1]);
    }
}
