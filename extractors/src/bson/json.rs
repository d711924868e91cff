//! BSON values as JSON text: MongoDB Extended JSON v2, without white space, fields in the document's order.
//!
//! Where plain JSON loses nothing it is used: strings, booleans, null, whole numbers (of 32 and 64 bits alike) and finite doubles, which
//! always have a point or an exponent so that they stay apart from whole numbers. Everything else has its `$…` form:
//! `{"$numberDecimal":"12.50"}`, `{"$date":"2025-03-30T04:00:00Z"}`, `{"$oid":"…"}`. Of fields with the same name in one
//! document the last one counts. Source of the forms: <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>.

use std::collections::HashMap;

use super::element::{DEPTH_MAX, Elements, Malformed, Value, kind};
use super::number::Decimal128;

/// Appends `value` to `into`. On an error, `into` ends with a part of it.
pub(crate) fn write(value: Value<'_>, depth: usize, into: &mut Vec<u8>) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("values nest deeper than 100 levels"));
    }
    match value.kind {
        kind::STRING => write_text(value.text()?, into),
        kind::INT32 => write_display(value.int32(), into),
        kind::INT64 => write_display(value.int64(), into),
        kind::DOUBLE => {
            let number = value.double();
            if number.is_finite() {
                // Debug, unlike Display, keeps the point of a whole double.
                into.extend_from_slice(format!("{number:?}").as_bytes());
            } else {
                into.extend_from_slice(b"{\"$numberDouble\":\"");
                into.extend_from_slice(if number.is_nan() {
                    b"NaN"
                } else if number > 0.0 {
                    b"Infinity"
                } else {
                    b"-Infinity"
                });
                into.extend_from_slice(b"\"}");
            }
        }
        kind::BOOLEAN => into.extend_from_slice(if boolean(value)? { b"true" } else { b"false" }),
        kind::NULL => into.extend_from_slice(b"null"),
        kind::DOCUMENT => write_document(value.body()?, depth, into)?,
        kind::ARRAY => {
            into.push(b'[');
            let mut elements = Elements::of(value.body()?);
            let mut first = true;
            while let Some((_, element)) = elements.next()? {
                if !first {
                    into.push(b',');
                }
                first = false;
                write(element, depth + 1, into)?;
            }
            into.push(b']');
        }
        kind::DECIMAL128 => {
            into.extend_from_slice(b"{\"$numberDecimal\":\"");
            Decimal128::of(value).write(into);
            into.extend_from_slice(b"\"}");
        }
        kind::DATE => write_date(value.int64(), into),
        kind::OBJECT_ID => {
            into.extend_from_slice(b"{\"$oid\":\"");
            write_hex(value.bytes, into);
            into.extend_from_slice(b"\"}");
        }
        kind::BINARY => {
            let (subtype, content) = value.binary()?;
            into.extend_from_slice(b"{\"$binary\":{\"base64\":\"");
            write_base64(content, into);
            into.extend_from_slice(b"\",\"subType\":\"");
            write_hex(&[subtype], into);
            into.extend_from_slice(b"\"}}");
        }
        _ => write_rare(value, depth, into)?,
    }
    Ok(())
}

