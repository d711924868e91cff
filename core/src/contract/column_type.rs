//! Column types, how they are written in a contract, and what they are in Arrow.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, TimeUnit};
use serde::{Deserialize, Serialize};

/// Bytes a text column holds in a warehouse when its contract names no limit.
pub const TEXT_BYTES_DEFAULT: u32 = 256;

/// The type of a column. Its text form, which contracts use, is in each variant's description.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    /// `boolean`
    Boolean,
    /// `smallint`: 16 bits
    Int16,
    /// `int`: 32 bits
    Int32,
    /// `bigint`: 64 bits
    Int64,
    /// `real`: 32 bits
    Float32,
    /// `double`: 64 bits
    Float64,
    /// `decimal(precision,scale)`: up to 76 digits
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// `text` or `text(bytes)`: UTF-8; the limit counts bytes and binds in warehouses
    Text {
        /// Most bytes a value may have in a warehouse.
        bytes_max: Option<u32>,
    },
    /// `json`: canonical JSON text
    Json,
    /// `uuid`: lower-case text of 36 characters
    Uuid,
    /// `bytes`
    Bytes,
    /// `date`
    Date,
    /// `time`: time of day in microseconds
    Time,
    /// `timestamp`: an instant, microseconds in UTC
    Timestamp,
    /// `local_timestamp`: date and time without a zone, microseconds
    LocalTimestamp,
    /// `list<type>`
    List(Box<Self>),
    /// `struct<name type [not null] [from path] [only string|document], …>`
    Struct(Vec<StructField>),
}

/// A field of a `struct<…>` type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StructField {
    /// Its name in lake and warehouse.
    pub name: String,
    /// Where the source has it, relative to the struct: a name or a path.
    pub from: String,
    /// Its type.
    pub data_type: ColumnType,
    /// Whether NULL (or absence) fits.
    pub nullable: bool,
    /// As in [`super::Column::only`].
    pub only: Option<Only>,
}

/// A kind of source value that a column accepts; others make it NULL. Two columns with the same source and different kinds
/// take apart a field that changed its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// Text values.
    String,
    /// Documents (objects).
    Document,
}

impl ColumnType {
    /// The type in Arrow.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } if *precision <= DECIMAL128_MAX_PRECISION => DataType::Decimal128(*precision, *scale),
            Self::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Text { .. } | Self::Json | Self::Uuid => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::LocalTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::List(item) => DataType::List(Arc::new(Field::new("element", item.arrow(), true))),
            Self::Struct(fields) => DataType::Struct(
                fields.iter().map(|field| Field::new(&field.name, field.data_type.arrow(), field.nullable)).collect::<Fields>(),
            ),
        }
    }

    /// Whether it is a list or a struct, which Redshift cannot hold as a column of its own.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        matches!(self, Self::List(_) | Self::Struct(_))
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int16 => f.write_str("smallint"),
            Self::Int32 => f.write_str("int"),
            Self::Int64 => f.write_str("bigint"),
            Self::Float32 => f.write_str("real"),
            Self::Float64 => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Text { bytes_max: None } => f.write_str("text"),
            Self::Text { bytes_max: Some(bytes) } => write!(f, "text({bytes})"),
            Self::Json => f.write_str("json"),
            Self::Uuid => f.write_str("uuid"),
            Self::Bytes => f.write_str("bytes"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::LocalTimestamp => f.write_str("local_timestamp"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{} {}", field.name, field.data_type)?;
                    if !field.nullable {
                        f.write_str(" not null")?;
                    }
                    if field.from != field.name {
                        write!(f, " from {}", field.from)?;
                    }
                    match field.only {
                        Some(Only::String) => f.write_str(" only string")?,
                        Some(Only::Document) => f.write_str(" only document")?,
                        None => {}
                    }
                }
                f.write_str(">")
            }
        }
    }
}

impl From<ColumnType> for String {
    fn from(data_type: ColumnType) -> Self {
        data_type.to_string()
    }
}
