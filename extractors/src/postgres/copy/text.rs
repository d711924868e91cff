//! Values as the text that PostgreSQL makes of them.
//!
//! Each arm follows the type's send and output functions, named beside it (`src/backend/utils/adt/`). A cast to text differs from the
//! output function for a few types; inside arrays, rows and ranges the output functions count.

use std::io::Write as _;

use super::calendar::{self, Style};
use super::float::{write_double, write_float};
use super::network;
use super::numeric::{Numeric, write_number};
use super::unfit::Unfit;
use super::wire::{Wire, exactly, utf8};
use crate::postgres::types::PostgresType;

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// By itself: what `value::text` gives.
    Alone,
    /// In an array, a row or a range.
    Inside,
}

/// Deepest nesting of types: a user's types cannot contain themselves, but a wrong catalog could say so.
pub(super) const DEPTH_MAX: usize = 64;

/// Longest text that a batch holds, whose offsets have 31 bits. A few bytes may stand for many digits, so that this is looked at while parts
/// are written, not only at the end.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// That the text so far is not too long for a batch.
pub(super) fn limited(text: &[u8]) -> Result<(), Unfit> {
    if text.len() <= TEXT_BYTES_MAX { Ok(()) } else { Err(Unfit::Full) }
}

const TOO_DEEP: Unfit = Unfit::Malformed("it nests too deeply");

/// Writes a value.
pub(super) fn write(type_: &PostgresType, bytes: &[u8], place: Place, into: &mut Vec<u8>) -> Result<(), Unfit> {
    write_nested(type_, bytes, place, 0, into)
}

fn write_nested(type_: &PostgresType, bytes: &[u8], place: Place, depth: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
    if depth > DEPTH_MAX {
        return Err(TOO_DEEP);
    }
    match type_ {
        // bool.c: boolout writes a letter, booltext a word.
        PostgresType::Bool => into.extend_from_slice(match (boolean(bytes)?, place) {
            (true, Place::Alone) => b"true",
            (false, Place::Alone) => b"false",
            (true, Place::Inside) => b"t",
            (false, Place::Inside) => b"f",
        }),
        PostgresType::Int2 => write_number(into, i64::from(i16::from_be_bytes(exactly(bytes)?))),
        PostgresType::Int4 => write_number(into, i64::from(i32::from_be_bytes(exactly(bytes)?))),
        PostgresType::Int8 => write_number(into, i64::from_be_bytes(exactly(bytes)?)),
        PostgresType::Oid => write_number(into, i64::from(u32::from_be_bytes(exactly(bytes)?))),
        PostgresType::Float4 => write_float(f32::from_be_bytes(exactly(bytes)?), into),
        PostgresType::Float8 => write_double(f64::from_be_bytes(exactly(bytes)?), into),
        PostgresType::Numeric => Numeric::of(bytes)?.write(into),
        PostgresType::Money => write_money(i64::from_be_bytes(exactly(bytes)?), into),
        // varlena.c textsend, enum.c enum_send: the text itself.
        PostgresType::Text | PostgresType::Json => into.extend_from_slice(utf8(bytes)?.as_bytes()),
        PostgresType::Other(_) => return Err(Unfit::Malformed("its binary form is not known")),
        PostgresType::Char => write_char(bytes, into)?,
        PostgresType::Bpchar => {
            let text = utf8(bytes)?;
            let text = if place == Place::Alone { text.trim_end_matches(' ') } else { text };
            into.extend_from_slice(text.as_bytes());
        }
        PostgresType::Jsonb => into.extend_from_slice(jsonb(bytes)?.as_bytes()),
        PostgresType::Uuid => into.extend_from_slice(&uuid(&exactly(bytes)?)),
        PostgresType::Date => calendar::write_date(bytes, into)?,
        PostgresType::Timestamp => calendar::write_timestamp(bytes, false, Style::Text, into)?,
        PostgresType::TimestampTz => calendar::write_timestamp(bytes, true, Style::Text, into)?,
        PostgresType::Time => calendar::write_time(bytes, into)?,
        PostgresType::TimeTz => calendar::write_zoned_time(bytes, Style::Text, into)?,
        PostgresType::Interval => calendar::write_interval(bytes, into)?,
        // varlena.c byteaout with bytea_output = hex.
        PostgresType::Bytea => {
            into.extend_from_slice(b"\\x");
            network::write_hex(bytes, into);
        }
        PostgresType::Bit => write_bits(bytes, into)?,
        // network.c: network_show, the cast to text, always writes the mask.
        PostgresType::Inet => network::write_address(bytes, place == Place::Alone, into)?,
        PostgresType::Cidr => network::write_address(bytes, true, into)?,
        PostgresType::Macaddr => network::write_hardware(bytes, into)?,
        PostgresType::Lsn => {
            let position = u64::from_be_bytes(exactly(bytes)?);
            write!(into, "{:X}/{:X}", position >> 32, position & 0xffff_ffff).expect("writing into memory cannot fail");
        }
        PostgresType::Point
        | PostgresType::Line
        | PostgresType::Segment
        | PostgresType::Box
        | PostgresType::Path
        | PostgresType::Polygon
        | PostgresType::Circle => write_shape(type_, Wire(bytes), into)?,
        PostgresType::Range(inner) => write_range(inner, bytes, depth, into)?,
        PostgresType::Multirange(inner) => {
            let mut wire = Wire(bytes);
            into.push(b'{');
            for index in 0..wire.count()? {
                if index > 0 {
                    into.push(b',');
                }
                let range = wire.field()?.ok_or(Unfit::Malformed("a range is NULL"))?;
                write_range(inner, range, depth, into)?;
            }
            wire.end()?;
            into.push(b'}');
        }
        PostgresType::Array(element) => write_array(element, bytes, depth, into)?,
        PostgresType::Composite(fields) => {
            let mut row = Row::of(bytes)?;
            into.push(b'(');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    into.push(b',');
                }
                if let Some(bytes) = row.next()? {
                    let start = into.len();
                    write_nested(&field.type_, bytes, Place::Inside, depth + 1, into)?;
                    quote(into, start, Quoting::Row);
                }
            }
            row.end()?;
            into.push(b')');
        }
    }
    Ok(())
}

