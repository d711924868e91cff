//! Writes BSON bytes without building documents first (specification: <https://bsonspec.org/spec.html>).

/// Builds one document at the end of a buffer.
#[derive(Debug)]
pub(crate) struct DocumentWriter<'buffer> {
    bytes: &'buffer mut Vec<u8>,
    /// Where the open documents and arrays begin.
    open: Vec<usize>,
}

impl<'buffer> DocumentWriter<'buffer> {
    /// Starts a document.
    pub(crate) fn new(bytes: &'buffer mut Vec<u8>) -> Self {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        Self { bytes, open: vec![start] }
    }

    /// Ends the document.
    pub(crate) fn finish(mut self) {
        self.end();
        assert!(self.open.is_empty(), "each sub-document must be ended before its parent");
    }

    fn element(&mut self, kind: u8, key: &str) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.push(0);
    }

    /// Begins a sub-document.
    pub(crate) fn document(&mut self, key: &str) {
        self.element(0x03, key);
        self.begin();
    }

    /// A sub-document that is BSON already.
    pub(crate) fn raw_document(&mut self, key: &str, document: &[u8]) {
        self.element(0x03, key);
        self.bytes.extend_from_slice(document);
    }

    /// Begins an array; its elements' keys are `"0"`, `"1"`, …
    pub(crate) fn array(&mut self, key: &str) {
        self.element(0x04, key);
        self.begin();
    }

    fn begin(&mut self) {
        self.open.push(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
    }

    /// Ends the innermost sub-document or array.
    pub(crate) fn end(&mut self) {
        self.bytes.push(0);
        let start = self.open.pop().expect("something is open");
        let length = i32::try_from(self.bytes.len() - start).expect("an order is far below two gigabytes");
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    pub(crate) fn double(&mut self, key: &str, value: f64) {
        self.element(0x01, key);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.element(0x02, key);
        let length = i32::try_from(value.len() + 1).expect("texts are short");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
    }

    pub(crate) fn optional_text(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// A Binary of subtype 4.
    pub(crate) fn uuid(&mut self, key: &str, value: [u8; 16]) {
        self.element(0x05, key);
        self.bytes.extend_from_slice(&16_i32.to_le_bytes());
        self.bytes.push(0x04);
        self.bytes.extend_from_slice(&value);
    }

    pub(crate) fn object_id(&mut self, key: &str, value: [u8; 12]) {
        self.element(0x07, key);
        self.bytes.extend_from_slice(&value);
    }

    pub(crate) fn boolean(&mut self, key: &str, value: bool) {
        self.element(0x08, key);
        self.bytes.push(u8::from(value));
    }

    /// A date, in milliseconds since 1970.
    pub(crate) fn date(&mut self, key: &str, instant_ms: i64) {
        self.element(0x09, key);
        self.bytes.extend_from_slice(&instant_ms.to_le_bytes());
    }

    pub(crate) fn null(&mut self, key: &str) {
        self.element(0x0a, key);
    }

    pub(crate) fn int32(&mut self, key: &str, value: i32) {
        self.element(0x10, key);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn int64(&mut self, key: &str, value: i64) {
        self.element(0x12, key);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// `coefficient × 10^-scale` as Decimal128 in its binary-integer form (exponent bias 6176).
    pub(crate) fn decimal(&mut self, key: &str, coefficient: i64, scale: u8) {
        let sign = u128::from(coefficient < 0) << 127;
        let exponent = (6_176 - u128::from(scale)) << 113;
        let bits = sign | exponent | u128::from(coefficient.unsigned_abs());
        self.element(0x13, key);
        self.bytes.extend_from_slice(&bits.to_le_bytes());
    }

    /// Decimal128's NaN.
    pub(crate) fn decimal_not_a_number(&mut self, key: &str) {
        self.element(0x13, key);
        self.bytes.extend_from_slice(&(0x7c_u128 << 120).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc, oid::ObjectId};

    use super::*;

    #[test]
    fn the_bson_crate_reads_what_is_written() {
        let mut bytes = Vec::new();
        let mut writer = DocumentWriter::new(&mut bytes);
        writer.object_id("_id", [7; 12]);
        writer.text("text", "Żółć \u{1f355}");
        writer.document("inner");
        writer.double("double", 12.34);
        writer.array("list");
        writer.int32("0", -5);
        writer.int64("1", 1 << 40);
        writer.null("2");
        writer.end();
        writer.end();
        writer.boolean("yes", true);
        writer.date("date", 1_700_000_000_123);
        writer.optional_text("none", None);
        writer.finish();
        let document = Document::from_reader(&mut bytes.as_slice()).unwrap();
        assert_eq!(
            document,
            doc! {
                "_id": ObjectId::from_bytes([7; 12]),
                "text": "Żółć \u{1f355}",
                "inner": { "double": 12.34, "list": [-5_i32, 1_i64 << 40, Bson::Null] },
                "yes": true,
                "date": bson::DateTime::from_millis(1_700_000_000_123),
                "none": Bson::Null,
            }
        );
    }

    #[test]
    fn decimals_read_as_they_should() {
        for (coefficient, scale, text) in [(1_234, 2, "12.34"), (-5, 2, "-0.05"), (0, 2, "0.00"), (7, 0, "7"), (120, 1, "12.0")] {
            let mut bytes = Vec::new();
            let mut writer = DocumentWriter::new(&mut bytes);
            writer.decimal("d", coefficient, scale);
            writer.finish();
            let document = Document::from_reader(&mut bytes.as_slice()).unwrap();
            assert_eq!(document.get("d").unwrap().to_string(), text);
        }
        let mut bytes = Vec::new();
        let mut writer = DocumentWriter::new(&mut bytes);
        writer.decimal_not_a_number("d");
        writer.finish();
        let document = Document::from_reader(&mut bytes.as_slice()).unwrap();
        assert_eq!(document.get("d").unwrap().to_string(), "NaN");
    }
}
