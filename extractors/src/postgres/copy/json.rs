//! Values as JSON, written as PostgreSQL writes `to_jsonb(value)::text`: one canonical text for equal values.
//!
//! Text of `jsonb` comes from the server as it is. Text of `json`, which keeps what was typed, is made canonical here: members sorted by
//! the length of their names and then by their bytes, of equal names the last one, numbers as `numeric` prints them, `", "` and `": "`
//! between (`src/backend/utils/adt/jsonb.c`, `jsonb_util.c`).

use super::calendar::{self, Style};
use super::float::{write_double, write_float};
use super::numeric::Numeric;
use super::text::{self, Array, Place, Row};
use super::unfit::Unfit;
use super::wire::{Wire, exactly, utf8};
use crate::postgres::types::PostgresType;

/// Deepest nesting of JSON: far more than anyone writes, and shallow enough for the stack.
const DEPTH_MAX: usize = 512;

/// Most zeros that a number's exponent may stand for: `1e1000000000` is eleven characters and would be a billion.
const ZEROS_MAX: i64 = 131_072;

/// Most zeros that all numbers of one text may stand for: more than numbers that people write have, and little enough for memory.
const ZEROS_TOTAL_MAX: i64 = 64 << 20;

/// Writes a value.
pub(super) fn write(type_: &PostgresType, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    write_nested(type_, bytes, 0, into)
}

fn write_nested(type_: &PostgresType, bytes: &[u8], depth: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
    if depth > text::DEPTH_MAX {
        return Err(Unfit::Malformed("it nests too deeply"));
    }
    match type_ {
        PostgresType::Bool | PostgresType::Int2 | PostgresType::Int4 | PostgresType::Int8 | PostgresType::Jsonb => {
            text::write(type_, bytes, Place::Alone, into)?;
        }
        PostgresType::Json => write_canonical(utf8(bytes)?, into)?,
        PostgresType::Numeric => {
            let numeric = Numeric::of(bytes)?;
            write_maybe_quoted(numeric.is_finite(), into, |into| numeric.write(into));
        }
        PostgresType::Float4 => {
            let number = f32::from_be_bytes(exactly(bytes)?);
            write_binary_number(number.is_finite(), into, |into| write_float(number, into))?;
        }
        PostgresType::Float8 => {
            let number = f64::from_be_bytes(exactly(bytes)?);
            write_binary_number(number.is_finite(), into, |into| write_double(number, into))?;
        }
        PostgresType::TimestampTz | PostgresType::Timestamp => {
            into.push(b'"');
            calendar::write_timestamp(bytes, *type_ == PostgresType::TimestampTz, Style::Json, into)?;
            into.push(b'"');
        }
        PostgresType::Array(element) => {
            let Array { dimensions, mut elements } = Array::of(bytes)?;
            if dimensions.is_empty() {
                into.extend_from_slice(b"[]");
            } else {
                write_dimension(element, &dimensions, &mut elements, depth, into)?;
            }
            elements.end()?;
        }
        PostgresType::Composite(fields) => {
            let mut row = Row::of(bytes)?;
            let mut members = Vec::with_capacity(fields.len());
            for field in fields {
                let mut value = Vec::new();
                match row.next()? {
                    None => value.extend_from_slice(b"null"),
                    Some(bytes) => write_nested(&field.type_, bytes, depth + 1, &mut value)?,
                }
                members.push((field.name.clone(), value));
            }
            row.end()?;
            write_members(members, into);
        }
        // Everything else is the text of the output function, in quotes.
        _ => {
            let mut value = Vec::new();
            let place = if matches!(type_, PostgresType::Bpchar) { Place::Inside } else { Place::Alone };
            let place = if matches!(type_, PostgresType::Inet) { Place::Inside } else { place };
            text::write(type_, bytes, place, &mut value)?;
            write_text(utf8(&value)?, into);
        }
    }
    Ok(())
}