/// bool.c boolsend.
pub(super) fn boolean(bytes: &[u8]) -> Result<bool, Unfit> {
    exactly::<1>(bytes).map(|[byte]| byte != 0)
}

/// jsonb.c jsonb_send: a version, then the text.
pub(super) fn jsonb(bytes: &[u8]) -> Result<&str, Unfit> {
    match bytes.split_first() {
        Some((1, text)) => utf8(text),
        _ => Err(Unfit::Malformed("its version is unknown")),
    }
}

/// uuid.c uuid_out.
pub(super) fn uuid(bytes: &[u8; 16]) -> [u8; 36] {
    // Where each byte's two digits stand; hyphens are what is left.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (byte, place) in bytes.iter().zip(PLACES) {
        text[place] = HEX[usize::from(byte >> 4)];
        text[place + 1] = HEX[usize::from(byte & 0xf)];
    }
    text
}

const HEX: [u8; 16] = *b"0123456789abcdef";

/// cash.c cash_out in the locale C.
fn write_money(cents: i64, into: &mut Vec<u8>) {
    if cents < 0 {
        into.push(b'-');
    }
    into.push(b'$');
    let mut whole = Vec::new();
    let cents = cents.unsigned_abs();
    write_number(&mut whole, i64::try_from(cents / 100).unwrap_or(0));
    for (index, digit) in whole.iter().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            into.push(b',');
        }
        into.push(*digit);
    }
    write!(into, ".{:02}", cents % 100).expect("writing into memory cannot fail");
}

/// char.c charout: a byte above 127 as an octal escape.
fn write_char(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    let [byte] = exactly::<1>(bytes)?;
    match byte {
        0 => {}
        1..=127 => into.push(byte),
        _ => write!(into, "\\{byte:03o}").expect("writing into memory cannot fail"),
    }
    Ok(())
}

/// varbit.c varbit_send: a count of bits, then as many, padded to whole bytes.
fn write_bits(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut wire = Wire(bytes);
    let count = wire.count()?;
    let bits = wire.bytes(count.div_ceil(8))?;
    wire.end()?;
    for index in 0..count {
        let byte = bits.get(index / 8).copied().unwrap_or(0);
        into.push(b'0' + (byte >> (7 - index % 8) & 1));
    }
    Ok(())
}