/// The types that hardly any collection has.
fn write_rare(value: Value<'_>, depth: usize, into: &mut Vec<u8>) -> Result<(), Malformed> {
    let cut = Malformed("a value ends outside its document");
    match value.kind {
        kind::UNDEFINED => into.extend_from_slice(b"{\"$undefined\":true}"),
        kind::MIN_KEY => into.extend_from_slice(b"{\"$minKey\":1}"),
        kind::MAX_KEY => into.extend_from_slice(b"{\"$maxKey\":1}"),
        kind::TIMESTAMP => {
            let bits = value.int64() as u64;
            into.extend_from_slice(format!("{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", bits >> 32, bits & 0xFFFF_FFFF).as_bytes());
        }
        kind::REGEX => {
            let mut parts = value.bytes.split(|byte| *byte == 0);
            into.extend_from_slice(b"{\"$regularExpression\":{\"pattern\":");
            write_text(text(parts.next().ok_or(cut)?)?, into);
            into.extend_from_slice(b",\"options\":");
            write_text(text(parts.next().ok_or(cut)?)?, into);
            into.extend_from_slice(b"}}");
        }
        kind::CODE | kind::SYMBOL => {
            into.extend_from_slice(if value.kind == kind::CODE { b"{\"$code\":" } else { b"{\"$symbol\":" });
            write_text(value.text()?, into);
            into.push(b'}');
        }
        kind::CODE_WITH_SCOPE => {
            let inner = value.bytes.get(4..).ok_or(cut)?;
            let code = Value::at_head(kind::CODE, inner)?;
            let scope = Value { kind: kind::DOCUMENT, bytes: inner.get(code.bytes.len()..).ok_or(cut)? };
            into.extend_from_slice(b"{\"$code\":");
            write_text(code.text()?, into);
            into.extend_from_slice(b",\"$scope\":");
            write_document(scope.body()?, depth, into)?;
            into.push(b'}');
        }
        kind::DB_POINTER => {
            let name = Value::at_head(kind::STRING, value.bytes)?;
            into.extend_from_slice(b"{\"$dbPointer\":{\"$ref\":");
            write_text(name.text()?, into);
            into.extend_from_slice(b",\"$id\":{\"$oid\":\"");
            write_hex(value.bytes.get(name.bytes.len()..).ok_or(cut)?, into);
            into.extend_from_slice(b"\"}}}");
        }
        _ => return Err(Malformed("a value has an unknown type")),
    }
    Ok(())
}

fn write_document(body: &[u8], depth: usize, into: &mut Vec<u8>) -> Result<(), Malformed> {
    // Small documents are searched for a repeated name, which costs less than a table; large ones get the table.
    const BYTES_SEARCHED_MAX: usize = 4 << 10;
    let mut last = HashMap::new();
    if body.len() > BYTES_SEARCHED_MAX {
        let mut elements = Elements::of(body);
        let mut ordinal = 0_usize;
        while let Some((name, _)) = elements.next()? {
            last.insert(name, ordinal);
            ordinal += 1;
        }
    }
    into.push(b'{');
    let mut elements = Elements::of(body);
    let (mut first, mut ordinal) = (true, 0_usize);
    while let Some((name, value)) = elements.next()? {
        let comes_again = if body.len() > BYTES_SEARCHED_MAX { last.get(name) != Some(&ordinal) } else { has_name(&elements, name)? };
        ordinal += 1;
        if comes_again {
            continue;
        }
        if !first {
            into.push(b',');
        }
        first = false;
        write_text(text(name)?, into);
        into.push(b':');
        write(value, depth + 1, into)?;
    }
    into.push(b'}');
    Ok(())
}

fn has_name(rest: &Elements<'_>, wanted: &[u8]) -> Result<bool, Malformed> {
    let mut rest = rest.clone();
    while let Some((name, _)) = rest.next()? {
        if name == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A boolean's byte is 0 or 1.
pub(crate) fn boolean(value: Value<'_>) -> Result<bool, Malformed> {
    match value.bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Malformed("a boolean is neither 0 nor 1")),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a name is not valid UTF-8"))
}

fn write_display(number: impl std::fmt::Display, into: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(into, "{number}").expect("writing into memory cannot fail");
}

fn write_date(milliseconds: i64, into: &mut Vec<u8>) {
    // The relaxed form holds for the years 1970 to 9999 only.
    const YEAR_10000_MS: i64 = 253_402_300_800_000;
    let instant = if (0..YEAR_10000_MS).contains(&milliseconds) { chrono::DateTime::from_timestamp_millis(milliseconds) } else { None };
    match instant {
        Some(instant) => {
            into.extend_from_slice(b"{\"$date\":\"");
            into.extend_from_slice(instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).as_bytes());
            into.extend_from_slice(b"\"}");
        }
        None => {
            into.extend_from_slice(b"{\"$date\":{\"$numberLong\":\"");
            write_display(milliseconds, into);
            into.extend_from_slice(b"\"}}");
        }
    }
}

/// Appends lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        into.push(DIGITS[usize::from(byte >> 4)]);
        into.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn write_base64(bytes: &[u8], into: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                into.push(DIGITS[(bits >> (18 - 6 * place)) as usize & 63]);
            } else {
                into.push(b'=');
            }
        }
    }
}