/// A floating point number: its text, read as a `numeric`, which has no exponent and no negative zero.
fn write_binary_number(is_finite: bool, into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unfit> {
    if !is_finite {
        write_maybe_quoted(false, into, write);
        return Ok(());
    }
    let mut text = Vec::new();
    write(&mut text);
    write_canonical(utf8(&text)?, into)
}

fn write_maybe_quoted(is_plain: bool, into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if !is_plain {
        into.push(b'"');
    }
    write(into);
    if !is_plain {
        into.push(b'"');
    }
}

fn write_dimension(
    element: &PostgresType,
    dimensions: &[(usize, i32)],
    elements: &mut Wire<'_>,
    depth: usize,
    into: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let Some(((size, _), deeper)) = dimensions.split_first() else {
        return match elements.field()? {
            None => {
                into.extend_from_slice(b"null");
                Ok(())
            }
            Some(bytes) => {
                write_nested(element, bytes, depth + 1, into)?;
                text::limited(into)
            }
        };
    };
    into.push(b'[');
    for index in 0..*size {
        if index > 0 {
            into.extend_from_slice(b", ");
        }
        write_dimension(element, deeper, elements, depth, into)?;
    }
    into.push(b']');
    Ok(())
}

/// Writes an object's members in canonical order.
pub(super) fn write_members(mut members: Vec<(String, Vec<u8>)>, into: &mut Vec<u8>) {
    // A stable sort keeps equal names in the order they came, so the last one of each is the one that counts.
    members.sort_by(|(left, _), (right, _)| left.len().cmp(&right.len()).then_with(|| left.as_bytes().cmp(right.as_bytes())));
    into.push(b'{');
    let mut is_first = true;
    for same in members.chunk_by(|(left, _), (right, _)| left == right) {
        let Some((name, value)) = same.last() else { continue };
        if !is_first {
            into.extend_from_slice(b", ");
        }
        is_first = false;
        write_text(name, into);
        into.extend_from_slice(b": ");
        into.extend_from_slice(value);
    }
    into.push(b'}');
}

/// Writes a string as PostgreSQL's `escape_json` does (`src/backend/utils/adt/json.c`).
pub(super) fn write_text(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            0x08 => into.extend_from_slice(b"\\b"),
            0x0c => into.extend_from_slice(b"\\f"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            control if control < 0x20 => {
                into.extend_from_slice(b"\\u00");
                super::network::write_hex(&[control], into);
            }
            other => into.push(other),
        }
    }
    into.push(b'"');
}

/// Writes any JSON text in its canonical form.
pub(super) fn write_canonical(text: &str, into: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut parser = Parser { rest: text.as_bytes(), zeros_left: ZEROS_TOTAL_MAX };
    parser.value(0, into)?;
    parser.blanks();
    if parser.rest.is_empty() { Ok(()) } else { Err(Unfit::NotJson) }
}