/// geo_ops.c: doubles in parentheses.
fn write_shape(type_: &PostgresType, mut wire: Wire<'_>, into: &mut Vec<u8>) -> Result<(), Unfit> {
    match type_ {
        PostgresType::Point => write_point(&mut wire, into)?,
        PostgresType::Line => {
            for mark in [b'{', b',', b','] {
                into.push(mark);
                write_double(wire.f64()?, into);
            }
            into.push(b'}');
        }
        PostgresType::Segment => {
            into.push(b'[');
            write_points(&mut wire, 2, into)?;
            into.push(b']');
        }
        PostgresType::Box => write_points(&mut wire, 2, into)?,
        PostgresType::Path | PostgresType::Polygon => {
            let is_open = *type_ == PostgresType::Path && wire.u8()? == 0;
            let count = wire.count()?;
            into.push(if is_open { b'[' } else { b'(' });
            write_points(&mut wire, count, into)?;
            into.push(if is_open { b']' } else { b')' });
        }
        _ => {
            into.push(b'<');
            write_point(&mut wire, into)?;
            into.push(b',');
            write_double(wire.f64()?, into);
            into.push(b'>');
        }
    }
    wire.end()
}

fn write_points(wire: &mut Wire<'_>, count: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
    for index in 0..count {
        if index > 0 {
            into.push(b',');
        }
        write_point(wire, into)?;
    }
    Ok(())
}

fn write_point(wire: &mut Wire<'_>, into: &mut Vec<u8>) -> Result<(), Unfit> {
    into.push(b'(');
    write_double(wire.f64()?, into);
    into.push(b',');
    write_double(wire.f64()?, into);
    into.push(b')');
    Ok(())
}

/// rangetypes.c range_send: flags, then the bounds that there are.
fn write_range(inner: &PostgresType, bytes: &[u8], depth: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
    // src/include/utils/rangetypes.h
    const EMPTY: u8 = 0x01;
    const LOWER_INCLUSIVE: u8 = 0x02;
    const UPPER_INCLUSIVE: u8 = 0x04;
    const LOWER_INFINITE: u8 = 0x08;
    const UPPER_INFINITE: u8 = 0x10;
    let mut wire = Wire(bytes);
    let flags = wire.u8()?;
    if flags & EMPTY != 0 {
        into.extend_from_slice(b"empty");
        return wire.end();
    }
    into.push(if flags & LOWER_INCLUSIVE != 0 { b'[' } else { b'(' });
    for infinite in [LOWER_INFINITE, UPPER_INFINITE] {
        if infinite == UPPER_INFINITE {
            into.push(b',');
        }
        if flags & infinite == 0 {
            let bound = wire.field()?.ok_or(Unfit::Malformed("a bound is NULL"))?;
            let start = into.len();
            write_nested(inner, bound, Place::Inside, depth + 1, into)?;
            quote(into, start, Quoting::Range);
        }
    }
    into.push(if flags & UPPER_INCLUSIVE != 0 { b']' } else { b')' });
    wire.end()
}

/// An array's dimensions on the wire (arrayfuncs.c array_send): their number, whether there are NULLs, the element's type; for each its
/// size and lower bound; then the elements, row by row.
#[derive(Debug)]
pub(super) struct Array<'a> {
    pub(super) dimensions: Vec<(usize, i32)>,
    pub(super) elements: Wire<'a>,
}

impl<'a> Array<'a> {
    /// PostgreSQL's limit (`MAXDIM`).
    const DIMENSIONS_MAX: usize = 6;

    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Unfit> {
        let mut wire = Wire(bytes);
        let count = wire.count()?;
        wire.bytes(8)?;
        if count > Self::DIMENSIONS_MAX {
            return Err(Unfit::Malformed("it has too many dimensions"));
        }
        let dimensions: Vec<(usize, i32)> = (0..count).map(|_| Ok((wire.count()?, wire.i32()?))).collect::<Result<_, Unfit>>()?;
        // Each element has at least its length: sizes that the bytes do not bear out would be written without end. An array without
        // elements is sent without dimensions.
        let elements =
            dimensions.iter().try_fold(1_usize, |elements, (size, _)| elements.checked_mul(*size).filter(|elements| *elements > 0));
        match elements {
            Some(elements) if dimensions.is_empty() || elements <= wire.0.len() / 4 => Ok(Self { dimensions, elements: wire }),
            _ => Err(Unfit::Malformed("its dimensions are not those of its elements")),
        }
    }
}

