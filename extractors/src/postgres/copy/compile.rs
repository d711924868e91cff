//! Which reader takes a source's type into a declared type.

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use pipeline_core::contract::{ColumnType, StructField};
use pipeline_core::privacy::PrivacyKey;

use super::calendar;
use super::json;
use super::numeric::{self, Numeric, write_plain};
use super::sink::{self, Member, Sink};
use super::text::{self, Place};
use super::unfit::Unfit;
use super::wire::{exactly, utf8};
use crate::postgres::types::PostgresType;

/// A reader of values of `source` into `declared`. None if no value of that type could ever fit.
pub(super) fn reader(source: &PostgresType, declared: &ColumnType) -> Option<Box<dyn Sink>> {
    Some(match declared {
        ColumnType::Boolean if *source == PostgresType::Bool => sink::booleans(),
        ColumnType::Boolean => return None,
        ColumnType::Int16
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::Float32
        | ColumnType::Float64
        | ColumnType::Decimal { .. } => return number(source, declared),
        ColumnType::Text { .. } => texts(source),
        ColumnType::Json => {
            let source = source.clone();
            match source {
                PostgresType::Jsonb => sink::texts(|bytes, into| {
                    into.extend_from_slice(text::jsonb(bytes)?.as_bytes());
                    Ok(())
                }),
                _ => sink::texts(move |bytes, into| json::write(&source, bytes, into)),
            }
        }
        ColumnType::Uuid => match source {
            PostgresType::Uuid => texts(source),
            PostgresType::Text | PostgresType::Bpchar => sink::texts(|bytes, into| {
                into.extend_from_slice(&text::uuid(&uuid_of_text(bytes)?));
                Ok(())
            }),
            _ => return None,
        },
        ColumnType::Bytes if *source == PostgresType::Bytea => sink::binaries(),
        ColumnType::Date if *source == PostgresType::Date => sink::primitive::<Date32Type>(declared.arrow(), calendar::date),
        ColumnType::Time if *source == PostgresType::Time => sink::primitive::<Time64MicrosecondType>(declared.arrow(), calendar::time),
        ColumnType::Timestamp if *source == PostgresType::TimestampTz => instants(declared),
        ColumnType::LocalTimestamp if *source == PostgresType::Timestamp => instants(declared),
        ColumnType::List(item) => {
            let PostgresType::Array(element) = source else { return None };
            let (mut item, mut depth) = (item.as_ref(), 1);
            while let ColumnType::List(inner) = item {
                (item, depth) = (inner.as_ref(), depth + 1);
            }
            sink::lists(reader(element, item)?, depth)
        }
        ColumnType::Struct(fields) => return row(source, fields),
        ColumnType::Bytes | ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::LocalTimestamp => return None,
    })
}

fn instants(declared: &ColumnType) -> Box<dyn Sink> {
    sink::primitive::<TimestampMicrosecondType>(declared.arrow(), calendar::timestamp)
}

fn number(source: &PostgresType, declared: &ColumnType) -> Option<Box<dyn Sink>> {
    let arrow = declared.arrow();
    let read = numeric::reader(source)?;
    Some(match (declared, source) {
        // The same type on both sides, which is what most columns are, goes straight through.
        (ColumnType::Int16, PostgresType::Int2) => sink::primitive::<Int16Type>(arrow, |bytes| exactly(bytes).map(i16::from_be_bytes)),
        (ColumnType::Int32, PostgresType::Int4) => sink::primitive::<Int32Type>(arrow, |bytes| exactly(bytes).map(i32::from_be_bytes)),
        (ColumnType::Int64, PostgresType::Int8) => sink::primitive::<Int64Type>(arrow, |bytes| exactly(bytes).map(i64::from_be_bytes)),
        (ColumnType::Float32, PostgresType::Float4) => {
            sink::primitive::<Float32Type>(arrow, |bytes| exactly(bytes).map(f32::from_be_bytes))
        }
        (ColumnType::Float64, PostgresType::Float8) => {
            sink::primitive::<Float64Type>(arrow, |bytes| exactly(bytes).map(f64::from_be_bytes))
        }
        (ColumnType::Int16, _) => {
            sink::primitive::<Int16Type>(arrow, move |bytes| i16::try_from(read(bytes)?.int64()?).map_err(|_| Unfit::Range))
        }
        (ColumnType::Int32, _) => {
            sink::primitive::<Int32Type>(arrow, move |bytes| i32::try_from(read(bytes)?.int64()?).map_err(|_| Unfit::Range))
        }
        (ColumnType::Int64, _) => sink::primitive::<Int64Type>(arrow, move |bytes| read(bytes)?.int64()),
        (ColumnType::Float32, _) => sink::primitive::<Float32Type>(arrow, move |bytes| read(bytes)?.float()),
        (ColumnType::Float64, _) => sink::primitive::<Float64Type>(arrow, move |bytes| read(bytes)?.double()),
        (ColumnType::Decimal { precision, scale }, _) => {
            let (precision, scale) = (*precision, *scale);
            if precision > DECIMAL128_MAX_PRECISION {
                sink::primitive::<Decimal256Type>(arrow, move |bytes| read(bytes)?.wide_decimal(precision, scale))
            } else if *source == PostgresType::Numeric {
                sink::primitive::<Decimal128Type>(arrow, move |bytes| Numeric::of(bytes)?.decimal(precision, scale))
            } else {
                sink::primitive::<Decimal128Type>(arrow, move |bytes| read(bytes)?.decimal(precision, scale))
            }
        }
        _ => return None,
    })
}