/// Appends a JSON string.
pub(crate) fn write_text(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    write_escaped(text, into);
    into.push(b'"');
}

/// Appends the inside of a JSON string.
pub(crate) fn write_escaped(text: &str, into: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            0x08 => into.extend_from_slice(b"\\b"),
            0x0C => into.extend_from_slice(b"\\f"),
            0x00..=0x1F => {
                into.extend_from_slice(b"\\u00");
                write_hex(&[byte], into);
            }
            _ => into.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bson::{Bson, doc, oid::ObjectId};

    fn json(document: &::bson::Document) -> String {
        let bytes = document.to_vec().unwrap();
        let mut into = Vec::new();
        write(Value { kind: kind::DOCUMENT, bytes: &bytes }, 0, &mut into).unwrap();
        String::from_utf8(into).unwrap()
    }

    #[test]
    fn every_type_has_its_form() {
        let document = doc! {
            "text": "zażółć \"\\\n\u{1}", "int": 1_i32, "long": i64::MAX, "double": 2.0, "nan": f64::NAN, "yes": true, "no": null_of(),
            "list": [1, "a", {"b": 2.5}], "oid": ObjectId::from_bytes([1; 12]), "at": ::bson::DateTime::from_millis(1_735_689_600_500),
            "old": ::bson::DateTime::from_millis(-1), "binary": Bson::Binary(::bson::Binary { subtype: ::bson::spec::BinarySubtype::Generic, bytes: vec![1, 2, 3, 4] }),
            "decimal": Bson::Decimal128("1.20".parse().unwrap()), "min": Bson::MinKey, "stamp": Bson::Timestamp(::bson::Timestamp { time: 5, increment: 7 }),
            "regex": Bson::RegularExpression(::bson::Regex { pattern: "^a".try_into().unwrap(), options: "i".try_into().unwrap() }),
            "code": Bson::JavaScriptCodeWithScope(::bson::JavaScriptCodeWithScope { code: "x".into(), scope: doc! {"y": 1} }),
            "symbol": Bson::Symbol("s".into()), "undefined": Bson::Undefined,
        };
        assert_eq!(
            json(&document),
            concat!(
                r#"{"text":"zażółć \"\\\n\u0001","int":1,"long":9223372036854775807,"double":2.0,"nan":{"$numberDouble":"NaN"},"yes":true,"no":null,"#,
                r#""list":[1,"a",{"b":2.5}],"oid":{"$oid":"010101010101010101010101"},"at":{"$date":"2025-01-01T00:00:00.500Z"},"#,
                r#""old":{"$date":{"$numberLong":"-1"}},"binary":{"$binary":{"base64":"AQIDBA==","subType":"00"}},"#,
                r#""decimal":{"$numberDecimal":"1.20"},"min":{"$minKey":1},"stamp":{"$timestamp":{"t":5,"i":7}},"#,
                r#""regex":{"$regularExpression":{"pattern":"^a","options":"i"}},"code":{"$code":"x","$scope":{"y":1}},"#,
                r#""symbol":{"$symbol":"s"},"undefined":{"$undefined":true}}"#
            )
        );
    }

    fn null_of() -> Bson {
        Bson::Null
    }

    #[test]
    fn a_repeated_name_counts_once_and_depth_is_limited() {
        // {"a": 1, "b": 2, "a": 3} cannot be built by the library.
        let bytes = [b"\x1a\0\0\0".as_slice(), b"\x10a\0\x01\0\0\0", b"\x10b\0\x02\0\0\0", b"\x10a\0\x03\0\0\0", b"\0"].concat();
        let mut into = Vec::new();
        write(Value { kind: kind::DOCUMENT, bytes: &bytes }, 0, &mut into).unwrap();
        assert_eq!(into, br#"{"b":2,"a":3}"#);

        let mut deep = doc! {};
        for _ in 0..120 {
            deep = doc! {"d": deep};
        }
        let bytes = deep.to_vec().unwrap();
        assert!(write(Value { kind: kind::DOCUMENT, bytes: &bytes }, 0, &mut Vec::new()).is_err());
    }
}