struct Parser<'a> {
    rest: &'a [u8],
    zeros_left: i64,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.rest.first().copied()
    }

    fn take(&mut self, mark: u8) -> bool {
        let found = self.peek() == Some(mark);
        if found {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        found
    }

    fn byte(&mut self) -> Result<u8, Unfit> {
        let (byte, rest) = self.rest.split_first().ok_or(Unfit::NotJson)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn value(&mut self, depth: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
        if depth > DEPTH_MAX {
            return Err(Unfit::NotJson);
        }
        match self.peek().ok_or(Unfit::NotJson)? {
            b'{' => self.object(depth, into),
            b'[' => {
                self.byte()?;
                into.push(b'[');
                let mut is_first = true;
                while !self.take(b']') {
                    if !is_first {
                        if !self.take(b',') {
                            return Err(Unfit::NotJson);
                        }
                        into.extend_from_slice(b", ");
                    }
                    is_first = false;
                    self.value(depth + 1, into)?;
                }
                into.push(b']');
                Ok(())
            }
            b'"' => {
                let text = self.string()?;
                write_text(&text, into);
                Ok(())
            }
            b'-' | b'0'..=b'9' => self.number(into),
            _ => {
                for word in [b"true".as_slice(), b"false", b"null"] {
                    if let Some(rest) = self.rest.strip_prefix(word) {
                        self.rest = rest;
                        into.extend_from_slice(word);
                        return Ok(());
                    }
                }
                Err(Unfit::NotJson)
            }
        }
    }

    fn object(&mut self, depth: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
        self.byte()?;
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        while !self.take(b'}') {
            if !members.is_empty() && !self.take(b',') {
                return Err(Unfit::NotJson);
            }
            if self.peek() != Some(b'"') {
                return Err(Unfit::NotJson);
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(Unfit::NotJson);
            }
            let mut value = Vec::new();
            self.value(depth + 1, &mut value)?;
            members.push((name, value));
        }
        write_members(members, into);
        Ok(())
    }

    fn string(&mut self) -> Result<String, Unfit> {
        self.byte()?;
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                b'"' => break,
                b'\\' => match self.byte()? {
                    b'b' => text.push(0x08),
                    b'f' => text.push(0x0c),
                    b'n' => text.push(b'\n'),
                    b'r' => text.push(b'\r'),
                    b't' => text.push(b'\t'),
                    b'u' => {
                        let character = self.escaped()?;
                        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    other @ (b'"' | b'\\' | b'/') => text.push(other),
                    _ => return Err(Unfit::NotJson),
                },
                control if control < 0x20 => return Err(Unfit::NotJson),
                other => text.push(other),
            }
        }
        String::from_utf8(text).map_err(|_| Unfit::NotJson)
    }

    /// What follows `\u`: one code point, or two halves of one.
    fn escaped(&mut self) -> Result<char, Unfit> {
        let high = self.hexadecimal()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            if self.byte()? != b'\\' || self.byte()? != b'u' {
                return Err(Unfit::NotJson);
            }
            let low = self.hexadecimal()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(Unfit::NotJson);
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or(Unfit::NotJson)
    }

    fn hexadecimal(&mut self) -> Result<u32, Unfit> {
        let mut code = 0;
        for _ in 0..4 {
            code = code << 4 | char::from(self.byte()?).to_digit(16).ok_or(Unfit::NotJson)?;
        }
        Ok(code)
    }

    fn digits(&mut self) -> &[u8] {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, b""));
        self.rest = rest;
        digits
    }

    /// A number as `numeric` prints it: no exponent, and the digits after the point that were written.
    fn number(&mut self, into: &mut Vec<u8>) -> Result<(), Unfit> {
        let is_negative = self.rest.first() == Some(&b'-');
        if is_negative {
            self.byte()?;
        }
        let mut digits = self.digits().to_vec();
        if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
            return Err(Unfit::NotJson);
        }
        let mut before_point = i64::try_from(digits.len()).map_err(|_| Unfit::NotJson)?;
        if self.rest.first() == Some(&b'.') {
            self.byte()?;
            let fraction = self.digits();
            if fraction.is_empty() {
                return Err(Unfit::NotJson);
            }
            digits.extend_from_slice(fraction);
        }
        if matches!(self.rest.first(), Some(b'e' | b'E')) {
            self.byte()?;
            let is_small = match self.rest.first() {
                Some(b'-') => {
                    self.byte()?;
                    true
                }
                Some(b'+') => {
                    self.byte()?;
                    false
                }
                _ => false,
            };
            let exponent = self.digits();
            let exponent: i64 = std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).ok_or(Unfit::NotJson)?;
            if exponent > ZEROS_MAX {
                return Err(Unfit::Range);
            }
            self.zeros_left -= exponent;
            if self.zeros_left < 0 {
                return Err(Unfit::Full);
            }
            before_point += if is_small { -exponent } else { exponent };
        }
        if is_negative && digits.iter().any(|digit| *digit != b'0') {
            into.push(b'-');
        }
        let count = i64::try_from(digits.len()).map_err(|_| Unfit::NotJson)?;
        let zeros = |count: i64| std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or(0));
        if before_point <= 0 {
            into.extend_from_slice(b"0.");
            into.extend(zeros(-before_point));
            into.extend_from_slice(&digits);
            return Ok(());
        }
        let start = into.len();
        into.extend_from_slice(digits.get(..usize::try_from(before_point.min(count)).unwrap_or(0)).unwrap_or_default());
        into.extend(zeros(before_point - count));
        // 0.5e1 is 5: digits before the point have no leading zeros.
        let leading = into.get(start..).unwrap_or_default().iter().take_while(|digit| **digit == b'0').count();
        let written = into.len() - start;
        into.drain(start..start + leading.min(written.saturating_sub(1)));
        if before_point < count {
            into.push(b'.');
            into.extend_from_slice(digits.get(usize::try_from(before_point).unwrap_or(0)..).unwrap_or_default());
        }
        Ok(())
    }
}