fn texts(source: &PostgresType) -> Box<dyn Sink> {
    let source = source.clone();
    match source {
        PostgresType::Text => sink::texts(|bytes, into| {
            into.extend_from_slice(utf8(bytes)?.as_bytes());
            Ok(())
        }),
        PostgresType::Uuid => sink::texts(|bytes, into| {
            into.extend_from_slice(&text::uuid(&exactly(bytes)?));
            Ok(())
        }),
        _ => sink::texts(move |bytes, into| text::write(&source, bytes, Place::Alone, into)),
    }
}

fn row(source: &PostgresType, fields: &[StructField]) -> Option<Box<dyn Sink>> {
    let PostgresType::Composite(columns) = source else { return None };
    let members = fields
        .iter()
        .map(|field| {
            let (place, column) = columns.iter().enumerate().find(|(_, column)| column.name == field.from)?;
            let sink = reader(&column.type_, &field.data_type).filter(|_| field.only.is_none())?;
            Some(Member { name: field.name.clone(), nullable: field.nullable, place, sink })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(sink::structs(columns.len(), members))
}

/// The sixteen bytes of 32 hexadecimal digits, with or without the usual hyphens.
fn uuid_of_text(bytes: &[u8]) -> Result<[u8; 16], Unfit> {
    let text = bytes.trim_ascii_end();
    let mut uuid = [0_u8; 16];
    let mut digits = 0_usize;
    for (place, byte) in text.iter().enumerate() {
        if text.len() == 36 && matches!(place, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return Err(Unfit::NotUuid);
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(Unfit::NotUuid)?;
        let slot = uuid.get_mut(digits / 2).ok_or(Unfit::NotUuid)?;
        *slot = *slot << 4 | digit;
        digits += 1;
    }
    if digits == 32 { Ok(uuid) } else { Err(Unfit::NotUuid) }
}

/// Replaces a reader by one that keeps only the mask, or with a key the keyed hash, of each value.
///
/// What is hashed is the text of what the declared type makes of the value, so that the same value hashes the same in every source.
pub(super) fn protected(inner: Box<dyn Sink>, key: Option<PrivacyKey>, source: &PostgresType, declared: &ColumnType) -> Box<dyn Sink> {
    let number = numeric::reader(source);
    let (source, declared) = (source.clone(), declared.clone());
    sink::secrets(inner, key, move |bytes, into| {
        match (&declared, number) {
            (ColumnType::Text { .. }, _) => text::write(&source, bytes, Place::Alone, into)?,
            (ColumnType::Uuid, _) if source == PostgresType::Uuid => into.extend_from_slice(&text::uuid(&exactly(bytes)?)),
            (ColumnType::Uuid, _) => into.extend_from_slice(&text::uuid(&uuid_of_text(bytes)?)),
            (ColumnType::Bytes, _) => into.extend_from_slice(bytes),
            (ColumnType::Boolean | ColumnType::Date, _) => text::write(&source, bytes, Place::Alone, into)?,
            (ColumnType::Timestamp, _) => match chrono::DateTime::from_timestamp_micros(calendar::timestamp(bytes)?) {
                Some(instant) => into.extend_from_slice(instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).as_bytes()),
                None => return Err(Unfit::Range),
            },
            (ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64, Some(read)) => numeric::write_number(into, read(bytes)?.int64()?),
            (ColumnType::Float32, Some(read)) => into.extend_from_slice(read(bytes)?.float()?.to_string().as_bytes()),
            (ColumnType::Float64, Some(read)) => write_plain(read(bytes)?.double()?, into),
            (ColumnType::Decimal { precision, scale }, Some(read)) => {
                let units = read(bytes)?.wide_decimal(*precision, *scale)?.to_string();
                numeric::write_pointed(&units, usize::try_from(*scale).unwrap_or(0), into);
            }
            _ => json::write(&source, bytes, into)?,
        }
        Ok(())
    })
}