fn write_array(element: &PostgresType, bytes: &[u8], depth: usize, into: &mut Vec<u8>) -> Result<(), Unfit> {
    let Array { dimensions, mut elements } = Array::of(bytes)?;
    if dimensions.is_empty() {
        into.extend_from_slice(b"{}");
        return elements.end();
    }
    if dimensions.iter().any(|(_, lower)| *lower != 1) {
        for (size, lower) in &dimensions {
            let upper = i64::from(*lower) + i64::try_from(*size).unwrap_or(0) - 1;
            write!(into, "[{lower}:{upper}]").expect("writing into memory cannot fail");
        }
        into.push(b'=');
    }
    write_dimension(element, &dimensions, delimiter(element), &mut elements, depth, into)?;
    elements.end()
}

/// What stands between elements (pg_type.typdelim): boxes hold commas themselves. Arrays of boxes have it too, which shows where a domain
/// makes an array an element.
fn delimiter(element: &PostgresType) -> u8 {
    match element {
        PostgresType::Box => b';',
        PostgresType::Array(inner) => delimiter(inner),
        _ => b',',
    }
}

fn write_dimension(
    element: &PostgresType,
    dimensions: &[(usize, i32)],
    delimiter: u8,
    elements: &mut Wire<'_>,
    depth: usize,
    into: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let Some(((size, _), deeper)) = dimensions.split_first() else {
        match elements.field()? {
            None => into.extend_from_slice(b"NULL"),
            Some(bytes) => {
                let start = into.len();
                write_nested(element, bytes, Place::Inside, depth + 1, into)?;
                quote(into, start, Quoting::Array(delimiter));
                limited(into)?;
            }
        }
        return Ok(());
    };
    into.push(b'{');
    for index in 0..*size {
        if index > 0 {
            into.push(delimiter);
        }
        write_dimension(element, deeper, delimiter, elements, depth, into)?;
    }
    into.push(b'}');
    Ok(())
}

/// What stands around a text that is quoted where needed.
#[derive(Debug, Clone, Copy)]
enum Quoting {
    /// arrayfuncs.c array_out, with this delimiter: escapes by backslash.
    Array(u8),
    /// rowtypes.c record_out: escapes by doubling.
    Row,
    /// rangetypes.c range_bound_escape: escapes by doubling.
    Range,
}

/// Puts quotes around the text from `start` on, where it needs them.
fn quote(into: &mut Vec<u8>, start: usize, quoting: Quoting) {
    let text = into.get(start..).unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let is_special = |byte: &u8| match quoting {
        Quoting::Array(delimiter) => matches!(byte, b'"' | b'\\' | b'{' | b'}') || *byte == delimiter,
        Quoting::Row => matches!(byte, b'"' | b'\\' | b'(' | b')' | b','),
        Quoting::Range => matches!(byte, b'"' | b'\\' | b'(' | b')' | b'[' | b']' | b','),
    };
    let is_null = matches!(quoting, Quoting::Array(_)) && text.eq_ignore_ascii_case(b"null");
    if !text.is_empty() && !is_null && !text.iter().any(|byte| is_blank(byte) || is_special(byte)) {
        return;
    }
    let text = into.split_off(start);
    into.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            into.push(if matches!(quoting, Quoting::Array(_)) { b'\\' } else { byte });
        }
        into.push(byte);
    }
    into.push(b'"');
}

/// A row on the wire (rowtypes.c record_send): the number of columns, then for each its type, its length and its bytes.
#[derive(Debug)]
pub(super) struct Row<'a> {
    left: usize,
    wire: Wire<'a>,
}

impl<'a> Row<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Unfit> {
        let mut wire = Wire(bytes);
        let left = wire.count()?;
        Ok(Self { left, wire })
    }

    /// The next column's bytes; None if it is NULL.
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, Unfit> {
        self.left = self.left.checked_sub(1).ok_or(Unfit::Malformed("it has fewer columns than its type"))?;
        self.wire.i32()?;
        self.wire.field()
    }

    pub(super) fn end(self) -> Result<(), Unfit> {
        if self.left == 0 { self.wire.end() } else { Err(Unfit::Malformed("it has more columns than its type")) }
    }
}
